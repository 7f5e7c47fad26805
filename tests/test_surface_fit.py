"""Scanned faces become our head: a synthetic person as a scan, and a registered real face."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from avatar.datasets.capture_files import DatasetError
from avatar.enrolment.surface_bending import SurfaceBending
from avatar.enrolment.surface_fit import (
    SKIN,
    SurfaceFit,
    SurfaceFitOptions,
    fit_surface,
    marks_on_surface,
    near_landmarks,
    surface_distances,
)
from avatar.enrolment.texture_transfer import TexturedScan, transferred_texture
from avatar.head_mesh import HeadMesh
from avatar.landmark_map import LandmarkMap
from avatar.personal_atlas import personal_uv
from avatar.unwrapping import TexelTable
from benchmarks.registered_face import (
    CAMERAS,
    Fitted,
    RegisteredFace,
    looked_at,
    tracked_marks,
)
from render.renderer import Renderer, RenderOptions, open_renderer
from streams.projection import project
from streams.rigid import Rigid
from streams.view import View

LANDMARKS = LandmarkMap.open()
SCAN_FROM_HEAD = Rigid.from_rotvec((0.3, -0.9, 0.4), (0.5, -1.2, 2.0))


class Scan:
    """Walter, smiling a little, cut finer and without the back of the head, somewhere in space."""

    def __init__(self) -> None:
        import open3d as o3d

        head = HeadMesh.open("walter")
        size = head.template_size
        smile = head.shapes[[31, 32]].sum(0) * 0.4
        self.truth = (head.vertices[:size] + smile).astype(np.float64)
        self.head = head
        skin = np.isin(head.regions[:size], ("head", "neck"))
        faces = head.faces[(head.faces < size).all(1)]
        faces = faces[skin[faces].all(1)]
        faces = faces[(self.truth[faces, 2] > -0.1).any(1)]
        _, first, point = np.unique(head.weld[:size], return_index=True, return_inverse=True)
        mesh = o3d.geometry.TriangleMesh(
            o3d.utility.Vector3dVector(self.truth[first]),
            o3d.utility.Vector3iVector(np.asarray(point)[faces].astype(np.int32)),
        ).remove_unreferenced_vertices()
        mesh = mesh.subdivide_midpoint(1)
        self.vertices = np.asarray(SCAN_FROM_HEAD.apply(np.asarray(mesh.vertices)))
        self.faces = np.asarray(mesh.triangles)
        rng = np.random.default_rng(4)
        marks = LANDMARKS.points(self.truth) + 0.0005 * rng.normal(size=(468, 3))
        self.marks = np.asarray(SCAN_FROM_HEAD.apply(marks))


@pytest.fixture(scope="module")
def scan() -> Scan:
    return Scan()


@pytest.fixture(scope="module")
def fit(scan: Scan) -> SurfaceFit:
    return fit_surface(
        HeadMesh.open("mei"), LANDMARKS, scan.vertices, scan.faces, scan.marks,
        SurfaceFitOptions(steps=20),
    )  # fmt: skip


def test_another_person_s_surface_is_met(scan: Scan, fit: SurfaceFit) -> None:
    vertices, faces = fit.surface(HeadMesh.open("mei"))
    assert vertices.dtype == np.float32
    points = np.asarray(fit.head_from_scan.apply(scan.vertices))
    away = surface_distances(vertices, faces, points)
    face = near_landmarks(scan.vertices, scan.marks)
    assert 1000 < face.sum() < len(face)
    # The scan has our template's own resolution, so that only the fit is left.
    assert away[face].mean() < 0.0002
    assert np.percentile(away[face], 95) < 0.0006
    assert away.mean() < 0.0003


def test_points_of_the_template_keep_their_meaning(scan: Scan, fit: SurfaceFit) -> None:
    """Both templates have one topology: a vertex must come near its own twin, not just anywhere."""
    found = np.asarray(fit.head_from_scan.inverse().apply(fit.likeness.vertices))
    wanted = np.asarray(SCAN_FROM_HEAD.apply(scan.truth))
    sure = LANDMARKS.trust > 0.85
    error = np.linalg.norm(LANDMARKS.points(found) - LANDMARKS.points(wanted), axis=1)
    assert error[sure].mean() < 0.001
    head = scan.head.regions[: scan.head.template_size] == "head"
    front = head & (scan.truth[:, 2] > 0)
    assert np.linalg.norm(found - wanted, axis=1)[front].mean() < 0.003


def test_the_head_frame_is_found(scan: Scan, fit: SurfaceFit) -> None:
    head_from_true = fit.head_from_scan @ SCAN_FROM_HEAD
    assert np.degrees(head_from_true.angle_to(Rigid.identity())) < 5.0
    np.testing.assert_allclose(fit.likeness.eyes.mean(0), 0.0, atol=1e-9)
    eyes = np.asarray(head_from_true.apply(scan.head.eyes.astype(np.float64)))
    assert np.linalg.norm(fit.likeness.eyes - eyes, axis=1).max() < 0.006
    assert fit.likeness.vertices[:, 1].min() < -0.4  # the torso hangs on below


def test_where_the_scan_is_open_the_skull_stays_round(scan: Scan, fit: SurfaceFit) -> None:
    found = np.asarray(fit.head_from_scan.inverse().apply(fit.likeness.vertices))
    wanted = np.asarray(SCAN_FROM_HEAD.apply(scan.truth))
    head = scan.head.regions[: scan.head.template_size] == "head"
    behind = head & (scan.truth[:, 2] < -0.11)
    assert behind.sum() > 100
    assert np.linalg.norm(found - wanted, axis=1)[behind].max() < 0.03


def test_the_same_scan_gives_the_same_head(scan: Scan) -> None:
    head = HeadMesh.open("mei")
    few = SurfaceFitOptions(steps=2)
    one, two = (
        fit_surface(head, LANDMARKS, scan.vertices, scan.faces, scan.marks, few) for _ in range(2)
    )
    np.testing.assert_array_equal(one.likeness.vertices, two.likeness.vertices)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: (s.vertices * 1000, s.faces, s.marks * 1000), "expected a face in metres"),
        (lambda s: (s.vertices, s.faces[:40], s.marks), "at least 500 vertices, got"),
        (lambda s: (s.vertices, s.faces + 10**6, s.marks), "expected indices below"),
        (lambda s: (s.vertices, s.faces, s.marks[:400]), "expected 468 landmarks, got 400"),
        (lambda s: (s.vertices * np.nan, s.faces, s.marks), r"vertices: expected finite \(N, 3\)"),
    ],
)
def test_what_is_no_scan_of_a_face_is_refused(scan: Scan, change, match: str) -> None:
    vertices, faces, marks = change(scan)
    with pytest.raises(ValueError, match=match):
        fit_surface(HeadMesh.open("mei"), LANDMARKS, vertices, faces, marks)


def test_distances_are_those_of_a_plain_search() -> None:
    """Every triangle sampled finely, against the tree."""
    rng = np.random.default_rng(8)
    vertices, faces = rng.normal(size=(12, 3)), rng.integers(0, 12, (9, 3))
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2])]
    points = rng.normal(size=(20, 3)) * 1.5
    a, b = np.meshgrid(np.linspace(0, 1, 201), np.linspace(0, 1, 201))
    a, b = (x[a + b <= 1.0] for x in (a, b))
    share = np.stack([1 - a - b, a, b], axis=1)
    samples = np.einsum("sc,fcd->fsd", share, vertices[faces]).reshape(-1, 3)
    slow = np.array([np.linalg.norm(samples - p, axis=1).min() for p in points])
    fast = surface_distances(vertices, faces, points)
    assert (fast <= slow + 1e-6).all()
    np.testing.assert_allclose(fast, slow, atol=0.02)


def test_marks_go_to_where_the_ray_meets_the_surface(scan: Scan) -> None:
    head_points = LANDMARKS.points(scan.truth)
    front = head_points[:, 2] > 0.03
    eye = np.asarray(SCAN_FROM_HEAD.apply([0.0, 0.0, 0.9]))
    off = np.asarray(SCAN_FROM_HEAD.apply(head_points[front] + (0.0, 0.0, 0.004)))
    found = marks_on_surface(scan.vertices, scan.faces, eye, off)
    assert surface_distances(scan.vertices, scan.faces, found).max() < 1e-6
    ray = (off - eye) / np.linalg.norm(off - eye, axis=1, keepdims=True)
    along = ((found - eye) * ray).sum(1, keepdims=True)
    aside = np.linalg.norm(found - eye - along * ray, axis=1)
    assert np.percentile(aside, 90) < 1e-6
    # Past the head: the nearest point instead.
    beside = np.asarray(SCAN_FROM_HEAD.apply(np.array([[0.4, 0.0, 0.0]])))
    nearest = marks_on_surface(scan.vertices, scan.faces, eye, beside)
    assert np.linalg.norm(nearest - beside) == pytest.approx(
        surface_distances(scan.vertices, scan.faces, beside)[0], abs=1e-6
    )


def test_bending_costs_nothing_for_what_does_not_bend() -> None:
    head = HeadMesh.open("mei")
    rest = head.vertices[: head.template_size].astype(np.float64)
    sheet = SurfaceBending.of(head, rest, SKIN)
    np.testing.assert_array_equal(sheet.place[sheet.points], rest[sheet.on_surface])
    shift = np.ones(len(sheet.place))
    assert abs(shift @ (sheet.energy @ shift)) < 1e-5
    # On a plane, exp(-r2 / s2) has the energy 4 pi / s2; the crown is nearly one.
    crown = sheet.place[sheet.place[:, 1].argmax()]
    for width in (0.03, 0.04):
        bump = np.exp(-np.square((sheet.place - crown) / width).sum(1))
        assert bump @ (sheet.energy @ bump) == pytest.approx(4 * np.pi / width**2, rel=0.15)
    with pytest.raises(ValueError, match="got one off it"):
        sheet.at(np.array([[0, 1, -1]]), np.ones((1, 3)))


def test_a_scan_s_texture_is_worn_where_it_was() -> None:
    """Its colours say which texel of the scan they are; the head lies exactly on it."""
    head = HeadMesh.open("walter")
    size = head.template_size
    rest, regions = head.vertices[:size], head.regions[:size]
    faces = head.faces[(head.faces < size).all(1)]
    skin = faces[np.isin(regions[faces], ("head", "neck")).all(1)]
    skin = skin[(rest[skin, 2] > -0.09).any(1)]  # cut open behind
    at = (np.arange(512, dtype=np.float32) + 0.5) / 512
    coded = np.full((512, 512, 3), 200, np.uint8)
    coded[..., 0], coded[..., 1] = np.rint(255 * at)[None, :], np.rint(255 * at)[:, None]
    scan = TexturedScan(rest, skin, head.uv[:size], coded)
    worn = transferred_texture(head, rest, scan)
    assert worn.shape == (1024, 1024, 3)
    uv = personal_uv(head)
    table = TexelTable.of(faces, uv, regions, 1024, ("head", "upper-teeth", "cloth"))
    colours = worn[table.rows, table.columns].astype(float)
    places, own = table.at_vertices @ rest, table.at_vertices @ head.uv[:size]
    front = (table.regions == "head") & (places[:, 2] > 0)
    error = np.abs(colours[front, :2] / 255 - own[front])
    # The nearest point is that very point but where lids and lips touch; codes are rounded.
    assert np.median(error) < 0.004
    assert np.percentile(error, 99) < 0.01
    assert (colours[front, 2] == 200).mean() > 0.999
    # Behind, where there is no scan, skin is like the nearest skin, not black or the template's.
    behind = (table.regions == "head") & (places[:, 2] < -0.12)
    assert (colours[behind, 2] == 200).all()
    teeth = table.regions == "upper-teeth"
    template = head.albedo[
        np.clip((own[teeth, 1] * 1024).astype(int), 0, 1023),
        np.clip((own[teeth, 0] * 1024).astype(int), 0, 1023),
    ]
    assert np.median(np.abs(colours[teeth] - template)) < 4


# -- the registered real face ------------------------------------------------------------------


@pytest.fixture(scope="module")
def face(shared_data: Path) -> RegisteredFace:
    return RegisteredFace.open(shared_data / "ava256")


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    options = RenderOptions(depth=True, antialias="none", shadows=False)
    with open_renderer("gl", options) as opened:
        yield opened


def test_the_real_face_is_upright_and_looked_at(face: RegisteredFace) -> None:
    used = face.vertices[: face.topology.count][face.topology.used]
    tip = used[used[:, 2].argmax()]
    assert np.abs(tip[:2]).max() < 0.02  # the nose points along z
    assert np.ptp(used[:, 1]) == pytest.approx(0.355, abs=0.01)
    where = looked_at(list(face.cameras.values()))
    far = [np.linalg.norm(c.world_from_camera.xyz - where) for c in face.cameras.values()]
    assert 1.0 < min(far) < max(far) < 1.25
    # Hair and forehead are at the top of the texture, the neck at its bottom.
    top = used[:, 1] > 0.13
    assert face.topology.uv[face.topology.used][top, 1].mean() < 0.15


def test_the_real_face_is_drawn_in_its_dome(face: RegisteredFace, renderer: Renderer) -> None:
    mesh = face.textured(face.world_from_head)
    on_triangles = np.isin(np.arange(len(mesh.vertices)), face.topology.faces)
    for name in CAMERAS:
        camera = face.cameras[name].scaled((334, 512))
        image = renderer.draw(mesh, View.from_camera(camera))
        drawn = (image.depth > 0) & (image.depth < 2.0)
        assert 0.3 < drawn.mean() < 0.95
        # A vertex that nothing hides lies at the depth that was drawn at its pixel.
        pixels, depth = project(camera, mesh.vertices)
        inside = (pixels > 1).all(1) & (pixels < np.array(camera.size) - 2).all(1)
        inside &= on_triangles
        towards = camera.world_from_camera.xyz - mesh.vertices
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        inside &= (mesh.normals * towards).sum(1) > 0.6
        at = np.rint(pixels[inside]).astype(int)
        error = np.abs(image.depth[at[:, 1], at[:, 0]] - depth[inside])
        assert np.median(error) < 0.0005
        assert inside.sum() > 1000
        # And it wears its own colours: skin, not the texture's black border.
        colours = image.rgba[drawn][:, :3].astype(float)
        skin = face.texture[300:600, 300:700].reshape(-1, 3).mean(0)
        assert np.abs(np.median(colours, axis=0) - skin).max() < 40


def test_the_real_face_survives_our_code(face: RegisteredFace, renderer: Renderer) -> None:
    fitted = Fitted.of(face, tracked_marks(face, renderer), HeadMesh.open("default"))
    of_face = fitted.away_mm[fitted.of_face]
    assert 2500 < len(of_face) < 4000
    assert len(fitted.away_mm) == 5741
    # Measured: mean 0.153, p95 0.431 over the face; 0.212 and 0.617 over ears, skull and neck too.
    assert of_face.mean() < 0.2
    assert np.percentile(of_face, 95) < 0.5
    assert fitted.away_mm.mean() < 0.3
    assert "face:" in fitted.figures()


def test_a_face_folder_without_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="KRT: expected a text file"):
        RegisteredFace.open(tmp_path)
