"""From where to draw: the source camera's own place, fitted to the picture that is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from streams.camera import Camera, Distortion
from streams.rigid import Rigid
from streams.view import View

LONGEST_SIDE = 1280
"""Of a picture whose size nobody asked for: more costs time and shows no more of an avatar."""

EYE_FROM_FACING = Rigid(np.array([0.0, 1.0, 0.0, 0.0]))
"""Half a turn about x: from a panel's axes (y up, z to whoever looks at it) to an eye's."""


def default_size(camera: Camera) -> tuple[int, int]:
    """The camera's own size, at most LONGEST_SIDE, with even sides as H.264 wants them."""
    width, height = camera.size
    scale = min(1.0, LONGEST_SIDE / max(width, height))
    return max(16, 2 * round(width * scale / 2)), max(16, 2 * round(height * scale / 2))


def fitted_view(camera: Camera, size: tuple[int, int], t_ns: int) -> View:
    """The view from `camera` that just contains its whole picture, with square pixels.

    Where the shapes differ the view is wider or higher than the camera's: the room goes on.
    """
    width, height = camera.size
    scale = min(size[0] / width, size[1] / height)
    middle = (np.array(size) - scale * np.array([width, height])) / 2.0
    fitted = replace(
        camera,
        size=size,
        focal=camera.focal * scale,
        centre=(camera.centre + 0.5) * scale - 0.5 + middle,
        distortion=Distortion(),
    )
    return View.from_camera(fitted, t_ns)


def world_from_facing(view: View, across: float, up: float, distance: float) -> Rigid:
    """Where something must be to face the viewer at `distance` metres, `across` and `up` the
    picture: -1 is its left or lower edge, 1 its right or upper edge."""
    left, right, top, bottom = np.tan(view.fov)
    x = (left + right) / 2 + across * (right - left) / 2
    y = (top + bottom) / 2 + up * (top - bottom) / 2
    eye_from_place = Rigid.from_translation([x * distance, -y * distance, distance])
    return view.world_from_eye @ eye_from_place @ EYE_FROM_FACING
