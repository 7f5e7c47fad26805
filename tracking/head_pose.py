"""Where the head is: the average face is laid over the landmarks that a camera saw."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.camera import Camera
from streams.rigid import Rigid, wxyz_from_exact_rotations
from tracking.canonical_face import CanonicalFace
from tracking.pose_fit import fit_pose, rays_through

# Landmarks over bone, which move least against each other on talking and grimacing people
# (0.4-1.4 mm): nose, lid corners, orbit, cheek bones, temples and forehead; right, left, middle.
RIGID_LANDMARKS = np.array(
    [
        33, 133, 143, 111, 117, 119, 121, 114, 198, 188, 127, 54, 67, 134,
        263, 362, 372, 340, 346, 348, 350, 343, 420, 412, 356, 284, 297, 363,
        4, 195, 6, 168, 10,
    ]
)  # fmt: skip

DEPTH_WEIGHT = 0.5
"""Of the engine's relative depth against the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadFit:
    """One fitted head."""

    world_from_head: Rigid
    landmarks: npt.NDArray[np.float32]
    """(478, 3) float32 metres, head frame: on the rays of the picture, with the engine's depth."""
    error: float
    """Median misfit of the average face in the picture, as a part of the landmarks' spread."""

    def landmarks_moved(
        self, camera: Camera, moved: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float32]:
        """`landmarks`, the first of them moved by (n, 2) pixels at their own depth. A few pixels:
        the lens' distortion is left out."""
        camera_from_head = camera.world_from_camera.inverse() @ self.world_from_head
        count = len(moved)
        depth = camera_from_head.apply(self.landmarks[:count].astype(np.float64))[:, 2:]
        shift = np.concatenate([moved / camera.focal * depth, np.zeros((count, 1))], axis=1)
        landmarks = self.landmarks.copy()
        landmarks[:count] += camera_from_head.inverse().rotate(shift).astype(np.float32)
        return landmarks


def fit_head(
    camera: Camera,
    landmarks: npt.NDArray[np.floating],
    canonical: CanonicalFace,
    depth_weight: float = DEPTH_WEIGHT,
) -> HeadFit:
    """The head behind (478, 3) landmarks: pixels of a picture of `camera`, and depth likewise.

    Raises ValueError when the landmarks are not finite or span no area.
    """
    marks = np.asarray(landmarks, np.float64)
    if marks.shape != (478, 3) or not np.isfinite(marks).all():
        raise ValueError(f"fit_head landmarks: expected finite (478, 3), got {marks.shape}")
    rays = rays_through(camera, marks[:, :2])
    depth = marks[:, 2] / math.sqrt(camera.focal[0] * camera.focal[1])
    depth = depth - depth[RIGID_LANDMARKS].mean()
    rigid = canonical.vertices[RIGID_LANDMARKS]
    seen = rays[RIGID_LANDMARKS]
    fit = fit_pose(rigid, seen, depth[RIGID_LANDMARKS], depth_weight)

    # Every landmark goes onto its ray, as far behind the average face's middle as the engine says.
    middle = seen.mean(0)
    stretch = math.sqrt(middle.dot(middle))
    axis = middle / stretch
    distance = float((fit.apply(rigid) @ axis).mean())
    in_camera = rays * (distance * (1.0 + depth / stretch) / (rays @ axis))[:, None]
    camera_from_head = Rigid(wxyz_from_exact_rotations(fit.rotation), fit.offset)
    in_head = camera_from_head.inverse().apply(in_camera)
    return HeadFit(
        camera.world_from_camera @ camera_from_head,
        np.ascontiguousarray(in_head, np.float32),
        fit.error,
    )
