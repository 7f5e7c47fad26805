"""One hand in three layouts, and its angles there and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from streams.hand_skeleton import (
    FINGER_JOINTS,
    OPENXR_FROM_MEDIAPIPE,
    OPENXR_JOINTS,
    WEBXR_JOINTS,
    HandParts,
    HandShape,
    joint_angles,
    joints_from_angles,
    mediapipe_joints,
    openxr_hand,
    webxr_joints,
    wrist_frame,
)
from streams.rigid import Rigid
from streams.slow_hand_parts import slow_bends, slow_joints

RIGHT_BASES = np.array(
    [[-22, -8, -28], [-24, -3, -92], [0, 0, -95], [18, -3, -88], [34, -3, -80]]
) / 1000.0  # fmt: skip
BONES = np.array([[45, 33, 28], [42, 26, 22], [46, 30, 24], [42, 28, 23], [34, 20, 20]]) / 1000.0

flexions = arrays(np.float64, (5, 3), elements=st.floats(-0.4, 1.7))
spreads = arrays(np.float64, (5, 1), elements=st.floats(-0.5, 0.6))
sides = st.sampled_from(["left", "right"])
small = st.floats(-2, 2)
poses = st.tuples(st.tuples(small, small, small), st.tuples(small, small, small)).map(
    lambda rt: Rigid.from_rotvec(*rt)
)


def shape_of(side: str) -> HandShape:
    return HandShape(side, RIGHT_BASES * ([1, 1, 1] if side == "right" else [-1, 1, 1]), BONES)


def open_hand(side: str = "right", world_from_wrist: Rigid | None = None) -> np.ndarray:
    return joints_from_angles(np.zeros((5, 4)), shape_of(side), world_from_wrist or Rigid())


bends = arrays(np.float64, (5, 2), elements=st.floats(-0.6, 0.6))


@given(sides, spreads, flexions, bends, poses)
def test_what_leads_out_of_the_plane_of_bending_is_kept_apart(
    side: str, spread: np.ndarray, flexion: np.ndarray, bend: np.ndarray, world_from_wrist: Rigid
) -> None:
    angles = np.concatenate([spread, flexion], axis=1)
    joints = joints_from_angles(angles, shape_of(side), world_from_wrist, bend)
    straight = joints_from_angles(angles, shape_of(side), world_from_wrist)
    assert (joints[FINGER_JOINTS[:, :2]] == straight[FINGER_JOINTS[:, :2]]).all()
    # `HandPose.angles` do not know of it ...
    np.testing.assert_allclose(joint_angles(joints, side), angles, atol=3e-4)
    # ... and with it every joint is there again.
    local = np.asarray(world_from_wrist.inverse().apply(joints.astype(np.float64)), np.float64)
    parts = HandParts.of(local[None], (side,))
    np.testing.assert_allclose(parts.sideways[0], bend, atol=3e-4)
    np.testing.assert_allclose(parts.angles[0], angles, atol=3e-4)
    np.testing.assert_allclose(world_from_wrist.apply(parts.joints()[0]), joints, atol=2e-6)
    # Both hands at once are each by itself.
    other = "left" if side == "right" else "right"
    mirrored = local * np.array([-1.0, 1.0, 1.0])
    both = HandParts.of(np.stack([local, mirrored]), (side, other))
    np.testing.assert_allclose(both.angles[1], both.angles[0], atol=1e-9)
    np.testing.assert_allclose(both.sideways[1], both.sideways[0], atol=1e-9)
    np.testing.assert_allclose(both.joints(), np.stack([local, mirrored]), atol=1e-7)


@given(spreads, flexions, bends, arrays(np.float64, (5, 3), elements=st.floats(-0.02, 0.02)))
def test_hands_are_taken_apart_and_put_together_as_the_slow_twin_does(
    spread: np.ndarray, flexion: np.ndarray, bend: np.ndarray, aside: np.ndarray
) -> None:
    angles = np.concatenate([spread, flexion], axis=1)
    shapes = [shape_of(side) for side in ("left", "right")]
    bases = np.stack([shape.bases + aside for shape in shapes])
    bones = np.stack([shape.bones for shape in shapes])
    both = HandParts(("left", "right"), bases, bones, np.stack([angles] * 2), np.stack([bend] * 2))
    joints = both.joints()
    for k, side in enumerate(both.sides):
        slow = slow_joints(bases[k], bones[k], angles, bend, side)
        np.testing.assert_allclose(joints[k], slow, atol=1e-12)
    found = HandParts.of(joints, both.sides)
    for k, side in enumerate(both.sides):
        slow_angles, slow_sideways = slow_bends(joints[k], side)
        np.testing.assert_allclose(found.angles[k], slow_angles, atol=1e-9)
        np.testing.assert_allclose(found.sideways[k], slow_sideways, atol=1e-9)
    known = HandParts.of(joints, both.sides, found.angles)
    np.testing.assert_allclose(known.sideways, found.sideways, atol=1e-9)
    np.testing.assert_array_equal(known.bones, found.bones)
    np.testing.assert_array_equal(known.angles, found.angles)


@given(sides, spreads, flexions, poses)
def test_forward_kinematics_and_back(
    side: str, spread: np.ndarray, flexion: np.ndarray, world_from_wrist: Rigid
) -> None:
    angles = np.concatenate([spread, flexion], axis=1)
    joints = joints_from_angles(angles, shape_of(side), world_from_wrist)
    assert joints.dtype == np.float32
    np.testing.assert_allclose(joint_angles(joints, side), angles, atol=2e-4)
    frame = wrist_frame(joints, side)
    assert frame.angle_to(world_from_wrist) < 1e-4
    np.testing.assert_allclose(frame.xyz, world_from_wrist.xyz, atol=1e-6)
    measured = HandShape.of(joints, side)
    np.testing.assert_allclose(measured.bases, shape_of(side).bases, atol=2e-6)
    np.testing.assert_allclose(measured.bones, BONES, atol=2e-6)


@given(sides, spreads, flexions, poses)
def test_openxr_keeps_places_and_lengths_and_points_along_the_bones(
    side: str, spread: np.ndarray, flexion: np.ndarray, world_from_wrist: Rigid
) -> None:
    angles = np.concatenate([spread, flexion], axis=1)
    joints = joints_from_angles(angles, shape_of(side), world_from_wrist)
    hand = openxr_hand(joints, side)
    np.testing.assert_array_equal(hand.positions[OPENXR_FROM_MEDIAPIPE], joints)
    np.testing.assert_array_equal(mediapipe_joints(webxr_joints(joints, side)), joints)
    lengths = np.linalg.norm(np.diff(hand.positions[2:6], axis=0), axis=-1)
    np.testing.assert_allclose(lengths, BONES[0], atol=2e-6)
    rotations = [Rigid(q / np.linalg.norm(q)) for q in hand.wxyz.astype(np.float64)]
    for joint in [2, 3, 4, *range(6, 10), *range(11, 15), *range(16, 20), *range(21, 25)]:
        along = hand.positions[joint + 1] - hand.positions[joint]
        forward = rotations[joint].rotate([0.0, 0.0, -1.0])
        np.testing.assert_allclose(forward, along / np.linalg.norm(along), atol=1e-4)
    for tip in (5, 10, 15, 20, 25):
        assert rotations[tip].angle_to(rotations[tip - 1]) < 1e-5
    assert rotations[1].angle_to(world_from_wrist) < 1e-4
    # The palm lies in the middle of the middle finger's metacarpal bone.
    middle = (hand.positions[11] + hand.positions[12]) / 2
    np.testing.assert_allclose(hand.positions[0], middle, atol=1e-6)


def test_joint_names() -> None:
    assert len(OPENXR_JOINTS) == 26
    assert len(WEBXR_JOINTS) == 25
    tips = [OPENXR_JOINTS[OPENXR_FROM_MEDIAPIPE[joint]] for joint in FINGER_JOINTS[:, 3]]
    fingers = ("thumb", "index-finger", "middle-finger", "ring-finger", "pinky-finger")
    assert tips == [f"{finger}-tip" for finger in fingers]
    bases = [OPENXR_JOINTS[OPENXR_FROM_MEDIAPIPE[joint]] for joint in FINGER_JOINTS[:, 0]]
    assert bases[0] == "thumb-metacarpal"
    assert all(name.endswith("phalanx-proximal") for name in bases[1:])
    assert OPENXR_FROM_MEDIAPIPE[0] == OPENXR_JOINTS.index("wrist")


def test_axes_of_the_wrist() -> None:
    """A right hand, its back to the viewer, fingers up: its thumb is on the viewer's left."""
    fingers_up = Rigid.from_rotvec([np.pi / 2, 0, 0])  # -z -> +y, +y (back) -> +z
    joints = open_hand("right", fingers_up)
    assert joints[12, 1] > joints[0, 1]
    frame = wrist_frame(joints, "right")
    np.testing.assert_allclose(frame.rotate([0, 0, -1]), [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(frame.rotate([0, 1, 0]), [0, 0, 1], atol=1e-6)
    assert joints[4, 0] < joints[20, 0]  # seen from its back: the thumb of a right hand is left
    np.testing.assert_allclose(wrist_frame(joints, "left").rotate([0, 1, 0]), [0, 0, -1], atol=1e-6)


@pytest.mark.parametrize("side", ["left", "right"])
def test_signs_of_the_angles(side: str) -> None:
    still = open_hand(side)
    towards_thumb = -1.0 if side == "right" else 1.0
    for finger in range(1, 5):
        tip = FINGER_JOINTS[finger, 3]
        for joint in (1, 2, 3):
            bent = np.zeros((5, 4))
            bent[finger, joint] = 0.5
            moved = joints_from_angles(bent, shape_of(side), Rigid())
            assert moved[tip, 1] < still[tip, 1]  # flexion closes the fist: towards the palm
            assert np.abs(np.delete(moved - still, FINGER_JOINTS[finger], axis=0)).max() < 1e-7
        spread = np.zeros((5, 4))
        spread[finger, 0] = 0.3
        moved = joints_from_angles(spread, shape_of(side), Rigid())
        aside = (moved[tip, 0] - still[tip, 0]) * towards_thumb
        assert (aside > 0) == (finger <= 2)
    thumb = np.zeros((5, 4))
    thumb[0, 0] = 0.3
    moved = joints_from_angles(thumb, shape_of(side), Rigid())
    assert moved[4, 1] < still[4, 1]  # the thumb's spread leads out of the palm
    thumb[0] = [0, 0.3, 0.3, 0.3]
    moved = joints_from_angles(thumb, shape_of(side), Rigid())
    assert (moved[4, 0] - still[4, 0]) * towards_thumb < 0  # and its flexion across it


def test_the_open_hand_has_its_back_up() -> None:
    hand = openxr_hand(open_hand(), "right")
    for joint in [0, 1, *range(6, 26)]:
        up = Rigid(hand.wxyz[joint] / np.linalg.norm(hand.wxyz[joint].astype(np.float64))).rotate(
            [0.0, 1.0, 0.0]
        )
        assert up[1] > 0.99, OPENXR_JOINTS[joint]
    nail = Rigid(hand.wxyz[5] / np.linalg.norm(hand.wxyz[5].astype(np.float64))).rotate(
        [0.0, 1.0, 0.0]
    )
    assert nail[0] < -0.4  # the thumb's nail faces its own side
    assert nail[1] > 0.3


def test_radii_grow_with_the_hand() -> None:
    adult, child = openxr_hand(open_hand(), "right"), openxr_hand(open_hand() * 0.6, "right")
    np.testing.assert_allclose(child.radii, adult.radii * 0.6, rtol=1e-5)
    assert 0.005 < adult.radii.min() < adult.radii.max() < 0.03


def test_bad_hands_are_refused() -> None:
    with pytest.raises(ValueError, match=r"wrist_frame joints: expected \(21, 3\), got \(20, 3\)"):
        wrist_frame(np.zeros((20, 3)), "left")
    with pytest.raises(ValueError, match="points on a line"):
        wrist_frame(np.zeros((21, 3)), "left")
    with pytest.raises(ValueError, match="points on a line"):
        wrist_frame(np.outer(np.arange(21.0), [1, 1, 1]), "left")
    with pytest.raises(ValueError, match="expected one of 'left', 'right', got 'up'"):
        wrist_frame(open_hand(), "up")
    with pytest.raises(ValueError, match="expected finite numbers"):
        joint_angles(np.full((21, 3), np.nan), "left")
    with pytest.raises(ValueError, match=r"HandShape\.bones: expected positive metres"):
        HandShape("left", np.zeros((5, 3)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"angles: expected \(5, 4\), got \(4, 5\)"):
        joints_from_angles(np.zeros((4, 5)), shape_of("left"), Rigid())
