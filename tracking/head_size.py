"""How far a person's head is, from the landmarks that several cameras see of it.

One camera cannot tell a small head from a far one. Where rays of two cameras meet is measured; how
far that is against where the first camera's guess puts the same landmarks is one number, by which
the head is nearer and smaller, or farther and larger. Nobody's head grows, and from the front the
number stands still (0.2 to 0.5 % from moment to moment on drawn people), so the median of some
seconds is taken, and what the guess does well, its steadiness and its turn, stays as it is. But
from aside, and behind a hand, the guess itself can go wrong by a tenth: then the number is learned
anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.camera import Camera
from streams.projection import project
from streams.tracked_state import FacePose
from tracking.engine import FaceMarks
from tracking.head_pose import RIGID_LANDMARKS
from tracking.triangulation import Triangulated, TriangulationOptions, triangulate

Array = npt.NDArray[np.float64]

MEETING = TriangulationOptions(outlier=0.010, usual=0.002)
"""Metres: two cameras' rays to a landmark of a face meet within 0.3 to 0.7 mm; frames 16 ms apart
show a moving head several millimetres apart."""
FEWEST = len(RIGID_LANDMARKS) // 2
"""Landmarks that must be measured."""
MOST_UNEVEN = 0.03
"""Quartiles of the factor over the landmarks are at most this far apart (0.004 to 0.010 on drawn
people): more is another face, or one that is half covered."""
SMALLEST, LARGEST = 0.7, 1.4
"""Times an average head: beyond are children under two, and cameras that are not where they are
said to be."""
MOMENTS = 31
"""That are remembered, for their median."""
SETTLED = 10
"""Moments that make a number."""
CHANGED = 0.015
"""By so much two moments of three must differ from the median of all for it to be forgotten."""
EASE_S = 0.1
"""Time constant by which the number goes to a new one, so that a head does not jump."""
GONE_S = 1.0
"""After so long without a face it may be somebody else's."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceView:
    """Where a camera saw landmarks of a face."""

    camera: Camera
    points: Array
    """(P, 2) float64 pixels."""
    weights: Array
    """(P,) float64."""

    @staticmethod
    def of(camera: Camera, pixels: npt.NDArray[np.floating]) -> FaceView:
        """Of (478, 2 or more) pixels: those landmarks that move least against each other."""
        points = np.asarray(pixels, np.float64)[RIGID_LANDMARKS, :2]
        return FaceView(camera, points, np.ones(len(points)))


def measured_size(
    face: FacePose, camera: Camera, others: Sequence[tuple[Camera, Sequence[FaceMarks]]]
) -> float | None:
    """How many times as far from `camera`, which saw the `face` and took its head for average, it
    is where the faces that `others` saw meet it. None where none of these is the same face, or
    cameras stand so that they cannot tell."""
    rigid = np.asarray(face.world_from_head.apply(face.landmarks.astype(np.float64)))
    first = FaceView.of(camera, project(camera, rigid)[0])
    same = [
        view for other, found in others if (view := _same_face(first, other, found)) is not None
    ]
    if not same:
        return None
    met = triangulate([first, *same], MEETING)
    sound = met.belongs[0] & np.isfinite(met.points).all(-1)
    if int(sound.sum()) < FEWEST:
        return None
    centre = camera.world_from_camera.xyz
    measured = np.linalg.norm(met.points[sound] - centre, axis=-1)
    guessed = np.linalg.norm(rigid[RIGID_LANDMARKS][sound] - centre, axis=-1)
    low, middle, high = np.quantile(measured / guessed, (0.25, 0.5, 0.75))
    if high - low > MOST_UNEVEN or not SMALLEST <= middle <= LARGEST:
        return None
    return float(middle)


def _same_face(first: FaceView, camera: Camera, found: Sequence[FaceMarks]) -> FaceView | None:
    """Of another camera's faces the one whose rays meet the first camera's best."""
    best, nearest = None, np.inf
    for marks in found:
        view = FaceView.of(camera, marks.landmarks)
        met = triangulate([first, view], MEETING)
        if int(met.belongs[0].sum()) >= FEWEST and _apart(met) < nearest:
            best, nearest = view, _apart(met)
    return best


def _apart(met: Triangulated) -> float:
    return float(np.median(met.distances[0][met.belongs[0]]))


class HeadSize:
    """The factor of whom the tracker follows, learned while it is seen."""

    def __init__(self) -> None:
        self._moments: deque[float] = deque(maxlen=MOMENTS)
        self._seen_ns: int | None = None
        self.value = 1.0
        """Of the moment last seen. What was measured last stands until something new is."""

    @property
    def settled(self) -> bool:
        """Whether enough moments agree that it is not worth to look at every one."""
        return len(self._moments) >= SETTLED and abs(self._moments[-1] - self.value) <= CHANGED

    def seen(self, t_ns: int, measured: float | None) -> None:
        """A face was seen at `t_ns`, later than before, and measured, or not."""
        passed_s = 0.0 if self._seen_ns is None else (t_ns - self._seen_ns) / 1e9
        self._seen_ns = t_ns
        if passed_s > GONE_S:
            self._moments.clear()
        known = bool(self._moments)
        if measured is not None:
            self._moments.append(measured)
            newest = list(self._moments)[-3:]
            if abs(np.median(newest) - np.median(self._moments)) > CHANGED:
                # Of three the middle one: two moments say so.
                self._moments = deque(newest[1:], MOMENTS)
        if self._moments:
            share = 1.0 if not known else 1.0 - float(np.exp(-passed_s / EASE_S))
            self.value += share * (float(np.median(self._moments)) - self.value)
