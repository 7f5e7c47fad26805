"""A known rigid shape laid over its points in a picture: rotation and place in the camera's axes.

Least squares in the picture, where an engine's points are good, and in relative depth, where they
are a fair guess: the picture alone confuses another person's proportions with a turn, and has two
answers for a small shape far away; depth alone is too coarse. Huber weights bear with points that
do not belong. Every fit starts from a closed form, so that equal points give equal poses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.camera import Camera
from streams.projection import undistort
from streams.rigid import Rigid

Array = npt.NDArray[np.float64]

OUTLIER = 0.2
"""Residual, as a part of the points' spread, beyond which a point counts less (Huber)."""
STEPS = 8
CONVERGED = 1e-4
"""Radians and metres: a step below this ends the fit (what is left is a hundredth of it)."""


@dataclass(frozen=True, slots=True, eq=False)
class PoseFit:
    """The shape's pose."""

    rotation: Array
    """(3, 3) float64, camera axes from the shape's."""
    offset: Array
    """(3,) float64 metres, camera axes: where the shape's origin is."""
    error: float
    """Median distance in the picture between the laid shape and its points, as a part of the
    points' spread (root mean square distance from their middle)."""

    def apply(self, points: Array) -> Array:
        """Points (N, 3) metres of the shape's frame -> camera axes."""
        return points @ self.rotation.T + self.offset


def rays_through(camera: Camera, pixels: npt.ArrayLike) -> Array:
    """(N, 3) float64 directions with z = 1, camera axes, through (N, 2) pixels."""
    xy = undistort(
        camera.distortion, (np.asarray(pixels, np.float64) - camera.centre) / camera.focal
    )
    return np.concatenate([xy, np.ones((len(xy), 1))], axis=-1)


def part_inside(camera: Camera, pixels: npt.ArrayLike) -> float:
    """0..1: how many of (N, 2 or more) pixels lie in the camera's picture."""
    xy = np.asarray(pixels, np.float64)[:, :2]
    inside = (xy >= -0.5) & (xy <= np.array(camera.size) - 0.5)
    return float(inside.all(-1).mean())


def facing_along(ray: Array) -> Array:
    """(3, 3) the smallest rotation that takes +z to the direction of `ray` (3,)."""
    sine = float(np.hypot(ray[0], ray[1]))
    if sine < 1e-12:
        return np.eye(3)
    angle = float(np.arctan2(sine, ray[2]))
    return Rigid.from_rotvec(np.array([-ray[1], ray[0], 0.0]) / sine * angle).rotation()


def fit_pose(shape: Array, rays: Array, depth: Array, depth_weight: float) -> PoseFit:
    """Lay `shape` (N, 3) metres over `rays` (N, 3) with z = 1.

    `depth` (N,) is how far each point lies behind the others along the ray to their middle, as
    a part of the middle's distance along z; only differences count. `depth_weight` is the weight
    of a depth residual against one in the picture.

    Raises ValueError when the rays span no area or the shape lands behind the camera.
    """
    middle = rays.mean(0)
    stretch = float(np.linalg.norm(middle))
    axis = middle / stretch
    depth = depth - depth.mean()
    spread = float(np.sqrt(((rays - middle) ** 2).sum(-1).mean()))
    if not spread > 1e-6:
        raise ValueError(f"fit_pose rays: expected points that span an area, got spread {spread}")

    rotation, offset = _start(shape, rays, depth, axis)
    limit = OUTLIER * spread
    for _ in range(STEPS):
        turned = shape @ rotation.T
        points = turned + offset
        z = points[:, 2:]
        # d(point)/d(turn, shift): a small turn w moves a point by w x turned.
        moves = np.zeros((len(shape), 3, 6))
        moves[:, 0, 1], moves[:, 0, 2] = turned[:, 2], -turned[:, 1]
        moves[:, 1, 0], moves[:, 1, 2] = -turned[:, 2], turned[:, 0]
        moves[:, 2, 0], moves[:, 2, 1] = turned[:, 1], -turned[:, 0]
        moves[:, (0, 1, 2), (3, 4, 5)] = 1.0
        xy = points[:, :2] / z
        flat = (moves[:, :2] - xy[:, :, None] * moves[:, 2:]) / z[:, :, None]
        along = points @ axis
        mean = float(along.mean())
        deep = axis @ moves
        deep = (deep - deep.mean(0)) * (stretch / mean)
        off_xy = xy - rays[:, :2]
        off_z = (along / mean - 1.0) * stretch - depth
        weights = np.concatenate(
            [
                np.repeat(limit / np.maximum(np.sqrt((off_xy * off_xy).sum(-1)), limit), 2),
                depth_weight**2 * limit / np.maximum(np.abs(off_z), limit),
            ]
        )
        rows = np.concatenate([flat.reshape(-1, 6), deep])
        weighted = (rows * weights[:, None]).T
        normal = weighted @ rows
        normal[np.diag_indices(6)] *= 1.0 + 1e-9
        step = np.linalg.solve(normal, weighted @ np.concatenate([off_xy.reshape(-1), off_z]))
        rotation = Rigid.from_rotvec(-step[:3]).rotation() @ rotation
        offset = offset - step[3:]
        if np.abs(step).max() < CONVERGED:
            break

    points = shape @ rotation.T + offset
    if not (points[:, 2] > 0.0).all():
        raise ValueError("fit_pose: expected a shape in front of the camera, got one behind it")
    missed = points[:, :2] / points[:, 2:] - rays[:, :2]
    error = float(np.median(np.sqrt((missed * missed).sum(-1))) / spread)
    return PoseFit(rotation, offset, error)


def _start(shape: Array, rays: Array, depth: Array, axis: Array) -> tuple[Array, Array]:
    """Scaled orthography about `axis`: the similarity of shape to picture (Umeyama 1991)."""
    facing = facing_along(axis)
    flat = (rays / (rays @ axis)[:, None]) @ facing  # In axes whose z is the axis.
    middle = np.append(flat[:, :2].mean(0), 1.0)
    centre = shape.mean(0)
    b = np.column_stack([flat[:, :2] - middle[:2], depth])
    a = shape - centre
    u, s, vt = np.linalg.svd(b.T @ a)
    s[2] *= np.sign(np.linalg.det(u @ vt))
    u[:, 2] *= np.sign(np.linalg.det(u @ vt))
    rotation = u @ vt
    distance = float((a * a).sum()) / max(float(s.sum()), 1e-9)
    return facing @ rotation, facing @ (middle * distance - rotation @ centre)
