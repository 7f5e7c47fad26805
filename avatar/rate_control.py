"""Holds a stream at its bitrate: the quality of the next packet, and whether it goes at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST_PACKET_BITS = 150.0
"""Below, a packet is mostly header: rather fewer packets."""
SAVED_S, OWED_S = 0.05, 0.05
"""How much of unused time may be saved, and how much a large packet may owe."""
LONGEST_GAIN_S = 1.0
"""A pause gives no more than this."""
SETTLED_IN = 4.0
"""Packets in which a debt is paid back."""
SHARE = 0.95
"""Of the rate that is aimed at. Over T seconds at most SHARE * T + SAVED_S + OWED_S seconds' worth
is sent, so that over 3 s and more the rate is a ceiling."""
KEY_SHARE = 0.25
"""Of the rate by which key packets, which no ceiling holds, are paid back afterwards."""
FIRST_QUALITY, FIRST_FALL, FIRST_BIT_S = 12.0, 5.5, 12_000.0
"""Where a stream starts: what talking people settled at, at 12 kbit/s, and per doubling."""
COARSEST = 18.0
"""Quality at which moments are left out instead: steps beyond save little and destroy what the
next packets are predicted from."""
RESPONSE = 2.0
"""Quality steps for a packet of twice the wanted size."""
TOO_LARGE = 1.6
"""Times its wanted size, at which a packet is made again."""


@dataclass(frozen=True, slots=True)
class Budget:
    """For one packet, in bits."""

    wanted: float
    most: float
    """Larger ones are not sent."""

    @property
    def tolerated(self) -> float:
        """Larger ones are better made again, coarser."""
        return min(TOO_LARGE * self.wanted, self.most)


class RateControl:
    """A bucket of bits that time fills."""

    def __init__(self, bit_s: float) -> None:
        first = FIRST_QUALITY - FIRST_FALL * float(np.log2(bit_s / FIRST_BIT_S))
        self._bit_s, self._quality = SHARE * bit_s, min(max(first, 0.0), COARSEST)
        self._most_saved, self._most_owed = SAVED_S * bit_s, OWED_S * bit_s
        self._balance, self._loan, self._last_t_ns = 0.0, 0.0, None

    @property
    def quality(self) -> int:
        """Of the next packet, 0 (finest) to COARSEST."""
        return round(self._quality)

    def budget(self, t_ns: int) -> Budget | None:
        """Of the packet at `t_ns`; None: leave this moment out."""
        gained = self._gained(t_ns)
        most = self._balance + gained + self._most_owed
        wanted = gained + self._balance / SETTLED_IN
        if most < LEAST_PACKET_BITS or (
            wanted < LEAST_PACKET_BITS and gained < 4.0 * LEAST_PACKET_BITS
        ):
            return None
        return Budget(min(max(wanted, LEAST_PACKET_BITS), most), most)

    def coarser(self, bits: float, budget: Budget) -> None:
        """The packet was too large."""
        change = 1.0 + RESPONSE * (bits / budget.tolerated - 1.0)
        self._quality = min(COARSEST, self._quality + change)

    def sent(self, t_ns: int, bits: float, budget: Budget | None) -> None:
        """A packet of `bits` went out; without a budget: a key packet."""
        gained = self._gained(t_ns)
        if self._last_t_ns is not None:
            paid = KEY_SHARE * self._bit_s * max(0, t_ns - self._last_t_ns) / 1e9
            self._loan = max(0.0, self._loan - paid)
        self._last_t_ns = t_ns
        self._balance = min(self._balance + gained, self._most_saved + gained)
        if budget is None:
            self._loan += bits
        else:
            self._balance -= bits
            change = RESPONSE * (bits - budget.wanted) / budget.wanted
            self._quality += min(max(change, -1.5), 3.0)
            self._quality = min(max(self._quality, 0.0), COARSEST)
        self._balance = min(self._balance, self._most_saved)

    def _gained(self, t_ns: int) -> float:
        """Bits that time has brought since the last packet."""
        if self._last_t_ns is None:
            return 0.0
        passed_s = min(max(0, t_ns - self._last_t_ns) / 1e9, LONGEST_GAIN_S)
        gained = self._bit_s * passed_s
        return gained - min(self._loan, KEY_SHARE * gained)
