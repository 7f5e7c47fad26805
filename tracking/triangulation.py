"""Landmarks of one hand or face in space, from where several calibrated cameras saw them.

Each landmark is a bundle of rays. Every pair of rays proposes a point, the proposal that most views
agree with decides which rays belong (RANSAC, Fischler and Bolles 1981, over all pairs instead of
random ones; its cost is MSAC's, Torr and Zisserman 2000), and the rays that belong give the point:
first by the direct linear transform (DLT), then by Gauss-Newton steps on the reprojection error.

The reprojection error is taken in a pinhole that looks along each ray, so any lens will do. It is
counted in the hand's own size: a landmark net errs by a part of the hand that it sees, however
large its picture is. So limits are in metres beside the ray at the hand's distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

import numpy as np
import numpy.typing as npt

from streams.camera import Camera
from streams.projection import directions

Array = npt.NDArray[np.float64]

STEPS = 20
CONVERGED = 1e-6
"""Metres."""


class View(Protocol):
    """Where a camera saw P landmarks: a `HandView`, or a face's."""

    @property
    def camera(self) -> Camera: ...

    @property
    def points(self) -> Array:
        """(P, 2) float64 pixels."""
        ...

    @property
    def weights(self) -> Array:
        """(P,) float64, 0 or more; 0 was not seen."""
        ...


@dataclass(frozen=True, slots=True)
class TriangulationOptions:
    """What is believed of a ray."""

    outlier: float = 0.030
    """Metres beside the point from which a ray has nothing to do with it."""
    usual: float = 0.006
    """Metres: a landmark net's usual error; residuals beyond count less (Huber)."""
    nearest: float = 0.03
    """Metres: no landmark is nearer to a camera."""

    def __post_init__(self) -> None:
        if not self.nearest > 0.0:
            raise ValueError(
                f"TriangulationOptions.nearest: expected metres above 0, got {self.nearest}"
            )
        if not 0.0 < self.usual <= self.outlier:
            raise ValueError(
                "TriangulationOptions.usual: expected metres above 0 and up to outlier, got "
                f"{self.usual} of {self.outlier}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Triangulated:
    """P landmarks in space."""

    points: Array
    """(P, 3) float64 metres, world frame; NaN where fewer than two views agree."""
    belongs: npt.NDArray[np.bool_]
    """(V, P): whether the view's ray went into the point."""
    distances: Array
    """(V, P) float64 metres from the point to the view's ray; NaN where either is missing."""
    deviations: Array
    """(P,) float64 metres: the point's standard deviation (root of the summed variances), when each
    ray errs by `TriangulationOptions.usual`: large for cameras that look from one side."""
    confidence: Array
    """(P,) float64 0..1: how many of the views agree, how well, and how firmly their rays cross."""


def triangulate(views: Sequence[View], options: TriangulationOptions | None = None) -> Triangulated:
    """Where the landmarks that `views` see are, in the world of their cameras.

    A pixel that its lens has no direction for counts as not seen. Raises ValueError for fewer than
    two views.
    """
    o = options or TriangulationOptions()
    if len(views) < 2:
        raise ValueError(f"triangulate views: expected two or more, got {len(views)}")
    rays = np.stack([directions(view.camera, view.points) for view in views])
    origins = np.stack([view.camera.world_from_camera.xyz for view in views])[:, None]
    weights = np.where(np.isfinite(rays).all(-1), np.stack([view.weights for view in views]), 0.0)
    rays = np.where(weights[..., None] > 0.0, rays, [0.0, 0.0, 1.0])

    belongs = _consensus(origins, rays, weights, o)
    # A view that is wrong in most landmarks saw something else: its few agreeing ones are chance.
    seen = np.maximum((weights > 0.0).sum(1), 1)
    trust = belongs.sum(1) / seen
    belongs &= (trust >= 0.3)[:, None]
    belongs &= belongs.sum(0) >= 2
    kept = np.where(belongs, weights * trust[:, None], 0.0)
    solvable = (kept > 0.0).sum(0) >= 2

    points = _refined(origins, rays, kept, solvable, o)
    distances, along = beside(points, origins, rays)
    solvable &= ~((along <= o.nearest) & (kept > 0.0)).any(0)
    normal = _normal(points, origins, rays, kept, o)[0]
    deviations = np.full(points.shape[0], np.nan)
    variance = np.linalg.inv(normal[solvable]) if solvable.any() else np.zeros((0, 3, 3))
    deviations[solvable] = np.sqrt(np.maximum(np.trace(variance, axis1=1, axis2=2), 0.0))
    points = np.where(solvable[:, None], points, np.nan)
    belongs &= solvable
    distances = np.where(solvable & (weights > 0.0), distances, np.nan)
    return Triangulated(
        points, belongs, distances, deviations,
        _confidence(distances, deviations, belongs, weights, o),
    )  # fmt: skip


def _consensus(
    origins: Array, rays: Array, weights: Array, o: TriangulationOptions
) -> npt.NDArray[np.bool_]:
    """(V, P): the rays that agree with the best of all pairs' proposals."""
    first, second = np.array(list(combinations(range(len(rays)), 2))).T
    p, q, a, b = origins[first], origins[second], rays[first], rays[second]
    # The middle of where two lines come nearest to one another.
    cosine = (a * b).sum(-1)
    sine2 = np.maximum(1.0 - cosine * cosine, 1e-12)
    across = q - p
    to_a, to_b = (across * a).sum(-1), (across * b).sum(-1)
    s = (to_a - cosine * to_b) / sine2
    t = (cosine * to_a - to_b) / sine2
    proposals = (p + a * s[..., None] + q + b * t[..., None]) / 2.0
    # (pairs, V, P)
    distances, along = beside(proposals[:, None], origins, rays)
    agrees = (distances < o.outlier) & (along > o.nearest) & (weights > 0.0)
    cost = np.where(agrees, np.minimum(distances, o.outlier) ** 2, o.outlier**2) * weights
    usable = (sine2 > 1e-9) & (weights[first] > 0.0) & (weights[second] > 0.0)
    usable &= np.take_along_axis(agrees, first[:, None, None], 1)[:, 0]
    usable &= np.take_along_axis(agrees, second[:, None, None], 1)[:, 0]
    best = np.argmin(np.where(usable, cost.sum(1), np.inf), axis=0)
    chosen = np.arange(rays.shape[1])
    return agrees[best, :, chosen].T & usable[best, chosen]


def _refined(
    origins: Array, rays: Array, weights: Array, solvable: npt.NDArray[np.bool_],
    o: TriangulationOptions,
) -> Array:  # fmt: skip
    """(P, 3): DLT, then Gauss-Newton."""
    eye = np.eye(3)
    # Rows of the DLT: what of (X - c) is not along the ray is 0.
    off = eye - rays[..., :, None] * rays[..., None, :]
    normal = np.einsum("vp,vpij->pij", weights, off)
    target = np.einsum("vp,vpij,vpj->pi", weights, off, np.broadcast_to(origins, rays.shape))
    normal[~solvable] = eye
    points = np.linalg.solve(normal, target[..., None])[..., 0]
    for _ in range(STEPS):
        normal, gradient = _normal(points, origins, rays, weights, o)
        normal[~solvable] = eye
        step = np.linalg.solve(normal, gradient[..., None])[..., 0]
        step[~solvable] = 0.0
        points = points - step
        if np.abs(step).max(initial=0.0) < CONVERGED:
            break
    return points


def _normal(
    points: Array, origins: Array, rays: Array, weights: Array, o: TriangulationOptions
) -> tuple[Array, Array]:
    """(P, 3, 3) and (P, 3): Gauss-Newton's normal matrix and gradient, in units of `usual`."""
    to = points - origins
    along = np.maximum((to * rays).sum(-1), o.nearest)
    # Of the pinhole along the ray: x/z and y/z, as a vector at right angles to the ray.
    slope = (to - (to * rays).sum(-1)[..., None] * rays) / along[..., None]
    derivative = np.eye(3) - rays[..., :, None] * rays[..., None, :]
    derivative = (derivative - slope[..., :, None] * rays[..., None, :]) / along[..., None, None]
    # One scale a view: the slope of `usual` at the hand's distance there.
    counted = np.where(weights > 0.0, along, np.nan)
    distance = np.array([np.nanmedian(row) if np.isfinite(row).any() else 1.0 for row in counted])[
        :, None
    ]
    scale = distance / o.usual
    size = np.linalg.norm(slope, axis=-1) * scale
    weighted = weights * scale**2 / np.maximum(size, 1.0)
    normal = np.einsum("vp,vpki,vpkj->pij", weighted, derivative, derivative)
    gradient = np.einsum("vp,vpki,vpk->pi", weighted, derivative, slope)
    return normal, gradient


def beside(points: Array, origins: Array, rays: Array) -> tuple[Array, Array]:
    """Metres from each point to each ray's line, and along it from the camera."""
    to = points - origins
    along = (to * rays).sum(-1)
    return np.linalg.norm(to - along[..., None] * rays, axis=-1), along


def _confidence(
    distances: Array,
    deviations: Array,
    belongs: npt.NDArray[np.bool_],
    weights: Array,
    o: TriangulationOptions,
) -> Array:
    total = np.maximum(weights.sum(0), 1e-12)
    share = np.where(belongs, weights, 0.0).sum(0) / total
    squares = np.where(belongs, np.nan_to_num(distances) ** 2, 0.0).sum(0)
    error2 = squares / np.maximum(belongs.sum(0), 1)
    close = np.clip(1.0 - error2 / o.outlier**2, 0.0, 1.0)
    firm = 1.0 / (1.0 + (np.nan_to_num(deviations) / o.outlier) ** 2)
    return np.where(belongs.any(0), share * close * firm, 0.0)
