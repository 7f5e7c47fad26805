"""The tracker's own steps were made quick: they answer as their slow twins do."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from assets.manifest import asset_path
from capture.frame_source import open_source
from streams.camera import Camera
from streams.frame import Frame
from streams.projection import project
from streams.rigid import Rigid
from streams.tracked_state import HandPose, TrackedState
from tests import tracking_twins as slow
from tracking.canonical_face import read_canonical_face
from tracking.engine import FaceMarks, HandMarks
from tracking.hand_placement import lies_on_face
from tracking.landmark_flow import SURFACE, LandmarkFlow, LandmarkFlowOptions
from tracking.pose_fit import facing_along, fit_pose
from tracking.tracker import Tracker, TrackerOptions
from tracking.visibility import PartsSeen, hand_seen, parts_seen

Pixels = npt.NDArray[np.floating]


@pytest.fixture(scope="module")
def demo() -> list[tuple[Frame, TrackedState]]:
    """Every tenth frame of the clip, whose second half shows hands."""
    options = TrackerOptions(look_for_hands_every_ms=1)
    with (
        open_source(f"video:{asset_path('clips/demo')}") as source,
        Tracker.open(options) as tracker,
    ):
        return [(frame, tracker.track(frame)) for k, frame in enumerate(source) if k % 10 == 0]


def face_pixels(frame: Frame, state: TrackedState) -> Pixels:
    assert state.face is not None
    return project(frame.camera, state.face.world_from_head.apply(state.face.landmarks))[0]


def largest_difference(a: PartsSeen, b: PartsSeen) -> float:
    return float(np.abs(np.subtract((*a.eyes, a.mouth), (*b.eyes, b.mouth))).max())


def test_a_shape_is_laid_over_its_points_as_by_the_slow_twin() -> None:
    random = np.random.default_rng()
    for _ in range(200):
        count = int(random.integers(5, 40))
        shape = 0.05 * random.standard_normal((count, 3))
        turn = Rigid.from_rotvec(random.uniform(-1.2, 1.2, 3)).rotation()
        offset = np.array([*random.uniform(-0.5, 0.5, 2), random.uniform(0.4, 2.0)])
        points = shape @ turn.T + offset
        rays = points / points[:, 2:]
        rays[:, :2] += random.uniform(0.0, 0.01) * random.standard_normal((count, 2))
        depth = points @ offset / np.linalg.norm(offset) / offset[2]
        quick, twin = (fit(shape, rays, depth, 0.5) for fit in (fit_pose, slow.fit_pose))
        np.testing.assert_allclose(quick.rotation, twin.rotation, atol=1e-9)
        np.testing.assert_allclose(quick.offset, twin.offset, atol=1e-9)
        assert quick.error == pytest.approx(twin.error, abs=1e-9)


def test_a_ray_is_faced_as_by_the_slow_twin() -> None:
    rays = [*np.random.default_rng().standard_normal((200, 3)), np.array([0.0, 0.0, 2.0])]
    for ray in [*rays, np.array([1e-9, 0.0, -1.0])]:
        np.testing.assert_allclose(facing_along(ray), slow.facing_along(ray), atol=1e-12)


def test_what_is_seen_of_a_filmed_person_is_as_by_the_slow_twin(
    demo: list[tuple[Frame, TrackedState]],
) -> None:
    hands = 0
    for frame, state in demo:
        marks = face_pixels(frame, state)
        quick, twin = parts_seen(frame.rgb, marks), slow.parts_seen(frame.rgb, marks)
        assert largest_difference(quick, twin) < 1e-3
        for hand in state.hands:
            joints = project(frame.camera, hand.joints)[0]
            twin = slow.hand_seen(frame.rgb, joints)
            assert hand_seen(frame.rgb, joints) == pytest.approx(twin, abs=1e-3)
            hands += 1
    assert hands >= 10


def test_what_is_seen_of_random_pictures_is_as_by_the_slow_twin(
    demo: list[tuple[Frame, TrackedState]],
) -> None:
    random = np.random.default_rng()
    face = face_pixels(*demo[0])
    hand = next(state.hands[0] for _, state in demo if state.hands)
    joints = project(demo[0][0].camera, hand.joints)[0]
    for _ in range(20):
        noise = random.integers(0, 256, (36, 48, 3), dtype=np.uint8)
        rgb = np.asarray(cv2.resize(noise, (640, 480)), np.uint8)
        # Of every size, turned, and partly out of the picture.
        angle, scale = random.uniform(-0.6, 0.6), random.uniform(0.2, 2.5)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        middle = random.uniform((-50, -50), (690, 530))
        there = (face - face.mean(0)) @ turn.T + middle
        assert largest_difference(parts_seen(rgb, there), slow.parts_seen(rgb, there)) < 5e-3
        there = (joints - joints.mean(0)) @ turn.T + middle
        twin = slow.hand_seen(rgb, there)
        assert hand_seen(rgb, there) == pytest.approx(twin, abs=5e-3)


def test_flow_in_a_part_of_the_picture_is_that_in_the_whole(
    demo: list[tuple[Frame, TrackedState]],
) -> None:
    average = read_canonical_face(asset_path("models/face_landmarker.task")).vertices
    options = LandmarkFlowOptions()
    quick, twin = LandmarkFlow(average, options), slow.SlowFlow(average, options)
    largest = 0.0
    for k, (frame, state) in enumerate(demo):
        landmarks = np.zeros((478, 3), np.float32)
        landmarks[:, :2] = face_pixels(frame, state)
        marks = FaceMarks(landmarks, np.zeros(52, np.float32))
        moved = quick.moved(frame.rgb, 100 * k, marks)
        np.testing.assert_allclose(moved, twin.moved(frame.rgb, 100 * k, marks), atol=1e-6)
        largest = max(largest, float(np.abs(moved).max()))
    assert largest > 1.0
    assert moved.shape == (SURFACE, 2)


def test_a_hand_lies_on_a_face_where_the_slow_twin_says_so() -> None:
    random = np.random.default_rng()
    camera, head = Camera.from_fov((640, 480)), Rigid.from_translation((0.0, 0.0, -0.6))
    face = random.uniform((250, 150), (400, 350), (478, 2))
    said: list[bool] = []
    for _ in range(300):
        points = random.uniform(250, 350) + random.uniform(5, 60) * random.standard_normal((21, 2))
        marks = HandMarks(points.astype(np.float32), np.zeros((21, 3), np.float32), "left", 1.0)
        joints = np.zeros((21, 3), np.float32)
        joints[:, 2] = -random.uniform(0.3, 0.8)
        pose = HandPose("left", joints, Rigid(), np.zeros((5, 4), np.float32), 1.0)
        said.append(lies_on_face(marks, pose, face, camera, head))
        assert said[-1] == slow.lies_on_face(marks, pose, face, camera, head)
    assert 10 < sum(said) < 290
