"""Points in the world to pixels of a camera, and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.camera import Camera, Distortion

Array = npt.NDArray[np.float64]


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


def distort(distortion: Distortion, xy: Array) -> Array:
    """Ideal normalised coordinates (..., 2) -> distorted ones."""
    if distortion.model == "none":
        return xy
    x, y = xy[..., 0], xy[..., 1]
    r2 = x * x + y * y
    if distortion.model == "pinhole_brown":
        k1, k2, p1, p2, k3 = distortion.coefficients
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        dx = 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        dy = p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        return np.stack([x * radial + dx, y * radial + dy], axis=-1)
    k1, k2, k3, k4 = distortion.coefficients
    r = np.sqrt(r2)
    theta = np.arctan(r)
    t2 = theta * theta
    bent = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
    scale = np.where(r > 1e-12, bent / np.maximum(r, 1e-12), 1.0)
    return xy * scale[..., None]


def undistort(distortion: Distortion, xy: Array) -> Array:
    """Distorted normalised coordinates (..., 2) -> ideal ones (Newton steps, to 1e-10)."""
    if distortion.model == "none":
        return xy
    ideal = np.array(xy, np.float64)
    step = 1e-6
    for _ in range(20):
        error = distort(distortion, ideal) - xy
        if not np.nanmax(np.abs(error), initial=0.0) > 1e-11:
            break
        dx = (distort(distortion, ideal + [step, 0.0]) - distort(distortion, ideal)) / step
        dy = (distort(distortion, ideal + [0.0, step]) - distort(distortion, ideal)) / step
        det = dx[..., 0] * dy[..., 1] - dy[..., 0] * dx[..., 1]
        ideal[..., 0] -= (error[..., 0] * dy[..., 1] - error[..., 1] * dy[..., 0]) / det
        ideal[..., 1] -= (error[..., 1] * dx[..., 0] - error[..., 0] * dx[..., 1]) / det
    return ideal
