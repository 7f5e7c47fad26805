"""The figures by which published hand trackers are compared, in the datasets' own definitions.

MPJPE and MPJPA as in UmeTrack (Han et al. 2022, eq. 10), the area under the PCK curve from 0 to
50 mm as in the Multiview Egocentric Hand Tracking Challenge. MPJPA is an acceleration: of a still
hand it measures how much the result trembles. Nothing is aligned unless it says so: a hand beside
its place is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracking.evaluation import similarity

Array = npt.NDArray[np.float64]

LARGEST_ERROR_M = 0.050
THRESHOLDS = 101


def joint_errors(found: npt.ArrayLike, truth: npt.ArrayLike) -> Array:
    """Distances (..., P) metres of points (..., P, 3); NaN where either point is missing.

    Raises ValueError when the shapes differ.
    """
    a, b = np.asarray(found, np.float64), np.asarray(truth, np.float64)
    if a.shape != b.shape or a.ndim < 2 or a.shape[-1] != 3:
        raise ValueError(f"joint_errors: expected two (..., P, 3), got {a.shape} and {b.shape}")
    return np.linalg.norm(a - b, axis=-1)


def accelerations(points: npt.ArrayLike) -> Array:
    """(T - 2, P) metres a frame squared of (T, P, 3): the length of the second difference. NaN
    where one of the three moments is missing."""
    x = np.asarray(points, np.float64)
    if x.ndim != 3 or x.shape[2] != 3:
        raise ValueError(f"accelerations: expected (T, P, 3), got {x.shape}")
    return np.linalg.norm(x[2:] - 2.0 * x[1:-1] + x[:-2], axis=-1)


def pck_auc(errors: npt.ArrayLike) -> float:
    """0..1: area under the part of errors (any shape, metres) within a threshold that goes from 0
    to 50 mm in 101 steps; NaN errors are left out. NaN when none is left."""
    e = np.asarray(errors, np.float64).ravel()
    e = e[np.isfinite(e)]
    if not len(e):
        return float("nan")
    thresholds = np.linspace(0.0, LARGEST_ERROR_M, THRESHOLDS)
    curve = (e[None] <= thresholds[:, None]).mean(1)
    return float(np.trapezoid(curve, thresholds) / LARGEST_ERROR_M)


@dataclass(frozen=True, slots=True)
class HandFigures:
    """Of all moments of one or several clips."""

    truths: int
    """Hands that were there to be found."""
    found: int
    """Of these, how many were; the rest counts nowhere below."""
    mpjpe_mm: float
    """Mean distance of the landmarks."""
    median_mm: float
    """Median over hands of each hand's mean distance."""
    mpjpa_mm: float
    """Mean acceleration of the found landmarks, mm a frame squared."""
    true_mpjpa_mm: float
    """The same of the true ones, in the same moments: the least that can be asked."""
    aligned_mm: float
    """Mean distance after the best similarity of each hand (PA-MPJPE)."""
    auc: float
    """`pck_auc` of all landmarks."""


def hand_figures(sequences: list[tuple[Array, Array]]) -> HandFigures:
    """`sequences` are pairs found, truth (T, P, 3) metres of one hand each, NaN where there is
    none; landmarks that are NaN in every truth (a layout without them) count nowhere."""
    errors: list[Array] = []
    means: list[float] = []
    aligned: list[float] = []
    moves: list[Array] = []
    true_moves: list[Array] = []
    truths = 0
    for found, truth in sequences:
        distance = joint_errors(found, truth)
        there = np.asarray(np.isfinite(truth).all(-1), np.bool_)
        both = np.asarray(there & np.isfinite(found).all(-1), np.bool_)
        truths += int(there.any(1).sum())
        for k in np.flatnonzero(both.any(1)):
            errors.append(distance[k, both[k]])
            means.append(float(errors[-1].mean()))
            if both[k].sum() >= 4:
                laid = similarity(found[k, both[k]], truth[k, both[k]])
                aligned.append(float(np.linalg.norm(laid - truth[k, both[k]], axis=-1).mean()))
        if len(found) >= 3:
            steady = accelerations(np.where(both[..., None], found, np.nan))
            moves.append(steady[np.isfinite(steady)])
            true_moves.append(accelerations(truth)[np.isfinite(steady)])
    return HandFigures(
        truths, len(means), _mean_mm(errors), 1e3 * float(np.median(means)) if means else np.nan,
        _mean_mm(moves), _mean_mm(true_moves),
        1e3 * float(np.mean(aligned)) if aligned else np.nan,
        pck_auc(np.concatenate(errors)) if errors else np.nan,
    )  # fmt: skip


def _mean_mm(values: list[Array]) -> float:
    flat = np.concatenate(values) if values else np.zeros(0)
    return 1e3 * float(flat.mean()) if len(flat) else float("nan")
