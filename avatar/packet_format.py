"""What a packet of the bitstream holds, in which order, by which tables (docs/bitstream.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avatar.code_numbers import LARGEST, CodeNumbers, Group
from avatar.symbol_tables import CLASSES, UNIT_CLASS

Int64 = npt.NDArray[np.int64]

QUALITIES = 64
"""Quality q makes steps 2 ** (q / 4) times as large as quality 0."""
QUARTERS = (4096, 4871, 5793, 6889)
"""2 ** (q / 4) of 4096, for the quarter octaves."""
TURNS = 240
"""Packets are numbered modulo this, of which every PERIODS is a divisor."""
PERIODS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 16, 20, 24, 30, 40, 48)
"""In how many packets every number is sent once without prediction."""
OFFSETS = 16
"""Class offsets of a band, -8 to 7."""
MIDDLE = 8
KEEPS = (0, 4, 7, 8)
"""Of 8: how much of a number's last value its prediction keeps."""
ABSENT, PREDICTED, FRESH = range(3)
"""What a packet says of a group; fresh: every number without prediction."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The numbers of one packet's group in the order of coding: its bands, the fresh ones last."""

    order: Int64
    """(N,) indices into the group."""
    starts: Int64
    """(B,) where bands begin in `order`; none is empty."""
    fresh: npt.NDArray[np.bool_]
    """(B,) whether a band is sent without prediction."""
    counts: Int64
    """(B,)."""
    whole: Int64
    """Indices into the group that come without prediction."""


class PacketFormat:
    """Steps and layouts, remembered."""

    def __init__(self, numbers: CodeNumbers) -> None:
        self.numbers = numbers
        self._steps: dict[tuple[str, int], Int64] = {}
        self._layouts: dict[tuple[str, bool, int, int], Layout] = {}
        self._kinds: dict[tuple[str, bool, int, int, int], Int64] = {}

    def steps(self, name: str, quality: int) -> Int64:
        """(N,) integers a level."""
        key = (name, quality)
        if key not in self._steps:
            group = self.numbers.groups[name]
            octave, quarter = divmod(quality, 4)
            scaled = (group.step * QUARTERS[quarter] << octave) >> 12
            self._steps[key] = np.clip(scaled, 1, group.coarsest)
        return self._steps[key]

    def layout(self, name: str, fresh: bool, turn: int, period: int) -> Layout:
        """Of packet number `turn` when every number is refreshed once a `period`."""
        slot = 0 if fresh else turn % period
        key = (name, fresh, period, slot)
        if key not in self._layouts:
            self._layouts[key] = _layout(self.numbers.groups[name], fresh, slot, period)
        return self._layouts[key]

    def kinds(self, name: str, fresh: bool, turn: int, period: int, quality: int) -> Int64:
        """(N,) the class of each number of the layout before its band's offset."""
        slot = 0 if fresh else turn % period
        key = (name, fresh, period, slot, quality)
        if key not in self._kinds:
            if len(self._kinds) > 4096:
                self._kinds.clear()
            layout = self.layout(name, fresh, turn, period)
            group, steps = self.numbers.groups[name], self.steps(name, quality)
            is_fresh = np.repeat(layout.fresh, layout.counts)
            size = np.where(is_fresh, group.spread[layout.order], group.shift[layout.order])
            ratio = np.minimum((size << 8) // steps[layout.order], LARGEST)
            # The exponent of an integer's square is twice its logarithm, exactly.
            _, exponent = np.frexp((ratio * ratio).astype(np.float64))
            kinds = np.where(ratio == 0, 0, exponent - 17 + UNIT_CLASS)
            self._kinds[key] = np.clip(kinds, 0, CLASSES - 1)
        return self._kinds[key]


def _layout(group: Group, fresh: bool, slot: int, period: int) -> Layout:
    indices = np.arange(len(group.step))
    refreshed = np.ones(len(indices), bool) if fresh else indices % period == slot
    order: list[Int64] = []
    starts, kinds, count = [], [], 0
    for first, last in zip(group.bands[:-1], group.bands[1:], strict=True):
        band = indices[first:last]
        # A key's bands stay apart; refreshed numbers of a whole group are one band.
        parts = [(band, True)] if fresh else [(band[~refreshed[band]], False)]
        for part, is_fresh in parts:
            if len(part):
                order.append(part)
                starts.append(count)
                kinds.append(is_fresh)
                count += len(part)
    rest = indices[refreshed] if not fresh else indices[:0]
    if len(rest):
        order.append(rest)
        starts.append(count)
        kinds.append(True)
    joined, is_fresh = np.concatenate(order), np.array(kinds)
    counts = np.diff(np.append(starts, len(joined)))
    whole = joined[np.repeat(is_fresh, counts)]
    return Layout(joined, np.array(starts), is_fresh, counts, whole)
