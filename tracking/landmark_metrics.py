"""How far found landmarks lie from annotated ones: the figures in which tracking is published.

Points are (N, D), D 2 or 3. A NaN in the truth is a point that nobody annotated: it counts for
nothing. A NaN in what was found is a point that was missed: as far away as can be. All errors are
parts of a unit that the caller names: a box's side, a palm, the distance of the eyes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracking.evaluation import correct_keypoints, similarity

Array = npt.NDArray[np.float64]

FOUND_WITHIN = 0.3
"""Of the truth's longer side: landmarks that lie farther away on average are of something else."""
LARGEST_ERROR = 0.3
"""Up to where the area under the PCK curve is taken."""


@dataclass(frozen=True, slots=True)
class LandmarkScores:
    """One annotated hand or face. All but `found` are NaN when it was not found."""

    found: bool
    pixels: float
    """Mean distance, in the unit of the points."""
    error: float
    """Mean distance as a part of the unit: the normalised mean error, NME."""
    correct_10: float
    """Part of the points within a tenth of the unit: PCK@0.1."""
    correct_20: float
    area: float
    """Under PCK from 0 to LARGEST_ERROR of the unit, as a part of the whole: AUC, 0..1."""


NOT_FOUND = LandmarkScores(False, *(float("nan"),) * 5)


def scores(found: npt.ArrayLike | None, truth: npt.ArrayLike, unit: float) -> LandmarkScores:
    """Of `found` (N, D), or None where nothing was found, against `truth` (N, D).

    Raises ValueError when the shapes differ, no point is annotated or `unit` is not above 0.
    """
    if found is None:
        return NOT_FOUND
    distance = distances(found, truth)
    if not unit > 0:
        raise ValueError(f"landmark_metrics.scores: expected a unit above 0, got {unit!r}")
    known = _known(np.asarray(truth, np.float64))
    a, b = np.asarray(found, np.float64)[known], np.asarray(truth, np.float64)[known]
    mean = float(distance.mean())
    return LandmarkScores(
        True,
        mean,
        mean / unit,
        correct_keypoints(a, b, 0.1 * unit),
        correct_keypoints(a, b, 0.2 * unit),
        # The curve's area in closed form: each point is right from its own error onwards.
        float(np.clip(1.0 - distance / (LARGEST_ERROR * unit), 0.0, 1.0).mean()),
    )


def distances(found: npt.ArrayLike, truth: npt.ArrayLike) -> Array:
    """(K,) distances of the K annotated points, infinite for one that was missed."""
    a, b = np.asarray(found, np.float64), np.asarray(truth, np.float64)
    if a.shape != b.shape or b.ndim != 2:
        raise ValueError(f"landmark_metrics: expected two (N, D), got {a.shape} and {b.shape}")
    known = _known(b)
    if not known.any():
        raise ValueError("landmark_metrics: expected annotated points, got none")
    each = np.linalg.norm(a[known] - b[known], axis=-1)
    return np.where(np.isnan(each), np.inf, each)


def longer_side(points: npt.ArrayLike) -> float:
    """Of the upright box round the annotated points (N, D): the unit of "NME-box"."""
    known = np.asarray(points, np.float64)
    known = known[_known(known)]
    return float(np.ptp(known, axis=0).max()) if len(known) else float("nan")


def closest(candidates: Sequence[npt.ArrayLike], truth: npt.ArrayLike) -> int | None:
    """Which of the candidates, each (N, D), is the annotated one; None where none is.

    The nearest on average, if that is within FOUND_WITHIN of the truth's longer side.
    """
    means = [float(distances(candidate, truth).mean()) for candidate in candidates]
    if not means:
        return None
    best = int(np.argmin(means))
    return best if means[best] <= FOUND_WITHIN * longer_side(truth) else None


def aligned_distance(found: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """PA: mean distance of the annotated points after the best rotation, scale and shift of
    `found` onto `truth`, both (N, 3) in metres; NaN where fewer than three are annotated."""
    a, b = np.asarray(found, np.float64), np.asarray(truth, np.float64)
    known = _known(b)
    if known.sum() < 3:
        return float("nan")
    return float(distances(similarity(a[known], b[known]), b[known]).mean())


def mean_over_found(each: Sequence[LandmarkScores]) -> LandmarkScores:
    """The means over those that were found, NOT_FOUND when none was; beside it, `share_found`."""
    found = [one for one in each if one.found]
    if not found:
        return NOT_FOUND
    rows = np.array([(s.pixels, s.error, s.correct_10, s.correct_20, s.area) for s in found])
    return LandmarkScores(True, *(float(value) for value in rows.mean(axis=0)))


def share_found(each: Sequence[LandmarkScores]) -> float:
    """0..1; NaN of nothing."""
    return float(np.mean([one.found for one in each])) if each else float("nan")


def _known(truth: Array) -> npt.NDArray[np.bool_]:
    return np.asarray(np.isfinite(truth).all(axis=-1), np.bool_)
