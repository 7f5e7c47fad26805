"""How the whole head moves when its landmarks do: linear in the landmarks.

First the template's 52 shapes explain what they can (they know how lids roll and lips part), then a
smooth field over the surface carries what is left: the bi-Laplacian energy is least among all
fields that follow the landmarks (Botsch and Sorkine 2008, "On linear variational surface
deformation methods", section 3).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse
from scipy.sparse.linalg import splu

from avatar.enrolment.neck_seam import NeckSeam
from avatar.enrolment.surface_bending import SurfaceBending
from avatar.head_mesh import HeadMesh
from avatar.landmark_map import LandmarkMap
from avatar.lash_strips import LashStrips

Array = npt.NDArray[np.float64]

SURFACE = ("head", "mouth", "socket")
"""Regions that are one connected surface with the face."""
FOLLOW = 2e4
"""How strongly landmarks are followed, against bending, per square metre."""
HOLD = 1e3
"""How strongly what no expression moves stays in its place."""
SHAPE_RIDGE = 0.02
"""Of the mean of the shapes' Gram diagonal."""
STILL_M = 2e-5
"""Metres; a vertex that no shape moves further belongs to the skull."""


class FaceDeformation:
    """For one set of resting vertices."""

    def __init__(self, head: HeadMesh, landmarks: LandmarkMap, rest: Array, held: bool) -> None:
        """`rest` (T, 3) metres. `held`: the skull stays where it is (expressions); otherwise the
        whole surface may be carried along (fitting a person's shape)."""
        self._head, self._landmarks = head, landmarks
        self._lashes = LashStrips.of(head)
        self._lash_roots = self._lashes.roots(head)
        surface = SurfaceBending.of(head, rest, SURFACE)
        self.on_surface, self._points = surface.on_surface, surface.points
        self._operator = _operator(head, landmarks, surface, held)
        self._shapes = head.shapes.astype(np.float64)
        self._at_landmarks = landmarks.points(self._shapes)
        root = np.sqrt(landmarks.trust)[None, :, None]
        flat = (self._at_landmarks * root).reshape(len(self._shapes), -1)
        gram = flat @ flat.T
        gram += SHAPE_RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
        weighted = (self._at_landmarks * root * root).reshape(len(self._shapes), -1)
        self._weights_of = np.linalg.solve(gram, weighted)

    def smooth(self, moved: Array) -> Array:
        """Landmark displacements (..., 468, 3) -> (..., T, 3) by the smooth field alone; zero off
        the surface."""
        out = np.zeros((*moved.shape[:-2], self._head.template_size, 3))
        field = np.einsum("nk,...kc->...nc", self._operator, moved)
        out[..., self.on_surface, :] = field[..., self._points, :]
        return out

    def expression(self, moved: Array) -> Array:
        """Landmark displacements (P, 468, 3) -> (P, T, 3): shapes first, the rest smoothly. Lower
        teeth and tongue go with the shapes (with the jaw), lashes with the shapes and then with
        their roots; eye balls and skull stay."""
        weights = moved.reshape(len(moved), -1) @ self._weights_of.T
        out = np.einsum("ps,svc->pvc", weights, self._shapes)
        rest = self.smooth(moved - np.einsum("ps,skc->pkc", weights, self._at_landmarks))
        rest[:, self._lashes.vertices] = rest[:, self._lash_roots]
        out += rest
        regions = self._head.regions[: self._head.template_size]
        out[:, np.isin(regions, ("eye-left", "eye-right"))] = 0.0
        return NeckSeam.of(self._head).closed(out)


def _operator(head: HeadMesh, landmarks: LandmarkMap, surface: SurfaceBending, held: bool) -> Array:
    """(points, 468): each landmark's share of each point."""
    n, points = len(surface.place), surface.points
    corners = surface.point_of[landmarks.corners]
    if corners.min() < 0:
        raise ValueError("FaceDeformation: a landmark lies off the face's surface")
    at = surface.at(corners, landmarks.weights)
    pull = at.T @ sparse.diags_array(FOLLOW * landmarks.trust)
    if held:
        reach = np.zeros(n)
        np.maximum.at(reach, points, np.abs(head.shapes).max(axis=(0, 2))[surface.on_surface])
        hold = np.where(reach < STILL_M, HOLD, 1.0)
    else:
        hold = np.full(n, 0.5)
    system = surface.energy + pull @ at + sparse.diags_array(hold)
    return splu(sparse.csc_matrix(system)).solve(pull.toarray())
