"""The cycle test's arithmetic, on states whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cycle import ClipResult, _compare, checks
from capture.scenes import open_scene
from streams.rigid import Rigid
from streams.tracked_state import FacePose, TrackedState


def _states(name: str, count: int = 120) -> list[TrackedState]:
    scene = open_scene(name)
    return [scene.state_at(round(i * 1e9 / 15)) for i in range(count)]


def _turned(state: TrackedState, degrees: float) -> TrackedState:
    face = state.face
    if face is None:
        return state
    turn = Rigid.from_rotvec([0.0, np.deg2rad(degrees), 0.0])
    moved = FacePose(
        face.blendshapes, face.landmarks, face.gaze, face.world_from_head @ turn, face.confidence
    )
    return TrackedState(state.t_ns, state.source, moved, state.hands)


def test_the_same_states_are_perfect():
    states = _states("demo")
    result = _compare("demo", states, states, None)
    assert result.faces == 1.0
    assert result.hands == 1.0
    assert result.rotation_deg == pytest.approx(0.0, abs=1e-6)
    assert result.hand_error == pytest.approx(0.0, abs=1e-6)
    assert result.correlations == pytest.approx(dict.fromkeys(result.correlations, 1.0))


def test_a_turned_head_and_lost_faces_are_counted():
    states = _states("demo")
    output = [_turned(s, 3.0) for s in states]
    output[:12] = [TrackedState(s.t_ns, "out") for s in output[:12]]
    result = _compare("demo", states, output, None)
    assert result.rotation_deg == pytest.approx(3.0, abs=1e-6)
    assert result.faces == pytest.approx(0.9)


def test_a_still_signal_is_not_counted():
    states = _states("still", 30)
    result = _compare("still", states, states, None)
    assert set(result.correlations.values()) == {None}


def test_limits_fail_when_a_figure_is_bad_or_missing():
    good: dict[str, float | None] = {
        "jawOpen": 0.95,
        "eyeBlink": 0.9,
        "mouthSmile": 0.9,
        "browInnerUp": 0.7,
    }
    fine = ClipResult("a", 100, None, 1.0, 1.0, good, 1.0, 1.0, 1.0, 0.05)
    assert all(check.passed for check in checks([fine]))
    for change, words in (
        ({"correlations": {**good, "jawOpen": 0.8}}, "jawOpen"),
        ({"correlations": {**good, "browInnerUp": None}}, "browInnerUp"),
        ({"rotation_deg": 5.0}, "rotation"),
        ({"faces": 0.9}, "faces"),
        ({"hands": 0.5}, "hands"),
        ({"hand_error": 0.2}, "hand shape"),
        ({"failed": "x"}, "failed"),
    ):
        fields = {name: getattr(fine, name) for name in ClipResult.__slots__}
        bad = ClipResult(**{**fields, **change})
        missed = [check.name for check in checks([bad]) if not check.passed]
        assert len(missed) == 1
        assert words in missed[0]
