"""A pinhole view cut out of any camera's picture: what a landmark engine sees of a fisheye.

Engines were trained on ordinary photographs; in a fisheye's picture hands are bent and small. A
crop is a virtual pinhole camera at the same place that looks at the hand; landmarks found in its
picture go back to rays through its `Camera`, like those of any other picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from streams.camera import Camera
from streams.projection import distort, project, undistort
from streams.rigid import Rigid
from tracking.pose_fit import facing_along, part_inside

Array = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class CropOptions:
    """How much a crop shows, and how large."""

    size: int = 256
    """Pixels a side."""
    margin: float = 1.8
    """The crop's half width over the farthest point's distance from its middle."""
    widest: float = float(np.deg2rad(110.0))
    """Radians: no crop is wider, since a pinhole view's corners then show little else than
    stretched pixels."""

    def __post_init__(self) -> None:
        if self.size < 16:
            raise ValueError(f"CropOptions.size: expected at least 16 pixels, got {self.size}")
        if not self.margin >= 1.0:
            raise ValueError(f"CropOptions.margin: expected 1 or more, got {self.margin}")
        if not 0.0 < self.widest < np.pi:
            raise ValueError(f"CropOptions.widest: expected 0 to pi, got {self.widest}")


def crop_around(
    camera: Camera, points_world: npt.ArrayLike, options: CropOptions | None = None
) -> Camera | None:
    """The square view of (N, 3) points, metres, world frame; None when one of them is behind the
    camera or outside its picture's reach by half.

    Its rows stay as level as the camera's own.
    """
    o = options or CropOptions()
    points = np.asarray(points_world, np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise ValueError(f"crop_around points: expected finite (N, 3), got {points.shape}")
    pixels, depth = project(camera, points)
    if not (depth > 0.0).all() or part_inside(camera, pixels) < 0.5:
        return None
    local = np.asarray(camera.world_from_camera.inverse().apply(points), np.float64)
    rays = local / np.linalg.norm(local, axis=-1, keepdims=True)
    turn = facing_along((rays.min(0) + rays.max(0)) / 2.0)
    seen = rays @ turn  # = turn.T applied to each: the crop's own axes
    flat = seen[:, :2] / seen[:, 2:]
    middle = (flat.min(0) + flat.max(0)) / 2.0
    turn = turn @ facing_along(np.append(middle, 1.0))
    seen = rays @ turn
    half = float(np.abs(seen[:, :2] / seen[:, 2:]).max()) * o.margin
    return _square(camera, turn, min(half, np.tan(o.widest / 2.0)), o.size)


def straight_ahead(camera: Camera, options: CropOptions | None = None) -> Camera:
    """The widest square view along the camera's axis that `options` allow: where to look for hands
    of which nothing is known."""
    o = options or CropOptions()
    return _square(camera, np.eye(3), np.tan(o.widest / 2.0), o.size)


def cut_out(picture: Picture, camera: Camera, crop: Camera) -> Picture:
    """What `crop` sees, of `camera`'s picture (H, W) or (H, W, 3) uint8: of the crop's size, the
    same channels; black where the camera saw nothing.

    `crop` may be any camera at the same place, so this also shows a pinhole's picture as a fisheye
    would have taken it. Raises ValueError when the cameras stand apart or the picture is another
    size.
    """
    if picture.shape[:2] != camera.size[::-1] or picture.dtype != np.uint8:
        raise ValueError(
            f"cut_out picture: expected uint8 of {camera.size[0]} x {camera.size[1]}, got "
            f"{picture.dtype} {picture.shape}"
        )
    apart = float(np.linalg.norm(crop.world_from_camera.xyz - camera.world_from_camera.xyz))
    if apart > 1e-6:
        raise ValueError(f"cut_out crop: expected the camera's own place, got {apart:.3g} m away")
    columns = (np.arange(crop.size[0]) - crop.centre[0]) / crop.focal[0]
    rows = (np.arange(crop.size[1]) - crop.centre[1]) / crop.focal[1]
    flat = np.stack(np.meshgrid(columns, rows), axis=-1)
    rays = np.concatenate([undistort(crop.distortion, flat), np.ones((*flat.shape[:2], 1))], -1)
    turn = camera.world_from_camera.inverse() @ crop.world_from_camera
    rays = rays @ turn.rotation().T
    with np.errstate(divide="ignore", invalid="ignore"):
        xy = np.where(rays[..., 2:] > 0.0, rays[..., :2] / rays[..., 2:], np.nan)
    pixels = distort(camera.distortion, xy) * camera.focal + camera.centre
    # A coarser crop is cut from a smaller picture, lest it picks every n-th pixel. How many pixels
    # go on one is about what the focal lengths say.
    shrink = int(camera.focal.mean() / crop.focal.mean())
    if shrink > 1:
        size = (max(camera.size[0] // shrink, 1), max(camera.size[1] // shrink, 1))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        pixels = (pixels + 0.5) * (np.array(size) / np.array(camera.size)) - 0.5
    # OpenCV's tables are undefined for NaN; -2 is outside.
    maps = np.nan_to_num(pixels, nan=-2.0).clip(-2.0, 32000.0).astype(np.float32)
    cut = cv2.remap(
        picture, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )
    return np.asarray(cut, np.uint8)


def _square(camera: Camera, turn: Array, half: float, size: int) -> Camera:
    """Looks along the camera's axis turned by `turn`; `half` is the slope at the edge."""
    return Camera(
        camera.name,
        (size, size),
        np.full(2, size / (2.0 * half)),
        np.full(2, (size - 1) / 2.0),
        world_from_camera=camera.world_from_camera @ Rigid.from_rotation(turn),
    )
