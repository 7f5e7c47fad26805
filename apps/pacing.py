"""A recording played as if it were live: every picture at its time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from capture.frame_source import FrameSource, SourceAround
from streams.frame import Frame

LATE_NS = 250_000_000
"""A player that fell this far behind (a suspended laptop) starts its clock anew."""


class PacedSource(SourceAround):
    """A FrameSource that hands on another one's pictures at their own times, restamped to now.

    With `reopen` it starts over at the end, for ever; `seq` and `t_ns` go on rising.
    """

    def __init__(
        self, source: FrameSource, reopen: Callable[[], FrameSource] | None = None
    ) -> None:
        super().__init__(source)
        self._reopen = reopen
        self._stop = threading.Event()
        self._start_ns: int | None = None
        self.rounds = 0
        """How often it has started over."""
        self._seq = 0
        self._last_ns = -1

    @property
    def start_ns(self) -> int | None:
        """When its time 0 was, monotonic nanoseconds; None before the first picture."""
        return self._start_ns

    @property
    def live(self) -> bool:
        return True

    def __next__(self) -> Frame:
        frame = next(self._source, None)
        if frame is None and self._reopen is not None and not self._stop.is_set():
            self._source.close()
            self._source = self._reopen()
            self._start_ns, self.rounds = None, self.rounds + 1
            frame = next(self._source, None)
        if frame is None or self._stop.is_set():
            raise StopIteration
        now = time.monotonic_ns()
        if self._start_ns is None or now - (self._start_ns + frame.t_ns) > LATE_NS:
            # The first picture of a round follows the last one of the round before by one step.
            step_ns = round(1e9 / self.fps)
            self._start_ns = max(now, self._last_ns + step_ns) - frame.t_ns
        due = self._start_ns + frame.t_ns
        if due > now:
            self._stop.wait((due - now) / 1e9)
        self._last_ns = max(due, self._last_ns + 1)
        paced = frame.at(self._last_ns, self._seq)
        self._seq += 1
        return paced

    def close(self) -> None:
        """Stop waiting and close the source."""
        self._stop.set()
        super().close()
