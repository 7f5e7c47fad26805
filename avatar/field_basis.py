"""The colour of an avatar that ships as a texture basis: for renderers that sum per pixel.

`Decoder.field` is a sum of planes that one exponential turns into a factor on the skin; that is
what `TextureBasis` calls "log". The field's chart is a corner of the atlas, its grid a corner of
the atlas' grid.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avatar.decoder import CHART, HEAD_SHARE, Decoder
from avatar.local_basis import GRID
from streams.texture_basis import TextureBasis

Float32 = npt.NDArray[np.float32]

ATLAS_GRID = round(GRID / HEAD_SHARE)
ATLAS_PLANES = round(CHART / HEAD_SHARE)


def field_basis(decoder: Decoder, albedo: npt.NDArray[np.uint8]) -> TextureBasis:
    """Of a shipped avatar's `albedo` (H, W, 3). The channels' scales become one a plane, so planes
    are rounded once more: by half a step of 127."""
    basis = decoder.colour_basis
    x, y, w, h = basis.rectangle
    fields = basis.planes()
    scale = np.maximum(np.abs(fields).max((1, 2, 3)) / np.float32(127.0), np.float32(1e-12))
    planes = np.zeros((len(fields), ATLAS_PLANES, ATLAS_PLANES, 3), np.int8)
    planes[:, y : y + h, x : x + w] = np.rint(fields / scale[:, None, None, None])
    return TextureBasis(
        albedo, planes, scale.astype(np.float32), (ATLAS_GRID, ATLAS_GRID), space="log"
    )


def atlas_nodes(nodes: Float32) -> Float32:
    """(GRID, GRID, K) coefficients on the chart -> (ATLAS_GRID, ATLAS_GRID, K): the outer ones go
    on beyond the chart, as `LocalBasis` has it."""
    beyond = ATLAS_GRID - GRID
    return np.pad(nodes, ((0, beyond), (0, beyond), (0, 0)), mode="edge")
