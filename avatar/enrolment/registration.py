"""The person's head laid under the landmarks of every frame: shape, ways to move, eyes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avatar.enrolment.face_deformation import FaceDeformation
from avatar.enrolment.likeness import Likeness
from avatar.enrolment.observations import Observations
from avatar.eye_balls import OUTWARDS, gaze_angles
from avatar.head_mesh import HeadMesh
from avatar.head_placement import moving_vertices
from avatar.landmark_code import landmark_code
from avatar.landmark_map import COUNT, IRISES, LandmarkMap
from avatar.posed_face import PosedFace
from avatar.strangeness import strangeness
from streams.face_shapes import SHAPE_INDEX

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

GEOMETRY = 96
"""Numbers for the shape of the face."""
OPEN_EYE = 0.4
"""Blink weight below which an iris is taken to be where the landmark says."""
GAZE_RIDGE = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """Linear in each frame's landmarks."""

    likeness: Likeness
    landmark_rest: Array
    """(468, 3) metres."""
    landmark_moves: Array
    """(P, 468 * 3) metres for one unit of each number, rows orthogonal."""
    moves: Float32
    """(P, M, 3) metres likewise, of the moving vertices."""
    moving: npt.NDArray[np.intp]
    """(M,)."""
    gaze_map: Array
    """(5, 4)."""

    @staticmethod
    def fit(head: HeadMesh, landmarks: LandmarkMap, seen: Observations) -> Registration:
        """From the training frames."""
        average, basis = landmark_basis(seen)
        likeness = Likeness.fit(head, landmarks, average)
        deformation = FaceDeformation(head, landmarks, likeness.vertices, held=True)
        moving = moving_vertices(head)
        every = deformation.expression(basis.reshape(-1, COUNT, 3))
        return Registration(
            likeness, average, basis, every[:, moving].astype(np.float32), moving,
            _gaze_map(likeness, seen),
        )  # fmt: skip

    def codes(self, seen: Observations) -> Float32:
        """(N, P): each face's geometry numbers."""
        return landmark_code(seen.landmarks, self.landmark_rest, self.landmark_moves)[0]

    def posed(self, head: HeadMesh) -> PosedFace:
        """The face at any moment."""
        rest = self.likeness.vertices.astype(np.float32)
        eyes, gaze_map = self.likeness.eyes.astype(np.float32), self.gaze_map.astype(np.float32)
        return PosedFace(head, rest, self.moves, eyes, gaze_map)


def landmark_basis(seen: Observations) -> tuple[Array, Array]:
    """(468, 3) metres, the average landmarks, and (P, 468 * 3) what one unit of each geometry
    number adds: principal components, each of unit variance."""
    marks = seen.landmarks[:, :COUNT].astype(np.float64)
    average = np.median(marks, axis=0)
    moved = (marks - average).reshape(len(marks), -1)
    _, s, vt = np.linalg.svd(moved, full_matrices=False)
    count = min(GEOMETRY, len(s))
    sigma = np.maximum(s[:count] / np.sqrt(len(marks)), 1e-6)
    basis = np.zeros((GEOMETRY, COUNT * 3))
    basis[:count] = vt[:count] * sigma[:, None]
    return average, basis


def own_strangeness(seen: Observations) -> Array:
    """(N,) how strange (avatar.strangeness) moments of the last fifth look to a model of the rest:
    what its own person's moments that were not learned from are to be expected to have."""
    held = max(1, len(seen) // 5)
    rows = np.arange(len(seen))
    average, basis = landmark_basis(seen.at(rows[:-held]))
    return strangeness(*landmark_code(seen.landmarks[-held:], average, basis))


def _gaze_map(likeness: Likeness, seen: Observations) -> Array:
    """Least squares from tracked angles to those at which each ball shows its iris where the
    landmark of the iris is."""
    count = len(seen)
    wanted, valid = np.zeros((count, 2, 2)), np.ones((count, 2), bool)
    for i in range(count):
        eye_point = seen.world_from_head[i].inverse().apply(np.zeros(3))
        for eye in (0, 1):
            ray = seen.landmarks[i, IRISES[eye]].astype(np.float64) - eye_point
            ray /= np.linalg.norm(ray)
            start = eye_point - likeness.eyes[eye]
            along = float(start @ ray)
            root = along * along - float(start @ start) + likeness.eye_radius**2
            valid[i, eye] = root > 0.0
            on_ball = start + (-along - np.sqrt(max(root, 0.0))) * ray
            on_ball /= np.linalg.norm(on_ball)
            wanted[i, eye] = gaze_angles(on_ball.astype(np.float32))
            # A ball is drawn turned outwards from its gaze; see avatar.eye_balls.OUTWARDS.
            wanted[i, eye, 0] -= OUTWARDS if eye == 0 else -OUTWARDS
    angles = gaze_angles(seen.gaze).reshape(count, 4).astype(np.float64)
    inputs = np.concatenate([angles, np.ones((count, 1))], axis=1)
    blink = seen.blendshapes[:, [SHAPE_INDEX["eyeBlinkLeft"], SHAPE_INDEX["eyeBlinkRight"]]]
    out = np.zeros((5, 4))
    out[:4, :4] = np.eye(4)
    for eye in (0, 1):
        good = valid[:, eye] & (blink[:, eye] < OPEN_EYE)
        if good.sum() < 10:
            continue  # too few open eyes: the tracker's angles are taken as they are
        a, b = inputs[good], wanted[good, eye]
        prior = out[:, 2 * eye : 2 * eye + 2].copy()
        # Towards the prior, not towards zero: who never looked aside still can later.
        ridge = GAZE_RIDGE * len(a) * np.diag([1.0, 1.0, 1.0, 1.0, 0.0]) * 100.0
        gram = a.T @ a + ridge + 1e-9 * np.eye(5)
        out[:, 2 * eye : 2 * eye + 2] = prior + np.linalg.solve(gram, a.T @ (b - a @ prior))
    return out
