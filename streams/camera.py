"""Cameras: intrinsics, lens distortion and place in the world.

OpenCV axes: x right, y down, z forward. Pixel (0, 0) is the *centre* of the top-left pixel, so an
image spans (-0.5, w - 0.5) and resizing by s maps x to (x + 0.5) * s - 0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_array, require_choice, require_finite, require_size
from streams.rigid import Rigid

COEFFICIENTS = {"none": 0, "pinhole_brown": 5, "fisheye": 4, "fisheye62": 8, "fisheye624": 12}
"""How many coefficients each distortion model has."""
DISTORTION_MODELS = tuple(COEFFICIENTS)
FISHEYES = ("fisheye", "fisheye62", "fisheye624")
"""The models that bend angles, not slopes; what follows holds up to 90 degrees from the axis."""

WORLD_FROM_WEBCAM = Rigid(np.array([0.0, 1.0, 0.0, 0.0]))
"""A webcam that defines the world: its centre is the origin, it looks along -z, y is up."""

WEBCAM_HORIZONTAL_FOV = np.deg2rad(60.0)
"""The usual laptop camera's field of view along the longer image side, radians."""


@dataclass(frozen=True, slots=True, eq=False)
class Distortion:
    """Lens distortion on normalised image coordinates (x/z, y/z).

    "none": no coefficients. "pinhole_brown": k1 k2 p1 p2 k3 (OpenCV's order). "fisheye": k1..k4 of
    OpenCV's Kannala-Brandt model, theta_d = theta (1 + k1 theta^2 + ... + k4 theta^8).

    "fisheye62" (k1..k6 p1 p2) and "fisheye624" (k1..k6 p1 p2 s1..s4) are the lenses of headsets:
    UmeTrack's Fisheye62 and Aria's, Quest's and HOT3D's Fisheye624 (FisheyeRadTanThinPrism of
    projectaria_tools; OVR62 and OVR624 of hand_tracking_toolkit). With theta (cos phi, sin phi) the
    angle from the axis as a vector: it is stretched to (x, y) by 1 + k1 theta^2 + ... +
    k6 theta^12, then x += p1 (r^2 + 2 x^2) + 2 p2 x y + s1 r^2 + s2 r^4 and
    y += p2 (r^2 + 2 y^2) + 2 p1 x y + s3 r^2 + s4 r^4, r the length of (x, y). p1 goes with x:
    the other way round than in OpenCV's Brown model.
    """

    model: str = "none"
    coefficients: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require_choice("Distortion.model", self.model, DISTORTION_MODELS)
        wanted = COEFFICIENTS[self.model]
        if len(self.coefficients) != wanted:
            raise ValueError(
                f"Distortion.coefficients: expected {wanted} for {self.model!r}, "
                f"got {len(self.coefficients)}"
            )
        if not all(math.isfinite(k) for k in self.coefficients):
            raise ValueError(
                f"Distortion.coefficients: expected finite numbers, got {self.coefficients}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """One calibrated camera at one resolution."""

    name: str
    size: tuple[int, int]
    """(width, height) in pixels."""
    focal: npt.NDArray[np.float64]
    """(2,) float64 pixels, fx fy, both positive."""
    centre: npt.NDArray[np.float64]
    """(2,) float64 pixels, the principal point."""
    distortion: Distortion = field(default_factory=Distortion)
    world_from_camera: Rigid = WORLD_FROM_WEBCAM

    def __post_init__(self) -> None:
        require_size("Camera.size", self.size)
        for name in ("focal", "centre"):
            value = require_array(f"Camera.{name}", getattr(self, name), np.float64, (2,))
            require_finite(f"Camera.{name}", value)
            object.__setattr__(self, name, value)
        if not (self.focal > 0).all():
            raise ValueError(f"Camera.focal: expected positive pixels, got {self.focal}")

    @staticmethod
    def from_fov(
        size: tuple[int, int],
        fov_long_side: float = WEBCAM_HORIZONTAL_FOV,
        *,
        name: str = "camera",
        world_from_camera: Rigid = WORLD_FROM_WEBCAM,
    ) -> Camera:
        """A pinhole with square pixels, centred, whose *longer* side spans `fov_long_side` radians.

        The guess for a camera that nobody calibrated.
        """
        require_size("Camera.from_fov size", size)
        focal = max(size) / (2.0 * np.tan(fov_long_side / 2.0))
        return Camera(
            name,
            size,
            np.array([focal, focal]),
            np.array([(size[0] - 1) / 2.0, (size[1] - 1) / 2.0]),
            world_from_camera=world_from_camera,
        )

    @staticmethod
    def guessed(
        size: tuple[int, int], fov_long_side: float | None = None, *, name: str = "camera"
    ) -> Camera:
        """What an unknown camera of this picture size probably is, unless its angle is given.

        Webcams are about WEBCAM_HORIZONTAL_FOV wide at 16:9, and what is narrower (4:3 modes,
        squares, portraits) is usually cut out of such a picture: so the *shorter* side is taken to
        span what a 16:9 webcam's shorter side does, 36 degrees.
        """
        require_size("Camera.guessed size", size)
        if fov_long_side is None:
            short_side = np.tan(WEBCAM_HORIZONTAL_FOV / 2.0) * 9.0 / 16.0 / min(size)
            fov_long_side = 2.0 * float(np.arctan(short_side * max(size)))
        return Camera.from_fov(size, fov_long_side, name=name)

    def scaled(self, size: tuple[int, int]) -> Camera:
        """The same camera read out at another resolution (both axes scaled on their own)."""
        require_size("Camera.scaled size", size)
        s = np.array(size, np.float64) / np.array(self.size, np.float64)
        return replace(self, size=size, focal=self.focal * s, centre=(self.centre + 0.5) * s - 0.5)

    def matrix(self) -> npt.NDArray[np.float64]:
        """(3, 3) float64 intrinsic matrix K."""
        return np.array(
            [[self.focal[0], 0.0, self.centre[0]], [0.0, self.focal[1], self.centre[1]], [0, 0, 1]]
        )
