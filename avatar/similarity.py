"""The similarity transform between two sets of points."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def similarity(source: Array, target: Array, weight: Array) -> tuple[float, Array, Array]:
    """Scale, rotation (3, 3) and offset (3,) that bring `source` (N, 3) nearest to `target`
    (Umeyama 1991, weighted)."""
    share = (weight / weight.sum())[:, None]
    a, b = (source * share).sum(0), (target * share).sum(0)
    u, s, vt = np.linalg.svd(((target - b) * share).T @ (source - a))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    turn = u @ np.diag(sign) @ vt
    scale = float((s * sign).sum() / (share * (source - a) ** 2).sum())
    return scale, turn, b - scale * turn @ a
