"""What to ask a person in front of the camera for, one thing at a time, until a video covers it.

A state machine over tracked states and their times: no clock, no chance, so a replay of a capture
gives the same instructions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avatar.enrolment.coverage import SHOWN, Coverage
from streams.tracked_state import FacePose, TrackedState

READ_ALOUD = (
    "Why did both of my brothers choose a yellow boat? "
    "The weather was fine, the fish jumped over five waves, and we laughed all the way home."
)
"""Every group of sounds that looks alike on the lips, several times."""
NEAREST_M, FARTHEST_M = 0.28, 1.1
"""Of the head from the camera, with a guessed lens: nearer is cut off, farther is few pixels."""
LEAST_CONFIDENCE = 0.45


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request."""

    text: str
    needs: tuple[str, ...]
    """Keys of coverage.SHOWN; it is fulfilled when all of them are."""
    patience_s: float = 8.0
    """After so long the next one follows; what was missed is asked for once more at the end."""


def _single(key: str, text: str = "", patience_s: float = 8.0) -> Prompt:
    words = text or SHOWN[key].text
    return Prompt(words[0].upper() + words[1:], (key,), patience_s)


SCRIPT: tuple[Prompt, ...] = (
    _single("front", patience_s=12.0),
    _single("turn_left", "turn your head slowly to your left and back"),
    _single("turn_right", "turn your head slowly to your right and back"),
    _single("nod_up", "raise your chin and look over the camera"),
    _single("nod_down", "lower your chin"),
    _single("tilt_left", "lean your head towards your left shoulder"),
    _single("tilt_right", "lean your head towards your right shoulder"),
    _single("look_left", "keep your head still and look far to your left"),
    _single("look_right", "keep your head still and look far to your right"),
    _single("look_up", "keep your head still and look up"),
    _single("look_down", "keep your head still and look down"),
    Prompt("Close your eyes for a second", ("eyes_closed",)),
    _single("mouth_wide", "open your mouth as wide as you can"),
    _single("smile"),
    _single("pucker"),
    _single("press"),
    _single("brows_up", "raise your brows as if surprised"),
    _single("brows_down", "frown as if angry"),
    Prompt(f"Read aloud: {READ_ALOUD}", ("speech", "blinks"), 30.0),
)


@dataclass(frozen=True, slots=True)
class GuideOptions:
    """How patient a guide is."""

    least_s: float = 30.0
    """Seconds with a face below which a capture goes on."""
    most_s: float = 180.0
    """After so many seconds of asking it ends, whatever is missing."""
    praise_s: float = 0.7
    """How long a fulfilled request is shown as such."""
    lost_s: float = 0.5
    """A face that is away for longer is asked back."""


@dataclass(frozen=True, slots=True)
class GuideStep:
    """What to show now."""

    text: str
    share: float
    """0..1 of the present request."""
    fulfilled: bool = False
    hint: str = ""
    """What is in the way: no face, too far."""
    finished: bool = False


TALK_ON = "Talk about anything you like, and look around as you do"


class Guide:
    """Feed it every state; show what it answers. `coverage` may come from earlier recordings: what
    they show is not asked for again."""

    def __init__(
        self,
        coverage: Coverage | None = None,
        script: Sequence[Prompt] = SCRIPT,
        options: GuideOptions | None = None,
    ) -> None:
        self.coverage = coverage or Coverage()
        self._options = options or GuideOptions()
        self._waiting = list(script)
        self._again: list[Prompt] = []
        self._second_round = False
        self._prompt: Prompt | None = None
        self._patience_ns = 0
        self._praise_ns = 0
        self._asked_ns = 0
        self._away_ns = 0
        self._last_ns: int | None = None

    def update(self, state: TrackedState) -> GuideStep:
        """The next moment; times rise."""
        step_ns = 0 if self._last_ns is None else max(0, state.t_ns - self._last_ns)
        self._last_ns = state.t_ns
        self.coverage.add(state)
        self._asked_ns += step_ns
        self._away_ns = self._away_ns + step_ns if state.face is None else 0
        hint = self._hint(state.face)
        if self._asked_ns >= self._options.most_s * 1e9:
            return GuideStep("Done", 1.0, finished=True)
        if self._praise_ns > 0:
            self._praise_ns -= step_ns
            if self._prompt is not None and self._praise_ns > 0:
                return GuideStep(self._prompt.text, 1.0, fulfilled=True)
            self._prompt = None
        if self._prompt is None:
            self._begin_next()
        if self._prompt is None:
            return self._end(hint)
        share = self._share(self._prompt)
        if share >= 1.0:
            self._praise_ns = round(self._options.praise_s * 1e9)
            return GuideStep(self._prompt.text, 1.0, fulfilled=True)
        # Nobody loses patience with somebody who is not there.
        self._patience_ns += 0 if state.face is None else step_ns
        if self._patience_ns >= self._prompt.patience_s * 1e9:
            if not self._second_round:
                self._again.append(self._prompt)
            self._begin_next()
            if self._prompt is None:
                return self._end(hint)
            share = self._share(self._prompt)
        return GuideStep(self._prompt.text, share, hint=hint)

    def _begin_next(self) -> None:
        """Turn to the first request that is not fulfilled already; to None after the last."""
        self._prompt, self._patience_ns = None, 0
        while self._waiting or not self._second_round:
            if not self._waiting:
                self._waiting, self._again, self._second_round = self._again, [], True
                continue
            prompt = self._waiting.pop(0)
            if self._share(prompt) < 1.0:
                self._prompt = prompt
                return

    def _share(self, prompt: Prompt) -> float:
        return min(self.coverage.share(key) for key in prompt.needs)

    def _end(self, hint: str) -> GuideStep:
        seen = self.coverage.faces_s / self._options.least_s
        if seen >= 1.0:
            return GuideStep("Done", 1.0, finished=True)
        return GuideStep(TALK_ON, seen, hint=hint)

    def _hint(self, face: FacePose | None) -> str:
        if face is None:
            lost = self._away_ns >= self._options.lost_s * 1e9
            return "no face is seen: sit in front of the camera, in the light" if lost else ""
        distance = float(-face.world_from_head.xyz[2])
        if distance > FARTHEST_M:
            return "come closer"
        if distance < NEAREST_M:
            return "move back a little"
        if face.confidence < LEAST_CONFIDENCE:
            return "part of the face is hidden or outside of the picture: move to its middle"
        return ""
