"""UmeTrack's raw recordings: `NAME.mp4`, four grey fisheye views side by side, and `NAME.json`.

The JSON (facebookresearch/UmeTrack, lib/tracker/video_pose_data.py) holds `cameras` (ImageSizeX,
ImageSizeY, fx, fy, cx, cy, DistortionModel and its coefficients by name), `hand_model`, and for
each of N pictures `camera_to_world_transforms` (N, C, 4, 4), `joint_angles` (N, 2, 22),
`wrist_transforms` (N, 2, 4, 4) and `hand_confidences` (N, 2), left hand first; lengths in
millimetres. A picture whose camera transforms are all 0 was taken while the headset was lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.frame_source import SourceError, SourceOptions
from capture.hand_clip import HandClip, HandMoment
from capture.umetrack_hand import MILLIMETRE, UmeTrackHand, in_mediapipes_order
from capture.video_file import VideoFile
from streams.camera import Camera, Distortion
from streams.frame import Frame
from streams.rigid import Rigid
from streams.tracked_state import SIDES

Array = npt.NDArray[np.float64]

LARGEST_SIDE = 16384
"""Pixels: the views side by side are never scaled down."""


class UmeTrackClip(HandClip):
    """Iterate for the moments at which the headset knew its own place."""

    def __init__(self, path: Path) -> None:
        """Raises SourceError when the video or its labels cannot be read."""
        labels = path.with_suffix(".json")
        try:
            fields = json.loads(labels.read_text())
            self._cameras = tuple(_camera(k, each) for k, each in enumerate(fields["cameras"]))
            count = len(self._cameras)
            # Of unlabelled hands the numbers may be NaN.
            self._world_from_camera = _array(
                fields, "camera_to_world_transforms", (None, count, 4, 4)
            )
            moments = len(self._world_from_camera)
            self._angles = _array(fields, "joint_angles", (moments, 2, 22))
            self._world_from_wrist = _array(fields, "wrist_transforms", (moments, 2, 4, 4))
            self._sure = _array(fields, "hand_confidences", (moments, 2))
            self._hand = UmeTrackHand.of(fields["hand_model"])
        except OSError as error:
            raise SourceError(
                f"{labels}: the labels of {path.name} cannot be read ({error})"
            ) from (error)
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(f"{labels}: expected UmeTrack's labels, got {error}") from error
        self._world_from_camera[..., :3, 3] *= MILLIMETRE
        self._world_from_wrist[..., :3, 3] *= MILLIMETRE
        self._video = VideoFile(path, SourceOptions(longest_side=LARGEST_SIDE))
        width, height = self._video.camera.size
        wanted = sum(camera.size[0] for camera in self._cameras)
        if width != wanted or any(camera.size[1] != height for camera in self._cameras):
            self._video.close()
            raise SourceError(
                f"{path}: expected {len(self._cameras)} views side by side, {wanted} x "
                f"{self._cameras[0].size[1]} pixels, got {width} x {height}"
            )

    def __iter__(self) -> Iterator[HandMoment]:
        for k, frame in enumerate(self._video):
            if k >= len(self._angles):
                raise SourceError(
                    f"{self._video.path}: has more pictures than its labels, {len(self._angles)}"
                )
            if not self._world_from_camera[k].any():
                continue
            frames: list[Frame] = []
            left = 0
            for camera, place in zip(self._cameras, self._world_from_camera[k], strict=True):
                rgb = np.ascontiguousarray(frame.rgb[:, left : left + camera.size[0]])
                left += camera.size[0]
                here = replace(camera, world_from_camera=Rigid.from_matrix(place))
                frames.append(Frame(frame.t_ns, frame.seq, here, rgb))
            truth = {side: self._truth(k, side) for side in SIDES if self._labelled(k, side)}
            yield HandMoment(tuple(frames), truth)

    def close(self) -> None:
        """Close the video."""
        self._video.close()

    def _labelled(self, k: int, side: str) -> bool:
        return bool(self._sure[k, SIDES.index(side)] > 0.0)

    def _truth(self, k: int, side: str) -> Array:
        hand = SIDES.index(side)
        angles, place = self._angles[k, hand], self._world_from_wrist[k, hand]
        return in_mediapipes_order(self._hand.posed(angles[None], place[None], side)[0])


def _camera(index: int, entry: dict[str, Any]) -> Camera:
    entry = entry.get("Camera", entry)
    model = entry["DistortionModel"]
    if model == "FishEye62":
        names = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
        lens = Distortion("fisheye62", tuple(float(entry[name]) for name in names))
    elif model == "PinholePlane":
        lens = Distortion()
    else:
        raise ValueError(f"camera model {model!r}; known are FishEye62 and PinholePlane")
    return Camera(
        f"umetrack {index}",
        (int(entry["ImageSizeX"]), int(entry["ImageSizeY"])),
        np.array([entry["fx"], entry["fy"]], np.float64),
        np.array([entry["cx"], entry["cy"]], np.float64),
        lens,
    )


def _array(fields: dict[str, Any], name: str, shape: tuple[int | None, ...]) -> Array:
    value = np.array(fields[name], np.float64)
    if value.ndim != len(shape) or any(
        n is not None and n != m for n, m in zip(shape, value.shape, strict=False)
    ):
        raise ValueError(f"{name}: expected {shape}, got {value.shape}")
    return value
