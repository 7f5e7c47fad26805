"""The specification of `avatar.quantiser` and its test's oracle: one number after the other."""

from __future__ import annotations

from collections.abc import Sequence

from avatar.code_numbers import LARGEST
from avatar.packet_format import KEEPS, MIDDLE, OFFSETS, Layout
from avatar.quantiser import (
    BIT,
    MAGNITUDES,
    MOST_PARTS,
    PARTS,
    ROUNDING,
    rough_costs,
    shifted_costs,
)
from avatar.symbol_tables import CLASSES

Numbers = Sequence[int]


def slow_quantise(
    layout: Layout, steps: Numbers, kinds: Numbers, wanted: Numbers, last: Numbers
) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
    """keeps, offsets (B,), kinds, levels, values (N,), as `quantiser.quantise` says."""
    keeps: list[int] = []
    offsets: list[int] = []
    classes: list[int] = []
    levels: list[int] = []
    values: list[int] = []
    ends = [*layout.starts[1:], len(layout.order)]
    for band, (start, end) in enumerate(zip(layout.starts, ends, strict=True)):
        rows = range(int(start), int(end))
        keep = 0
        if not layout.fresh[band]:
            costs = [
                sum(_rough(wanted[n] - _guess(last[n], kept), steps[n]) for n in rows)
                for kept in KEEPS
            ]
            keep = costs.index(min(costs))
        found = []
        for n in rows:
            guess = _guess(last[n], KEEPS[keep])
            level = _level(wanted[n] - guess, steps[n])
            found.append(level)
            values.append(min(max(guess + level * steps[n], -LARGEST), LARGEST))
        near = MIDDLE if layout.opens[band] else offsets[-1]
        costs = [
            BIT * abs(offset - near)
            + sum(_cost(kinds[n], level, offset) for n, level in zip(rows, found, strict=True))
            for offset in range(OFFSETS)
        ]
        offset = costs.index(min(costs))
        keeps.append(keep)
        offsets.append(offset)
        levels += found
        classes += [min(max(kinds[n] + offset - MIDDLE, 0), CLASSES - 1) for n in rows]
    return keeps, offsets, classes, levels, values


def _guess(last: int, kept: int) -> int:
    return (last * kept) >> 3


def _rough(left: int, step: int) -> int:
    return int(rough_costs()[min(PARTS * abs(left) // step, MOST_PARTS)])


def _level(left: int, step: int) -> int:
    size = (16 * abs(left) + ROUNDING * step) // (16 * step)
    return -size if left < 0 else size


def _cost(kind: int, level: int, offset: int) -> int:
    return int(shifted_costs()[kind * MAGNITUDES + min(abs(level), MAGNITUDES - 1), offset])
