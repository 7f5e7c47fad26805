"""The bones of one person's hand, measured from a few seconds of it.

All moments are explained together (bundle adjustment): each has a pose of its own, all share the
30 numbers of `HandShape`. Poses are solved by `hand_solver`; then the shape takes one step of Gauss
and Newton with the poses eliminated (Schur complement), and again. The average adult's hand is the
prior: what no picture tells stays average.

One camera sees proportions, not sizes. The size comes from moments that two cameras saw, else from
a length that was measured with a ruler, else from a known distance, else it is the average's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_choice
from streams.hand_skeleton import PALM_JOINTS, HandParts, HandShape
from streams.tracked_state import SIDES
from tracking.hand_fit import HandFit, doubt_at, fit_hand, state_of
from tracking.hand_kinematics import Hands, Skeletons, landmark_moves
from tracking.hand_limits import RELAXED
from tracking.hand_sight import FacingView, faced, sight_row
from tracking.hand_solver import Sight, Solved, normal_equations, solve
from tracking.hand_view import HandView
from tracking.user_hand import UserHand

Array = npt.NDArray[np.float64]

FEWEST, MOST = 20, 80
"""Moments: of more, every second one is kept."""
ROUNDS = 6
BONE_SIGMA, BASE_SIGMA = 0.12, 0.008
"""How people's hands differ from the average's: bones as a part of their length, base joints in
metres."""
ALIKE = 10.0
"""So many moments of a few seconds tell as much as one alone: a net errs alike in pictures that
are alike."""
LENGTHS = 0.12, 0.25
"""Metres from wrist to the tip of the middle finger between which a hand is believed."""


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredHand:
    """A person's hand and how it was measured."""

    user: UserHand
    size_from: str
    """"views", "length", "distance" or "average": where its size comes from."""
    moments: int
    """That were looked at."""
    error_before: float
    error_after: float
    """Pixels: median over the moments of the landmarks' median distance, for the average hand and
    for this one."""


class HandMeasuring:
    """Collects moments of one hand, then measures it."""

    def __init__(self, side: str) -> None:
        """Raises ValueError unless `side` is "left" or "right"."""
        require_choice("HandMeasuring side", side, SIDES)
        self.side = side
        self._moments: list[tuple[list[HandView], float | None]] = []
        self._seen, self._stride = 0, 1

    def add(self, views: Sequence[HandView], distance: float | None = None) -> None:
        """The views of one moment; `distance` in metres, if it is known, of the palm's middle from
        the first view's camera along its axis."""
        if self._seen % self._stride == 0:
            self._moments.append((list(views), distance))
        self._seen += 1
        if len(self._moments) > MOST:
            self._moments = self._moments[::2]
            self._stride *= 2

    def finish(self, length: float | None = None) -> MeasuredHand:
        """Measure. `length` in metres, if somebody measured it: from the crease of the wrist to the
        tip of the straight middle finger.

        Raises ValueError when there were too few moments, or the length is no hand's.
        """
        if self._seen < FEWEST:
            raise ValueError(
                f"HandMeasuring: expected at least {FEWEST} moments of the {self.side} hand, "
                f"got {self._seen}; hold it up for longer"
            )
        if length is not None and not LENGTHS[0] <= length <= LENGTHS[1]:
            raise ValueError(
                f"HandMeasuring length: expected {LENGTHS[0]} to {LENGTHS[1]} m from wrist to "
                f"finger tip, got {length}"
            )
        views = [moment for moment, _ in self._moments]
        average = UserHand.average(self.side)
        before = _fitted(views, average)
        facing = [faced(moment) for moment in views]
        user = average
        for _ in range(ROUNDS):
            solved, sight = _solved(facing, before, user)
            # Proportions have a prior; the size is left to the views.
            alike = average.scaled(user.palm_span() / average.palm_span())
            user = _stepped(solved, sight, user, alike)
        user, size_from = self._sized(user, views, average, length)
        return MeasuredHand(
            user, size_from, len(views), _error(before), _error(_fitted(views, user))
        )

    def _sized(
        self,
        user: UserHand,
        views: list[list[HandView]],
        average: UserHand,
        length: float | None,
    ) -> tuple[UserHand, str]:
        if any(sum(bool(view.weights.any()) for view in moment) > 1 for moment in views):
            return user, "views"
        if length is not None:
            return user.scaled(length / hand_length(user)), "length"
        parts: list[float] = []
        for moment, distance in self._moments:
            if distance is not None:
                world = moment[0].camera.world_from_camera
                joints = np.asarray(world.inverse().apply(fit_hand(moment, user).joints))
                parts.append(distance / float(joints[PALM_JOINTS, 2].mean()))
        if len(parts) >= FEWEST:
            return user.scaled(float(np.median(parts))), "distance"
        return user.scaled(average.palm_span() / user.palm_span()), "average"


def hand_length(user: UserHand) -> float:
    """Metres from the wrist to the tip of the straight middle finger."""
    return float(np.linalg.norm(user.shape.bases[2]) + user.shape.bones[2].sum())


def _fitted(views: Sequence[Sequence[HandView]], user: UserHand) -> list[HandFit]:
    fits: list[HandFit] = []
    for moment in views:
        fits.append(fit_hand(moment, user, fits[-1] if fits else None))
    return fits


def _error(fits: list[HandFit]) -> float:
    return float(np.median([np.nanmedian(fit.errors) for fit in fits]))


def _solved(
    views: Sequence[Sequence[FacingView]], fits: list[HandFit], user: UserHand
) -> tuple[Solved, Sight]:
    """All moments with these bones, from where the first fits were."""
    most = max(len(moment) for moment in views)
    rows = [sight_row(moment, user, most) for moment in views]
    sight = Sight(*(np.stack(part) for part in zip(*rows, strict=True)))
    states = [state_of(fit, user) for fit in fits]
    hands = Hands(*(np.stack(part) for part in zip(*states, strict=True)))
    skeletons = Skeletons.of([user] * len(fits), hands.place)
    return solve(hands, skeletons, sight, doubt_at(1.0, hands.place), 20, 1e-3, np), sight


def _stepped(solved: Solved, sight: Sight, user: UserHand, average: UserHand) -> UserHand:
    """The shape after one step."""
    count = len(solved.cost)
    skeletons = Skeletons.of([user] * count, solved.cost)
    moves = landmark_moves(solved.hands, solved.at, skeletons, np)
    moves = np.concatenate([moves, _shape_moves(solved)], axis=-1)
    gradient, hessian = normal_equations(solved, moves, sight, doubt_at(1.0, solved.cost))
    poses = np.arange(moves.shape[-1]) < moves.shape[-1] - 30
    eye = 1e-6 * np.eye(int(poses.sum()))
    across = hessian[:, poses][:, :, ~poses]
    gone = np.linalg.solve(hessian[:, poses][:, :, poses] + eye, across).mT
    normal = (hessian[:, ~poses][:, :, ~poses] - gone @ across).sum(0) / ALIKE
    slope = (gradient[:, ~poses] - (gone @ gradient[:, poses, None])[..., 0]).sum(0) / ALIKE

    usual = np.append(np.full(15, BASE_SIGMA), BONE_SIGMA * average.shape.bones.ravel())
    now = np.append(user.shape.bases, user.shape.bones)
    off = now - np.append(average.shape.bases, average.shape.bones)
    step = np.linalg.solve(normal + np.diag(usual**-2.0), slope + off / usual**2.0)
    # No step turns a bone round.
    bases, bones = np.split(now - np.clip(step, -0.01, 0.01), 2)
    bones = np.maximum(bones, 0.3 * average.shape.bones.ravel())
    # In its wrist frame again, which the knuckles define.
    parts = HandParts(
        (user.side,),
        bases.reshape(1, 5, 3),
        bones.reshape(1, 5, 3),
        RELAXED[:20].reshape(1, 5, 4),
        np.zeros((1, 5, 2)),
    )
    return UserHand(HandShape.of(parts.joints()[0], user.side), user.offsets)


def _shape_moves(solved: Solved) -> Array:
    """(B, 21, 3, 30): derivatives of the landmarks by base joints and bones. A base joint also
    turns its finger's frame, which the angles make up for; that is left out."""
    count = len(solved.cost)
    moves = np.zeros((count, 21, 3, 30))
    for finger in range(5):
        points = slice(1 + 4 * finger, 5 + 4 * finger)
        moves[:, points, :, 3 * finger : 3 * finger + 3] = solved.hands.rotation[:, None]
        for bone in range(3):
            beyond = slice(2 + 4 * finger + bone, 5 + 4 * finger)
            ahead = -solved.at.rotations[:, finger, bone, :, 2]
            moves[:, beyond, :, 15 + 3 * finger + bone] = ahead[:, None]
    return moves
