"""Head pose, gaze and hands against synthetic truth: no engine, no pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from assets.manifest import asset_path
from streams.camera import WORLD_FROM_WEBCAM, Camera, Distortion
from streams.face_shapes import FACE_SHAPES, SHAPE_INDEX
from streams.hand_skeleton import PALM_JOINTS, PALM_LENGTH, HandShape, joints_from_angles
from streams.projection import project
from streams.rigid import Rigid
from streams.tracked_state import HandPose
from tracking.association import one_hand_a_side
from tracking.canonical_face import CanonicalFace, read_canonical_face
from tracking.contact import LOWER_LIDS, UPPER_LIDS
from tracking.engine import HandMarks
from tracking.evaluation import (
    blendshape_correlation,
    correct_keypoints,
    hand_shape_error,
    jitter,
    rotation_error_deg,
)
from tracking.gaze import IRIS_ORBIT, gaze_from_iris
from tracking.hand_fitting import HandFitting
from tracking.hand_placement import FARTHEST, PALM_SPAN, lies_on_face, place_hand
from tracking.head_pose import RIGID_LANDMARKS, fit_head
from tracking.one_euro import LONGEST_GAP_NS, OneEuro, OneEuroOptions
from tracking.pose_fit import facing_along

Array = npt.NDArray[np.float64]

OPEN_EYES = np.zeros(len(FACE_SHAPES), np.float32)
LEFT_WAYS = np.array([0.0, 0.0, 1.0])


@pytest.fixture(scope="module")
def canonical() -> CanonicalFace:
    return read_canonical_face(asset_path("models/face_landmarker.task"))


def webcam(**changes: object) -> Camera:
    return replace(Camera.from_fov((640, 480)), **changes)  # pyright: ignore[reportArgumentType]


CAMERAS = {
    "pinhole": webcam(),
    "off_centre": webcam(centre=np.array([250.0, 300.0]), focal=np.array([500.0, 520.0])),
    "brown": webcam(distortion=Distortion("pinhole_brown", (-0.2, 0.05, 1e-3, -1e-3, 0.0))),
    "fisheye": webcam(distortion=Distortion("fisheye", (-0.03, 0.01, 0.0, 0.0))),
    "elsewhere": webcam(
        world_from_camera=Rigid.from_rotvec([0.1, 0.7, -0.2], [1.0, 2.0, 3.0]) @ WORLD_FROM_WEBCAM
    ),
}


def face_marks(
    camera: Camera, canonical: CanonicalFace, world_from_head: Rigid, look: Array = LEFT_WAYS
) -> Array:
    """What a perfect engine would say of the average face: (478, 3) pixels and depth."""
    irises = canonical.eyes[::-1] + IRIS_ORBIT * look  # MediaPipe has the right eye first.
    in_head = np.concatenate([canonical.vertices, np.repeat(irises, 5, axis=0)])
    in_world = world_from_head.apply(in_head)
    pixels, _ = project(camera, in_world)
    in_camera = np.asarray(camera.world_from_camera.inverse().apply(in_world))
    rays = in_camera[RIGID_LANDMARKS] / in_camera[RIGID_LANDMARKS, 2:]
    middle = rays.mean(0)
    along = in_camera @ (middle / np.linalg.norm(middle))
    part = (along / along[RIGID_LANDMARKS].mean() - 1.0) * np.linalg.norm(middle)
    return np.column_stack([pixels, part * np.sqrt(camera.focal[0] * camera.focal[1])])


def close_lids(marks: Array, side: int) -> None:
    """Lay the upper lid of the left (0) or right (1) eye a little below the lower one, in place."""
    upper, lower = list(UPPER_LIDS[side]), list(LOWER_LIDS[side])
    marks[upper] = marks[lower] + [0.0, 1.5, 0.0]


def head_at(camera: Camera, turn_deg: tuple[float, float, float], xyz: tuple[float, ...]) -> Rigid:
    """A head in front of the camera, turned (pitch, yaw, roll) from looking into it."""
    webcam_head = Rigid.from_rotvec(np.deg2rad(turn_deg), xyz)
    return camera.world_from_camera @ WORLD_FROM_WEBCAM.inverse() @ webcam_head


def test_the_average_face_has_our_axes(canonical: CanonicalFace) -> None:
    v = canonical.vertices
    assert v[263, 0] > 0 > v[33, 0], "x to the person's left"
    assert v[10, 1] > 0 > v[152, 1], "y up: forehead above the chin"
    assert v[4, 2] > v[234, 2], "z out of the face: nose before the ears"
    assert np.allclose(canonical.eyes.sum(0), 0.0, atol=1e-12)
    assert 0.058 < canonical.eyes[0, 0] - canonical.eyes[1, 0] < 0.068


@pytest.mark.parametrize("name", CAMERAS)
@pytest.mark.parametrize("depth_weight", [0.0, 0.5])
def test_a_known_head_is_found(canonical: CanonicalFace, name: str, depth_weight: float) -> None:
    camera = CAMERAS[name]
    turns = ((0, 0, 0), (20, 0, 0), (-25, 10, 5), (0, 40, 0), (10, -45, -15), (0, 0, 60))
    places = ((0.0, 0.0, -0.5), (0.12, -0.08, -0.6), (-0.05, 0.05, -0.3), (0.3, 0.2, -1.2))
    for turn in turns:
        for place in places:
            truth = head_at(camera, turn, place)
            fit = fit_head(camera, face_marks(camera, canonical, truth), canonical, depth_weight)
            assert rotation_error_deg(fit.world_from_head, truth) < 0.5
            assert np.linalg.norm(fit.world_from_head.xyz - truth.xyz) < 0.005
            # The engine's depth is relative along one axis, hence not exact near the rim.
            assert np.abs(fit.landmarks[:468] - canonical.vertices).max() < 0.003
            assert fit.error < 1e-3


def test_noise_and_a_covered_chin_turn_the_head_little(canonical: CanonicalFace) -> None:
    camera, random = CAMERAS["pinhole"], np.random.default_rng(1)
    truth = head_at(camera, (5, 15, 3), (0.05, 0.0, -0.5))
    marks = face_marks(camera, canonical, truth)
    errors = []
    for _ in range(20):
        noisy = marks + random.normal(0.0, 0.5, marks.shape)
        noisy[RIGID_LANDMARKS[:3], :2] += 12.0  # Three landmarks that slipped.
        fit = fit_head(camera, noisy, canonical)
        errors.append(rotation_error_deg(fit.world_from_head, truth))
    assert np.median(errors) < 2.0


def test_signs_of_turning(canonical: CanonicalFace) -> None:
    """To the person's left the nose moves to the viewer's right; up, it moves up."""
    camera = CAMERAS["pinhole"]
    straight = face_marks(camera, canonical, head_at(camera, (0, 0, 0), (0, 0, -0.5)))
    left = head_at(camera, (0, 20, 0), (0, 0, -0.5))
    up = head_at(camera, (-20, 0, 0), (0, 0, -0.5))
    assert left.rotate([0.0, 0.0, 1.0])[0] > 0.3
    assert face_marks(camera, canonical, left)[4, 0] > straight[4, 0] + 5
    assert up.rotate([0.0, 0.0, 1.0])[1] > 0.3
    assert face_marks(camera, canonical, up)[4, 1] < straight[4, 1] - 5
    fit = fit_head(camera, face_marks(camera, canonical, left), canonical)
    assert fit.world_from_head.rotvec()[1] == pytest.approx(np.deg2rad(20), abs=0.01)


def test_no_face_is_fitted_to_nonsense(canonical: CanonicalFace) -> None:
    with pytest.raises(ValueError, match="expected finite"):
        fit_head(CAMERAS["pinhole"], np.full((478, 3), np.nan), canonical)
    with pytest.raises(ValueError, match="span an area"):
        fit_head(CAMERAS["pinhole"], np.full((478, 3), 7.0), canonical)


def _look(yaw_deg: float, pitch_deg: float) -> Array:
    yaw, pitch = np.deg2rad([yaw_deg, pitch_deg])
    return np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])


def _gaze(
    canonical: CanonicalFace,
    look: Array,
    shapes: npt.NDArray[np.float32],
    shut_eyes: tuple[int, ...] = (),
) -> Array:
    camera = CAMERAS["pinhole"]
    truth = head_at(camera, (5, -10, 0), (0.05, 0.02, -0.5))
    marks = face_marks(camera, canonical, truth, look)
    for side in shut_eyes:
        close_lids(marks, side)
    fit = fit_head(camera, marks, canonical)
    camera_in_head = (fit.world_from_head.inverse() @ camera.world_from_camera).xyz
    return gaze_from_iris(fit.landmarks, shapes, camera_in_head).vectors().astype(np.float64)


@pytest.mark.parametrize("angles", [(0, 0), (20, 0), (-20, 0), (0, 15), (5, -20), (-30, 10)])
def test_a_known_gaze_is_found(canonical: CanonicalFace, angles: tuple[float, float]) -> None:
    look = _look(*angles)
    gaze = _gaze(canonical, look, OPEN_EYES)
    off = np.rad2deg(np.arccos(np.clip(gaze @ look, -1, 1)))
    assert off.max() < 2.0


def test_closed_eyes_do_not_say_where_they_look(canonical: CanonicalFace) -> None:
    shut = OPEN_EYES.copy()
    shut[[SHAPE_INDEX["eyeBlinkLeft"], SHAPE_INDEX["eyeBlinkRight"]]] = 1.0
    shut[[SHAPE_INDEX["eyeLookOutLeft"], SHAPE_INDEX["eyeLookInRight"]]] = 0.5
    gaze = _gaze(canonical, _look(-30, 20), shut, shut_eyes=(0, 1))
    assert gaze[:, 0].min() > 0.2, "the blend shapes say: to the person's left"
    assert np.abs(gaze[:, 1]).max() < 1e-6

    camera = CAMERAS["pinhole"]
    truth = head_at(camera, (0, 0, 0), (0.0, 0.0, -0.5))
    marks = face_marks(camera, canonical, truth, _look(15, 0))
    marks[473, :2] += 8.0  # The closed eye's iris is anywhere.
    close_lids(marks, 0)
    fit = fit_head(camera, marks, canonical)
    look = gaze_from_iris(fit.landmarks, OPEN_EYES, fit.world_from_head.inverse().xyz)
    assert look.believed[0] < 0.1 < 0.9 < look.believed[1]
    off = np.arccos(np.clip(look.vectors().astype(float) @ _look(15, 0), -1, 1))
    assert np.rad2deg(off).max() < 3.0


def test_eyes_never_diverge(canonical: CanonicalFace) -> None:
    camera = CAMERAS["pinhole"]
    marks = face_marks(camera, canonical, head_at(camera, (0, 0, 0), (0.0, 0.0, -0.5)))
    marks[473, 0] += 3.0
    marks[468, 0] -= 3.0
    fit = fit_head(camera, marks, canonical)
    look = gaze_from_iris(fit.landmarks, OPEN_EYES, fit.world_from_head.inverse().xyz)
    gaze = look.vectors()
    assert gaze[0] == pytest.approx(gaze[1], abs=1e-6)


def hand_in_world(side: str, world_from_wrist: Rigid, bend: float = 0.4) -> npt.NDArray[np.float32]:
    """(21, 3) joints of a hand as large as the average one that placement believes in."""
    sign = 1.0 if side == "right" else -1.0
    bases = np.array(
        [
            [-0.030, -0.01, -0.030],
            [-0.027, 0.0, -0.090],
            [0.0, 0.0, -0.095],
            [0.020, 0.0, -0.090],
            [0.040, 0.0, -0.080],
        ]
    ) * [sign, 1.0, 1.0]
    bones = np.array([[0.045, 0.035, 0.03]] + [[0.045, 0.028, 0.022]] * 4)
    angles = np.full((5, 4), bend, np.float32)
    angles[:, 0] = 0.05
    joints = joints_from_angles(angles, HandShape(side, bases, bones), Rigid.identity())
    palm = joints[PALM_JOINTS]
    span = np.sqrt(((palm - palm.mean(0)) ** 2).sum(-1).mean())
    joints = joints * np.float32(PALM_SPAN / span)
    return np.asarray(world_from_wrist.apply(joints), np.float32)


def hand_marks(camera: Camera, joints: npt.NDArray[np.float32], side: str) -> HandMarks:
    """What a perfect engine would say: pixels, and the shape as seen along the ray."""
    pixels, _ = project(camera, joints)
    in_camera = np.asarray(camera.world_from_camera.inverse().apply(joints.astype(float)))
    rays = in_camera / in_camera[:, 2:]
    seen = (in_camera - in_camera.mean(0)) @ facing_along(rays.mean(0))
    # The engine's own average hand is of another size than the person's.
    return HandMarks(pixels.astype(np.float32), (seen * 1.2).astype(np.float32), side, 0.98)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", CAMERAS)
def test_a_known_hand_is_found(side: str, name: str) -> None:
    camera = CAMERAS[name]
    to_webcam = camera.world_from_camera @ WORLD_FROM_WEBCAM.inverse()
    for turn in ((90, 0, 0), (60, 30, 0), (90, 40, 20), (45, -30, 10), (-90, 0, 180)):
        wrist = to_webcam @ Rigid.from_rotvec(np.deg2rad(turn), (0.1, -0.1, -0.45))
        joints = hand_in_world(side, wrist)
        pose = place_hand(camera, hand_marks(camera, joints, side))
        assert pose is not None
        assert pose.side == side
        assert np.abs(pose.joints - joints).max() < 0.006
        assert rotation_error_deg(pose.world_from_wrist, wrist) < 5.0
        assert pose.angles[1:, 1:] == pytest.approx(0.4, abs=0.2)
        assert pose.confidence > 0.85


def test_implausible_hands_are_dropped_or_held_in_reach() -> None:
    camera = CAMERAS["pinhole"]
    far = hand_in_world("left", Rigid.from_rotvec([1.5, 0, 0], (0, 0, -FARTHEST - 0.5)))
    assert place_hand(camera, hand_marks(camera, far, "left")) is None
    marks = hand_marks(
        camera, hand_in_world("left", Rigid.from_rotvec([1.5, 0, 0], (0, 0, -2.0))), "left"
    )
    head = Rigid.from_translation((0.0, 0.0, -0.8))
    pose = place_hand(camera, marks, head)
    assert pose is not None
    assert -1.2 < pose.joints[PALM_JOINTS, 2].mean() < -1.0
    assert project(camera, pose.joints)[0] == pytest.approx(marks.landmarks, abs=0.01)
    line = HandMarks(np.full((21, 2), 100, np.float32), np.zeros((21, 3), np.float32), "left", 1.0)
    assert place_hand(camera, line) is None
    nan = replace(marks, landmarks=np.full((21, 2), np.nan, np.float32))
    assert place_hand(camera, nan) is None


def fit_first(camera: Camera, marks: HandMarks) -> HandPose | None:
    return HandFitting().place(camera, marks, 0)


@pytest.mark.parametrize("place", [place_hand, fit_first])
def test_a_mouth_is_no_hand(
    canonical: CanonicalFace, place: Callable[[Camera, HandMarks], HandPose | None]
) -> None:
    camera = CAMERAS["pinhole"]
    head = head_at(camera, (0, 0, 0), (0.0, 0.0, -0.5))
    face = face_marks(camera, canonical, head)
    upright = np.deg2rad([90.0, 0.0, 0.0])

    def suspect(z: float, y: float, smaller: float) -> bool:
        joints = hand_in_world("left", Rigid.from_rotvec(upright, (0.0, y, z)))
        marks = hand_marks(camera, joints, "left")
        middle = marks.landmarks.mean(0)
        shrunk = middle + (marks.landmarks - middle) * np.float32(smaller)
        marks = replace(marks, landmarks=shrunk)
        pose = place(camera, marks)
        assert pose is not None
        return lies_on_face(marks, pose, face, camera, head)

    assert suspect(-0.5, -0.1, 0.5), "a small thing inside the face's outline"
    assert not suspect(-0.45, -0.25, 1.0), "a hand before the chin, its wrist below it"
    assert not suspect(-0.25, -0.05, 1.0), "a hand held close to the camera covers the face"
    assert not suspect(-0.5, -0.5, 0.5), "a small hand elsewhere"


def _found(x: float, side: str, score: float) -> HandMarks:
    landmarks = np.random.default_rng(0).uniform(0, 100, (21, 2)) + (x, 0)
    return HandMarks(landmarks.astype(np.float32), np.zeros((21, 3), np.float32), side, score)


def test_one_hand_a_side() -> None:
    left, right = _found(300, "left", 0.9), _found(0, "right", 0.95)
    assert one_hand_a_side((right, left)) == (left, right)
    # The same hand twice, once with the wrong side: the better score stays.
    twice = one_hand_a_side((_found(3, "left", 0.6), right))
    assert [(hand.side, hand.score) for hand in twice] == [("right", 0.95)]
    # Two right hands apart: the weaker one is the left.
    two = one_hand_a_side((_found(300, "right", 0.7), right))
    assert [(hand.side, hand.score) for hand in two] == [("left", 0.7), ("right", 0.95)]
    # Equally sure: by place, as of someone who faces the camera.
    even = one_hand_a_side((_found(300, "right", 0.95), right))
    assert [(hand.side, hand.landmarks[0, 0] > 200) for hand in even] == [
        ("left", True),
        ("right", False),
    ]
    # An unsure side does not flip a hand that is followed.
    assert one_hand_a_side((_found(2, "left", 0.6),), before=(right,))[0].side == "right"
    assert one_hand_a_side((_found(2, "left", 0.99),), before=(right,))[0].side == "left"


def test_one_euro_is_calm_and_forgets() -> None:
    random = np.random.default_rng(2)
    step = 33_000_000
    noisy = random.normal(0.0, 0.5, (200, 21, 2))
    euro = OneEuro()
    calm = np.array([euro.filter(i * step, x, 100.0) for i, x in enumerate(noisy)])
    assert calm[20:].std() < 0.6 * noisy[20:].std()
    moving = OneEuro()
    path = [float(moving.filter(i * step, [i * 10.0], 100.0)[0]) for i in range(30)]
    assert abs(path[-1] - 290.0) < 1.0, "a fast object is not held back"
    assert euro.filter(200 * step + LONGEST_GAP_NS, noisy[0] + 50.0, 100.0) == pytest.approx(
        noisy[0] + 50.0
    )
    euro.reset()
    assert euro.filter(0, noisy[1], 100.0) == pytest.approx(noisy[1])
    assert OneEuro(OneEuroOptions(min_cutoff=1e9)).filter(0, [3.0], 1.0)[0] == 3.0


def test_measures() -> None:
    t = np.linspace(0, 10, 100)
    assert blendshape_correlation(np.sin(t), 3 * np.sin(t) + 1) == pytest.approx(1.0)
    assert blendshape_correlation(np.sin(t), -np.sin(t)) == pytest.approx(-1.0)
    assert np.isnan(blendshape_correlation(np.sin(t), np.zeros(100)))
    assert rotation_error_deg(Rigid(), Rigid.from_rotvec([0, np.pi / 6, 0])) == pytest.approx(30.0)
    hand = hand_in_world("right", Rigid.identity()).astype(float)
    moved = 2.0 * np.asarray(Rigid.from_rotvec([1, 2, 3], [4, 5, 6]).apply(hand))
    assert hand_shape_error(moved, hand) < 1e-6
    assert hand_shape_error(hand * [-1, 1, 1], hand) > 0.05, "a mirrored hand is another hand"
    bent = hand_in_world("right", Rigid.identity(), bend=0.8)
    assert 0.03 < hand_shape_error(bent, hand) < 1.0
    assert correct_keypoints([[0, 0], [np.nan, 0]], [[0, 0.5], [0, 0]], 1.0) == 0.5
    assert jitter(t) < 1e-9
    assert PALM_LENGTH > 0
