"""Rig files: the calibrated cameras of one set-up, as JSON (docs/cameras.md).

{"format": "visavis rig", "version": 1, "cameras": [{"name": "webcam:0", "size": [640, 480],
 "focal": [520.1, 519.8], "centre": [321.0, 238.2],
 "distortion": {"model": "pinhole_brown", "coefficients": [...]},
 "world_from_camera": {"wxyz": [...], "xyz": [...]}}]}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streams.camera import Camera, Distortion
from streams.rigid import Rigid

FORMAT, VERSION = "visavis rig", 1


class RigError(OSError):
    """A rig file cannot be read or has no such camera. The message is one readable line."""


def write_rig(path: Path, cameras: Sequence[Camera]) -> None:
    """Write the file anew. Raises OSError."""
    entries = [
        {
            "name": camera.name,
            "size": list(camera.size),
            "focal": camera.focal.tolist(),
            "centre": camera.centre.tolist(),
            "distortion": {
                "model": camera.distortion.model,
                "coefficients": list(camera.distortion.coefficients),
            },
            "world_from_camera": {
                "wxyz": camera.world_from_camera.wxyz.tolist(),
                "xyz": camera.world_from_camera.xyz.tolist(),
            },
        }
        for camera in cameras
    ]
    whole = {"format": FORMAT, "version": VERSION, "cameras": entries}
    path.write_text(json.dumps(whole, indent=1) + "\n")


def read_rig(path: Path) -> tuple[Camera, ...]:
    """The cameras in their order. Raises RigError."""
    try:
        whole = json.loads(path.read_text())
        if whole["format"] != FORMAT:
            raise ValueError(f"format {whole['format']!r}")
        if whole["version"] != VERSION:
            raise ValueError(f"version {whole['version']!r}; this Visavis reads {VERSION}")
        cameras = tuple(_camera(entry) for entry in whole["cameras"])
        if not cameras:
            raise ValueError("no cameras")
        names = [camera.name for camera in cameras]
        if len(set(names)) != len(names):
            raise ValueError(f"two cameras of one name in {names}")
    except OSError as error:
        raise RigError(f"{path}: this rig file cannot be read ({error})") from error
    except (KeyError, TypeError, ValueError) as error:
        raise RigError(
            f"{path}: expected a rig file of `visavis calibrate`, got {error}"
        ) from error
    return cameras


def _camera(entry: dict[str, Any]) -> Camera:
    width, height = entry["size"]
    lens, place = entry["distortion"], entry["world_from_camera"]
    return Camera(
        str(entry["name"]),
        (width, height),
        np.array(entry["focal"], np.float64),
        np.array(entry["centre"], np.float64),
        Distortion(lens["model"], tuple(float(k) for k in lens["coefficients"])),
        Rigid(np.array(place["wxyz"], np.float64), np.array(place["xyz"], np.float64)),
    )
