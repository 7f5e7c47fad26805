"""A person larger and farther by the same factor: to the camera about which it is done, the same.

One camera cannot tell the two apart, so it takes every head for an average one. Several measure the
factor (`FacePose.size`), and who draws heads of average size takes it out again.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from streams.rigid import Rigid
from streams.tracked_state import FacePose, HandPose, TrackedState

Array = npt.NDArray[np.float64]


def sized_face(face: FacePose, factor: float, centre: Array) -> FacePose:
    """The face `factor` times larger and as many times farther from `centre` (3,) metres, world.

    Raises ValueError unless the factor is finite and above 0, as `FacePose` does."""
    if factor == 1.0:
        return face
    return replace(
        face,
        landmarks=face.landmarks * np.float32(factor),
        world_from_head=_farther(face.world_from_head, factor, centre),
        size=face.size * factor,
    )


def of_average_head(state: TrackedState, centre: Array) -> TrackedState:
    """The person as a whole, hands too, scaled about `centre` (3,) metres, world, so that the head
    is of average size: all of it lies together, and looks from `centre`, as it did."""
    if state.face is None or state.face.size == 1.0:
        return state
    factor = 1.0 / state.face.size
    face = replace(sized_face(state.face, factor, centre), size=1.0)  # To the last bit.
    hands = tuple(_sized_hand(hand, factor, centre) for hand in state.hands)
    return replace(state, face=face, hands=hands)


def _sized_hand(hand: HandPose, factor: float, centre: Array) -> HandPose:
    joints = centre + factor * (hand.joints.astype(np.float64) - centre)
    return replace(
        hand,
        joints=joints.astype(np.float32),
        world_from_wrist=_farther(hand.world_from_wrist, factor, centre),
    )


def _farther(world_from_a: Rigid, factor: float, centre: Array) -> Rigid:
    return Rigid(world_from_a.wxyz, centre + factor * (world_from_a.xyz - centre))
