"""The cameras of a pair of Aria glasses, from the calibration that their recordings carry as JSON.

The models are those of projectaria_tools (core/calibration/camera_projections). KannalaBrandtK3 is
OpenCV's fisheye model. FisheyeRadTanThinPrism ("Fisheye624": six radial, two tangential and four
thin-prism terms) has no like among `streams.camera`'s, so the nearest fisheye camera is fitted, and
refused where it is not near.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from streams.camera import Camera, Distortion
from streams.rigid import Rigid

Array = npt.NDArray[np.float64]

FISHEYE624, KANNALA_BRANDT = "FisheyeRadTanThinPrism", "KannalaBrandtK3"
PARAMETERS = {FISHEYE624: 15, KANNALA_BRANDT: 8}
CALIBRATED_SIZES = {
    "camera-rgb": (2880, 2880),
    "camera-slam-left": (640, 480), "camera-slam-right": (640, 480),
    "camera-et-left": (640, 480), "camera-et-right": (640, 480),
}  # fmt: skip
"""(width, height) of the pictures that the numbers are for, which the JSON does not say."""
RGB_MARGIN = 32.0
"""Pixels that are cut off all around before a colour picture is halved to 1408 x 1408
(projectaria_tools, AriaCalibRescaleAndCrop.cpp)."""
WIDEST = np.deg2rad(80.0)
"""Directions further from the axis do not take part in a fit: x / z has no room for them."""
LIT_CIRCLE = 0.515
"""Radius of the lens's picture as a part of the longer side: 330 pixels of 640, 725 of 1408."""
LARGEST_ERROR = 1.0 / 640.0
"""Of the longer side: a fitted camera whose pixels are further off (root mean square) is
refused."""


@dataclass(frozen=True, slots=True, eq=False)
class AriaCamera:
    """One entry of `CameraCalibrations`."""

    label: str
    """"camera-rgb", "camera-slam-left", ..."""
    serial: str
    """Of the sensor, as the stream's configuration tells it."""
    model: str
    parameters: Array
    """As the model orders them: one or two focal lengths, centre, distortion; pixels of
    CALIBRATED_SIZES, whose first pixel's centre is (0, 0)."""
    device_from_camera: Rigid


def read_aria_cameras(text: str) -> tuple[AriaCamera, ...]:
    """What the JSON of the tag `calib_json` holds. Raises ValueError when it is none."""
    try:
        entries = json.loads(text)["CameraCalibrations"]
        return tuple(_camera(entry) for entry in entries if entry.get("Calibrated", True))
    except (KeyError, TypeError, IndexError, json.JSONDecodeError) as error:
        raise ValueError(
            f"calib_json: expected Aria's calibration with CameraCalibrations, got {error!r}"
        ) from error


def nearest_camera(
    aria: AriaCamera, size: tuple[int, int], world_from_device: Rigid
) -> tuple[Camera, float]:
    """The camera for pictures of (width, height), and how far its pixels are off, root mean square.

    Raises ValueError for a model or a picture size that is not known, and where no camera of ours
    comes within LARGEST_ERROR.
    """
    wanted = PARAMETERS.get(aria.model)
    if wanted is None or len(aria.parameters) != wanted:
        raise ValueError(
            f"{aria.label}: its camera model {aria.model!r} with {len(aria.parameters)} numbers is "
            f"not known here (known: {', '.join(PARAMETERS)})"
        )
    scale, margin = _cut_of(aria.label, size)
    if aria.model == KANNALA_BRANDT:
        fx, fy, cx, cy = aria.parameters[:4]
        numbers, error = np.array([fx, fy, cx, cy, *aria.parameters[4:]]), 0.0
    else:
        numbers, error = _fitted(aria, size, scale, margin)
    if error * scale > LARGEST_ERROR * max(size):
        raise ValueError(
            f"{aria.label}: the nearest fisheye camera is {error * scale:.2f} pixels off (root "
            f"mean square); expected at most {LARGEST_ERROR * max(size):.1f}"
        )
    camera = Camera(
        aria.label,
        size,
        numbers[:2] * scale,
        # Pixel centres stay what they are: see streams.camera.
        (numbers[2:4] - margin + 0.5) * scale - 0.5,
        Distortion("fisheye", tuple(numbers[4:].tolist())),
        world_from_device @ aria.device_from_camera,
    )
    return camera, error * scale


def turned_upright(camera: Camera) -> Camera:
    """The camera of its pictures turned by a quarter clockwise (`np.rot90(picture, -1)`): Aria's
    sensors for the world lie on their side."""
    height = camera.size[1]
    quarter = np.sqrt(0.5)
    # x of the turned picture is -y of the old one, its y is the old x.
    return replace(
        camera,
        size=camera.size[::-1],
        focal=camera.focal[::-1].copy(),
        centre=np.array([height - 1.0 - camera.centre[1], camera.centre[0]]),
        world_from_camera=camera.world_from_camera @ Rigid(np.array([quarter, 0.0, 0.0, -quarter])),
    )


def project_fisheye624(parameters: Array, theta: Array, phi: Array) -> Array:
    """Pixels (..., 2) of directions `theta` from the axis and `phi` about it, x to y, radians.

    `parameters` (15,): f, cx, cy, k0..k5, p0, p1, s0..s3.
    """
    f, cx, cy = parameters[:3]
    k, p, s = parameters[3:9], parameters[9:11], parameters[11:15]
    squared = theta * theta
    radial = theta * (1.0 + sum(k[i] * squared ** (i + 1) for i in range(6)))
    x, y = radial * np.cos(phi), radial * np.sin(phi)
    r2 = x * x + y * y
    along = 2.0 * (x * p[0] + y * p[1])
    u = x + along * x + r2 * p[0] + s[0] * r2 + s[1] * r2 * r2
    v = y + along * y + r2 * p[1] + s[2] * r2 + s[3] * r2 * r2
    return np.stack([f * u + cx, f * v + cy], axis=-1)


def _camera(entry: dict[str, Any]) -> AriaCamera:
    projection, place = entry["Projection"], entry["T_Device_Camera"]
    real, imaginary = place["UnitQuaternion"]
    wxyz = np.array([real, *imaginary], np.float64)
    return AriaCamera(
        str(entry["Label"]),
        str(entry.get("SerialNumber", "")),
        str(projection["Name"]),
        np.array(projection["Params"], np.float64),
        Rigid(wxyz / np.linalg.norm(wxyz), np.array(place["Translation"], np.float64)),
    )


def _cut_of(label: str, size: tuple[int, int]) -> tuple[float, float]:
    """(scale, margin): a picture is the calibrated one, less `margin` pixels all around, scaled."""
    full = CALIBRATED_SIZES.get(label)
    if full is None:
        raise ValueError(f"{label}: which picture size its calibration is for is not known")
    if size == full:
        return 1.0, 0.0
    margin = RGB_MARGIN if label == "camera-rgb" else 0.0
    if size == tuple(round((side - 2 * margin) / 2) for side in full):
        return 0.5, margin
    raise ValueError(
        f"{label}: expected pictures of {full[0]}x{full[1]} or half of that, got "
        f"{size[0]}x{size[1]}"
    )


def _fitted(
    aria: AriaCamera, size: tuple[int, int], scale: float, margin: float
) -> tuple[Array, float]:
    """fx fy cx cy k1..k4 in pixels of the calibration, and the error there."""
    # Every degree and a bit, weighted alike: about as many as a picture has room for.
    theta, phi = np.meshgrid(np.linspace(0.0, WIDEST, 81), np.linspace(0.0, 2 * np.pi, 73)[:-1])
    pixels = project_fisheye624(aria.parameters, theta, phi)
    low = margin - 0.5
    high = np.array(size) / scale + margin - 0.5
    seen = ((pixels >= low) & (pixels <= high)).all(-1)
    from_centre = np.linalg.norm(pixels - aria.parameters[1:3], axis=-1)
    # The lens throws a circle; the corners are black.
    seen &= from_centre <= LIT_CIRCLE * max(size) / scale
    # Beyond what was calibrated the polynomial may turn back.
    rising = np.diff(from_centre, axis=1) > 0
    seen[:, 1:] &= np.logical_and.accumulate(rising, axis=1)
    theta, phi, pixels = theta[seen], phi[seen], pixels[seen]

    def off(numbers: Array) -> Array:
        fx, fy, cx, cy, *k = numbers
        squared = theta * theta
        bent = theta * (1.0 + sum(k[i] * squared ** (i + 1) for i in range(4)))
        x, y = fx * bent * np.cos(phi) + cx, fy * bent * np.sin(phi) + cy
        return (np.stack([x, y], axis=-1) - pixels).ravel()

    f, cx, cy = aria.parameters[:3]
    start = np.array([f, f, cx, cy, *aria.parameters[3:7]])
    found = least_squares(off, start, x_scale="jac")
    error = float(np.sqrt((found.fun**2).reshape(-1, 2).sum(-1).mean()))
    return np.asarray(found.x, np.float64), error
