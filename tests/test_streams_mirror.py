"""Mirror twice is identity, and once is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from assets.manifest import asset_path
from streams.camera import Camera, Distortion
from streams.face_shapes import FACE_SHAPES, MIRRORED_SHAPES, SHAPE_INDEX
from streams.frame import Frame
from streams.hand_skeleton import joint_angles, wrist_frame
from streams.mirror import (
    MIRRORED_LANDMARKS,
    mirror_camera,
    mirror_frame,
    mirror_rigid,
    mirror_state,
)
from streams.projection import project
from streams.rigid import Rigid
from streams.tracked_state import FacePose, HandPose, PartConfidence, TrackedState
from tracking.canonical_face import read_canonical_face

coordinates = st.floats(-2, 2, width=32)
rotvecs = st.tuples(coordinates, coordinates, coordinates)
FLIP = np.array([-1.0, 1.0, 1.0])


@st.composite
def states(draw: st.DrawFn) -> TrackedState:
    # Two thousand numbers by themselves are slow to draw; a seed is one.
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    gaze = rng.uniform(-1, 1, (2, 3)) + [0, 0, 2]
    face = FacePose(
        draw(arrays(np.float32, 52, elements=st.floats(0, 1, width=32))),
        rng.normal(size=(478, 3)).astype(np.float32),
        (gaze / np.linalg.norm(gaze, axis=-1, keepdims=True)).astype(np.float32),
        Rigid.from_rotvec(draw(rotvecs), draw(rotvecs)),
        0.5,
    )
    joints = rng.normal(size=(21, 3)).astype(np.float32)
    angles = rng.normal(size=(5, 4)).astype(np.float32)
    wrist = Rigid.from_rotvec(draw(rotvecs), draw(rotvecs))
    return TrackedState(3, "cam", face, (HandPose("left", joints, wrist, angles, 0.8),))


@given(states())
def test_states(state: TrackedState) -> None:
    once, twice = mirror_state(state), mirror_state(mirror_state(state))
    assert state.face is not None
    assert once.face is not None
    assert twice.face is not None
    for name in ("blendshapes", "landmarks", "gaze"):
        np.testing.assert_array_equal(getattr(twice.face, name), getattr(state.face, name))
    np.testing.assert_allclose(
        twice.face.world_from_head.matrix(), state.face.world_from_head.matrix(), atol=1e-12
    )
    np.testing.assert_array_equal(twice.hands[0].joints, state.hands[0].joints)
    assert [hand.side for hand in once.hands] == ["right"]
    assert [hand.side for hand in twice.hands] == ["left"]
    assert once.t_ns == state.t_ns


def test_once_is_another_state() -> None:
    shapes = np.zeros(52, np.float32)
    shapes[SHAPE_INDEX["eyeBlinkLeft"]] = 1.0
    landmarks = np.random.default_rng(0).normal(size=(478, 3)).astype(np.float32)
    gaze = np.array([[0.6, 0.0, 0.8], [0.0, 0.0, 1.0]], np.float32)
    pose = Rigid.from_rotvec([0.0, 0.3, 0.0], [0.1, 0.0, -0.6])
    parts = PartConfidence(0.1, 0.7, 0.4)
    once = FacePose(shapes, landmarks, gaze, pose, 1.0, parts)
    face = mirror_state(TrackedState(0, "c", once)).face
    assert face is not None
    assert face.parts == PartConfidence(0.7, 0.1, 0.4)
    assert face.blendshapes[SHAPE_INDEX["eyeBlinkRight"]] == 1.0
    assert face.blendshapes[SHAPE_INDEX["eyeBlinkLeft"]] == 0.0
    np.testing.assert_allclose(face.gaze, [[0, 0, 1], [-0.6, 0, 0.8]])
    np.testing.assert_allclose(face.world_from_head.rotvec(), [0, -0.3, 0], atol=1e-12)
    np.testing.assert_allclose(face.world_from_head.xyz, [-0.1, 0, -0.6])
    assert not np.allclose(face.landmarks, landmarks)


def test_shapes_pair_up() -> None:
    np.testing.assert_array_equal(MIRRORED_SHAPES[MIRRORED_SHAPES], np.arange(52))
    for i, name in enumerate(FACE_SHAPES):
        other = FACE_SHAPES[MIRRORED_SHAPES[i]]
        assert ("Left" in name) == ("Right" in other)


def test_landmarks_pair_up_as_the_canonical_face_is_symmetric() -> None:
    np.testing.assert_array_equal(MIRRORED_LANDMARKS[MIRRORED_LANDMARKS], np.arange(478))
    vertices = read_canonical_face(asset_path("models/face_landmarker.task")).vertices
    np.testing.assert_allclose(vertices[MIRRORED_LANDMARKS[:468]] * FLIP, vertices, atol=1e-6)
    assert sorted(MIRRORED_LANDMARKS[468:473]) == [473, 474, 475, 476, 477]


@given(rotvecs, rotvecs, rotvecs)
def test_rigid_is_conjugation_by_the_flip(r: tuple, t: tuple, p: tuple) -> None:
    a = Rigid.from_rotvec(r, t)
    np.testing.assert_allclose(
        mirror_rigid(a).apply(np.array(p) * FLIP), a.apply(np.array(p)) * FLIP, atol=1e-9
    )
    np.testing.assert_allclose(mirror_rigid(mirror_rigid(a)).matrix(), a.matrix(), atol=1e-12)


LENS = Distortion("pinhole_brown", (-0.1, 0.02, 0.003, -0.004, 0.01))


def tilted_camera() -> Camera:
    pose = Rigid.from_rotvec([0.2, 0.9, -0.1], [0.3, 0.1, 0.5])
    return Camera("c", (64, 48), np.array([50.0, 52.0]), np.array([30.0, 25.0]), LENS, pose)


def test_mirrored_camera_sees_the_mirrored_world_flipped() -> None:
    camera = tilted_camera()
    points = camera.world_from_camera.apply(
        np.random.default_rng(1).uniform([-0.3, -0.3, 0.8], [0.3, 0.3, 2], (20, 3))
    )
    u, z = project(camera, points)
    mirrored_u, mirrored_z = project(mirror_camera(camera), points * FLIP)
    np.testing.assert_allclose(mirrored_u[:, 0], 63 - u[:, 0], atol=1e-9)
    np.testing.assert_allclose(mirrored_u[:, 1], u[:, 1], atol=1e-9)
    np.testing.assert_allclose(mirrored_z, z)


def test_frames() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    frame = Frame(5, 2, tilted_camera(), rgb)
    once = mirror_frame(frame)
    np.testing.assert_array_equal(once.rgb[:, 0], rgb[:, -1])
    assert once.mirrored
    assert once.rgb.flags.c_contiguous
    twice = mirror_frame(once)
    np.testing.assert_array_equal(twice.rgb, rgb)
    assert not twice.mirrored
    np.testing.assert_allclose(twice.camera.centre, frame.camera.centre)
    assert twice.camera.distortion.coefficients == LENS.coefficients


def test_a_mirrored_hand_has_the_mirrored_wrist_and_the_same_angles() -> None:
    rng = np.random.default_rng(4)
    joints = (rng.normal(size=(21, 3)) * 0.05).astype(np.float32)
    right = HandPose(
        "right", joints, wrist_frame(joints, "right"), joint_angles(joints, "right"), 1
    )
    left = mirror_state(TrackedState(0, "c", None, (right,))).hands[0]
    assert left.world_from_wrist.angle_to(wrist_frame(left.joints, "left")) < 1e-6
    assert joint_angles(left.joints, "left") == pytest.approx(right.angles, abs=1e-5)
