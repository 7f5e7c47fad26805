"""sRGB-encoded uint8 to linear float32 and back, by IEC 61966-2-1.

The rule of the house: uint8 is sRGB-encoded, float32 is linear with sRGB's primaries, 0..1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


def linear_from_srgb(encoded: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Encoded 0..1, any shape -> linear 0..1 float64. The formula itself, and the slow twin."""
    e = np.asarray(encoded, np.float64)
    return np.where(e <= 0.04045, e / 12.92, ((np.maximum(e, 0.0) + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(linear: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Linear 0..1, any shape -> encoded 0..1 float64. The formula itself, and the slow twin."""
    v = np.asarray(linear, np.float64)
    root = np.maximum(v, 0.0) ** (1.0 / 2.4)
    return np.where(v <= 0.0031308, v * 12.92, 1.055 * root - 0.055)


def linear_from_u8(pixels: npt.NDArray[np.uint8]) -> Float32:
    """uint8 sRGB, any shape -> linear float32 0..1. Exact: one table of 256 values.

    Alpha is not colour: do not pass it.
    """
    _require_dtype("linear_from_u8", pixels, np.uint8)
    return _LINEAR_OF_U8[pixels]


def u8_from_linear(linear: Float32) -> npt.NDArray[np.uint8]:
    """Linear float32, any shape -> uint8 sRGB, rounded to nearest, clipped to 0..1; NaN gives 0.

    A table on the float's leading bits, corrected to the exact side of the step where a table's
    cell holds one, gives the same bytes as `u8_from_linear_slow`.
    """
    _require_dtype("u8_from_linear", linear, np.float32)
    # Adding zero makes -0 a +0, whose bits come first as its value does.
    v = np.nan_to_num(np.clip(linear, 0.0, 1.0), copy=False, nan=0.0) + np.float32(0.0)
    # Adjacent positive floats differ by one in their bits, so the leading bits order cells.
    cell = np.ascontiguousarray(v).view(np.uint32) >> _CELL_SHIFT
    low = _U8_OF_CELL[cell]
    return low + (v >= _STEP_OF_U8[low.astype(np.intp) + 1]).astype(np.uint8)


def u8_from_linear_slow(linear: Float32) -> npt.NDArray[np.uint8]:
    """The slow twin of `u8_from_linear`: the formula on every value."""
    _require_dtype("u8_from_linear_slow", linear, np.float32)
    v = np.nan_to_num(np.clip(linear.astype(np.float64), 0.0, 1.0), nan=0.0)
    return np.floor(srgb_from_linear(v) * 255.0 + 0.5).astype(np.uint8)


def _require_dtype(where: str, value: npt.NDArray[Any], dtype: type[np.generic]) -> None:
    if not isinstance(value, np.ndarray) or value.dtype != dtype:  # pyright: ignore[reportUnnecessaryIsInstance]
        got = getattr(value, "dtype", type(value).__name__)
        raise ValueError(f"{where}: expected an array of {np.dtype(dtype)}, got {got}")


_LINEAR_OF_U8: Float32 = linear_from_srgb(np.arange(256) / 255.0).astype(np.float32)


def _first_float_of_each_u8() -> Float32:
    """(257,) float32: the least linear value that rounds to each byte; the last is infinite."""
    steps = linear_from_srgb((np.arange(257) - 0.5) / 255.0).astype(np.float32)
    # Rounding to float32 may have fallen just under the step: then the next float is the first.
    slow = np.floor(srgb_from_linear(steps.astype(np.float64)) * 255.0 + 0.5)
    steps = np.where(slow < np.arange(257), np.nextafter(steps, np.float32(2.0)), steps)
    steps[0], steps[256] = -np.inf, np.inf
    return steps.astype(np.float32)


_CELL_SHIFT = 15
_STEP_OF_U8 = _first_float_of_each_u8()
_CELL_STARTS = (np.arange((0x3F800000 >> _CELL_SHIFT) + 1, dtype=np.uint32) << _CELL_SHIFT).view(
    np.float32
)
_U8_OF_CELL = (np.searchsorted(_STEP_OF_U8, _CELL_STARTS, side="right") - 1).astype(np.uint8)
