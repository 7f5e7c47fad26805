"""How skin colour changes over the face: local coefficients of a learned texture basis.

The field at a texel is sum_k c_k(x, y) basis_k(x, y). The coefficients come on a coarse grid and
are interpolated between its nodes, so each part of the face combines the basis in its own way.
Linear where it counts: no convolution runs at the texture's size.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

GRID = 12
"""Nodes along each side of the chart. Node i lies at ((i + 0.5) / GRID) of the side, as a texel of
a GRID x GRID picture does."""


def interpolate_nodes(nodes: Float32, size: int) -> Float32:
    """(GRID, GRID, K) -> (size, size, K) float32, bilinear, constant beyond the outer nodes."""
    return np.asarray(cv2.resize(nodes, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


class LocalBasis:
    """A basis over the face's chart, cut to the rectangle that holds the face."""

    def __init__(self, basis: Float32, rectangle: tuple[int, int, int, int], size: int) -> None:
        """`basis` (K, h, w, 3) float32 over the rectangle x, y, w, h of a square chart with `size`
        texels on a side."""
        self.rectangle = rectangle
        self.size = size
        self._planes = [
            [np.ascontiguousarray(plane[..., channel]) for plane in basis] for channel in range(3)
        ]
        x, y, w, h = rectangle
        # Bilinear interpolation is separable: one matrix for rows, one for columns.
        along = cv2.resize(np.eye(GRID, dtype=np.float32), (GRID, size))
        self._rows, self._columns = along[y : y + h].copy(), along[x : x + w].T.copy()

    def planes(self) -> Float32:
        """(K, h, w, 3) float32: the basis over the rectangle."""
        return np.stack([np.stack(channels, -1) for channels in zip(*self._planes, strict=True)])

    def field(self, nodes: Float32) -> Float32:
        """(GRID, GRID, K) coefficients -> (h, w, 3) float32 on the rectangle."""
        coefficients = self._rows @ (nodes.transpose(2, 0, 1) @ self._columns)
        sums = []
        for basis in self._planes:
            total = np.zeros(coefficients.shape[1:], np.float32)
            for plane, one in zip(coefficients, basis, strict=True):
                cv2.accumulateProduct(plane, one, total)
            sums.append(total)
        return np.asarray(cv2.merge(sums), np.float32)

    def field_slow(self, nodes: Float32) -> npt.NDArray[np.float64]:
        """The slow twin of `field`: the definition, texel by texel, in float64."""
        x0, y0, w, h = self.rectangle
        out = np.zeros((h, w, 3))
        for y in range(h):
            v, j, fy = _between_nodes(y0 + y, self.size)
            for x in range(w):
                u, i, fx = _between_nodes(x0 + x, self.size)
                c = (1 - fy) * ((1 - fx) * nodes[v, u] + fx * nodes[v, i]) + fy * (
                    (1 - fx) * nodes[j, u] + fx * nodes[j, i]
                )
                for channel in range(3):
                    out[y, x, channel] = sum(
                        float(c[k]) * float(plane[y, x])
                        for k, plane in enumerate(self._planes[channel])
                    )
        return out


def _between_nodes(texel: int, size: int) -> tuple[int, int, float]:
    """The nodes before and after a texel, and how far it is between them."""
    at = min(max((texel + 0.5) * GRID / size - 0.5, 0.0), GRID - 1.0)
    before = min(int(at), GRID - 2)
    return before, before + 1, at - before
