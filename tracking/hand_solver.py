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

from dataclasses import dataclass, replace
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
SMALL_GAIN = 1e-4
"""As a part of the cost: so is one that gains less."""


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
    depth: Numbers
    """(B, V, 21) metres: how far each landmark is behind their mean in the net's own shape."""
    depth_weights: Numbers
    """(B, V, 21): one over that shape's usual error, 1/metres; 0 for a view without one."""


@dataclass(frozen=True, slots=True, eq=False)
class Doubt:
    """What is believed beforehand, the same of every hand."""

    landmark: float
    """Residual, in usual errors, at which a landmark counts a quarter."""
    view: float
    """Likewise of a view's root mean square residual; infinite where there is nothing to compare
    it with."""
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
    """B hands at the least cost found."""

    hands: Hands
    at: PosedHands
    cost: Numbers
    """(B,) half a sum of squares, in usual errors."""
    residuals: Numbers
    """(B, V, 21): distance of each landmark from its mark, in usual errors."""
    trust: Numbers
    """(B, V) 0..1: how much of each view counts."""


@dataclass(frozen=True, slots=True, eq=False)
class _Point:
    """Cost and its slope at some pose."""

    hands: Hands
    at: PosedHands
    cost: Numbers
    gradient: Numbers
    hessian: Numbers
    residuals: Numbers
    trust: Numbers


def solve(
    hands: Hands, skeletons: Skeletons, sight: Sight, doubt: Doubt, most_steps: int, xp: Any
) -> Solved:
    """The pose of each hand near `hands` that explains the marks best."""
    hands = replace(hands, angles=xp.clip(hands.angles, doubt.lowest, doubt.highest))
    best = _evaluate(hands, skeletons, sight, doubt, xp)
    count = len(hands.place)
    damping = zeros(best.cost, count) + FIRST_DAMPING
    done = best.cost < 0.0
    eye = as_like(np.eye(FREEDOMS), best.cost)
    for _ in range(most_steps):
        step = _step(best, damping, doubt, eye, xp)
        angles = best.hands.angles + step[:, FIRST_ANGLE:]
        tried = Hands(
            turned_by(best.hands.rotation, step[:, :3], xp),
            best.hands.place + step[:, 3:6],
            xp.clip(angles, doubt.lowest, doubt.highest),
        )
        new = _evaluate(tried, skeletons, sight, doubt, xp)
        better = (new.cost < best.cost) & ~done
        gain = best.cost - new.cost
        done = (
            done
            | (xp.amax(xp.abs(step), -1) < SMALL_STEP)
            | (better & (gain < SMALL_GAIN * best.cost))
        )
        damping = xp.where(better, damping * SOFTER, damping * HARDER)
        best = new if count == 1 and bool(better[0]) else _chosen(better, new, best, xp)
        if bool(done.all()):
            break
    return Solved(best.hands, best.at, best.cost, best.residuals, best.trust)


def _step(point: _Point, damping: Numbers, doubt: Doubt, eye: Numbers, xp: Any) -> Numbers:
    """(B, 28)."""
    slope = point.gradient[:, FIRST_ANGLE:]
    angles = point.hands.angles
    held = ((angles <= doubt.lowest) & (slope > 0.0)) | ((angles >= doubt.highest) & (slope < 0.0))
    free = zeros(slope, len(slope), FREEDOMS) + 1.0
    free[:, FIRST_ANGLE:] -= 1.0 * held
    normal = point.hessian * (free[:, :, None] * free[:, None, :])
    size = (normal * eye).sum(-1)
    # A held angle has an equation of its own, step = 0.
    normal = normal + eye * ((damping[:, None] * size + (1.0 - free) + 1e-9)[:, None, :])
    return -xp.linalg.solve(normal, (point.gradient * free)[..., None])[..., 0]


def _evaluate(hands: Hands, skeletons: Skeletons, sight: Sight, doubt: Doubt, xp: Any) -> _Point:
    count, views = sight.marks.shape[:2]
    at = posed(hands, skeletons, xp)
    moves = landmark_moves(hands, at, skeletons, xp)
    seen = at.landmarks[:, None] @ sight.turn.mT + sight.shift[:, :, None]
    z = seen[..., 2:]
    z = xp.where(z > NEAREST, z, NEAREST)
    flat = seen[..., :2] / z
    off = (flat - sight.marks) * sight.scale

    # Rows of each landmark: two in the picture, one along the view.
    turn = sight.turn[:, :, None]
    look = xp.concatenate(
        [
            (turn[..., :2, :] - flat[..., None] * turn[..., 2:, :]) * (sight.scale / z)[..., None],
            turn[..., 2:, :] + 0.0 * flat[..., :1, None],
        ],
        3,
    )
    rows = look @ moves[:, None]
    deep = rows[..., 2, :]
    deep = (deep - deep.mean(2)[:, :, None]) * sight.depth_weights[..., None]
    behind = seen[..., 2]
    behind = (behind - behind.mean(2)[..., None] - sight.depth) * sight.depth_weights

    squares = (off * off).sum(-1)
    limit = doubt.landmark * doubt.landmark
    fall, deep_fall = limit / (limit + squares), limit / (limit + behind * behind)
    total = sight.weights.sum(-1) + 1e-12
    cost = (sight.weights * (squares * fall + behind * behind * deep_fall)).sum(-1)
    # cost / total is the view's mean square.
    view_limit = doubt.view * doubt.view
    trust = 1.0 / (1.0 + cost / (total * view_limit))
    per_view = sight.weights * (trust * trust)[..., None]
    root, deep_root = (per_view**0.5) * fall, (per_view**0.5) * deep_fall
    weighted = zeros(off, count, views, 21, 3, FREEDOMS + 1)
    weighted[..., :2, :FREEDOMS] = rows[..., :2, :] * root[..., None, None]
    weighted[..., :2, FREEDOMS] = off * root[..., None]
    weighted[..., 2, :FREEDOMS] = deep * deep_root[..., None]
    weighted[..., 2, FREEDOMS] = behind * deep_root
    stacked = weighted.reshape(count, views * 63, FREEDOMS + 1)
    normal = stacked.mT @ stacked

    unlikely = hands.angles @ doubt.rows.mT - doubt.wanted
    gradient, hessian = normal[:, :FREEDOMS, FREEDOMS], normal[:, :FREEDOMS, :FREEDOMS]
    gradient[:, FIRST_ANGLE:] += unlikely @ doubt.rows
    hessian[:, FIRST_ANGLE:, FIRST_ANGLE:] += doubt.rows.mT @ doubt.rows
    whole = 0.5 * ((cost * trust).sum(-1) + (unlikely * unlikely).sum(-1))
    mean_fall = (sight.weights * fall).sum(-1) / total
    return _Point(hands, at, whole, gradient, hessian, squares**0.5, trust * mean_fall)


def _chosen(better: Numbers, new: _Point, old: _Point, xp: Any) -> _Point:
    """Of each hand the better point."""

    def pick(a: Numbers, b: Numbers) -> Numbers:
        return xp.where(better.reshape(-1, *([1] * (a.ndim - 1))), a, b)

    hands = Hands(
        pick(new.hands.rotation, old.hands.rotation),
        pick(new.hands.place, old.hands.place),
        pick(new.hands.angles, old.hands.angles),
    )
    at = PosedHands(
        pick(new.at.joints, old.at.joints),
        pick(new.at.landmarks, old.at.landmarks),
        pick(new.at.rotations, old.at.rotations),
        pick(new.at.axes, old.at.axes),
    )
    return _Point(
        hands,
        at,
        pick(new.cost, old.cost),
        pick(new.gradient, old.gradient),
        pick(new.hessian, old.hessian),
        pick(new.residuals, old.residuals),
        pick(new.trust, old.trust),
    )
