"""The calibrated cameras of a capture dome, from the two files in which they are published.

Both give intrinsics in pixels and camera_from_world in millimetres, in a world with OpenCV's axes
(x right, y down, z forward as the central camera has them). Here they become metres in a world with
y up, in which who looks at the central camera has the world's axes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avatar.datasets.capture_files import MM, DatasetError, file_text
from streams.camera import FISHEYES, Camera, Distortion
from streams.rigid import Rigid

Array = npt.NDArray[np.float64]

WORLD_FROM_DOME = Rigid(np.array([0.0, 1.0, 0.0, 0.0]))
"""Half a turn about x: y down and z forward become y up and z back."""
KRT_LINES = 8
"""Name, three of intrinsics, one of distortion, three of extrinsics."""
ADVICE = "download the capture's calibration again"


def read_krt(path: Path, size: tuple[int, int]) -> dict[str, Camera]:
    """The cameras of a KRT file by name, for pictures of `size` (width, height) pixels.

    Eight lines a camera: name, K (3 x 3), distortion k1 k2 p1 p2 k3, [R|t] (3 x 4, millimetres);
    lines left empty do not count. Raises DatasetError.
    """
    lines = [(k + 1, line.strip()) for k, line in enumerate(file_text(path, ADVICE).splitlines())]
    lines = [(k, line) for k, line in lines if line]
    if not lines or len(lines) % KRT_LINES:
        raise DatasetError(
            f"{path}: expected {KRT_LINES} lines a camera, got {len(lines)} lines; is it cut? "
            f"{ADVICE}"
        )
    cameras: dict[str, Camera] = {}
    for start in range(0, len(lines), KRT_LINES):
        at, name = lines[start]
        where = f"{path}, line {at}, camera {name!r}"
        rows = [line for _, line in lines[start + 1 : start + KRT_LINES]]
        numbers = [_numbers(row, where) for row in rows]
        wanted = [3, 3, 3, 5, 4, 4, 4]
        if [len(n) for n in numbers] != wanted:
            raise DatasetError(
                f"{where}: expected rows of {wanted} numbers, got {[len(n) for n in numbers]}"
            )
        cameras[name] = _camera(
            name, size, np.array(numbers[:3]), numbers[3], np.array(numbers[4:]), where
        )
    return cameras


def read_calibration(path: Path, size: tuple[int, int]) -> dict[str, Camera]:
    """The cameras of a `camera_calibration.json` by name, for sensors of `size` pixels.

    A list "KRT" of cameras; matrices are stored by columns, and only the first four coefficients
    of the distortion. Raises DatasetError.
    """
    try:
        listed = json.loads(file_text(path, ADVICE))["KRT"]
        entries = [
            (
                str(item["cameraId"]),
                np.array(item["K"], np.float64).T,
                [float(k) for k in item["distortion"]],
                np.array(item["T"], np.float64).T,
            )
            for item in listed
        ]
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(
            f"{path}: expected JSON with a list 'KRT' of cameras with cameraId, K, distortion and "
            f"T, got {type(error).__name__} {error}; {ADVICE}"
        ) from error
    cameras = {}
    for name, intrinsics, distortion, extrinsics in entries:
        where = f"{path}, camera {name!r}"
        if intrinsics.shape != (3, 3) or extrinsics.shape != (4, 4):
            raise DatasetError(
                f"{where}: expected K of (3, 3) and T of (4, 4), got {intrinsics.shape} and "
                f"{extrinsics.shape}"
            )
        coefficients = (distortion + [0.0] * 5)[:5]
        cameras[name] = _camera(name, size, intrinsics, coefficients, extrinsics[:3], where)
    return cameras


def krt_text(cameras: Mapping[str, Camera]) -> str:
    """What `read_krt` reads."""
    blocks = []
    for name, camera in cameras.items():
        rows = [
            *camera.matrix(), np.array(_coefficients(camera)), *_extrinsics(camera)[:3],
        ]  # fmt: skip
        blocks.append("\n".join([name, *(" ".join(repr(float(x)) for x in row) for row in rows)]))
    return "\n\n".join(blocks) + "\n\n"


def calibration_text(cameras: Mapping[str, Camera]) -> str:
    """What `read_calibration` reads."""
    listed = [
        {
            "cameraId": name,
            "projectionModel": "Pinhole",
            "distortionModel": "RadialAndTangential",
            "K": camera.matrix().T.tolist(),
            "distortion": list(_coefficients(camera)[:4]),
            "T": _extrinsics(camera).T.tolist(),
        }
        for name, camera in cameras.items()
    ]
    return json.dumps({"KRT": listed}, indent=1)


def _camera(
    name: str,
    size: tuple[int, int],
    intrinsics: Array,
    distortion: list[float],
    extrinsics: Array,
    where: str,
) -> Camera:
    skew = intrinsics[[0, 1, 2, 2], [1, 0, 0, 1]]
    if np.abs(skew).max() > 1e-6 or abs(intrinsics[2, 2] - 1.0) > 1e-6:
        raise DatasetError(f"{where}: expected intrinsics without skew, got\n{intrinsics}")
    try:
        camera_from_dome = Rigid.from_rotation(extrinsics[:, :3], extrinsics[:, 3] * MM)
        return Camera(
            name,
            size,
            np.diagonal(intrinsics)[:2].copy(),
            intrinsics[:2, 2].copy(),
            Distortion("pinhole_brown", tuple(distortion)) if any(distortion) else Distortion(),
            WORLD_FROM_DOME @ camera_from_dome.inverse(),
        )
    except ValueError as error:
        raise DatasetError(f"{where}: {error}; {ADVICE}") from error


def _extrinsics(camera: Camera) -> Array:
    """(4, 4) camera_from_dome, millimetres."""
    matrix = (camera.world_from_camera.inverse() @ WORLD_FROM_DOME).matrix()
    matrix[:3, 3] /= MM
    return matrix


def _coefficients(camera: Camera) -> tuple[float, ...]:
    if camera.distortion.model in FISHEYES:
        raise ValueError(f"camera {camera.name!r}: a dome's calibration holds no fisheye lenses")
    return camera.distortion.coefficients or (0.0,) * 5


def _numbers(row: str, where: str) -> list[float]:
    try:
        values = [float(x) for x in row.split()]
    except ValueError as error:
        raise DatasetError(f"{where}: expected numbers, got {row[:60]!r}") from error
    if not np.isfinite(values).all():
        raise DatasetError(f"{where}: expected finite numbers, got {row[:60]!r}")
    return values
