"""Numbers to levels: which prediction and which table each band of a packet takes.

Only the encoder does this, and all of it with whole numbers, so that `avatar.slow_quantiser`, one
number after the other, gives the very same. What a decoder does with the result is `reconstructed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from avatar.code_numbers import LARGEST
from avatar.level_coding import ESCAPE
from avatar.packet_format import KEEPS, MIDDLE, OFFSETS, Layout
from avatar.symbol_tables import CLASSES, magnitude_bits

Int64 = npt.NDArray[np.int64]

ROUNDING = 6
"""Of 16: from which part of a step on a level is rounded up; 8 would be to the nearest. Small
changes are mostly the tracker's noise, and a zero is the cheapest level."""
PARTS, MOST_PARTS = 8, 1 << 12
"""A prediction is judged by eighths of a step, up to so many."""
BIT = 64
"""Costs are counted in parts of a bit."""
MAGNITUDES = ESCAPE + 1

KEPT = np.array(KEEPS)[:, None] / 8
DISTANCE = BIT * np.abs(
    np.arange(OFFSETS, dtype=np.float32)[:, None, None] - np.arange(OFFSETS, dtype=np.float32)
)
"""(OFFSETS, 1, OFFSETS): what an offset costs after the last band's, as `near_table` codes it."""


@dataclass(frozen=True, slots=True, eq=False)
class Quantised:
    """N numbers of B bands, in the order of coding."""

    keeps: list[int]
    """(B,) indices into KEEPS; of fresh bands 0."""
    offsets: list[int]
    """(B,) MIDDLE is none."""
    kinds: Int64
    """(N,) the class by which each level is coded."""
    levels: Int64
    """(N,)."""
    values: Int64
    """(N,) what the receiver will have."""


def quantise(layout: Layout, steps: Int64, kinds: Int64, wanted: Int64, last: Int64) -> Quantised:
    """`steps`, `kinds` before their bands' offsets, numbers `wanted` and `last` ones, (N,) each in
    the order of coding."""
    # In float64, which is faster and as exact: all whole numbers here are below 2 ** 53, and a
    # quotient of them is rounded to another side of a whole number only beyond.
    step, count = steps.astype(np.float64), len(steps)
    guesses = last * KEPT
    np.floor(guesses, out=guesses)
    off = wanted - guesses
    off /= step
    # Which prediction: the one with the fewest bits by a rough measure.
    parts = np.abs(off)
    np.minimum(parts, MOST_PARTS / PARTS, out=parts)
    parts *= PARTS
    rough = np.add.reduceat(rough_costs().take(parts.astype(np.intp)), layout.starts, axis=1)
    keeps = rough.argmin(0)
    keeps[layout.fresh_bands] = 0
    chosen = (keeps * count).take(layout.band_of)
    chosen += layout.positions
    values, off = guesses.take(chosen), off.take(chosen)
    off += np.copysign(ROUNDING / 16, off)
    levels = off.astype(np.int64)  # towards zero
    # Which table: by what the levels cost, (B, OFFSETS), and what it costs to say so.
    rows = np.abs(levels)
    np.minimum(rows, ESCAPE, out=rows)
    rows += kinds * MAGNITUDES
    costs = np.add.reduceat(shifted_costs().take(rows, axis=0), layout.starts, axis=0)
    offsets = _walk((costs + DISTANCE).argmin(2).tolist(), layout.opens)
    values += levels * step
    _hold(values)
    return Quantised(
        keeps.tolist(),
        offsets,
        shifted_class(kinds, layout, offsets),
        levels,
        values.astype(np.int64),
    )


def reconstructed(guess: Int64, levels: Int64, steps: Int64) -> Int64:
    """(N,) the numbers that both ends have after a packet."""
    values = levels * steps
    values += guess
    _hold(values)
    return values


def shifted_class(kinds: Int64, layout: Layout, offsets: list[int]) -> Int64:
    """(N,) the classes by which levels are coded when bands have `offsets` (B,), within what there
    is a table for."""
    classes = (np.array(offsets) - MIDDLE).take(layout.band_of)
    classes += kinds
    np.maximum(classes, 0, out=classes)
    return np.minimum(classes, CLASSES - 1, out=classes)


@cache
def rough_costs() -> npt.NDArray[np.float32]:
    """(MOST_PARTS + 1,): bits of so many parts of a step, roughly; likewise whole numbers."""
    return np.rint(BIT * np.log2(1.0 + np.arange(MOST_PARTS + 1) / PARTS)).astype(np.float32)


@cache
def shifted_costs() -> npt.NDArray[np.float32]:
    """(CLASSES * MAGNITUDES, OFFSETS): what a level costs when its class is shifted; whole numbers,
    small enough that float32 adds thousands of them exactly."""
    kinds = np.clip(np.arange(CLASSES)[:, None] + np.arange(OFFSETS) - MIDDLE, 0, CLASSES - 1)
    costs = magnitude_bits()[kinds].transpose(0, 2, 1).reshape(-1, OFFSETS)
    return np.ascontiguousarray(np.rint(BIT * costs).astype(np.float32))


def _hold(values: Int64 | npt.NDArray[np.float64]) -> None:
    """In place, within what a row holds."""
    np.maximum(values, -LARGEST, out=values)
    np.minimum(values, LARGEST, out=values)


def _walk(best: list[list[int]], opens: tuple[bool, ...]) -> list[int]:
    """`best` (OFFSETS, B): the offset of a band by that of the band before."""
    offsets, near = [], MIDDLE
    for band, first in enumerate(opens):
        near = best[MIDDLE if first else near][band]
        offsets.append(near)
    return offsets
