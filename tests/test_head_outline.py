"""What surrounds the face: hair grown to an outline, the neck's seam, the neckline, colours."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import scipy.sparse as sparse

from avatar.enrolment.face_deformation import FaceDeformation
from avatar.enrolment.likeness import Likeness
from avatar.enrolment.neck_seam import NeckSeam
from avatar.enrolment.recipe import mean_picture, quantised_planes
from avatar.enrolment.silhouette import CENTRE, OutlineView, shaped_scalp
from avatar.enrolment.static_texture import StaticTexture
from avatar.enrolment.texel_filling import TexelSurface
from avatar.enrolment.texture_basis_fit import BasisFit, BasisOptions, fit_basis
from avatar.enrolment.texture_reading import Textures, well_inside
from avatar.head_mesh import ATLAS, HeadMesh
from avatar.landmark_map import LandmarkMap
from avatar.personal_atlas import STATIC_PARTS, personal_uv
from avatar.personal_head import beyond_face, hair_share, template_as
from avatar.picture_encoder import face_table
from avatar.unwrapping import TexelTable
from streams.camera import Camera
from streams.projection import project
from streams.rigid import Rigid

CAMERA = Camera.from_fov((320, 320), 0.75)
HEAD = HeadMesh.open("default")
COUNT = HEAD.template_size
REST = HEAD.vertices[:COUNT].astype(np.float64)
SKIN = HEAD.regions[:COUNT] == "head"
FACES = HEAD.faces[(HEAD.faces < COUNT).all(1)]
FACES = FACES[SKIN[FACES].all(1)]


def pose(yaw: float) -> Rigid:
    return Rigid.from_rotvec([0.05, yaw, 0.0], [0.01, -0.02, -0.6])


def drawn(vertices: np.ndarray, world_from_head: Rigid) -> np.ndarray:
    """(H, W) float32: 1 where the head is."""
    pixels, _ = project(CAMERA, world_from_head.apply(vertices))
    mask = np.zeros((320, 320), np.uint8)
    for corners in np.rint(pixels[FACES] * 16).astype(np.int32):
        cv2.fillConvexPoly(mask, corners, 1, cv2.LINE_8, 4)
    return mask.astype(np.float32)


def with_hair(thickness: float, tuft: float) -> np.ndarray:
    """The template with hair: thick all over, and thicker on the left above the ear."""
    away = REST - CENTRE
    direction = away / np.linalg.norm(away, axis=1, keepdims=True)
    side = np.exp((direction @ np.array([0.8, 0.6, 0.0]) - 1.0) / 0.45**2)
    up = np.clip((REST[:, 1] - 0.03) / 0.03, 0.0, 1.0) * (beyond_face(REST, REST) > 0.01) * SKIN
    return REST + away * (up * (thickness + tuft * side))[:, None]


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of what lies above the eyes."""
    a, b = a[:150] > 0.5, b[:150] > 0.5
    return float((a & b).sum() / (a | b).sum())


def views(vertices: np.ndarray, *yaws: float) -> list[OutlineView]:
    return [OutlineView(drawn(vertices, pose(yaw)), CAMERA, pose(yaw)) for yaw in yaws]


@pytest.mark.parametrize(("thickness", "tuft"), [(0.18, 0.0), (0.1, 0.2), (-0.05, 0.0)])
def test_a_scalp_grows_to_the_outline_of_drawn_hair(thickness: float, tuft: float) -> None:
    truth = with_hair(thickness, tuft)
    found = shaped_scalp(HEAD, REST, views(truth, -0.4, -0.2, 0.0, 0.2, 0.4))
    for yaw in (0.0, 0.3):
        wanted = drawn(truth, pose(yaw))
        before, after = (overlap(drawn(v, pose(yaw)), wanted) for v in (REST, found))
        assert after > 0.965
        assert after > before
    # No frame shows the back of the head: hair is there as thick as it is elsewhere.
    back = SKIN & (REST[:, 2] < -0.15) & (REST[:, 1] > 0.04)
    ratio = (
        np.linalg.norm(found - CENTRE, axis=1)[back] / np.linalg.norm(REST - CENTRE, axis=1)[back]
    )
    assert 1.0 + 0.5 * thickness - 0.03 < ratio.mean() < 1.06 + thickness + tuft


def test_a_round_outline_gives_a_round_crown_and_not_a_pointed_one() -> None:
    yaws = (-0.3, 0.0, 0.3)
    circles = []
    for yaw in yaws:
        centre, _ = project(CAMERA, pose(yaw).apply(CENTRE[None]))
        disc = np.zeros((320, 320), np.uint8)
        cv2.circle(disc, tuple(int(c) for c in np.rint(centre[0])), 84, 1, -1)
        circles.append(OutlineView(disc.astype(np.float32), CAMERA, pose(yaw)))
    found = shaped_scalp(HEAD, REST, circles)
    mask = drawn(found, pose(0.0))
    centre, _ = project(CAMERA, pose(0.0).apply(CENTRE[None]))
    reach = []
    for angle in np.deg2rad(np.arange(40, 141, 5)):
        ray = centre[0] + np.outer(np.arange(120), [np.cos(angle), -np.sin(angle)])
        at = np.rint(ray).astype(int)
        reach.append(int(np.argmin(mask[at[:, 1], at[:, 0]])))
    assert np.abs(np.array(reach) - 84).max() < 6
    assert np.std(reach) < 2.5


def test_face_and_ears_keep_their_shape_while_hair_grows() -> None:
    found = shaped_scalp(HEAD, REST, views(with_hair(0.3, 0.0), -0.3, 0.0, 0.3))
    landmarks = LandmarkMap.open()
    moved = np.abs(landmarks.points(found) - landmarks.points(REST)).max(1)
    assert moved[landmarks.trust > 0.3].max() < 0.002
    np.testing.assert_array_equal(found[~SKIN], REST[~SKIN])
    ear = SKIN & (REST[:, 0] > 0.074) & (np.abs(REST[:, 1] + 0.02) < 0.035)
    ear &= np.abs(REST[:, 2] + 0.082) < 0.02
    assert ear.sum() > 50
    shift = (found - REST)[ear]
    assert np.ptp(shift, axis=0).max() < 1e-9  # carried, not stretched


def test_without_an_outline_nothing_grows() -> None:
    everything = OutlineView(np.ones((320, 320), np.float32), CAMERA, pose(0.0))
    nothing = OutlineView(np.zeros((320, 320), np.float32), CAMERA, pose(0.0))
    for some in ([], [everything], [nothing]):
        np.testing.assert_array_equal(shaped_scalp(HEAD, REST, some), REST)


def test_neck_and_head_stay_one_skin_at_rest_and_in_every_expression() -> None:
    landmarks, rng = LandmarkMap.open(), np.random.default_rng(4)
    other = HeadMesh.open("walter")
    average = landmarks.points(other.vertices[:COUNT].astype(np.float64))
    average += rng.normal(0.0, 0.002, average.shape)
    found = Likeness.fit(HEAD, landmarks, average).vertices
    seam = NeckSeam.of(HEAD)
    assert len(seam.rim) > 40
    np.testing.assert_allclose(found[seam.twin], found[seam.rim], atol=1e-12)
    deformation = FaceDeformation(HEAD, landmarks, found, held=True)
    moved = deformation.expression(rng.normal(0.0, 0.003, (3, 468, 3)))
    np.testing.assert_allclose(moved[:, seam.twin], moved[:, seam.rim], atol=1e-12)
    assert np.abs(moved[:, seam.rim]).max() > 1e-4  # it does move


def test_a_personal_head_wears_no_collar_and_its_clothes_begin_at_the_neck() -> None:
    rest = Likeness.fit(HEAD, LandmarkMap.open(), LandmarkMap.open().points(REST)).vertices
    head = template_as(HEAD, rest.astype(np.float32), HEAD.eyes, HEAD.neck_pivot)
    drawn_regions = set(np.unique(head.regions[head.faces[:, 0]]).tolist())
    assert "collar" not in drawn_regions
    assert {"neck", "cloth", "head"} <= drawn_regions
    cloth, neck = (HEAD.regions[:COUNT] == name for name in ("cloth", "neck"))
    rim = cloth & (REST[:, 1] > -0.13)  # the highest part of the hole, at the nape
    gap = np.linalg.norm(rest[rim][:, None] - rest[neck][None], axis=2).min(1)
    before = np.linalg.norm(REST[rim][:, None] - REST[neck][None], axis=2).min(1)
    assert gap.min() < 0.005 < before.min()


def test_hair_is_above_and_behind_and_never_in_the_face() -> None:
    table = face_table(HEAD)
    share, place = hair_share(HEAD, table), table.at_vertices @ REST
    head = table.regions == "head"
    assert (share[~head] == 0.0).all()
    assert share[head & (place[:, 2] > 0.02)].max() == 0.0
    assert share[head & (place[:, 1] > 0.095)].min() > 0.9
    assert share[head & (place[:, 2] < -0.15) & (place[:, 1] > 0.0)].min() > 0.9


def test_the_rim_of_a_matte_is_left_out_by_as_many_pixels_as_it_is_wide() -> None:
    mask = np.zeros((320, 320), np.float32)
    mask[100:220, 100:220] = 1.0
    inside = well_inside(mask, CAMERA, pose(0.0))
    rows = np.flatnonzero(inside[160] > 0.5)
    pixels = CAMERA.focal[0] * 0.006 / 0.6
    assert abs((rows[0] - 100) - pixels) <= 1
    assert abs((219 - rows[-1]) - pixels) <= 1
    near = well_inside(mask, CAMERA, Rigid.from_rotvec([0, 0, 0], [0, 0, -0.3]))
    assert near.sum() < inside.sum()


def test_texels_that_the_encoder_does_not_look_at_leave_the_others_their_steps() -> None:
    """Hair's rim shows background now and then: no coarse texel lies there, its nodes hang loose,
    and what moves there is no reason to store the face in fewer steps."""
    rng, size, frames = np.random.default_rng(0), 48, 60
    rows, columns = (grid.ravel() for grid in np.mgrid[:size, :size])
    n = len(rows)
    nowhere = sparse.csr_array((n, 1), dtype=np.float32)
    table = TexelTable(size, rows, columns, np.full(n, "head"), nowhere)
    moved = np.einsum(
        "fk,knc->fnc", rng.normal(size=(frames, 3)), rng.normal(0, 10, (3, n, 3))
    ) + rng.normal(0, 20, (frames, n, 3))
    colours = np.clip(128 + moved, 0, 255).astype(np.uint8)
    often = np.where(columns < 20, 0.95, 1.0).astype(np.float32)
    places = np.stack([columns, rows], axis=1)
    surface = TexelSurface(places, table.regions, np.zeros(n, np.float32), 2.0, often)
    seen, even = np.full((frames, n), 255, np.uint8), np.ones((frames, 3), np.float32)
    basis = fit_basis(table, colours, seen, even, BasisOptions(4, 4, stride=2), surface)
    _, scale = quantised_planes(basis, table)
    inside = np.abs(basis.planes[columns > 24])
    assert np.sqrt((inside**2).mean()) > 6 * scale.max() * 255.0


def test_the_skin_under_the_chin_is_not_painted_over_with_the_neck_s() -> None:
    head = template_as(HEAD, HEAD.vertices[:COUNT], HEAD.eyes, HEAD.neck_pivot)
    faces = HEAD.faces[(HEAD.faces < COUNT).all(1)]
    below = TexelTable.of(faces, personal_uv(HEAD), HEAD.regions[:COUNT], ATLAS, STATIC_PARTS)
    table = face_table(HEAD)
    n = len(table.rows)
    red = np.tile(np.array([200.0, 0.0, 0.0], np.float32), (n, 1))
    none, nodes = np.zeros(0, np.intp), sparse.csr_array((n, 0), dtype=np.float32)
    basis = BasisFit(red, np.zeros((n, 4, 3), np.float32), none, nodes, none, np.zeros((0, 0)))
    colours, seen = np.zeros((1, n, 3), np.uint8), np.zeros((1, n), np.uint8)
    surface = TexelSurface(
        np.zeros((n, 3)), table.regions, np.zeros(n, np.float32), 0.002, np.ones(n, np.float32)
    )
    textures = Textures(table, colours, seen, surface, StaticTexture(head, below))
    picture = mean_picture(basis, textures)
    skin = table.regions == "head"
    assert (picture[2 * table.rows[skin] + 1, 2 * table.columns[skin] + 1, 0] > 195).all()
    assert np.median(picture[below.rows, below.columns, 0]) == 160  # nothing seen: darker skin
