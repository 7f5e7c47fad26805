"""The few numbers that a network carries: what a decoder needs to draw a person at one moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_array, require_choice, require_finite, require_time
from streams.rigid import Rigid
from streams.tracked_state import HandPose, require_one_hand_a_side, require_unit_vectors

Float32 = npt.NDArray[np.float32]

ORIGINS = ("encoded", "driven")
_ARRAYS = (
    ("geometry", "AvatarCode.geometry", (None,)),
    ("appearance", "AvatarCode.appearance", (None,)),
    ("gaze", "AvatarCode.gaze", (2, 3)),
)


@dataclass(frozen=True, slots=True, eq=False)
class AvatarCode:
    """A code of one avatar. `world_from_head` is None when no face is seen: draw hands only."""

    t_ns: int
    """Of the observation, monotonic nanoseconds."""
    avatar: str
    """Asset id of the avatar whose decoder this is for."""
    geometry: Float32
    """(G,) float32, the decoder's own numbers, about N(0, 1) each."""
    appearance: Float32
    """(A,) float32, likewise."""
    gaze: Float32
    """(2, 3) float32 unit vectors, head frame, left eye first."""
    world_from_head: Rigid | None
    hands: tuple[HandPose, ...] = ()
    origin: str = "driven"
    """"encoded": a camera saw the face and its picture was used; "driven": predicted from the
    tracked state alone."""

    def __post_init__(self) -> None:
        require_time("AvatarCode.t_ns", self.t_ns)
        for name, where, shape in _ARRAYS:
            value = getattr(self, name)
            object.__setattr__(self, name, require_array(where, value, np.float32, shape))
            require_finite(where, value)
        require_unit_vectors("AvatarCode.gaze", self.gaze)
        require_one_hand_a_side("AvatarCode.hands", self.hands)
        require_choice("AvatarCode.origin", self.origin, ORIGINS)
