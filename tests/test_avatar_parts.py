"""Fast paths of the avatar against their slow twins, and its small parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assets.baking.head_surface import smooth_normals
from avatar.eye_balls import gaze_angles, gaze_from_angles, gaze_rotation
from avatar.head_mesh import HeadMesh
from avatar.head_placement import moving_vertices
from avatar.linear_rig import rig_vertices
from avatar.local_basis import GRID, LocalBasis
from avatar.posture import (
    NECK_LIMIT,
    head_from_torso,
    turn_on_neck,
    turn_on_neck_slow,
    yaw_pitch_roll,
)
from avatar.skin_texture import SkinTexture
from avatar.smooth_normals import SmoothNormals
from avatar.training.expressions import LOOK_FULL, named_weights, sample_expressions, sample_views
from avatar.training.networks import Layers
from streams.colour import linear_from_srgb, srgb_from_linear
from streams.face_shapes import SHAPE_INDEX
from streams.rigid import Rigid


@pytest.fixture(scope="module")
def head():
    return HeadMesh.open("default")


def test_smooth_normals_equal_the_slow_twin(head):
    weights, gaze = sample_expressions(4, np.random.default_rng(1))
    vertices = rig_vertices(head, weights[3], gaze[3])
    moving = moving_vertices(head)
    fast = SmoothNormals(head.faces, head.weld, moving).of(vertices)
    slow = smooth_normals(
        vertices.astype(np.float64), head.faces.astype(np.int64), head.weld.astype(np.int64)
    )[moving]
    # Slivers of area 1e-9 m2 lose digits in float32.
    assert np.percentile(np.abs(fast - slow).max(1), 99) < 2e-3


def test_turning_on_the_neck_equals_the_slow_twin():
    rng = np.random.default_rng(4)
    points = rng.normal(size=(200, 3)).astype(np.float32)
    normals = points / np.linalg.norm(points, axis=1, keepdims=True)
    share = rng.uniform(size=200).astype(np.float32)
    pivot = np.array([0.01, -0.1, -0.08], np.float32)
    for turn in (np.array([0.3, -0.7, 0.2]), np.zeros(3)):
        fast = turn_on_neck(points, normals, share, pivot, turn)
        slow = turn_on_neck_slow(points, normals, share, pivot, turn)
        np.testing.assert_allclose(fast[0], slow[0], atol=2e-6)
        np.testing.assert_allclose(fast[1], slow[1], atol=2e-6)


@pytest.mark.parametrize("angles", [(0.4, -0.3, 0.2), (-1.2, 0.6, -0.5), (0.0, 0.0, 0.0)])
def test_yaw_pitch_roll_compose_to_the_rotation(angles):
    yaw, pitch, roll = angles
    turn = (
        Rigid.from_rotvec([0, yaw, 0])
        @ Rigid.from_rotvec([pitch, 0, 0])
        @ Rigid.from_rotvec([0, 0, roll])
    )
    np.testing.assert_allclose(yaw_pitch_roll(turn.rotation()), angles, atol=1e-9)


def test_torso_stands_upright_and_follows_a_little():
    head = Rigid.from_rotvec([0.0, 0.6, 0.0])
    torso = head @ Rigid.from_rotvec(head_from_torso(head))
    np.testing.assert_allclose(yaw_pitch_roll(torso.rotation()), [0.21, 0, 0], atol=1e-9)


def test_neck_keeps_within_its_limits():
    for rotvec in ([0, 2.9, 0], [1.3, 0, 0], [-1.3, 0, 0], [0, 0, 1.4], [0.8, 1.5, -0.9]):
        head = Rigid.from_rotvec(rotvec)
        torso = head @ Rigid.from_rotvec(head_from_torso(head))
        apart = yaw_pitch_roll(head.rotation()) - yaw_pitch_roll(torso.rotation())
        apart = (apart + np.pi) % (2 * np.pi) - np.pi
        assert (np.abs(apart) <= NECK_LIMIT + 1e-6).all()


def test_local_basis_equals_the_slow_twin():
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(5, 30, 40, 3)).astype(np.float32)
    nodes = rng.normal(size=(GRID, GRID, 5)).astype(np.float32)
    for rectangle, size in (((75, 61, 40, 30), 384), ((0, 0, 40, 30), 40)):
        local = LocalBasis(basis, rectangle, size)
        np.testing.assert_allclose(local.field(nodes), local.field_slow(nodes), atol=1e-5)


def test_coloured_skin_is_exact_in_linear_light():
    rng = np.random.default_rng(0)
    albedo = rng.integers(40, 220, (16, 16, 3)).astype(np.uint8)
    field = rng.normal(size=(8, 8, 3)).astype(np.float32) * 0.2
    skin = SkinTexture(albedo, (4, 2, 8, 8))
    picture = skin.coloured(field)
    linear = linear_from_srgb(albedo[2:10, 4:12] / 255.0) * np.exp(field.astype(np.float64))
    exact = np.clip(srgb_from_linear(linear), 0, 1) * 255
    assert np.abs(picture[2:10, 4:12] - exact).max() < 0.51
    picture[2:10, 4:12] = albedo[2:10, 4:12]
    np.testing.assert_array_equal(picture, albedo)


def test_network_equals_torch():
    torch.manual_seed(0)
    layers = Layers(7, 16, 2, 5)
    x = np.random.default_rng(0).normal(size=7).astype(np.float32)
    with torch.no_grad():
        expected = layers(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(layers.network()(x), expected, atol=1e-5)


def test_gaze_rotation_looks_along_the_gaze():
    rng = np.random.default_rng(0)
    angles = rng.uniform(-0.6, 0.6, (20, 2))
    for gaze, pair in zip(gaze_from_angles(angles), angles, strict=True):
        turn = gaze_rotation(gaze)
        np.testing.assert_allclose(turn @ [0, 0, 1], gaze, atol=1e-6)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
        assert np.linalg.det(turn) == pytest.approx(1.0, abs=1e-5)
        assert turn[1, 0] == pytest.approx(0.0, abs=1e-6)  # no roll: the eye's x stays level
        np.testing.assert_allclose(gaze_angles(gaze), pair, atol=1e-5)


def test_sampled_faces_are_plausible():
    weights, gaze = sample_expressions(300, np.random.default_rng(5))
    assert weights.min() >= 0.0
    assert weights.max() <= 1.0
    assert not weights[0].any()
    close, jaw = SHAPE_INDEX["mouthClose"], SHAPE_INDEX["jawOpen"]
    assert (weights[:, close] <= weights[:, jaw] + 1e-6).all()
    # A left eye that looks to the left looks out; then the right one looks in.
    yaw = gaze_angles(gaze)[..., 0]
    assert (weights[yaw[:, 0] > 0.1, SHAPE_INDEX["eyeLookOutLeft"]] > 0).all()
    assert (weights[yaw[:, 1] > 0.1, SHAPE_INDEX["eyeLookInRight"]] > 0).all()
    assert np.abs(yaw).max() < LOOK_FULL * 1.3
    views = sample_views(200, np.random.default_rng(5))
    assert (views[:, 2] > 0.3).all()
    np.testing.assert_allclose(np.linalg.norm(views, axis=1), 1.0, atol=1e-5)


def test_named_weights_set_both_sides():
    weights = named_weights({"mouthSmile": 0.5, "jawOpen": 0.2})
    assert weights[SHAPE_INDEX["mouthSmileLeft"]] == weights[SHAPE_INDEX["mouthSmileRight"]] == 0.5
    assert weights.sum() == pytest.approx(1.2)
