"""Where MediaPipe's face landmarks lie on the head template."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assets.manifest import asset_path
from avatar.checkpoint import Checkpoint

Array = npt.NDArray[np.float64]

COUNT = 468
"""Landmarks of the face's surface; the ten of the irises come after them."""
IRISES = (473, 468)
"""Centres of the irises, left first."""


@dataclass(frozen=True, slots=True, eq=False)
class LandmarkMap:
    """Barycentric places of the landmarks on the template's triangles."""

    corners: npt.NDArray[np.int32]
    """(COUNT, 3) int32 vertices of the triangle on which each landmark lies."""
    weights: Array
    """(COUNT, 3) float64 barycentric coordinates."""
    trust: Array
    """(COUNT,) float64 0..1: how steadily it is found at that place. Landmarks of the outline
    slide over the cheek as the head turns."""

    @staticmethod
    def open() -> LandmarkMap:
        """The map that ships. Raises AssetError or CheckpointError (both ValueError)."""
        with Checkpoint(asset_path("avatars/face_landmarks")) as file:
            return LandmarkMap(
                file.array("corners", np.int32, (COUNT, 3)),
                file.array("weights", np.float32, (COUNT, 3)).astype(np.float64),
                file.array("trust", np.float32, (COUNT,)).astype(np.float64),
            )

    def points(self, values: npt.NDArray[np.floating]) -> Array:
        """(..., V, D) values at the template's vertices -> (..., COUNT, D) at the landmarks."""
        at = np.asarray(values)[..., self.corners, :]
        return np.einsum("...kcd,kc->...kd", at, self.weights)
