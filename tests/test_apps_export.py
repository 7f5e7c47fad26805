"""`visavis export`: what other programs find in the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apps.command import FAILED, USAGE, run
from avatar.avatar_file import read_avatar_file
from avatar.blend_shape_head import BlendShapeHead, open_blend_shape_head
from avatar.head_mesh import HeadMesh
from avatar.linear_rig import rig_vertices
from avatar.mesh_file import read_mesh
from avatar.personal_avatar import PersonalAvatar, resting_state
from benchmarks.morph_sheet import GlbFile, MorphHead
from streams.face_shapes import FACE_SHAPES, SHAPE_INDEX
from streams.rigid import Rigid
from tests.gltf_validator import gltf_issues

EXACT_M = 5e-6
"""Metres: moves below a micrometre a coordinate are left out of the file."""


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("glb") / "head.glb"
    assert run(["export", "amara", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def personal(small_avatar: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("glb") / "me.glb"
    assert run(["export", str(small_avatar), "--out", str(out)]) == 0
    return out


def node(file: GlbFile, name: str) -> dict:
    return next(n for n in file.json["nodes"] if n["name"] == name)


def test_shapes_are_arkits_in_order_and_move_as_the_rig_does(shipped: Path) -> None:
    file, head = GlbFile.read(shipped), HeadMesh.open("amara")
    face = file.json["meshes"][node(file, "face")["mesh"]]
    assert tuple(face["extras"]["targetNames"]) == FACE_SHAPES
    assert all(len(p["targets"]) == 52 for p in face["primitives"])
    rng = np.random.default_rng(5)
    weights = rng.uniform(0, 1, 52).astype(np.float32)
    named = {name: float(w) for name, w in zip(FACE_SHAPES, weights, strict=True)}
    got = MorphHead(file).mesh(named, Rigid.identity())
    straight = np.array([[0, 0, 1], [0, 0, 1]], np.float32)
    wanted = rig_vertices(head, weights, straight)
    # Primitives hold the vertices part by part: compare as sets, by the texture coordinates.
    keys = np.round(np.column_stack([got.topology.uv, got.topology.parts]), 5)
    mine = np.round(np.column_stack([head.uv, head.parts]), 5)
    order, other = np.lexsort(keys.T), np.lexsort(mine.T)
    np.testing.assert_array_equal(keys[order], mine[other])
    apart = np.abs(got.vertices[order] - wanted[other]).max(1)
    assert np.mean(apart < 1e-4) > 0.97  # texture coordinates are shared by a few
    assert np.abs(got.vertices.sum(0) - wanted.sum(0)).max() < 1e-2


@pytest.mark.parametrize("which", ["shipped", "personal"])
def test_every_array_keeps_the_rules(which: str, request: pytest.FixtureRequest) -> None:
    file = GlbFile.read(request.getfixturevalue(which))
    for index, a in enumerate(file.json["accessors"]):
        values = file.accessor(index)
        if "min" in a:
            np.testing.assert_array_equal(values.min(0), np.float32(a["min"]))
            np.testing.assert_array_equal(values.max(0), np.float32(a["max"]))
    moved = 0
    for mesh in file.json["meshes"]:
        for p in mesh["primitives"]:
            places = file.accessor(p["attributes"]["POSITION"])
            normals = file.accessor(p["attributes"]["NORMAL"])
            corners = file.accessor(p["indices"]).reshape(-1, 3).astype(int)
            assert corners.max() == len(places) - 1
            assert np.abs(np.linalg.norm(normals, axis=1) - 1).max() < 1e-3
            a, b, c = (places[corners[:, k]] for k in range(3))
            facing = (np.cross(b - a, c - a) * normals[corners].sum(1)).sum(1)
            material = file.json["materials"][p["material"]]
            if material["name"] not in ("hair", "lash"):  # cards have two sides
                assert np.mean(facing >= -1e-12) > 0.99
            uv = file.accessor(p["attributes"]["TEXCOORD_0"])
            assert 0.0 <= uv.min() <= uv.max() <= 1.0
            moved += sum(
                bool(file.accessor(target["POSITION"]).any()) for target in p.get("targets", [])
            )
    assert moved >= 52


def test_shape_normals_are_those_of_the_moved_surface(shipped: Path) -> None:
    file = GlbFile.read(shipped)
    skin = next(
        p for p in file.json["meshes"][node(file, "face")["mesh"]]["primitives"]
        if file.json["materials"][p["material"]]["name"] == "skin"
    )  # fmt: skip
    target = skin["targets"][SHAPE_INDEX["jawOpen"]]
    rest = file.accessor(skin["attributes"]["POSITION"])
    before = file.accessor(skin["attributes"]["NORMAL"])
    places, normals = (
        rest + file.accessor(target["POSITION"]),
        before + file.accessor(target["NORMAL"]),
    )
    corners = file.accessor(skin["indices"]).reshape(-1, 3).astype(int)
    # The texture's cuts part vertices that are one point of the surface.
    _, point = np.unique(np.round(rest, 6), axis=0, return_inverse=True)
    a, b, c = (places[corners[:, k]] for k in range(3))
    total = np.zeros((point.max() + 1, 3))
    for k in range(3):
        np.add.at(total, point.ravel()[corners[:, k]], np.cross(b - a, c - a))
    wanted = total[point.ravel()]
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True) + 1e-20
    turned = (wanted * before).sum(1) < 0.9
    assert turned.sum() > 100
    assert np.mean((wanted * normals).sum(1)[turned] > 0.999) > 0.8  # rims of other parts differ


def test_eyes_turn_about_their_centres_and_look_ahead(shipped: Path, personal: Path) -> None:
    head = HeadMesh.open("amara")
    for path in (shipped, personal):
        file = GlbFile.read(path)
        for eye, name in enumerate(("eye-left", "eye-right")):
            n = node(file, name)
            primitive = file.json["meshes"][n["mesh"]]["primitives"][0]
            away = np.linalg.norm(file.accessor(primitive["attributes"]["POSITION"]), axis=1)
            assert np.ptp(away) < 0.1 * away.mean()  # the cornea alone stands out
            assert n["translation"][0] * (1, -1)[eye] > 0.02  # left is +x
            if path == shipped:
                np.testing.assert_allclose(n["translation"], head.eyes[eye], atol=1e-6)


def test_materials_textures_and_who_it_is(shipped: Path, personal: Path) -> None:
    file, head = GlbFile.read(shipped), HeadMesh.open("amara")
    np.testing.assert_array_equal(file.picture(0)[..., :3], head.albedo)
    np.testing.assert_array_equal(file.picture(0)[..., 3], head.surface[..., 3])
    np.testing.assert_array_equal(file.picture(1)[..., 1], head.surface[..., 0])
    modes = {m["name"]: m.get("alphaMode", "OPAQUE") for m in file.json["materials"]}
    solid = ("skin", "eye", "teeth", "tongue", "cloth")
    assert modes == {**dict.fromkeys(solid, "OPAQUE"), "hair": "BLEND", "lash": "BLEND"}
    assert "does not exist" in file.json["asset"]["extras"]["notice"]
    own = GlbFile.read(personal)
    assert own.json["extensionsUsed"] == ["KHR_materials_unlit"]
    assert own.json["asset"]["extras"]["avatar"] == "small"
    assert own.json["asset"]["extras"]["consent"]["kind"] == "synthetic"
    modes = {m["name"]: m.get("alphaMode", "OPAQUE") for m in own.json["materials"]}
    assert modes["lash"] == "BLEND"
    assert modes["skin"] == "OPAQUE"
    assert own.picture(0).shape == (1024, 1024, 4)


def test_a_personal_head_rests_as_its_decoder_does(small_avatar: Path) -> None:
    file = read_avatar_file(small_avatar)
    head = open_blend_shape_head(str(small_avatar))
    with PersonalAvatar(file.model, file.id) as avatar:
        decoded = avatar.decode(avatar.encode(resting_state(0, Rigid.identity())))
    np.testing.assert_array_equal(decoded.vertices, head.calm.vertices)
    np.testing.assert_array_equal(decoded.topology.faces, head.calm.topology.faces)
    assert np.mean(np.any(decoded.albedo != head.calm.albedo, axis=2)) < 0.1  # the inner mouth
    grown = head.shapes[SHAPE_INDEX["jawOpen"]] / float(file.model.eye_radius[0])
    template = HeadMesh.open("default")
    wanted = template.shapes[SHAPE_INDEX["jawOpen"]] / template.eye_radius
    assert np.abs(grown - wanted).max() * template.eye_radius < 1e-4


def test_the_khronos_validator_has_nothing_to_say(
    shipped: Path, personal: Path, tmp_path: Path
) -> None:
    loose = tmp_path / "mei & co.gltf"
    assert run(["export", "mei", "--out", str(loose), "--texture", "2048"]) == 0
    assert (tmp_path / "mei & co.bin").exists()
    for path in (shipped, personal, loose):
        issues = gltf_issues(path)
        assert issues["numErrors"] == issues["numWarnings"] == 0, issues["messages"][:3]


def test_other_programs_open_it(shipped: Path, tmp_path: Path) -> None:
    head: BlendShapeHead = open_blend_shape_head("amara")
    _, faces = read_mesh(shipped)  # Assimp, through Open3D
    assert len(faces) == len(head.calm.topology.faces)
    for ending in ("obj", "ply"):
        out = tmp_path / f"head.{ending}"
        assert run(["export", "amara", "--out", str(out)]) == 0
        vertices, faces = read_mesh(out)
        wanted = head.calm.vertices[head.calm.topology.faces].reshape(-1, 3)
        assert np.abs(vertices[faces].reshape(-1, 3) - wanted).max() < 1e-5
    import open3d as o3d

    uv = np.asarray(o3d.io.read_triangle_mesh(tmp_path / "head.obj").triangle_uvs)
    upright = head.calm.topology.uv[head.calm.topology.faces.reshape(-1)]
    np.testing.assert_allclose(uv, upright * [1, -1] + [0, 1], atol=1e-5)
    colours = np.asarray(o3d.io.read_triangle_mesh(tmp_path / "head.ply").vertex_colors)
    assert colours.std() > 0.1


def test_what_cannot_be_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def complaint(code: int, *arguments: str) -> str:
        assert run(["export", *arguments]) == code
        return capsys.readouterr().err

    out = str(tmp_path / "head.glb")
    assert ".gltf" in complaint(USAGE, "default", "--out", str(tmp_path / "head.fbx"))
    assert "1024" in complaint(USAGE, "default", "--out", out, "--texture", "999")
    assert "amara" in complaint(FAILED, "nobody", "--out", out)
    assert "no folder" in complaint(FAILED, "default", "--out", str(tmp_path / "none" / "x.glb"))
    (tmp_path / "broken.visavis").write_bytes(b"PK")
    assert "broken.visavis" in complaint(FAILED, str(tmp_path / "broken.visavis"), "--out", out)
    assert not list(tmp_path.glob("*.glb"))
