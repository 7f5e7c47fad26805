"""How much of an eye, a mouth or a hand there is to be seen where landmarks say it is.

Landmark networks answer for what they do not see: a covered mouth gets the lips that usually are
there, at full score. But lips, lids and fingers have outlines. So the picture is asked whether its
brightness steps where the landmarks say that an outline runs: under a cover, in a blur and beyond
the picture's edge it does not. Steps are relative to the part's own brightness and taken in a
picture of fixed size, so that distance, light and camera have no say until they cost detail.
"""

from __future__ import annotations

import math
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
_UNIT = np.float32(1.0 / 255.0)
_LEAST_BRIGHTNESS = 0.05
_BLUR = 0.45
"""Standard deviation in pixels of the small picture, of what keeps it from aliasing."""
_BESIDE_BONE = 10
"""Pixels of the hand's crop within which a finger has its edge."""

# The outlines' landmarks in one row, each with the next and the last of its outline.
_RIMS = (*LIDS, INNER_LIPS)
_RIM = np.concatenate(_RIMS)
_AHEAD = np.concatenate([np.roll(rim, -1) for rim in _RIMS])
_BEHIND = np.concatenate([np.roll(rim, 1) for rim in _RIMS])
_LEFT = slice(0, len(LIDS[0]))
_RIGHT = slice(_LEFT.stop, _LEFT.stop + len(LIDS[1]))
_LIPS = slice(_RIGHT.stop, None)
_ACROSS_RIM = np.array([-1.0, 0.0, 1.0])
_UPRIGHT = np.array([1.0, 0.0])
_BONE_STARTS, _BONE_ENDS = FINGER_JOINTS[:, :-1].ravel(), FINGER_JOINTS[:, 1:].ravel()
_ALONG_BONE = np.array([0.35, 0.65])[:, None, None]
_BESIDE = np.arange(-_BESIDE_BONE, _BESIDE_BONE + 1.0)[:, None]


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
    across = marks[OUTER_CORNERS[1]] - marks[OUTER_CORNERS[0]]
    apart = max(float(np.hypot(*across)), 1.0)
    small, seen = _small(rgb, marks, across / apart, EYES_APART / apart, FACE_CROP)
    grey = _grey(small)
    inner = grey[FACE_CROP // 4 : -FACE_CROP // 4, FACE_CROP // 4 : -FACE_CROP // 4]
    brightness = max(_median(inner), _LEAST_BRIGHTNESS)
    # Steps of brightness across the outlines, at and between landmarks, a pixel to either side.
    rim, ahead, behind = seen[_RIM], seen[_AHEAD], seen[_BEHIND]
    at = np.stack([rim, (rim + ahead) / 2.0])
    along = np.stack([ahead - behind, ahead - rim])
    across = along[..., ::-1] * (-1.0, 1.0)
    across /= np.maximum(np.sqrt((across * across).sum(-1, keepdims=True)), 1e-6)
    lines = at[:, :, None] + _ACROSS_RIM[:, None] * across[:, :, None]
    steps = np.abs(np.diff(_sampled(grey, lines.reshape(-1, 3, 2)), axis=1)).max(1) / brightness
    steps = steps.reshape(2, -1)
    left = _level(steps[:, _LEFT], NO_LID, LID)
    right = _level(steps[:, _RIGHT], NO_LID, LID)
    return PartsSeen((left, right), _level(steps[:, _LIPS], NO_LIP, LIP))


def hand_seen(rgb: Picture, landmarks: npt.NDArray[np.floating]) -> float:
    """0..1 of the hand of (21, 2) pixels in `rgb`."""
    marks = landmarks[:, :2].astype(np.float64)
    size = max(float((marks.max(0) - marks.min(0)).max()), 1.0)
    small, seen = _small(rgb, marks, _UPRIGHT, HAND_SIZE / size, HAND_CROP)
    grey = _grey(small)
    colours = _sampled(small, seen[None])[0] * _UNIT
    brightness = max(_median(colours @ _GREY), _LEAST_BRIGHTNESS)
    start = seen[_BONE_STARTS]
    way = seen[_BONE_ENDS] - start
    length = np.sqrt((way * way).sum(-1))
    long = length > 2.0
    if not long.all():
        if not long.any():
            return 0.0
        start, way, length = start[long], way[long], length[long]
    aside = way[:, ::-1] * (-1.0, 1.0) / length[:, None]
    at = start + _ALONG_BONE * way
    lines = at[:, :, None] + _BESIDE * aside[:, None]
    profile = _sampled(grey, lines.reshape(-1, len(_BESIDE), 2))
    steps = np.abs(np.diff(profile, axis=1))
    # Before a dark room even a blurred hand has high steps, but no sudden ones.
    sudden = _median(steps.max(1) / np.maximum(profile.max(1) - profile.min(1), 0.02))
    steps /= brightness
    # A finger has an edge on either side; one that is crossed by a cover has one at most.
    both = np.minimum(steps[:, :_BESIDE_BONE].max(1), steps[:, _BESIDE_BONE:].max(1))
    edges = _level(both, NO_FINGERS, FINGERS)
    chroma = colours / (colours.sum(1, keepdims=True) + 1e-3)
    off = chroma - np.sort(chroma, axis=0)[len(chroma) // 2]
    spread = float(np.sqrt((off * off).sum(-1)).mean())
    one_surface = 1.0 - _ramp(spread, ONE_SKIN, TWO_SKINS)
    return edges * _ramp(sudden, SMEARED, SHARP) * (0.3 + 0.7 * one_surface)


def _small(
    rgb: Picture, marks: Array, level: Array, scale: float, side: int
) -> tuple[Float32, Array]:
    """A (side, side, 3) float32 0..255 picture round the middle of the marks, and where they lie.

    `level` (2,) is the unit vector in `rgb` that is to point right, `scale` small pixels a pixel.
    """
    cosine, sine = level.tolist()
    to_small = scale * np.array([[cosine, sine], [-sine, cosine]])
    middle = (marks.min(0) + marks.max(0)) / 2.0
    # No more than is cut out, and what blurring draws into it (three standard deviations).
    half = (0.5 * side * (abs(cosine) + abs(sine)) + 3.0 * _BLUR) / scale + 3.0
    (x, y), (height, width) = middle.tolist(), rgb.shape[:2]
    if not (-half < x < width - 1 + half and -half < y < height - 1 + half):
        return np.zeros((side, side, 3), np.float32), np.zeros_like(marks)
    left, top = max(math.floor(x - half), 0), max(math.floor(y - half), 0)
    right, bottom = math.ceil(min(x + half, width)) + 1, math.ceil(min(y + half, height)) + 1
    part = rgb[top:bottom, left:right]
    if scale < 0.6:  # Against aliasing.
        part = cv2.GaussianBlur(part, (0, 0), _BLUR / scale)
    offset = (side - 1) / 2.0 - to_small @ middle
    warp = np.column_stack([to_small, offset + to_small @ (left, top)])
    small = cv2.warpAffine(part, warp, (side, side), flags=cv2.INTER_LINEAR)
    return small.astype(np.float32), marks @ to_small.T + offset


def _grey(small: Float32) -> Float32:
    """(H, W) 0..1 of (H, W, 3) 0..255."""
    return np.asarray(cv2.transform(small, _GREY[None] * _UNIT), np.float32)


def _level(steps: npt.NDArray[np.floating], none: float, full: float) -> float:
    """0..1: the mean counts, and the weakest quarter, which tells of half a cover."""
    rising = np.sort(steps, axis=None)
    below, part = divmod(0.25 * (rising.size - 1), 1.0)
    low, high = rising[int(below) : int(below) + 2].tolist()
    strength = 0.5 * float(rising.mean()) + 0.7 * (low + (high - low) * part)
    return _ramp(strength, none, full)


def _median(values: Float32) -> float:
    """As np.median, which takes several times as long for a few numbers."""
    half = values.size // 2
    middle = np.partition(values, (half - 1, half), axis=None)
    return float(middle[half] if values.size % 2 else (middle[half - 1] + middle[half]) * 0.5)


def _ramp(value: float, low: float, high: float) -> float:
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _sampled(picture: Float32, at: Array) -> Float32:
    """(H, W) or (H, W, 3) at (..., N, 2) pixels, bilinear; 0 beyond its edge."""
    x, y = (
        np.ascontiguousarray(at[..., 0], np.float32),
        np.ascontiguousarray(at[..., 1], np.float32),
    )
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR), np.float32)
