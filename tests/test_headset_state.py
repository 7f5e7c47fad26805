"""A headset's samples as tracked states, there and back."""

from __future__ import annotations

import numpy as np
import pytest

from avatar.codec import Avatar
from capture.scenes import open_scene
from streams.hand_skeleton import HandShape, joints_from_angles, mediapipe_joints, webxr_joints
from streams.headset_sample import HeadsetSample
from streams.rigid import Rigid
from streams.tracked_state import HandPose, TrackedState
from tracking.headset_state import HeadsetState, HeadsetStateOptions, level

SCENE = open_scene("hands")
IN_PLACE = HeadsetStateOptions(in_place=True)


def sample_of(state: TrackedState, room_from_world: Rigid | None = None) -> HeadsetSample:
    """What a headset would report of a tracked person."""
    assert state.face is not None
    room = room_from_world or Rigid()

    def joints(hand: HandPose | None) -> np.ndarray | None:
        if hand is None:
            return None
        return np.ascontiguousarray(room.apply(webxr_joints(hand.joints, hand.side)))

    return HeadsetSample(
        state.t_ns,
        room @ state.face.world_from_head,
        joints(state.hand("left")),
        joints(state.hand("right")),
    )


@pytest.mark.parametrize("t_ms", [0, 400, 600, 1300, 2100])
def test_head_and_hands_come_back_as_they_were(t_ms: int):
    state = SCENE.state_at(t_ms * 1_000_000)
    got = HeadsetState(IN_PLACE).state(sample_of(state))
    assert got.t_ns == state.t_ns
    assert got.source == "headset"
    assert state.face is not None
    assert got.face is not None
    assert got.face.world_from_head.angle_to(state.face.world_from_head) < 1e-9
    np.testing.assert_allclose(got.face.world_from_head.xyz, state.face.world_from_head.xyz)
    assert [hand.side for hand in got.hands] == sorted(hand.side for hand in state.hands)
    for hand in state.hands:
        same = got.hand(hand.side)
        assert same is not None
        # Float32 in world coordinates: 1e-7 of half a metre.
        np.testing.assert_allclose(same.joints, hand.joints, atol=2e-7)
        # What float32 leaves of an angle between bones of 20 mm.
        np.testing.assert_allclose(same.angles, hand.angles, atol=1e-4)
        assert same.world_from_wrist.angle_to(hand.world_from_wrist) < 1e-4
        again = joints_from_angles(
            same.angles, HandShape.of(same.joints, hand.side), same.world_from_wrist
        )
        assert np.abs(again - hand.joints).max() < 0.004, "the angles mean the same hand"


def test_samples_come_back_from_states():
    """The other way round: a state's joints as XRHand's, for whoever sends them on."""
    rng = np.random.default_rng(5)
    for t_ns in rng.integers(0, 2_000_000_000, 5):
        sent = sample_of(SCENE.state_at(int(t_ns)))
        got = sample_of(HeadsetState(IN_PLACE).state(sent))
        for side in ("left", "right"):
            a, b = getattr(sent, side), getattr(got, side)
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(mediapipe_joints(b), mediapipe_joints(a), atol=2e-7)
                np.testing.assert_allclose(b, a, atol=1e-6)


def test_the_first_sample_is_seated_before_the_camera_and_moves_from_there():
    """Whatever the headset's own world is, and wherever in it the person sits."""
    first, later = SCENE.state_at(0), SCENE.state_at(900_000_000)
    assert first.face is not None
    assert later.face is not None
    room = Rigid.from_rotvec((0.0, 2.0, 0.0), (1.0, 1.2, -3.0))
    seated = HeadsetState()
    a, b = (seated.state(sample_of(s, room)) for s in (first, later))
    assert a.face is not None
    assert b.face is not None
    np.testing.assert_allclose(a.face.world_from_head.xyz, (0.0, 0.0, -0.6), atol=1e-9)
    ahead = a.face.world_from_head.rotate((0.0, 0.0, 1.0))
    assert ahead[0] == pytest.approx(0.0, abs=1e-9)
    assert ahead[2] > 0.8, "to the camera"
    # A nod stays a nod, and what happens between the two moments is the same.
    assert ahead[1] == pytest.approx(first.face.world_from_head.rotate((0.0, 0.0, 1.0))[1])
    moved = a.face.world_from_head.inverse() @ b.face.world_from_head
    truly = first.face.world_from_head.inverse() @ later.face.world_from_head
    assert moved.angle_to(truly) < 1e-9
    np.testing.assert_allclose(moved.xyz, truly.xyz, atol=1e-9)
    for hand in later.hands:
        same = b.hand(hand.side)
        assert same is not None
        head = b.face.world_from_head.inverse(), later.face.world_from_head.inverse()
        np.testing.assert_allclose(
            head[0].apply(same.joints), head[1].apply(hand.joints), atol=2e-6
        )
    seated.begin_anew()
    c = seated.state(sample_of(later, room))
    assert c.face is not None
    np.testing.assert_allclose(c.face.world_from_head.xyz, (0.0, 0.0, -0.6), atol=1e-9)


@pytest.mark.parametrize("pitch", [-np.pi / 2, -1.5, 0.0, 1.5, np.pi / 2])
def test_a_head_that_looks_straight_up_or_down_is_still_seated(pitch: float):
    turned = Rigid.from_rotvec((0.0, 0.7, 0.0)) @ Rigid.from_rotvec((pitch, 0.0, 0.0))
    upright = level(turned)
    np.testing.assert_allclose(upright.rotate((0.0, 1.0, 0.0)), (0.0, 1.0, 0.0), atol=1e-9)
    np.testing.assert_allclose(
        upright.rotate((0.0, 0.0, 1.0)), (np.sin(0.7), 0.0, np.cos(0.7)), atol=1e-6
    )


def test_a_hand_that_is_none_is_absent():
    head = Rigid.from_translation((0.0, 1.6, 0.0))
    nothing = np.zeros((25, 3), np.float32)
    state = HeadsetState().state(HeadsetSample(7, head, nothing, None))
    assert state.hands == ()
    assert state.face is not None


def test_the_state_drives_an_avatar():
    """Its hands are where the headset says, its head too, its face is calm."""
    state = HeadsetState().state(sample_of(SCENE.state_at(600_000_000)))
    with Avatar.open("default") as avatar:
        code = avatar.encode(state)
        mesh = avatar.decode(code)
        assert code.origin == "driven"
    assert len(code.hands) == len(state.hands) > 0
    head = mesh.vertices[mesh.topology.parts == 0]
    assert np.linalg.norm(head.mean(0) - (0.0, 0.0, -0.6)) < 0.25
    for hand in state.hands:
        gaps = np.linalg.norm(mesh.vertices - hand.joints[8], axis=1)
        assert gaps.min() < 0.015, "skin about the tip of the index finger"
