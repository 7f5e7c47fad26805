"""What drives a personal avatar's appearance where no camera shows its face.

Its own person's appearance is expected from the head's place, the geometry and the gaze alone: the
very numbers that a network carries in any case. So a receiver expects what its sender expects, and
only what the picture told beyond that has to be sent. Linear regression and, for what that leaves,
a Gaussian process with a Matern 1/2 kernel (Rasmussen and Williams 2006, section 4.2) whose lengths
weigh a geometry number by the surface it moves.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avatar.eye_balls import gaze_angles
from avatar.personal_model import DRIVERS, POSE, PersonalModel
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]

FAR = 3.0
"""Standard deviations at which an input of a person's own is held: nothing is known beyond."""


def drivers_of(blendshapes: Float32, gaze: Float32) -> Float32:
    """(..., 52) and (..., 2, 3) -> (..., DRIVERS): shapes, gaze angles in radians, and a one."""
    angles = gaze_angles(gaze).reshape(*blendshapes.shape[:-1], 4)
    one = np.ones((*blendshapes.shape[:-1], 1), np.float32)
    drivers = np.concatenate([blendshapes, angles, one], axis=-1).astype(np.float32)
    if drivers.shape[-1] != DRIVERS:
        raise ValueError(f"drivers_of: expected {DRIVERS} numbers, got {drivers.shape[-1]}")
    return drivers


def own_inputs(poses: Float32, geometry: Float32, gaze: Float32) -> Float32:
    """(..., 6) rotation vector and place of the head, (..., P), (..., 2, 3) -> (..., 6 + P + 4)."""
    angles = gaze_angles(gaze).reshape(*geometry.shape[:-1], 4)
    return np.concatenate([poses, geometry, angles], axis=-1).astype(np.float32)


def kernel(inputs: Float32, points: Float32, point_squares: Float32 | None = None) -> Float32:
    """(N, D) and (C, D), already divided by their lengths -> (N, C), Matern 1/2. `point_squares`
    (C,): the points' squared lengths, where they are known."""
    if point_squares is None:
        point_squares = (points**2).sum(1)
    squares = (inputs**2).sum(1)[:, None] + point_squares - 2.0 * inputs @ points.T
    return np.exp(-np.sqrt(np.maximum(squares, 0.0))).astype(np.float32)


class OwnDriving:
    """The appearance that a model expects of its own person."""

    def __init__(self, model: PersonalModel) -> None:
        self._model = model
        self._points = model.own_points * model.own_metric
        self._squares = (self._points**2).sum(1)

    def appearance(self, pose: Rigid, geometry: Float32, gaze: Float32) -> Float32:
        """`world_from_head`, (P,), (2, 3) unit vectors -> (A,) float32."""
        model = self._model
        place = np.concatenate([pose.rotvec(), pose.xyz]).astype(np.float32)
        if len(place) != POSE:
            raise ValueError(f"OwnDriving: expected {POSE} numbers of a pose, got {len(place)}")
        inputs = (own_inputs(place, geometry, gaze) - model.own_centre) / model.own_scale
        inputs = np.clip(inputs, -FAR, FAR)
        near = kernel((inputs * model.own_metric)[None], self._points, self._squares)[0]
        expected = model.own_rest + inputs @ model.own_map + near @ model.own_point_map
        return np.asarray(expected, np.float32)
