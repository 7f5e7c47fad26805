"""Where head, face and hands will be when a picture is shown.

A picture of a person is late by what tracking, coding and drawing take. Over some tens of
milliseconds people may move on as they did, or may not: who nods slowly does, who grimaces or
shakes the head turns back before that. So each signal is carried on by its own speed, which dies
away (the damped trend of Gardner and McKenzie 1985), times a trust: how well the same would have
foretold the last moments, by least squares over them. What cannot be foretold stays as it is.
Gaze jumps and is not carried on.

A pure function of states: nothing is kept, no clock is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from streams.hand_skeleton import joint_angles
from streams.rigid import Rigid
from streams.tracked_state import FacePose, HandPose, TrackedState

Array = npt.NDArray[np.float64]
T = TypeVar("T")


FEWEST = 4
"""Moments to judge by."""


@dataclass(frozen=True, slots=True)
class PredictionOptions:
    """How far, and from what."""

    longest_s: float = 0.1
    """Beyond this nothing is said of people's motion: later times get this one's prediction."""
    window_s: float = 0.08
    """Of the past, from which speeds are fitted."""
    history_s: float = 1.5
    """Of the past, on which trust rests. Hand over as many states."""
    damping_s: float = 0.12
    """The time in which a speed falls to 1/e."""

    def __post_init__(self) -> None:
        for name in ("longest_s", "window_s", "history_s", "damping_s"):
            if not getattr(self, name) > 0.0:
                raise ValueError(
                    f"PredictionOptions.{name}: expected seconds above 0, got {getattr(self, name)}"
                )


def predict(
    states: Sequence[TrackedState], display_ns: int, options: PredictionOptions | None = None
) -> TrackedState:
    """The newest of `states` (in their order) as it will be at `display_ns`.

    What the newest does not see stays absent, and what was not seen for a while before it stays
    where it is. Its `t_ns` remains that of the observation, from which ages are counted. A display
    time that is past, or a past too short to judge by, gives the newest as it is. Raises ValueError
    without states.
    """
    if not states:
        raise ValueError("predict: expected at least one state, got none")
    o, newest = options or PredictionOptions(), states[-1]
    ahead_s = min((display_ns - newest.t_ns) * 1e-9, o.longest_s)
    if ahead_s <= 0.0:
        return newest
    recent = [
        state
        for state in states
        if state.source == newest.source and 0 <= newest.t_ns - state.t_ns <= o.history_s * 1e9
    ]
    hands = [(hand, [state.hand(hand.side) for state in recent]) for hand in newest.hands]
    return replace(
        newest,
        face=_face(_times(recent, [state.face for state in recent]), ahead_s, o),
        hands=tuple(_hand(hand, _times(recent, seen), ahead_s, o) for hand, seen in hands),
    )


def _times(states: Sequence[TrackedState], seen: Sequence[T | None]) -> list[tuple[float, T]]:
    """Seconds before the newest, for what was seen without a break up to it."""
    kept: list[tuple[float, T]] = []
    last_ns = states[-1].t_ns
    for state, one in zip(reversed(states), reversed(seen), strict=True):
        if one is None:
            break
        at = (state.t_ns - last_ns) * 1e-9
        if not kept or at < kept[-1][0]:
            kept.append((at, one))
    return kept[::-1]


def _face(
    seen: Sequence[tuple[float, FacePose]], ahead_s: float, o: PredictionOptions
) -> FacePose | None:
    if not seen:
        return None
    newest, times = seen[-1][1], np.array([at for at, _ in seen])
    shapes = np.array([face.blendshapes for _, face in seen], np.float64)
    moved = shapes[-1] + carried_on(times, shapes, ahead_s, o)
    return replace(
        newest,
        blendshapes=np.clip(moved, 0.0, 1.0).astype(np.float32),
        world_from_head=_pose(times, [face.world_from_head for _, face in seen], ahead_s, o),
    )


def _hand(
    newest: HandPose,
    seen: Sequence[tuple[float, HandPose]],
    ahead_s: float,
    o: PredictionOptions,
) -> HandPose:
    times = np.array([at for at, _ in seen])
    wrist = _pose(times, [hand.world_from_wrist for _, hand in seen], ahead_s, o)
    in_wrist = np.array(
        [hand.world_from_wrist.inverse().apply(hand.joints) for _, hand in seen], np.float64
    )
    fingers = in_wrist[-1].ravel() + carried_on(times, in_wrist.reshape(len(seen), -1), ahead_s, o)
    joints = np.ascontiguousarray(wrist.apply(fingers.reshape(21, 3)), np.float32)
    angles = joint_angles(joints, newest.side)
    return replace(newest, joints=joints, world_from_wrist=wrist, angles=angles)


def _pose(times: Array, poses: Sequence[Rigid], ahead_s: float, o: PredictionOptions) -> Rigid:
    """The last of `poses` carried on: its turn about its own axes, its place in the world."""
    last = poses[-1]
    turns = np.array([(last.inverse() @ pose).rotvec() for pose in poses])
    places = np.array([pose.xyz for pose in poses])
    turn = Rigid.from_rotvec(carried_on(times, turns, ahead_s, o))
    return Rigid((last @ turn).wxyz, places[-1] + carried_on(times, places, ahead_s, o))


def carried_on(times: Array, values: Array, ahead_s: float, options: PredictionOptions) -> Array:
    """(D,): by how much the last of (N, D) values, at (N,) rising seconds, moves on in `ahead_s`.

    Each earlier moment is asked the same question, whose answer is known by now; the trust is the
    slope of what came over what was foretold, 0 to 1.
    """
    none = np.zeros(values.shape[1])
    if len(times) < 3:
        return none
    reach = options.damping_s * (1.0 - float(np.exp(-ahead_s / options.damping_s)))
    speeds = _speeds(times, values, options.window_s)
    asked = np.flatnonzero(times[1:] + ahead_s <= times[-1]) + 1
    if len(asked) < FEWEST:
        return none
    then = times[asked] + ahead_s
    after = np.searchsorted(times, then)
    share = (then - times[after - 1]) / (times[after] - times[after - 1])
    came = values[after - 1] + share[:, None] * (values[after] - values[after - 1]) - values[asked]
    foretold = speeds[asked] * reach
    power = float((foretold * foretold).sum())
    if power <= 0.0:
        return none
    trust = min(max(float((foretold * came).sum()) / power, 0.0), 1.0)
    return trust * reach * speeds[-1]


def _speeds(times: Array, values: Array, window_s: float) -> Array:
    """(N, D) units a second at each moment: least squares of a line through the window before."""
    begin = np.searchsorted(times, times - window_s - 1e-9)
    end = np.arange(len(times)) + 1
    count = (end - begin)[:, None].astype(np.float64)
    t, v = times[:, None], values - values[-1]

    def summed(x: Array) -> Array:
        sums = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0)])
        return sums[end] - sums[begin]

    spread = summed(t * t) - summed(t) ** 2 / count
    together = summed(t * v) - summed(t) * summed(v) / count
    return np.where(spread > 1e-9, together / np.maximum(spread, 1e-9), 0.0)
