"""Captures in the layouts of Multiface and Ava-256: written from a synthetic person, read back."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from apps.screen_losses import DomeScreen, screen_losses
from avatar.datasets.ava256 import Ava256Capture, Ava256Options
from avatar.datasets.capture_files import DatasetError, ply_vertices
from avatar.datasets.capture_split import (
    MULTIFACE_SPLIT,
    CaptureSplit,
    read_camera_split,
)
from avatar.datasets.capture_writer import WrittenMoment, write_ava256, write_multiface
from avatar.datasets.dome_cameras import (
    calibration_text,
    krt_text,
    read_calibration,
    read_krt,
)
from avatar.datasets.losses import (
    MultifaceWeights,
    ava256_kl,
    ava256_rgb,
    ava256_total,
    ava256_vertices,
    multiface_kl,
    multiface_mask,
    multiface_reported_texture,
    multiface_screen,
    multiface_texture,
    multiface_total,
    multiface_vertices,
)
from avatar.datasets.multiface import MultifaceCapture, MultifaceOptions
from avatar.datasets.raw_colour import display_from_raw, raw_from_display
from avatar.datasets.registered_capture import RegisteredMoment
from avatar.datasets.registered_topology import RegisteredTopology, obj_text, read_topology
from avatar.datasets.synthetic_capture import SEGMENTS, SyntheticCapture, dome
from avatar.datasets.view_unwrapping import ViewUnwrapping
from avatar.head_mesh import HeadMesh
from avatar.smooth_normals import SmoothNormals
from render.renderer import Renderer, RenderOptions, open_renderer
from streams.camera import Camera, Distortion
from streams.mesh_texture import MeshTexture
from streams.projection import project
from streams.rigid import Rigid
from streams.topology import Topology
from streams.view import View

SIZE = (167, 256)
TEXTURE = 96
MULTIFACE, AVA_FOLDER = "m--20180227--0000--6795937--GHS", "20210810--1306--FXN596"


def _coordinates() -> np.ndarray:
    """A texture whose red is u and green v, so that a drawn pixel says which texel it shows."""
    at = (np.arange(256, dtype=np.float32) + 0.5) / 256
    picture = np.full((256, 256, 3), 128, np.uint8)
    picture[..., 0] = np.rint(40 + 200 * at)[None, :]
    picture[..., 1] = np.rint(40 + 200 * at)[:, None]
    return picture


@pytest.fixture(scope="module")
def capture() -> SyntheticCapture:
    """Six moments, four cameras, whose pictures show texture coordinates as colours."""
    head = HeadMesh.open("mei")
    options = RenderOptions(depth=False, antialias="none", shadows=False)
    with open_renderer("gl", options) as renderer:

        def draw(made: SyntheticCapture, moment: WrittenMoment, camera: Camera) -> np.ndarray:
            mesh = made.topology
            vertices = mesh.spread(moment.vertices)
            normals = SmoothNormals(mesh.faces, mesh.rows, np.arange(len(vertices))).of(vertices)
            surface = np.full((1, 1, 4), (255, 255, 128, 255), np.uint8)
            parts = np.zeros(len(vertices), np.uint8)
            topology = Topology("capture", mesh.faces, mesh.uv, parts, surface, lit=False)
            placed = moment.world_from_head
            drawn = MeshTexture(
                0,
                topology,
                placed.apply(vertices).astype(np.float32),
                placed.rotate(normals).astype(np.float32),
                _coordinates(),
            )
            rgba = renderer.draw(drawn, View.from_camera(camera)).rgba
            return np.ascontiguousarray(rgba[..., :3])

        return SyntheticCapture.make(
            head, dome(4, SIZE), draw=draw, moments=6, texture_size=TEXTURE, seed=5
        )


@pytest.fixture(scope="module")
def written(capture: SyntheticCapture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both layouts, once."""
    folder = tmp_path_factory.mktemp("captures")
    write_multiface(folder / MULTIFACE, capture.mesh, capture.cameras, capture.moments)
    # The sensor has twice the pixels of the published pictures, as the real one has.
    sensor = (SIZE[0] * 2, SIZE[1] * 2)
    write_ava256(folder / AVA_FOLDER, capture.mesh, capture.cameras, capture.moments, sensor)
    return folder


@pytest.fixture
def multiface(written: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(written / MULTIFACE, tmp_path / MULTIFACE))


@pytest.fixture
def ava(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written / AVA_FOLDER, tmp_path / AVA_FOLDER))


AVA = Ava256Options(sensor_size=(SIZE[0] * 2, SIZE[1] * 2), texture_size=TEXTURE)
RAW = MultifaceOptions(colours="raw", texture_size=TEXTURE, picture_size=SIZE)


def _order(capture: SyntheticCapture) -> list[tuple[WrittenMoment, str]]:
    by_segment = sorted(capture.moments, key=lambda m: (m.segment, m.frame))
    return [(m, name) for m in by_segment for name in capture.cameras]


def _seen_colours(
    read: MultifaceCapture | Ava256Capture, index: int, picture: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For vertices that face the camera: the uv that the pixel under each shows, and its own."""
    moment = read[index]
    camera, pose = read.cameras[moment.camera], read.world_from_head(index)
    pixels, _ = project(camera, pose.apply(moment.vertices))
    normals = SmoothNormals(read.faces, read.topology.rows, np.arange(len(read.uv))).of(
        moment.vertices
    )
    facing = (normals @ moment.view > 0.7) & (pixels > 1).all(1)
    facing &= (pixels < np.array(camera.size) - 2).all(1)
    at = np.rint(pixels[facing]).astype(int)
    shown = picture[at[:, 1], at[:, 0], :2].astype(float)
    return (shown - 40) / 200, read.uv[facing]


# -- Multiface ---------------------------------------------------------------------------------


def test_multiface_gives_back_what_was_written(capture: SyntheticCapture, multiface: Path) -> None:
    read = MultifaceCapture(multiface, RAW)
    written = _order(capture)
    assert len(read) == len(written) == 24
    assert (read.missing.moments, read.missing.views) == (0, 0)
    for index in (0, 5, 23):
        moment, name = written[index]
        got = read[index]
        assert got.camera == name
        assert got.moment == f"{moment.segment}/{moment.frame:06d}"
        # float32 millimetres hold 1e-8 m at 0.2 m.
        count = read.topology.count
        np.testing.assert_allclose(got.vertices[:count], moment.vertices, atol=5e-8)
        np.testing.assert_array_equal(got.vertices, got.vertices[:count][read.topology.rows])
        np.testing.assert_array_equal(got.texture, moment.textures[name])
        np.testing.assert_array_equal(got.seen, moment.textures[name].any(-1))
        pose = read.world_from_head(index)
        assert pose.angle_to(moment.world_from_head) < 1e-9
        np.testing.assert_allclose(pose.xyz, moment.world_from_head.xyz, atol=1e-9)
        eye = capture.cameras[name].world_from_camera.xyz
        towards = moment.world_from_head.inverse().apply(eye)
        np.testing.assert_allclose(got.view, towards / np.linalg.norm(towards), atol=1e-6)
        np.testing.assert_array_equal(read.average_texture(index), moment.average)
        np.testing.assert_array_equal(read.picture(index), moment.pictures[name])
    assert (got.vertices.dtype, got.texture.dtype, got.seen.dtype) == ("f4", "u1", "f4")


def test_multiface_faces_and_uv_are_those_written(
    capture: SyntheticCapture, multiface: Path
) -> None:
    read = MultifaceCapture(multiface, RAW)
    ours, theirs = capture.topology, read.topology
    # The readers' order of vertices is its own, so corners are compared.
    np.testing.assert_array_equal(theirs.rows[theirs.faces], ours.rows[ours.faces])
    np.testing.assert_allclose(theirs.uv[theirs.faces], ours.uv[ours.faces], atol=1e-7)
    assert len(theirs.uv) > theirs.count  # the cuts of the texture were split


def test_multiface_vertices_land_where_they_were_drawn(multiface: Path) -> None:
    read = MultifaceCapture(multiface, RAW)
    for index in range(4):
        shown, own = _seen_colours(read, index, read.picture(index))
        # A pixel is 1.7 mm, about 0.006 of the atlas; a code value 0.005; rims hide some.
        assert np.median(np.abs(shown - own)) < 0.008
        assert np.percentile(np.abs(shown - own), 90) < 0.03


def test_multiface_shows_raw_values_as_their_authors_do(multiface: Path) -> None:
    raw = MultifaceCapture(multiface, RAW)[3]
    shown = MultifaceCapture(multiface, replace(RAW, colours="display"))[3]
    lit = raw.seen > 0
    np.testing.assert_array_equal(shown.texture[lit], display_from_raw(raw.texture[lit]))
    assert not shown.texture[~lit].any()


def test_raw_colours_come_back_where_showing_does_not_clip() -> None:
    raw = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    shown = display_from_raw(raw).astype(int)
    assert (np.diff(shown, axis=0) >= 0).all()
    inside = (shown > 0) & (shown < 255)
    back = raw_from_display(shown)
    # The root is flattest at white, where half a shown value is 1.1 raw ones in green.
    assert np.abs(back - raw)[inside].max() <= 1.12
    # The published formula, written out once more.
    x = np.array([30, 60, 90]) / 255.0 * [1.4, 1.1, 1.6] / 1.1
    plain = (0.95 / (1 - 3 / 255) * (x - 3 / 255)) ** 0.5 - 15 / 255
    got = display_from_raw(np.array([[30, 60, 90]], np.uint8))[0]
    np.testing.assert_allclose(got / 255.0, plain, atol=0.5 / 255)


def test_multiface_splits_by_segment_and_camera(multiface: Path) -> None:
    whole = MultifaceCapture(multiface, RAW)
    names = list(whole.cameras)
    split = CaptureSplit(MULTIFACE_SPLIT.test_segments, tuple(names[:3]), (names[3],))
    train = MultifaceCapture(multiface, replace(RAW, part="train", split=split))
    test = MultifaceCapture(multiface, replace(RAW, part="test", split=split))
    assert len(train) == 4 * 3
    assert len(test) == 2 * 1
    assert {test[i].moment.split("/")[0] for i in range(2)} == {"EXP_free_face"}
    assert test[0].camera == names[3]
    assert not any(train[i].moment.startswith("EXP_free_face") for i in range(len(train)))
    with pytest.raises(ValueError, match="expected one of 'train', 'test', 'all'"):
        MultifaceCapture(multiface, replace(RAW, part="tset"))


def test_camera_split_file(tmp_path: Path) -> None:
    path = tmp_path / "camera-split-config_1.json"
    path.write_text('{"full": {"train": ["400002", "400009"], "test": ["400016"]}}')
    split = read_camera_split(path, ("EXP_ROM",))
    assert split.cameras("test", ["400002", "400016", "9"]) == ("400016",)
    assert split.has_segment("test", "EXP_ROM07")
    assert not split.has_segment("train", "EXP_ROM07")
    path.write_text("{}")
    with pytest.raises(DatasetError, match=r"camera-split-config_1\.json: expected JSON with"):
        read_camera_split(path, ())


def test_multiface_counts_missing_frames_and_leaves_them_out(
    capture: SyntheticCapture, multiface: Path
) -> None:
    first, second = capture.moments[0], capture.moments[1]
    names = list(capture.cameras)
    uv = multiface / "unwrapped_uv_1024"
    (uv / first.segment / names[1] / f"{first.frame:06d}.png").unlink()
    (uv / second.segment / "average" / f"{second.frame:06d}.png").unlink()
    third = capture.moments[2]
    (multiface / "tracked_mesh" / third.segment / f"{third.frame:06d}.bin").unlink()
    read = MultifaceCapture(multiface, RAW)
    assert (read.missing.moments, read.missing.views) == (2, 1)
    assert len(read) == 4 * 4 - 1
    shutil.rmtree(uv)
    with pytest.raises(DatasetError, match=r"found none of the 6 .* downloaded\?"):
        MultifaceCapture(multiface, RAW)


def test_multiface_without_obj_files_takes_a_topology(multiface: Path, ava: Path) -> None:
    meshes = list((multiface / "tracked_mesh").rglob("*.obj"))
    kept = MultifaceCapture(multiface, RAW).topology
    for mesh in meshes:
        mesh.unlink()
    with pytest.raises(DatasetError, match=r"tracked_mesh: expected an OBJ file"):
        MultifaceCapture(multiface, RAW)
    given = replace(RAW, topology=ava / "face_topology.obj")
    np.testing.assert_array_equal(MultifaceCapture(multiface, given).faces, kept.faces)


def test_multiface_reduces_textures_without_bleeding_black(multiface: Path) -> None:
    full, half = (MultifaceCapture(multiface, replace(RAW, texture_size=n))[0] for n in (96, 48))
    assert half.texture.shape == (48, 48, 3)
    whole = full.seen.reshape(48, 2, 48, 2).mean((1, 3))
    np.testing.assert_allclose(half.seen, whole, atol=1e-6)
    total = (full.texture.astype(float) * full.seen[..., None]).reshape(48, 2, 48, 2, 3)
    wanted = total.sum((1, 3)) / np.maximum(whole * 4, 1)[..., None]
    lit = whole > 0
    assert np.abs(half.texture[lit] - wanted[lit]).max() <= 0.51


@pytest.mark.parametrize(
    ("file", "content", "match"),
    [
        ("tracked_mesh/{s}/{f}.bin", b"\0" * 30, r"000100\.bin: expected float32 x y z"),
        ("tracked_mesh/{s}/{f}.bin", b"\0" * 24, r"000100\.bin: expected \d+ vertices, got 2"),
        ("tracked_mesh/{s}/{f}_transform.txt", b"1 0 0", r"_transform\.txt: expected a head pose"),
        ("tracked_mesh/{s}/{f}_transform.txt", b"2 " * 12, r"_transform\.txt: expected a head"),
        ("unwrapped_uv_1024/{s}/{c}/{f}.png", b"no picture", r"000100\.png: expected a picture"),
        ("unwrapped_uv_1024/{s}/{c}/{f}.png", None, r"000100\.png: expected a whole picture"),
    ],
)
def test_a_damaged_file_is_named(
    capture: SyntheticCapture, multiface: Path, file: str, content: bytes | None, match: str
) -> None:
    first = _order(capture)[0][0]
    name = next(iter(capture.cameras))
    path = multiface / file.format(s=first.segment, f=f"{first.frame:06d}", c=name)
    path.write_bytes(path.read_bytes()[:300] if content is None else content)
    read = MultifaceCapture(multiface, RAW)
    with pytest.raises(DatasetError, match=match):
        read[0]


@pytest.mark.parametrize(
    ("file", "content", "match"),
    [
        ("frame_list.txt", "", r"frame_list\.txt: expected frames, found none"),
        ("frame_list.txt", "A 1 2\n", r"frame_list\.txt, line 1: expected SEGMENT FRAME"),
        ("KRT", "400002\n1 0 0\n", r"KRT: expected 8 lines a camera, got 2"),
        ("KRT", "c\n" + "1 0 0\n" * 3 + "0 0 0 0 x\n" + "1 0 0 0\n" * 3, "expected numbers"),
        ("KRT", "c\n" + "1 0 0\n" * 3 + "0 0 0 0 0\n" + "1 0 0 0\n" * 3, "without skew"),
    ],
)
def test_a_damaged_list_is_named(multiface: Path, file: str, content: str, match: str) -> None:
    (multiface / file).write_text(content)
    with pytest.raises(DatasetError, match=match):
        MultifaceCapture(multiface, RAW)


def test_a_folder_that_is_no_capture(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"frame_list\.txt: expected .* give the folder m--"):
        MultifaceCapture(tmp_path)
    with pytest.raises(DatasetError, match=r"frame_list\.csv: expected .* give the folder DATE"):
        Ava256Capture(tmp_path)


# -- Ava-256 -----------------------------------------------------------------------------------


def test_ava256_gives_back_what_was_written(capture: SyntheticCapture, ava: Path) -> None:
    with Ava256Capture(ava, AVA) as read:
        count = read.topology.count
        names = list(capture.cameras)
        assert len(read) == 24
        for index in (0, 23):
            moment, name = capture.moments[index // 4], names[index % 4]
            got = read[index]
            assert (got.moment, got.camera) == (f"{moment.segment}/{moment.frame:06d}", name)
            np.testing.assert_allclose(got.vertices[:count], moment.vertices, atol=5e-8)
            assert read.world_from_head(index).angle_to(moment.world_from_head) < 1e-9
            # AVIF keeps luminance and chroma, each rounded.
            error = read.picture(index).astype(int) - moment.pictures[name]
            assert np.abs(error).max() <= 3
            camera = read.cameras[name]
            assert camera.size == SIZE
            np.testing.assert_allclose(camera.centre, capture.cameras[name].centre, atol=1e-9)
            np.testing.assert_allclose(camera.focal, capture.cameras[name].focal, rtol=1e-9)


def test_ava256_pictures_are_unwrapped_to_the_texels_they_show(ava: Path) -> None:
    with Ava256Capture(ava, AVA) as read:
        for index in range(4):
            got = read[index]
            sure = got.seen > 0.9
            assert sure.mean() > 0.08
            at = (np.arange(TEXTURE) + 0.5) / TEXTURE
            error_u = (got.texture[..., 0] - 40.0) / 200 - at[None, :]
            error_v = (got.texture[..., 1] - 40.0) / 200 - at[:, None]
            for error in (error_u[sure], error_v[sure]):
                assert np.median(np.abs(error)) < 0.006
                # Sight is judged corner by corner: beside lips and nostrils some texels slip in.
                assert np.percentile(np.abs(error), 95) < 0.03
            assert not got.texture[got.seen == 0].any()
            shown, own = _seen_colours(read, index, read.picture(index))
            assert np.median(np.abs(shown - own)) < 0.008


def test_what_the_mesh_hides_is_not_unwrapped() -> None:
    """Two squares that face the camera, the smaller one before the other's left half."""
    square = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32)
    front = 0.04 * square + (-0.05, 0, 0.03)
    grid = np.linspace(-0.1, 0.1, 21, dtype=np.float32)
    x, y = np.meshgrid(grid, grid)
    back = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1)
    k = (np.arange(20)[:, None] * 21 + np.arange(20)[None]).ravel()
    faces = np.concatenate(
        [np.stack([k, k + 1, k + 22], 1), np.stack([k, k + 22, k + 21], 1), [[441, 442, 443]]]
    )
    faces = np.concatenate([faces, [[441, 443, 444]]]).astype(np.int32)
    vertices = np.concatenate([back, front]).astype(np.float32)
    uv = [(back[:, :2] + 0.1) * (2.4, -4) + (0, 0.9), (square[:, :2] + 1) * 0.1 + (0.6, 0.1)]
    topology = RegisteredTopology(
        faces, np.concatenate(uv).astype(np.float32), np.arange(445, dtype=np.int32), 445
    )
    camera = Camera.from_fov((200, 200), 0.3)
    red = np.full((200, 200, 3), (255, 0, 0), np.uint8)
    texture, seen = ViewUnwrapping(topology, 100).of(
        red, camera, Rigid.from_translation((0, 0, -1.0)), vertices
    )
    at = np.argwhere(np.ones((100, 100))) / 100
    of_back = (at[:, 1] < 0.48) & (at[:, 0] > 0.1) & (at[:, 0] < 0.9)
    place = np.stack([at[:, 1] / 2.4 - 0.1, (0.9 - at[:, 0]) / 4 - 0.1], axis=1)
    # The front square, seen from 1 m, covers this of the back one; a triangle more may go.
    off = np.abs(place - (-0.0515, 0)) - 0.0412
    covered, free = (off < -0.003).all(1), (off > 0.013).any(1)
    flat = seen.reshape(-1)
    assert (of_back & covered).sum() > 300
    assert not flat[of_back & covered].any()
    assert (flat[of_back & free] > 0.99).mean() > 0.97
    assert (texture.reshape(-1, 3)[flat > 0] == (255, 0, 0)).all()


def test_ava256_average_textures(capture: SyntheticCapture, ava: Path) -> None:
    shutil.rmtree(ava / "decoder" / "image")
    with pytest.raises(DatasetError, match=r"image: expected camCAMERA\.zip"):
        Ava256Capture(ava, AVA)
    with Ava256Capture(ava, replace(AVA, textures="average")) as read:
        assert len(read) == 6
        got = read[2]
        assert got.camera == "average"
        error = got.texture.astype(int) - capture.moments[2].average
        assert np.abs(error).max() <= 3
        with pytest.raises(ValueError, match="textures='camera'"):
            read.picture(0)


def test_ava256_reads_unpacked_archives_and_splits(capture: SyntheticCapture, ava: Path) -> None:
    inner = ava / "decoder"
    for archive in list(inner.rglob("*.zip")):
        to = archive.with_suffix("")
        shutil.unpack_archive(archive, to)
        archive.unlink()
    with Ava256Capture(inner, replace(AVA, part="test")) as read:
        assert len(read) == 8
        assert read[0].moment.startswith("EXP_free_face/")
        expected = capture.moments[2].vertices
        np.testing.assert_allclose(read[0].vertices[: len(expected)], expected, atol=5e-8)


def test_ava256_travels_to_another_process(ava: Path) -> None:
    with Ava256Capture(ava, AVA) as read:
        before = read[1]
        with pickle.loads(pickle.dumps(read)) as copy:
            np.testing.assert_array_equal(copy[1].texture, before.texture)


def test_ava256_counts_missing_pictures(capture: SyntheticCapture, ava: Path) -> None:
    moments = list(capture.moments)
    names = list(capture.cameras)
    fewer = {k: v for k, v in moments[0].pictures.items() if k != names[2]}
    moments[0] = replace(moments[0], pictures=fewer)
    again = ava.with_name("again")
    write_ava256(again, capture.mesh, capture.cameras, moments, AVA.sensor_size)
    listed = again / "decoder" / "frame_list.csv"
    listed.write_text(listed.read_text() + "EXP_free_face,999\n")
    with Ava256Capture(again, AVA) as read:
        assert (read.missing.moments, read.missing.views) == (1, 1)
        assert len(read) == 23


def test_ava256_damage_is_named(ava: Path) -> None:
    inner = ava / "decoder"
    archive = inner / "image" / "cam400002.zip"
    data = bytearray(archive.read_bytes())
    data[120:400] = bytes(280)
    archive.write_bytes(data)
    with pytest.raises(DatasetError, match=r"cam400002\.zip, .*download"):
        Ava256Capture(ava, AVA)
    archive.write_bytes(data[:-200])
    with pytest.raises(DatasetError, match=r"cam400002\.zip: expected a ZIP archive"):
        Ava256Capture(ava, AVA)
    (ava / "face_topology.obj").unlink()
    archive.unlink()
    with pytest.raises(DatasetError, match=r"face_topology\.obj: expected this file"):
        Ava256Capture(ava, AVA)


def test_ply_files_of_other_kinds() -> None:
    text = "ply\nformat ascii 1.0\nelement vertex 2\nproperty double y\nproperty float x\n"
    text += "property int q\nproperty float z\nend_header\n2 1 9 3\n5 4 9 6\n"
    got = ply_vertices(text.encode(), "a.ply")
    np.testing.assert_allclose(got, [[0.001, 0.002, 0.003], [0.004, 0.005, 0.006]])
    with pytest.raises(DatasetError, match=r"a\.ply: expected a PLY file"):
        ply_vertices(b"PK\3\4", "a.ply")
    with pytest.raises(DatasetError, match=r"a\.ply: expected a PLY file with x y z"):
        ply_vertices(text.encode()[:-12], "a.ply")


# -- cameras and topology ----------------------------------------------------------------------


def test_cameras_keep_distortion_and_place(tmp_path: Path) -> None:
    cameras = dome(5, (1334, 2048))
    names = list(cameras)
    bent = Distortion("pinhole_brown", (-0.07, 0.04, -0.003, 0.002, 0.0))
    cameras[names[1]] = replace(cameras[names[1]], distortion=bent)
    (tmp_path / "KRT").write_text(krt_text(cameras))
    (tmp_path / "camera_calibration.json").write_text(calibration_text(cameras))
    points = np.random.default_rng(3).normal(size=(50, 3)) * 0.1 + (0.0, 0.0, -1.0)
    for read in (
        read_krt(tmp_path / "KRT", (1334, 2048)),
        read_calibration(tmp_path / "camera_calibration.json", (1334, 2048)),
    ):
        assert list(read) == names
        for name, camera in cameras.items():
            wanted, depth = project(camera, points)
            pixels, got = project(read[name], points)
            np.testing.assert_allclose(pixels, wanted, atol=1e-6)
            np.testing.assert_allclose(got, depth, atol=1e-9)


def test_krt_projects_as_its_matrices_say(tmp_path: Path) -> None:
    """K [R|t] on millimetres in the dome's own axes, against ours."""
    turn = np.array([[0.97, 0.035, 0.238], [-0.108, 0.947, 0.301], [-0.215, -0.318, 0.923]])
    u, _, v = np.linalg.svd(turn)
    rotation, offset = u @ v, np.array([-270.26, -291.67, 121.37])
    rows = "\n".join(" ".join(map(repr, [*map(float, r), float(t)]))
                     for r, t in zip(rotation, offset, strict=True))  # fmt: skip
    text = f"400069\n7724.5 0.0 797.0\n0.0 7725.5 924.25\n0.0 0.0 1.0\n0 0 0 0 0\n{rows}\n\n"
    (tmp_path / "KRT").write_text(text)
    camera = read_krt(tmp_path / "KRT", (1334, 2048))["400069"]
    dome_mm = np.array([[30.0, -50.0, 1100.0], [-20.0, 80.0, 950.0]])
    in_camera = dome_mm @ rotation.T + offset
    wanted = in_camera[:, :2] / in_camera[:, 2:] * (7724.5, 7725.5) + (797.0, 924.25)
    ours = dome_mm * (0.001, -0.001, -0.001)
    pixels, depth = project(camera, ours)
    np.testing.assert_allclose(pixels, wanted, atol=1e-6)
    np.testing.assert_allclose(depth, in_camera[:, 2] / 1000, atol=1e-9)


def test_topology_of_an_obj(tmp_path: Path) -> None:
    path = tmp_path / "mesh.obj"
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.25]], np.float32)
    corners = np.array([[[0, 0], [1, 1], [2, 2]], [[0, 4], [2, 2], [4, 3]]])
    path.write_text(obj_text(np.zeros((5, 3)), uv, corners))
    mesh = read_topology(path)
    assert mesh.count == 5
    assert len(mesh.uv) == 6
    np.testing.assert_array_equal(mesh.rows, [0, 1, 2, 3, 4, 0])
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [5, 2, 4]])
    np.testing.assert_allclose(mesh.uv[mesh.faces], uv[corners[..., 1]])
    np.testing.assert_array_equal(mesh.used, [0, 1, 2, 4])
    path.write_text("v 0 0 0\nv 0 0 0\nv 0 0 0\nv 0 0 0\nvt 0 0\nf 1/1 2/1 3/1 4/1\n")
    np.testing.assert_array_equal(read_topology(path).faces, [[0, 1, 2], [0, 2, 3]])
    for text, match in (
        ("v 0 0 0\nf 1 1 1\n", "line 2: a face without texture"),
        ("v 0 0 0\nvt 0 0\nf 1/1 1/1 7/1\n", "expected indices of 1 vertices"),
        ("v 0 0 0\n", "expected a mesh with faces"),
    ):
        path.write_text(text)
        with pytest.raises(DatasetError, match=match):
            read_topology(path)


# -- losses ------------------------------------------------------------------------------------


def test_multiface_losses_are_those_of_its_code() -> None:
    """Its own steps, in numpy: normalise, undo, divide by 255, mask, and scale back."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 256, (2, 8, 8, 3)).astype(np.float64)
    truth[rng.random(truth.shape) < 0.2] = 0
    found = truth + rng.normal(size=truth.shape) * 9
    mean, std = rng.uniform(50, 90, (8, 8, 3)), 31.5
    normalised, normal_found = (truth - mean) / std, (found - mean) / std
    mask = 1.0 - (truth == 0)
    normalised[truth == 0] = 0.0  # as its loader does; the mask covers it again
    undone, undone_found = ((x * std + mean) / 255.0 for x in (normalised, normal_found))
    wanted = np.mean((undone_found * mask - undone * mask) ** 2) * 255**2 / std**2
    t = torch.from_numpy
    np.testing.assert_array_equal(multiface_mask(t(truth)).numpy(), mask)
    texture = multiface_texture(t(found), t(truth), t(mask), std)
    assert float(texture) == pytest.approx(wanted, rel=1e-12)
    assert float(multiface_reported_texture(texture, std)) == pytest.approx(wanted * std**2)

    vertices = rng.normal(size=(2, 11, 3)) * 0.1
    moved = vertices + rng.normal(size=vertices.shape) * 1e-3
    in_mm, moved_mm, std_mm = vertices * 1e3, moved * 1e3, 8.5
    wanted = np.mean(((moved_mm - 5) / std_mm - (in_mm - 5) / std_mm) ** 2)
    shape = multiface_vertices(t(moved), t(vertices), std_mm * 1e-3)
    assert float(shape) == pytest.approx(wanted, rel=1e-9)

    weight = rng.random((2, 8, 8, 3))
    wanted = np.mean((found / 255 - truth / 255) ** 2 * weight) * 255**2 / std**2
    screen = multiface_screen(t(found), t(truth), t(weight), std)
    assert float(screen) == pytest.approx(wanted, rel=1e-12)

    mu, log_std = 0.1 * rng.normal(size=(2, 16)), 0.01 * rng.normal(size=(2, 16))
    wanted = 0.5 * np.mean(np.exp(2 * log_std) + mu**2 - 1.0 - 2 * log_std)
    kl = multiface_kl(t(mu), t(log_std))
    assert float(kl) == pytest.approx(wanted, rel=1e-9)
    total = multiface_total(shape, texture, screen, kl)
    assert float(total) == pytest.approx(float(shape) + float(texture) + 0.01 * float(kl))
    with_screen = multiface_total(shape, texture, screen, kl, MultifaceWeights(screen=2.0))
    assert float(with_screen - total) == pytest.approx(2 * float(screen))


def test_ava256_losses_are_those_of_its_code() -> None:
    rng = np.random.default_rng(2)
    t = torch.from_numpy
    truth, found = rng.uniform(0, 255, (2, 2, 6, 5, 3))
    rgb = ava256_rgb(t(found), t(truth))
    assert float(rgb) == pytest.approx(np.abs(found - truth).mean(), rel=1e-12)
    vertices, moved = rng.normal(size=(2, 2, 7, 3)) * 0.1
    shape = ava256_vertices(t(moved), t(vertices))
    assert float(shape) == pytest.approx(np.abs(moved * 1e3 - vertices * 1e3).mean(), rel=1e-9)
    mu, log_std = rng.normal(size=(2, 2, 16, 4, 4))
    per = np.mean(
        -0.5 + np.abs(log_std) + 0.5 * mu**2 + 0.5 * np.exp(2 * -1 * np.abs(log_std)), axis=-1
    )
    kl = ava256_kl(t(mu), t(log_std))
    assert float(kl) == pytest.approx(per.mean(), rel=1e-12)
    wanted = float(rgb) + 0.1 * float(shape) + 1e-3 * float(kl)
    assert float(ava256_total(rgb, shape, kl)) == pytest.approx(wanted)


def test_losses_descend() -> None:
    found = torch.zeros(1, 4, 4, 3, requires_grad=True)
    truth = torch.full((1, 4, 4, 3), 9.0)
    multiface_texture(found, truth, multiface_mask(truth), 3.0).backward()
    assert found.grad is not None
    assert (found.grad < 0).all()


def test_normalisation_of_both_layouts(
    capture: SyntheticCapture, multiface: Path, ava: Path
) -> None:
    vertices = np.stack([m.vertices for m in capture.moments]).astype(np.float64)
    deviation = np.sqrt(np.square(vertices - vertices.mean(0)).mean())
    textures = np.stack([t for m in capture.moments for t in m.textures.values()]).astype(float)
    spread = np.sqrt(np.square(textures - textures.mean(0)).mean())
    theirs = MultifaceCapture(multiface, RAW).normalisation()
    with Ava256Capture(ava, AVA) as read:
        other = read.normalisation()
    for one in (theirs, other):
        np.testing.assert_allclose(one.vertex_mean, vertices.mean(0), atol=1e-7)
        assert one.vertex_std == pytest.approx(deviation, rel=1e-6)
        assert one.texture_mean.shape == (TEXTURE, TEXTURE, 3)
    assert theirs.texture_std == pytest.approx(spread, rel=1e-9)
    np.testing.assert_allclose(theirs.texture_mean, textures.mean(0), atol=0.51)


# -- losses in the picture ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    options = RenderOptions(antialias="none", shadows=False)
    with open_renderer("gl", options) as opened:
        yield opened


def _half(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    return values.astype(np.float64) * 0.5


def test_the_true_mesh_drawn_is_what_the_camera_took(
    multiface: Path, ava: Path, renderer: Renderer
) -> None:
    true = MultifaceCapture(multiface, RAW)

    def repeat(moment: RegisteredMoment) -> tuple[np.ndarray, np.ndarray]:
        return moment.vertices, _coordinates()

    figures = screen_losses(true, range(4), repeat, renderer, 20.0)
    # float32 vertices move a rim by a pixel here and there.
    assert figures.rgb < 0.05
    assert figures.screen < 0.01
    assert 0.1 < figures.covered < 0.5
    with Ava256Capture(ava, AVA) as read:
        assert screen_losses(read, range(4), repeat, renderer, 20.0).rgb < 1.0

    def brighter(moment: RegisteredMoment) -> tuple[np.ndarray, np.ndarray]:
        return moment.vertices, _coordinates() + np.uint8(10)

    worse = screen_losses(true, range(4), brighter, renderer, 20.0)
    assert worse.rgb == pytest.approx(10.0, abs=0.1)
    # 10 code values on the mesh alone, in the picture's mean, in deviations of 20.
    assert worse.screen == pytest.approx(worse.covered * 100 / 400, rel=0.05)
    halved = screen_losses(true, range(4), brighter, renderer, 20.0, raw=_half)
    assert halved.rgb == pytest.approx(5.0, abs=0.1)
    assert "4 pictures" in str(halved)


def test_a_lens_bends_the_drawing(capture: SyntheticCapture, renderer: Renderer) -> None:
    moment = capture.moments[0]
    mesh = capture.topology
    plain = next(iter(capture.cameras.values()))
    bent = replace(
        plain, name="bent", distortion=Distortion("pinhole_brown", (2.0, 0.0, 0.05, -0.03, 0.0))
    )
    vertices = mesh.spread(moment.vertices)
    drawn, there = DomeScreen(mesh, renderer).draw(
        vertices, _coordinates(), bent, moment.world_from_head
    )
    pixels, _ = project(bent, moment.world_from_head.apply(vertices))
    straight, _ = project(plain, moment.world_from_head.apply(vertices))
    normals = SmoothNormals(mesh.faces, mesh.rows, np.arange(len(mesh.uv))).of(vertices)
    facing = normals[:, 2] > 0.7
    facing &= (pixels > 1).all(1) & (pixels < np.array(SIZE) - 2).all(1)
    moved = np.linalg.norm(pixels - straight, axis=1)[facing]
    assert moved.max() > 3.0
    at = np.rint(pixels[facing]).astype(int)
    assert there[at[:, 1], at[:, 0]].mean() > 0.97
    shown = (drawn[at[:, 1], at[:, 0], :2].astype(float) - 40) / 200
    error = np.abs(shown - mesh.uv[facing])
    assert np.median(error) < 0.008


# -- the registered real face ------------------------------------------------------------------


def test_the_registered_face_loads(shared_data: Path) -> None:
    folder = shared_data / "ava256"
    cameras = read_krt(folder / "KRT", (1334, 2048))
    mesh = read_topology(folder / "face_topology.obj")
    assert (len(cameras), mesh.count, len(mesh.faces)) == (38, 7306, 11432)
    assert cameras["400029"].world_from_camera.xyz == pytest.approx([0, 0, 0], abs=1e-6)
    with Image.open(folder / "021924_avgtex.png") as picture:
        assert picture.size == (1024, 1024)


def test_segments_of_the_synthetic_capture_are_split() -> None:
    kept = [s for s in SEGMENTS if MULTIFACE_SPLIT.has_segment("train", s)]
    assert len(kept) == 2
