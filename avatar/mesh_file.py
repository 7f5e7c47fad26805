"""Meshes to and from files that other programs read, through Open3D.

OBJ (with MTL and PNG), PLY (a colour a vertex) and others. `gltf_file` writes heads with blend
shapes, which Open3D cannot.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from streams.mesh_texture import MeshTexture

FORMATS = (".obj", ".ply", ".off", ".stl")


def write_mesh(mesh: MeshTexture, path: Path) -> None:
    """Write one moment of an avatar: metres, world frame, its texture where the format has one.

    Raises ValueError for an unknown ending or an empty mesh, OSError when the file cannot be made.
    """
    import open3d as o3d

    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"write_mesh: expected one of {', '.join(FORMATS)}, got {path.name!r}")
    if not len(mesh.topology.faces):
        raise ValueError(
            "write_mesh: expected a mesh with faces, got an empty one (nobody is seen)"
        )
    solid = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(mesh.vertices.astype(np.float64)),
        o3d.utility.Vector3iVector(mesh.topology.faces.copy()),
    )
    solid.vertex_normals = o3d.utility.Vector3dVector(mesh.normals.astype(np.float64))
    if path.suffix.lower() not in (".ply", ".off", ".stl"):
        # Files put (0, 0) at the texture's lower-left corner.
        corner_uv = mesh.topology.uv[mesh.topology.faces.reshape(-1)].astype(np.float64)
        solid.triangle_uvs = o3d.utility.Vector2dVector(corner_uv * [1.0, -1.0] + [0.0, 1.0])
        solid.triangle_material_ids = o3d.utility.IntVector(
            np.zeros(len(mesh.topology.faces), np.int32)
        )
        solid.textures = [o3d.geometry.Image(np.ascontiguousarray(mesh.albedo))]  # pyright: ignore
    if path.suffix.lower() == ".ply":
        solid.vertex_colors = o3d.utility.Vector3dVector(_vertex_colours(mesh))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not o3d.io.write_triangle_mesh(path, solid):
        raise OSError(f"{path}: the mesh could not be written; is the folder writable?")


def _vertex_colours(mesh: MeshTexture) -> npt.NDArray[np.float64]:
    """(V, 3) sRGB code values 0..1 of the texel at each vertex."""
    height, width = mesh.albedo.shape[:2]
    x = np.clip((mesh.topology.uv[:, 0] * width).astype(int), 0, width - 1)
    y = np.clip((mesh.topology.uv[:, 1] * height).astype(int), 0, height - 1)
    return mesh.albedo[y, x] / 255.0


def read_mesh(path: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """(V, 3) float32 vertices and (F, 3) int32 faces of a mesh file, as they stand in it.

    Raises FileNotFoundError, or ValueError when there is no mesh in the file.
    """
    import open3d as o3d

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such mesh file")
    solid = o3d.io.read_triangle_mesh(path)
    faces = np.asarray(solid.triangles, np.int32)
    if not len(faces):
        raise ValueError(f"{path}: expected a triangle mesh, found no triangles in it")
    return np.asarray(solid.vertices, np.float32), faces
