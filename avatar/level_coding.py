"""The levels of a packet through the range coder: by classes, in each in the order of coding."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avatar.range_coder import RangeDecoder, RangeEncoder
from avatar.symbol_tables import CLASSES, LARGEST, level_table

Int64 = npt.NDArray[np.int64]
ESCAPE = LARGEST + 1
"""Magnitude from which on a level is said by an escape and a number."""


def write_levels(coder: RangeEncoder, kinds: Int64, levels: Int64) -> None:
    """(N,) each; escaped magnitudes follow."""
    symbols = np.minimum(np.maximum(levels, -ESCAPE), ESCAPE).astype(np.int32) + ESCAPE
    sorted_symbols = symbols.take(_by_class(kinds))
    start = 0
    for kind, count in enumerate(np.bincount(kinds, minlength=CLASSES).tolist()):
        if count:
            coder.encode(sorted_symbols[start : start + count], level_table(kind))
            start += count
    for level in levels[(symbols == 0) | (symbols == 2 * ESCAPE)].tolist():
        coder.encode_number(abs(level) - ESCAPE)


def read_levels(coder: RangeDecoder, kinds: Int64) -> Int64:
    """(N,), at least one. Raises RangeCoderError."""
    symbols = [
        coder.decode(count, level_table(kind))
        for kind, count in enumerate(np.bincount(kinds, minlength=CLASSES).tolist())
        if count
    ]
    levels = np.empty(len(kinds), np.int64)
    levels[_by_class(kinds)] = np.concatenate(symbols)
    levels -= ESCAPE
    for index in np.flatnonzero(np.abs(levels) == ESCAPE):
        size = ESCAPE + coder.decode_number()
        levels[index] = size if levels[index] > 0 else -size
    return levels


def _by_class(kinds: Int64) -> npt.NDArray[np.intp]:
    return kinds.astype(np.uint8).argsort(kind="stable")  # bytes are sorted by counting
