"""Whose hands and whose face: the subject's, whoever else is in the picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.film_frames import frames
from streams.camera import Camera
from streams.frame import Frame
from tracking.association import reachable_hands
from tracking.engine import FaceMarks, HandMarks, Picture
from tracking.engines.face_pipeline import FacePipeline
from tracking.engines.hand_pipeline import HandPipeline
from tracking.nets.litert import LiteRtNets
from tracking.subject import (
    FACE_SIDES,
    FACE_WIDTH,
    Company,
    Place,
    Subject,
    can_reach,
    face_place,
    metres_to_body,
)
from tracking.tracker import Tracker, TrackerOptions


def face_at(x: float, y: float, scale: float) -> FaceMarks:
    landmarks = np.zeros((478, 3), np.float32)
    for side, sign in zip(FACE_SIDES, (-1.0, 1.0), strict=True):
        landmarks[side] = (x + sign * FACE_WIDTH * scale / 2.0, y, 0.0)
    return FaceMarks(landmarks, np.zeros(52, np.float32))


def hand_at(x: float, y: float, scale: float) -> HandMarks:
    shape = np.random.default_rng(1).uniform(-0.08, 0.08, (21, 3)).astype(np.float32)
    landmarks = (shape[:, :2] - shape[[0, 5, 9, 13, 17], :2].mean(0)) * scale + (x, y)
    return HandMarks(landmarks.astype(np.float32), shape, "right", 0.9)


def test_a_hand_is_within_an_arms_length_and_not_far_behind() -> None:
    face = face_place(face_at(300.0, 200.0, 1000.0).landmarks)
    assert (face.x, face.y, face.scale) == pytest.approx((300.0, 200.0, 1000.0))
    assert can_reach(face, Place(900.0, 700.0, 1000.0)), "0.8 m away"
    assert not can_reach(face, Place(1400.0, 700.0, 1000.0)), "1.2 m away"
    assert can_reach(face, Place(1300.0, 700.0, 1000.0), leeway=1.2)
    assert can_reach(face, Place(1400.0, 700.0, 2500.0)), "held out towards the camera"
    assert not can_reach(face, Place(350.0, 300.0, 400.0)), "of someone far behind"
    subject = Subject()
    hands = (hand_at(600.0, 400.0, 1000.0), hand_at(1800.0, 400.0, 1000.0))
    assert reachable_hands(hands, subject) == hands, "without a face everybody's"
    subject.follow(face_at(300.0, 200.0, 1000.0))
    assert reachable_hands(hands, subject) == hands[:1]
    subject.follow(None)
    assert subject.company.subject is None


CAMERA = Camera.from_fov((1280, 720), name="c")
"""Its focal length is 1108 pixels: a scale of 1000 is 1.1 m away."""


def test_a_hand_is_of_the_nearer_face() -> None:
    left, right = Place(340.0, 360.0, 1000.0), Place(940.0, 360.0, 1000.0)
    alone, company = Company(left, (), CAMERA), Company(left, (right,), CAMERA)
    between = Place(690.0, 500.0, 1000.0)
    assert alone.may_have(between)
    assert not company.may_have(between), "0.29 m from the right one, 0.38 m from the left"
    assert company.may_have(Place(590.0, 500.0, 1000.0))
    assert Company(right, (left,), CAMERA).may_have(between)
    assert Company(left, (right,), CAMERA, leeway=1.4).may_have(between, followed=True)
    assert not Company(left, (right,), CAMERA, leeway=1.2).may_have(between, followed=True)
    assert not Company(left, (right,), CAMERA, leeway=1.4).may_have(between), "it is new"
    # Someone 2.8 m away sits behind the subject's raised hand, nearer to it in the picture alone.
    behind = Place(640.0, 400.0, 400.0)
    assert Company(left, (behind,), CAMERA).may_have(Place(640.0, 420.0, 1300.0))
    assert not Company(left, (behind,), CAMERA).may_have(Place(640.0, 500.0, 480.0))
    assert Company(None, (right,), CAMERA).may_have(right)


def test_hands_held_forward_are_as_near_as_beside() -> None:
    face = Place(640.0, 300.0, 1000.0)
    for scale in (1000.0, 1400.0, 1800.0):  # Up to 0.49 m before the face.
        straight_below = Place(639.5, 359.5 + (0.3 - 0.0595) * scale, scale)
        assert metres_to_body(straight_below, face, CAMERA) == pytest.approx(0.3, abs=0.01)
    assert metres_to_body(Place(640.0, 300.0, 500.0), face, CAMERA) > 1.0, "far behind it"
    assert metres_to_body(Place(640.0, 300.0, 3000.0), face, CAMERA) > 0.2, "too far before it"


def test_the_place_of_a_hidden_subject_stands_while_bystanders_are_seen() -> None:
    subject = Subject()
    left, right = face_at(340.0, 360.0, 1000.0), face_at(940.0, 360.0, 1000.0)
    subject.follow(left, [right], CAMERA)
    assert subject.company.leeway == 1.0, "hands of the first picture were anybody's"
    subject.follow(None, [right], CAMERA)
    assert subject.company.subject == face_place(left.landmarks)
    assert subject.company.leeway > 1.0
    hands = (hand_at(500.0, 500.0, 1000.0), hand_at(800.0, 500.0, 1000.0))
    assert reachable_hands(hands, subject) == hands[:1]
    subject.follow(None, [], CAMERA)
    assert reachable_hands(hands, subject) == hands


def test_a_turned_face_is_no_farther_away() -> None:
    face = face_at(300.0, 200.0, 1000.0).landmarks
    middle = np.array([300.0, 200.0, 0.0])
    turn = np.array([[0.5, 0.0, np.sqrt(0.75)], [0.0, 1.0, 0.0], [-np.sqrt(0.75), 0.0, 0.5]])
    turned = face_place((face - middle) @ turn.T + middle)
    assert (turned.x, turned.y, turned.scale) == pytest.approx((300.0, 200.0, 1000.0))


@pytest.fixture(scope="module")
def pictures(demo_clip: Path) -> list[Picture]:
    """The synthetic person: calm at first, later with both hands up."""
    return frames(demo_clip, 200)


WAVING = slice(185, 195)


def two_people(left: Picture, right: Picture, left_scale: float, right_scale: float) -> Picture:
    """Side by side, each shrunk about the middle of its half."""
    height, width = left.shape[:2]
    halves: list[Picture] = []
    for rgb, scale in ((left, left_scale), (right, right_scale)):
        half = np.full_like(rgb, 90)
        small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        y, x = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
        half[y : y + small.shape[0], x : x + small.shape[1]] = small
        halves.append(half)
    return np.ascontiguousarray(np.concatenate(halves, axis=1))


@pytest.mark.parametrize("nearer_is_right", [False, True])
def test_the_nearest_face_is_followed_and_kept(
    pictures: list[Picture], nearer_is_right: bool
) -> None:
    """The larger one of the first picture, also when the other one has become larger."""
    engine = FacePipeline(LiteRtNets(threads=2))
    width = pictures[0].shape[1]
    sizes: list[float] = []
    for t in range(10):
        scales = 1.0 - 0.04 * t, 0.6 + 0.04 * t
        rgb = two_people(pictures[t], pictures[t], *(scales[::-1] if nearer_is_right else scales))
        (face,) = engine.look(rgb, t * 33)
        assert (float(face.landmarks[:, 0].mean()) > width) == nearer_is_right
        sizes.append(float(np.ptp(face.landmarks[:, 0])))
    assert sizes[-1] < 0.75 * sizes[0]


def test_an_ear_is_no_hand(shared_data: Path) -> None:
    """The networks take this man's ear for a hand, less than half as large as one beside his face:
    of 0.39 and 0.48 times the face's pixels a metre, hands that touch faces have 1.0."""
    film = frames(shared_data / "faces" / "d19.mp4", 12)
    assert HandPipeline(LiteRtNets(threads=2)).look(film[0], 1)
    camera = Camera.from_fov((film[0].shape[1], film[0].shape[0]), name="clip")
    with Tracker.open() as tracker:
        for i, rgb in enumerate(film):
            state = tracker.track(Frame(i * 33_000_000, i, camera, rgb))
            assert state.face is not None
            assert state.hands == ()


def test_a_bystanders_hands_are_nobodys(pictures: list[Picture]) -> None:
    """Someone three times as far away waves behind the subject, whose own hands are down."""
    frames = [two_people(pictures[0], rgb, 1.0, 0.3) for rgb in pictures[WAVING]]
    found = HandPipeline(LiteRtNets(threads=2)).look(frames[0], 1)
    assert len(found) == 2, "who knows no subject sees them"
    camera = Camera.from_fov((frames[0].shape[1], frames[0].shape[0]), name="clip")
    with Tracker.open() as tracker:
        for i, rgb in enumerate(frames):
            state = tracker.track(Frame(i * 33_000_000, i, camera, rgb))
            assert state.face is not None
            assert state.hands == ()


def test_the_subjects_own_hands_are_kept_beside_a_bystanders(pictures: list[Picture]) -> None:
    frames = [two_people(rgb, rgb, 1.0, 0.3) for rgb in pictures[WAVING]]
    camera = Camera.from_fov((frames[0].shape[1], frames[0].shape[0]), name="clip")
    with Tracker.open() as tracker:
        states = [
            tracker.track(Frame(i * 33_000_000, i, camera, rgb)) for i, rgb in enumerate(frames)
        ]
    for state in states:
        assert [hand.side for hand in state.hands] == ["left", "right"]
        assert state.face is not None
        for hand in state.hands:
            apart = np.linalg.norm(hand.joints.mean(0) - state.face.world_from_head.xyz)
            assert apart < 0.9


@pytest.mark.parametrize("who", ["bystander", "both", "subject"])
def test_the_hands_of_who_sits_beside_the_subject_are_nobodys(
    pictures: list[Picture], who: str
) -> None:
    """As near to the camera as the subject, 0.6 m beside it: within the subject's reach."""
    calm, waving = pictures[0], pictures[WAVING]
    frames = [
        two_people(calm if who == "bystander" else rgb, calm if who == "subject" else rgb, 1.0, 0.9)
        for rgb in waving
    ]
    camera = Camera.from_fov((frames[0].shape[1], frames[0].shape[0]), name="clip")
    found: dict[int, list[int]] = {}
    for faces in (1, 2):
        with Tracker.open(TrackerOptions(faces=faces)) as tracker:
            states = [
                tracker.track(Frame(i * 33_000_000, i, camera, rgb)) for i, rgb in enumerate(frames)
            ]
        for state in states:
            assert state.face is not None
            assert state.face.world_from_head.xyz[0] < -0.2, "the one on the left"
            assert all(hand.joints[:, 0].mean() < 0.0 for hand in state.hands) or faces == 1
        found[faces] = [len(state.hands) for state in states]
    if who == "bystander":
        assert found[1] == [2] * len(frames), "who does not know the bystander takes them"
        assert found[2] == [0] * len(frames)
    else:
        assert found[2] == [2] * len(frames)


def test_a_covered_subject_is_nobody_else_and_keeps_its_hands(pictures: list[Picture]) -> None:
    """Something covers its face for a third of a second; the bystander waves too."""
    frames = [two_people(rgb, rgb, 1.0, 0.9) for rgb in (*pictures[WAVING], *pictures[WAVING])]
    for rgb in frames[5:15]:
        rgb[40:400, 200:440] = 90
    camera = Camera.from_fov((frames[0].shape[1], frames[0].shape[0]), name="clip")
    with Tracker.open(TrackerOptions(faces=2)) as tracker:
        states = [
            tracker.track(Frame(i * 33_000_000, i, camera, rgb)) for i, rgb in enumerate(frames)
        ]
    assert [state.face is not None for state in states] == [True] * 5 + [False] * 10 + [True] * 5
    for state in states:
        assert state.face is None or state.face.world_from_head.xyz[0] < -0.2
        assert len(state.hands) == 2
        assert all(hand.joints[:, 0].mean() < 0.0 for hand in state.hands)
