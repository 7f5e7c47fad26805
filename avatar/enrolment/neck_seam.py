"""Where head, neck and clothes meet.

The template cuts its skin at the neck for the texture's sake only: what bends the head's rim takes
the neck along, so that no crack opens. Clothes end in a hole that the template's collar hides; a
personal avatar has none, and its clothes begin at the neck.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from avatar.head_mesh import HeadMesh
from avatar.smooth_normals import SmoothNormals

Array = npt.NDArray[np.float64]

REACH_M = 0.03
"""How far down the neck the rim's displacement has faded to exp(-1)."""
NEAREST_M = 1e-5
CLEARANCE_M = 0.003
NECKLINE_ABOVE_M, NECKLINE_REACH_M = -0.25, 0.03
"""Template, head frame: the clothes' uppermost hole, and how far about it they are moved."""


@dataclass(frozen=True, slots=True, eq=False)
class NeckSeam:
    """Of one template."""

    neck: npt.NDArray[np.intp]
    """(n,) vertices of the neck."""
    rim: npt.NDArray[np.intp]
    """(m,) vertices of the head that are one point with one of the neck ..."""
    twin: npt.NDArray[np.intp]
    """(m,) ... and those."""
    shares: Array
    """(n, m): what of the rim's gap each vertex of the neck closes."""

    @classmethod
    def of(cls, head: HeadMesh) -> Self:
        """From what is welded."""
        count = head.template_size
        regions, weld = head.regions[:count], head.weld[:count]
        skin, neck = np.flatnonzero(regions == "head"), np.flatnonzero(regions == "neck")
        points, first = np.unique(weld[skin], return_index=True)
        place = np.searchsorted(points, weld[neck]).clip(max=len(points) - 1)
        joined = points[place] == weld[neck]
        rim, twin = skin[first[place[joined]]], neck[joined]
        rest = head.vertices[:count].astype(np.float64)
        away = np.linalg.norm(rest[neck][:, None] - rest[rim][None], axis=2)
        weight = 1.0 / np.maximum(away, NEAREST_M) ** 3
        weight /= weight.sum(1, keepdims=True)
        fade = np.exp(-away.min(1) / REACH_M)
        return cls(neck, rim, twin, weight * fade[:, None])

    def closed(self, moved: Array) -> Array:
        """(..., T, 3) places or displacements with the neck's upper rim brought to the head's."""
        out = moved.copy()
        gap = moved[..., self.rim, :] - moved[..., self.twin, :]
        out[..., self.neck, :] += np.einsum("nm,...mc->...nc", self.shares, gap)
        out[..., self.twin, :] = moved[..., self.rim, :]
        return out


def clothed(head: HeadMesh, vertices: Array) -> Array:
    """(T, 3) metres with the neckline of the clothes brought to the neck."""
    count = head.template_size
    regions, rest = head.regions[:count], head.vertices[:count].astype(np.float64)
    faces = head.weld[head.faces[(head.faces < count).all(1)]]
    faces = faces[regions[head.faces[(head.faces < count).all(1)][:, 0]] == "cloth"]
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    kinds, times = np.unique(edges, axis=0, return_counts=True)
    on_edge = np.isin(head.weld[:count], kinds[times == 1]) & (regions == "cloth")
    rim = np.flatnonzero(on_edge & (rest[:, 1] > NECKLINE_ABOVE_M))
    neck, cloth = np.flatnonzero(regions == "neck"), np.flatnonzero(regions == "cloth")
    shift = vertices[neck[KDTree(vertices[neck]).query(vertices[rim])[1]]] - vertices[rim]
    away, near = KDTree(rest[rim]).query(rest[cloth])
    moved = vertices[cloth] + shift[near] * np.exp(-((away / NECKLINE_REACH_M) ** 2))[:, None]
    # Where cloth lies upon the neck, it lies outside.
    normals = SmoothNormals(head.faces[(head.faces < count).all(1)], head.weld[:count], neck)
    outwards = normals.of(vertices.astype(np.float32)).astype(np.float64)
    distance, beneath = KDTree(vertices[neck]).query(moved)
    above = ((moved - vertices[neck][beneath]) * outwards[beneath]).sum(1)
    lift = np.clip(CLEARANCE_M - above, 0.0, None) * (distance < NECKLINE_REACH_M)
    out = vertices.copy()
    out[cloth] = moved + outwards[beneath] * lift[:, None]
    return out
