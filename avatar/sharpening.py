"""Detail made stronger before a picture is encoded: what is drawn from a code is softer than its
source, because texels are sampled twice, no two frames lie exactly on each other, and a code holds
the coarse before the fine."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

SIGMA = 0.8
"""Pixels of the blur that an unsharp mask takes away (about one bilinear sampling)."""
REACH = 0.5
"""Of a face's size, that is sharpened about its landmarks."""


def sharpened(rgb: UInt8, amount: float, marks: npt.NDArray[np.floating]) -> UInt8:
    """(H, W, 3): `rgb` plus `amount` times what a blur of SIGMA takes from it, about the face with
    landmarks at `marks` (N, 2) pixels. A new picture, or `rgb` itself for 0."""
    if amount == 0.0 or not np.isfinite(marks).all():
        return rgb
    low, high = marks.min(0), marks.max(0)
    reach = REACH * float((high - low).max())
    x0, y0 = np.maximum(np.floor(low - reach), 0).astype(int)
    x1, y1 = np.maximum(np.ceil(high + reach), 0).astype(int)
    part = rgb[y0:y1, x0:x1]
    if not part.size:
        return rgb
    out = rgb.copy()
    blurred = cv2.GaussianBlur(part, (0, 0), SIGMA)
    out[y0:y1, x0:x1] = cv2.addWeighted(part, 1.0 + amount, blurred, -amount, 0.0)
    return out
