"""The skinned hands follow tracked joints, mirror exactly, and look like hands to MediaPipe."""

from __future__ import annotations

from pathlib import Path

import cv2
import mediapipe
import numpy as np
import numpy.typing as npt
import open3d as o3d
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from scipy import ndimage

from assets.baking.hand_maps import SAMPLES, SIZE, rasterise
from assets.manifest import asset_path, assets_folder
from avatar.hand_rig import (
    FOREARM,
    MAPS,
    MIRROR,
    RECTANGLES,
    SLEEVE_END,
    SLEEVE_M,
    HandRig,
    HandRigOptions,
    guess_elbow,
)
from streams.hand_skeleton import HandShape, joint_angles, joints_from_angles, wrist_frame
from streams.rigid import Rigid
from streams.tracked_state import SIDES, HandPose

FILE = assets_folder() / "hands" / "hands.safetensors"
UPRIGHT = Rigid.from_rotvec([np.pi / 2, 0, 0]) @ Rigid.from_rotvec([0, 0, np.pi])
"""Fingers up, palm to a camera at the origin that looks along -z."""

OPEN = [[40, -15, 5, 0], [12, 0, 5, 3], [0, 0, 5, 3], [8, 0, 5, 3], [18, 0, 5, 3]]
FIST = [[35, 35, 35, 45], [0, 80, 95, 55], [0, 85, 98, 60], [0, 85, 98, 60], [0, 80, 95, 60]]
VICTORY = [[30, 40, 40, 40], [14, 5, 5, 3], [-12, 5, 5, 3], [0, 85, 98, 60], [0, 80, 95, 60]]
PINCH = [[55, 15, 22, 28], [0, 50, 52, 25], [0, 30, 35, 15], [2, 20, 25, 10], [6, 15, 20, 10]]
POSES = {"open": OPEN, "fist": FIST, "victory": VICTORY, "pinch": PINCH}


@pytest.fixture(scope="module")
def rig() -> HandRig:
    return HandRig(FILE, HandRigOptions(sleeve_m=SLEEVE_M))  # as baked


def hand_pose(joints: npt.NDArray[np.float32], side: str) -> HandPose:
    return HandPose(side, joints, wrist_frame(joints, side), joint_angles(joints, side), 1.0)


def posed(
    rig: HandRig, degrees: npt.ArrayLike, side: str, world_from_wrist: Rigid | None = None
) -> HandPose:
    shape = HandShape.of(rig.rest_joints(side), side)
    place = world_from_wrist or Rigid(UPRIGHT.wxyz, np.array([0.1, -0.1, -0.6]))
    return hand_pose(
        joints_from_angles(np.deg2rad(np.asarray(degrees, np.float64)), shape, place), side
    )


@pytest.mark.parametrize("side", SIDES)
def test_rest_joints_give_the_rest_hand(rig: HandRig, side: str) -> None:
    vertices, normals = rig.pose(hand_pose(rig.rest_joints(side), side))
    tensors = load_file(FILE)
    mirror = MIRROR if side == "right" else np.ones(3)
    # float32 at 0.2 m: 1e-7 or so a step.
    assert np.abs(vertices - tensors["vertices"] * mirror).max() < 1e-6
    assert np.abs(normals - tensors["normals"] * mirror).max() < 1e-5


@pytest.mark.parametrize("name", POSES)
def test_right_is_the_mirror_image_of_left(rig: HandRig, name: str) -> None:
    left = posed(rig, POSES[name], "left")
    right = hand_pose((left.joints * MIRROR).astype(np.float32), "right")
    elbow = np.array([0.3, -0.4, -0.5])
    vertices, normals = rig.pose(left, elbow)
    mirrored, mirrored_normals = rig.pose(right, elbow * MIRROR)
    assert np.abs(mirrored - vertices * MIRROR).max() < 2e-6
    assert np.abs(mirrored_normals - normals * MIRROR).max() < 2e-5
    assert (rig.faces("right") == rig.faces("left")[:, ::-1]).all()


def slow_pose(
    rig: HandRig, hand: HandPose, elbow: npt.NDArray[np.float64] | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Linear-blend skinning as it is written in books: one vertex and one bone at a time."""
    tensors = load_file(FILE)
    mirror = np.diag([*MIRROR, 1.0]) if hand.side == "right" else np.eye(4)
    bones = rig.bones(hand, elbow)
    world_from_rest, turned_from_rest = [], []
    for bone, rest in enumerate(tensors["rest"]):
        rotation, size = np.eye(4), np.diag([*bones.sizes[bone], 1.0])
        rotation[:3, :3] = bones.rotations[bone]
        place = Rigid.from_translation(bones.origins[bone]).matrix()
        bone_from_rest = np.linalg.inv(mirror @ rest @ mirror)
        world_from_rest.append(place @ rotation @ size @ bone_from_rest)
        turned_from_rest.append(rotation @ bone_from_rest)
    vertices, normals = [], []
    for vertex, normal, weights in zip(
        tensors["vertices"], tensors["normals"], tensors["weights"], strict=True
    ):
        point, direction = np.zeros(4), np.zeros(4)
        for bone in np.flatnonzero(weights):
            point += weights[bone] * (world_from_rest[bone] @ mirror @ [*vertex, 1.0])
            direction += weights[bone] * (turned_from_rest[bone] @ mirror @ [*normal, 0.0])
        vertices.append(point[:3])
        normals.append(direction[:3] / np.linalg.norm(direction[:3]))
    return np.array(vertices), np.array(normals)


@pytest.mark.parametrize(("side", "name"), [("left", "fist"), ("right", "pinch")])
def test_fast_skinning_equals_the_slow_twin(rig: HandRig, side: str, name: str) -> None:
    noise = np.random.default_rng(5).normal(0.0, 0.003, (21, 3))
    joints = posed(rig, POSES[name], side).joints + noise
    hand = hand_pose(joints.astype(np.float32), side)
    elbow = np.array([0.2, -0.4, -0.5])
    vertices, normals = rig.pose(hand, elbow)
    slow_vertices, slow_normals = slow_pose(rig, hand, elbow)
    # 1e-6 m is float32's step at a metre with a few roundings.
    assert np.abs(vertices - slow_vertices).max() < 2e-6
    assert np.abs(normals - slow_normals).max() < 1e-5


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", POSES)
@pytest.mark.parametrize("size", [0.8, 1.0, 1.15])
def test_joints_are_drawn_where_they_are_tracked(
    rig: HandRig, side: str, name: str, size: float
) -> None:
    joints = (posed(rig, POSES[name], side).joints * size).astype(np.float32)
    drawn = rig.drawn_joints(hand_pose(joints, side))
    assert np.linalg.norm(drawn - joints, axis=1).max() < 1e-4


def test_a_hand_of_other_proportions_is_followed(rig: HandRig) -> None:
    rng = np.random.default_rng(3)
    shape = HandShape.of(rig.rest_joints("left"), "left")
    other = HandShape("left", shape.bases, shape.bones * rng.uniform(0.9, 1.1, (5, 3)))
    joints = joints_from_angles(np.deg2rad(PINCH), other, UPRIGHT)
    joints += rng.normal(0.0, 0.002, joints.shape).astype(np.float32)
    drawn = rig.drawn_joints(hand_pose(joints, "left"))
    # Bones off by up to 4 mm and joints by 2 mm each way.
    assert np.linalg.norm(drawn - joints, axis=1).mean() < 0.006


@settings(max_examples=20, deadline=None)
@given(
    turn=st.tuples(*[st.floats(-3.0, 3.0)] * 3),
    shift=st.tuples(*[st.floats(-1.0, 1.0)] * 3),
    name=st.sampled_from(sorted(POSES)),
)
def test_a_moved_hand_is_the_same_hand(
    turn: tuple[float, ...], shift: tuple[float, ...], name: str
) -> None:
    rig = HandRig(FILE, HandRigOptions(sleeve_m=SLEEVE_M)) if not _shared else _shared[0]
    _shared[:] = [rig]
    move = Rigid.from_rotvec(turn, shift)
    hand = posed(rig, POSES[name], "right", Rigid())
    moved = posed(rig, POSES[name], "right", move)
    assert np.abs(rig.pose(moved)[0] - move.apply(rig.pose(hand)[0])).max() < 1e-5


_shared: list[HandRig] = []


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", POSES)
def test_skin_neither_twists_nor_tears(rig: HandRig, side: str, name: str) -> None:
    rest, _ = rig.pose(hand_pose(rig.rest_joints(side), side))
    vertices, normals = rig.pose(posed(rig, POSES[name], side))
    faces = rig.faces(side)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    ratio = np.linalg.norm(np.diff(vertices[edges], axis=1), axis=-1) / np.maximum(
        np.linalg.norm(np.diff(rest[edges], axis=1), axis=-1), 1e-6
    )
    # Skin over a bent knuckle stretches to about 1.6; a twisted one pinches most edges around it.
    assert np.percentile(ratio, 99) < 2.0
    assert np.percentile(ratio, 5) > 0.45
    corners = vertices[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    agree = (across * normals[faces].mean(1)).sum(1) > 0
    assert agree.mean() > 0.97


def test_forearm_points_to_the_elbow_within_the_wrists_reach(rig: HandRig) -> None:
    hand = posed(rig, OPEN, "right")
    wrist = hand.joints[0].astype(np.float64)
    straight = rig.bones(hand).origins
    along = (straight[SLEEVE_END] - straight[FOREARM]) / np.linalg.norm(
        straight[SLEEVE_END] - straight[FOREARM]
    )
    near = wrist + Rigid.from_rotvec([0.25, 0.0, 0.0]).rotate(along) * 0.25
    origins = rig.bones(hand, near).origins
    pointing = (origins[SLEEVE_END] - origins[FOREARM]) @ (near - wrist) / 0.25
    length = np.linalg.norm(origins[SLEEVE_END] - origins[FOREARM])
    assert np.arccos(min(pointing / length, 1.0)) < 0.03
    # An elbow in front of the fingers is out of reach: the wrist stops near its limit.
    origins = rig.bones(hand, wrist - along * 0.25).origins
    bend = np.arccos((origins[SLEEVE_END] - origins[FOREARM]) @ along / length)
    assert 0.5 < bend < HandRigOptions().wrist_flexion + 0.01
    fingers = rig.weights[:, FOREARM:].sum(1) == 0
    assert fingers.sum() > 1000
    assert (rig.pose(hand)[0][fingers] == rig.pose(hand, near)[0][fingers]).all()


def test_guessed_elbow_hangs_below_a_raised_hand(rig: HandRig) -> None:
    head = Rigid(np.array([1.0, 0.0, 0.0, 0.0]), np.array([0.0, 0.05, -0.7]))
    left = posed(rig, OPEN, "left", Rigid(UPRIGHT.wxyz, np.array([0.2, 0.0, -0.5])))
    elbow = guess_elbow(head, left)
    assert elbow[1] < left.joints[0, 1] - 0.1
    assert elbow[0] > 0.1
    assert np.linalg.norm(elbow - left.joints[0]) == pytest.approx(0.26, abs=0.02)
    right = hand_pose((left.joints * MIRROR).astype(np.float32), "right")
    assert guess_elbow(head, right) == pytest.approx(elbow * MIRROR, abs=1e-6)


def test_longer_sleeve_only_moves_cloth(rig: HandRig) -> None:
    hand = posed(rig, OPEN, "left")
    longer = HandRig(FILE, HandRigOptions(sleeve_m=0.2))
    moved = np.linalg.norm(longer.pose(hand)[0] - rig.pose(hand)[0], axis=1)
    assert moved[rig.cloth == 0].max() == 0.0
    assert moved.max() == pytest.approx(0.14, abs=0.005)


def test_texture_layout_has_no_overlap_and_a_gutter(rig: HandRig) -> None:
    a, b, c = np.moveaxis(rig.uv[rig.faces("left")].astype(np.float64), 1, 0)
    area = 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    assert (area > 0).all() or (area < 0).all()
    samples = rasterise(rig.uv.astype(np.float64), rig.faces("left").astype(np.int64))
    grid = SIZE * SAMPLES
    # Were two triangles to overlap, fewer samples would be covered than the areas add up to.
    assert len(samples.where) / grid**2 == pytest.approx(np.abs(area).sum(), rel=0.003)
    cover = np.zeros(grid * grid, np.uint8)
    cover[samples.where] = 1
    cover = cv2.morphologyEx(cover.reshape(grid, grid), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, charts = cv2.connectedComponents(cover)
    assert count - 1 == 3
    for chart in (1, 2, 3):
        other = (cover > 0) & (charts != chart)
        distance = ndimage.distance_transform_edt(~other)
        # Two texels of a 1024 texture to either side of the middle between two charts.
        assert np.asarray(distance)[charts == chart].min() >= 4 * SAMPLES - 1
    rows, columns = np.nonzero(cover)
    assert min(rows.min(), columns.min(), grid - rows.max(), grid - columns.max()) >= SAMPLES
    for side in SIDES:
        x0, y0, x1, y1 = RECTANGLES[side]
        uv = rig.atlas_uv(side)
        assert (uv > [x0, y0]).all()
        assert (uv < [x1, y1]).all()


def test_maps_show_what_they_are_called(rig: HandRig) -> None:
    assert set(rig.maps) == set(MAPS)
    at = np.clip((rig.uv * 256).astype(int), 0, 255)
    value = {name: rig.maps[name][at[:, 1], at[:, 0]] / 255.0 for name in MAPS}
    assert (value["cloth"] > 0.5).astype(int) == pytest.approx(rig.cloth, abs=1)
    assert ((value["cloth"] > 0.5) == (rig.cloth == 1)).mean() > 0.98
    blobs = cv2.connectedComponents((rig.maps["nails"] > 128).astype(np.uint8))[0] - 1
    assert blobs == 5
    nails = value["nails"] > 0.9
    rest = load_file(FILE)
    tips = rest["rest"][[5, 10, 15, 20, 25], :3, 3]
    far = np.linalg.norm(rest["vertices"][nails][:, None] - tips, axis=-1).min(1)
    assert far.max() < 0.02
    skin = rig.cloth == 0
    up = rest["normals"][:, 1]
    assert value["palm"][skin & (up < -0.8) & (rest["vertices"][:, 2] < -0.02)].mean() > 0.9
    assert value["palm"][skin & (up > 0.8)].mean() < 0.1
    assert value["occlusion"][skin].mean() > 0.7


def test_weights_and_skeleton_are_sound(rig: HandRig) -> None:
    assert rig.weights.sum(1) == pytest.approx(1.0, abs=1e-6)
    assert rig.weights.min() >= 0.0
    assert 1500 < len(rig.weights) < 2600
    left, right = rig.rest_joints("left"), rig.rest_joints("right")
    assert (left * MIRROR.astype(np.float32) == right).all()
    assert left[0] == pytest.approx(0.0, abs=1e-7)  # the wrist is the origin
    assert left[9] == pytest.approx([0, 0, left[9, 2]], abs=1e-6)
    assert left[9, 2] < -0.08
    assert left[4, 0] > 0.04  # thumb to the right of a left hand whose back is up


def test_open_is_the_bundled_asset() -> None:
    assert asset_path("hands/hands") == FILE
    assert len(HandRig.open().uv) > 1500


def test_bad_input_is_named(tmp_path: Path, rig: HandRig) -> None:
    with pytest.raises(ValueError, match="expected a hands file"):
        HandRig(tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(ValueError, match="expected a hands file"):
        HandRig(tmp_path / "text.safetensors")
    tensors = load_file(FILE)
    save_file({k: v for k, v in tensors.items() if k != "rest"}, tmp_path / "less.safetensors")
    with pytest.raises(ValueError, match="'rest'"):
        HandRig(tmp_path / "less.safetensors")
    save_file({**tensors, "uv": tensors["uv"][:, :1].copy()}, tmp_path / "uv.safetensors")
    with pytest.raises(ValueError, match="HandRig uv: expected"):
        HandRig(tmp_path / "uv.safetensors")
    with pytest.raises(ValueError, match="sleeve_m"):
        HandRigOptions(sleeve_m=1.0)
    with pytest.raises(ValueError, match="side"):
        rig.faces("both")


@pytest.mark.parametrize("side", SIDES)
def test_mediapipe_sees_the_pose_that_was_asked_for(rig: HandRig, side: str) -> None:
    vision, base = mediapipe.tasks.vision, mediapipe.tasks.BaseOptions
    model = base(model_asset_path=str(asset_path("models/hand_landmarker.task")))
    size, focal = 400, 720.0
    with vision.HandLandmarker.create_from_options(
        vision.HandLandmarkerOptions(
            # A lone hand with plain shading is a weak sight for the detector.
            base_options=model,
            num_hands=1,
            min_hand_detection_confidence=0.3,
        )
    ) as finder:
        for name in ("open", "fist", "pinch"):
            hand = posed(rig, POSES[name], side, Rigid(UPRIGHT.wxyz, np.array([0, -0.09, -0.55])))
            vertices, normals = rig.pose(hand)
            picture = shaded(rig, side, vertices, normals, 2 * size, 2 * focal)
            picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
            found = finder.detect(
                mediapipe.Image(
                    image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture)
                )
            )
            assert len(found.hand_landmarks) == 1, name
            assert found.handedness[0][0].category_name.lower() == side
            seen = np.array([[p.x * size, p.y * size] for p in found.hand_landmarks[0]])
            asked = hand.joints[:, :2] * [1, -1] * focal / -hand.joints[:, 2:] + size / 2
            palm = np.linalg.norm(asked[9] - asked[0])
            assert np.linalg.norm(seen - asked, axis=1).mean() < 0.1 * palm


def shaded(
    rig: HandRig,
    side: str,
    vertices: npt.NDArray[np.float32],
    normals: npt.NDArray[np.float32],
    size: int,
    focal: float,
) -> npt.NDArray[np.uint8]:
    """A picture with simple shading, ray-cast, of a camera at the origin that looks along -z."""
    faces = rig.faces(side)
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        o3d.core.Tensor.from_numpy(vertices), o3d.core.Tensor.from_numpy(faces.astype(np.uint32))
    )
    y, x = np.mgrid[:size, :size] + 0.5
    ahead = np.stack([(x - size / 2) / focal, (size / 2 - y) / focal, -np.ones_like(x)], -1)
    rays = np.concatenate([np.zeros_like(ahead), ahead], -1).astype(np.float32)
    hit = scene.cast_rays(o3d.core.Tensor.from_numpy(rays))
    seen = np.isfinite(hit["t_hit"].numpy())
    corner = faces[np.where(seen, hit["primitive_ids"].numpy(), 0).astype(np.int64)]
    uv = hit["primitive_uvs"].numpy()
    share = np.stack([1 - uv.sum(-1), uv[..., 0], uv[..., 1]], -1)[..., None]
    normal = (normals[corner] * share).sum(-2)
    at = np.clip((rig.uv[corner] * share).sum(-2) * 256, 0, 255).astype(int)
    skin = np.array([0.62, 0.40, 0.30]) * np.ones((256, 256, 1))
    skin = skin * (1 - 0.4 * rig.maps["creases"][..., None] / 255.0)
    skin = np.where(rig.maps["nails"][..., None] > 128, [0.72, 0.45, 0.40], skin)
    skin = np.where(rig.maps["cloth"][..., None] > 128, [0.05, 0.07, 0.15], skin)
    skin = skin * (0.25 + 0.75 * rig.maps["occlusion"][..., None] / 255.0)
    light = 0.2 + 0.8 * np.clip(normal @ np.array([-0.4, 0.5, 0.75]), 0, 1)
    colour = skin[at[..., 1], at[..., 0]] * light[..., None]
    linear = np.where(seen[..., None], np.clip(colour, 0, 1), 0.7)
    return np.ascontiguousarray(np.round(255 * linear ** (1 / 2.2)).astype(np.uint8))
