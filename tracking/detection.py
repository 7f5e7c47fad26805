"""Finding palms and faces: single-shot detectors (Liu et al. 2016) over a square of the picture.

Each anchor of the detector answers for a place of its grid: how sure it is that something is there,
the box, and some points of it. Anchors that mean the same thing are averaged by their scores
(weighted non-maximum suppression, as in BlazeFace, Bazarevsky et al. 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracking.net import Net
from tracking.region import Cut, Picture, Region, into_picture
from tracking.region_net import RegionNet, answers

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

ANCHOR_STRIDES = (8, 16, 16, 16)
"""Pixels of the detector's input between places of each layer, each with two anchors; layers of
one stride share a grid (MediaPipe's SsdAnchorsCalculator with fixed anchor size)."""
SUPPRESSION = 0.3
"""Overlap (intersection over union) from which two anchors mean the same thing."""


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One palm or face in one picture, in pixels."""

    low: Array
    """(2,) the box's left upper corner."""
    high: Array
    """(2,) its right lower corner."""
    points: Array
    """(K, 2) palm: 7 (wrist's middle, index, middle, ring and little knuckle, thumb's base and
    joint); face: 6 (right eye, left eye, nose, mouth, right and left tragion)."""
    score: float
    """0..1."""

    def side(self) -> float:
        """Pixels: the longer side of its box."""
        return float((self.high - self.low).max())


def anchor_places(size: int) -> Float32:
    """(A, 2) x and y of every anchor of a detector for `size` pixels, 0 to 1."""
    places: list[Float32] = []
    for stride in dict.fromkeys(ANCHOR_STRIDES):
        count = -(-size // stride)
        row, column = np.mgrid[:count, :count]
        grid = np.stack([(column + 0.5) / count, (row + 0.5) / count], axis=-1).reshape(-1, 2)
        places.append(np.repeat(grid, 2 * ANCHOR_STRIDES.count(stride), axis=0).astype(np.float32))
    return np.concatenate(places)


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The anchors of one square that are sure enough, in coordinates of the square, 0 to 1."""

    boxes: Float32
    """(N, 4) left, top, right, bottom."""
    points: Float32
    """(N, K, 2)."""
    scores: Float32
    """(N,) 0 to 1."""


class Detector:
    """A detector network and what its numbers mean."""

    def __init__(self, net: Net, mediapipe_crops: bool = False) -> None:
        """`mediapipe_crops`: see `tracking.region.Cut.mediapipe`."""
        self._net = net
        self._cut = Cut(net.spec.input_shape[0], beyond_is_black=True, mediapipe=mediapipe_crops)
        self._places = anchor_places(self._cut.size)

    def detect(
        self, rgb: Picture, squares: tuple[Region, ...], min_score: float
    ) -> list[Detection]:
        """What lies in these squares of the picture, the surest first. What two squares show is
        there twice: seen whole in one and cut in the other, it is not to be averaged."""
        found: list[Detection] = []
        # One after the other on a processor, whose engines gain nothing by batches of detectors.
        each = len(squares) if isinstance(self._net, RegionNet) else 1
        for first in range(0, len(squares), max(each, 1)):
            some = squares[first : first + each]
            numbers, logits = answers(self._net, rgb, some, self._cut)
            for square, of_anchors, scores in zip(some, numbers, logits, strict=True):
                candidates = decoded(of_anchors, scores, self._places, self._cut.size, min_score)
                found += [_placed(*thing, square) for thing in suppressed(candidates)]
        return sorted(found, key=lambda detection: -detection.score)


def decoded(
    numbers: Float32, logits: Float32, places: Float32, size: int, min_score: float
) -> Candidates:
    """The network's output, (A * numbers an anchor,) and (A,), as boxes and points: offsets from
    the anchors in pixels of its input, `size` wide."""
    # As MediaPipe, which clips what goes into the sigmoid.
    scores = 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -100.0, 100.0)))
    kept = np.flatnonzero(scores >= min_score)
    offsets = numbers.reshape(len(places), -1)[kept] / np.float32(size)
    at = places[kept]
    middle, half = offsets[:, :2] + at, offsets[:, 2:4] / 2.0
    points = offsets[:, 4:].reshape(len(kept), (offsets.shape[1] - 4) // 2, 2) + at[:, None]
    boxes = np.concatenate([middle - half, middle + half], axis=1, dtype=np.float32)
    return Candidates(boxes, points, scores[kept].astype(np.float32))


def decoded_slowly(
    numbers: Float32, logits: Float32, places: Float32, size: int, min_score: float
) -> list[tuple[list[float], list[tuple[float, float]], float]]:
    """What `decoded` is to do, anchor by anchor: (box, points, score) of each."""
    each = len(numbers) // len(places)
    found: list[tuple[list[float], list[tuple[float, float]], float]] = []
    for i, (x, y) in enumerate(places.astype(np.float64).tolist()):
        logit = min(max(float(logits[i]), -100.0), 100.0)
        score = 1.0 / (1.0 + float(np.exp(-logit)))
        if score < min_score:
            continue
        row = [float(n) / size for n in numbers[i * each : (i + 1) * each]]
        box = [x + row[0] - row[2] / 2, y + row[1] - row[3] / 2]
        box += [x + row[0] + row[2] / 2, y + row[1] + row[3] / 2]
        points = [(x + row[k], y + row[k + 1]) for k in range(4, each, 2)]
        found.append((box, points, score))
    return found


def suppressed(candidates: Candidates) -> list[tuple[Float32, Float32, float]]:
    """Box (4,), points (K, 2) and score of each thing: the surest anchor takes all that overlap it
    and becomes their mean, weighted by score; its score stays its own."""
    found: list[tuple[Float32, Float32, float]] = []
    boxes, scores = candidates.boxes, candidates.scores
    left = np.argsort(-scores, kind="stable")
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    while len(left):
        best, others = left[0], boxes[left]
        extent = np.minimum(others[:, 2:], boxes[best, 2:]) - np.maximum(
            others[:, :2], boxes[best, :2]
        )
        common = np.prod(np.clip(extent, 0.0, None), axis=1)
        union = areas[left] + areas[best] - common
        same = common > SUPPRESSION * np.maximum(union, 1e-9)
        same[0] = True
        group = left[same]
        weights = scores[group] / scores[group].sum()
        found.append(
            (
                weights @ boxes[group],
                np.tensordot(weights, candidates.points[group], axes=1),
                float(scores[best]),
            )
        )
        left = left[~same]
    return found


def suppressed_slowly(
    boxes: list[list[float]], points: list[list[tuple[float, float]]], scores: list[float]
) -> list[tuple[list[float], list[tuple[float, float]], float]]:
    """What `suppressed` is to do, pair by pair."""

    def area(box: list[float]) -> float:
        return (box[2] - box[0]) * (box[3] - box[1])

    def same(a: list[float], b: list[float]) -> bool:
        wide = min(a[2], b[2]) - max(a[0], b[0])
        high = min(a[3], b[3]) - max(a[1], b[1])
        common = max(wide, 0.0) * max(high, 0.0)
        return common > SUPPRESSION * max(area(a) + area(b) - common, 1e-9)

    left = sorted(range(len(scores)), key=lambda i: -scores[i])
    found: list[tuple[list[float], list[tuple[float, float]], float]] = []
    while left:
        best = left[0]
        group = [i for i in left if i == best or same(boxes[i], boxes[best])]
        total = sum(scores[i] for i in group)
        box = [sum(scores[i] * boxes[i][k] for i in group) / total for k in range(4)]
        mean = [
            (
                sum(scores[i] * points[i][k][0] for i in group) / total,
                sum(scores[i] * points[i][k][1] for i in group) / total,
            )
            for k in range(len(points[best]))
        ]
        found.append((box, mean, scores[best]))
        left = [i for i in left if i not in group]
    return found


def _placed(box: Float32, points: Float32, score: float, square: Region) -> Detection:
    corners = into_picture(box.reshape(2, 2), square, 1)
    return Detection(corners[0], corners[1], into_picture(points, square, 1), score)
