"""Measures of agreement between two trackings of the same motion (source and rendered avatar)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.rigid import Rigid

Array = npt.NDArray[np.float64]


def blendshape_correlation(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Pearson's correlation of two signals (N,); NaN where fewer than three pairs are finite or
    either signal stands still."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(
            f"blendshape_correlation: expected two (N,) signals, got {x.shape} and {y.shape}"
        )
    good = np.isfinite(x) & np.isfinite(y)
    x, y = x[good], y[good]
    if len(x) < 3 or x.std() < 1e-9 or y.std() < 1e-9:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def rotation_error_deg(a: Rigid, b: Rigid) -> float:
    """Degrees, 0..180, between two rotations; places are ignored."""
    return float(np.rad2deg(a.angle_to(b)))


def similarity(
    source: npt.ArrayLike, target: npt.ArrayLike, moved: npt.ArrayLike | None = None
) -> Array:
    """`source` (N, D), D 2 or 3, moved onto `target` by the best rotation, scale and shift
    (Umeyama 1991; no reflection); or `moved` (M, D) by the same. Float64 (N, D) or (M, D)."""
    a, b = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] not in (2, 3) or len(a) < 2:
        raise ValueError(f"similarity: expected two (N, 2) or (N, 3), got {a.shape} and {b.shape}")
    ca, cb = a - a.mean(0), b - b.mean(0)
    u, s, vt = np.linalg.svd(cb.T @ ca)
    signs = np.ones(a.shape[1])
    signs[-1] = np.sign(np.linalg.det(u @ vt)) or 1.0
    size = float((ca * ca).sum())
    scale = float((s * signs).sum()) / size if size > 0 else 1.0
    points = ca if moved is None else np.asarray(moved, np.float64) - a.mean(0)
    return scale * points @ ((u * signs) @ vt).T + b.mean(0)


def hand_shape_error(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Mean joint distance of hand `a` from `b`, (21, 3) or (21, 2), after similarity alignment, as
    a part of b's palm length (wrist to middle knuckle)."""
    target = np.asarray(b, np.float64)
    if target.ndim != 2 or target.shape[0] != 21:
        raise ValueError(f"hand_shape_error: expected (21, 2) or (21, 3), got {target.shape}")
    palm = float(np.linalg.norm(target[9] - target[0]))
    if palm <= 0:
        raise ValueError("hand_shape_error: expected a palm with a length, got 0")
    return float(np.linalg.norm(similarity(a, target) - target, axis=-1).mean()) / palm


def correct_keypoints(found: npt.ArrayLike, truth: npt.ArrayLike, radius: float) -> float:
    """PCK: the part of the points (N, D) that lie within `radius` of the truth; NaN is a miss."""
    distance = np.linalg.norm(
        np.asarray(found, np.float64) - np.asarray(truth, np.float64), axis=-1
    )
    return float((distance <= radius).mean())


def jitter(values: npt.ArrayLike) -> float:
    """Median absolute second difference along the first axis: unrest of a signal, its own unit."""
    x = np.asarray(values, np.float64)
    if len(x) < 3:
        return float("nan")
    return float(np.median(np.abs(x[2:] - 2.0 * x[1:-1] + x[:-2])))
