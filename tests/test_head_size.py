"""How large a head is, by several cameras: measured, remembered, and what it means for the face."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from assets.manifest import asset_path
from benchmarks.rendered_hands import looking
from streams.camera import Camera
from streams.frame import Frame
from streams.hand_skeleton import joint_angles, wrist_frame
from streams.person_size import of_average_head, sized_face
from streams.projection import project
from streams.rigid import Rigid
from streams.tracked_state import FacePose, HandPose, TrackedState
from tracking.canonical_face import CanonicalFace, read_canonical_face
from tracking.engine import FaceMarks, Picture
from tracking.engine_slot import TrackingError
from tracking.head_measuring import EVERY, HeadMeasuring
from tracking.head_pose import fit_head
from tracking.head_size import EASE_S, GONE_S, SETTLED, HeadSize, measured_size
from tracking.net import FACE_BUNDLE

AHEAD = np.tile(np.array([0.0, 0.0, 1.0], np.float32), (2, 1))
PLACE = np.array([0.03, 0.05, -0.5])
CAMERAS = tuple(
    looking(f"camera{k}", place, (640, 480), 600.0)
    for k, place in enumerate(((0.1, 0.02, 0.1), (0.3, 0.05, 0.0), (-0.3, 0.1, -0.05)))
)


@pytest.fixture(scope="module")
def average() -> CanonicalFace:
    return read_canonical_face(asset_path(FACE_BUNDLE))


def head(size: float, average: CanonicalFace, at: np.ndarray = PLACE) -> np.ndarray:
    """(478, 3) metres, world frame."""
    points = np.concatenate([average.vertices, np.zeros((10, 3))])
    pose = Rigid(Rigid.from_rotvec([0.1, -0.2, 0.05]).wxyz, at)
    return np.asarray(pose.apply(size * points))


def marks(camera: Camera, points: np.ndarray, noise: float = 0.0, seed: int = 0) -> FaceMarks:
    """As a landmark network would see them."""
    pixels, depth = project(camera, points)
    relative = (depth / depth.mean() - 1.0) * 600.0
    landmarks = np.column_stack([pixels, relative])
    landmarks[:, :2] += np.random.default_rng(seed).normal(0.0, noise, (478, 2))
    return FaceMarks(landmarks.astype(np.float32), np.zeros(52, np.float32))


def guessed(camera: Camera, seen: FaceMarks, average: CanonicalFace) -> FacePose:
    """As one camera places it."""
    fit = fit_head(camera, seen.landmarks, average)
    shapes = np.zeros(52, np.float32)
    return FacePose(shapes, fit.landmarks, AHEAD, fit.world_from_head, 1.0)


@pytest.mark.parametrize("size", [0.8, 0.93, 1.0, 1.15])
@pytest.mark.parametrize("cameras", [2, 3])
def test_the_size_of_a_head_is_measured_and_places_it(
    size: float, cameras: int, average: CanonicalFace
) -> None:
    """Trembling by a third of a pixel, as landmarks do."""
    points = head(size, average)
    seen = [marks(camera, points, 0.3, k) for k, camera in enumerate(CAMERAS)]
    face = guessed(CAMERAS[0], seen[0], average)
    others = [(CAMERAS[k], [seen[k]]) for k in range(1, cameras)]
    measured = measured_size(face, CAMERAS[0], others)
    assert measured is not None
    assert abs(measured - size) < 0.006
    centre = CAMERAS[0].world_from_camera.xyz
    placed = sized_face(face, measured, centre)
    assert np.linalg.norm(placed.world_from_head.xyz - PLACE) < 0.004
    if abs(size - 1.0) > 0.05:
        assert np.linalg.norm(face.world_from_head.xyz - PLACE) > 0.025


def test_another_face_a_false_one_and_one_place_do_not_measure(average: CanonicalFace) -> None:
    points = head(0.9, average)
    beside = head(1.0, average, PLACE + [0.25, 0.0, -0.2])
    own, other = (marks(CAMERAS[1], each) for each in (points, beside))
    face = guessed(CAMERAS[0], marks(CAMERAS[0], points), average)
    assert measured_size(face, CAMERAS[0], []) is None
    assert measured_size(face, CAMERAS[0], [(CAMERAS[1], [])]) is None
    assert measured_size(face, CAMERAS[0], [(CAMERAS[1], [other])]) is None
    found = measured_size(face, CAMERAS[0], [(CAMERAS[1], [other, own])])
    assert found is not None
    assert abs(found - 0.9) < 0.002
    # Of two whose rays cross the first camera's, the better one: somebody behind, all but hidden.
    centre = CAMERAS[0].world_from_camera.xyz
    behind = marks(CAMERAS[1], centre + 1.2 * (points - centre) + [0.0, 0.003, 0.0])
    for both in ([behind, own], [own, behind]):
        found = measured_size(face, CAMERAS[0], [(CAMERAS[1], both)])
        assert found == pytest.approx(0.9, abs=0.002)
    assert measured_size(face, CAMERAS[0], [(CAMERAS[1], [behind])]) == pytest.approx(
        1.08, abs=0.02
    )
    # One camera's bystander does not take the others' say.
    third = marks(CAMERAS[2], beside)
    both = [(CAMERAS[1], [own]), (CAMERAS[2], [third])]
    assert measured_size(face, CAMERAS[0], both) == pytest.approx(0.9, abs=0.002)
    same_place = replace(CAMERAS[0], name="twin")
    twin = [(same_place, [marks(same_place, points, 0.3)])]
    assert measured_size(face, CAMERAS[0], twin) is None
    # Half of the face lies elsewhere: a hand before it, a net that errs.
    bent = points + np.where(points[:, :1] > PLACE[0], 0.0, [[0.0, 0.0, 0.05]])
    assert measured_size(face, CAMERAS[0], [(CAMERAS[1], [marks(CAMERAS[1], bent)])]) is None


NS = 33_000_000


def settled(value: float) -> HeadSize:
    """After a second in which every fifth moment is wrong."""
    size = HeadSize()
    assert size.value == 1.0
    size.seen(0, None)
    assert size.value == 1.0
    rng = np.random.default_rng(3)
    for k in range(1, 31):
        size.seen(k * NS, 1.3 if k % 5 == 0 else value + rng.normal(0.0, 0.002))
        assert abs(size.value - value) < 0.01
    assert size.settled is False  # 1.3, just now
    size.seen(31 * NS, value)
    assert size.settled
    return size


def test_one_number_stands_until_another_face_is_measured() -> None:
    size = settled(0.93)
    for k in range(32, 50):
        size.seen(k * NS, None)
    assert abs(size.value - 0.93) < 0.002
    # A look away does not matter; after more the next face may be another's, and it is measured
    # before it is believed.
    size.seen(50 * NS + int(0.9e9 * GONE_S), None)
    assert size.settled
    size.seen(50 * NS + int(2.1e9 * GONE_S), None)
    assert not size.settled
    assert abs(size.value - 0.93) < 0.002
    size.seen(50 * NS + int(2.2e9 * GONE_S), 1.08)
    assert size.value == 1.08


def test_a_guess_that_goes_wrong_is_mended_without_a_jump() -> None:
    """As when a hand comes before the face: within a third of a second, not at once."""
    size = settled(0.95)
    values = [size.value]
    for k in range(32, 50):
        size.seen(k * NS, 0.88)
        assert size.settled == (abs(size.value - 0.88) <= 0.015 and k >= 31 + SETTLED)
        values.append(size.value)
    steps = -np.diff(values)
    assert abs(values[10] - 0.88) < 0.007
    assert steps.max() < 1.1 * (0.95 - 0.88) * NS / 1e9 / EASE_S
    assert steps.min() > -0.002


def test_the_first_camera_sees_the_same_whatever_the_size(average: CanonicalFace) -> None:
    camera = CAMERAS[0]
    centre = camera.world_from_camera.xyz
    before = guessed(camera, marks(camera, head(0.9, average)), average)
    after = sized_face(before, 0.9, centre)
    assert after.size == 0.9
    there, _ = project(camera, before.world_from_head.apply(before.landmarks.astype(float)))
    here, _ = project(camera, after.world_from_head.apply(after.landmarks.astype(float)))
    np.testing.assert_allclose(here, there, atol=1e-3)
    far = [np.linalg.norm(f.world_from_head.xyz - centre) for f in (before, after)]
    assert far[1] / far[0] == pytest.approx(0.9)
    assert sized_face(before, 1.0, centre) is before
    rng = np.random.default_rng(1)
    joints = (rng.normal(0.0, 0.05, (21, 3)) + PLACE).astype(np.float32)
    hand = HandPose("left", joints, wrist_frame(joints, "left"), joint_angles(joints, "left"), 1.0)
    back = of_average_head(TrackedState(0, "camera0", after, (hand,)), centre)
    assert back.face is not None
    assert back.face.size == 1.0
    np.testing.assert_allclose(back.face.landmarks, before.landmarks, atol=1e-7)
    np.testing.assert_allclose(back.face.world_from_head.xyz, before.world_from_head.xyz)
    moved = back.hands[0]
    np.testing.assert_allclose(
        project(camera, moved.joints)[0], project(camera, joints)[0], atol=1e-3
    )
    # Hand and face lie to each other as before, in the person's own measure.
    apart = np.linalg.norm(joints - after.world_from_head.xyz, axis=1)
    np.testing.assert_allclose(
        np.linalg.norm(moved.joints - back.face.world_from_head.xyz, axis=1), apart / 0.9, rtol=1e-5
    )
    assert moved.world_from_wrist.angle_to(hand.world_from_wrist) < 1e-9
    one = TrackedState(0, "camera0", before, (hand,))
    assert of_average_head(one, centre) is one


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), float("inf")])
def test_no_head_has_such_a_size(size: float, average: CanonicalFace) -> None:
    face = guessed(CAMERAS[0], marks(CAMERAS[0], head(1.0, average)), average)
    with pytest.raises(ValueError, match=r"FacePose.size: expected a number above 0, got"):
        replace(face, size=size)


class Looks:
    """Engines of cameras 1 and 2, opened in this order, that see the head they are told."""

    def __init__(self, average: CanonicalFace) -> None:
        self.size: float | None = 0.9
        self.failures = 0
        self.opened = 0
        self.looked: list[tuple[int, int]] = []
        self._average = average

    def __call__(self) -> Looks._Engine:
        self.opened += 1
        return Looks._Engine(self, 1 + (self.opened - 1) % 2)

    class _Engine:
        def __init__(self, told: Looks, camera: int) -> None:
            self._told, self._camera = told, camera

        def look(self, rgb: Picture, t_ms: int) -> tuple[FaceMarks, ...]:
            self._told.looked.append((self._camera, t_ms))
            if self._told.failures:
                self._told.failures -= 1
                raise RuntimeError("broken")
            if self._told.size is None:
                return ()
            points = head(self._told.size, self._told._average)
            return (marks(CAMERAS[self._camera], points),)

        def close(self) -> None: ...


def moment(k: int, cameras: tuple[Camera, ...] = CAMERAS) -> list[Frame]:
    black = np.zeros((480, 640, 3), np.uint8)
    return [Frame(k * 33_000_000, k, camera, black) for camera in cameras]


def opened(average: CanonicalFace) -> tuple[Looks, HeadMeasuring]:
    looks = Looks(average)
    measuring = HeadMeasuring(looks, 5.0)
    for camera in CAMERAS[1:]:
        measuring.prepare([CAMERAS[0], camera])
    return looks, measuring


def test_cameras_look_until_the_number_stands_and_then_seldom(average: CanonicalFace) -> None:
    looks, measuring = opened(average)
    face = guessed(CAMERAS[0], marks(CAMERAS[0], head(0.9, average)), average)
    with measuring:
        counts, sizes = [], []
        for k in range(60):
            measuring.ask(moment(k))
            placed = measuring.answer(face)
            assert placed is not None
            counts.append(len(looks.looked) / 2)
            sizes.append(placed.size)
    assert np.abs(np.array(sizes) - 0.9).max() < 0.002, "from the first moment on"
    assert counts[SETTLED - 1] == SETTLED
    assert counts[59] == SETTLED + (60 - SETTLED) // EVERY
    assert looks.opened == 2


def test_who_comes_later_is_at_the_right_place_at_once(average: CanonicalFace) -> None:
    """And cameras that see no face are seldom looked at."""
    looks, measuring = opened(average)
    face = guessed(CAMERAS[0], marks(CAMERAS[0], head(0.9, average)), average)
    with measuring:
        for k in range(25):
            measuring.ask(moment(k))
            assert measuring.answer(None) is None
        assert len(looks.looked) / 2 == 25 // EVERY
        measuring.ask(moment(25))
        placed = measuring.answer(face)
        assert placed is not None
        assert abs(placed.size - 0.9) < 0.002
        # The others see it no longer.
        looks.size, before = None, len(looks.looked)
        for k in range(26, 56):
            measuring.ask(moment(k))
            placed = measuring.answer(face)
            assert placed is not None
            assert abs(placed.size - 0.9) < 0.002
        assert len(looks.looked) - before <= 2 * (1 + 30 // EVERY)
        # Without the other cameras too.
        for k in range(56, 70):
            measuring.ask(moment(k, CAMERAS[:1]))
            placed = measuring.answer(face)
            assert placed is not None
            assert abs(placed.size - 0.9) < 0.002


def test_an_older_moment_begins_anew_and_so_does_another_first_camera(
    average: CanonicalFace,
) -> None:
    for again in (moment(0), moment(9, CAMERAS[::-1])):
        looks, measuring = opened(average)
        first = again[0].camera
        face = guessed(first, marks(first, head(0.9, average)), average)
        with measuring:
            measuring.ask(moment(5))
            measuring.answer(guessed(CAMERAS[0], marks(CAMERAS[0], head(0.9, average)), average))
            looks.size = None
            measuring.ask(again)
            placed = measuring.answer(face)
            assert placed is not None
            assert placed.size == 1.0


def test_an_engine_that_breaks_twice_is_told_and_replaced(average: CanonicalFace) -> None:
    looks, measuring = opened(average)
    face = guessed(CAMERAS[0], marks(CAMERAS[0], head(0.9, average)), average)
    with measuring:
        with pytest.raises(ValueError, match=r"HeadMeasuring.answer: expected frames"):
            measuring.answer(face)
        looks.failures = 4
        measuring.ask(moment(0))
        with pytest.raises(TrackingError, match="face: failed twice"):
            measuring.answer(face)
        measuring.ask(moment(1))
        measuring.answer(face)
        assert looks.opened == 6  # two; two more that tried again; two for the next moment
