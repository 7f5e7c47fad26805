"""The tracker on real videos (skipped where they are absent) and on what is made of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from streams.camera import Camera
from streams.face_shapes import SHAPE_INDEX
from streams.frame import Frame
from streams.projection import project
from streams.tracked_state import TrackedState
from tracking.evaluation import blendshape_correlation, jitter, rotation_error_deg
from tracking.tracker import Tracker, TrackerOptions

DATA = Path(__file__).parents[2] / "shared" / "data"
FACE_CLIP = DATA / "faces" / "d0.mp4"
HAND_CLIP = DATA / "hands" / "asl_hand.mp4"

pytestmark = pytest.mark.skipif(not FACE_CLIP.exists(), reason=f"no test videos at {DATA}")


def read(path: Path, count: int, first: int = 0) -> list[Frame]:
    """Frames of a video, as an uncalibrated webcam would have taken them."""
    frames: list[Frame] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        period_ns = round(1e9 / float(stream.average_rate or 25))
        for seq, picture in enumerate(
            itertools.islice(container.decode(stream), first, first + count)
        ):
            rgb = np.ascontiguousarray(picture.to_ndarray(format="rgb24"), np.uint8)
            camera = Camera.from_fov((rgb.shape[1], rgb.shape[0]), name=path.stem)
            frames.append(Frame(seq * period_ns, seq, camera, rgb))
    return frames


@pytest.fixture(scope="module")
def face_frames() -> list[Frame]:
    return read(FACE_CLIP, 60)


@pytest.fixture(scope="module")
def face_states(face_frames: list[Frame]) -> list[TrackedState]:
    with Tracker.open() as tracker:
        return [tracker.track(frame) for frame in face_frames]


@pytest.fixture(scope="module")
def hand_frames() -> list[Frame]:
    return read(HAND_CLIP, 40, first=60)


@pytest.fixture(scope="module")
def hand_states(hand_frames: list[Frame]) -> list[TrackedState]:
    with Tracker.open() as tracker:
        return [tracker.track(frame) for frame in hand_frames]


def faces(states: list[TrackedState]) -> Iterator[tuple[int, TrackedState]]:
    return ((i, state) for i, state in enumerate(states) if state.face is not None)


def same(a: TrackedState, b: TrackedState) -> bool:
    if (a.t_ns, a.source, a.face is None, len(a.hands)) != (
        b.t_ns,
        b.source,
        b.face is None,
        len(b.hands),
    ):
        return False
    pairs = []
    if a.face is not None and b.face is not None:
        pairs += [
            (a.face.landmarks, b.face.landmarks),
            (a.face.blendshapes, b.face.blendshapes),
            (a.face.gaze, b.face.gaze),
            (a.face.world_from_head.matrix(), b.face.world_from_head.matrix()),
        ]
    for x, y in zip(a.hands, b.hands, strict=True):
        if x.side != y.side or x.confidence != y.confidence:
            return False
        pairs.append((x.joints, y.joints))
    return all(np.array_equal(x, y) for x, y in pairs)


def test_a_talking_face_is_tracked(
    face_frames: list[Frame], face_states: list[TrackedState]
) -> None:
    assert all(state.face is not None for state in face_states)
    assert all(state.hands == () for state in face_states)
    for frame, state in zip(face_frames, face_states, strict=True):
        face = state.face
        assert face is not None
        assert state.t_ns == frame.t_ns
        assert face.confidence > 0.6
        forward = face.world_from_head.rotate([0.0, 0.0, 1.0])
        assert forward[2] > 0.9, "the person looks into the webcam"
        assert -0.6 < face.world_from_head.xyz[2] < -0.15
        pixels, _ = project(frame.camera, face.world_from_head.apply(face.landmarks))
        assert pixels.min() > 0
        assert pixels.max() < 512
        # Left is the person's: in an unmirrored picture their left eye is on the viewer's right.
        assert pixels[473, 0] > pixels[468, 0] + 50
    turns = np.array([s.face.world_from_head.rotvec() for s in face_states if s.face is not None])
    assert np.rad2deg(jitter(turns)) < 0.2, "the head does not tremble"


def test_gaze_agrees_with_the_blend_shapes(face_states: list[TrackedState]) -> None:
    """Two readings of the same eyes: the iris' place, and the engine's learned shapes."""
    yaw, told = [], []
    for _, state in faces(face_states):
        assert state.face is not None
        shapes = state.face.blendshapes
        if max(shapes[SHAPE_INDEX["eyeBlinkLeft"]], shapes[SHAPE_INDEX["eyeBlinkRight"]]) < 0.4:
            yaw.append(float(state.face.gaze[:, 0].mean()))
            told.append(
                float(shapes[SHAPE_INDEX["eyeLookOutLeft"]] - shapes[SHAPE_INDEX["eyeLookInLeft"]])
            )
    assert np.std(yaw) > 0.1
    assert blendshape_correlation(yaw, told) > 0.9


def test_equal_frames_give_equal_states(
    face_frames: list[Frame], face_states: list[TrackedState], hand_frames: list[Frame]
) -> None:
    """In a new tracker, and in the same one after another source."""
    with Tracker.open() as tracker:
        tracker.track(hand_frames[0])
        again = [tracker.track(frame) for frame in face_frames[:15]]
        rewound = [tracker.track(frame) for frame in face_frames[:5]]
    assert all(same(a, b) for a, b in zip(again, face_states[:15], strict=True))
    assert all(same(a, b) for a, b in zip(rewound, face_states[:5], strict=True))


def test_a_mirrored_picture_has_the_same_sides(
    face_frames: list[Frame],
    face_states: list[TrackedState],
    hand_frames: list[Frame],
    hand_states: list[TrackedState],
) -> None:
    for frames, states in ((face_frames[:8], face_states), (hand_frames[:8], hand_states)):
        with Tracker.open() as tracker:
            for frame, straight in zip(frames, states, strict=False):
                selfie = replace(frame, rgb=np.ascontiguousarray(frame.rgb[:, ::-1]), mirrored=True)
                assert same(tracker.track(selfie), straight)


def test_a_picture_that_is_mirrored_unnoticed_has_the_other_hand(hand_frames: list[Frame]) -> None:
    with Tracker.open(TrackerOptions(faces=0)) as tracker:
        flipped = [replace(f, rgb=np.ascontiguousarray(f.rgb[:, ::-1])) for f in hand_frames[:5]]
        sides = [hand.side for frame in flipped for hand in tracker.track(frame).hands]
    assert sides == ["left"] * 5


def test_who_leaves_is_gone_and_who_returns_is_back(face_frames: list[Frame]) -> None:
    black = np.zeros_like(face_frames[0].rgb)
    with Tracker.open() as tracker:
        seen = []
        for i, frame in enumerate(face_frames[:30]):
            gone = 10 <= i < 20
            state = tracker.track(replace(frame, rgb=black) if gone else frame)
            seen.append(state.face is not None)
    assert seen == [True] * 10 + [False] * 10 + [True] * 10


def test_a_hand_in_the_world(hand_frames: list[Frame], hand_states: list[TrackedState]) -> None:
    """The signer holds up the right hand, palm to the camera."""
    assert np.mean([len(state.hands) == 1 for state in hand_states]) > 0.95
    for frame, state in zip(hand_frames, hand_states, strict=True):
        hand = state.hand("right")
        if hand is None:
            continue
        assert state.hand("left") is None
        assert -0.9 < hand.joints[:, 2].mean() < -0.2
        assert hand.joints[9, 1] > hand.joints[0, 1] + 0.04, "knuckles above the wrist"
        # +y of the wrist leaves the back of the hand, here away from the camera.
        assert hand.world_from_wrist.rotate([0.0, 1.0, 0.0])[2] < 0.2
        palm = np.linalg.norm(hand.joints[9] - hand.joints[0])
        assert 0.06 < palm < 0.13
        pixels, _ = project(frame.camera, hand.joints)
        assert pixels.min() > -20


def test_hands_match_the_recorded_ones(
    hand_frames: list[Frame], hand_states: list[TrackedState]
) -> None:
    """Another implementation of the same models said where the joints are in this clip."""
    import json

    truth = np.array(json.loads((DATA / "hands/asl_hand.expected_2d.json").read_text()))[60:100]
    apart = []
    for frame, state, joints in zip(hand_frames, hand_states, truth, strict=True):
        hand = state.hand("right")
        if hand is not None:
            pixels, _ = project(frame.camera, hand.joints)
            size = np.ptp(joints[:, :2], axis=0).max()
            apart.append(np.linalg.norm(pixels - joints[:, :2], axis=-1).mean() / size)
    assert np.median(apart) < 0.06


def test_a_moved_camera_moves_the_person(face_frames: list[Frame]) -> None:
    """The same picture of a camera that stands elsewhere is the same person elsewhere."""
    from streams.rigid import Rigid

    moved = Rigid.from_rotvec([0.0, 0.5, 0.0], [1.0, 0.2, 0.0])
    frame = face_frames[0]
    camera = replace(frame.camera, world_from_camera=moved @ frame.camera.world_from_camera)
    with Tracker.open(TrackerOptions(hands=0)) as tracker:
        here = tracker.track(frame).face
    with Tracker.open(TrackerOptions(hands=0)) as tracker:
        there = tracker.track(replace(frame, camera=camera)).face
    assert here is not None
    assert there is not None
    assert rotation_error_deg(there.world_from_head, moved @ here.world_from_head) < 1e-6
    assert there.world_from_head.xyz == pytest.approx((moved @ here.world_from_head).xyz)
    assert np.array_equal(here.gaze, there.gaze)


def test_a_huge_picture_is_the_same_person(face_frames: list[Frame]) -> None:
    """Above 2048 pixels the engines see a smaller picture; pixels and metres stay the frame's."""
    import cv2

    frame = face_frames[0]
    big = np.asarray(cv2.resize(frame.rgb, (2560, 2560), interpolation=cv2.INTER_LINEAR), np.uint8)
    with Tracker.open(TrackerOptions(hands=0)) as tracker:
        small = tracker.track(frame).face
        large = tracker.track(
            Frame(0, 0, replace(frame.camera.scaled((2560, 2560)), name="large"), big)
        ).face
    assert small is not None
    assert large is not None
    assert rotation_error_deg(small.world_from_head, large.world_from_head) < 1.0
    assert large.world_from_head.xyz == pytest.approx(small.world_from_head.xyz, abs=0.005)
