"""What a video has shown of a face so far, and what an avatar of it could not know yet.

Counted from tracked states alone, so live guidance, recorded videos and the report agree. Every
thing to be shown is a signal that has to pass one threshold to begin and to fall below a lower one
to end (a Schmitt trigger: noise about the threshold counts once), for so many seconds or times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from avatar.enrolment.face_signals import FaceSignals, Rest
from streams.tracked_state import TrackedState

LONGEST_STEP_NS = 200_000_000
"""Of time between two states that counts as seen; a gap in a recording is longer."""


@dataclass(frozen=True, slots=True)
class Showing:
    """One thing that a video should show."""

    key: str
    group: str
    """"head", "eyes", "brows", "mouth"."""
    text: str
    """What to do, as one says it to somebody."""
    signal: Callable[[FaceSignals], float]
    begins: float
    """The signal (degrees, shapes 0..1, millimetres of brow) counts from here on ..."""
    ends: float
    """... until it is below this."""
    wanted: float
    unit: str = "s"
    """"s" of time, or "times" that it begins."""


# Thresholds: what MediaPipe reports of the drawn person's full shapes and of three real clips. It
# sees a look up or down as a third of what it is.
SHOWINGS: tuple[Showing, ...] = (
    Showing(
        "front", "head", "look into the camera with a resting face",
        lambda s: min(10.0 - abs(s.turn), 8.0 - abs(s.nod), 100.0 * (0.25 - s.jaw)),
        0.0, -2.0, 3.0,
    ),
    Showing("turn_left", "head", "turn the head to your left", lambda s: s.turn, 18, 14, 0.6),
    Showing("turn_right", "head", "turn the head to your right", lambda s: -s.turn, 18, 14, 0.6),
    Showing("nod_up", "head", "raise the chin", lambda s: s.nod, 9, 6, 0.6),
    Showing("nod_down", "head", "lower the chin", lambda s: -s.nod, 9, 6, 0.6),
    Showing("tilt_left", "head", "lean the head to your left", lambda s: s.tilt, 9, 6, 0.4),
    Showing("tilt_right", "head", "lean the head to your right", lambda s: -s.tilt, 9, 6, 0.4),
    Showing("look_left", "eyes", "look far to your left", lambda s: s.look, 12, 8, 0.4),
    Showing("look_right", "eyes", "look far to your right", lambda s: -s.look, 12, 8, 0.4),
    Showing("look_up", "eyes", "look up with the eyes only", lambda s: s.look_up, 4, 2.5, 0.4),
    Showing("look_down", "eyes", "look down with the eyes only", lambda s: -s.look_up, 4.5, 3, 0.4),
    Showing("eyes_closed", "eyes", "close the eyes for a second", lambda s: s.lids, 0.5, 0.4, 0.5),
    Showing("blinks", "eyes", "blink", lambda s: s.lids, 0.45, 0.3, 2, "times"),
    Showing("brows_up", "brows", "raise the brows", lambda s: s.brows, 2.2, 1.2, 0.4),
    Showing("brows_down", "brows", "frown", lambda s: -s.brows, 1.5, 0.8, 0.4),
    Showing("mouth_wide", "mouth", "open the mouth wide", lambda s: s.jaw, 0.5, 0.4, 0.5),
    Showing("smile", "mouth", "smile broadly", lambda s: s.smile, 0.5, 0.35, 0.6),
    Showing("pucker", "mouth", "purse the lips, as for a kiss", lambda s: s.pucker, 0.6, 0.4, 0.4),
    Showing("press", "mouth", "press the lips together", lambda s: s.press, 0.3, 0.2, 0.4),
    Showing("speech", "mouth", "talk", lambda s: s.jaw, 0.12, 0.06, 12, "times"),
)  # fmt: skip
SHOWN = {showing.key: showing for showing in SHOWINGS}


class Coverage:
    """The meter. It never falls; equal states give equal shares."""

    def __init__(self) -> None:
        self._count = dict.fromkeys(SHOWN, 0.0)
        self._on = dict.fromkeys(SHOWN, False)
        self._rest = Rest()
        self._last_ns: int | None = None
        self.faces_s = 0.0
        """Seconds in which a face was seen."""

    @staticmethod
    def of(states: Iterable[TrackedState]) -> Coverage:
        """Of a whole recording."""
        coverage = Coverage()
        for state in states:
            coverage.add(state)
        return coverage

    def add(self, state: TrackedState) -> None:
        """Count one moment. A time before the last one begins another recording."""
        last, self._last_ns = self._last_ns, state.t_ns
        if state.face is None or last is None or state.t_ns <= last:
            self._on = dict.fromkeys(SHOWN, False)
        if state.face is None:
            return
        step_ns = 0 if last is None else min(max(state.t_ns - last, 0), LONGEST_STEP_NS)
        self.faces_s += step_ns / 1e9
        signals = self._rest.relative(FaceSignals.of(state.face), step_ns / 1e9)
        for key, showing in SHOWN.items():
            value, was = showing.signal(signals), self._on[key]
            now = value >= (showing.ends if was else showing.begins)
            if showing.unit == "times":
                self._count[key] += now and not was
            elif now and was:
                self._count[key] += step_ns / 1e9
            self._on[key] = now

    def count(self, key: str) -> float:
        """Seconds or times that it was seen."""
        return self._count[key]

    def share(self, key: str) -> float:
        """0..1 of what is wanted of it."""
        return min(1.0, self._count[key] / SHOWN[key].wanted)

    def total(self) -> float:
        """0..1: the mean of all shares."""
        return sum(self.share(key) for key in SHOWN) / len(SHOWN)

    def missing(self) -> tuple[Showing, ...]:
        """What was not seen enough, in the order of SHOWINGS."""
        return tuple(showing for showing in SHOWINGS if self.share(showing.key) < 1.0)

    def line(self) -> str:
        """One line for people."""
        missing = self.missing()
        if not missing:
            return "the video shows all that an avatar needs"
        texts = ", ".join(showing.text for showing in missing)
        return f"the video covers {100 * self.total():.0f} %; not (enough) in it: {texts}"
