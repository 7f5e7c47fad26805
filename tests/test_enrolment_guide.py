"""The coverage meter and the guide, on a synthetic person's truth and on pictures of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from avatar.enrolment.coverage import SHOWINGS, SHOWN, Coverage
from avatar.enrolment.face_signals import BROWS, LID_CORNERS, FaceSignals
from avatar.enrolment.guide import SCRIPT, TALK_ON, Guide, GuideOptions, Prompt
from capture.performance import Expression, Performance
from capture.scenes import open_scene
from streams.face_shapes import SHAPE_INDEX
from streams.tracked_state import TrackedState

STEP_NS = 33_333_333


def seen(performance: Performance, t_ns: int, pitch_low: float = 0.0) -> TrackedState:
    """What the performance does, with brows where landmarks have them."""
    state = performance.state_at(t_ns)
    if state.face is None:
        return state
    shapes, landmarks = state.face.blendshapes, np.zeros((478, 3), np.float32)
    up = 5.0 * shapes[SHAPE_INDEX["browInnerUp"]] - 4.0 * shapes[SHAPE_INDEX["browDownLeft"]]
    landmarks[BROWS, 1], landmarks[LID_CORNERS, 1] = 1e-3 * (27.0 + up), pitch_low
    return replace(state, face=replace(state.face, landmarks=landmarks))


def played(performance: Performance, seconds: float | None = None) -> list[TrackedState]:
    end = performance.duration_s if seconds is None else seconds
    return [seen(performance, k * STEP_NS) for k in range(int(end * 1e9 / STEP_NS))]


def still(seconds: float) -> list[TrackedState]:
    return played(open_scene("still"), seconds)


def test_a_still_face_covers_rest_alone() -> None:
    coverage = Coverage.of(still(5.0))
    assert [one.key for one in SHOWINGS if coverage.share(one.key) == 1.0] == ["front"]
    assert coverage.faces_s == pytest.approx(5.0, abs=0.1)
    assert "turn the head to your left" in coverage.line()


@pytest.mark.parametrize(
    ("key", "head", "opposite"),
    [
        ("turn_left", (25.0, 0.0, 0.0), "turn_right"),
        ("nod_up", (0.0, 18.0, 0.0), "nod_down"),
        ("tilt_left", (0.0, 0.0, 16.0), "tilt_right"),
    ],
)
def test_left_and_up_are_the_persons_own(
    key: str, head: tuple[float, float, float], opposite: str
) -> None:
    moved = Performance("turn", 3.0, head_deg=((1.0, *head), (2.2, 0.0, 0.0, 0.0)), sway=0.0)
    coverage = Coverage.of(played(moved))
    assert coverage.share(key) == 1.0
    assert coverage.share(opposite) == 0.0


def test_turns_are_measured_from_the_line_to_the_camera() -> None:
    """Who sits aside and looks into the camera has not turned the head."""
    face = open_scene("still").state_at(0).face
    assert face is not None
    from streams.rigid import Rigid

    aside = Rigid.from_rotvec([0.0, np.arctan2(-0.3, 0.6), 0.0])
    moved = replace(face, world_from_head=Rigid(aside.wxyz, np.array([0.3, 0.0, -0.6])))
    assert abs(FaceSignals.of(moved).turn) < 0.5


def test_noise_about_a_threshold_counts_once() -> None:
    states = still(3.0)
    rng = np.random.default_rng(0)
    begins = SHOWN["speech"].begins
    noisy = []
    for state in states:
        assert state.face is not None
        shapes = state.face.blendshapes.copy()
        shapes[SHAPE_INDEX["jawOpen"]] = begins + rng.uniform(-0.04, 0.04)
        noisy.append(replace(state, face=replace(state.face, blendshapes=shapes)))
    assert Coverage.of(noisy).count("speech") == 1


def test_gaps_and_new_recordings_are_no_time_seen() -> None:
    states = still(2.0)
    later = [replace(state, t_ns=state.t_ns + 60_000_000_000) for state in states]
    coverage = Coverage.of([*states, *later, *states])
    assert coverage.faces_s == pytest.approx(6.0, abs=0.5)
    assert coverage.count("front") == pytest.approx(6.0, abs=0.7)


def test_the_meter_never_falls_and_is_the_same_again() -> None:
    states = played(open_scene("guided"))
    first, second, last = Coverage(), Coverage.of(states), 0.0
    for state in states:
        first.add(state)
        assert first.total() >= last
        last = first.total()
    assert {k: first.count(k) for k in SHOWN} == {k: second.count(k) for k in SHOWN}
    assert first.total() == 1.0
    assert first.line() == "the video shows all that an avatar needs"


def test_the_guide_asks_for_everything_and_ends() -> None:
    guide, texts, finished = Guide(), [], None
    for state in played(open_scene("guided")):
        step = guide.update(state)
        if not texts or texts[-1] != step.text:
            texts.append(step.text)
        if step.finished:
            finished = state.t_ns
            break
    assert finished is not None
    assert guide.coverage.missing() == ()
    assert texts[0] == SCRIPT[0].text
    asked = [texts.index(prompt.text) for prompt in SCRIPT if prompt.text in texts]
    assert len(asked) >= 15
    assert asked == sorted(asked)


def test_who_does_nothing_is_asked_twice_and_let_go() -> None:
    script = (Prompt("Smile", ("smile",), 2.0), Prompt("Frown", ("brows_down",), 2.0))
    guide = Guide(script=script, options=GuideOptions(least_s=9.0, most_s=60.0))
    texts: list[str] = []
    for state in still(12.0):
        step = guide.update(state)
        if not texts or texts[-1] != step.text:
            texts.append(step.text)
        if step.finished:
            break
    assert texts == ["Smile", "Frown", "Smile", "Frown", TALK_ON, "Done"]
    endless = Guide(script=script, options=GuideOptions(least_s=99.0, most_s=10.0))
    assert any(endless.update(state).finished for state in still(10.2))


def test_what_earlier_recordings_show_is_not_asked_again() -> None:
    guide = Guide(Coverage.of(played(open_scene("guided"))))
    assert guide.update(still(0.1)[0]).finished


def test_an_absent_face_is_called_back_and_costs_no_patience() -> None:
    guide = Guide(script=(Prompt("Smile", ("smile",), 2.0),))
    hints = {guide.update(TrackedState(k * STEP_NS, "camera")).hint for k in range(150)}
    assert any("no face" in hint for hint in hints)
    smile = Performance("smile", 2.0, expressions=(Expression(0.1, 1.2, {"mouthSmile": 0.9}),))
    later = [replace(s, t_ns=s.t_ns + 150 * STEP_NS) for s in played(smile)]
    assert any(guide.update(state).fulfilled for state in later)


def test_too_far_too_near_and_half_outside_are_told() -> None:
    face = open_scene("still").state_at(0).face
    assert face is not None
    from streams.rigid import Rigid

    def hint(z: float, confidence: float = 1.0) -> str:
        at = Rigid(face.world_from_head.wxyz, np.array([0.0, 0.0, z]))
        moved = replace(face, world_from_head=at, confidence=confidence)
        return Guide().update(TrackedState(0, "camera", moved)).hint

    assert "closer" in hint(-1.5)
    assert "back" in hint(-0.2)
    assert "outside" in hint(-0.6, 0.2)
    assert hint(-0.6) == ""
