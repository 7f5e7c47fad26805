"""The probabilities that the bitstream codes by, exact on every machine.

Levels follow a two-sided geometric distribution, of which there are CLASSES, each a half octave
wider than the one before. All are computed from integers; the range coder is `constriction`'s
(Bamler 2022, arXiv 2201.01741) with 24-bit probabilities. `avatar.slow_range_coder` is its twin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

models = constriction.stream.model  # pyright: ignore[reportAttributeAccessIssue]
Array = npt.NDArray[np.float64]

LARGEST = 15
"""Levels beyond +-LARGEST escape: one of two symbols says so, Exp-Golomb bits follow."""
SYMBOLS = 2 * LARGEST + 3
"""Symbol s is level s - LARGEST - 1; the first and the last escape."""
CLASSES = 24
UNIT_CLASS = 9
"""The class whose mean magnitude is 1; class c has 2 ** ((c - UNIT_CLASS) / 2)."""
DECAYS = (
    90, 128, 181, 255, 359, 504, 703, 967, 1302, 1697, 2120, 2531, 2896, 3198, 3435, 3616, 3750,
    3848, 3919, 3970, 4006, 4032, 4051, 4064,
)  # fmt: skip
"""Of 4096: a level's probability against that of the next smaller one."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Probabilities of symbols 0, 1, ..."""

    probabilities: tuple[Fraction, ...]
    """Exact; they sum to 1."""
    model: Any
    """The same for the range coder."""

    @staticmethod
    def of(probabilities: Sequence[Fraction]) -> Table:
        """With the range coder's model."""
        model = models.Categorical(np.array([float(p) for p in probabilities]), perfect=False)
        return Table(tuple(probabilities), model)

    def bits(self) -> Array:
        """What each symbol costs."""
        return -np.log2(np.array([float(p) for p in self.probabilities]))


@cache
def level_table(kind: int) -> Table:
    """SYMBOLS symbols of class `kind`."""
    decay = Fraction(DECAYS[kind], 4096)
    zero = (1 - decay) / (1 + decay)
    side = [zero * decay**k for k in range(1, LARGEST + 1)]
    escape = (1 - zero - 2 * sum(side)) / 2
    return Table.of((escape, *reversed(side), zero, *side, escape))


@cache
def near_table(count: int, centre: int) -> Table:
    """Halves with each step away from `centre`: for what mostly stays as it was."""
    weights = [Fraction(1, 2 ** min(abs(k - centre), 8)) for k in range(count)]
    return Table.of([weight / sum(weights) for weight in weights])


@cache
def near_tables(count: int) -> tuple[Table, ...]:
    """(count,): `near_table` about each of the symbols."""
    return tuple(near_table(count, centre) for centre in range(count))


@cache
def near_models(count: int) -> tuple[Any, ...]:
    """Their models, for the range coder."""
    return tuple(table.model for table in near_tables(count))


@cache
def even_table(count: int) -> Table:
    """All the same."""
    return Table.of((Fraction(1, count),) * count)


@cache
def rare_table(one_in: int) -> Table:
    """Two symbols, of which 1 comes once in so many."""
    return Table.of((1 - Fraction(1, one_in), Fraction(1, one_in)))


@cache
def presence_table(absent_of_32: int) -> Table:
    """absent, predicted, fresh: the last once in 32."""
    return Table.of((Fraction(absent_of_32, 32), Fraction(31 - absent_of_32, 32), Fraction(1, 32)))


@cache
def magnitude_bits() -> Array:
    """(CLASSES, LARGEST + 2): cost of a level by its magnitude; the last is an escape's least."""
    costs = np.stack([level_table(kind).bits()[LARGEST + 1 :] for kind in range(CLASSES)])
    costs[:, -1] += 3.0  # the bits that follow, for a level a little beyond
    return costs
