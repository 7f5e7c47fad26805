"""How often something may happen: token buckets, one for each address or one for each link."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

from streams.clock import now_ns

REMEMBERED = 4096
"""Addresses; of more the one that was quiet longest is forgotten."""


class TokenBucket:
    """Lets `rate` a second through on average, `burst` at once (Turner 1986, the leaky bucket as a
    meter). Not thread-safe."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], int] = now_ns) -> None:
        if not (rate > 0 and burst > 0):
            raise ValueError(f"TokenBucket: expected rates above 0, got {rate:g} and {burst:g}")
        self._rate, self._burst, self._clock = rate, burst, clock
        self._tokens, self._at_ns = burst, clock()

    def take(self, count: float = 1.0) -> bool:
        """Whether `count` more may happen now; then they are counted."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at_ns) * 1e-9 * self._rate)
        self._at_ns = now
        if self._tokens < count:
            return False
        self._tokens -= count
        return True


class AddressBuckets:
    """A bucket for each address that was heard of lately. Not thread-safe."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], int] = now_ns) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, address: str) -> bool:
        """Whether one more may come from there now."""
        bucket = self._buckets.get(address)
        if bucket is None:
            bucket = self._buckets[address] = TokenBucket(self._rate, self._burst, self._clock)
            if len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(address)
        return bucket.take()


def limited_address(address: str) -> str:
    """What is counted as one address: IPv6 by its first 64 bits, all of which one machine may use;
    IPv4 in IPv6's form as itself."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return (
            str(ipaddress.ip_network((int(ip), 64), strict=False)) if not ip.is_loopback else "::1"
        )
    return str(ip)
