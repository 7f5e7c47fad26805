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
    window: int = 15
    """Side of the patches that are followed, in pixels of that picture."""
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
        self.forget()

    def forget(self) -> None:
        """The next picture is the first."""
        self._grey: npt.NDArray[np.uint8] | None = None
        self._marks = self._moved = np.zeros((SURFACE, 2))
        self._t_ms = 0

    def moved(self, rgb: Picture, t_ms: int, marks: FaceMarks | None) -> Array:
        """(468, 2) pixels by which the landmarks lie elsewhere in `rgb` than its network says in
        `marks`. None, a picture without a face, forgets."""
        if marks is None:
            self.forget()
            return self._moved
        grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        seen = marks.landmarks[:SURFACE, :2].astype(np.float64)
        moved = np.zeros_like(seen)
        before, gap = self._grey, t_ms - self._t_ms
        if (
            before is not None
            and before.shape == grey.shape
            and 0 < gap <= self._options.longest_gap_ms
        ):
            moved = self._carried(before, grey, seen)
        self._grey, self._marks, self._moved, self._t_ms = grey, seen, moved, t_ms
        return moved

    def _carried(
        self, before: npt.NDArray[np.uint8], grey: npt.NDArray[np.uint8], seen: Array
    ) -> Array:
        """(468, 2) pixels to add to the network's landmarks."""
        o, at = self._options, self._points
        old = self._marks + self._moved
        low, high = old.min(0), old.max(0)
        scale = o.crop / max(float((high - low).max()) * 1.3, 1.0)
        offset = (o.crop - 1) / 2.0 - scale * (low + high) / 2.0
        to_crop = np.array([[scale, 0.0, offset[0]], [0.0, scale, offset[1]]])
        size = (o.crop, o.crop)
        a, b = (
            np.asarray(cv2.warpAffine(p, to_crop, size, flags=cv2.INTER_LINEAR), np.uint8)
            for p in (before, grey)
        )
        start = _points32(old[at] * scale + offset)
        guess = _points32((old + seen - self._marks)[at] * scale + offset)
        there, found = _followed(a, b, start, guess, o)
        back, found_back = _followed(b, a, there, start.copy(), o)
        missed = ((back - start)[:, 0].astype(np.float64) ** 2).sum(1)
        beyond = (there[:, 0] - offset) / scale - seen[at]
        width = max(float(np.linalg.norm(seen[LEFT_SIDE] - seen[RIGHT_SIDE])), 1.0)
        apart = np.maximum((beyond**2).sum(1), 1e-12) / width**2
        trust = np.exp(-missed / o.round_trip**2) * np.minimum(1.0, o.slip**2 / apart)
        trust *= found & found_back
        share = self._near * trust
        # Where little is trusted the field fades to what the network says.
        total = share.sum(1) + LEAST_TRUST * self._usual
        carried = np.median(np.linalg.norm((there - start)[:, 0], axis=1)) / (scale * width)
        pull = o.pull_moving + (o.pull - o.pull_moving) * float(np.exp(-((carried / o.speed) ** 2)))
        return (1.0 - pull) * (share @ np.where(trust[:, None] > 0, beyond, 0.0)) / total[:, None]


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
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )  # fmt: skip
    points = np.asarray(found, np.float32)
    fine = np.asarray(np.isfinite(points[:, 0]).all(axis=1), bool)
    kept = np.where(fine[:, None, None], points, start)
    return kept, (np.asarray(status)[:, 0] > 0) & fine


def _points32(points: Array) -> Float32:
    return np.ascontiguousarray(points[:, None], np.float32)
