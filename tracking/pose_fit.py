"""A known rigid shape laid over its points in a picture: rotation and place in the camera's axes.

Least squares in the picture, where an engine's points are good, and in relative depth, where they
are a fair guess: the picture alone confuses another person's proportions with a turn, and has two
answers for a small shape far away; depth alone is too coarse. Huber weights bear with points that
do not belong. Every fit starts from a closed form, so that equal points give equal poses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.camera import Camera
from streams.projection import undistort

Array = npt.NDArray[np.float64]

OUTLIER = 0.2
"""Residual, as a part of the points' spread, beyond which a point counts less (Huber)."""
STEPS = 8
CONVERGED = 1e-4
"""Radians and metres: a step below this ends the fit (what is left is a hundredth of it)."""
_DIAGONAL = np.diag_indices(6)


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
    x, y, z = ray.tolist()
    sine, length = math.hypot(x, y), math.hypot(x, y, z)
    if sine < 1e-12:
        return np.eye(3)
    x, y, z = x / length, y / length, z / length
    # (1 - z) / (x^2 + y^2), in the form that loses no digits.
    bend = 1.0 / (1.0 + z) if z >= 0.0 else (1.0 - z) / (x * x + y * y)
    return np.array(
        [
            [1.0 - bend * x * x, -bend * x * y, x],
            [-bend * x * y, 1.0 - bend * y * y, y],
            [-x, -y, z],
        ]
    )


def fit_pose(shape: Array, rays: Array, depth: Array, depth_weight: float) -> PoseFit:
    """Lay `shape` (N, 3) metres over `rays` (N, 3) with z = 1.

    `depth` (N,) is how far each point lies behind the others along the ray to their middle, as
    a part of the middle's distance along z; only differences count. `depth_weight` is the weight
    of a depth residual against one in the picture.

    Raises ValueError when the rays span no area or the shape lands behind the camera.
    """
    middle = rays.mean(0)
    stretch = math.sqrt(middle.dot(middle))
    axis = middle / stretch
    depth = depth - depth.mean()
    off = rays - middle
    spread = math.sqrt(float((off * off).sum()) / len(rays))
    if not spread > 1e-6:
        raise ValueError(f"fit_pose rays: expected points that span an area, got spread {spread}")

    rotation, offset = _start(shape, rays, depth, axis)
    limit = OUTLIER * spread
    # From here on coordinates lead: numpy takes longer to begin than for so few points.
    count, before, seen = len(shape), shape.T, np.ascontiguousarray(rays[:, :2].T)
    a, b, c = axis.tolist()
    beside_axis = np.array([[0.0, -c, b], [c, 0.0, -a], [-b, a, 0.0]]).T  # v -> v x axis
    rows, off, weights = np.zeros((6, 3, count)), np.empty((3, count)), np.empty((3, count))
    for _ in range(STEPS):
        turned = rotation @ before
        points = turned + offset[:, None]
        near = 1.0 / points[2]
        flat = points[:2] * near
        along = axis @ points
        mean = float(along.sum()) / count
        # A small turn w moves a point by w x turned: derivatives by (turn, shift), of x and y in
        # the picture and of the depth against the others'.
        shrunk = turned * near
        bent = flat[:, None] * shrunk
        rows[0, :2], rows[1, :2] = -bent[:, 1], bent[:, 0]
        rows[1, 0] += shrunk[2]
        rows[0, 1] -= shrunk[2]
        rows[2, 0], rows[2, 1] = -shrunk[1], shrunk[0]
        rows[3, 0] = rows[4, 1] = near
        rows[5, :2] = -flat * near
        among = turned - turned.sum(1)[:, None] / count
        rows[:3, 2] = (stretch / mean) * (beside_axis @ among)
        np.subtract(flat, seen, out=off[:2])
        np.subtract((along / mean - 1.0) * stretch, depth, out=off[2])
        weights[0] = weights[1] = limit / np.maximum(np.sqrt(off[0] ** 2 + off[1] ** 2), limit)
        weights[2] = depth_weight**2 * limit / np.maximum(np.abs(off[2]), limit)
        equations = rows.reshape(6, -1)
        weighted = equations * weights.ravel()
        normal = weighted @ equations.T
        normal[_DIAGONAL] *= 1.0 + 1e-9
        step = np.linalg.solve(normal, weighted @ off.ravel())
        turn = step.tolist()
        rotation = _turn(-turn[0], -turn[1], -turn[2]) @ rotation
        offset = offset - step[3:]
        if max(map(abs, turn)) < CONVERGED:
            break

    points = rotation @ before + offset[:, None]
    if not (points[2] > 0.0).all():
        raise ValueError("fit_pose: expected a shape in front of the camera, got one behind it")
    missed = points[:2] / points[2] - seen
    error = float(np.median(np.sqrt(missed[0] ** 2 + missed[1] ** 2)) / spread)
    return PoseFit(rotation, offset, error)


def _turn(x: float, y: float, z: float) -> Array:
    """(3, 3) rotation about (x, y, z) by its length in radians (Rodrigues)."""
    angle = math.sqrt(x * x + y * y + z * z)
    part = math.sin(angle) / angle if angle > 1e-9 else 1.0
    half = math.sin(angle / 2.0) / (angle / 2.0) if angle > 1e-9 else 1.0
    bend = 0.5 * half * half
    return np.array(
        [
            [1.0 - bend * (y * y + z * z), bend * x * y - part * z, bend * x * z + part * y],
            [bend * x * y + part * z, 1.0 - bend * (x * x + z * z), bend * y * z - part * x],
            [bend * x * z - part * y, bend * y * z + part * x, 1.0 - bend * (x * x + y * y)],
        ]
    )


def _start(shape: Array, rays: Array, depth: Array, axis: Array) -> tuple[Array, Array]:
    """Scaled orthography about `axis`: the similarity of shape to picture (Umeyama 1991)."""
    facing = facing_along(axis)
    flat = (rays / (rays @ axis)[:, None]) @ facing  # In axes whose z is the axis.
    middle = flat.mean(0)
    middle[2] = 1.0
    centre = shape.mean(0)
    b = flat - middle
    b[:, 2] = depth
    a = shape - centre
    u, s, vt = np.linalg.svd(b.T @ a)
    rotation = u @ vt
    if np.linalg.det(rotation) < 0.0:
        s[2], u[:, 2] = -s[2], -u[:, 2]
        rotation = u @ vt
    distance = float((a * a).sum()) / max(float(s.sum()), 1e-9)
    return facing @ rotation, facing @ (middle * distance - rotation @ centre)
