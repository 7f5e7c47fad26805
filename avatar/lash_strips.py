"""The lashes of a personal avatar: strips on the rims of the lids, which move as the lids do.

The template has two at each eye, grids of some 13 vertices along the lid by 5 from root to tip. In
the personal atlas they lie as rectangles below the jaw, where no skin is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse
from scipy.sparse import csgraph
from scipy.spatial import KDTree

from avatar.head_mesh import ATLAS, HeadMesh

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

STRIPS = ("l-eyelashes-2", "r-eyelashes-2", "l-eyelashes-1", "r-eyelashes-1")
"""Regions of the template: upper lids, left first, then lower lids."""
WINDOW = (slice(708, 764), slice(596, 764))
"""Rows and columns of the atlas, a quarter of the rows for each strip."""
GUTTER = 2
"""Texels about each strip that repeat its edge."""


@dataclass(frozen=True, slots=True, eq=False)
class LashStrips:
    """L vertices."""

    vertices: Index
    """(L,) of the template."""
    strip: Index
    """(L,) index into STRIPS."""
    along: Array
    """(L,) 0 at the nose to 1 at the temple."""
    out: Array
    """(L,) 0 at the root to 1 at the tip."""

    @staticmethod
    def of(head: HeadMesh) -> LashStrips:
        """Of the template, whose `vertices` are at rest."""
        parts = [_strip(head, name) for name in STRIPS]
        strip = np.repeat(np.arange(len(parts)), [len(rows) for rows, _, _ in parts])
        rows, along, out = (np.concatenate(column) for column in zip(*parts, strict=True))
        return LashStrips(rows, strip, along, out)

    def uv(self) -> Float32:
        """(L, 2) in the personal atlas."""
        rows, columns = WINDOW
        each = (rows.stop - rows.start) // len(STRIPS)
        width, height = columns.stop - columns.start - 2 * GUTTER, each - 2 * GUTTER
        x = columns.start + GUTTER + self.along * width
        y = rows.start + each * self.strip + GUTTER + self.out * height
        return (np.stack([x, y], axis=1) / ATLAS).astype(np.float32)

    def grid(self, strip: int) -> Index:
        """(rows, columns) the template's vertices of one of STRIPS: root first, from the nose."""
        here = np.flatnonzero(self.strip == strip)
        order = here[np.lexsort((self.along[here], self.out[here]))]
        return self.vertices[order].reshape(int((self.along[here] == 0.0).sum()), -1)

    def roots(self, head: HeadMesh) -> Index:
        """(L,) the vertex of the template's skin from which each vertex grows: what carries it."""
        rest = head.vertices[: head.template_size]
        skin = np.flatnonzero(head.regions[: head.template_size] == "head")
        nearest = skin[KDTree(rest[skin]).query(rest[self.vertices])[1]]
        root = np.empty(len(self.vertices), np.intp)
        for strip in range(len(STRIPS)):
            here = np.flatnonzero(self.strip == strip)
            first = here[self.out[here] < 1e-9]
            apart = np.abs(self.along[here][:, None] - self.along[first][None])
            root[here] = nearest[first[apart.argmin(1)]]
        return root


def _strip(head: HeadMesh, name: str) -> tuple[Index, Array, Array]:
    """Vertices of one, and how far along the lid and out from it each lies: its place in the grid.
    Raises ValueError when the strip is none."""
    rows = np.flatnonzero(head.regions[: head.template_size] == name)
    faces = np.searchsorted(rows, head.faces[np.isin(head.faces[:, 0], rows)])
    edges, count = _grid_edges(faces, name), len(rows)
    grid = sparse.csr_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    neighbours = np.bincount(edges.ravel(), minlength=count)
    corners = np.flatnonzero(neighbours == 2)
    apart = csgraph.shortest_path(grid, directed=False, unweighted=True)
    place = head.vertices[rows].astype(np.float64)
    # The nose is where x is small, and a root lies deeper than the tips.
    aside = np.abs(place[corners, 0])
    nose, temple = corners[np.argsort(aside)[:2]], corners[np.argsort(aside)[2:]]
    if len(corners) != 4 or apart[nose[0], nose[1]] >= apart[nose, temple].min():
        raise ValueError(f"LashStrips: expected the region {name!r} to be a grid, got another mesh")
    root, tip = nose[np.argsort(place[nose, 2])]
    out = apart[root] + apart[temple[np.argmin(place[temple, 2])]]
    height = apart[root, tip]
    row = (out - out.min()) / 2.0
    along = apart[root] - row
    return rows, along / along.max(), row / height


def _grid_edges(faces: npt.NDArray[np.integer], name: str) -> Index:
    """(E, 2) sides of the quadrangles whose halves the `faces` (2 Q, 3) are, two by two."""
    sides = set()
    for first, second in zip(faces[::2], faces[1::2], strict=True):
        shared = set(first.tolist()) & set(second.tolist())
        if len(shared) != 2:
            raise ValueError(f"LashStrips: expected {name!r} to be made of quadrangles")
        for half in (first.tolist(), second.tolist()):
            for k in range(3):
                side = tuple(sorted((half[k], half[k - 2])))
                sides |= {side} if set(side) != shared else set()
    return np.array(sorted(sides), np.intp)
