"""Symbols to bytes and back, and the tables that they are coded by."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.range_coder import RangeDecoder, RangeEncoder
from avatar.slow_range_coder import SlowRangeDecoder, SlowRangeEncoder
from avatar.symbol_tables import (
    CLASSES,
    LARGEST,
    SYMBOLS,
    UNIT_CLASS,
    even_table,
    level_table,
    near_table,
    presence_table,
    rare_table,
)


@st.composite
def messages(draw: st.DrawFn) -> list[tuple[int, int]]:
    """(table, symbol) pairs."""
    pairs = st.tuples(st.integers(0, len(TABLES) - 1), st.integers(0, 10_000))
    return draw(st.lists(pairs, max_size=60))


TABLES = [
    *(level_table(kind) for kind in range(CLASSES)),
    even_table(2), even_table(256), near_table(16, 8), rare_table(64), presence_table(8),
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(messages())
def test_range_coder_writes_the_bytes_of_its_slow_twin(message: list[tuple[int, int]]) -> None:
    fast, slow, wanted = RangeEncoder(), SlowRangeEncoder(), []
    for index, number in message:
        table = TABLES[index]
        symbol = number % len(table.probabilities)
        wanted.append(symbol)
        fast.encode_one(symbol, table)
        slow.encode(symbol, table.probabilities)
    data = fast.finish()
    assert data == slow.finish()
    quick, patient = RangeDecoder(data), SlowRangeDecoder(data)
    assert [quick.decode_one(TABLES[index]) for index, _ in message] == wanted
    assert [patient.decode(TABLES[index].probabilities) for index, _ in message] == wanted


def test_likely_symbols_carry_run_and_still_equal_the_twin() -> None:
    rng = np.random.default_rng(1)
    for _ in range(500):  # about 3 % of these end behind a carry
        fast, slow = RangeEncoder(), SlowRangeEncoder()
        for _ in range(int(rng.integers(1, 40))):
            table = level_table(int(rng.integers(CLASSES)))
            symbol = int(np.clip(np.rint(rng.normal(LARGEST + 1, 3)), 0, SYMBOLS - 1))
            fast.encode_one(symbol, table)
            slow.encode(symbol, table.probabilities)
        assert fast.finish() == slow.finish()


@given(st.integers(0, (1 << 26) - 2), st.integers(0, (1 << 20) - 1))
@settings(deadline=None)
def test_numbers_and_bits_survive(value: int, bits: int) -> None:
    encoder = RangeEncoder()
    encoder.encode_numbers([value, 3])
    encoder.encode_bits(bits, 20)
    decoder = RangeDecoder(encoder.finish())
    assert decoder.decode_numbers(2) == [value, 3]
    assert decoder.decode_bits(20) == bits


def test_tables_are_exact_and_as_wide_as_they_say() -> None:
    for kind in range(CLASSES):
        table = level_table(kind)
        assert sum(table.probabilities) == 1
        assert table.probabilities == tuple(reversed(table.probabilities))
        decay = table.probabilities[LARGEST + 2] / table.probabilities[LARGEST + 1]
        mean = float(2 * decay / (1 - decay**2))  # of the distribution before it escapes
        assert mean == pytest.approx(2 ** ((kind - UNIT_CLASS) / 2), rel=0.02)
    assert sum(presence_table(8).probabilities) == Fraction(1)
