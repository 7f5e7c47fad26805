"""The picture of a person's lashes: hairs along the template's strips, as dark and in the colour as
the rims of the lids are in the video.

A webcam does not part one lash from the next: what it shows of them is a dark rim. Its colour is
theirs, and how much darker it is than the cheek tells how dense they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from assets.baking.painting import lash_opacity
from avatar.head_mesh import ATLAS, HeadMesh
from avatar.lash_cover import LashCover
from avatar.lash_strips import GUTTER, STRIPS, WINDOW
from avatar.unwrapping import TexelTable
from streams.face_outlines import LIDS
from streams.frame import Frame
from streams.projection import project
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]
Int8 = npt.NDArray[np.int8]
Array = npt.NDArray[np.float64]

LUMA = np.array([0.299, 0.587, 0.114])
UPPER, LOWER = slice(9, 16), slice(1, 8)
"""Of LIDS, without the corners of the eye."""
RIM, CHEEK, SAMPLES = 0.09, (0.4, 0.45, 0.5, 0.55), 7
"""Parts of the eye's width: how far about a rim its darkest tenth is looked for, and how far below
the lower one skin is; and how many places are looked at both ways."""
NONE, DENSE = 0.1, 0.6
"""Parts of the skin's brightness by which a rim is darker: no lashes to be seen, and dense ones."""
ROWS = ((0.25, 1.0), (-0.2, 0.62))
"""Two rows of hairs, which cross: how far they lean towards the ends of the lid, and their number
as a part of HAIRS."""
HAIRS, REACH = (60, 60, 40, 40), (1.0, 1.0, 0.75, 0.75)
"""On each strip, and their length as a part of it."""
SHEER = 0.25
"""Opacity of one hair."""
BURIED, EMERGED = 0.1, 0.3
"""Between these parts of a strip its hairs come out of the lid."""
FINER = 4
"""Samples a texel both ways."""


@dataclass(frozen=True, slots=True, eq=False)
class LashLook:
    """Of one person, on each of STRIPS."""

    colours: UInt8
    """(4, 3) sRGB at gain 1."""
    densities: Array
    """(4,) 0..1."""

    @staticmethod
    def of(frames: Iterator[tuple[Frame, Rigid, Float32]]) -> LashLook:
        """As some frames (the frame, world_from_head, landmarks (478, 3) metres) show the rims of
        the lids, in the median."""
        seen = [_rims(frame, pose, landmarks) for frame, pose, landmarks in frames]
        dark, skin = (np.median(np.stack(part), axis=0) for part in zip(*seen, strict=True))
        darker = 1.0 - (dark @ LUMA) / np.maximum(skin @ LUMA, 1.0)
        density = np.clip((darker - NONE) / (DENSE - NONE), 0.0, 1.0)
        return LashLook(np.rint(dark).astype(np.uint8), density)

    def painted(self, mean: UInt8, opacity: UInt8, planes: Int8) -> tuple[UInt8, UInt8, Int8]:
        """A model's pictures with lashes in their window of the atlas: `mean` (ATLAS, ATLAS, 3),
        `opacity` (S, S) -> (ATLAS, ATLAS), `planes` (K, S, S, 3), which do not change them."""
        mean, planes = mean.copy(), planes.copy()
        side = (ATLAS, ATLAS)
        whole = np.array(cv2.resize(opacity, side, interpolation=cv2.INTER_NEAREST), np.uint8)
        rows, columns = WINDOW
        each = (rows.stop - rows.start) // len(STRIPS)
        for strip in range(len(STRIPS)):
            at = (slice(rows.start + each * strip, rows.start + each * (strip + 1)), columns)
            mean[at] = self.colours[strip]
            hair = strip_opacity(strip, (each, columns.stop - columns.start))
            whole[at] = np.rint(255.0 * hair * self.densities[strip])
        step = ATLAS // planes.shape[1]
        coarse = tuple(slice(part.start // step, part.stop // step) for part in WINDOW)
        planes[:, *coarse] = 0
        return mean, whole, planes

    def cover(self, head: HeadMesh, table: TexelTable, rest: Float32) -> LashCover:
        """What they hide of a face at `rest` (T, 3)."""
        mean = np.zeros((ATLAS, ATLAS, 3), np.uint8)
        planes = np.zeros((1, ATLAS, ATLAS, 3), np.int8)
        mean, opacity, _ = self.painted(mean, np.full((ATLAS, ATLAS), 255, np.uint8), planes)
        return LashCover(head, mean, opacity, table, rest)


def strip_opacity(strip: int, size: tuple[int, int]) -> Float32:
    """(rows, columns) 0..1 of one of STRIPS, root on top, the nose at the left."""
    height, width = size
    x = (np.arange(width * FINER) + 0.5) / FINER - GUTTER
    y = (np.arange(height * FINER) + 0.5) / FINER - GUTTER
    along = np.clip(x / (width - 2 * GUTTER), 0.0, 1.0)[None]
    out = np.clip(y / (height - 2 * GUTTER), 0.0, 1.0)[:, None]
    clear = np.ones(np.broadcast_shapes(along.shape, out.shape))
    for lean, part in ROWS:
        hairs = lash_opacity(along, out, lean, round(part * HAIRS[strip]), REACH[strip])
        clear *= 1.0 - SHEER * hairs
    hair = (1.0 - clear) * np.clip((out - BURIED) / (EMERGED - BURIED), 0.0, 1.0)
    blocks = hair.reshape(height, FINER, width, FINER)
    return blocks.mean((1, 3)).astype(np.float32)


def _rims(frame: Frame, pose: Rigid, landmarks: Float32) -> tuple[Array, Array]:
    """(4, 3) the darkest colours of the rim on which each of STRIPS stands, and (4, 3) of the skin
    below that eye, code values."""
    dark, skin = np.zeros((len(STRIPS), 3)), np.zeros((len(STRIPS), 3))
    for eye, rim in enumerate(LIDS):
        at, _ = project(frame.camera, pose.apply(landmarks[list(rim)].astype(np.float64)))
        width = float(np.linalg.norm(at[0] - at[8]))
        near = np.linspace(-RIM, RIM, SAMPLES) * width
        below = np.median(_about(frame.rgb, at[LOWER], near, np.array(CHEEK) * width), axis=0)
        for strip, part in ((eye, UPPER), (eye + 2, LOWER)):
            found = _about(frame.rgb, at[part], near, near)
            light = found @ LUMA
            dark[strip] = found[light <= np.quantile(light, 0.1)].mean(0)
            skin[strip] = below
    return dark, skin


def _about(rgb: UInt8, points: Array, across: Array, down: Array) -> Array:
    """(m, 3) colours of the pixels so far across and down from some points (k, 2)."""
    at = np.nan_to_num(points)[:, None, None]
    x = np.rint(at[..., 0] + across[None, None]).astype(np.intp)
    y = np.rint(at[..., 1] + down[None, :, None]).astype(np.intp)
    x, y = np.broadcast_arrays(x.clip(0, rgb.shape[1] - 1), y.clip(0, rgb.shape[0] - 1))
    return rgb[y, x].reshape(-1, 3).astype(np.float64)
