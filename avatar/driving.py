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

CLOSE = 0.01
"""Squared lengths below which the difference of squares of about 50 is too coarse in float32."""
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


def kernel(inputs: Float32, points: Float32) -> Float32:
    """(N, D) and (C, D), already divided by their lengths -> (N, C), Matern 1/2."""
    x, c = inputs.astype(np.float64), points.astype(np.float64)  # for the difference of squares
    squares = (x**2).sum(1)[:, None] + (c**2).sum(1) - 2.0 * x @ c.T
    return np.exp(-np.sqrt(np.maximum(squares, 0.0))).astype(np.float32)


class OwnDriving:
    """The appearance that a model expects of its own person; `expected_slow` is its twin."""

    def __init__(self, model: PersonalModel) -> None:
        self._model = model
        points = model.own_points * model.own_metric
        self._points = points
        self._minus_twice = np.ascontiguousarray(-2.0 * points.T, np.float32)
        self._squares = (points**2).sum(1)
        # Both maps in one product: reading them is what takes the time.
        self._map = np.concatenate([model.own_map, model.own_point_map]).astype(np.float32)

    def appearance(self, pose: Rigid, geometry: Float32, gaze: Float32) -> Float32:
        """`world_from_head`, (P,), (2, 3) unit vectors -> (A,) float32."""
        model = self._model
        count = len(model.own_metric)
        shares = np.empty(len(self._map), np.float32)
        shares[:3], shares[3:POSE] = pose.rotvec(), pose.xyz
        shares[POSE : count - 4], shares[count - 4 : count] = geometry, gaze_angles(gaze).ravel()
        inputs, near = shares[:count], shares[count:]
        inputs -= model.own_centre
        inputs /= model.own_scale
        np.maximum(inputs, -FAR, out=inputs)
        np.minimum(inputs, FAR, out=inputs)
        # How near the remembered moments are: `kernel` of one row.
        scaled = inputs * model.own_metric
        squares = scaled @ self._minus_twice
        squares += self._squares + scaled @ scaled
        close = (squares < CLOSE).nonzero()[0]
        if len(close):
            squares[close] = ((scaled - self._points[close]) ** 2).sum(1)
        np.sqrt(np.maximum(squares, 0.0, out=squares), out=squares)
        np.exp(np.negative(squares, out=squares), out=near)
        return np.asarray(model.own_rest + shares @ self._map, np.float32)


def expected_slow(model: PersonalModel, pose: Rigid, geometry: Float32, gaze: Float32) -> Float32:
    """What `OwnDriving` gives, as it was learned: the specification and the test's oracle."""
    place = np.concatenate([pose.rotvec(), pose.xyz]).astype(np.float32)
    inputs = (own_inputs(place, geometry, gaze) - model.own_centre) / model.own_scale
    inputs = np.clip(inputs, -FAR, FAR)
    near = kernel((inputs * model.own_metric)[None], model.own_points * model.own_metric)[0]
    return model.own_rest + inputs @ model.own_map + near @ model.own_point_map
