"""Ambient occlusion by ray casting (Open3D): how much of an even dome's light a point sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import open3d as o3d

Float = npt.NDArray[Any]

REACH = 0.12
"""Metres beyond which nothing darkens."""


def dome_light(
    solid: npt.NDArray[Any], vertices: Float, points: Float, normals: Float, rays: int
) -> Float:
    """(T,) share of an even dome's light that reaches each point (cosine weighted).

    `solid` (F, 3) are the faces that block light, `vertices` (V, 3) metres; `points` and unit
    `normals` (T, 3). The rays are the golden spiral, turned by a seeded angle at each point.
    """
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(vertices, np.float32)),
        o3d.core.Tensor.from_numpy(solid.astype(np.uint32)),
    )
    rng = np.random.default_rng(3)
    n = len(points)
    helper = np.where(np.abs(normals[:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]])
    tangent = np.cross(normals, helper)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    other = np.cross(normals, tangent)
    open_ = np.zeros(n, np.float32)
    spin = rng.uniform(0, 2 * np.pi, n)
    start = (points + 0.0004 * normals).astype(np.float32)
    for k in range(rays):
        r = np.sqrt((k + 0.5) / rays)
        phi = k * 2.399963 + spin  # golden angle
        d = (
            (r * np.cos(phi))[:, None] * tangent
            + (r * np.sin(phi))[:, None] * other
            + np.sqrt(1 - r * r) * normals
        )
        ray = np.concatenate([start, d.astype(np.float32)], 1)
        hit = scene.test_occlusions(o3d.core.Tensor.from_numpy(ray), tnear=0.0, tfar=REACH).numpy()
        open_ += ~hit
    return open_ / rays
