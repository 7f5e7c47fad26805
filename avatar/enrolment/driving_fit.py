"""Predicting the code from the tracked state: ridge regression.

With a few hundred frames richer regressors (kernels, networks, memory) gave nothing on held-out
frames: the tracker's signal, not the regressor, is what limits a driven avatar.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

OWN_RIDGE, ANY_RIDGE = 1.0, 0.3
"""Of the variance of a standardised input."""
LEAST_SPREAD = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """outputs = ((inputs - centre) / scale) @ weights; the last input is a one."""

    centre: Array
    scale: Array
    weights: Array

    @staticmethod
    def fit(inputs: Float32, outputs: Float32, ridge: float) -> Regression:
        """`inputs` (N, D) with a column of ones, `outputs` (N, E)."""
        x, y = inputs.astype(np.float64), outputs.astype(np.float64)
        ones = np.ptp(x, axis=0) == 0
        centre, scale = x.mean(0), x.std(0) + LEAST_SPREAD
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
