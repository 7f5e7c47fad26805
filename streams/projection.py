"""Points in the world to pixels of a camera, and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.camera import Camera, Distortion

Array = npt.NDArray[np.float64]

NEWTON_STEPS = 30
LONGEST_STEP = 0.5
"""Radians or units of x/z: a longer Newton step would leap past the part of the model that holds.
"""


def project(camera: Camera, points_world: npt.ArrayLike) -> tuple[Array, Array]:
    """World points (..., 3) metres -> pixels (..., 2) and depth (...,) metres along camera +z.

    A point at or behind the camera plane has a depth <= 0 and NaN pixels.
    """
    camera_from_world = camera.world_from_camera.inverse()
    p = np.asarray(camera_from_world.apply(np.asarray(points_world, np.float64)), np.float64)
    z = p[..., 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        xy = np.where(z[..., None] > 0, p[..., :2] / z[..., None], np.nan)
    return distort(camera.distortion, xy) * camera.focal + camera.centre, z


def unproject(camera: Camera, pixels: npt.ArrayLike, depth: npt.ArrayLike) -> Array:
    """Pixels (..., 2) and depth (...,) metres along camera +z -> world points (..., 3) metres."""
    xy = undistort(
        camera.distortion, (np.asarray(pixels, np.float64) - camera.centre) / camera.focal
    )
    z = np.broadcast_to(np.asarray(depth, np.float64), xy.shape[:-1])[..., None]
    p = np.concatenate([xy * z, z], axis=-1)
    return np.asarray(camera.world_from_camera.apply(p), np.float64)


def directions(camera: Camera, pixels: npt.ArrayLike) -> Array:
    """Pixels (..., 2) -> unit vectors (..., 3) from the camera's centre, world axes.

    NaN where the lens model has no direction in front of the camera for a pixel.
    """
    xy = undistort(
        camera.distortion, (np.asarray(pixels, np.float64) - camera.centre) / camera.focal
    )
    rays = np.concatenate([xy, np.ones((*xy.shape[:-1], 1))], axis=-1)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    return np.asarray(camera.world_from_camera.rotate(rays), np.float64)


def distort(distortion: Distortion, xy: Array) -> Array:
    """Ideal normalised coordinates (..., 2) -> distorted ones.

    NaN where the lens model folds back: it does not hold there, and a direction that the lens never
    saw would land in the middle of the picture.
    """
    if distortion.model == "none":
        return xy
    if distortion.model == "pinhole_brown":
        bent, across = _brown(distortion, xy)
    else:
        r = np.hypot(xy[..., 0], xy[..., 1])[..., None]
        # The angle from the axis over its tangent is 1 at the axis.
        angle = xy * np.where(r > 1e-12, np.arctan(r) / np.maximum(r, 1e-12), 1.0)
        bent, across = _bent(distortion, angle)
    return np.where(_upright(across)[..., None], bent, np.nan)


def undistort(distortion: Distortion, xy: Array) -> Array:
    """Distorted normalised coordinates (..., 2) -> ideal ones (Newton steps, to 1e-11).

    A fisheye's steps are taken on the angle, which is well behaved up to 90 degrees. NaN where no
    ideal coordinates are distorted to these: outside what the lens model describes.
    """
    if distortion.model == "none":
        return xy
    bend = _brown if distortion.model == "pinhole_brown" else _bent
    given = np.array(xy, np.float64)
    ideal = given.copy()
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(NEWTON_STEPS):
            bent, across = bend(distortion, ideal)
            error = bent - given
            if not np.nanmax(np.abs(error), initial=0.0) > 1e-12:
                break
            (a, b), (c, d) = np.moveaxis(across, (-2, -1), (0, 1))
            u, v = error[..., 0], error[..., 1]
            step = np.stack([u * d - v * b, v * a - u * c], axis=-1) / (a * d - b * c)[..., None]
            ideal -= np.clip(step, -LONGEST_STEP, LONGEST_STEP)
        else:
            bent, across = bend(distortion, ideal)
        found = np.abs(bent - given).max(-1, keepdims=True) < 1e-9
        found &= _upright(across)[..., None]
        if distortion.model != "pinhole_brown":
            theta = np.hypot(ideal[..., 0], ideal[..., 1])[..., None]
            found &= theta < np.pi / 2.0
            ideal = ideal * np.where(theta > 1e-12, np.tan(theta) / np.maximum(theta, 1e-12), 1.0)
    return np.where(found, ideal, np.nan)


def _upright(across: Array) -> npt.NDArray[np.bool_]:
    """Whether derivatives (..., 2, 2) keep the picture's sense: past its fold a lens model turns it
    over, or inside out."""
    (a, b), (c, d) = np.moveaxis(across, (-2, -1), (0, 1))
    return np.asarray((a * d - b * c > 0.0) & (a + d > 0.0))


def _brown(distortion: Distortion, xy: Array) -> tuple[Array, Array]:
    """Brown's model and its derivatives (..., 2, 2): row = output, column = input."""
    k1, k2, p1, p2, k3 = distortion.coefficients
    x, y = xy[..., 0], xy[..., 1]
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    slope = 2 * (k1 + r2 * (2 * k2 + r2 * 3 * k3))
    bent = np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        ],
        axis=-1,
    )
    mixed = slope * x * y + 2 * p1 * x + 2 * p2 * y
    across = np.stack(
        [
            radial + slope * x * x + 2 * p1 * y + 6 * p2 * x, mixed,
            mixed, radial + slope * y * y + 6 * p1 * y + 2 * p2 * x,
        ],
        axis=-1,
    )  # fmt: skip
    return bent, across.reshape(*xy.shape, 2)


def _bent(distortion: Distortion, angle: Array) -> tuple[Array, Array]:
    """A fisheye's model on angles (..., 2) from the axis, radians, and its derivatives."""
    radial_count = 4 if distortion.model == "fisheye" else 6
    k = distortion.coefficients[:radial_count]
    p1, p2, s1, s2, s3, s4 = (*distortion.coefficients[radial_count:], *(0.0,) * 6)[:6]
    a, b = angle[..., 0], angle[..., 1]
    t2 = a * a + b * b
    radial, slope = np.zeros_like(t2), np.zeros_like(t2)
    for order in range(radial_count, 0, -1):  # Horner's scheme
        radial = (radial + k[order - 1]) * t2
        slope = slope * t2 + 2.0 * order * k[order - 1]
    radial = radial + 1.0
    x, y = a * radial, b * radial
    r2 = x * x + y * y
    bent = np.stack(
        [
            x + p1 * (r2 + 2 * x * x) + 2 * p2 * x * y + r2 * (s1 + s2 * r2),
            y + p2 * (r2 + 2 * y * y) + 2 * p1 * x * y + r2 * (s3 + s4 * r2),
        ],
        axis=-1,
    )
    prism_x, prism_y = 2 * (s1 + 2 * s2 * r2), 2 * (s3 + 2 * s4 * r2)
    xx = 1 + 6 * p1 * x + 2 * p2 * y + prism_x * x
    xy = 2 * p1 * y + 2 * p2 * x + prism_x * y
    yx = 2 * p2 * x + 2 * p1 * y + prism_y * x
    yy = 1 + 6 * p2 * y + 2 * p1 * x + prism_y * y
    aa, ab, bb = radial + slope * a * a, slope * a * b, radial + slope * b * b
    across = np.stack(
        [xx * aa + xy * ab, xx * ab + xy * bb, yx * aa + yy * ab, yx * ab + yy * bb], axis=-1
    )
    return bent, across.reshape(*angle.shape, 2)
