"""Multiface's raw sensor colours, and how they are shown.

Its pictures and textures hold the cameras' raw values: dark, green, linear. Its own code shows them
through a white balance and a square root (`gammaCorrect` in `utils.py` of facebookresearch/
multiface); its losses are taken on the raw values.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]

BALANCE = np.array([1.4, 1.1, 1.6]) / 1.1
"""Factors of red, green, blue."""
BLACK = 3.0 / 255.0
SLOPE = 0.95 / (1.0 - BLACK)
LIFT = 15.0 / 255.0
"""Subtracted after the root."""


def display_from_raw(raw: UInt8) -> UInt8:
    """(..., 3) raw code values -> (..., 3) sRGB, as the data set's authors show them."""
    flat = np.ascontiguousarray(raw).reshape(1, -1, 3)
    return np.asarray(cv2.LUT(flat, _table()[None]), np.uint8).reshape(raw.shape)


def raw_from_display(display: npt.NDArray[np.generic]) -> Array:
    """(..., 3) sRGB code values 0..255 -> (..., 3) raw code values, not rounded.

    The inverse up to rounding, except where showing clips: the brightest fifth of raw values to
    white, the lowest three to black.
    """
    root = np.asarray(display, np.float64) / 255.0 + LIFT
    return 255.0 * np.clip((root**2 / SLOPE + BLACK) / BALANCE, 0.0, 1.0)


@functools.cache
def _table() -> UInt8:
    """(256, 3)."""
    balanced = np.arange(256.0)[:, None] / 255.0 * BALANCE
    shown = np.sqrt(SLOPE * np.clip(balanced - BLACK, 0.0, 2.0)) - LIFT
    return np.rint(255.0 * np.clip(shown, 0.0, 1.0)).astype(np.uint8)
