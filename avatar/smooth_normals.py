"""Vertex normals, area weighted, continuous over the cuts of the texture, fast.

The plain twin is `assets.baking.head_surface.smooth_normals`; a test compares them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse

from avatar.placement_tables import NormalTables

Float32 = npt.NDArray[np.float32]


class SmoothNormals:
    """What does not change from frame to frame, for some of a mesh's vertices.

    `moving` (M,) int: the vertices whose normals are wanted. Every face that touches their points
    takes part, so the result is that of the whole mesh.
    """

    def __init__(
        self,
        faces: npt.NDArray[np.int32],
        weld: npt.NDArray[np.int32],
        moving: npt.NDArray[np.intp],
    ) -> None:
        points, self._point_of_moving = np.unique(weld[moving], return_inverse=True)
        rank = np.full(int(weld.max()) + 1, -1, np.int64)
        rank[points] = np.arange(len(points))
        corner_rank = rank[weld[faces]]
        touching = (corner_rank >= 0).any(1)
        self._corners = tuple(np.ascontiguousarray(c) for c in faces[touching].T.astype(np.intp))
        corner_rank = corner_rank[touching]
        face, corner = np.nonzero(corner_rank >= 0)
        # Rows are welded points, columns faces: the sum over a point's faces is one product.
        self._sum = sparse.csr_array(
            (np.ones(len(face), np.float32), (corner_rank[face, corner], face)),
            shape=(len(points), len(corner_rank)),
        )

    def of(self, vertices: Float32) -> Float32:
        """(V, 3) float32 vertices of the whole mesh -> (M, 3) float32 unit normals of `moving`.

        A point without area around it has a zero normal.
        """
        a, b, c = self._corners
        base = vertices[a]
        u, v = vertices[b] - base, vertices[c] - base
        face = np.empty_like(u)
        face[:, 0] = u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1]
        face[:, 1] = u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2]
        face[:, 2] = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
        total = self._sum @ face
        length = np.sqrt(np.einsum("ij,ij->i", total, total))
        total /= np.maximum(length, 1e-20)[:, None]
        return total[self._point_of_moving]

    def tables(self) -> NormalTables:
        """The same for engines other than numpy."""
        count = np.diff(self._sum.indptr)
        table = np.full((len(count), int(count.max(initial=1))), len(self._corners[0]), np.int32)
        row = np.repeat(np.arange(len(count)), count)
        table[row, np.arange(len(row)) - self._sum.indptr[row]] = self._sum.indices
        corners = np.stack(self._corners, axis=1).astype(np.int32)
        return NormalTables(corners, table, self._point_of_moving.astype(np.int32))
