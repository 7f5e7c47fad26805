"""Landmarks against annotated photographs: the accuracy part of `benchmarks.tracking`.

Two protocols: the whole photograph, and the square CROP times as wide as the annotated points'
box, as far as it lies in the photograph. Means are over what was found; a find is an annotated
one's when its points lie near enough on average (`landmark_metrics.FOUND_WITHIN`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.annotated_photographs import AnnotatedFace, AnnotatedHand
from benchmarks.compared_trackers import PhotographFinder
from tracking.engine import SMALLEST_SIDE, Picture
from tracking.landmark_metrics import (
    LandmarkScores,
    aligned_distance,
    closest,
    longer_side,
    mean_over_found,
    scores,
    share_found,
)

Array = npt.NDArray[np.float64]

PROTOCOLS = ("image", "crop")
CROP = 2.2
WRIST, MIDDLE_KNUCKLE = 0, 9


One = TypeVar("One")
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class HandAccuracy:
    """Of one data set, or of all."""

    data_set: str
    protocol: str
    count: int
    found: float
    """Share of the annotated hands."""
    pixels: float
    box_error: float
    """NME-box: mean distance, of the longer side of the annotated points' box."""
    palm_error: float
    """NME-palm: of the distance from wrist to middle knuckle, where both are annotated."""
    correct_10: float
    """PCK@0.1 of the box's longer side."""
    correct_20: float
    area: float
    """Under PCK from 0 to 0.3."""
    aligned_mm: float
    """PA: 3D, after alignment, where the set has 3D joints."""
    right_side: float
    """Share of the found hands whose side is told right, where the set says it."""


@dataclass(frozen=True, slots=True)
class FaceAccuracy:
    """Of one data set, or of all."""

    data_set: str
    protocol: str
    count: int
    found: float
    pixels: float
    error: float
    """NME of all annotated points: mean distance, of the distance of the outer eye corners."""
    inner_error: float
    """NME51: of iBUG's inner points, where the set has them."""


@dataclass(frozen=True, slots=True)
class HandsOnFaces:
    """Hands that one tracker sees on pictures of faces; whether they are hands is for who looks."""

    tracker: str
    pictures: int
    hands: int


def hands_on_faces(
    pictures: Sequence[Picture], tracker: str, finder: PhotographFinder
) -> HandsOnFaces:
    return HandsOnFaces(tracker, len(pictures), sum(len(finder.hands(rgb)) for rgb in pictures))


def hand_accuracy(
    hands: Sequence[AnnotatedHand], finder: PhotographFinder, protocol: str
) -> list[HandAccuracy]:
    """One row a data set, then "all"."""
    each = [_one_hand(hand, finder, protocol) for hand in hands]
    return _by_set([hand.data_set for hand in hands], each, protocol, _hands_row)


def face_accuracy(
    faces: Sequence[AnnotatedFace], finder: PhotographFinder, protocol: str
) -> list[FaceAccuracy]:
    """As `hand_accuracy`."""
    each = [_one_face(face, finder, protocol) for face in faces]
    return _by_set([face.data_set for face in faces], each, protocol, _faces_row)


def _by_set(
    sets: Sequence[str],
    each: Sequence[One],
    protocol: str,
    row: Callable[[str, str, Sequence[One]], Row],
) -> list[Row]:
    rows = [
        row(name, protocol, [one for of, one in zip(sets, each, strict=True) if of == name])
        for name in dict.fromkeys(sets)
    ]
    return [*rows, row("all", protocol, each)]


@dataclass(frozen=True, slots=True)
class _Hand:
    box: LandmarkScores
    palm_error: float
    aligned_m: float
    right_side: float


def _one_hand(hand: AnnotatedHand, finder: PhotographFinder, protocol: str) -> _Hand:
    rgb, offset = _shown(hand.picture, hand.landmarks, protocol)
    found = finder.hands(rgb)
    placed = [one.landmarks.astype(np.float64) + offset for one in found]
    best = closest(placed, hand.landmarks)
    nan = float("nan")
    if best is None:
        return _Hand(scores(None, hand.landmarks, 1.0), nan, nan, nan)
    whole = scores(placed[best], hand.landmarks, longer_side(hand.landmarks))
    palm = float(np.linalg.norm(hand.landmarks[MIDDLE_KNUCKLE] - hand.landmarks[WRIST]))
    return _Hand(
        whole,
        whole.pixels / palm,
        nan if hand.joints_m is None else aligned_distance(found[best].shape, hand.joints_m),
        nan if hand.side is None else float(found[best].side == hand.side),
    )


@dataclass(frozen=True, slots=True)
class _Face:
    whole: LandmarkScores
    inner_error: float


def _one_face(face: AnnotatedFace, finder: PhotographFinder, protocol: str) -> _Face:
    rgb, offset = _shown(face.picture, face.landmarks, protocol)
    placed = [face.layout.points(one) + offset for one in finder.faces(rgb)]
    best = closest(placed, face.landmarks)
    if best is None:
        return _Face(scores(None, face.landmarks, 1.0), float("nan"))
    right, left = face.landmarks[list(face.layout.outer_eye_corners)]
    unit = float(np.linalg.norm(right - left))
    inner = face.layout.inner
    if inner is None:
        return _Face(scores(placed[best], face.landmarks, unit), float("nan"))
    return _Face(
        scores(placed[best], face.landmarks, unit),
        scores(placed[best][inner], face.landmarks[inner], unit).error,
    )


def _hands_row(data_set: str, protocol: str, each: Sequence[_Hand]) -> HandAccuracy:
    mean = mean_over_found([one.box for one in each])
    return HandAccuracy(
        data_set,
        protocol,
        len(each),
        share_found([one.box for one in each]),
        mean.pixels,
        mean.error,
        _known_mean([one.palm_error for one in each]),
        mean.correct_10,
        mean.correct_20,
        mean.area,
        1000.0 * _known_mean([one.aligned_m for one in each]),
        _known_mean([one.right_side for one in each]),
    )


def _faces_row(data_set: str, protocol: str, each: Sequence[_Face]) -> FaceAccuracy:
    mean = mean_over_found([one.whole for one in each])
    return FaceAccuracy(
        data_set,
        protocol,
        len(each),
        share_found([one.whole for one in each]),
        mean.pixels,
        mean.error,
        _known_mean([one.inner_error for one in each]),
    )


def _known_mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _shown(path: Path, points: Array, protocol: str) -> tuple[Picture, Array]:
    """What the tracker is shown, and (2,) what to add to its pixels."""
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol: expected one of {PROTOCOLS}, got {protocol!r}")
    rgb = photograph(path)
    if protocol == "image":
        return rgb, np.zeros(2)
    known = points[np.isfinite(points).all(axis=1)]
    middle = (known.min(axis=0) + known.max(axis=0)) / 2
    half = max(CROP * longer_side(points), SMALLEST_SIDE) / 2
    size = np.array(rgb.shape[1::-1])
    low = np.clip(np.floor(middle - half), 0, size - SMALLEST_SIDE).astype(int)
    high = np.clip(np.ceil(middle + half), low + SMALLEST_SIDE, size).astype(int)
    return np.ascontiguousarray(rgb[low[1] : high[1], low[0] : high[0]]), low.astype(np.float64)


def photograph(path: Path) -> Picture:
    """(H, W, 3) uint8 sRGB as the file has it; no turning by its metadata."""
    with Image.open(path) as image:
        return np.ascontiguousarray(image.convert("RGB"), np.uint8)
