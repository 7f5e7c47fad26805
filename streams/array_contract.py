"""The one check that every array passes when it enters a record.

A record promises shape, dtype, unit and frame in its docstring; this module turns the first two
into an exception that names the field, what was expected and what came.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import numpy.typing as npt

Shape = tuple[int | None, ...]


def require_array(
    where: str, value: object, dtype: npt.DTypeLike, shape: Shape
) -> npt.NDArray[np.generic]:
    """Return a read-only view of `value` when it has exactly this dtype and shape.

    `None` in `shape` accepts any length on that axis. Nothing is converted: a float64 array where
    float32 is promised is an error, because a silent copy at every seam is what it would cost.

    Raises ValueError naming `where` (for example "HandPose.joints"), the expectation and the value.
    """
    if isinstance(value, np.ndarray):
        array: npt.NDArray[np.generic] = value  # pyright: ignore[reportUnknownVariableType]
        if array.dtype == dtype and (array.shape == shape or _fits(array.shape, shape)):
            view = array.view()
            view.setflags(write=False)
            return view
        got = _describe(array.dtype, array.shape)
    else:
        got = type(value).__name__
    raise ValueError(f"{where}: expected {_describe(np.dtype(dtype), shape)}, got {got}")


def require_finite(where: str, value: npt.NDArray[np.generic]) -> None:
    """Raise ValueError when a (small) float array holds NaN or infinity."""
    flat = cast("npt.NDArray[np.float64]", value).ravel()
    # A sum of squares is quicker to take and finite only if all are; large numbers overflow it.
    if not math.isfinite(flat.dot(flat)) and not bool(np.isfinite(value).all()):
        raise ValueError(f"{where}: expected finite numbers, got NaN or infinity")


def require_time(where: str, t_ns: object) -> None:
    """Raise ValueError unless `t_ns` is an int of nanoseconds (bool and float are refused)."""
    if type(t_ns) is not int:
        raise ValueError(
            f"{where}: expected int nanoseconds of the monotonic clock, "
            f"got {type(t_ns).__name__} {t_ns!r}"
        )


def require_unit_interval(where: str, value: float) -> None:
    """Raise ValueError unless 0 <= value <= 1."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{where}: expected a number from 0 to 1, got {value!r}")


def require_choice(where: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{where}: expected one of {listed}, got {value!r}")


def require_size(where: str, size: object) -> None:
    """Raise ValueError unless `size` is a (width, height) tuple of positive ints."""
    pair = cast("tuple[object, ...]", size) if isinstance(size, tuple) else ()
    if len(pair) != 2 or not all(type(n) is int and n > 0 for n in pair):
        raise ValueError(f"{where}: expected (width, height) as positive ints, got {size!r}")


def _fits(got: tuple[int, ...], wanted: Shape) -> bool:
    return len(got) == len(wanted) and all(
        n is None or n == m for n, m in zip(wanted, got, strict=True)
    )


def _describe(dtype: np.dtype[np.generic], shape: Shape) -> str:
    return f"{dtype} ({', '.join('*' if n is None else str(n) for n in shape)})"
