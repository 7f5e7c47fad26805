"""From where, when and how wide a picture is drawn. Angles and signs are OpenXR's XrFovf."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.array_contract import (
    require_array,
    require_choice,
    require_finite,
    require_size,
    require_time,
)
from streams.camera import WORLD_FROM_WEBCAM, Camera
from streams.rigid import Rigid

EYES = ("mono", "left", "right")


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One eye's pinhole at one display time. The eye has OpenCV axes (y down, z forward)."""

    t_ns: int
    """Predicted display time, monotonic nanoseconds."""
    eye: str
    """"mono", "left" or "right"."""
    world_from_eye: Rigid
    fov: npt.NDArray[np.float64]
    """(4,) float64 radians: left, right, up, down; left and down are negative for a usual eye."""
    size: tuple[int, int]
    """(width, height) in pixels."""

    def __post_init__(self) -> None:
        require_time("View.t_ns", self.t_ns)
        require_choice("View.eye", self.eye, EYES)
        require_size("View.size", self.size)
        fov = require_array("View.fov", self.fov, np.float64, (4,))
        require_finite("View.fov", fov)
        object.__setattr__(self, "fov", fov)
        left, right, up, down = self.fov
        if not (-np.pi / 2 < left < right < np.pi / 2 and -np.pi / 2 < down < up < np.pi / 2):
            raise ValueError(
                f"View.fov: expected left < right and down < up within +-pi/2, got {self.fov}"
            )

    @staticmethod
    def from_camera(camera: Camera, t_ns: int = 0, size: tuple[int, int] | None = None) -> View:
        """What `camera` sees, without its lens distortion, drawn at `size` (default: its own)."""
        c = camera if size is None else camera.scaled(size)
        width, height = c.size
        fov = np.arctan(
            np.array(
                [
                    (-0.5 - c.centre[0]) / c.focal[0],
                    (width - 0.5 - c.centre[0]) / c.focal[0],
                    (c.centre[1] + 0.5) / c.focal[1],
                    -(height - 0.5 - c.centre[1]) / c.focal[1],
                ]
            )
        )
        return View(t_ns, "mono", c.world_from_camera, fov, c.size)

    @staticmethod
    def front(
        size: tuple[int, int] = (1280, 720), t_ns: int = 0, vertical_fov: float = np.deg2rad(40.0)
    ) -> View:
        """A webcam at the world's origin, looking along -z."""
        up = vertical_fov / 2.0
        right = float(np.arctan(np.tan(up) * size[0] / size[1]))
        return View(t_ns, "mono", WORLD_FROM_WEBCAM, np.array([-right, right, up, -up]), size)

    def camera(self) -> Camera:
        """The pinhole camera with the same picture."""
        left, right, up, down = np.tan(self.fov)
        width, height = self.size
        focal = np.array([width / (right - left), height / (up - down)])
        centre = np.array([-left * focal[0] - 0.5, up * focal[1] - 0.5])
        return Camera(self.eye, self.size, focal, centre, world_from_camera=self.world_from_eye)
