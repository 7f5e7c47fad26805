"""Log lines about what was refused: one each, and no more than a disk and a reader can take."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from headset.webxr.rate_limits import TokenBucket
from streams.clock import now_ns

QUIET_S = 10.0
"""The same refusal of the same address is told again after so long, with how often it came."""
REMEMBERED = 256
"""Pairs of address and reason."""
LINES_RATE, LINES_BURST = 1.0, 60.0
"""Lines a second on average, and at once, whatever comes from wherever."""


class Refusals:
    """Writes to `write`, one call a line. Not thread-safe: it belongs to the network's loop."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], int] = now_ns) -> None:
        self._write, self._clock = write, clock
        self._lines = TokenBucket(LINES_RATE, LINES_BURST, clock)
        self._told: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()
        self._unsaid = 0
        self.count = 0

    def tell(self, address: str, reason: str, detail: str = "") -> None:
        """`reason` is one of few fixed texts; `detail` may be the client's own words."""
        self.count += 1
        key, now = (address, reason), self._clock()
        at_ns, more = self._told.get(key, (None, 0))
        if at_ns is not None and now - at_ns < QUIET_S * 1e9:
            self._told[key] = (at_ns, more + 1)
            return
        if not self._lines.take():
            self._unsaid += 1
            return
        self._told[key] = (now, 0)
        self._told.move_to_end(key)
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        line = f"refused {printable(address, 45)}: {reason}"
        if detail:
            line += f" ({printable(detail, 80)})"
        if more:
            line += f"; {more} times more since the last such line"
        if self._unsaid:
            line += f"; {self._unsaid} other refusals were not told"
            self._unsaid = 0
        self._write(line)


def printable(text: str, longest: int) -> str:
    """A stranger's words as a terminal and a log can take them: no control characters, no line
    ends, cut."""
    plain = text.encode("ascii", "backslashreplace").decode()
    plain = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in plain)
    return plain if len(plain) <= longest else f"{plain[: longest - 3]}..."
