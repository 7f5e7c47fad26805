"""A recording's timeline as its viewer steers it: where it stands, whether it plays, an A-B loop.

Only numbers: it draws nothing, reads no clock and opens no file.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

SPEEDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
JUMP_NS = 5_000_000_000
"""What a page key jumps."""


class Timeline:
    """Stands at one of `times` (nanoseconds, rising) from the first one on.

    What a key or the mouse asks for is a *target* until the viewer has gone there: `take_target`.
    """

    def __init__(self, times: Sequence[int], speed: float = 1.0, loop: bool = False) -> None:
        if not times:
            raise ValueError("Timeline: expected at least one time, got none")
        self.times = times
        self.playing = True
        self.speed = speed
        self.loop = loop
        """Whether the end goes over into the beginning."""
        self.a_ns: int | None = None
        self.b_ns: int | None = None
        self._place = 0
        self._target: int | None = None
        self._dragging = False

    @property
    def now_ns(self) -> int:
        """Where it stands, or where it is about to."""
        return self.times[self._place if self._target is None else self._target]

    @property
    def share(self) -> float:
        """How far it stands, 0 to 1."""
        return self.share_of(self.now_ns)

    def share_of(self, t_ns: int) -> float:
        """How far a time lies between the first and the last one, 0 to 1."""
        first, last = self.times[0], self.times[-1]
        return 0.0 if last == first else min(max((t_ns - first) / (last - first), 0.0), 1.0)

    def reached(self, t_ns: int) -> None:
        """The viewer shows this time now. At B, or at the end of what loops, the target is A, or
        the beginning; at the end of what does not, it pauses."""
        if self._target is not None:
            return  # It was shown before the viewer heard of the target.
        self._place = max(bisect_right(self.times, t_ns) - 1, 0)
        if not self.playing:
            return
        if self.b_ns is not None and t_ns >= self.b_ns:
            self.seek(self.a_ns if self.a_ns is not None else self.times[0])
        elif self._place == len(self.times) - 1:
            if self.loop:
                self.seek(self.a_ns if self.a_ns is not None else self.times[0])
            else:
                self.playing = False

    def ended(self) -> None:
        """The source has no more: as at the last time."""
        self.reached(self.times[-1])

    def take_target(self) -> int | None:
        """Where to go now, once; None when it is to go on as it is."""
        target, self._target = self._target, None
        if target is None:
            return None
        self._place = target
        return self.times[target]

    def seek(self, t_ns: int) -> None:
        """Go to the newest of the times at or before `t_ns`; before the first one, to that."""
        self._target = max(bisect_right(self.times, t_ns) - 1, 0)

    def seek_share(self, share: float) -> None:
        """Go to the time nearest to this part of the whole, 0 to 1."""
        first, last = self.times[0], self.times[-1]
        wanted = first + round(min(max(share, 0.0), 1.0) * (last - first))
        right = min(bisect_left(self.times, wanted), len(self.times) - 1)
        left = max(right - 1, 0)
        nearer = wanted - self.times[left] <= self.times[right] - wanted
        self._target = left if nearer else right

    def step(self, count: int) -> None:
        """Pause and go so many times on, backwards when negative."""
        self.playing = False
        place = self._place if self._target is None else self._target
        self._target = min(max(place + count, 0), len(self.times) - 1)

    def toggle(self) -> None:
        """Pause, or play on; at the very end from the beginning."""
        self.playing = not self.playing
        if self.playing and self.now_ns == self.times[-1]:
            self.seek(self.a_ns if self.a_ns is not None else self.times[0])

    def mark_a(self) -> None:
        """A is here; a B before it goes."""
        self.a_ns = self.now_ns
        if self.b_ns is not None and self.b_ns <= self.a_ns:
            self.b_ns = None

    def mark_b(self) -> None:
        """B is here: playing, it goes back to A (or the beginning) from here. Not before A."""
        if self.a_ns is None or self.now_ns > self.a_ns:
            self.b_ns = self.now_ns

    def clear_marks(self) -> None:
        """No loop between A and B."""
        self.a_ns = self.b_ns = None

    def faster(self, steps: int) -> None:
        """The next of SPEEDS, slower when negative."""
        place = min(range(len(SPEEDS)), key=lambda k: abs(SPEEDS[k] - self.speed))
        self.speed = SPEEDS[min(max(place + steps, 0), len(SPEEDS) - 1)]

    def key(self, name: str) -> bool:
        """What a key does; False for one that does nothing here.

        "space" pauses; "left", "right", "," and "." step; "page up", "page down" jump 5 s; "home",
        "end" go there; "a", "b" mark a loop, "l" forgets it; "[" and "]" change the speed.
        """
        if name == "space":
            self.toggle()
        elif name in ("left", ","):
            self.step(-1)
        elif name in ("right", "."):
            self.step(1)
        elif name == "page up":
            self.seek(self.now_ns - JUMP_NS)
        elif name == "page down":
            self.seek(self.now_ns + JUMP_NS)
        elif name == "home":
            self.seek(self.times[0])
        elif name == "end":
            self.step(len(self.times))
        elif name == "a":
            self.mark_a()
        elif name == "b":
            self.mark_b()
        elif name == "l":
            self.clear_marks()
        elif name == "[":
            self.faster(-1)
        elif name == "]":
            self.faster(1)
        else:
            return False
        return True

    def press(self, share: float) -> None:
        """The mouse went down on the bar."""
        self._dragging = True
        self.seek_share(share)

    def drag(self, share: float) -> None:
        """The mouse moved; only while it is down."""
        if self._dragging:
            self.seek_share(share)

    def release(self) -> None:
        """The mouse went up."""
        self._dragging = False

    def line(self) -> str:
        """In one line: place, length, speed, loop."""
        first = self.times[0]
        text = f"{clock(self.now_ns - first)} / {clock(self.times[-1] - first)}"
        text += "" if self.playing else "  paused"
        text += "" if self.speed == 1.0 else f"  {self.speed:g}x"
        if self.a_ns is not None or self.b_ns is not None:
            a = clock((self.a_ns if self.a_ns is not None else first) - first)
            text += f"  A {a} B {'-' if self.b_ns is None else clock(self.b_ns - first)}"
        return text


def clock(ns: int) -> str:
    """Nanoseconds as minutes, seconds and milliseconds: "1:02.345"."""
    ms = round(ns / 1e6)
    return f"{ms // 60000}:{ms // 1000 % 60:02}.{ms % 1000:03}"
