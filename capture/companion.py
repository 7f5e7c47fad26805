"""One of a rig's other cameras: which of its frames belongs to a moment of the first camera.

A moment has the time of the first camera's frame, and of each other camera the frame that is
nearest in time, within SIMULTANEOUS_NS. Which one that is follows from the frames' times alone, so
that a recording of the moments puts them together again as they were: what comes too late for the
moment that it belongs to is left out, and never joins another one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from capture.frame_source import FrameSource, SourceError
from streams.camera import Camera
from streams.frame import SIMULTANEOUS_NS, Frame

KEPT = 4
"""Frames of a camera that wait for their moment; more than come in SIMULTANEOUS_NS at 100 Hz."""
JUDGED = 30
"""Moments after which it is said of a camera that it is out of step, if it is."""
EARLIER_NS = 500_000_000
"""A camera without a picture for so long is missed, and so is a file that ends so much before the
first one; files of one take seldom end in the same frame."""
JOIN_S = 1.0
"""How long closing waits for a camera."""

Say = Callable[[str], None]
"""Takes one line for the user."""


class WaitingFrames:
    """The newest frames of one camera, in the order of their times."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque(maxlen=KEPT)
        self._floor_ns = 0
        """What is older comes too late: the moment that it belongs to is over."""
        self.newest_ns: int | None = None
        """Time of the newest frame that ever came."""

    def add(self, frame: Frame) -> None:
        """A frame newer than those before."""
        self.newest_ns = frame.t_ns
        if frame.t_ns >= self._floor_ns:
            self._frames.append(frame)

    def take(self, t_ns: int) -> Frame | None:
        """The frame of the moment `t_ns`, or None. Moments come in their order; a frame may be of
        two of them, where its camera is the slower one."""
        near = [frame for frame in self._frames if abs(frame.t_ns - t_ns) <= SIMULTANEOUS_NS]
        best = min(near, key=lambda frame: abs(frame.t_ns - t_ns), default=None)
        apart_ns = SIMULTANEOUS_NS + 1 if best is None else abs(best.t_ns - t_ns)
        self._floor_ns = max(self._floor_ns, t_ns + apart_ns)
        oldest_ns = t_ns - SIMULTANEOUS_NS if best is None else best.t_ns
        while self._frames and self._frames[0].t_ns < oldest_ns:
            self._frames.popleft()
        return best


class Companion:
    """Another camera beside the first, whatever becomes of it: when it drops frames, stalls or
    ends, its frames are missing, and `say` is told once why."""

    def __init__(self, source: FrameSource, say: Say) -> None:
        self._source, self._say = source, say
        self._waiting = WaitingFrames()
        self._ended = False
        self._told = False
        self._begun = False
        """Whether a frame has ever come."""
        self._moments = self._seen = 0
        self._apart_ns: list[int] = []

    @property
    def camera(self) -> Camera:
        """Its camera."""
        return self._source.camera

    @property
    def damaged(self) -> int:
        """As `FrameSource.damaged`."""
        return self._source.damaged

    def at(self, t_ns: int, deadline_s: float) -> Frame | None:
        """Its frame of the moment `t_ns`. A live camera's is waited for, by `time.monotonic` up to
        `deadline_s`."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the source."""
        self._source.close()

    def _take(self, t_ns: int) -> Frame | None:
        """`WaitingFrames.take`, and the user told where that often fails."""
        newest_ns = self._waiting.newest_ns
        found = self._waiting.take(t_ns)
        if self._told or self._ended:
            return found
        if newest_ns is not None and not self._begun:
            self._begun, self._moments = True, 0
        self._moments += 1
        self._seen += found is not None
        if found is None and newest_ns is not None:
            self._apart_ns.append(abs(newest_ns - t_ns))
        if self._moments >= JUDGED:
            if self._seen < JUDGED // 2:
                self._tell(self._out_of_step(t_ns, newest_ns))
            self._moments = self._seen = 0
            self._apart_ns = []
        return found

    def _out_of_step(self, t_ns: int, newest_ns: int | None) -> str:
        if newest_ns is None:
            return "gives no pictures; the others go on without it"
        if newest_ns < t_ns - EARLIER_NS:
            gone_s = (t_ns - newest_ns) / 1e9
            return f"has given no picture for {gone_s:.1f} s; the others go on without it"
        apart_ms = sorted(self._apart_ns)[len(self._apart_ns) // 2] / 1e6
        return (
            f"out of step with the first camera: of {JUDGED} moments it shows {self._seen}, its "
            f"pictures are {apart_ms:.0f} ms beside the others (at most "
            f"{SIMULTANEOUS_NS / 1e6:.0f} belong together); the others go on without those"
        )

    def _end(self, why: str) -> None:
        self._ended = True
        self._tell(f"{why}; the others go on without it")

    def _tell(self, what: str) -> None:
        if not self._told:
            self._told = True
            self._say(f"{self.camera.name}: {what}")


class FileCompanion(Companion):
    """A file's: frames are read as moments need them, all of them, by whoever asks."""

    def at(self, t_ns: int, deadline_s: float) -> Frame | None:
        del deadline_s
        while not self._ended and (self._waiting.newest_ns or -1) < t_ns:
            try:
                frame = next(self._source, None)
            except SourceError as error:
                self._end(str(error))
                break
            if frame is None:
                self._ended = True
                break
            self._waiting.add(frame)
        last_ns = self._waiting.newest_ns or 0
        if self._ended and t_ns - last_ns > EARLIER_NS:
            self._tell(f"ended after {last_ns / 1e9:.1f} s; the others go on without it")
        return self._take(t_ns)


class LiveCompanion(Companion):
    """A camera's: a thread of its own keeps the newest frames."""

    def __init__(self, source: FrameSource, say: Say) -> None:
        super().__init__(source, say)
        self._near_ns = min(SIMULTANEOUS_NS, round(0.5e9 / source.fps))
        self._behind = False
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(
            target=self._read, name=f"visavis {source.camera.name}", daemon=True
        )
        self._thread.start()

    def at(self, t_ns: int, deadline_s: float) -> Frame | None:
        with self._changed:
            # One that did not come in time once is not waited for again until it is back.
            self._behind = not self._changed.wait_for(
                lambda: self._has_come(t_ns),
                0.0 if self._behind else max(0.0, deadline_s - time.monotonic()),
            )
            return self._take(t_ns)

    def close(self) -> None:
        """Stop the thread; a camera whose driver hangs is left behind."""
        self._stop.set()
        super().close()
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_S)

    def _has_come(self, t_ns: int) -> bool:
        """Whether waiting would bring no nearer frame."""
        newest_ns = self._waiting.newest_ns
        return self._ended or (newest_ns is not None and newest_ns >= t_ns - self._near_ns)

    def _read(self) -> None:
        why = "ended"
        try:
            for frame in self._source:
                with self._changed:
                    self._waiting.add(frame)
                    self._changed.notify_all()
        except Exception as error:  # whatever it is: the others go on
            why = " ".join(str(error).split())
        with self._changed:
            if self._stop.is_set():
                self._ended = True
            else:
                self._end(why)
            self._changed.notify_all()
