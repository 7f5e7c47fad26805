"""Symbols to bytes and back, many at a time: `constriction` with an end trimmed to the byte."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from avatar.symbol_tables import Table, even_table, near_table

Int32 = npt.NDArray[np.int32]
queue = constriction.stream.queue  # pyright: ignore[reportAttributeAccessIssue]
MOST_BITS = 25
"""Of a number besides its first one."""
BYTE = 8
"""Bits that are one symbol."""


FOREIGN = "expected a range coder's bytes, got others"


class RangeCoderError(ValueError):
    """Bytes that no encoder wrote."""


@cache
def _number_models() -> tuple[Any, tuple[Any, ...]]:
    """Of how many bits a number has, and of 1, 2, ... BYTE of them."""
    parts = tuple(even_table(2 << k).model for k in range(BYTE))
    return near_table(MOST_BITS + 1, 0).model, parts


class RangeEncoder:
    """Append symbols, then `finish`."""

    def __init__(self) -> None:
        self._words = queue.RangeEncoder()
        self.encode_by = self._words.encode
        """Takes a symbol and a table's model: `encode_one` for loops over many."""

    def encode(self, symbols: Int32, table: Table) -> None:
        """(N,) int32, each below the size of the table."""
        self.encode_by(symbols, table.model)

    def encode_one(self, symbol: int, table: Table) -> None:
        """One symbol."""
        self.encode_by(symbol, table.model)

    def encode_numbers(self, values: Sequence[int]) -> None:
        """Integers from 0, Elias gamma: how many bits follow the first one of value + 1, then
        those."""
        encode, (sizes, parts) = self.encode_by, _number_models()
        for value in values:
            bits = (value + 1).bit_length() - 1
            encode(bits, sizes)
            rest = value + 1 - (1 << bits)
            if 0 < bits <= BYTE:  # as encode_bits has it, without its loop: most are small
                encode(rest, parts[bits - 1])
            else:
                self.encode_bits(rest, bits)

    def encode_bits(self, value: int, bits: int) -> None:
        """That many bits of an integer, the highest first, by eight and what is left."""
        while bits > 0:
            some = min(bits, BYTE)
            bits -= some
            self.encode_one((value >> bits) & ((1 << some) - 1), even_table(1 << some))

    def finish(self) -> bytes:
        """The shortest bytes that decode to the same when zeros follow."""
        count, (low, span) = self._words.pos()
        data = self._words.get_compressed().astype(">u4").tobytes()
        before = int.from_bytes(data[: 4 * count], "big")
        last = int.from_bytes(data[4 * count : 4 * count + 8].ljust(8, b"\0"), "big")
        if last < low:  # what was sealed lies behind a carry
            before -= 1
        low += before << 64
        for length in range(9):
            bits = 8 * (8 - length)
            value = -(-low >> bits)
            if value << bits < low + span:
                return value.to_bytes(4 * count + length, "big").rstrip(b"\0")
        raise RangeCoderError("RangeEncoder.finish: expected an interval, got an empty one")


class RangeDecoder:
    """Symbols in the order in which they were encoded."""

    def __init__(self, data: bytes) -> None:
        padded = data.ljust(-(-len(data) // 4) * 4 + 8, b"\0")
        words = np.frombuffer(padded, ">u4").astype(np.uint32)
        self.decode_by = queue.RangeDecoder(words).decode
        """Takes a table's model: `decode_one` for loops over many, but that it raises
        AssertionError."""

    def decode(self, count: int, table: Table) -> Int32:
        """(count,) symbols. Raises RangeCoderError."""
        try:
            return self.decode_by(table.model, count)
        except AssertionError as error:
            raise RangeCoderError(FOREIGN) from error

    def decode_one(self, table: Table) -> int:
        """One symbol. Raises RangeCoderError."""
        try:
            return self.decode_by(table.model)
        except AssertionError as error:
            raise RangeCoderError(FOREIGN) from error

    def decode_numbers(self, count: int) -> list[int]:
        """What `encode_numbers` wrote. Raises RangeCoderError."""
        decode, (sizes, parts) = self.decode_by, _number_models()
        values: list[int] = []
        try:
            for _ in range(count):
                bits = decode(sizes)
                rest = decode(parts[bits - 1]) if 0 < bits <= BYTE else self.decode_bits(bits)
                values.append((1 << bits) - 1 + rest)
        except AssertionError as error:
            raise RangeCoderError(FOREIGN) from error
        return values

    def decode_bits(self, bits: int) -> int:
        """What `encode_bits` wrote. Raises RangeCoderError."""
        value = 0
        while bits > 0:
            some = min(bits, BYTE)
            bits -= some
            value = value << some | self.decode_one(even_table(1 << some))
        return value
