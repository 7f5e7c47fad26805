"""Predicting the code from the tracked state: regressions.

With a few hundred frames networks, quadratic inputs and memory gave nothing on held-out frames; a
kernel in the metric of the surface gave up to 1 dB, and made the blend shapes of the same frame
superfluous, whose network saw the same landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avatar.driving import FAR, kernel
from avatar.personal_model import POSE

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

POSE_RIDGE, OWN_RIDGE, ANY_RIDGE = 1.0, 2.0, 0.3
"""Of the variance of a standardised input."""
TILT = 0.85
"""Power by which a geometry number's ridge falls with the surface that it moves: numbers that move
little hold more of the tracker's noise."""
LEAST_MOVED = 1e-3
"""Of what the first number moves."""
LEAST_SPREAD = 1e-3
ANY_SPREAD = 0.08
"""Added to a blend shape's or gaze angle's standard deviation: a shape that the video hardly shows
says little about how it would look in full."""
ASIDE = 0.4
"""A standard deviation of pose or gaze, against the most important geometry number's one."""
REACH = 0.3
"""Length of the kernel, as a part of the median squared distance between moments."""
NOISE = 0.1
"""Variance of a moment's own appearance against what the kernel explains."""
POINTS = 600
"""Moments that a file keeps at most."""
GAZE = 4


@dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """outputs = ((inputs - centre) / scale) @ weights; the last input is a one."""

    centre: Array
    scale: Array
    weights: Array

    @staticmethod
    def fit(inputs: Float32, outputs: Float32, ridge: float, spread: float) -> Regression:
        """`inputs` (N, D) with a column of ones, `outputs` (N, E); `spread` is added to the
        inputs' standard deviations."""
        x, y = inputs.astype(np.float64), outputs.astype(np.float64)
        ones = np.ptp(x, axis=0) == 0
        centre, scale = x.mean(0), x.std(0) + spread
        centre[ones], scale[ones] = 0.0, 1.0
        a = (x - centre) / scale
        penalty = np.where(ones, 1e-9, ridge * len(a))
        weights = np.linalg.solve(a.T @ a + np.diag(penalty), a.T @ y)
        return Regression(centre, scale, weights)

    def folded(self) -> Array:
        """(D, E) weights that need neither centre nor scale; the last input must be a one."""
        weights = self.weights / self.scale[:, None]
        weights[-1] -= (self.centre / self.scale) @ self.weights
        return weights


@dataclass(frozen=True, slots=True, eq=False)
class OwnFit:
    """As `PersonalModel.own_*`; D = 6 + P + 4 inputs."""

    centre: Array
    scale: Array
    rest: Array
    """(A,)."""
    linear: Array
    """(D, A)."""
    metric: Array
    """(D,)."""
    points: Array
    """(C, D)."""
    point_map: Array
    """(C, A)."""

    @staticmethod
    def fit(inputs: Float32, outputs: Float32, geometry_mm2: Float32) -> OwnFit:
        """`inputs` (N, D) of `driving.own_inputs`, `outputs` (N, A), `geometry_mm2` (P,) mean
        squared movement of the surface by one unit of each geometry number."""
        x, y = inputs.astype(np.float64), outputs.astype(np.float64)
        centre, scale, rest = x.mean(0), x.std(0) + LEAST_SPREAD, y.mean(0)
        a = np.clip((x - centre) / scale, -FAR, FAR)
        share = np.sqrt(geometry_mm2 / max(float(geometry_mm2.max()), 1e-12))
        moved = share * scale[POSE:-GAZE]
        steady = np.maximum(moved, LEAST_MOVED * max(float(moved.max()), 1e-12))
        ridge = np.full(a.shape[1], OWN_RIDGE)
        ridge[:POSE] = POSE_RIDGE
        ridge[POSE:-GAZE] *= (np.median(steady) / steady) ** TILT
        linear = np.linalg.solve(a.T @ a + np.diag(ridge * len(a)), a.T @ (y - rest))
        metric = np.full(a.shape[1], ASIDE)
        metric[POSE:-GAZE] = moved
        chosen = np.unique(np.linspace(0, len(a) - 1, min(POINTS, len(a))).astype(int))
        points = a[chosen]
        placed = points * metric
        apart = ((placed[:, None] - placed[None]) ** 2).sum(2)
        metric = metric / np.sqrt(REACH * max(float(np.median(apart)), 1e-9))
        near = kernel((points * metric).astype(np.float32), (points * metric).astype(np.float32))
        left = (y - rest - a @ linear)[chosen]
        point_map = np.linalg.solve(near.astype(np.float64) + NOISE * np.eye(len(near)), left)
        return OwnFit(centre, scale, rest, linear, metric, points, point_map)
