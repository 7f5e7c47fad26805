"""Robust least squares over the poses of many hands: Levenberg-Marquardt within joint limits.

Each view looks at its hand through a pinhole that faces it, so that lenses of any width are alike
and a residual is a part of the hand's size in the picture. A landmark counts by Geman and
McClure's function of its residual, s / (1 + s / c^2); a view by the same function of its
landmarks' mean, because a detector that took something else for the hand is wrong as a whole.
Steps are damped (Marquardt 1963), accepted when the cost falls, and kept within the limits by
Bertsekas' projected Newton method (1982): an angle at its limit whose gradient leads out of it
is held. Numpy or torch, see `hand_kinematics`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from tracking.hand_kinematics import (
    FIRST_ANGLE,
    FREEDOMS,
    Hands,
    Numbers,
    PosedHands,
    Skeletons,
    as_like,
    landmark_moves,
    posed,
    turned_by,
    zeros,
)

NEAREST = 0.01
"""Metres before a camera's centre from which a point is taken to be there."""
FIRST_DAMPING, SOFTER, HARDER = 1e-3, 0.2, 5.0
SMALL_STEP = 1e-4
"""Radians and metres: a step below this is the last."""


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What V views of each of B hands saw."""

    marks: Numbers
    """(B, V, 21, 2): tangents in the pinhole that faces the hand."""
    scale: Numbers
    """(B, V, 1, 1): one over a landmark's usual error, in tangents."""
    weights: Numbers
    """(B, V, 21): how much each landmark counts."""
    turn: Numbers
    """(B, V, 3, 3) view_from_world rotation, OpenCV axes."""
    shift: Numbers
    """(B, V, 3) view_from_world translation, metres."""
    several: Numbers
    """(B, 1): 1 of a hand with several views; 0 of others, whose one view nothing contradicts."""
    depth: Numbers
    """(B, V, 21) metres: how far each landmark is behind their mean in the net's own shape."""
    depth_weights: Numbers
    """(B, V, 21): one over that shape's usual error, 1/metres; 0 of a view without one; the
    same within a view."""


@dataclass(frozen=True, slots=True, eq=False)
class Doubt:
    """What is believed beforehand, the same of every hand."""

    landmark: float
    """Residual, in usual errors, at which a landmark counts a quarter, of hands with several views;
    and"""
    landmark_alone: float
    """of hands with one, where no other view can take a landmark's place."""
    view: float
    """Likewise of a view's root mean square residual, of hands with several."""
    rows: Numbers
    """(P, 22) and"""
    wanted: Numbers
    """(P,): the prior on angles, `rows @ angles - wanted`, in standard deviations."""
    lowest: Numbers
    """(22,) and"""
    highest: Numbers
    """(22,) radians: the joints' limits."""


@dataclass(frozen=True, slots=True, eq=False)
class Solved:
    """B hands at some cost."""

    hands: Hands
    at: PosedHands
    cost: Numbers
    """(B,) half a sum of squares, in usual errors."""
    residuals: Numbers
    """(B, V, 21): distance of each landmark from its mark, in usual errors."""
    trust: Numbers
    """(B, V) 0..1: how much of each view counts."""
    # What the slope there is made of:
    flat: Numbers
    """(B, V, 21, 2) tangents of the landmarks."""
    z: Numbers
    """(B, V, 21, 1) metres before the view."""
    off: Numbers
    """(B, V, 21, 2) and"""
    behind: Numbers
    """(B, V, 21): residuals in the picture and along the view, in usual errors."""
    roots: Numbers
    """(B, V, 21) and"""
    deep_roots: Numbers
    """(B, V, 21): roots of their weights."""
    unlikely: Numbers
    """(B, P): residuals of the prior."""


def solve(
    hands: Hands,
    skeletons: Skeletons,
    sight: Sight,
    doubt: Doubt,
    most_steps: int,
    small_gain: float,
    xp: Any,
) -> Solved:
    """The pose of each hand near `hands` that explains the marks best.

    Ends after `most_steps`, or when every hand's last step was tiny or gained less than the part
    `small_gain` of its cost.
    """
    hands = replace(hands, angles=xp.clip(hands.angles, doubt.lowest, doubt.highest))
    best = _evaluated(hands, skeletons, sight, doubt, xp)
    damping = zeros(best.cost, len(hands.place)) + FIRST_DAMPING
    done = best.cost < 0.0
    eye = as_like(np.eye(FREEDOMS), best.cost)
    for _ in range(most_steps):
        step = _step(best, damping, skeletons, sight, doubt, eye, xp)
        tried = Hands(
            turned_by(best.hands.rotation, step[:, :3], xp),
            best.hands.place + step[:, 3:FIRST_ANGLE],
            xp.clip(best.hands.angles + step[:, FIRST_ANGLE:], doubt.lowest, doubt.highest),
        )
        new = _evaluated(tried, skeletons, sight, doubt, xp)
        better = (new.cost < best.cost) & ~done
        little = better & (best.cost - new.cost < small_gain * best.cost)
        done = done | little | (xp.amax(xp.abs(step), -1) < SMALL_STEP)
        damping = xp.where(better, damping * SOFTER, damping * HARDER)
        if bool(better.all()):
            best = new
        elif bool(better.any()):
            best = _chosen(better, new, best, xp)
        if bool(done.all()):
            break
    return best


def _evaluated(hands: Hands, skeletons: Skeletons, sight: Sight, doubt: Doubt, xp: Any) -> Solved:
    at = posed(hands, skeletons, xp)
    seen = at.landmarks[:, None] @ sight.turn.mT + sight.shift[:, :, None]
    z = seen[..., 2:]
    z = xp.where(z > NEAREST, z, NEAREST)
    flat = seen[..., :2] / z
    off = (flat - sight.marks) * sight.scale
    behind = seen[..., 2]
    behind = (behind - behind.mean(2)[..., None] - sight.depth) * sight.depth_weights

    squares, deep_squares = (off * off).sum(-1), behind * behind
    alone = doubt.landmark_alone
    limit = ((alone + sight.several * (doubt.landmark - alone)) ** 2)[..., None]
    fall, deep_fall = limit / (limit + squares), limit / (limit + deep_squares)
    total = sight.weights.sum(-1) + 1e-12
    cost = (sight.weights * (squares * fall + deep_squares * deep_fall)).sum(-1)
    # cost / total is the view's mean square.
    trust = 1.0 / (1.0 + sight.several * cost / (total * (doubt.view * doubt.view)))
    unlikely = hands.angles @ doubt.rows.mT - doubt.wanted
    whole = 0.5 * ((cost * trust).sum(-1) + (unlikely * unlikely).sum(-1))
    # The derivative of s / (1 + s / c^2) is the square of 1 / (1 + s / c^2).
    root = sight.weights**0.5 * trust[..., None]
    mean_fall = (sight.weights * fall).sum(-1) / total
    return Solved(
        hands, at, whole, squares**0.5, trust * mean_fall,
        flat, z, off, behind, root * fall, root * deep_fall, unlikely,
    )  # fmt: skip


def _step(
    point: Solved,
    damping: Numbers,
    skeletons: Skeletons,
    sight: Sight,
    doubt: Doubt,
    eye: Numbers,
    xp: Any,
) -> Numbers:
    """(B, 28)."""
    moves = landmark_moves(point.hands, point.at, skeletons, xp)
    gradient, hessian = normal_equations(point, moves, sight, doubt)
    slope, angles = gradient[:, FIRST_ANGLE:], point.hands.angles
    held = ((angles <= doubt.lowest) & (slope > 0.0)) | ((angles >= doubt.highest) & (slope < 0.0))
    free = zeros(slope, len(slope), FREEDOMS) + 1.0
    free[:, FIRST_ANGLE:] -= 1.0 * held
    normal = hessian * (free[:, :, None] * free[:, None, :])
    size = (normal * eye).sum(-1)
    # A held angle has an equation of its own, step = 0.
    normal = normal + eye * ((damping[:, None] * size + (1.0 - free) + 1e-9)[:, None, :])
    return -xp.linalg.solve(normal, (gradient * free)[..., None])[..., 0]


def normal_equations(
    point: Solved, moves: Numbers, sight: Sight, doubt: Doubt
) -> tuple[Numbers, Numbers]:
    """Gradient (B, D) and Gauss and Newton's Hessian (B, D, D) of the cost at `point`, for
    landmarks that move by `moves` (B, 21, 3, D); the first 28 are the hand's degrees of freedom."""
    count, views = sight.marks.shape[:2]
    freedoms = moves.shape[-1]
    # Rows of each landmark: two in the picture, one along the view.
    turn = sight.turn[:, :, None]
    look = zeros(point.off, count, views, 21, 3, 3)
    look[..., :2, :] = (turn[..., :2, :] - point.flat[..., None] * turn[..., 2:, :]) * (
        sight.scale / point.z
    )[..., None]
    look[..., 2, :] = turn[..., 2, :] * sight.depth_weights[..., None]
    rows = look @ moves[:, None]
    deep = rows[..., 2, :]
    weighted = zeros(point.off, count, views, 21, 3, freedoms + 1)
    weighted[..., :2, :freedoms] = rows[..., :2, :] * point.roots[..., None, None]
    weighted[..., :2, freedoms] = point.off * point.roots[..., None]
    weighted[..., 2, :freedoms] = (deep - deep.mean(2)[:, :, None]) * point.deep_roots[..., None]
    weighted[..., 2, freedoms] = point.behind * point.deep_roots
    stacked = weighted.reshape(count, views * 63, freedoms + 1)
    normal = stacked.mT @ stacked
    gradient, hessian = normal[:, :freedoms, freedoms], normal[:, :freedoms, :freedoms]
    gradient[:, FIRST_ANGLE:FREEDOMS] += point.unlikely @ doubt.rows
    angles = slice(FIRST_ANGLE, FREEDOMS)
    hessian[:, angles, angles] += doubt.rows.mT @ doubt.rows
    return gradient, hessian


def _chosen(better: Numbers, new: Any, old: Any, xp: Any) -> Any:
    """Of each hand the better: records of arrays (B, ...) and of such records."""
    if is_dataclass(new):
        return type(new)(
            *(_chosen(better, getattr(new, f.name), getattr(old, f.name), xp) for f in fields(new))
        )
    return xp.where(better.reshape(-1, *([1] * (new.ndim - 1))), new, old)
