"""Hands with constant bones as the tracker's default: on the shipped clip, near a head, and off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from assets.manifest import asset_path
from capture.frame_source import SourceOptions, open_source
from capture.scenes import open_scene
from streams.camera import Camera
from streams.frame import Frame
from streams.hand_skeleton import PALM_JOINTS, HandShape
from streams.projection import project
from streams.rigid import Rigid
from streams.tracked_state import HandPose
from tests.seen_hands import joint_error_mm, rig, seen_hand
from tests.test_tracking_geometry import hand_marks
from tracking import tracker
from tracking.engine import HandMarks
from tracking.hand_fitting import LONGEST_GAP_NS, HandFitting
from tracking.hand_placement import REACH_BACK, REACH_FORWARD, place_hand
from tracking.tracker import Tracker, TrackerOptions
from tracking.user_hand import UserHand

FOV = float(np.deg2rad(56.0))
"""Of the shipped clip's camera."""


def frames_of_the_clip() -> Iterator[Frame]:
    with open_source(f"video:{asset_path('clips/demo')}", SourceOptions(fov_long_side=FOV)) as clip:
        yield from clip


def hands_of_the_clip(options: TrackerOptions) -> list[tuple[Frame, HandPose]]:
    with Tracker.open(options) as opened:
        return [(frame, h) for frame in frames_of_the_clip() for h in opened.track(frame).hands]


@pytest.fixture(scope="module")
def fitted() -> list[tuple[Frame, HandPose]]:
    return hands_of_the_clip(TrackerOptions())


Call = tuple[tuple[Camera, HandMarks, Rigid | None], HandPose | None]


@pytest.fixture(scope="module")
def placed() -> tuple[list[tuple[Frame, HandPose]], list[Call]]:
    """With the fit off, and what `place_hand` was asked and answered."""
    calls: list[Call] = []

    def listened(camera: Camera, marks: HandMarks, head: Rigid | None) -> HandPose | None:
        calls.append(((camera, marks, head), place_hand(camera, marks, head)))
        return calls[-1][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracker, "place_hand", listened)
        return hands_of_the_clip(TrackerOptions(hand_fit=False)), calls


def test_bones_keep_their_lengths_by_default(fitted: list[tuple[Frame, HandPose]]) -> None:
    assert len(fitted) > 200
    for _, hand in fitted:
        bones = HandShape.of(hand.joints, hand.side).bones
        assert bones == pytest.approx(UserHand.average(hand.side).shape.bones, abs=1e-5)


def errors(hands: list[tuple[Frame, HandPose]]) -> tuple[float, float]:
    """Mean joint error, and mean error of the palm's distance from the camera, millimetres."""
    scene = open_scene("demo")
    joints, depths = [], []
    for frame, hand in hands:
        truth = scene.state_at(frame.t_ns).hand(hand.side)
        if truth is not None:
            joints.append(joint_error_mm(hand.joints.astype(float), truth.joints.astype(float)))
            inverse = frame.camera.world_from_camera.inverse()
            ours, theirs = (
                np.asarray(inverse.apply(each.joints[PALM_JOINTS]))[:, 2].mean()
                for each in (hand, truth)
            )
            depths.append(1e3 * abs(ours - theirs))
    assert len(joints) > 200
    return float(np.mean(joints)), float(np.mean(depths))


def test_a_fitted_hand_is_nearer_to_the_truth_than_a_placed_one(
    fitted: list[tuple[Frame, HandPose]],
    placed: tuple[list[tuple[Frame, HandPose]], list[Call]],
) -> None:
    assert len(fitted) == len(placed[0]), "neither loses a hand that the other has"
    of_fit, of_placing = errors(fitted), errors(placed[0])
    assert of_fit[0] < 0.75 * of_placing[0]
    assert of_fit[1] < 0.75 * of_placing[1]


def test_a_fitted_hand_covers_the_picture(
    fitted: list[tuple[Frame, HandPose]],
    placed: tuple[list[tuple[Frame, HandPose]], list[Call]],
) -> None:
    """As nearly as constant bones can: joints against the rays that `place_hand` lays them on."""
    off, farthest = [], []
    for (frame, hand), (_, other) in zip(fitted, placed[0], strict=True):
        ours, theirs = project(frame.camera, hand.joints)[0], project(frame.camera, other.joints)[0]
        size = float(np.ptp(theirs, axis=0).max())
        apart = np.linalg.norm(ours - theirs, axis=-1) / size
        off.append(np.median(apart))
        farthest.append(apart.max())
    assert np.median(off) < 0.015
    assert np.percentile(farthest, 95) < 0.08, "no joint is given up"


def test_without_the_fit_hands_lie_where_they_always_did(
    placed: tuple[list[tuple[Frame, HandPose]], list[Call]],
) -> None:
    hands, calls = placed
    answers = [answer for _, answer in calls if answer is not None]
    assert len(hands) == len(answers) > 200
    for (frame, hand), ((camera, marks, _), answer) in zip(hands, calls, strict=True):
        assert answer is not None
        assert np.array_equal(hand.joints, answer.joints)
        assert np.array_equal(hand.angles, answer.angles)
        assert hand.world_from_wrist == answer.world_from_wrist
        assert camera is frame.camera
        assert project(camera, hand.joints)[0] == pytest.approx(marks.landmarks, abs=0.01)


def test_own_hands_without_the_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="own_hands: expected none without hand_fit"):
        TrackerOptions(hand_fit=False, own_hands=(UserHand.average("left"),))


def marks_at(depth: float, side: str = "right") -> tuple[Camera, HandMarks]:
    """A relaxed average hand before a webcam, as a perfect engine would say."""
    (camera,) = rig("mono")
    seen = seen_hand(np.random.default_rng(3), UserHand.average(side), [camera], noise=0.0)
    middle = seen.joints[PALM_JOINTS].mean(0)
    joints = (seen.joints - middle + [0.0, 0.0, -depth]).astype(np.float32)
    return camera, hand_marks(camera, joints, side)


def depth_of(camera: Camera, joints: npt.NDArray[np.float32]) -> float:
    inverse = camera.world_from_camera.inverse()
    return float(np.asarray(inverse.apply(joints[PALM_JOINTS]))[:, 2].mean())


@pytest.mark.parametrize(("at", "nearest"), [(2.0, False), (0.4, True), (1.2, None)])
def test_an_average_hand_is_held_within_reach_of_the_head(at: float, nearest: bool | None) -> None:
    camera, marks = marks_at(at)
    head = Rigid.from_translation((0.0, 0.0, -1.3))
    free = HandFitting().place(camera, marks, 0)
    held = HandFitting().place(camera, marks, 0, head)
    assert free is not None
    assert held is not None
    assert depth_of(camera, free.joints) == pytest.approx(at, rel=0.1)
    if nearest is None:
        assert np.array_equal(held.joints, free.joints)
        return
    reach = 1.3 - REACH_FORWARD if nearest else 1.3 + REACH_BACK
    assert depth_of(camera, held.joints) == pytest.approx(reach, abs=1e-4)
    assert project(camera, held.joints)[0] == pytest.approx(
        project(camera, free.joints)[0], abs=0.05
    )
    assert held.world_from_wrist.xyz == pytest.approx(held.joints[0], abs=1e-5)
    assert np.array_equal(held.angles, free.angles)
    # A measured hand is as large as it is.
    own = HandFitting([UserHand.average("right")]).place(camera, marks, 0, head)
    assert own is not None
    assert np.array_equal(own.joints, free.joints)


def test_a_hand_goes_on_from_the_last_frame_and_begins_anew_after_a_gap() -> None:
    camera, marks = marks_at(0.5)
    again = replace(marks, landmarks=marks.landmarks + np.float32(3.0))
    first, anew = HandFitting(), HandFitting()
    assert first.place(camera, marks, 0) is not None
    fresh = anew.place(camera, again, 0)
    assert fresh is not None
    late = first.place(camera, again, LONGEST_GAP_NS + 1)
    assert late is not None
    assert np.array_equal(late.joints, fresh.joints), "no trace of what was long before"
    followed = first.place(camera, marks, LONGEST_GAP_NS + 33_000_000)
    first.forget()
    forgotten = first.place(camera, marks, LONGEST_GAP_NS + 66_000_000)
    begun = HandFitting().place(camera, marks, 0)
    assert followed is not None
    assert forgotten is not None
    assert begun is not None
    assert np.array_equal(forgotten.joints, begun.joints)
    assert not np.array_equal(followed.joints, begun.joints), "it goes on where it was"
