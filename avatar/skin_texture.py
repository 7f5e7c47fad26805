"""The albedo of one moment: the neutral skin, coloured by the decoded field.

The field is the log of linear albedo over neutral linear albedo. On sRGB's power segment
e = 1.055 v^(1/2.4) - 0.055, so a factor exp(f) on v is exactly exp(f / 2.4) on e + 0.055: no
conversion to linear and back is needed. (Below v = 0.0031 sRGB is straight; there the error is
less than one step of 255.)
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

OFFSET = 0.055 * 255.0
EXPONENT = 2.4
STRONGEST = 2.5
"""The field is cut to +-2.5 (a factor of 12: an opened mouth's folds), so that no code can burn
the picture."""


class SkinTexture:
    """One avatar's neutral albedo, ready to be coloured within a rectangle of the atlas."""

    def __init__(self, albedo: UInt8, rectangle: tuple[int, int, int, int]) -> None:
        """`rectangle` x, y, w, h in texels of the atlas; the field covers it, coarser or not."""
        self._albedo = albedo
        x, y, w, h = rectangle
        self._where = (slice(y, y + h), slice(x, x + w))
        self._lifted = albedo[self._where].astype(np.float32) + np.float32(OFFSET)
        self._offset = np.full(4, OFFSET)  # OpenCV's scalar: one number a channel, four at least

    def coloured(self, field: Float32) -> UInt8:
        """(h', w', 3) float32 log factors over the rectangle -> (H, W, 3) uint8 sRGB, a new one."""
        picture = self._albedo.copy()
        h, w = self._lifted.shape[:2]
        bounded = np.clip(field, -STRONGEST, STRONGEST) * np.float32(1.0 / EXPONENT)
        gain = cv2.resize(cv2.exp(bounded), (w, h), interpolation=cv2.INTER_LINEAR)
        np.multiply(gain, self._lifted, out=gain)
        # OpenCV rounds to nearest and saturates on the way to uint8.
        picture[self._where] = cv2.subtract(gain, self._offset, dtype=cv2.CV_8U)
        return picture

    @property
    def neutral(self) -> UInt8:
        """(H, W, 3) uint8: the albedo as it ships."""
        return self._albedo
