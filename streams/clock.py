"""Time: integer nanoseconds of one host's monotonic clock, and how other clocks map onto it.

A remote clock is never read as if it were ours. Echo exchanges measure its offset as in Cristian
(1989) and NTP: we note our time, ask, the remote answers with its time, we note our time again.
The remote read its clock somewhere between our two notes, so the offset taken at the middle is
wrong by at most half the round trip. The exchange with the shortest round trip bounds it best.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

from streams.array_contract import require_time


def now_ns() -> int:
    """This host's monotonic clock, nanoseconds: the only clock whose time a record may hold."""
    return time.monotonic_ns()


@dataclass(frozen=True, slots=True)
class Echo:
    """One echo exchange."""

    sent_ns: int
    """Local time just before the question left."""
    remote_ns: int
    """Remote time when the question was answered."""
    received_ns: int
    """Local time just after the answer came."""

    def __post_init__(self) -> None:
        for name in ("sent_ns", "remote_ns", "received_ns"):
            require_time(f"Echo.{name}", getattr(self, name))
        if self.received_ns < self.sent_ns:
            raise ValueError(
                f"Echo.received_ns: expected at least sent_ns {self.sent_ns}, "
                f"got {self.received_ns}"
            )

    @property
    def round_trip_ns(self) -> int:
        return self.received_ns - self.sent_ns


@dataclass(frozen=True, slots=True)
class RemoteClockOptions:
    """How much of the past a `RemoteClock` trusts."""

    window: int = 64
    """Echo exchanges remembered; older ones are forgotten."""
    drift_ppm: float = 100.0
    """How fast the two clocks may part, parts per million (quartz: below 50 each)."""
    jump_ns: int = 1_000_000
    """Two echoes that contradict each other by more than this mean that the remote clock was set:
    what came before is forgotten."""


class RemoteClock:
    """Maps one remote clock to ours and back. Thread-safe."""

    def __init__(self, options: RemoteClockOptions | None = None) -> None:
        self.options = options or RemoteClockOptions()
        self._echoes: deque[Echo] = deque(maxlen=self.options.window)
        self._lock = threading.Lock()

    def add(self, echo: Echo) -> None:
        """Take in one exchange; exchanges may come in any order."""
        with self._lock:
            if self._echoes:
                offset, bound = self._estimate(echo.received_ns)
                mine, half = _offset_and_half(echo)
                if abs(mine - offset) > bound + half + self.options.jump_ns:
                    self._echoes.clear()
            self._echoes.append(echo)

    @property
    def synchronised(self) -> bool:
        """Whether an exchange was made at all; before that nothing can be mapped."""
        with self._lock:
            return bool(self._echoes)

    def offset_ns(self, at_local_ns: int) -> int:
        """Remote minus local time, nanoseconds, as best known at that local time."""
        with self._lock:
            return self._estimate(at_local_ns)[0]

    def error_bound_ns(self, at_local_ns: int) -> int:
        """The offset is wrong by at most this: half the round trip, and drift since then."""
        with self._lock:
            return self._estimate(at_local_ns)[1]

    def local_from_remote(self, remote_ns: int) -> int:
        """A remote time, nanoseconds, as the local time of the same moment."""
        require_time("RemoteClock.local_from_remote", remote_ns)
        with self._lock:
            # The newest exchange is close enough to say which exchange is best for that moment.
            guess = remote_ns - self._estimate(self._newest_ns())[0]
            return remote_ns - self._estimate(guess)[0]

    def remote_from_local(self, local_ns: int) -> int:
        """A local time, nanoseconds, as the remote time of the same moment."""
        require_time("RemoteClock.remote_from_local", local_ns)
        with self._lock:
            return local_ns + self._estimate(local_ns)[0]

    def _newest_ns(self) -> int:
        return max((echo.received_ns for echo in self._echoes), default=0)

    def _estimate(self, at_local_ns: int) -> tuple[int, int]:
        if not self._echoes:
            raise ValueError(
                "RemoteClock: expected at least one echo exchange before a time is mapped, got "
                "none; call add() first"
            )

        def bound(echo: Echo) -> int:
            age = abs(at_local_ns - (echo.sent_ns + echo.received_ns) // 2)
            # One more nanosecond for the halves that integers cannot hold.
            return _offset_and_half(echo)[1] + int(age * self.options.drift_ppm * 1e-6) + 1

        best = min(self._echoes, key=bound)
        return _offset_and_half(best)[0], bound(best)


def _offset_and_half(echo: Echo) -> tuple[int, int]:
    half = (echo.round_trip_ns + 1) // 2
    return echo.remote_ns - (echo.sent_ns + echo.received_ns) // 2, half
