"""Photographs with annotated hands and faces, in the COCO-style layouts that MMPose reads.

A folder holds one folder a data set, as MMPose's `tests/data` does (freihand/, 300w/, ...), or the
pictures and json files themselves. Points that nobody annotated are NaN.

Annotations are taken to count from the picture's corner, so half a pixel is taken off. None of the
sets says; MediaPipe lies nearer to four of the five sets of hands that way, and the project's study
counted so. COCO's keypoints are numbers of pixels, as Detectron2 reads them: a pixel's centre is
whole. On its faces of 25 pixels half a pixel is 3 % of the distance between the eyes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.face_layouts import (
    AFLW_19,
    COFW_29,
    IBUG_68,
    LAPA_TO_IBUG,
    WFLW_TO_IBUG,
    FaceLayout,
)

Array = npt.NDArray[np.float64]

_HALF = 0.5

_WRIST_THEN_TIPS_FIRST = (0, 4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17)
"""RHD's joints (wrist, then each finger from its tip) in MediaPipe's order."""
_TIPS_FIRST_THEN_WRIST = (20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16)
"""InterHand2.6M's joints in MediaPipe's order."""
_HAND_SETS = ("freihand", "onehand10k", "panoptic", "rhd")
_FACE_SETS: dict[str, FaceLayout] = {
    "300w": IBUG_68,
    "wflw": IBUG_68,
    "lapa": IBUG_68,
    "300wlp": IBUG_68,
    "cofw": COFW_29,
    "aflw": AFLW_19,
}


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedHand:
    """One hand of one photograph."""

    data_set: str
    picture: Path
    landmarks: Array
    """(21, 2) float64 pixels, MediaPipe's order, NaN where unknown; (0, 0) is a pixel's centre."""
    side: str | None
    """"left" or "right", None where the set does not say."""
    joints_m: Array | None
    """(21, 3) float64 metres, camera axes, MediaPipe's order; None where the set has none."""


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedFace:
    """One face of one photograph."""

    data_set: str
    picture: Path
    landmarks: Array
    """(points of the layout, 2) float64 pixels, NaN where unknown."""
    layout: FaceLayout


def read_hands(folder: Path) -> list[AnnotatedHand]:
    """Every annotated hand; an empty list where the folder has none.

    Raises ValueError when a file is not what its name says.
    """
    hands: list[AnnotatedHand] = []
    for data_set in _HAND_SETS:
        for path, annotation, image in _annotations(folder, data_set):
            points = _points(path, annotation["keypoints"], 21)
            joints = annotation.get("joint_cam")
            if data_set == "rhd":
                points = points[list(_WRIST_THEN_TIPS_FIRST)]
            hands.append(
                AnnotatedHand(
                    data_set,
                    path.parent / image["file_name"],
                    points,
                    annotation.get("hand_type"),
                    None
                    if joints is None
                    else np.array(joints, np.float64)[list(_WRIST_THEN_TIPS_FIRST)] / 1000.0,
                )
            )
    return hands + list(_interhand(folder))


def read_faces(folder: Path) -> list[AnnotatedFace]:
    """Every annotated face; as `read_hands`."""
    faces: list[AnnotatedFace] = []
    for data_set, layout in _FACE_SETS.items():
        for path, annotation, image in _annotations(folder, data_set):
            points = _points(path, annotation["keypoints"])
            if data_set == "wflw":
                points = points[list(WFLW_TO_IBUG)]
            elif data_set == "lapa":
                points = points[list(LAPA_TO_IBUG)]
            if len(points) != len(layout.landmarks):
                raise ValueError(f"{path}: expected {len(layout.landmarks)} points a face")
            picture = path.parent / image["file_name"]
            faces.append(AnnotatedFace(data_set, picture, points, layout))
    for path, annotation, image in _annotations(folder, "coco_wholebody", "coco"):
        if annotation.get("face_valid"):
            faces.append(
                AnnotatedFace(
                    "coco_wholebody",
                    path.parent / image["file_name"],
                    _points(path, annotation["face_kpts"], 68) + _HALF,
                    IBUG_68,
                )
            )
    return faces


def _annotations(
    folder: Path, data_set: str, subfolder: str | None = None
) -> Iterator[tuple[Path, dict[str, Any], dict[str, Any]]]:
    """The json file, each annotation and its image's entry."""
    name = f"test_{data_set}.json"
    for path in (folder / (subfolder or data_set) / name, folder / name):
        if not path.is_file():
            continue
        document = _read(path)
        images = {image["id"]: image for image in document["images"]}
        for annotation in document["annotations"]:
            yield path, annotation, images[annotation["image_id"]]
        return


def _interhand(folder: Path) -> Iterator[AnnotatedHand]:
    """InterHand2.6M: 3D joints in the world, cameras, up to two hands a picture."""
    folder = folder / "interhand2.6m"
    if not (folder / "test_interhand2.6m_data.json").is_file():
        return
    data = _read(folder / "test_interhand2.6m_data.json")
    cameras = _read(folder / "test_interhand2.6m_camera.json")
    joints = _read(folder / "test_interhand2.6m_joint_3d.json")
    images = {image["id"]: image for image in data["images"]}
    order = list(_TIPS_FIRST_THEN_WRIST)
    for annotation in data["annotations"]:
        image = images[annotation["image_id"]]
        capture, name = str(image["capture"]), str(image["camera"])
        camera = {key: np.array(value[name]) for key, value in cameras[capture].items()}
        world = np.array(joints[capture][str(image["frame_idx"])]["world_coord"], np.float64)
        valid = np.array(annotation["joint_valid"]).ravel() > 0
        seen = (world - camera["campos"]) @ camera["camrot"].T
        pixels = seen[:, :2] / seen[:, 2:] * camera["focal"] + camera["princpt"]
        for side, rows in (("right", slice(0, 21)), ("left", slice(21, 42))):
            if not valid[rows].any():
                continue
            known = valid[rows, None]
            flat = np.where(known, pixels[rows] - _HALF, np.nan)[order]
            solid = np.where(known, seen[rows], np.nan)[order] / 1000.0
            yield AnnotatedHand(
                "interhand",
                folder / image["file_name"],
                flat,
                side,
                solid,
            )


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: expected annotations in JSON, got {error}") from error


def _points(path: Path, keypoints: Any, count: int | None = None) -> Array:
    """x, y, visibility -> (N, 2), NaN where nobody annotated the point."""
    rows = np.array(keypoints, np.float64).reshape(-1, 3)
    if count is not None and len(rows) != count:
        raise ValueError(f"{path}: expected {count} points, got {len(rows)}")
    return np.where(rows[:, 2:] > 0, rows[:, :2] - _HALF, np.nan)
