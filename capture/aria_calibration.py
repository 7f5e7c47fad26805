"""The cameras of a pair of Aria glasses, from the calibration that their recordings carry as JSON.

The models are those of projectaria_tools (core/calibration/camera_projections). KannalaBrandtK3 is
OpenCV's fisheye model, FisheyeRadTanThinPrism is "fisheye624" of `streams.camera`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.camera import Camera, Distortion
from streams.projection import directions
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
CORNERS = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
RGB_MARGIN = 32.0
"""Pixels that are cut off all around before a colour picture is halved to 1408 x 1408
(projectaria_tools, AriaCalibRescaleAndCrop.cpp)."""


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


def camera_of(aria: AriaCamera, size: tuple[int, int], world_from_device: Rigid) -> Camera:
    """The camera for pictures of (width, height).

    Raises ValueError for a model or a picture size that is not known, and for a lens that has no
    direction for the middle of its picture.
    """
    wanted = PARAMETERS.get(aria.model)
    if wanted is None or len(aria.parameters) != wanted:
        raise ValueError(
            f"{aria.label}: its camera model {aria.model!r} with {len(aria.parameters)} numbers is "
            f"not known here (known: {', '.join(PARAMETERS)})"
        )
    scale, margin = _cut_of(aria.label, size)
    if aria.model == KANNALA_BRANDT:
        focal, centre, lens = aria.parameters[:2], aria.parameters[2:4], aria.parameters[4:]
        model = "fisheye"
    else:
        focal, centre, lens = aria.parameters[[0, 0]], aria.parameters[1:3], aria.parameters[3:]
        model = "fisheye624"
    camera = Camera(
        aria.label,
        size,
        focal * scale,
        # Pixel centres stay what they are: see streams.camera.
        (centre - margin + 0.5) * scale - 0.5,
        Distortion(model, tuple(lens.tolist())),
        world_from_device @ aria.device_from_camera,
    )
    middle = np.array(size) / 2.0 + np.min(size) / 4.0 * CORNERS
    if not np.isfinite(directions(camera, middle)).all():
        raise ValueError(f"{aria.label}: its numbers describe no lens ({lens.tolist()})")
    return camera


def turned_upright(camera: Camera) -> Camera:
    """The camera of its pictures turned by a quarter clockwise (`np.rot90(picture, -1)`): Aria's
    sensors for the world lie on their side."""
    height = camera.size[1]
    quarter = np.sqrt(0.5)
    lens = camera.distortion
    if lens.model == "fisheye624":
        *radial, p1, p2, s1, s2, s3, s4 = lens.coefficients
        lens = Distortion(lens.model, (*radial, -p2, p1, -s3, -s4, s1, s2))
    # x of the turned picture is -y of the old one, its y is the old x.
    return replace(
        camera,
        size=camera.size[::-1],
        focal=camera.focal[::-1].copy(),
        centre=np.array([height - 1.0 - camera.centre[1], camera.centre[0]]),
        distortion=lens,
        world_from_camera=camera.world_from_camera @ Rigid(np.array([quarter, 0.0, 0.0, -quarter])),
    )


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
