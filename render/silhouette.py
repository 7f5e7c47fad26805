"""Outlines of a mesh in a view, to be smoothed by drawing them as anti-aliased lines.

Where several samples a pixel cost more than the picture itself (a software OpenGL), smooth lines
along the outlines do most of their work (Sander et al. 2001, "Discontinuity edge overdraw").
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int32]


class EdgeTable:
    """The edges of some faces and the one or two faces at each, made once a topology."""

    def __init__(self, faces: Indices, groups: npt.NDArray[np.int64]) -> None:
        """`faces`: (F, 3) vertex indices. `groups`: (F,) a number a face; an edge is in the group
        of its first face. Outlines come sorted by group."""
        self._faces = np.ascontiguousarray(faces.T)
        corners = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        owner = np.tile(np.arange(len(faces)), 3)
        ends = np.sort(corners, axis=1)
        order = np.lexsort((owner, ends[:, 1], ends[:, 0]))
        ends, owner = ends[order], owner[order]
        first = np.ones(len(ends), bool)
        first[1:] = (ends[1:] != ends[:-1]).any(axis=1)
        start = np.flatnonzero(first)
        start = start[np.argsort(groups[owner[start]], kind="stable")]
        # A third face at an edge is ignored: such an edge is drawn by its first two.
        paired = np.append(~first[1:], False)[start]
        self._ends = ends[start].astype(np.uint32)
        self._groups = groups[owner[start]]
        self._one = owner[start]
        # An open edge has "no face", which faces away: it is an outline whenever its face is seen.
        self._other = np.where(paired, owner[np.minimum(start + 1, len(owner) - 1)], len(faces))

    def outlines(
        self, vertices: npt.NDArray[np.float32], clip_from_world: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """(N, 2) uint32 vertex pairs between a face that is seen and one that is turned away, and
        (N,) their groups, ascending."""
        rows = clip_from_world[[0, 1, 3]].astype(np.float32)
        x, y, w = rows[:, :3] @ vertices.T + rows[:, 3:]
        safe = np.maximum(w, np.float32(1e-6))
        x, y = x / safe, y / safe
        a, b, c = self._faces
        ax, ay = x[a], y[a]
        towards = np.zeros(len(a) + 1, bool)
        with np.errstate(over="ignore", invalid="ignore"):  # corners behind the eye
            towards[:-1] = (x[b] - ax) * (y[c] - ay) > (x[c] - ax) * (y[b] - ay)
        chosen = towards[self._one] != towards[self._other]
        return self._ends[chosen], self._groups[chosen]
