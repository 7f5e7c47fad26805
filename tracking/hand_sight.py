"""What cameras saw of a hand, as the solver reads it: each view through a pinhole that faces it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.hand_skeleton import PALM_JOINTS
from tracking.hand_view import HandView
from tracking.pose_fit import facing_along, rays_through
from tracking.user_hand import UserHand, palm_span

Array = npt.NDArray[np.float64]

LANDMARK_ERROR = 0.04
"""A landmark's usual error as a part of the hand's spread in the picture (root mean square distance
from the middle)."""
DEPTH_ERROR = 0.012
"""Metres: the usual error of the landmark net's own shape along the view, of a hand that one view
saw. Several views measure depth themselves, and the net errs alike in all of them: for each its
error counts as so many times larger as there are views (docs/hand_fit.md has the figures)."""


@dataclass(frozen=True, slots=True, eq=False)
class FacingView:
    """A view through the pinhole that faces its hand."""

    marks: Array
    """(21, 2) tangents; 0 where the weight is."""
    spread: float
    """Root mean square distance of the marks from their middle; 1 of a view without weight."""
    turn: Array
    """(3, 3) and"""
    shift: Array
    """(3,): view_from_world."""
    weights: Array
    shape: Array | None
    focal: float

    @staticmethod
    def of(view: HandView) -> FacingView:
        camera, weights = view.camera, view.weights
        used = weights > 0.0
        if not used.any():
            return FacingView(np.zeros((21, 2)), 1.0, np.eye(3), np.zeros(3), weights, None, 1.0)
        rays = rays_through(camera, view.points)
        rays[~used] = rays[used].mean(0)
        facing = facing_along(rays.mean(0))
        turned = rays @ facing
        marks = turned[:, :2] / turned[:, 2:]
        off = marks[used] - marks[used].mean(0)
        spread = float(np.sqrt((off * off).sum(-1).mean()))
        if not (used.sum() >= 4 and spread > 1e-6):
            raise ValueError(
                "HandView.points: expected four or more landmarks with weight that span an area, "
                f"got {used.sum()} of spread {spread:.3g}"
            )
        world = camera.world_from_camera
        turn = (world.rotation() @ facing).T
        focal = float(np.sqrt(camera.focal[0] * camera.focal[1]))
        return FacingView(marks, spread, turn, -turn @ world.xyz, weights, view.shape, focal)


def faced(views: Sequence[HandView]) -> list[FacingView]:
    """Raises ValueError when no view has weight, or one has it on points that span no area."""
    facing = [FacingView.of(view) for view in views]
    if not any(view.weights.any() for view in views):
        raise ValueError(f"fit_hand views: expected one with weight, got {len(views)} without")
    return facing


def sight_row(views: Sequence[FacingView], user: UserHand, most: int) -> tuple[Array, ...]:
    """The fields of `Sight` of one hand, filled up to `most` views without weight."""
    marks, scale, depth = np.zeros((most, 21, 2)), np.ones((most, 1, 1)), np.zeros((most, 21))
    weights, depth_weights = np.zeros((most, 21)), np.zeros((most, 21))
    turn, shift = np.tile(np.eye(3), (most, 1, 1)), np.zeros((most, 3))
    seen = sum(bool(view.weights.any()) for view in views)
    for index, view in enumerate(views):
        marks[index], weights[index] = view.marks, view.weights
        scale[index] = 1.0 / (LANDMARK_ERROR * view.spread)
        turn[index], shift[index] = view.turn, view.shift
        if view.shape is not None:
            # Of the user's size, since the net's own is anybody's.
            deep = view.shape[:, 2] * (
                user.palm_span() / max(palm_span(view.shape[PALM_JOINTS]), 1e-6)
            )
            depth[index] = deep - deep.mean()
            depth_weights[index] = 1.0 / (DEPTH_ERROR * seen)
    several = np.array([1.0 if seen > 1 else 0.0])
    return marks, scale, weights, turn, shift, several, depth, depth_weights
