"""The levels of a packet through the range coder: by classes, in each in the order of coding."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avatar.range_coder import RangeDecoder, RangeEncoder
from avatar.symbol_tables import LARGEST, level_table

Int64 = npt.NDArray[np.int64]
ESCAPE = LARGEST + 1
"""Magnitude from which on a level is said by an escape and a number."""


def write_levels(coder: RangeEncoder, kinds: Int64, levels: Int64) -> None:
    """(N,) each; escaped magnitudes follow."""
    symbols = np.maximum(levels, -ESCAPE)
    np.minimum(symbols, ESCAPE, out=symbols)
    escaped = levels[np.abs(symbols) == ESCAPE]
    symbols += ESCAPE
    symbols = symbols.take(_by_class(kinds)).astype(np.int32)
    start = 0
    for kind, count in enumerate(np.bincount(kinds).tolist()):
        if count:
            coder.encode(symbols[start : start + count], level_table(kind))
            start += count
    if len(escaped):
        coder.encode_numbers((np.abs(escaped) - ESCAPE).tolist())


def read_levels(coder: RangeDecoder, kinds: Int64) -> Int64:
    """(N,), at least one. Raises RangeCoderError."""
    symbols = [
        coder.decode(count, level_table(kind))
        for kind, count in enumerate(np.bincount(kinds).tolist())
        if count
    ]
    levels = np.empty(len(kinds), np.int64)
    levels[_by_class(kinds)] = np.concatenate(symbols)
    levels -= ESCAPE
    escaped = (np.abs(levels) == ESCAPE).nonzero()[0]
    if len(escaped):
        beyond = np.array(coder.decode_numbers(len(escaped)))
        signs = np.sign(levels[escaped])
        levels[escaped] += signs * beyond
    return levels


def _by_class(kinds: Int64) -> npt.NDArray[np.intp]:
    return kinds.astype(np.uint8).argsort(kind="stable")  # bytes are sorted by counting
