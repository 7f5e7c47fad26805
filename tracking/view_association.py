"""Which finds of several cameras are one hand, and which side of the person it is.

Two finds are one hand when the rays through their landmarks meet at a hand's size. Greedy: the pair
whose rays meet best begins a hand, the other cameras' finds join it where they agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from streams.camera import Camera
from streams.hand_skeleton import PALM_JOINTS
from streams.projection import directions
from tracking.engine import HandMarks
from tracking.hand_placement import PALM_SPAN
from tracking.triangulation import beside
from tracking.user_hand import palm_span

Array = npt.NDArray[np.float64]

MEETS = 0.02
"""Metres: median distance of two finds' rays below which they may be one hand."""
SMALLEST, LARGEST = 0.5, 2.0
"""Of an average adult's palm: what is smaller or larger is no hand, but two hands' rays crossed."""
OTHER_SIDE = 0.004
"""Metres that two finds of different sides are taken to lie further apart: engines are seldom wrong
in the side, but they are."""
ONE_PLACE = 0.04
"""Metres: no two hands have their middles so near to one another."""
SAME_PLACE = 0.08
"""Metres: mean distance of the joints from those of a hand before, within which its side counts."""


@dataclass(frozen=True, slots=True, eq=False)
class Find:
    """One hand that an engine found in one camera's picture or crop."""

    view: int
    """Which camera of the rig: finds of one view are different hands."""
    camera: Camera
    """Whose pixels the marks are in (a crop's own, for a crop)."""
    marks: HandMarks
    source: str = ""
    """The name of the rig's camera, which a crop's is not."""


@dataclass(frozen=True, slots=True, eq=False)
class SeenHand:
    """One hand and all finds of it."""

    side: str
    finds: tuple[Find, ...]
    """At most one a view."""


def associate(
    finds: Sequence[Find],
    before: dict[str, Array] | None = None,
    wanted: Callable[[Array], bool] = lambda _joints: True,
) -> tuple[tuple[SeenHand, ...], tuple[Find, ...]]:
    """At most two hands, of different sides, that two views or more see, and the finds left over.

    `before` holds the last (21, 3) joints of each side, metres, world frame: a hand at their place
    is likely to be of their side. `wanted` tells of (21, 3) whether they may be the person's, NaN
    where rays are parallel; finds of other people's hands are not left over either.
    """
    rays = [directions(find.camera, find.marks.landmarks) for find in finds]
    pairs: list[tuple[float, int, int]] = []
    for i, one in enumerate(finds):
        for j in range(i + 1, len(finds)):
            if finds[j].view != one.view:
                cost = _pair_cost(one, finds[j], rays[i], rays[j])
                if cost < MEETS:
                    pairs.append((cost, i, j))
    pairs.sort()
    used: set[int] = set()
    hands: list[tuple[list[int], Array]] = []
    for _, i, j in pairs:
        if i in used or j in used or len(hands) == 2:
            continue
        members = _joined([i, j], finds, rays, used)
        used.update(members)
        at = _crossing(members, finds, rays)
        if not wanted(at):
            continue
        if hands and float(np.linalg.norm(np.nanmean(at - hands[0][1], axis=0))) < ONE_PLACE:
            # One hand that engines saw in two ways. More views are right more often.
            if len(members) > len(hands[0][0]):
                hands[0] = members, at
            continue
        hands.append((members, at))
    votes = [_vote([finds[k] for k in members], at, before or {}) for members, at in hands]
    sides = ["right" if vote > 0.0 else "left" for vote in votes]
    if len(sides) == 2 and sides[0] == sides[1]:
        surer = int(abs(votes[1]) > abs(votes[0]))
        sides[1 - surer] = "left" if sides[surer] == "right" else "right"
    seen = (
        SeenHand(side, tuple(_of_side(finds[k], side) for k in members))
        for side, (members, _) in zip(sides, hands, strict=True)
    )
    ordered = tuple(sorted(seen, key=lambda hand: hand.side))
    return ordered, tuple(find for k, find in enumerate(finds) if k not in used)


def _pair_cost(one: Find, other: Find, a: Array, b: Array) -> float:
    """Metres by which the rays miss one another, infinite where they make no hand."""
    points, distances, along = _cross(
        np.stack([one.camera.world_from_camera.xyz, other.camera.world_from_camera.xyz]),
        np.stack([a, b]),
    )
    if not (np.isfinite(points).all() and (along > 0.0).all()):
        return np.inf
    span = palm_span(points[PALM_JOINTS])
    if not SMALLEST * PALM_SPAN < span < LARGEST * PALM_SPAN:
        return np.inf
    cost = float(np.median(distances))
    return cost if one.marks.side == other.marks.side else cost + OTHER_SIDE


def _joined(
    members: list[int], finds: Sequence[Find], rays: list[Array], used: set[int]
) -> list[int]:
    """With the find of every other view that agrees."""
    for view in sorted({find.view for find in finds} - {finds[k].view for k in members}):
        points = _crossing(members, finds, rays)
        best, best_cost = -1, MEETS
        for k, find in enumerate(finds):
            if find.view != view or k in used:
                continue
            missed, along = beside(points, find.camera.world_from_camera.xyz, rays[k])
            cost = float(np.median(missed))
            if (along > 0.0).all() and cost < best_cost:
                best, best_cost = k, cost
        if best >= 0:
            members = [*members, best]
    return members


def _crossing(members: list[int], finds: Sequence[Find], rays: list[Array]) -> Array:
    origins = np.stack([finds[k].camera.world_from_camera.xyz for k in members])
    return _cross(origins, np.stack([rays[k] for k in members]))[0]


def _cross(origins: Array, rays: Array) -> tuple[Array, Array, Array]:
    """Where (V, P, 3) rays from (V, 3) come nearest to all others; how far each is from there; and
    how far from the camera. NaN for rays that are parallel or missing."""
    off = np.eye(3) - rays[..., :, None] * rays[..., None, :]
    normal = off.sum(0)
    target = np.einsum("vpij,vj->pi", off, origins)
    sound = np.isfinite(normal).all((-1, -2))
    sound[sound] &= np.linalg.det(normal[sound]) > 1e-9
    points = np.full(rays.shape[1:], np.nan)
    points[sound] = np.linalg.solve(normal[sound], target[sound][..., None])[..., 0]
    return points, *beside(points, origins[:, None], rays)


def _vote(finds: list[Find], at: Array, before: dict[str, Array]) -> float:
    """Above 0 for a right hand."""
    vote = sum(find.marks.score * (1.0 if find.marks.side == "right" else -1.0) for find in finds)
    for side, joints in before.items():
        if float(np.nanmean(np.linalg.norm(at - joints, axis=-1))) < SAME_PLACE:
            vote += 1.0 if side == "right" else -1.0
    return vote


def _of_side(find: Find, side: str) -> Find:
    return replace(find, marks=replace(find.marks, side=side))
