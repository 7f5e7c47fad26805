"""Confidences fall when parts of a filmed person are covered, blurred or leave the picture."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from capture.performance import HandKey, Performance
from streams.face_outlines import INNER_LIPS, LIDS
from streams.face_shapes import FACE_SHAPES, UNTRACKED_SHAPES
from streams.frame import Frame
from streams.projection import project
from streams.tracked_state import FacePose, HandPose, TrackedState
from tests.acting_person import act
from tracking.tracker import Tracker, TrackerOptions
from tracking.visibility import PartsSeen, hand_seen, parts_seen

Marks = npt.NDArray[np.floating]
WAVES = Performance("waves", 1.0, left=(HandKey(-1.0, "open"),), sway=0.2)


@pytest.fixture(scope="module")
def waving() -> tuple[Frame, TrackedState]:
    """The last of some frames, so that every filter has come to rest."""
    with Tracker.open(TrackerOptions(hands=1, look_for_hands_every_ms=1)) as tracker:
        pairs = [(frame, tracker.track(frame)) for frame, _ in act(WAVES, fps=12.0)]
    return pairs[-1]


def face_of(waving: tuple[Frame, TrackedState]) -> tuple[Frame, FacePose, Marks]:
    """With the landmarks' pixels."""
    frame, state = waving
    assert state.face is not None
    world = state.face.world_from_head.apply(state.face.landmarks)
    return frame, state.face, project(frame.camera, world)[0]


def hand_of(waving: tuple[Frame, TrackedState]) -> tuple[Frame, HandPose, Marks]:
    frame, state = waving
    hand = state.hand("left")
    assert hand is not None
    return frame, hand, project(frame.camera, hand.joints)[0]


def blurred(frame: Frame, pixels: float) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.GaussianBlur(frame.rgb, (0, 0), pixels), np.uint8)


def covered(frame: Frame, marks: Marks, share: float = 1.0) -> npt.NDArray[np.uint8]:
    """A plain card before the box of the marks and half as much round it, from above."""
    rgb = frame.rgb.copy()
    low, high = marks.min(0), marks.max(0)
    low, high = low - 0.5 * (high - low), high + 0.5 * (high - low)
    bottom = low[1] + share * (high[1] - low[1])
    left, top, right = (int(max(n, 0)) for n in (low[0], low[1], high[0]))
    rgb[top : int(max(bottom, 0)), left:right] = (90, 110, 140)
    return rgb


def test_parts_are_seen_and_told(waving: tuple[Frame, TrackedState]) -> None:
    frame, face, marks = face_of(waving)
    seen = parts_seen(frame.rgb, marks)
    assert min(*seen.eyes, seen.mouth) > 0.8
    assert face.parts is not None
    assert min(face.parts.left_gaze, face.parts.right_gaze, face.parts.mouth) > 0.6


def test_blur_takes_it_away_step_by_step(waving: tuple[Frame, TrackedState]) -> None:
    frame, _, marks = face_of(waving)
    _, _, joints = hand_of(waving)
    pictures = [blurred(frame, pixels) for pixels in (0.5, 1.0, 2.0, 4.0, 8.0)]
    faces = [parts_seen(rgb, marks) for rgb in pictures]
    rows = [[*f.eyes, f.mouth, hand_seen(p, joints)] for f, p in zip(faces, pictures, strict=True)]
    levels = np.array(rows)
    assert (np.diff(levels, axis=0) <= 0.02).all()
    assert levels[0].min() > 0.5
    assert levels[-1].max() < 0.2


@pytest.mark.parametrize("part", ["left eye", "right eye", "mouth"])
def test_a_cover_takes_its_part_alone(part: str, waving: tuple[Frame, TrackedState]) -> None:
    frame, _, marks = face_of(waving)
    rims = {"left eye": LIDS[0], "right eye": LIDS[1], "mouth": INNER_LIPS}
    seen = parts_seen(covered(frame, marks[list(rims[part])]), marks)
    levels = {"left eye": seen.eyes[0], "right eye": seen.eyes[1], "mouth": seen.mouth}
    assert levels.pop(part) < 0.2
    assert min(levels.values()) > 0.8


def test_a_covered_hand_falls_as_the_cover_grows(waving: tuple[Frame, TrackedState]) -> None:
    frame, hand, joints = hand_of(waving)
    assert hand.confidence > 0.5
    shares = (0.0, 0.4, 0.6, 1.0)
    levels = [hand_seen(covered(frame, joints, share), joints) for share in shares]
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] < 0.2 < 0.8 < levels[0]


def test_what_leaves_the_picture_is_not_seen(waving: tuple[Frame, TrackedState]) -> None:
    frame, _, marks = face_of(waving)
    _, _, joints = hand_of(waving)
    gone = np.array([2000.0, 0.0])
    assert parts_seen(frame.rgb, marks[:, :2] + gone) == PartsSeen((0.0, 0.0), 0.0)
    assert hand_seen(frame.rgb, joints + gone) == 0.0
    half = frame.camera.size[0] - marks[INNER_LIPS[0], 0] - 1.0
    moved = np.roll(frame.rgb, int(half), axis=1)
    moved[:, : int(half)] = 110
    assert parts_seen(moved, marks[:, :2] + [int(half), 0.0]).eyes[0] < 0.3


def test_the_tracker_tells_of_a_covered_mouth_and_a_blurred_hand(
    waving: tuple[Frame, TrackedState],
) -> None:
    frame, face, marks = face_of(waving)
    card = covered(frame, marks[list(INNER_LIPS)])
    with Tracker.open(TrackerOptions(hands=1)) as tracker:
        clear = tracker.track(frame)
        hidden = tracker.track(replace(frame, t_ns=frame.t_ns + 33_000_000, rgb=card))
        soft = tracker.track(replace(frame, t_ns=frame.t_ns + 66_000_000, rgb=blurred(frame, 6.0)))
    assert clear.face is not None
    assert clear.face.parts is not None
    assert hidden.face is not None
    assert hidden.face.parts is not None
    assert hidden.face.parts.mouth < 0.3 < 0.8 < clear.face.parts.mouth
    assert hidden.face.parts.left_gaze == pytest.approx(clear.face.parts.left_gaze, abs=0.2)
    assert hidden.face.confidence < clear.face.confidence
    if soft.hands:
        assert soft.hands[0].confidence < 0.6 * clear.hands[0].confidence
    untracked = [FACE_SHAPES.index(name) for name in UNTRACKED_SHAPES]
    assert (face.blendshapes[untracked] == 0.0).all()
