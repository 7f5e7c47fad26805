"""A texture that changes with a few numbers: a mean and local combinations of learned planes.

At a point of the atlas the colour is the mean plus sum_k c_k(uv) plane_k(uv). The coefficients c
come on a coarse grid and are interpolated between its nodes, so that each part of a face combines
the planes in its own way. A renderer can take the sum for visible pixels only.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from streams.array_contract import require_array, require_choice, require_finite

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

SPACES = ("additive", "log")
SRGB_FOOT = 0.055
"""On the power segment of sRGB (IEC 61966-2-1) linear light goes as (code value + foot)^2.4."""


@dataclass(frozen=True, slots=True, eq=False)
class TextureBasis:
    """What never changes of such a texture; a renderer uploads it once (by identity)."""

    mean: UInt8
    """(H, W, 3) uint8 sRGB."""
    planes: npt.NDArray[np.int8]
    """(K, h, w, 3) int8 over the same atlas, usually coarser than the mean. K is a multiple of 4
    (fill up with zeros), so that coefficients lie in whole RGBA texels."""
    scale: Float32
    """(K,) float32: `planes[k] * scale[k]` is what one unit of coefficient k changes; of sRGB code
    values 0..1 when "additive", of the natural logarithm of linear light when "log"."""
    grid: tuple[int, int]
    """(rows, columns) of nodes; node i lies at (i + 0.5) / count of the atlas' side, and beyond the
    outer nodes the coefficients stay what they are: a texture with linear filter, clamped."""
    space: str = "additive"

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "mean", require_array("TextureBasis.mean", self.mean, np.uint8, (None, None, 3)))
        shape = (None, None, None, 3)
        planes = require_array("TextureBasis.planes", self.planes, np.int8, shape)
        if len(planes) % 4 or 0 in planes.shape[1:]:
            raise ValueError(
                f"TextureBasis.planes: expected 4, 8, 12, ... planes of some size, "
                f"got {planes.shape}"
            )
        put(self, "planes", planes)
        scale = require_array("TextureBasis.scale", self.scale, np.float32, (len(planes),))
        require_finite("TextureBasis.scale", scale)
        put(self, "scale", scale)
        if min(self.grid) < 1:
            raise ValueError(f"TextureBasis.grid: expected at least 1 x 1 nodes, got {self.grid}")
        require_choice("TextureBasis.space", self.space, SPACES)

    @property
    def nodes_shape(self) -> tuple[int, int, int]:
        """(rows, columns, K) of the coefficients that belong to this basis."""
        return (*self.grid, len(self.planes))

    def picture(self, nodes: Float32, gain: Float32) -> UInt8:
        """The slow twin of the fragment shader: (H, W, 3) uint8 sRGB at the mean's size.

        `nodes` (rows, columns, K) float32 coefficients; `gain` (3,) float32 factor on the code
        values of the sum.
        """
        height, width = self.mean.shape[:2]
        field = np.zeros((height, width, 3), np.float32)
        for k, plane in enumerate(self.planes):
            coefficients = _stretched(np.ascontiguousarray(nodes[:, :, k]), (width, height))
            detail = _stretched(plane.astype(np.float32), (width, height))
            field += (coefficients * self.scale[k])[:, :, None] * detail
        code = self.mean.astype(np.float32) / np.float32(255.0)
        if self.space == "log":
            code = (code + SRGB_FOOT) * np.exp(field / np.float32(2.4)) - SRGB_FOOT
        else:
            code = code + field
        return np.rint(np.clip(code * gain, 0.0, 1.0) * 255.0).astype(np.uint8)


def _stretched(picture: Float32, size: tuple[int, int]) -> Float32:
    """Bilinear to (width, height), texel centres at (i + 0.5) / count, clamped at the edges."""
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), np.float32)
