"""Glasses: found in a video of somebody who wears drawn ones, a rigid layer, kept in files."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import avatar.avatar_file as avatar_file
from apps.likeness_evaluation import draw_over
from avatar.avatar_file import read_avatar_file, write_avatar_file
from avatar.consent import SENTENCE, Consent
from avatar.enrolment.observations import Observations
from avatar.enrolment.recipe import EnrolmentOptions, enrol
from avatar.enrolment.registration import Registration
from avatar.enrolment.spectacle_fit import find_spectacles
from avatar.enrolment.spectacle_matte import front_picture, matte
from avatar.enrolment.texture_basis_fit import BasisOptions
from avatar.head_mesh import HeadMesh
from avatar.landmark_map import LandmarkMap
from avatar.personal_avatar import PersonalAvatar, resting_state
from avatar.personal_decoder import HeadCode, open_decoder
from avatar.personal_model import GAINS, ModelError, PersonalModel
from avatar.picture_encoder import face_table
from avatar.spectacle_cover import SpectacleCover, front_opacity
from avatar.spectacle_sight import (
    ARM,
    MOTIONS,
    LineRegistration,
    SpectacleSight,
    lines_of,
    similarity_of,
    warp_of,
)
from avatar.spectacle_texels import FrontTexels
from avatar.spectacles import (
    COLUMNS,
    HEIGHT,
    NUMBERS,
    ROWS,
    STRIP,
    TEXEL_M,
    WIDTH,
    Spectacles,
    spectacle_faces,
    spectacle_uv,
)
from capture.frame_source import open_source
from capture.scenes import open_scene
from render.renderer import RenderOptions, open_renderer
from streams.camera import Camera
from streams.frame import Frame
from streams.mesh_texture import MeshTexture
from streams.projection import project
from streams.rigid import Rigid
from streams.topology import PARTS, Topology
from streams.tracked_state import TrackedState
from streams.view import View
from tracking.tracker import Tracker, TrackerOptions

FRAMES, STEP = 52, 4
INK = (28, 22, 26)
LENS = (0.0275, -0.005, 0.018, 0.0155)
"""Middle (x of the left one, y) and half axes of the drawn lenses, metres, head frame."""
DEPTH_M = 0.030
SMALL = EnrolmentOptions(
    appearance=48, basis=BasisOptions(grid=12, planes=4, rounds=2), least_frames=30
)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CONSENT = Consent("Nobody", SENTENCE, "synthetic", 1_700_000_000)


def lens(side: float) -> npt.NDArray[np.float64]:
    """(80, 3) metres, head frame: the middle of one rim's wire."""
    angle = np.linspace(0.0, 2 * np.pi, 80, endpoint=False)
    x, y, a, b = LENS
    flat = np.stack([side * x + a * np.cos(angle), y + b * np.sin(angle)], axis=1)
    return np.column_stack([flat, DEPTH_M - 2.0 * flat[:, 0] ** 2])


def bridge() -> npt.NDArray[np.float64]:
    x = np.linspace(-0.0097, 0.0097, 9)
    return np.stack([x, 0.001 + 0.0 * x, np.full(9, DEPTH_M)], axis=1)


def temple(side: float) -> npt.NDArray[np.float64]:
    hinge = np.array([side * (LENS[0] + LENS[2]), 0.0, DEPTH_M - 2.0 * 0.0455**2])
    return np.stack([hinge, hinge + (side * 0.014, 0.0, -0.04)])


def with_glasses(frame: Frame, pose: Rigid, ink: tuple[float, float, float] = INK) -> Frame:
    """Drawn over the picture where they would be on a head that is there."""
    rgb = frame.rgb.copy()
    lines = [(bridge(), False)]
    for side in (1.0, -1.0):
        lines += [(lens(side), True), (temple(side), False)]
    for line, closed in lines:
        pixels, _ = project(frame.camera, pose.apply(line))
        corners = np.rint(pixels * 256).astype(np.int32)
        cv2.polylines(rgb, [corners], closed, ink, 2, cv2.LINE_AA, 8)
    return replace(frame, rgb=rgb)


@dataclass(frozen=True)
class Wearer:
    """The synthetic person of the clip that ships, with and without drawn glasses."""

    clip: Path
    truth: list[Rigid]
    states: list[TrackedState]

    def bare(self) -> Iterator[Frame]:
        with open_source(f"video:{self.clip}") as source:
            for k, frame in zip(range(FRAMES * STEP), source, strict=False):
                if k % STEP == 0:
                    yield frame

    def frames(self) -> Iterator[Frame]:
        for frame, pose in zip(self.bare(), self.truth, strict=True):
            yield with_glasses(frame, pose)

    def seen(self) -> Observations:
        return Observations.of(self.states)


@pytest.fixture(scope="module")
def wearer(demo_clip: Path) -> Wearer:
    performance = open_scene("demo")
    blank = Wearer(demo_clip, [], [])
    truth = []
    for frame in blank.bare():
        face = performance.state_at(frame.t_ns).face
        assert face is not None
        truth.append(face.world_from_head)
    with Tracker.open(TrackerOptions(hands=0)) as tracker:
        states = [tracker.track(f) for f in Wearer(demo_clip, truth, []).frames()]
    assert sum(state.face is not None for state in states) > FRAMES - 4
    return Wearer(demo_clip, truth, states)


@pytest.fixture(scope="module")
def model(wearer: Wearer) -> PersonalModel:
    return enrol(wearer.frames, wearer.seen(), SMALL)


def found_in(wearer: Wearer, frames: list[Frame]):
    seen, head = wearer.seen(), HeadMesh.open("default")
    rest = Registration.fit(head, LandmarkMap.open(), seen).likeness.vertices
    skin = rest[head.regions[: head.template_size] == "head"]
    rows = [(row, frames[int(k)]) for row, k in enumerate(seen.frames)]
    return find_spectacles(lambda: iter(rows), seen, skin, sure=False)


def test_drawn_glasses_are_found_and_a_bare_face_has_none(wearer: Wearer) -> None:
    found = found_in(wearer, list(wearer.frames()))
    assert found is not None
    assert found.rims.evidence > 5.0
    # The tracker takes the head for larger than it is: rims are compared as shapes.
    for rim, side in ((found.rims.left, 1.0), (found.rims.right, -1.0)):
        size = np.ptp(rim, axis=0) * TEXEL_M / np.ptp(lens(side)[:, :2], axis=0)
        assert 1.1 < size.mean() < 1.5
        assert abs(size[0] / size[1] - 1.0) < 0.1
    picture = front_picture(found)
    shown = picture.opacity > 200
    assert 0.01 < shown.mean() < 0.15
    assert np.abs(np.median(picture.colours[shown], axis=0) - INK).max() < 30
    # Of the temples the front shows a stump.
    assert picture.temples[:, 5:-5, 3].max(axis=1).min() > 100
    assert picture.temples[:, [0, -1], 3].max() < 60
    assert found_in(wearer, list(wearer.bare())) is None


def test_the_layer_lies_on_the_wire_and_is_sharper_than_texture(wearer: Wearer, model) -> None:
    assert model.glasses is not None
    plain = enrol(wearer.frames, wearer.seen(), replace(SMALL, glasses="no"))
    assert plain.glasses is None
    errors: dict[str, list[float]] = {"layer": [], "texture": []}
    options = RenderOptions(depth=False, antialias="none", shadows=False)
    with open_renderer("gl", options) as renderer:
        for name, of in (("layer", model), ("texture", plain)):
            avatar = PersonalAvatar(of, "avatars/worn", fade=False)
            moments = zip(wearer.frames(), wearer.states, wearer.truth, strict=True)
            for k, (frame, state, pose) in enumerate(moments):
                if state.face is None or k % 5 != 2:
                    continue
                ours = draw_over(renderer, avatar, avatar.encode(state, frame), frame)
                errors[name].append(rim_error(ours, frame, pose))
    assert np.mean(errors["layer"]) < 0.8 * np.mean(errors["texture"])


def test_the_frame_glints_as_in_the_picture(wearer: Wearer) -> None:
    """Planes of their own: what of the brightness of the frame the code carries."""
    levels = 15.0 + 80.0 * np.random.default_rng(6).permutation(np.linspace(0.0, 1.0, FRAMES))

    def frames() -> Iterator[Frame]:
        for frame, pose, level in zip(wearer.bare(), wearer.truth, levels, strict=True):
            yield with_glasses(frame, pose, (level, level, level))

    model = enrol(frames, wearer.seen(), replace(SMALL, glasses="yes", registered_frames=0))
    assert model.glasses is not None
    texels = FrontTexels.of(model.glasses, front_opacity(model.opacity))
    face = len(face_table(HeadMesh.open("default")).rows)
    assert (model.coarse >= face).sum() == len(texels.rows) > 200
    strip = np.zeros((512, 512), bool)
    strip[STRIP[0].start // 2 : STRIP[0].stop // 2, STRIP[1].start // 2 :] = True
    assert model.planes[:, texels.rows, texels.columns].any(axis=(0, 2)).mean() > 0.9
    assert not model.planes[:, strip & ~texels.kept(model.planes)].any()
    # Who looks from further aside than the camera did sees them as it did.
    effect = np.zeros((12, 12))
    effect.ravel()[model.active] = (
        np.abs(model.node_view).reshape(3, len(model.active), -1).max((0, 2))
    )
    assert effect[2, 9:].max() == 0.0  # in the middle of the strip
    assert effect[4:6, 3:6].min() > 0.0
    bare = model.planes.copy()
    bare[:, strip] = 0
    options = RenderOptions(depth=False, antialias="none", shadows=False)
    shown: dict[str, list[float]] = {"with": [], "without": [], "true": []}
    with open_renderer("gl", options) as renderer:
        for name, of in (("with", model), ("without", replace(model, planes=bare))):
            avatar = PersonalAvatar(of, "avatars/worn", fade=False)
            moments = zip(frames(), wearer.states, wearer.truth, levels, strict=True)
            for k, (frame, state, pose, level) in enumerate(moments):
                if state.face is None or k % 5 != 2:
                    continue
                code = avatar.encode(state, frame)
                ours = draw_over(renderer, avatar, code, frame)
                shown[name].append(rim_level(ours, frame, pose))
                if name == "with":
                    shown["true"].append(level)
    both = {name: np.corrcoef(shown[name], shown["true"])[0, 1] for name in ("with", "without")}
    slope = np.polyfit(shown["true"], shown["with"], 1)[0]
    assert both["with"] > 0.9
    assert slope > 0.6
    assert abs(np.polyfit(shown["true"], shown["without"], 1)[0]) < 0.25 * slope


def rim_level(ours: npt.NDArray[np.uint8], frame: Frame, pose: Rigid) -> float:
    """Mean code value along the lower halves of the true rims."""
    mask = np.zeros(frame.rgb.shape[:2], np.uint8)
    for side in (1.0, -1.0):
        pixels, _ = project(frame.camera, pose.apply(lens(side)[40:]))
        cv2.polylines(mask, [np.rint(pixels * 16).astype(np.int32)], False, 255, 2, 4, 4)
    return float(ours[mask > 0].mean())


def rim_error(ours: npt.NDArray[np.uint8], frame: Frame, pose: Rigid) -> float:
    """Mean square of the difference in code values along the lower halves of the true rims."""
    mask = np.zeros(frame.rgb.shape[:2], np.uint8)
    for side in (1.0, -1.0):
        pixels, _ = project(frame.camera, pose.apply(lens(side)[40:]))
        cv2.polylines(mask, [np.rint(pixels * 16).astype(np.int32)], False, 255, 5, 4, 4)
    away = ours[mask > 0].astype(float) - frame.rgb[mask > 0]
    return float((away**2).mean())


def test_no_expression_bends_or_moves_them(model: PersonalModel) -> None:
    avatar = PersonalAvatar(model, "avatars/worn")
    code = avatar.encode(resting_state(0, Rigid.from_rotvec((0, 0.3, 0), (0, 0, -0.5))))
    rng = np.random.default_rng(1)
    geometry = rng.normal(size=len(code.geometry)).astype(np.float32)
    appearance = rng.normal(size=len(code.appearance)).astype(np.float32)
    worn = slice(GAINS, GAINS + NUMBERS)
    appearance[worn] = code.appearance[worn]
    moved = avatar.decode_nodes(replace(code, geometry=geometry, appearance=appearance))
    calm = avatar.decode_nodes(code)
    here = calm.topology.parts == PARTS.index("glasses")
    assert here.sum() == len(spectacle_uv())
    np.testing.assert_allclose(moved.vertices[here], calm.vertices[here], atol=1e-6)
    face = calm.topology.parts == PARTS.index("skin")
    assert np.abs(moved.vertices[face] - calm.vertices[face]).max() > 1e-3
    # Their own numbers shift them as a whole: distances stay but for the size's.
    appearance[worn] += (2.0, -1.0, 1.5, 0.0)
    shifted = avatar.decode_nodes(replace(code, appearance=appearance)).vertices[here]
    a, b = calm.vertices[here], shifted
    apart = [np.linalg.norm(v[:, None] - v[None, ::7], axis=2) for v in (a, b)]
    assert np.abs(b - a).max() > 2e-4
    assert np.abs(apart[1] - apart[0]).max() < 2e-4


def test_a_mesh_closes_and_lies_in_its_strip() -> None:
    faces, uv = spectacle_faces(), spectacle_uv()
    vertices = some_spectacles().vertices()
    assert faces.max() == len(uv) - 1 == len(vertices) - 1
    texels = uv * 1024
    assert (texels[:, 0] > STRIP[1].start + 1).all()
    assert (texels[:, 0] < STRIP[1].stop - 1).all()
    assert (texels[:, 1] > STRIP[0].start + 1).all()
    assert (texels[:, 1] < STRIP[0].stop - 1).all()
    corner = vertices[faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    front = normal[: 2 * (ROWS - 1) * (COLUMNS - 1)]
    assert (front[:, 2] > 0).all()
    left = normal[len(front) : len(front) + 4]
    right = normal[len(front) + 4 : len(front) + 8]
    assert (left[:, 0] > 0).all()
    assert (right[:, 0] < 0).all()
    half = len(faces) // 2
    np.testing.assert_allclose(normal[half:], -normal[:half], atol=1e-12)


def some_spectacles() -> Spectacles:
    depth = np.full((ROWS, COLUMNS), 0.03, np.float32)
    temples = np.zeros((2, 3, 2, 3), np.float32)
    for side, x in enumerate((0.07, -0.07)):
        for k, z in enumerate((0.02, -0.05, -0.08)):
            temples[side, k, 0], temples[side, k, 1] = (x, 0.006, z), (x, -0.006, z)
    unit = np.array([1e-3, 1e-3, 0.02, 0.01], np.float32)
    rng = np.random.default_rng(3)
    return Spectacles(
        depth, temples, unit, rng.integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    )


def test_registration_finds_a_known_motion() -> None:
    rng = np.random.default_rng(5)
    picture = cv2.GaussianBlur(rng.normal(128, 90, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 2)
    average = lines_of(np.clip(picture, 0, 255).astype(np.uint8))
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[15:-15, 30:-30] = 255
    true = np.array([1.8, -1.3, 1.2, -0.8, 0.0, 0.0])
    moved = cv2.warpAffine(average, warp_of(true), (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
    moved = np.asarray(moved, np.float32)
    motion, correlation = LineRegistration(average, mask).lay(moved, np.zeros(MOTIONS))
    assert correlation > 0.95
    np.testing.assert_allclose(motion, true, atol=0.1)
    metres = similarity_of(true)
    np.testing.assert_allclose(metres, [1.8 * TEXEL_M, 1.3 * TEXEL_M, -1.2 / ARM, -0.8 / ARM])
    _, nothing = LineRegistration(average, mask).lay(lines_of(
        rng.integers(0, 255, (HEIGHT, WIDTH)).astype(np.uint8)), np.zeros(MOTIONS))  # fmt: skip
    assert nothing < 0.4


def test_glasses_are_found_again_where_they_were_put(wearer: Wearer, model) -> None:
    """Numbers of a code: the pose is told wrongly, and the numbers make up for it."""
    assert model.glasses is not None
    sight = SpectacleSight(model.glasses, front_opacity(model.opacity))
    k = next(i for i, state in enumerate(wearer.states) if state.face is not None)
    frame, face = list(wearer.frames())[k], wearer.states[k].face
    assert face is not None
    zero = np.zeros(NUMBERS, np.float32)
    before, found = sight.find(frame.rgb, frame.camera, face.world_from_head, zero)
    assert found
    off = Rigid.from_rotvec((0, 0, 0), (0.0012, -0.0008, 0.0))
    after, found = sight.find(frame.rgb, frame.camera, face.world_from_head @ off, zero)
    assert found
    shift = (after - before)[:2] * model.glasses.unit[:2]
    np.testing.assert_allclose(shift, (-0.0012, 0.0008), atol=2.5e-4)
    dark = np.zeros_like(frame.rgb)
    again, found = sight.find(dark, frame.camera, face.world_from_head, zero + 0.5)
    assert not found
    assert (again == 0.5).all()


@dataclass(frozen=True)
class Flat:
    """A table whose texels are the vertices themselves."""

    at_vertices: npt.NDArray[np.float32]


def test_what_lies_behind_the_frame_is_hidden() -> None:
    glasses = some_spectacles()
    opacity = np.zeros((HEIGHT, WIDTH), np.float32)
    column, row = 160, 40
    opacity[row - 4 : row + 5, column - 4 : column + 5] = 1.0
    spot = np.array([(column - 119.5) * TEXEL_M, 0.030 - row * 0.07 / 111, 0.03])
    eye = np.array([0.1, 0.05, 0.6], np.float32)
    behind = eye + (spot - eye) * 1.03
    rest = np.array([behind, behind + (0.01, 0.0, 0.0), eye + (spot - eye) * 0.9], np.float32)
    table = Flat(np.eye(3, dtype=np.float32))
    cover = SpectacleCover(glasses, opacity, table, rest)  # pyright: ignore[reportArgumentType]
    hidden = dict(
        zip(cover.rows.tolist(), cover.hidden(rest, np.zeros(4, np.float32), eye), strict=True)
    )
    assert hidden[0] > 0.9
    assert hidden[1] == 0.0
    assert hidden.get(2, 0.0) == 0.0  # in front of the frame
    # Glasses that have slid 10 mm to the left hide what lies there.
    slid = np.array([0.01 / glasses.unit[0], 0, 0, 0], np.float32)
    moved = dict(zip(cover.rows.tolist(), cover.hidden(rest, slid, eye), strict=True))
    assert moved[0] == 0.0
    assert moved[1] > 0.5


def test_a_matte_gives_the_average_back() -> None:
    rng = np.random.default_rng(8)
    behind = np.full((HEIGHT, WIDTH, 3), (190.0, 150.0, 130.0), np.float32)
    reach = np.zeros((HEIGHT, WIDTH), np.uint8)
    reach[20:60, 30:200] = 255
    average = behind + rng.normal(0, 1, behind.shape).astype(np.float32)
    average[38:41, 40:180] = (40.0, 30.0, 30.0)
    average[48:50, 40:180] = (250.0, 250.0, 250.0)
    colours, opacity = matte(average.astype(np.float32), behind, reach)
    alpha = opacity[..., None] / 255.0
    shown = colours * alpha + behind * (1 - alpha)
    lines = np.r_[38:41, 48:50]
    assert np.abs(shown - average)[lines, 45:175].max() < 6.0
    assert opacity[39, 60:160].min() > 230
    assert opacity[:15].max() == 0
    assert opacity[55, 60:160].max() < 30


def test_engines_and_exports_draw_them(model: PersonalModel, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    code = HeadCode(
        rng.normal(size=model.geometry_size).astype(np.float32),
        rng.normal(size=model.appearance_size).astype(np.float32),
        np.array([[0, 0, 1], [0, 0, 1]], np.float32),
        Rigid.from_rotvec((0.1, -0.2, 0.05), (0.0, 0.02, -0.5)),
        np.array([0, 0, 1], np.float32),
    )
    one, two = (open_decoder(name, model).decode(code) for name in ("numpy", "torch"))
    np.testing.assert_allclose(one.vertices, two.vertices, atol=2e-6)
    np.testing.assert_allclose(one.normals, two.normals, atol=2e-4)
    path = tmp_path / "worn.visavis"
    write_avatar_file(path, "worn", model, CONSENT, 1, {}, KEY)
    from avatar.blend_shape_head import open_blend_shape_head
    from avatar.gltf_file import write_gltf

    write_gltf(open_blend_shape_head(str(path)), tmp_path / "worn.glb")
    data = (tmp_path / "worn.glb").read_bytes()
    size = struct.unpack("<I", data[12:16])[0]
    scene = json.loads(data[20 : 20 + size])
    assert "glasses" in [node["name"] for node in scene["nodes"]]
    material = next(m for m in scene["materials"] if m["name"] == "glasses")
    assert material["alphaMode"] == "BLEND"
    assert material["doubleSided"]


def test_onnx_moves_them_too(model: PersonalModel, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    from avatar.onnx_export import decoder_graph

    path = tmp_path / "worn.visavis"
    write_avatar_file(path, "worn", model, CONSENT, 1, {}, KEY)
    kept = read_avatar_file(path).model
    session = runtime.InferenceSession(decoder_graph(str(path)).SerializeToString())
    rng = np.random.default_rng(4)
    geometry = rng.normal(size=(1, kept.geometry_size)).astype(np.float32)
    appearance = rng.normal(size=(1, kept.appearance_size)).astype(np.float32)
    gaze, ahead = np.array([[0, 0, 1], [0, 0, 1]], np.float32), np.array([[0, 0, 1]], np.float32)
    vertices = session.run(
        ["vertices"], {"geometry": geometry, "appearance": appearance, "gaze": gaze, "view": ahead}
    )[0]
    decoded = open_decoder("numpy", kept).decode(
        HeadCode(geometry[0], appearance[0], gaze, Rigid.identity(), ahead[0])
    )
    worn = slice(-len(spectacle_uv()), None)
    np.testing.assert_allclose(vertices[worn], decoded.vertices[worn], atol=2e-6)


def test_both_renderers_agree(model: PersonalModel) -> None:
    """On the glasses alone: the numpy twin takes minutes for a head."""
    avatar = PersonalAvatar(model, "avatars/worn")
    state = resting_state(0, Rigid.from_rotvec((0, 0.2, 0), (0, 0, -0.45)))
    view = View.from_camera(Camera.from_fov((160, 120), np.deg2rad(20.0)))
    whole = avatar.decode(avatar.encode(state), view)
    of, glasses = whole.topology, PARTS.index("glasses")
    faces = of.faces[of.parts[of.faces[:, 0]] == glasses]
    alone = Topology("glasses", faces, of.uv, of.parts, of.surface, of.lit)
    mesh = MeshTexture(0, alone, whole.vertices, whole.normals, whole.albedo)
    options = RenderOptions(depth=False, antialias="none", shadows=False)
    pictures = []
    for name in ("gl", "reference"):
        with open_renderer(name, options) as renderer:
            pictures.append(renderer.draw(mesh, view).rgba[..., :3].astype(int))
    wall = np.median(pictures[0], axis=(0, 1))
    drawn = np.abs(pictures[0] - wall).max(2) > 40
    assert 0.01 < drawn.mean() < 0.3
    # The card reads a smaller level of the picture where it is drawn smaller.
    assert np.abs(pictures[0] - pictures[1])[drawn].mean() < 12.0
    assert np.abs(pictures[0] - pictures[1])[~drawn].mean() < 2.0


def test_files_keep_them_and_old_files_open(
    model: PersonalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "worn.visavis"
    write_avatar_file(path, "worn", model, CONSENT, 1, {}, KEY)
    kept = read_avatar_file(path).model.glasses
    assert kept is not None
    assert model.glasses is not None
    for name in ("depth", "temples", "unit", "average"):
        assert getattr(kept, name).tobytes() == getattr(model.glasses, name).tobytes()
    assert path.stat().st_mode & 0o777 == 0o600
    # Before format 4 what is seen through them was kept as brightness.
    grey = {**model.tensors(), "glasses.average": model.glasses.average[:, :, 1]}
    older = PersonalModel.from_tensors(grey, model.mean, model.opacity).glasses
    assert older is not None
    assert (older.average == model.glasses.average[:, :, 1:2]).all()
    face = len(face_table(HeadMesh.open("default")).rows)
    bare = replace(
        model, glasses=None, opacity=np.full((512, 512), 255, np.uint8),
        coarse=model.coarse[model.coarse < face],
    )  # fmt: skip
    monkeypatch.setattr(avatar_file, "VERSION", 2)
    write_avatar_file(tmp_path / "old.visavis", "old", bare, CONSENT, 1, {}, KEY)
    monkeypatch.undo()
    old = read_avatar_file(tmp_path / "old.visavis")
    assert old.model.glasses is None
    assert old.model.appearance_size == model.appearance_size
    PersonalAvatar(old.model, old.id).close()


@pytest.mark.parametrize(
    "change",
    [
        {"glasses.depth": np.zeros((3, 3), np.float32)},
        {"glasses.depth": np.full((ROWS, COLUMNS), np.nan, np.float32)},
        {"glasses.depth": np.full((ROWS, COLUMNS), 7.0, np.float32)},
        {"glasses.unit": np.zeros(4, np.float64)},
        {"glasses.average": np.zeros((HEIGHT, WIDTH), np.float32)},
        {"glasses.average": np.zeros((HEIGHT, WIDTH, 4), np.uint8)},
        {"glasses.temples": None},
    ],
)
def test_hostile_glasses_are_refused(model: PersonalModel, tmp_path: Path, change) -> None:
    tensors = {**model.tensors(), **change}
    tensors = {name: value for name, value in tensors.items() if value is not None}
    with pytest.raises(ModelError, match=r"glasses|Spectacles"):
        PersonalModel.from_tensors(tensors, model.mean, model.opacity)
    small = np.full((16, 16), 255, np.uint8)
    with pytest.raises(ModelError, match="with glasses"):
        PersonalModel.from_tensors(model.tensors(), model.mean, small)


def test_an_unknown_wish_is_refused() -> None:
    with pytest.raises(ValueError, match="auto, yes, no"):
        EnrolmentOptions(glasses="perhaps")


@pytest.mark.parametrize("name", ["d9", "d10"])
def test_who_wears_glasses(shared_data: Path, name: str) -> None:
    """d9 does, in thin silver wire."""
    with (
        open_source(f"video:{shared_data / 'faces' / f'{name}.mp4'}") as source,
        Tracker.open(TrackerOptions(hands=0)) as tracker,
    ):
        frames = [f for k, f in zip(range(160), source, strict=False) if k % 5 == 0]
        states = [tracker.track(frame) for frame in frames]
    person = Wearer(Path(name), [], states)
    assert (found_in(person, frames) is not None) == (name == "d9")
