"""The pose of a hand whose bones are known, from where cameras saw its landmarks.

`fit_hand` is for a live hand, `fit_hands` for many; both run `hand_solver` on the 28 degrees of
freedom of `hand_kinematics`. From one view the depth is only weakly known: by the bones' lengths,
by the landmark net's own 3D shape and by what joints can do. The size of the hand sets its distance
there, so an average hand stands where an average hand would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from streams.hand_skeleton import HandParts, wrist_frame
from streams.rigid import Rigid, wxyz_from_exact_rotations
from streams.tracked_state import HandPose
from tracking.hand_kinematics import Hands, Numbers, Skeletons, as_like, posed
from tracking.hand_limits import HIGHEST, LOWEST, RELAXED, likely
from tracking.hand_sight import LANDMARK_ERROR, FacingView, faced, sight_row
from tracking.hand_solver import Doubt, Sight, Solved, solve
from tracking.hand_view import HandView
from tracking.user_hand import UserHand

Array = npt.NDArray[np.float64]

LANDMARK_DOUBT, ALONE_DOUBT, VIEW_DOUBT = 5.0, 10.0, 2.0
"""As `Doubt.landmark`, `landmark_alone` and `view`. With 5 a single view of a fist gives up the
wrist now and then, and turns the hand to where it is not."""
ANGLE_SIGMA, SIDEWAYS_SIGMA, COUPLING_SIGMA = 0.8, 0.2, 0.25
"""Radians, as `hand_limits.likely`."""
BELIEFS = (8.0, 1.0)
"""A fit without a start believes every landmark at first, and then doubts (Blake and Zisserman,
Visual Reconstruction, 1987): factors of these."""
MOST_STEPS, MOST_WARM_STEPS = 20, 8
SMALL_GAIN, SMALL_WARM_GAIN = 1e-4, 3e-2
"""Part of the cost: a step that gains less is the last. A warm fit goes on in the next frame: with
1e-2 it lags 0.1 ms less and costs a tenth more."""
LOST = 2.0
"""Median residual of the best view, in usual errors, above which a fit from the last frame is tried
anew without it, which costs four times as much. Real hands have 0.4 to 1.8."""
CURLED = np.array([1.0, 1.2, 0.8])
"""Radians at the fingers' three joints: where a fit also begins when no net says more."""


@dataclass(frozen=True, slots=True, eq=False)
class HandFit:
    """A hand with constant bones, laid over the landmarks of all views."""

    side: str
    """"left" or "right": the person's own."""
    joints: Array
    """(21, 3) float64 metres, world frame, MediaPipe's order: the skeleton's own joints."""
    landmarks: Array
    """(21, 3) float64 metres, world frame: the joints moved by the hand's offsets, which is what
    the landmark net points at."""
    world_from_wrist: Rigid
    angles: Array
    """(5, 4) float64 radians as `HandPose.angles`, within the joints' limits."""
    sideways: Array
    """(5, 2) float64 radians as `HandParts.sideways`; only the thumb's are not 0."""
    cost: float
    """Half a sum of squares, in usual errors: the smaller, the better explained."""
    errors: Array
    """(V,) float64 pixels (at the middle of the lens): median distance in each view between the
    landmarks there and these; NaN where a view has no weight."""
    trust: Array
    """(V,) float64 0..1: how much of each view counted in the end; near 0, it saw another thing."""

    def pose(self, confidence: float) -> HandPose:
        """As the record that leaves tracking."""
        return HandPose(
            self.side,
            self.joints.astype(np.float32),
            self.world_from_wrist,
            self.angles.astype(np.float32),
            confidence,
        )


def fit_hand(views: Sequence[HandView], user: UserHand, start: HandFit | None = None) -> HandFit:
    """The pose of the hand `user` behind `views` (at least one, all of one moment and world).

    `start` is the fit of the last frame; without one, or when it has lost the hand, the fit begins
    from what each view says on its own and the cheapest end is taken.

    Raises ValueError when no view has four landmarks that span an area, or the hand's side differs
    from the start's.
    """
    facing, like = faced(views), np.zeros(0)
    if start is not None:
        case = facing, user, [state_of(start, user)]
        (warm,) = _fit([case], True, np, like)
        if _misfit(warm, facing) <= LOST:
            return warm
        states = [state_of(warm, user), *_starts(facing, user)]
        return _fit([(facing, user, states)], False, np, like)[0]
    return _fit([(facing, user, _starts(facing, user))], False, np, like)[0]


def fit_hands(
    views: Sequence[Sequence[HandView]],
    users: Sequence[UserHand],
    starts: Sequence[HandFit | None] | None = None,
    device: str = "cpu",
) -> list[HandFit]:
    """`fit_hand` of many hands at once, on torch and `device` (such as "cuda").

    Views and users one a hand, starts likewise or None. A lost start is not tried anew.

    Raises ValueError as `fit_hand`, and when the numbers of views, users and starts differ.
    """
    import torch

    given = [None] * len(users) if starts is None else list(starts)
    if not len(views) == len(users) == len(given):
        raise ValueError(
            "fit_hands: expected as many views and starts as users, "
            f"got {len(views)}, {len(given)} and {len(users)}"
        )
    cases: list[_Case] = []
    for seen, user, start in zip(views, users, given, strict=True):
        facing = faced(seen)
        cases.append(
            (facing, user, _starts(facing, user) if start is None else [state_of(start, user)])
        )
    warm = all(start is not None for start in given)
    like = torch.zeros(0, dtype=torch.float64, device=device)
    return _fit(cases, warm, torch, like) if cases else []


_State = tuple[Array, Array, Array]
"""Rotation (3, 3), place (3,) and angles (22,) of a hand, world frame."""


_Case = tuple[Sequence[FacingView], UserHand, list[_State]]
"""Views, bones and starts of one hand."""


def _fit(cases: Sequence[_Case], warm: bool, xp: Any, like: Numbers) -> list[HandFit]:
    """The best end of each case's starts, all solved together."""
    most = max(len(views) for views, _, _ in cases)
    sights: list[tuple[Array, ...]] = []
    users: list[UserHand] = []
    states: list[_State] = []
    for views, user, starts in cases:
        sights += [sight_row(views, user, most)] * len(starts)
        users += [user] * len(starts)
        states += starts
    hands = Hands(*_stacked(states, like))
    sight = Sight(*_stacked(sights, like))
    alone = len(users) == 1 and isinstance(like, np.ndarray)
    skeletons = _skeleton_of(users[0]) if alone else Skeletons.of(users, like)
    if warm:
        doubt, steps, gain = doubt_at(1.0, like), MOST_WARM_STEPS, SMALL_WARM_GAIN
        return _ends(cases, solve(hands, skeletons, sight, doubt, steps, gain, xp))
    for belief in BELIEFS:
        doubt = doubt_at(belief, like)
        solved = solve(hands, skeletons, sight, doubt, MOST_STEPS, SMALL_GAIN, xp)
        hands = solved.hands
    return _ends(cases, solved)


@lru_cache(maxsize=8)
def _skeleton_of(user: UserHand) -> Skeletons:
    """A live hand's are the same in every frame."""
    return Skeletons.of([user], np.zeros(0))


def _stacked(rows: Sequence[tuple[Array, ...]], like: Numbers) -> list[Numbers]:
    return [as_like(np.stack(part), like) for part in zip(*rows, strict=True)]


def doubt_at(belief: float, like: Numbers) -> Doubt:
    """`belief` 1 is the fit's own."""
    prior = (as_like(part, like) for part in _beliefs())
    doubts = (belief * doubt for doubt in (LANDMARK_DOUBT, ALONE_DOUBT, VIEW_DOUBT))
    return Doubt(*doubts, *prior)


@cache
def _beliefs() -> tuple[Array, Array, Array, Array]:
    return (*likely(ANGLE_SIGMA, SIDEWAYS_SIGMA, COUPLING_SIGMA), LOWEST, HIGHEST)


def state_of(fit: HandFit, user: UserHand) -> _State:
    """Where a solver goes on from a fit. Raises ValueError when the sides differ."""
    if fit.side != user.side:
        raise ValueError(f"fit_hand start: expected a {user.side} hand, got a {fit.side} one")
    angles = np.concatenate([fit.angles.ravel(), fit.sideways[0]])
    return fit.world_from_wrist.rotation(), fit.world_from_wrist.xyz, angles


def _starts(views: Sequence[FacingView], user: UserHand) -> list[_State]:
    """What each view with weight says on its own."""
    skeletons = _skeleton_of(user)
    states: list[_State] = []
    for view in views:
        if not view.weights.any():
            continue
        if view.shape is not None:
            poses = [_as_net_says(view, user, skeletons)]
        else:
            poses = [_as_pinhole_says(view, angles, skeletons) for angles in (RELAXED, _curled())]
        for rotation, offset, angles in poses:
            states.append((view.turn.T @ rotation, view.turn.T @ (offset - view.shift), angles))
    return states


def _as_net_says(view: FacingView, user: UserHand, skeletons: Skeletons) -> _State:
    """The net's shape, which is turned as it is seen, at the distance that its spread in the
    picture gives; view frame.

    Raises ValueError when that shape's palm is a line.
    """
    shape = view.shape
    if shape is None:
        raise ValueError("HandView.shape: expected the net's shape, got None")
    view_from_wrist = wrist_frame(shape, user.side)
    local = np.asarray(view_from_wrist.inverse().apply(shape), np.float64)
    parts = HandParts.of(local[None], (user.side,))
    angles = np.concatenate([parts.angles.ravel(), parts.sideways[0, 0]])
    angles = np.clip(angles, LOWEST, HIGHEST)
    rotation = view_from_wrist.rotation()
    model = posed(Hands(rotation[None], np.zeros((1, 3)), angles[None]), skeletons, np).landmarks[0]
    used = view.weights > 0.0
    flat = model[used, :2]
    wide = float(np.sqrt(((flat - flat.mean(0)) ** 2).sum(-1).mean()))
    distance = max(wide / view.spread, 0.02)
    middle = np.append(view.marks[used].mean(0), 1.0) * distance
    return rotation, middle - model[used].mean(0), angles


def _as_pinhole_says(view: FacingView, angles: Array, skeletons: Skeletons) -> _State:
    """A hand held like this over the marks (SQPnP, Terzakis and Lourakis 2020); view frame."""
    used = view.weights > 0.0
    still = Hands(np.eye(3)[None], np.zeros((1, 3)), angles[None])
    model = posed(still, skeletons, np).landmarks[0]
    found, turn, offset = cv2.solvePnP(
        model[used], view.marks[used], np.eye(3), None, flags=cv2.SOLVEPNP_SQPNP
    )
    if not found or not np.isfinite(offset).all():
        return np.eye(3), np.array([0.0, 0.0, 0.5]), angles
    return (
        Rigid.from_rotvec(turn[:, 0]).rotation(),
        np.asarray(offset[:, 0], np.float64),
        angles,
    )


def _misfit(fit: HandFit, views: Sequence[FacingView]) -> float:
    """Median residual of the best view, in usual errors."""
    usual = [LANDMARK_ERROR * view.spread * view.focal for view in views]
    return float(np.nanmin(fit.errors / usual))


def _curled() -> Array:
    angles = RELAXED.copy()
    angles[4:20].reshape(4, 4)[:, 1:] = CURLED
    return angles


def _ends(cases: Sequence[_Case], solved: Solved) -> list[HandFit]:
    rotation, place, angles, joints, landmarks, cost, residuals, trust = (
        part if isinstance(part, np.ndarray) else part.cpu().numpy()
        for part in (
            solved.hands.rotation, solved.hands.place, solved.hands.angles, solved.at.joints,
            solved.at.landmarks, solved.cost, solved.residuals, solved.trust,
        )
    )  # fmt: skip
    fits: list[HandFit] = []
    first = 0
    for views, user, starts in cases:
        best = first + int(np.argmin(cost[first : first + len(starts)]))
        first += len(starts)
        errors = np.full(len(views), np.nan)
        for index, view in enumerate(views):
            if view.weights.any():
                off = float(np.median(residuals[best, index][view.weights > 0.0]))
                errors[index] = off * LANDMARK_ERROR * view.spread * view.focal
        sideways = np.zeros((5, 2))
        sideways[0] = angles[best, 20:]
        fits.append(
            HandFit(
                user.side,
                joints[best],
                landmarks[best],
                Rigid(wxyz_from_exact_rotations(rotation[best]), np.array(place[best])),
                angles[best, :20].reshape(5, 4),
                sideways,
                float(cost[best]),
                errors,
                trust[best, : len(views)],
            )
        )
    return fits
