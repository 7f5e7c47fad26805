"""The texture of a registered mesh as one camera of a dome sees it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from avatar.datasets.registered_topology import RegisteredTopology
from avatar.smooth_normals import SmoothNormals
from avatar.unwrapping import GRAZING, SQUARE_ON, TexelTable
from streams.camera import Camera
from streams.projection import project
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

STRIP = 30000
"""Texels that cv2.remap takes in one row (it is limited to 32767)."""
LIFT_M = 5e-4
"""Metres above the surface from which a vertex looks for what hides it."""


class ViewUnwrapping:
    """For one topology and texture size."""

    def __init__(self, topology: RegisteredTopology, size: int) -> None:
        everywhere = np.full(len(topology.uv), "head")
        self._table = TexelTable.of(topology.faces, topology.uv, everywhere, size, ("head",))
        self._faces = topology.faces
        self._normals = SmoothNormals(topology.faces, topology.rows, np.arange(len(topology.uv)))

    def of(
        self, picture: UInt8, camera: Camera, world_from_head: Rigid, vertices: Float32
    ) -> tuple[UInt8, Float32]:
        """(size, size, 3) and how well each texel is seen (size, size) 0..1.

        `vertices` (V, 3) metres, head frame. A texel counts when all corners of its triangle are in
        sight, by the cosine between its normal and the way to the camera.
        """
        pixels, depth = project(camera, world_from_head.apply(vertices.astype(np.float64)))
        eye = world_from_head.inverse().apply(camera.world_from_camera.xyz)
        towards = (eye - vertices).astype(np.float32)
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        normals = self._normals.of(vertices)
        width, height = camera.size
        inside = (
            (depth > 0) & (pixels > -0.5).all(1) & (pixels < (width - 0.5, height - 0.5)).all(1)
        )
        inside &= ~_hidden(vertices, self._faces, normals, towards)
        numbers = np.stack(
            [*np.nan_to_num(pixels, nan=-1e4).T, (normals * towards).sum(1), inside], axis=1
        )
        at = self._table.at_vertices @ numbers.astype(np.float32)
        places = np.ascontiguousarray(at[:, :2], np.float32)
        colours = np.empty((len(places), 3), np.uint8)
        for start in range(0, len(places), STRIP):
            x, y = (
                np.ascontiguousarray(places[start : start + STRIP, k]).reshape(1, -1)
                for k in (0, 1)
            )
            found = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            colours[start : start + STRIP] = found[0]
        seen = np.clip((at[:, 2] - GRAZING) / (SQUARE_ON - GRAZING), 0.0, 1.0)
        seen *= at[:, 3] > 0.999
        texture = np.asarray(self._table.picture(colours * (seen > 0)[:, None]), np.uint8)
        return texture, np.asarray(self._table.picture(seen.astype(np.float32)), np.float32)


def _hidden(
    vertices: Float32, faces: npt.NDArray[np.int32], normals: Float32, towards: Float32
) -> npt.NDArray[np.bool_]:
    """(V,) whether the mesh itself lies between a vertex and the camera."""
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(vertices)),
        o3d.core.Tensor.from_numpy(faces.astype(np.uint32)),
    )
    rays = np.concatenate([vertices + LIFT_M * normals, towards], axis=1).astype(np.float32)
    return scene.test_occlusions(o3d.core.Tensor.from_numpy(rays)).numpy()
