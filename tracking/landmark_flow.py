"""Face landmarks that move with the picture.

A landmark network places a face anew in every picture: its points tremble by a part of a pixel,
and the filter that quiets them lags behind. Optical flow knows better how skin moved from one
picture to the next, but drifts. Here the two are fused: flow carries the points on, the network
draws them back, the more the slower the face moves. What flow says beyond the network is one smooth
field over the face, so that points that are lost (a blink, the inside of the mouth) follow the
others.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from tracking.engine import FaceMarks, Picture

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

SURFACE = 468
"""Landmarks of the skin; the irises after them move by themselves."""
LEFT_SIDE, RIGHT_SIDE = 454, 234
"""Landmarks of the outline beside the ears: between them is the width of a face."""
LEAST_TRUST = 0.06
"""Of what a neighbourhood has that is followed everywhere: where so little is left, the field fades
by half."""


@dataclass(frozen=True, slots=True)
class LandmarkFlowOptions:
    """Chosen by how like three real people their avatars were in frames not learned from."""

    pull: float = 0.3
    """Share by which a frame's own landmarks draw back what flow carried on, of a face at rest."""
    pull_moving: float = 0.07
    """The same of a face that moves much faster than `speed`: there a filter lags most."""
    speed: float = 0.005
    """Widths of the face from one picture to the next."""
    points: int = 220
    """Landmarks at which flow is measured, evenly far apart."""
    reach: float = 0.045
    """Standard deviation of the smooth field's kernel, in widths of the face."""
    crop: int = 256
    """Side in pixels of the picture of the face that flow is measured in."""
    window: int = 16
    """Side of the patches that are followed, in pixels of that picture. OpenCV takes half as long
    for multiples of 8 as for 15."""
    levels: int = 2
    """Halvings of it."""
    round_trip: float = 0.7
    """Pixels of that picture by which a patch followed there and back may miss."""
    slip: float = 0.03
    """Widths of the face by which flow and network may differ before flow is doubted."""
    longest_gap_ms: int = 250
    """After this the last picture says nothing about the new one."""

    def __post_init__(self) -> None:
        for name in ("pull", "pull_moving"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(
                    f"LandmarkFlowOptions.{name}: expected above 0 to 1, got {getattr(self, name)}"
                )
        if not 8 <= self.points <= SURFACE:
            raise ValueError(
                f"LandmarkFlowOptions.points: expected 8 to {SURFACE}, got {self.points}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class _Square:
    """Where flow is measured: pixel p of the picture lies at scale * p + offset of its crop."""

    scale: float
    offset: Array
    """(2,)."""
    crop: npt.NDArray[np.uint8]
    """(side, side), grey, of the picture before."""


class LandmarkFlow:
    """Remembers one picture and how far its landmarks were moved."""

    def __init__(self, average_face: Array, options: LandmarkFlowOptions | None = None) -> None:
        """`average_face` (468, 3), of any scale: which landmarks are neighbours."""
        self._options = options or LandmarkFlowOptions()
        self._points = spread_points(average_face, self._options.points)
        width = float(np.linalg.norm(average_face[LEFT_SIDE] - average_face[RIGHT_SIDE]))
        apart = average_face[:, None] - average_face[None, self._points]
        near = np.exp(-0.5 * (apart**2).sum(2) / (self._options.reach * width) ** 2)
        self._near = near
        self._usual = near.sum(1)
        self._grey: npt.NDArray[np.uint8] = np.zeros((0, 0), np.uint8)
        self.forget()

    def forget(self) -> None:
        """The next picture is the first."""
        self._before: _Square | None = None
        self._marks = self._moved = np.zeros((SURFACE, 2))
        self._t_ms = 0

    def moved(self, rgb: Picture, t_ms: int, marks: FaceMarks | None) -> Array:
        """(468, 2) pixels by which the landmarks lie elsewhere in `rgb` than its network says in
        `marks`. None, a picture without a face, forgets."""
        if marks is None:
            self.forget()
            return self._moved
        seen = marks.landmarks[:SURFACE, :2].astype(np.float64)
        moved = np.zeros_like(seen)
        before, gap = self._before, t_ms - self._t_ms
        if self._grey.shape != rgb.shape[:2]:
            self._grey = np.zeros(rgb.shape[:2], np.uint8)
        elif before is not None and 0 < gap <= self._options.longest_gap_ms:
            moved = self._carried(before, rgb, seen)
        self._before = self._square(seen + moved, rgb)
        self._marks, self._moved, self._t_ms = seen, moved, t_ms
        return moved

    def _square(self, places: Array, rgb: Picture) -> _Square:
        """Round the (468, 2) places in `rgb`."""
        x, y = np.ascontiguousarray(places.T)
        low, high = np.array([x.min(), y.min()]), np.array([x.max(), y.max()])
        side = self._options.crop
        scale = side / max(float((high - low).max()) * 1.3, 1.0)
        offset = (side - 1) / 2.0 - scale * (low + high) / 2.0
        return _Square(scale, offset, self._cut(rgb, scale, offset))

    def _cut(self, rgb: Picture, scale: float, offset: Array) -> npt.NDArray[np.uint8]:
        side, grey = self._options.crop, self._grey
        # Only what is cut out is made grey, and some pixels more on every side.
        across, down = (
            slice(min(max(int(low) - 3, 0), most - 1), min(max(int(high) + 3, 1), most))
            for low, high, most in zip(
                (-offset / scale).tolist(),
                ((side - offset) / scale).tolist(),
                (grey.shape[1], grey.shape[0]),
                strict=True,
            )
        )
        grey[down, across] = cv2.cvtColor(rgb[down, across], cv2.COLOR_RGB2GRAY)
        to_crop = np.array([[scale, 0.0, offset[0]], [0.0, scale, offset[1]]])
        crop = cv2.warpAffine(grey, to_crop, (side, side), flags=cv2.INTER_LINEAR)
        return np.asarray(crop, np.uint8)

    def _carried(self, before: _Square, rgb: Picture, seen: Array) -> Array:
        """(468, 2) pixels to add to the network's landmarks."""
        o, at = self._options, self._points
        old = self._marks + self._moved
        scale, offset = before.scale, before.offset
        a, b = before.crop, self._cut(rgb, scale, offset)
        start = _points32(old[at] * scale + offset)
        guess = _points32((old + seen - self._marks)[at] * scale + offset)
        there, found = _followed(a, b, start, guess, o)
        back, found_back = _followed(b, a, there, start.copy(), o)
        missed = _squares((back - start)[:, 0].astype(np.float64))
        beyond = (there[:, 0] - offset) / scale - seen[at]
        width = max(float(np.linalg.norm(seen[LEFT_SIDE] - seen[RIGHT_SIDE])), 1.0)
        apart = np.maximum(_squares(beyond), 1e-12) / width**2
        trust = np.exp(-missed / o.round_trip**2) * np.minimum(1.0, o.slip**2 / apart)
        trust *= found & found_back
        ways = np.where(trust[:, None] > 0, beyond, 0.0).T * trust
        field = np.stack([self._near @ ways[0], self._near @ ways[1]], axis=1)
        # Where little is trusted the field fades to what the network says.
        total = self._near @ trust + LEAST_TRUST * self._usual
        carried = np.median(np.sqrt(_squares((there - start)[:, 0]))) / (scale * width)
        pull = o.pull_moving + (o.pull - o.pull_moving) * float(np.exp(-((carried / o.speed) ** 2)))
        return (1.0 - pull) * field / total[:, None]


def spread_points(points: Array, count: int) -> npt.NDArray[np.intp]:
    """`count` of the points (N, D), each as far as can be from those before it, in rising order
    (farthest-point sampling, Gonzalez 1985). The first is the lowest of y."""
    chosen = [int(np.argmin(points[:, 1]))]
    away = np.full(len(points), np.inf)
    while len(chosen) < count:
        away = np.minimum(away, ((points - points[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(away.argmax()))
    return np.array(sorted(chosen), np.intp)


def _followed(
    a: npt.NDArray[np.uint8],
    b: npt.NDArray[np.uint8],
    start: Float32,
    guess: Float32,
    options: LandmarkFlowOptions,
) -> tuple[Float32, npt.NDArray[np.bool_]]:
    """Lucas-Kanade in a pyramid (Bouguet 2000): points of `a`, (n, 1, 2), found again in `b`."""
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        a, b, start, guess,
        winSize=(options.window, options.window), maxLevel=options.levels,
        criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03),
        # Of errors, which nobody reads, these take no time.
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW | cv2.OPTFLOW_LK_GET_MIN_EIGENVALS,
    )  # fmt: skip
    points = np.asarray(found, np.float32)
    fine = np.asarray(np.isfinite(points[:, 0]).all(axis=1), bool)
    kept = np.where(fine[:, None, None], points, start)
    return kept, (np.asarray(status)[:, 0] > 0) & fine


def _points32(points: Array) -> Float32:
    return np.ascontiguousarray(points[:, None], np.float32)


def _squares(ways: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """(N,) squared lengths of (N, 2)."""
    return ways[:, 0] ** 2 + ways[:, 1] ** 2
