"""Landmarks held to the skin by optical flow, on pictures whose motion is known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from assets.manifest import asset_path
from capture.frame_source import open_source
from streams.camera import Camera
from streams.projection import project
from streams.rigid import Rigid
from tracking.canonical_face import read_canonical_face
from tracking.engine import FaceMarks
from tracking.head_pose import HeadFit
from tracking.landmark_flow import SURFACE, LandmarkFlow, LandmarkFlowOptions, spread_points
from tracking.tracker import Tracker, TrackerOptions

Array = npt.NDArray[np.float64]
SIZE, FRAMES = 320, 40


def average_face() -> Array:
    return read_canonical_face(asset_path("models/face_landmarker.task")).vertices


def still_marks() -> Array:
    """(468, 2) pixels of a face in the middle of the picture, 150 pixels wide."""
    face = average_face()
    scale = 150.0 / np.linalg.norm(face[454] - face[234])
    return face[:, :2] * (scale, -scale) + SIZE / 2 - face[:, :2].mean(0) * (scale, -scale)


def skin() -> npt.NDArray[np.uint8]:
    """A picture with detail of several sizes everywhere, like pores, brows and shadows."""
    rng = np.random.default_rng(3)
    out = np.zeros((SIZE, SIZE, 3))
    for sigma, strength in ((1.5, 12.0), (4.0, 30.0), (12.0, 60.0)):
        noise = cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE, 3)), (0, 0), sigma)
        out += strength * noise / noise.std()
    return np.clip(128 + out, 0, 255).astype(np.uint8)


def motion(t: int) -> npt.NDArray[np.float64]:
    """(2, 3) from the first picture to the t-th: to and fro, with some turning."""
    angle = 0.06 * np.sin(0.23 * t)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.full(2, (SIZE - 1) / 2)
    shift = np.array([14.0 * np.sin(0.31 * t), 6.0 * np.sin(0.17 * t)])
    return np.concatenate([turn, (middle - turn @ middle + shift)[:, None]], axis=1)


def film() -> list[tuple[npt.NDArray[np.uint8], Array]]:
    """Pictures and the true places of the landmarks."""
    picture, marks = skin(), still_marks()
    out = []
    for t in range(FRAMES):
        matrix = motion(t)
        moved = cv2.warpAffine(picture, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT)
        out.append((np.asarray(moved, np.uint8), marks @ matrix[:, :2].T + matrix[:, 2]))
    return out


def face_marks(places: Array) -> FaceMarks:
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[:SURFACE, :2] = places
    landmarks[:, 2] = np.arange(478)
    landmarks[SURFACE:, :2] = 77.0
    return FaceMarks(landmarks, np.linspace(0, 1, 52, dtype=np.float32))


def errors(options: LandmarkFlowOptions, seen: list[Array]) -> tuple[float, float]:
    """RMS pixels of the network's landmarks and of the fused ones, after the first second."""
    flow, before, after = LandmarkFlow(average_face(), options), [], []
    for t, (picture, truth) in enumerate(film()):
        moved = flow.moved(picture, 33 * t, face_marks(seen[t]))
        before.append(((seen[t] - truth) ** 2).sum(1).mean())
        after.append(((seen[t] + moved - truth) ** 2).sum(1).mean())
    return float(np.sqrt(np.mean(before[10:]))), float(np.sqrt(np.mean(after[10:])))


def trembling() -> list[Array]:
    """The truth with an error that is new in each picture and smooth over the face."""
    rng = np.random.default_rng(5)
    marks = still_marks() / SIZE
    out = []
    for _, truth in film():
        wave = rng.standard_normal((6, 2))
        shape = np.stack([np.sin(9 * marks[:, k % 2] + k) for k in range(6)], axis=1)
        out.append(truth + 0.5 * shape @ wave)
    return out


def lagging() -> list[Array]:
    """Half a picture late, as behind a filter."""
    truths = [truth for _, truth in film()]
    return [0.5 * (truths[max(t - 1, 0)] + truths[t]) for t in range(FRAMES)]


def test_trembling_landmarks_are_held_to_the_skin() -> None:
    before, after = errors(LandmarkFlowOptions(), trembling())
    # A first-order average with this pull keeps sqrt(0.15 / 1.85) = 0.28 of white noise.
    assert after < 0.45 * before


def test_a_lag_is_made_up_for() -> None:
    before, after = errors(LandmarkFlowOptions(), lagging())
    assert after < 0.7 * before


def test_exact_landmarks_stay_within_a_fraction_of_a_pixel() -> None:
    _, after = errors(LandmarkFlowOptions(), [truth for _, truth in film()])
    assert after < 0.15


def test_a_pull_of_one_is_the_network_alone() -> None:
    before, after = errors(LandmarkFlowOptions(pull=1.0, pull_moving=1.0), trembling())
    assert after == pytest.approx(before, rel=1e-5)


def test_nothing_is_remembered_beyond_a_gap_a_cut_or_a_lost_face() -> None:
    (first, truth), (second, later) = film()[0], film()[4]

    def after(t_ms: int, forget: bool, size: int = SIZE) -> float:
        flow = LandmarkFlow(average_face())
        flow.moved(first[:size], 0, face_marks(truth + 2.0))
        if forget:
            assert not flow.moved(second, 10, None).any()
        return float(np.abs(flow.moved(second, t_ms, face_marks(later))).max())

    assert after(33, forget=False) > 0.5
    for moved in (after(33, True), after(400, False), after(0, False), after(33, False, 300)):
        assert moved == 0.0


def test_a_cut_to_another_picture_leaves_the_network_its_say() -> None:
    flow = LandmarkFlow(average_face())
    picture, truth = film()[0]
    flow.moved(picture, 0, face_marks(truth))
    other = np.ascontiguousarray(picture[::-1, ::-1])
    assert np.abs(flow.moved(other, 33, face_marks(truth + 25.0))).mean() < 1.0


def test_the_head_moves_its_landmarks_by_pixels_at_their_depth() -> None:
    camera = Camera.from_fov((640, 480), 1.0)
    rng = np.random.default_rng(2)
    landmarks = (0.06 * rng.standard_normal((478, 3))).astype(np.float32)
    pose = Rigid.from_rotvec((0.2, -0.4, 0.1), (0.05, 0.02, -0.6))
    moved = rng.uniform(-4.0, 4.0, (SURFACE, 2))
    found = HeadFit(pose, landmarks, 0.0).landmarks_moved(camera, moved)
    before, depth = project(camera, pose.apply(landmarks.astype(np.float64)))
    after, depth_after = project(camera, pose.apply(found.astype(np.float64)))
    np.testing.assert_allclose(after[:SURFACE], before[:SURFACE] + moved, atol=1e-3)
    np.testing.assert_allclose(depth_after, depth, atol=1e-6)
    np.testing.assert_array_equal(found[SURFACE:], landmarks[SURFACE:])


def test_spread_points_are_far_apart_and_the_same_each_time() -> None:
    face = average_face()
    few = spread_points(face, 60)
    np.testing.assert_array_equal(few, spread_points(face, 60))
    assert len(np.unique(few)) == 60
    apart = np.linalg.norm(face[few][:, None] - face[few][None], axis=2)
    nearest = np.sort(apart, axis=1)[:, 1]
    assert nearest.min() > 0.4 * np.median(nearest)


def test_bad_options_name_what_was_expected() -> None:
    with pytest.raises(
        ValueError, match=r"LandmarkFlowOptions\.pull: expected above 0 to 1, got 0"
    ):
        LandmarkFlowOptions(pull=0.0)
    with pytest.raises(ValueError, match=r"LandmarkFlowOptions\.points: expected 8 to 468, got 3"):
        LandmarkFlowOptions(points=3)


def real_clip() -> Path:
    path = Path(__file__).parents[2] / "shared" / "data" / "faces" / "d18.mp4"
    if not path.is_file():
        pytest.skip("the study's clips are not here")
    return path


def unlikeness(options: LandmarkFlowOptions | None) -> float:
    """RMS code values by which the skin about each landmark differs from what it was five frames
    (a sixth of a second) before: nothing, if landmarks stayed on the same skin."""
    across, down = np.meshgrid(np.arange(-4.0, 5.0, 2.0), np.arange(-4.0, 5.0, 2.0))
    around = np.stack([across.ravel(), down.ravel()], axis=1)
    patches = []
    with (
        open_source(f"video:{real_clip()}") as source,
        Tracker.open(TrackerOptions(hands=0, face_flow=options)) as tracker,
    ):
        for k, frame in enumerate(source):
            if k == 90:
                break
            face = tracker.track(frame).face
            assert face is not None
            world = face.world_from_head.apply(face.landmarks[:SURFACE:3].astype(np.float64))
            places, _ = project(frame.camera, world)
            where = (places[:, None] + around).astype(np.float32)
            grey = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY)
            found = cv2.remap(grey, where[..., 0], where[..., 1], cv2.INTER_LINEAR)
            patches.append(np.asarray(found, np.float64))
    change = np.array(patches)[5:] - np.array(patches)[:-5]
    return float(np.sqrt((change**2).mean()))


def test_landmarks_of_a_real_face_stay_on_the_same_skin() -> None:
    assert unlikeness(LandmarkFlowOptions()) < 0.95 * unlikeness(None)
