"""Holds a stream at its bitrate: the quality of the next packet, and whether it goes at all."""

from __future__ import annotations

import numpy as np

from avatar.packet_format import QUALITIES

LEAST_PACKET_BITS = 150.0
"""Below, a packet is mostly header: rather fewer packets."""
SAVED_S, OWED_S = 0.25, 1.0
"""How much of unused time may be saved, and how much a large packet may owe."""
SETTLED_IN = 4.0
"""Packets in which a debt is paid back."""
SHARE = 0.95
"""Of the rate that is aimed at; the rest keeps swings below it."""
FIRST_QUALITY, FIRST_FALL, FIRST_BIT_S = 12.0, 5.5, 12_000.0
"""Where a stream starts: what talking people settled at, at 12 kbit/s, and per doubling."""
RESPONSE = 2.0
"""Quality steps for a packet of twice the wanted size."""


class RateControl:
    """A bucket of bits that time fills."""

    def __init__(self, bit_s: float) -> None:
        first = FIRST_QUALITY - FIRST_FALL * float(np.log2(bit_s / FIRST_BIT_S))
        self._bit_s, self._quality = SHARE * bit_s, min(max(first, 0.0), QUALITIES - 1.0)
        self._balance, self._last_t_ns = 0.0, None

    @property
    def quality(self) -> int:
        """Of the next packet, 0 (finest) to QUALITIES - 1."""
        return round(self._quality)

    def wanted_bits(self, t_ns: int) -> float | None:
        """Size that the packet at `t_ns` should have; None: leave this moment out."""
        if self._last_t_ns is None:
            return 8.0 * LEAST_PACKET_BITS
        gained = self._bit_s * max(0, t_ns - self._last_t_ns) / 1e9
        wanted = gained + self._balance / SETTLED_IN
        if wanted < LEAST_PACKET_BITS and gained < 4.0 * LEAST_PACKET_BITS:
            return None
        return max(wanted, LEAST_PACKET_BITS)

    def coarser(self, bits: float, wanted: float) -> None:
        """The packet was too large and is made again."""
        self._quality = min(QUALITIES - 1.0, self._quality + 1.0 + RESPONSE * (bits / wanted - 1.0))

    def sent(self, t_ns: int, bits: float, wanted: float, key: bool) -> None:
        """A packet of `bits` went out."""
        if self._last_t_ns is not None:
            self._balance += self._bit_s * max(0, t_ns - self._last_t_ns) / 1e9
        self._last_t_ns = t_ns
        self._balance -= bits
        low, high = -OWED_S * self._bit_s, SAVED_S * self._bit_s
        self._balance = min(max(self._balance, low), high)
        if not key:
            change = RESPONSE * (bits - wanted) / max(wanted, 1.0)
            self._quality = min(
                max(self._quality + min(max(change, -1.5), 3.0), 0.0), QUALITIES - 1.0
            )
