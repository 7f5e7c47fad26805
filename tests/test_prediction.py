"""Prediction against motions that are known: it helps where it can, and else keeps still."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.performance import ease
from streams.hand_skeleton import joint_angles, wrist_frame
from streams.rigid import Rigid
from streams.tracked_state import FacePose, HandPose, TrackedState
from tracking.evaluation import rotation_error_deg
from tracking.prediction import PredictionOptions, _speeds, predict

AHEAD = np.tile(np.array([0.0, 0.0, 1.0], np.float32), (2, 1))
STEP_NS = 33_333_333


def state(t_ns: int, pose: Rigid, smile: float = 0.0) -> TrackedState:
    shapes = np.full(52, smile, np.float32)
    face = FacePose(shapes, np.zeros((478, 3), np.float32), AHEAD, pose, 1.0)
    return TrackedState(t_ns, "made up", face)


def head_at(t_s: float) -> Rigid:
    """Turning steadily at 40 degrees a second and drifting at 0.1 m a second."""
    return Rigid.from_rotvec([0.0, np.deg2rad(40.0) * t_s, 0.0], [0.1 * t_s, 0.0, -0.6])


def steady(count: int = 40) -> list[TrackedState]:
    return [state(k * STEP_NS, head_at(k * STEP_NS * 1e-9)) for k in range(count)]


@pytest.mark.parametrize("ahead_ms", [16, 33, 50, 100])
def test_steady_motion_is_met(ahead_ms: int) -> None:
    states = steady()
    late = states[-1].t_ns + ahead_ms * 1_000_000
    found = predict(states, late).face
    assert found is not None
    assert states[-1].face is not None
    truth = head_at(late * 1e-9)
    missed = rotation_error_deg(found.world_from_head, truth)
    held = rotation_error_deg(states[-1].face.world_from_head, truth)
    assert missed < 0.45 * held  # the trend is damped on purpose: by a third at 100 ms
    place = np.linalg.norm(found.world_from_head.xyz - truth.xyz)
    assert place < 0.45 * np.linalg.norm(states[-1].face.world_from_head.xyz - truth.xyz)


def test_the_horizon_is_clamped_and_the_past_changes_nothing() -> None:
    states = steady()
    newest = states[-1]
    assert predict(states, newest.t_ns) is newest
    assert predict(states, newest.t_ns - 50_000_000) is newest
    far = predict(states, newest.t_ns + 10_000_000_000).face
    near = predict(states, newest.t_ns + 100_000_000).face
    assert far is not None
    assert near is not None
    np.testing.assert_array_equal(far.world_from_head.matrix(), near.world_from_head.matrix())
    assert predict(states, newest.t_ns + 50_000_000).t_ns == newest.t_ns


def test_without_a_past_it_stays() -> None:
    for count in (1, 2, 3):
        states = steady(count)
        found = predict(states, states[-1].t_ns + 50_000_000).face
        assert found is not None
        assert states[-1].face is not None
        assert rotation_error_deg(found.world_from_head, states[-1].face.world_from_head) < 1e-6
    with pytest.raises(ValueError, match="at least one state"):
        predict([], 0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 100))
def test_trembling_is_not_magnified(seed: int, ahead_ms: int) -> None:
    """Noise about a fixed place foretells nothing, so trust is small."""
    rng = np.random.default_rng(seed)
    states = [
        state(k * STEP_NS, Rigid.from_rotvec(rng.normal(0, 0.01, 3), rng.normal(0, 0.001, 3)))
        for k in range(45)
    ]
    found = predict(states, states[-1].t_ns + ahead_ms * 1_000_000).face
    newest = states[-1].face
    assert found is not None
    assert newest is not None
    assert rotation_error_deg(found.world_from_head, newest.world_from_head) < 1.0


def test_a_turn_that_ends_overshoots_little() -> None:
    """20 degrees in 0.45 s and then still, as people turn; shown 50 ms ahead."""
    turns = [20.0 * ease(k / 30 / 0.45 - 1.0) for k in range(45)]
    states = [
        state(k * STEP_NS, Rigid.from_rotvec([0.0, np.deg2rad(turn), 0.0], [0.0, 0.0, -0.6]))
        for k, turn in enumerate(turns)
    ]
    shown = []
    for k in range(10, 45):
        face = predict(states[: k + 1], states[k].t_ns + 50_000_000).face
        assert face is not None
        shown.append(np.rad2deg(face.world_from_head.rotvec()[1]))
    assert max(shown) < 20.0 * 1.12
    assert min(shown) > -0.5
    assert shown[-1] == pytest.approx(20.0, abs=0.1)


def hand(t_s: float, side: str = "left") -> HandPose:
    rest = np.random.default_rng(5).normal(0, 0.03, (21, 3))
    joints = np.ascontiguousarray(rest + [0.3 * t_s, 0.0, -0.5], np.float32)
    return HandPose(side, joints, wrist_frame(joints, side), joint_angles(joints, side), 0.8)


def test_a_hand_moves_on_and_one_that_came_anew_waits() -> None:
    times = [k * STEP_NS for k in range(40)]
    states = [TrackedState(t, "made up", None, (hand(t * 1e-9),)) for t in times]
    late = times[-1] + 50_000_000
    moved = predict(states, late).hands[0].joints
    assert np.abs(moved - hand(late * 1e-9).joints).max() < 0.007 < 0.3 * 0.05
    states[-3] = TrackedState(times[-3], "made up")
    anew = predict(states, late).hands[0].joints
    np.testing.assert_allclose(anew, states[-1].hands[0].joints, atol=1e-5)
    assert predict([*states, TrackedState(times[-1] + 1, "made up")], late).hands == ()


def test_shapes_stay_in_their_range_and_other_sources_have_no_say() -> None:
    states = [state(k * STEP_NS, Rigid(), min(1.0, 0.03 * k)) for k in range(34)]
    face = predict(states, states[-1].t_ns + 100_000_000).face
    assert face is not None
    assert face.blendshapes.max() <= 1.0
    others = [TrackedState(s.t_ns, "elsewhere", s.face) for s in steady(40)]
    newest = state(others[-1].t_ns + STEP_NS, Rigid())
    found = predict([*others, newest], newest.t_ns + 50_000_000).face
    assert found is not None
    assert rotation_error_deg(found.world_from_head, Rigid()) < 1e-6


@pytest.mark.parametrize("name", ["longest_s", "window_s", "history_s", "damping_s"])
def test_options_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        PredictionOptions(**{name: 0.0})


@given(st.integers(0, 2**32 - 1))
def test_speeds_are_those_of_fitted_lines(seed: int) -> None:
    """All at once by running sums, against one line after the other."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.005, 0.06, 30))
    times -= times[-1]
    values = rng.normal(size=(30, 4))
    speeds = _speeds(times, values, 0.08)
    for k in range(30):
        inside = (times >= times[k] - 0.08 - 1e-9) & (times <= times[k])
        expected = np.zeros(4)
        if inside.sum() > 1:
            expected = np.polyfit(times[inside], values[inside], 1)[0]
        np.testing.assert_allclose(speeds[k], expected, atol=1e-5)
