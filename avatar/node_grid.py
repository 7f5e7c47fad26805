"""The coarse grid of coefficients over the atlas: how much each node counts at each texel."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse

from avatar.unwrapping import TexelTable

Array = npt.NDArray[np.float64]


def node_shares(table: TexelTable, grid: int) -> sparse.csr_array:
    """(n, grid * grid) bilinear weights as a texture unit takes them, clamped at the edges."""
    n = len(table.rows)

    def along(texels: npt.NDArray[np.intp]) -> tuple[Array, Array, Array]:
        place = (texels + 0.5) / table.size * grid - 0.5
        low = np.floor(place)
        inside = place - low
        return np.clip(low, 0, grid - 1), np.clip(low + 1, 0, grid - 1), inside

    x0, x1, fx = along(table.columns)
    y0, y1, fy = along(table.rows)
    nodes = np.concatenate([y0 * grid + x0, y0 * grid + x1, y1 * grid + x0, y1 * grid + x1])
    values = np.concatenate([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy])
    rows = np.tile(np.arange(n), 4)
    pairs = (rows, nodes.astype(np.intp))
    return sparse.csr_array((values.astype(np.float32), pairs), (n, grid * grid))


def node_count(shares: sparse.csr_array) -> int:
    """The columns of a matrix of shares, of nodes or of vertices."""
    return int(cast("tuple[int, int]", shares.shape)[1])
