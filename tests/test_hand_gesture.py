"""Pinch, grab and point: which shapes are which, and a yes that does not flicker."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.hand_shapes import HAND_SHAPES
from streams.adult_hand import adult_hand
from streams.hand_gesture import BEGINS, ENDS, GestureSensor, HandGesture, gesture_strengths
from streams.hand_skeleton import joints_from_angles, webxr_joints
from streams.rigid import Rigid
from streams.tracked_state import HandPose
from tracking.headset_state import hand_pose

SHAPES_MADE: dict[str, set[str]] = {
    "relaxed": set(), "open": set(), "flat": set(), "two": set(), "three": set(), "four": set(),
    "fist": {"grab"}, "thumb": {"grab"}, "point": {"point"}, "pinch": {"pinch"},
}  # fmt: skip


def held(angles: np.ndarray, side: str = "right") -> HandPose:
    joints = joints_from_angles(angles, adult_hand(side), Rigid.identity())
    return HandPose(side, joints, Rigid.identity(), angles.astype(np.float32), 1.0)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", HAND_SHAPES)
def test_which_shape_is_which(name: str, side: str) -> None:
    (gesture,) = GestureSensor().sense([held(HAND_SHAPES[name], side)])
    assert gesture.made == SHAPES_MADE[name]


def test_strength_grows_on_the_way_from_open_to_fist_and_does_not_flicker() -> None:
    sensor, yes = GestureSensor(), []
    strengths = []
    there = np.linspace(0.0, 1.0, 60)
    random = np.random.default_rng(1)
    for part in np.concatenate([there, there[::-1]]) + random.normal(0.0, 0.02, 120):
        angles = (1.0 - part) * HAND_SHAPES["open"] + part * HAND_SHAPES["fist"]
        (gesture,) = sensor.sense([held(angles)])
        strengths.append(gesture.grab)
        yes.append("grab" in gesture.made)
    assert np.corrcoef(strengths[:60], there)[0, 1] > 0.85
    assert min(strengths) == 0.0
    assert max(strengths) == 1.0
    assert np.abs(np.diff(np.array(yes, int))).sum() == 2
    first, last = yes.index(True), len(yes) - yes[::-1].index(True)
    assert strengths[first] > BEGINS
    assert strengths[last] <= ENDS


@given(st.floats(0.5, 2.0), st.integers(0, 2**31 - 1))
def test_size_place_and_side_do_not_matter(size: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = list(HAND_SHAPES.values())[random.integers(len(HAND_SHAPES))]
    angles = shape + random.normal(0.0, 0.1, (5, 4))
    right, left = held(angles).joints, held(angles, "left").joints
    moved = Rigid.from_rotvec(random.normal(0.0, 1.0, 3), random.normal(0.0, 1.0, 3)).apply(right)
    expected = pytest.approx(gesture_strengths(right), abs=1e-4)
    assert gesture_strengths(np.asarray(moved) * size) == expected
    assert gesture_strengths(left) == expected


def test_a_headset_s_hand_has_the_same_strengths() -> None:
    for angles in HAND_SHAPES.values():
        pose = held(angles)
        worn = hand_pose(webxr_joints(pose.joints, "right"), "right", Rigid.identity())
        assert worn is not None
        assert gesture_strengths(worn.joints) == pytest.approx(gesture_strengths(pose.joints))


def test_what_is_lost_is_not_made() -> None:
    sensor = GestureSensor()
    fist = held(HAND_SHAPES["fist"])
    # Between ENDS and BEGINS: what it is depends on what it was.
    between = held(0.35 * HAND_SHAPES["open"] + 0.65 * HAND_SHAPES["fist"])
    assert ENDS < gesture_strengths(between.joints)[1] < BEGINS
    assert "grab" not in sensor.sense([between])[0].made
    sensor.sense([fist])
    assert "grab" in sensor.sense([between])[0].made
    assert sensor.sense([]) == ()
    assert "grab" not in sensor.sense([between])[0].made


def test_bad_input() -> None:
    assert gesture_strengths(np.zeros((21, 3))) == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match=r"expected \(21, 3\), got \(25, 3\)"):
        gesture_strengths(np.zeros((25, 3)))
    with pytest.raises(ValueError, match=r"HandGesture\.grab: expected a number from 0 to 1"):
        HandGesture("left", 0.0, 1.2, 0.0, frozenset())
    with pytest.raises(ValueError, match=r"HandGesture\.made: expected some of"):
        HandGesture("left", 0.0, 1.0, 0.0, frozenset({"wave"}))
