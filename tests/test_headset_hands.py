"""The wearer's hands on the avatar: where they go, and when they are not there."""

from __future__ import annotations

import numpy as np
import pytest

from apps.headset_hands import FRESH_NS, HeadsetHands, hands_at
from streams.camera import Camera
from streams.frame import Frame
from streams.hand_skeleton import webxr_joints
from streams.headset_sample import HeadsetSample
from streams.mailbox import Mailbox
from streams.rigid import Rigid
from streams.tracked_state import FacePose, HandPose, TrackedState

RNG_SEED = 5


def right_hand() -> np.ndarray:
    """(21, 3) float32 metres, wrist frame at the origin: a stretched hand."""
    joints = np.zeros((21, 3), np.float32)
    for finger, x in enumerate((-0.03, -0.02, 0.0, 0.02, 0.04)):
        for bone in range(4):
            joints[1 + 4 * finger + bone] = (x * (1 + 0.2 * bone), 0.0, -0.05 - 0.03 * bone)
    return joints


def face_at(place: Rigid) -> FacePose:
    ahead = np.tile(np.array([0, 0, 1], np.float32), (2, 1))
    return FacePose(np.zeros(52, np.float32), np.zeros((478, 3), np.float32), ahead, place, 1.0)


def sample_at(head: Rigid, right: np.ndarray | None = None) -> HeadsetSample:
    return HeadsetSample(0, head, None, right)


def test_the_wearers_hand_is_where_it_is_from_the_wearers_head() -> None:
    rng = np.random.default_rng(RNG_SEED)
    for _ in range(10):
        wearer = Rigid.from_rotvec((0.0, rng.uniform(-3, 3), 0.0), rng.normal(size=3))
        avatar = Rigid.from_rotvec((0.0, rng.uniform(-3, 3), 0.0), rng.normal(size=3))
        head_from_hand = Rigid.from_rotvec(rng.normal(size=3) * 0.3, (0.2, -0.3, 0.4))
        joints = np.asarray((wearer @ head_from_hand).apply(right_hand()), np.float32)
        (hand,) = hands_at(sample_at(wearer, webxr_joints(joints, "right")), face_at(avatar))
        wanted = np.asarray((avatar @ head_from_hand).apply(right_hand()))
        assert hand.side == "right"
        assert np.allclose(hand.joints, wanted, atol=1e-5)


def test_looking_down_at_a_hand_does_not_move_the_avatars() -> None:
    joints = webxr_joints(
        np.asarray(Rigid.from_translation((0.2, 1.2, 0.3)).apply(right_hand()), np.float32), "right"
    )
    level = Rigid.from_translation((0.0, 1.6, 0.0))
    avatar = face_at(Rigid.from_translation((0.0, 0.0, -0.6)))
    (straight,) = hands_at(sample_at(level, joints), avatar)
    down = level @ Rigid.from_rotvec((0.9, 0.0, 0.0))
    (looked_at,) = hands_at(sample_at(down, joints), avatar)
    assert np.allclose(straight.joints, looked_at.joints, atol=1e-6)
    assert not np.allclose(straight.joints[0], joints[0], atol=0.1), "it was moved to the avatar"


def test_points_on_a_line_are_no_hand() -> None:
    line = np.zeros((25, 3), np.float32)
    line[:, 2] = -np.arange(25) * 0.01
    assert hands_at(sample_at(Rigid.identity(), line), None) == ()


class _Sees:
    """A tracker that always sees the same hand."""

    def track(self, frame: Frame) -> TrackedState:
        joints = np.asarray(right_hand(), np.float32)
        seen = HandPose("right", joints, Rigid.identity(), np.zeros((5, 4), np.float32), 1.0)
        return TrackedState(frame.t_ns, "camera", None, (seen,))


def test_old_samples_and_none_leave_the_avatar_without_hands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    samples: Mailbox[HeadsetSample] = Mailbox()
    tracker = HeadsetHands(_Sees(), samples)
    frame = Frame(0, 5, Camera.from_fov((8, 8)), np.zeros((8, 8, 3), np.uint8))
    assert tracker.track(frame).hands == (), "what the camera saw is not the wearer's"
    monkeypatch.setattr("streams.mailbox.now_ns", lambda: 1_000_000_000)
    samples.put(sample_at(Rigid.identity(), webxr_joints(right_hand(), "right")))
    assert len(tracker.track(frame).hands) == 1
    monkeypatch.setattr("streams.mailbox.now_ns", lambda: 1_000_000_000 + FRESH_NS + 1)
    assert tracker.track(frame).hands == ()


def test_a_slow_frame_loop_is_no_sleeping_headset(monkeypatch: pytest.MonkeyPatch) -> None:
    samples: Mailbox[HeadsetSample] = Mailbox()
    tracker = HeadsetHands(_Sees(), samples)
    frame = Frame(0, 5, Camera.from_fov((8, 8)), np.zeros((8, 8, 3), np.uint8))

    def hands_ms(put_ms: tuple[int, ...], at_ms: int) -> int:
        for ms in put_ms:
            monkeypatch.setattr("streams.mailbox.now_ns", lambda: ms * 1_000_000)  # noqa: B023
            samples.put(sample_at(Rigid.identity(), webxr_joints(right_hand(), "right")))
        monkeypatch.setattr("streams.mailbox.now_ns", lambda: at_ms * 1_000_000)
        return len(tracker.track(frame).hands)

    assert hands_ms((1000,), 1000) == 1
    # One every 300 ms, of which the tracker sees every second one.
    assert hands_ms((1300, 1600), 1600) == 1
    assert hands_ms((), 2499) == 1
    assert hands_ms((), 2501) == 0
    # Two seconds are too old at any rate.
    assert hands_ms((7000,), 8999) == 1
    assert hands_ms((), 9001) == 0
