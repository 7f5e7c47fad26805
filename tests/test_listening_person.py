"""The synthetic person in front of the camera, who hears what is asked and does it: the whole live
part of an enrolment, with an order of requests that nobody knows before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from apps.camera_take import TakeWriter
from apps.live_capture import capture_take, prove_live
from apps.sources import open_synthetic
from avatar.enrolment.coverage import Coverage
from avatar.enrolment.guide import SCRIPT, Guide, GuideOptions, GuideStep
from avatar.enrolment.liveness import ASKED, CHALLENGES, draw_order
from capture.performance import Expression, Performance
from capture.synthetic import SyntheticOptions
from streams.camera import Camera
from streams.closing import Closing
from streams.frame import Frame
from tracking.tracker import Tracker, TrackerOptions

FPS = 10.0
REACTION_S = 0.35
HEAD = {
    "to your left and": (26, 0, 0), "to your right and": (-26, 0, 0),
    "turn your head to your left": (26, 0, 0), "turn your head to your right": (-26, 0, 0),
    "lean your head to your left": (0, 0, 18), "lean your head to your right": (0, 0, -18),
    "towards your left": (0, 0, 18), "towards your right": (0, 0, -18),
    "raise your chin": (0, 20, 0), "lower your chin": (0, -20, 0),
}  # fmt: skip
FACE = {
    "mouth": {"jawOpen": 0.95}, "smile": {"mouthSmile": 1.0, "cheekSquint": 0.4},
    "brows": {"browInnerUp": 1.0, "browOuterUp": 1.0}, "close your eyes": {"eyeBlink": 1.0},
}  # fmt: skip


class ListeningPerson(Closing):
    """A camera and the person before it; a view as well, for it hears each request."""

    live, damaged, fps = False, 0, FPS

    def __init__(self, seconds: float) -> None:
        self.camera = Camera.from_fov((256, 256), name="synthetic listener")
        self._source = open_synthetic("still", SyntheticOptions(self.camera, FPS))
        self._acts = Performance("listening", seconds, sway=0.3)
        self._heard, self._seq = "", 0
        self.requests: list[str] = []

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        t_ns = round(self._seq * 1e9 / FPS)
        if t_ns >= self._acts.duration_s * 1e9:
            raise StopIteration
        rgb = self._source._draw(self._acts.state_at(t_ns))
        self._seq += 1
        return Frame(t_ns, self._seq - 1, self.camera, np.ascontiguousarray(rgb))

    def show(self, frame: Frame, step: GuideStep, coverage: Coverage) -> bool:
        if step.text != self._heard and not step.fulfilled:
            self._heard = step.text
            self.requests.append(step.text)
            self._do(step.text.lower(), frame.t_ns / 1e9 + REACTION_S)
        return True

    def say(self, text: str) -> None:
        self.requests.append(text)

    def show_learning(self, rgb: np.ndarray) -> bool:
        return False

    def close(self) -> None:
        self._source.close()

    def _do(self, text: str, at: float) -> None:
        acts = self._acts
        for words, pose in HEAD.items():
            if words in text:
                keys = ((at, *map(float, pose)), (at + 1.1, 0.0, 0.0, 0.0))
                self._acts = replace(acts, head_deg=(*acts.head_deg, *keys))
                return
        if "blink" in text:
            lids = tuple(Expression(at + k, 0.2, {"eyeBlink": 1.0}, 0.15, 0.15) for k in (0, 0.7))
            self._acts = replace(acts, expressions=(*acts.expressions, *lids))
        for words, shapes in FACE.items():
            if words in text:
                made = Expression(at, 0.7, shapes, 0.3, 0.3)
                self._acts = replace(acts, expressions=(*acts.expressions, made))
                return


def test_a_person_who_listens_proves_to_live_and_is_recorded(tmp_path: Path) -> None:
    script = [one for one in SCRIPT if one.needs[0] in ("front", "turn_left", "nod_up", "smile")]
    guide = Guide(script=script, options=GuideOptions(least_s=6.0))
    with ListeningPerson(90.0) as person, Tracker.open(TrackerOptions(hands=0)) as tracker:
        chance = random.Random(5)  # live: secrets.SystemRandom
        done = prove_live(person, tracker, person, lambda: draw_order(chance))
        assert len(set(done)) == ASKED
        texts = [CHALLENGES[key].text for key in done]
        assert [text for text in person.requests if text in texts][-ASKED:] == texts
        writer = TakeWriter(tmp_path / "take", person.camera, False, person.fps)
        writer.passed(done)
        assert capture_take(person, tracker, guide, person, writer)
    assert writer.take.live == done
    shown = Coverage.of(writer.take.states())
    assert all(shown.share(one.needs[0]) == 1.0 for one in script)
    assert {one.text for one in script} <= set(person.requests)
