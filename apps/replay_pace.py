"""Recorded times on the wall clock: when a moment of a replay is due to be shown."""

from __future__ import annotations

import time

LATE_S = 0.25
"""Who fell this far behind goes on from here, instead of hurrying after."""


class Pace:
    """Only waits; whoever asks it decides nothing by the clock."""

    def __init__(self, speed: float | None = 1.0) -> None:
        self.speed = speed
        """Times as fast as recorded; None: never waits."""
        self._begun: tuple[float, int] | None = None

    def begin_anew(self) -> None:
        """The next moment is due at once."""
        self._begun = None

    def due_in(self, t_ns: int) -> float:
        """Seconds until the moment of this time is due; 0 when it is."""
        if self.speed is None:
            return 0.0
        now = time.monotonic()
        if self._begun is None:
            self._begun = (now, t_ns)
        at, first_ns = self._begun
        wait = at + (t_ns - first_ns) / 1e9 / self.speed - now
        if wait < -LATE_S or wait > 10.0 / self.speed + LATE_S:
            self._begun = (now, t_ns)  # late, or a gap in which nothing was recorded
            return 0.0
        return max(wait, 0.0)

    def wait(self, t_ns: int) -> None:
        """Wait until it is due."""
        seconds = self.due_in(t_ns)
        if seconds > 0:
            time.sleep(seconds)
