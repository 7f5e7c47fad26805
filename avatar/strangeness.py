"""Whether landmarks can be those of the person whom a model was learned from.

Landmarks say whose face it is only roughly: of nine people measured, the same one moves by up to
1.6 mm RMS from quarter to quarter of a video, and the two most alike are 1.2 mm apart. A stranger's
are both far out in the model's numbers and not wholly held by them; an own expression that was
never learned has one or the other. So the two are multiplied.

Expressions come and go, a face stays: what decides are the landmarks' running means. How far a
stranger's are from a model depends on how much that has seen, by a factor of a hundred. So it is
judged by a face that is nobody's, the head template's: of nine people's models, strangers' means
had a 66th to a 377th of that face's strangeness (most of them a 130th to a 210th), own ones mostly
less than a 1000th, but for expressions that were never learned.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avatar.head_mesh import HeadMesh
from avatar.landmark_code import landmark_code
from avatar.landmark_map import LandmarkMap
from avatar.similarity import similarity

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

TIMES_USUAL = 1.6
"""Of the median of own held-out moments: from there on one moment speaks against the person."""
LEAST_LIMIT, MOST_LIMIT = 0.9, 2.0
"""Millimetres times standard deviations. Own medians were 0.3 to 1.9, strangers' 0.8 to 90."""
ALONE = 2.5
"""A moment that has to decide alone is given so many times the limit."""
MEAN_S = 1.0
"""Seconds after which a moment counts for the running mean by 1/e."""
NOBODYS_PART, LEAST_MEAN_LIMIT = 1.0 / 400.0, 0.3
"""From which part of nobody's face's strangeness on a running mean is another's; and never below
what the person's own means were found to reach."""
VOTE_S = 1.0
"""Over how long it is decided who drives."""


def strangeness(geometry: Float32, left_out_mm: Array) -> Array:
    """(..., P) and (...) -> (...): RMS of the numbers (standard deviations) times what they leave
    out (millimetres)."""
    return np.sqrt((geometry.astype(np.float64) ** 2).mean(-1)) * left_out_mm


def limit_of(usual: float, alone: bool) -> float:
    """Below which a moment speaks for the person. `usual`: the median of own unlearned moments."""
    limit = float(np.clip(TIMES_USUAL * usual, LEAST_LIMIT, MOST_LIMIT))
    return ALONE * limit if alone else limit


def nobodys_strangeness(rest: npt.NDArray[np.floating], moves: npt.NDArray[np.floating]) -> float:
    """Of the head template's calm face, laid on the person's: what is left is whose face it is."""
    head, landmarks = HeadMesh.open("default"), LandmarkMap.open()
    points = landmarks.points(head.vertices[: head.template_size].astype(np.float64))
    scale, turn, offset = similarity(points, np.asarray(rest, np.float64), landmarks.trust)
    placed = scale * points @ turn.T + offset
    return float(strangeness(*landmark_code(placed, rest, moves)))


class Acquaintance:
    """Who is before the camera, told moment by moment: the model's own person, or another."""

    def __init__(
        self, rest: npt.NDArray[np.floating], moves: npt.NDArray[np.floating], usual: float
    ) -> None:
        """`rest` and `moves` as `landmark_code` has them; `usual` as `limit_of` has it."""
        self._rest, self._moves = rest, moves
        self._first = limit_of(usual, alone=False)
        self._settled = max(NOBODYS_PART * nobodys_strangeness(rest, moves), LEAST_MEAN_LIMIT)
        self._alone = limit_of(usual, alone=True)
        self.forget()

    def forget(self) -> None:
        """Nobody is there any more: the next face may be anybody's."""
        self._mean: Array | None = None
        self._weight, self._share, self._last_t_ns = 0.0, 1.0, 0

    def is_own_alone(self, landmarks: Float32) -> bool:
        """Whether one moment, which does not follow others, can be the own person's."""
        return self._strangeness(landmarks) < self._alone

    def is_own(self, landmarks: Float32, t_ns: int) -> bool:
        """After this moment, too; `landmarks` (478, 3) metres, head frame."""
        shown = landmarks[: len(self._rest)].astype(np.float64)
        passed_s = max(0, t_ns - self._last_t_ns) / 1e9
        if self._mean is None:
            mean, weight, passed_s = shown, 0.0, 0.0
        else:
            # Weights of the moments so far, whose sum grows to 1: exp(-age / MEAN_S).
            kept = float(np.exp(-passed_s / MEAN_S))
            weight = self._weight * kept + (1.0 - kept)
            mean = self._mean + (1.0 - kept) / max(weight, 1e-9) * (shown - self._mean)
        # The fewer moments, the more of an expression is still in their mean.
        limit = self._first ** (1.0 - weight) * self._settled**weight
        on = self._strangeness(mean) < limit
        if self._mean is None:
            self._share = 1.0 if on else 0.0
        else:
            step = passed_s / VOTE_S
            self._share = min(max(self._share + (step if on else -step), 0.0), 1.0)
        self._mean, self._weight, self._last_t_ns = mean, weight, t_ns
        return self._share >= 0.5

    def _strangeness(self, landmarks: npt.NDArray[np.floating]) -> float:
        return float(strangeness(*landmark_code(landmarks, self._rest, self._moves)))
