"""The head template's skin as one sheet that resists bending."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse

from avatar.head_mesh import HeadMesh

Array = npt.NDArray[np.float64]

LEAST_COTANGENT, LARGEST_COTANGENT = 0.02, 20.0


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceBending:
    """n points, which are vertices joined over the cuts of the texture."""

    on_surface: npt.NDArray[np.bool_]
    """(T,) the template's vertices that take part."""
    points: npt.NDArray[np.intp]
    """The point of each of those."""
    point_of: npt.NDArray[np.intp]
    """(T,) the point of every vertex; -1 off the surface."""
    place: Array
    """(n, 3) metres: the points at rest."""
    faces: npt.NDArray[np.intp]
    """(F, 3) triangles of points."""
    area: Array
    """(n,) square metres: a third of the triangles about each point."""
    energy: sparse.csr_array
    """(n, n): u' E u is the integral of the squared Laplacian of a displacement u over the surface
    (Botsch and Sorkine 2008, "On linear variational surface deformation methods", section 3)."""

    @staticmethod
    def of(head: HeadMesh, rest: Array, regions: tuple[str, ...]) -> SurfaceBending:
        """Of the template's vertices `rest` (T, 3) metres in some regions."""
        count = head.template_size
        on_surface = np.isin(head.regions[:count], regions)
        ids, points = np.unique(head.weld[:count][on_surface], return_inverse=True)
        n = len(ids)
        point_of = np.full(count, -1)
        point_of[on_surface] = points
        place = np.zeros((n, 3))
        place[points] = rest[on_surface]
        faces = head.faces[(head.faces < count).all(1)]
        faces = point_of[faces[on_surface[faces].all(1)]]
        a, b, c = faces.T
        faces = faces[(a != b) & (b != c) & (a != c)]
        laplacian, area = _laplacian(place, faces)
        energy = laplacian.T @ sparse.diags_array(1.0 / np.maximum(area, 1e-8)) @ laplacian
        return SurfaceBending(
            on_surface, points, point_of, place, faces, area, sparse.csr_array(energy)
        )

    def at(
        self, corners: npt.NDArray[np.integer], weights: npt.NDArray[np.floating]
    ) -> sparse.csr_array:
        """(k, 3) points and barycentric weights -> (k, n): interpolation. Raises ValueError when a
        corner is -1."""
        if corners.min(initial=0) < 0:
            raise ValueError("SurfaceBending.at: expected points of the surface, got one off it")
        rows = np.repeat(np.arange(len(corners)), 3)
        shape = (len(corners), len(self.place))
        return sparse.csr_array((weights.ravel(), (rows, corners.ravel())), shape)


def _laplacian(place: Array, faces: npt.NDArray[np.intp]) -> tuple[sparse.csr_array, Array]:
    """Cotangent Laplacian and a third of the area of the triangles about each point (Pinkall and
    Polthier 1993); cotangents are clipped, so that needles do no harm."""
    n = len(place)
    i = np.concatenate([faces[:, k] for k in range(3)])
    j = np.concatenate([faces[:, (k + 1) % 3] for k in range(3)])
    o = np.concatenate([faces[:, (k + 2) % 3] for k in range(3)])
    u, v = place[i] - place[o], place[j] - place[o]
    across = np.linalg.norm(np.cross(u, v), axis=1)
    cotangent = (u * v).sum(1) / np.maximum(across, 1e-12)
    half = 0.5 * np.clip(cotangent, LEAST_COTANGENT, LARGEST_COTANGENT)
    ends = (np.concatenate([i, j]), np.concatenate([j, i]))
    adjacency = sparse.csr_array((np.concatenate([half, half]), ends), (n, n))
    laplacian = sparse.diags_array(np.asarray(adjacency.sum(axis=1)).ravel()) - adjacency
    area = np.zeros(n)
    # Each triangle comes three times, once for each corner as `o`.
    np.add.at(area, o, across / 6.0)
    return sparse.csr_array(laplacian), area
