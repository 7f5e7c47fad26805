"""Where a landmark network looks: turned squares of a picture, and pictures cut out of them.

Pictures have pixel (0, 0) in the middle of the top-left pixel. A crop has coordinates from 0 at its
left and upper edge to its size at the other edges, which is what the landmark networks speak.

The rules by which regions follow from detections and from landmarks, with all their numbers, are
those of MediaPipe's hand and face landmarker graphs (`hand_detector_graph.cc`,
`hand_landmarks_detector_graph.cc`, `face_detector_graph.cc`, `face_landmarks_detector_graph.cc`,
Apache-2.0).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]

PALM_ANGLE = math.pi / 2.0
"""Radians: a hand's region is turned until the palm's axis points up in the crop."""
MEDIAPIPE_PALM_ANGLE = 90.0
"""What MediaPipe's palm detector has in the place of it: 90 degrees that are read as radians, which
turns every first region of a hand by 26.6 degrees too far."""

PALM_SCALE, PALM_SHIFT = 2.6, -0.5
"""From the box of a palm to the hand's region: its size, and its shift along the fingers in box
heights (negative is towards the finger tips)."""
HAND_SCALE, HAND_SHIFT = 2.0, -0.1
"""Likewise from the box of a hand's landmarks."""
FACE_SCALE = 1.5
"""From the box of a face, detected or of landmarks, to its region."""

PALM_WRIST, PALM_MIDDLE = 0, 2
"""Points of a detected palm: the wrist's middle and the middle finger's knuckle."""
STEADY_JOINTS = np.array([0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18])
"""Hand landmarks that a region is laid round: all but the finger tips and the joints before them,
which would make it breathe with every gesture."""
WRIST, INDEX_KNUCKLE, MIDDLE_KNUCKLE, RING_KNUCKLE = 0, 5, 9, 13
DETECTED_EYES = (0, 1)
"""Points of a detected face: the person's right eye, then the left."""
OUTER_CORNERS = (33, 263)
"""Face landmarks: outer corner of the person's right eye, then of the left."""

FARTHEST = 1e6
"""Pixels: a damaged network may say any number, which float32 matrices then do not hold."""

SHAKES = ((0.0, 0.0, 1.0, 0.0), (0.02, 0.0, 1.0, 0.08), (-0.02, 0.0, 1.0, -0.08),
          (0.0, 0.02, 1.06, 0.04), (0.0, -0.02, 0.95, -0.04))  # fmt: skip
"""Five looks at one thing: shift in sides (x, y), scale, turn in radians. Their mean trembles less
than one of them, and errs less on what moves, without any lag."""


@dataclass(frozen=True, slots=True)
class Region:
    """A turned square of a picture."""

    x: float
    """Pixels: its middle."""
    y: float
    side: float
    """Pixels."""
    angle: float
    """Radians by which its x axis is turned from the picture's x axis towards the picture's y
    axis (clockwise to the eye), -pi to pi."""

    def usable(self) -> bool:
        """Whether it can be cut out: finite, larger than a pixel, and not beyond all pictures."""
        return (
            all(map(math.isfinite, (self.x, self.y, self.side, self.angle)))
            and self.side > 1.0
            and max(abs(self.x), abs(self.y), self.side) < FARTHEST
        )

    def shaken(self, count: int) -> tuple[Region, ...]:
        """The first `count` of the five looks of `SHAKES`; one is the region itself."""
        return tuple(
            Region(
                self.x + shift_x * self.side,
                self.y + shift_y * self.side,
                self.side * scale,
                self.angle + turn,
            )
            for shift_x, shift_y, scale, turn in SHAKES[:count]
        )


def picture_from_crop(region: Region, size: int) -> Array:
    """(2, 3) float64: crop coordinates (0 to `size`) -> pixels of the picture."""
    scale = region.side / size
    along, across = math.cos(region.angle) * scale, math.sin(region.angle) * scale
    half = size / 2.0
    return np.array(
        [
            [along, -across, region.x - (along - across) * half],
            [across, along, region.y - (across + along) * half],
        ]
    )


def into_picture(points: npt.ArrayLike, region: Region, size: int) -> Array:
    """(N, 2) float64 pixels of the picture, of (N, 2) crop coordinates."""
    to = picture_from_crop(region, size)
    return np.asarray(points, np.float64) @ to[:, :2].T + to[:, 2]


@dataclass(frozen=True, slots=True)
class Cut:
    """How pictures are cut out."""

    size: int
    """Pixels of the crop's side."""
    beyond_is_black: bool = False
    """Beyond its edges a picture is black, else it goes on as its edge is."""
    mediapipe: bool = False
    """Reads pixel (u, v) of a crop where MediaPipe does: at crop coordinate (u, v) and half a pixel
    to the right and below in the picture. Else it is read at its middle, (u + 0.5, v + 0.5), which
    is right at every scale; what MediaPipe says of a region n times as large as the crop is off by
    (n - 1) / 2 pixels: by half a pixel of a small face, the other way in a large one."""

    def picture_from_pixel(self, region: Region) -> Array:
        """(2, 3) float64: pixel (u, v) of the crop -> pixel of the picture it is read at."""
        to = picture_from_crop(region, self.size)
        to[:, 2] += 0.5 if self.mediapipe else 0.5 * to[:, :2].sum(1)
        return to


def crop(rgb: Picture, region: Region, cut: Cut) -> Picture:
    """(size, size, 3) uint8, bilinear: what the picture (H, W, 3) uint8 shows in the region."""
    return np.asarray(
        cv2.warpAffine(
            rgb,
            cut.picture_from_pixel(region),
            (cut.size, cut.size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT if cut.beyond_is_black else cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )


def crops(
    rgb: Picture, regions: Sequence[Region], cut: Cut, values: tuple[float, float]
) -> npt.NDArray[np.float32]:
    """(N, size, size, 3) float32: every region cut out; 0 and 255 become the two `values`."""
    batch = np.empty((len(regions), cut.size, cut.size, 3), np.float32)
    for into, region in zip(batch, regions, strict=True):
        np.multiply(crop(rgb, region, cut), np.float32((values[1] - values[0]) / 255.0), out=into)
    if values[0]:
        batch += np.float32(values[0])
    return batch


def crop_slowly(rgb: Picture, region: Region, cut: Cut) -> Array:
    """What `crop` is to do, point by point and unrounded: (size, size, 3) float64, 0 to 255."""
    height, width = rgb.shape[:2]
    to = cut.picture_from_pixel(region)
    into = np.zeros((cut.size, cut.size, 3))
    for v in range(cut.size):
        for u in range(cut.size):
            x, y = to[:, :2] @ (u, v) + to[:, 2]
            left, top = math.floor(x), math.floor(y)
            for column, row in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
                share = (1.0 - abs(x - column)) * (1.0 - abs(y - row))
                if not cut.beyond_is_black or (0 <= column < width and 0 <= row < height):
                    at = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
                    into[v, u] += share * rgb[at]
    return into


def whole_picture(width: int, height: int) -> Region:
    """The square round a picture: a letterbox."""
    return Region((width - 1) / 2.0, (height - 1) / 2.0, float(max(width, height)), 0.0)


def hand_region_of_palm(
    low: Array, high: Array, points: Array, palm_angle: float = PALM_ANGLE
) -> Region:
    """The first region of a hand whose palm was detected: box corners (2,) and points (7, 2)."""
    dx, dy = points[PALM_MIDDLE] - points[PALM_WRIST]
    angle = _wrapped(palm_angle - math.atan2(-dy, dx))
    return _round_box((low + high) / 2.0, high - low, angle, PALM_SCALE, PALM_SHIFT)


def hand_region_of_landmarks(landmarks: Array) -> Region:
    """Where a hand with these (21, 2) pixels is looked for in the next picture."""
    steady = landmarks[STEADY_JOINTS]
    knuckles = (landmarks[INDEX_KNUCKLE] + landmarks[RING_KNUCKLE]) / 2.0
    dx, dy = (knuckles + landmarks[MIDDLE_KNUCKLE]) / 2.0 - landmarks[WRIST]
    angle = _wrapped(PALM_ANGLE - math.atan2(-dy, dx))
    # The box is laid along the hand, not along the picture.
    middle = (steady.min(0) + steady.max(0)) / 2.0
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])  # Picture from hand.
    along = (steady - middle) @ turn
    low, high = along.min(0), along.max(0)
    return _round_box(
        turn @ ((low + high) / 2.0) + middle, high - low, angle, HAND_SCALE, HAND_SHIFT
    )


def face_region_of_detection(low: Array, high: Array, points: Array) -> Region:
    """The first region of a face that was detected: box corners (2,) and points (6, 2)."""
    dx, dy = points[DETECTED_EYES[1]] - points[DETECTED_EYES[0]]
    return _round_box((low + high) / 2.0, high - low, math.atan2(dy, dx), FACE_SCALE, 0.0)


def face_region_of_landmarks(landmarks: Array) -> Region:
    """Where a face with these (478, 2) pixels is looked for in the next picture."""
    dx, dy = landmarks[OUTER_CORNERS[1]] - landmarks[OUTER_CORNERS[0]]
    low, high = landmarks.min(0), landmarks.max(0)
    return _round_box((low + high) / 2.0, high - low, math.atan2(dy, dx), FACE_SCALE, 0.0)


def overlap(a: Region, b: Region) -> float:
    """0..1: intersection over union of the two squares as if neither were turned."""
    reach = (a.side + b.side) / 2.0
    least = min(a.side, b.side)
    wide = min(max(reach - abs(a.x - b.x), 0.0), least)
    high = min(max(reach - abs(a.y - b.y), 0.0), least)
    common = wide * high
    return common / max(a.side**2 + b.side**2 - common, 1e-9)


def _round_box(middle: Array, extent: Array, angle: float, scale: float, shift: float) -> Region:
    """A box `extent` (2,) wide and high about `middle`, made square and larger, moved along its own
    y axis by `shift` heights."""
    along = float(extent[1]) * shift
    x = float(middle[0]) - along * math.sin(angle)
    y = float(middle[1]) + along * math.cos(angle)
    return Region(x, y, float(extent.max()) * scale, angle)


def _wrapped(angle: float) -> float:
    """The same angle in -pi to pi; what is no number stays so."""
    if not math.isfinite(angle):
        return angle
    return angle - 2.0 * math.pi * math.floor((angle + math.pi) / (2.0 * math.pi))
