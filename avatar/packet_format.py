"""What a packet of the bitstream holds, in which order, by which tables (docs/bitstream.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avatar.code_numbers import GAZE, GROUPS, LARGEST, POSE, CodeNumbers, Group
from avatar.symbol_tables import CLASSES, UNIT_CLASS

Int64 = npt.NDArray[np.int64]
Indices = npt.NDArray[np.intp]
Presences = tuple[int, ...]
"""ABSENT, PREDICTED or FRESH of each of GROUPS."""

QUALITIES = 64
"""Quality q makes steps 2 ** (q / 4) times as large as quality 0."""
QUARTERS = (4096, 4871, 5793, 6889)
"""2 ** (q / 4) of 4096, for the quarter octaves."""
TURNS = 240
"""Packets are numbered modulo this, of which every PERIODS is a divisor."""
PERIODS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 16, 20, 24, 30, 40, 48)
"""In how many packets every number is sent once without prediction."""
SOON = {"face": POSE + GAZE + 8, "left": POSE, "right": POSE, "appearance": 0}
SOON_PERIOD = 4
"""The same for the first numbers of each group: head, gaze and the face's main motions, wrists.
They are few and the first to be missed."""
OFFSETS = 16
"""Class offsets of a band, -8 to 7."""
MIDDLE = 8
KEEPS = (0, 4, 7, 8)
"""Of 8: how much of a number's last value its prediction keeps."""
MOST_LAYOUTS = 512
ABSENT, PREDICTED, FRESH = range(3)
"""What a packet says of a group; fresh: every number without prediction."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The numbers of one packet in the order of coding: group by group in bands, each group's
    refreshed ones last."""

    order: Indices
    """(N,) indices into the row of all numbers."""
    band_of: Indices
    """(N,) which band each is in."""
    positions: Indices
    """(N,) 0, 1, ..."""
    starts: Indices
    """(B,) where bands begin in `order`; none is empty."""
    fresh: tuple[bool, ...]
    """(B,) whether a band is sent without prediction."""
    fresh_bands: Indices
    """(F,) which these are."""
    opens: tuple[bool, ...]
    """(B,) whether a band is the first of its group."""
    kind_index: Indices
    """(N,) where in `PacketFormat.kinds` each number's class is."""
    whole: Indices
    """(W,) indices into the row of all numbers of those that come without prediction."""
    absent: Indices
    """(M,) likewise of those that are not in the packet."""


class PacketFormat:
    """Steps, classes and layouts, remembered. A row of numbers holds all groups."""

    def __init__(self, numbers: CodeNumbers) -> None:
        self.numbers = numbers
        groups = numbers.groups.values()
        self._step = np.concatenate([group.step for group in groups])
        self._coarsest = np.concatenate([group.coarsest for group in groups])
        # How far numbers are from their prediction: what moves, then what is sent without one.
        self._reach = np.stack(
            [
                np.concatenate([group.shift for group in groups]),
                np.concatenate([group.spread for group in groups]),
            ]
        )
        self._steps: dict[int, Int64] = {}
        self._kinds: dict[int, Int64] = {}
        self._layouts: dict[tuple[Presences, int, int], Layout] = {}
        self._tables: dict[tuple[Layout, int], tuple[Int64, Int64]] = {}

    def steps(self, quality: int) -> Int64:
        """(N,) integers a level."""
        if quality not in self._steps:
            octave, quarter = divmod(quality, 4)
            scaled = (self._step * QUARTERS[quarter] << octave) >> 12
            self._steps[quality] = np.clip(scaled, 1, self._coarsest)
        return self._steps[quality]

    def kinds(self, quality: int) -> Int64:
        """(2 * N,) the class of each number before its band's offset: predicted, then fresh."""
        if quality not in self._kinds:
            ratio = np.minimum((self._reach << 8) // self.steps(quality), LARGEST)
            # The exponent of an integer's square is twice its logarithm, exactly.
            _, exponent = np.frexp((ratio * ratio).astype(np.float64))
            kinds = np.where(ratio == 0, 0, exponent.astype(np.int64) - 17 + UNIT_CLASS)
            self._kinds[quality] = np.clip(kinds, 0, CLASSES - 1).ravel()
        return self._kinds[quality]

    def tables(self, layout: Layout, quality: int) -> tuple[Int64, Int64]:
        """`steps` and `kinds` of a layout's numbers, (N,) each, in the order of coding."""
        key = (layout, quality)
        if key not in self._tables:
            if len(self._tables) >= MOST_LAYOUTS:
                self._tables.clear()
            self._tables[key] = (
                self.steps(quality).take(layout.order),
                self.kinds(quality).take(layout.kind_index),
            )
        return self._tables[key]

    def layout(self, presences: Presences, turn: int, period: int) -> Layout:
        """Of packet number `turn` when every number is refreshed once a `period`."""
        round_length = math.lcm(period, min(period, SOON_PERIOD))
        slot = turn % round_length if PREDICTED in presences else 0
        key = (presences, period, slot)
        if key not in self._layouts:
            if len(self._layouts) >= MOST_LAYOUTS:  # what a stream uses in turn is a few dozen
                self._layouts.clear()
            self._layouts[key] = self._new_layout(presences, slot, period)
        return self._layouts[key]

    def _new_layout(self, presences: Presences, slot: int, period: int) -> Layout:
        parts: list[tuple[Indices, bool, bool]] = []
        for name, presence in zip(GROUPS, presences, strict=True):
            begin = self.numbers.spans[name].start
            bands = (
                []
                if presence == ABSENT
                else _bands(self.numbers.groups[name], presence == FRESH, slot, period)
            )
            parts += [(band + begin, fresh, k == 0) for k, (band, fresh) in enumerate(bands)]
        counts = [len(band) for band, _, _ in parts]
        order = np.concatenate([np.zeros(0, np.intp), *(band for band, _, _ in parts)])
        fresh = np.array([is_fresh for _, is_fresh, _ in parts], bool)
        starts = np.cumsum([0, *counts], dtype=np.intp)[: len(parts)]
        band_of = np.repeat(np.arange(len(parts)), counts)
        absent = np.ones(self.numbers.size, bool)
        absent[order] = False
        return Layout(
            order=order,
            positions=np.arange(len(order)),
            band_of=band_of,
            starts=starts,
            fresh=tuple(fresh.tolist()),
            fresh_bands=np.flatnonzero(fresh),
            opens=tuple(opens for _, _, opens in parts),
            kind_index=order + self.numbers.size * fresh[band_of],
            whole=order[fresh[band_of]],
            absent=np.flatnonzero(absent),
        )


def _bands(group: Group, fresh: bool, slot: int, period: int) -> list[tuple[Indices, bool]]:
    """Indices into the group, and whether they come without prediction."""
    indices = np.arange(len(group.step))
    parts = [indices[a:b] for a, b in zip(group.bands[:-1], group.bands[1:], strict=True)]
    if fresh:
        return [(part, True) for part in parts if len(part)]
    refreshed = (indices - slot) % period == 0
    soon = indices[: SOON[group.name]]
    refreshed[: len(soon)] = (soon - slot) % min(period, SOON_PERIOD) == 0
    bands = [(part[~refreshed[part]], False) for part in parts]
    # The refreshed numbers of a whole group are one band.
    return [
        (part, is_fresh) for part, is_fresh in [*bands, (indices[refreshed], True)] if len(part)
    ]
