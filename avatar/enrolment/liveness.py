"""Whether a living person sits in front of the camera: challenge and response.

What is asked, and in which order, is drawn anew each time by the caller; each request has to be
fulfilled within a time, starting from a face at rest, and nothing else may be done meanwhile. So a
loop of somebody's video answers in the wrong order, and a photograph not at all; one that is waved
about fails by its lack of parallax. Not proof against a face that is drawn by a machine in time, or
a mask: then the signature and the people who know each other have to do.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from avatar.enrolment.face_signals import FaceSignals, Rest
from avatar.enrolment.guide import GuideStep
from avatar.enrolment.parallax import FaceView, Parallax
from streams.frame import Frame
from streams.tracked_state import FacePose, TrackedState


@dataclass(frozen=True, slots=True)
class Challenge:
    """One request."""

    key: str
    text: str
    signal: Callable[[FaceSignals], float]
    begins: float
    ends: float
    times: int = 1
    strict: bool = True
    """Whether doing it unasked is wrong. Everybody blinks, and many raise the brows as they open
    the mouth."""


CHALLENGES = {
    one.key: one
    for one in (
        Challenge("turn_left", "Turn your head to your left", lambda s: s.turn, 18.0, 10.0),
        Challenge("turn_right", "Turn your head to your right", lambda s: -s.turn, 18.0, 10.0),
        Challenge("lean_left", "Lean your head to your left", lambda s: s.tilt, 12.0, 6.0),
        Challenge("lean_right", "Lean your head to your right", lambda s: -s.tilt, 12.0, 6.0),
        Challenge("open_mouth", "Open your mouth wide", lambda s: s.jaw, 0.5, 0.3),
        Challenge("blink_twice", "Blink twice", lambda s: s.lids, 0.45, 0.3, 2, False),
        Challenge("raise_brows", "Raise your brows", lambda s: s.brows, 2.0, 1.0, 1, False),
    )
}
TURNS = ("turn_left", "turn_right")
ASKED = 5
"""Of the seven, with a turn among them: 2,400 orders."""


@dataclass(frozen=True, slots=True)
class LivenessOptions:
    """How strict to be."""

    limit_s: float = 5.0
    """For one request."""
    reaction_s: float = 0.2
    """Nobody answers sooner: what is under way when a request appears is no answer."""
    rest_s: float = 0.4
    """Of a face at rest before each request."""
    rest_limit_s: float = 10.0
    lost_s: float = 0.5
    """The face may be away for so long."""
    leap_deg: float = 20.0
    """The head turns by less between two frames a tenth of a second apart: more is a cut."""


def draw_order(chance: random.Random) -> tuple[str, ...]:
    """Keys of CHALLENGES: what to ask, in a random order. `chance`: secrets.SystemRandom()."""
    while True:
        order = tuple(chance.sample(sorted(CHALLENGES), ASKED))
        if set(order) & set(TURNS):
            return order


class LivenessCheck:
    """Feed it every frame with its state until `failed` is set or `passed`."""

    def __init__(self, order: Sequence[str], options: LivenessOptions | None = None) -> None:
        self._order = [CHALLENGES[key] for key in order]
        self._options = options or LivenessOptions()
        self._rest = Rest()
        self._done = 0
        self._last_ns: int | None = None
        self._asked_ns: int | None = None
        """When the present request appeared; None while the face is to come to rest."""
        self._since_ns: int | None = None
        self._resting_ns: int | None = None
        self._on: dict[str, bool] = {}
        self._times = 0
        self._away_ns = 0
        self._turn: float | None = None
        self._front: FaceView | None = None
        self._best: Parallax | None = None
        self.failed = ""
        """Why, for people."""

    @property
    def passed(self) -> bool:
        """Everything was done."""
        return self._done == len(self._order)

    @property
    def done(self) -> tuple[str, ...]:
        """Keys of what was done."""
        return tuple(one.key for one in self._order[: self._done])

    def update(self, frame: Frame, state: TrackedState) -> GuideStep:
        """The next moment; times rise."""
        step_ns = 0 if self._last_ns is None else max(0, state.t_ns - self._last_ns)
        self._last_ns = state.t_ns
        if self.failed or self.passed:
            return self._step(state.t_ns)
        if state.face is None:
            self._away_ns += step_ns
            if self._away_ns > self._options.lost_s * 1e9 and self._asked_ns is not None:
                self.failed = "the face went out of sight"
            self._turn, self._resting_ns = None, None
            if self._asked_ns is not None:
                self._check_time(state.t_ns)
            return self._step(state.t_ns)
        self._away_ns = 0
        signals = self._rest.relative(FaceSignals.of(state.face), step_ns / 1e9)
        if self._is_cut(signals.turn, step_ns):
            self.failed = "the head leapt from one place to another"
        elif self._asked_ns is None:
            self._come_to_rest(signals, frame, state.face)
        else:
            self._answer(signals, frame, state.face)
        return self._step(state.t_ns)

    def _is_cut(self, turn: float, step_ns: int) -> bool:
        before, self._turn = self._turn, turn
        return (
            before is not None
            and step_ns <= 110_000_000
            and abs(turn - before) > self._options.leap_deg
        )

    def _come_to_rest(self, signals: FaceSignals, frame: Frame, face: FacePose) -> None:
        now = frame.t_ns
        self._since_ns = now if self._since_ns is None else self._since_ns
        quiet = (
            max(abs(signals.turn), abs(signals.tilt)) < 8.0
            and signals.jaw < 0.25
            and signals.lids < 0.4
        )
        if not quiet:
            self._resting_ns = None
            if now - self._since_ns > self._options.rest_limit_s * 1e9:
                self.failed = "the face did not come to rest"
            return
        self._resting_ns = now if self._resting_ns is None else self._resting_ns
        if now - self._resting_ns >= self._options.rest_s * 1e9:
            self._front, self._best = FaceView.of(frame, face), None
            self._asked_ns, self._times = now, 0
            self._on = dict.fromkeys(CHALLENGES, False)

    def _answer(self, signals: FaceSignals, frame: Frame, face: FacePose) -> None:
        asked = self._order[self._done]
        early = frame.t_ns - (self._asked_ns or 0) < self._options.reaction_s * 1e9
        for key, one in CHALLENGES.items():
            was = self._on[key]
            self._on[key] = one.signal(signals) >= (one.ends if was else one.begins)
            if not self._on[key] or was:
                continue
            if early and one.strict:
                self.failed = f"something was done before it could be asked for ({one.text})"
            elif one.key == asked.key and not early:
                self._times += 1
            elif one.strict:
                self.failed = f"asked to: {asked.text}; done was: {one.text}"
        if self.failed:
            return
        if asked.key in TURNS:
            self._measure(asked, signals, frame, face)
        elif self._times >= asked.times:
            self._go_on()
        self._check_time(frame.t_ns)

    def _measure(
        self, asked: Challenge, signals: FaceSignals, frame: Frame, face: FacePose
    ) -> None:
        """A turn counts when the head is seen to be solid; one that is over without is flat."""
        if self._on[asked.key] and self._front is not None:
            self._best = Parallax.between(self._front, FaceView.of(frame, face))
            if self._best.solid:
                self._go_on()
        elif self._times and abs(signals.turn) < 8.0:
            self.failed = "the face turned as a flat picture does"

    def _go_on(self) -> None:
        self._done += 1
        self._asked_ns = self._since_ns = self._resting_ns = None

    def _check_time(self, t_ns: int) -> None:
        if self._asked_ns is not None and t_ns - self._asked_ns > self._options.limit_s * 1e9:
            self.failed = f"not done in time: {self._order[self._done].text}"

    def _step(self, t_ns: int) -> GuideStep:
        share = self._done / len(self._order)
        if self.failed:
            return GuideStep("Not sure that this is a living person", share, hint=self.failed)
        if self.passed:
            return GuideStep("Thank you", 1.0, fulfilled=True, finished=True)
        if self._asked_ns is None:
            return GuideStep("Look into the camera and wait", share)
        return GuideStep(self._order[self._done].text, share)
