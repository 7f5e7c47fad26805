"""The range coder in plain integers: the specification of what `constriction` does for packets.

Martin (1979), "Range encoding", with 64 bits of state and 32-bit words, most significant first. The
numbers coded so far choose an interval [low, low + span) of the unit interval, a symbol its part of
it by its probability; the packet is the shortest string of bytes that lies in the last interval
when zeros follow it without end.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

PRECISION = 24


def cumulative(probabilities: Sequence[Fraction]) -> list[int]:
    """Where each symbol's part of 2 ** 24 begins, and its end: rounded down in double precision,
    but at least 1 wide."""
    values = [float(p) for p in probabilities]
    total = 0.0
    for value in values:
        total += value
    scale = float((1 << PRECISION) - len(values)) / total
    starts, summed = [], 0.0
    for index, value in enumerate(values):
        starts.append(int(summed * scale) + index)
        summed += value
    return [*starts, 1 << PRECISION]


class SlowRangeEncoder:
    """Symbols in, bytes out."""

    def __init__(self) -> None:
        self._low, self._span, self._shift = 0, (1 << 64) - 1, 0

    def encode(self, symbol: int, probabilities: Sequence[Fraction]) -> None:
        """Append one symbol."""
        bounds = cumulative(probabilities)
        step = self._span >> PRECISION
        self._low += step * bounds[symbol]
        self._span = step * (bounds[symbol + 1] - bounds[symbol])
        if self._span < 1 << 32:
            self._low <<= 32
            self._span <<= 32
            self._shift += 32

    def finish(self) -> bytes:
        """The shortest string of bytes in the interval."""
        whole = (64 + self._shift) // 8
        for length in range(whole + 1):
            unit = 1 << (8 * (whole - length))
            value = -(-self._low // unit) * unit
            if value < self._low + self._span:
                return (value // unit).to_bytes(length, "big")
        raise ValueError("SlowRangeEncoder: expected an interval, got an empty one")


class SlowRangeDecoder:
    """Bytes in, symbols out."""

    def __init__(self, data: bytes) -> None:
        self._data, self._next = data, 8
        self._offset = int.from_bytes(data[:8].ljust(8, b"\0"), "big")
        self._span = (1 << 64) - 1

    def decode(self, probabilities: Sequence[Fraction]) -> int:
        """The next symbol. Raises ValueError when no encoder can have written the bytes."""
        bounds = cumulative(probabilities)
        step = self._span >> PRECISION
        slot = self._offset // step
        if slot >= 1 << PRECISION:
            raise ValueError("SlowRangeDecoder: expected the bytes of a range encoder")
        symbol = max(k for k in range(len(probabilities)) if bounds[k] <= slot)
        self._offset -= step * bounds[symbol]
        self._span = step * (bounds[symbol + 1] - bounds[symbol])
        if self._span < 1 << 32:
            word = self._data[self._next : self._next + 4].ljust(4, b"\0")
            self._offset = (self._offset << 32) + int.from_bytes(word, "big")
            self._span <<= 32
            self._next += 4
        return symbol
