"""How much of an eye, a mouth or a hand there is to be seen where landmarks say it is.

Landmark networks answer for what they do not see: a covered mouth gets the lips that usually are
there, at full score. But lips, lids and fingers have outlines. So the picture is asked whether its
brightness steps where the landmarks say that an outline runs: under a cover, in a blur and beyond
the picture's edge it does not. Steps are relative to the part's own brightness and taken in a
picture of fixed size, so that distance, light and camera have no say until they cost detail.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from streams.face_outlines import INNER_LIPS, LIDS
from streams.hand_skeleton import FINGER_JOINTS
from tracking.engine import Picture
from tracking.region import OUTER_CORNERS

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

FACE_CROP, EYES_APART = 160, 64.0
"""Side of the small picture of the face, and its pixels between the eyes' outer corners."""
HAND_CROP, HAND_SIZE = 128, 96.0
"""Likewise of a hand, and the longer side of its landmarks' box."""
NO_LID, LID = 0.02, 0.09
NO_LIP, LIP = 0.02, 0.08
NO_FINGERS, FINGERS = 0.012, 0.050
"""Steps, as a part of the brightness, that count 0 and 1: from clean, blurred and covered real
clips (docs/face_details.md)."""
ONE_SKIN, TWO_SKINS = 0.05, 0.14
"""Mean distance of chromaticity over a hand's landmarks: one surface, and two."""
SMEARED, SHARP = 0.13, 0.26
"""Greatest step across a finger, as a part of all brightness there: blurred, and sharp."""
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_LEAST_BRIGHTNESS = 0.05
_BESIDE_BONE = 10
"""Pixels of the hand's crop within which a finger has its edge."""


@dataclass(frozen=True, slots=True)
class PartsSeen:
    """How much of a face's parts is to be seen, each 0..1."""

    eyes: tuple[float, float]
    """Left first."""
    mouth: float

    @property
    def face(self) -> float:
        """Of the whole face: what eyes and mouth show, and a share for the rest."""
        return 0.4 + 0.6 * (sum(self.eyes) + self.mouth) / 3.0


ALL_SEEN = PartsSeen((1.0, 1.0), 1.0)


def parts_seen(rgb: Picture, landmarks: npt.NDArray[np.floating]) -> PartsSeen:
    """Of a face whose landmarks are (478, 2 or more) pixels in `rgb`."""
    marks = landmarks[:468, :2].astype(np.float64)
    right, left = marks[OUTER_CORNERS[0]], marks[OUTER_CORNERS[1]]
    across = left - right
    apart = max(float(np.hypot(*across)), 1.0)
    turn = np.array([[across[0], across[1]], [-across[1], across[0]]]) / apart
    small, seen = _small(rgb, marks, turn * (EYES_APART / apart), FACE_CROP)
    grey = small @ _GREY
    inner = grey[FACE_CROP // 4 : -FACE_CROP // 4, FACE_CROP // 4 : -FACE_CROP // 4]
    brightness = max(float(np.median(inner)), _LEAST_BRIGHTNESS)
    lids = [_shown(grey, seen[list(rim)], brightness, NO_LID, LID) for rim in LIDS]
    lips = _shown(grey, seen[list(INNER_LIPS)], brightness, NO_LIP, LIP)
    return PartsSeen((lids[0], lids[1]), lips)


def hand_seen(rgb: Picture, landmarks: npt.NDArray[np.floating]) -> float:
    """0..1 of the hand of (21, 2) pixels in `rgb`."""
    marks = landmarks[:, :2].astype(np.float64)
    size = max(float((marks.max(0) - marks.min(0)).max()), 1.0)
    small, seen = _small(rgb, marks, np.eye(2) * (HAND_SIZE / size), HAND_CROP)
    grey = small @ _GREY
    colours = _sampled(small, seen[None])[0]
    brightness = max(float(np.median(colours @ _GREY)), _LEAST_BRIGHTNESS)
    start = seen[FINGER_JOINTS[:, :-1]].reshape(-1, 2)
    end = seen[FINGER_JOINTS[:, 1:]].reshape(-1, 2)
    way = end - start
    length = np.linalg.norm(way, axis=1)
    long = length > 2.0
    if not long.any():
        return 0.0
    start, way, length = start[long], way[long], length[long]
    aside = np.stack([-way[:, 1], way[:, 0]], axis=1) / length[:, None]
    beside = np.arange(-_BESIDE_BONE, _BESIDE_BONE + 1.0)
    at = np.concatenate([start + 0.35 * way, start + 0.65 * way])
    lines = at[:, None] + beside[:, None] * np.tile(aside, (2, 1))[:, None]
    profile = _sampled(grey, lines)
    steps = np.abs(np.diff(profile, axis=1))
    # Before a dark room even a blurred hand has high steps, but no sudden ones.
    sudden = float(np.median(steps.max(1) / np.maximum(np.ptp(profile, axis=1), 0.02)))
    steps /= brightness
    # A finger has an edge on either side; one that is crossed by a cover has one at most.
    both = np.minimum(steps[:, :_BESIDE_BONE].max(1), steps[:, _BESIDE_BONE:].max(1))
    edges = _level(both, NO_FINGERS, FINGERS)
    chroma = colours / (colours.sum(1, keepdims=True) + 1e-3)
    spread = float(np.linalg.norm(chroma - np.median(chroma, axis=0), axis=1).mean())
    one_surface = 1.0 - _ramp(spread, ONE_SKIN, TWO_SKINS)
    return edges * _ramp(sudden, SMEARED, SHARP) * (0.3 + 0.7 * one_surface)


def _small(rgb: Picture, marks: Array, to_small: Array, side: int) -> tuple[Float32, Array]:
    """A (side, side, 3) float32 0..1 picture round the middle of the marks, and where they lie."""
    shrinks = float(np.sqrt(abs(np.linalg.det(to_small))))
    middle = (marks.min(0) + marks.max(0)) / 2.0
    half = side / shrinks
    low = np.floor(np.maximum(middle - half, 0.0)).astype(int)
    high = np.ceil(np.minimum(middle + half, rgb.shape[1::-1])).astype(int) + 1
    part = rgb[low[1] : max(high[1], low[1] + 1), low[0] : max(high[0], low[0] + 1)]
    if part.size == 0:
        return np.zeros((side, side, 3), np.float32), np.zeros_like(marks)
    if shrinks < 0.6:  # Against aliasing.
        part = cv2.GaussianBlur(part, (0, 0), 0.45 / shrinks)
    offset = (side - 1) / 2.0 - to_small @ middle
    warp = np.column_stack([to_small, offset + to_small @ low])
    small = cv2.warpAffine(part, warp, (side, side), flags=cv2.INTER_LINEAR)
    return np.asarray(small, np.float32) / np.float32(255.0), marks @ to_small.T + offset


def _shown(grey: Float32, rim: Array, brightness: float, none: float, full: float) -> float:
    """Of a closed outline (N, 2): steps of brightness across it, one pixel to either side."""
    ahead = np.roll(rim, -1, axis=0)
    at = np.concatenate([rim, (rim + ahead) / 2.0])
    along = np.concatenate([ahead - np.roll(rim, 1, axis=0), ahead - rim])
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6)
    lines = at[:, None] + np.array([-1.0, 0.0, 1.0])[:, None] * across[:, None]
    steps = np.abs(np.diff(_sampled(grey, lines), axis=1)).max(1) / brightness
    return _level(steps, none, full)


def _level(steps: npt.NDArray[np.floating], none: float, full: float) -> float:
    """0..1: the mean counts, and the weakest quarter, which tells of half a cover."""
    strength = 0.5 * float(steps.mean()) + 0.7 * float(np.quantile(steps, 0.25))
    return _ramp(strength, none, full)


def _ramp(value: float, low: float, high: float) -> float:
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _sampled(picture: Float32, at: Array) -> Float32:
    """(H, W) or (H, W, 3) at (..., N, 2) pixels, bilinear; 0 beyond its edge."""
    x, y = (
        np.ascontiguousarray(at[..., 0], np.float32),
        np.ascontiguousarray(at[..., 1], np.float32),
    )
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR), np.float32)
