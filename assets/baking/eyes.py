"""Eye balls made from numbers: a sphere with the cornea's bulge, its texture an angle-true disc."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assets.baking import atlas
from assets.baking.base_mesh import BaseMesh, Float

RINGS, SEGMENTS = 17, 24
LIMBUS = np.deg2rad(29.0)
"""Angle of the iris' edge seen from the ball's centre: an iris of 11.7 mm on a ball of 24 mm."""
EXTENT = np.deg2rad(100.0)
"""The ball is modelled to this angle; what lies behind is never seen."""
CORNEA_RISE = 0.055
"""Height of the bulge over the ball, in radii (anatomy: about 0.1; the base mesh's lids leave
room for half of it)."""


@dataclass(frozen=True, slots=True, eq=False)
class EyeSockets:
    """Where the eye balls of one identity sit."""

    centres: Float
    """(2, 3) metres, left first, base-mesh frame."""
    radius: float
    """Metres."""


def fit_sockets(mesh: BaseMesh, vertices: Float) -> EyeSockets:
    """Least-squares spheres through the base mesh's eye helpers.

    The helper carries a cornea too, so only its rear half is fitted.
    """
    centres, radii = [], []
    for name in ("helper-l-eye", "helper-r-eye"):
        points = vertices[mesh.group_vertices(name)]
        points = points[points[:, 2] < points[:, 2].mean() + 0.003]
        system = np.concatenate([2.0 * points, np.ones((len(points), 1))], axis=1)
        solution = np.linalg.lstsq(system, (points**2).sum(1), rcond=None)[0]
        centres.append(solution[:3])
        radii.append(np.sqrt(solution[3] + solution[:3] @ solution[:3]))
    return EyeSockets(np.array(centres), float(np.mean(radii)))


def eye_ball(rectangle: atlas.Rectangle) -> tuple[Float, npt.NDArray[np.int64], Float]:
    """Unit ball looking along +z: (V, 3) vertices in radii, (F, 3) faces, (V, 2) atlas uv.

    In the texture the distance from the middle is the angle from the axis: the disc's edge is
    EXTENT; up in the picture is up on the ball, right is the person's left.
    """
    # Denser at the cornea, where highlight and iris need a smooth surface.
    angles = EXTENT * np.linspace(0.0, 1.0, RINGS) ** 1.35
    around = np.linspace(0.0, 2.0 * np.pi, SEGMENTS, endpoint=False)
    theta, phi = np.meshgrid(angles, around, indexing="ij")
    bulge = 1.0 + CORNEA_RISE * np.cos(np.clip(theta / LIMBUS, 0, 1) * np.pi / 2) ** 2
    vertices = (
        np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)
        * bulge[..., None]
    )
    ring = theta / EXTENT
    disc = np.stack([ring * np.cos(phi), -ring * np.sin(phi)], axis=-1)
    x0, y0, x1, y1 = rectangle
    half = np.array([x1 - x0, y1 - y0]) / 2 - atlas.GUTTER / 2
    uv = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) + disc * half
    index = np.arange(RINGS * SEGMENTS).reshape(RINGS, SEGMENTS)
    a, b = index[:-1], index[1:]
    c, d = np.roll(b, -1, axis=1), np.roll(a, -1, axis=1)
    fan = np.stack([a, b, c], -1).reshape(-1, 3)
    # In the first ring a and d are the same point: that half of each quad has no area.
    faces = np.concatenate([fan, np.stack([a, c, d], -1).reshape(-1, 3)[SEGMENTS:]])
    return vertices.reshape(-1, 3), faces, uv.reshape(-1, 2)


def rotation_to(direction: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(3, 3) turn of +z to `direction` (3,) without roll: first about y, then about x."""
    x, y, z = direction / np.linalg.norm(direction)
    yaw, pitch = np.arctan2(x, z), np.arcsin(np.clip(y, -1, 1))
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    return np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]) @ np.array(
        [[1, 0, 0], [0, cp, sp], [0, -sp, cp]]
    )
