"""Meshes written for other programs come back as they were."""

import numpy as np
import pytest

from avatar.codec import Avatar
from avatar.mesh_file import read_mesh, write_mesh
from capture.scenes import open_scene
from streams.mesh_texture import MeshTexture
from streams.tracked_state import TrackedState


@pytest.fixture(scope="module")
def mesh() -> MeshTexture:
    state = open_scene("still").state_at(0)
    with Avatar.open("default") as avatar:
        return avatar.decode(avatar.encode(state))


@pytest.mark.parametrize("ending", ["ply", "obj"])
def test_shape_survives_the_file(mesh, tmp_path, ending):
    path = tmp_path / f"head.{ending}"
    write_mesh(mesh, path)
    vertices, faces = read_mesh(path)
    # Readers may join or reorder vertices: compare the corners of the triangles.
    wanted = mesh.vertices[mesh.topology.faces].reshape(-1, 3)
    got = vertices[faces].reshape(-1, 3)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() < 1e-5


def test_obj_brings_its_texture(mesh, tmp_path):
    write_mesh(mesh, tmp_path / "head.obj")
    assert (tmp_path / "head.mtl").exists()
    assert list(tmp_path.glob("*.png"))


def test_unknown_format_and_nobody(mesh, tmp_path):
    with pytest.raises(ValueError, match=r"expected one of \.obj"):
        write_mesh(mesh, tmp_path / "head.docx")
    with Avatar.open("default") as avatar:
        nobody = avatar.decode(avatar.encode(TrackedState(0, "test")))
    with pytest.raises(ValueError, match="nobody is seen"):
        write_mesh(nobody, tmp_path / "head.ply")


def test_reading_what_is_no_mesh(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such mesh"):
        read_mesh(tmp_path / "none.ply")
    (tmp_path / "text.ply").write_text("hello")
    with pytest.raises(ValueError, match="no triangles"):
        read_mesh(tmp_path / "text.ply")
