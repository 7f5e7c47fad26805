"""One person's hand as a fit knows it: its bones, and where the landmarks lie on them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from streams.adult_hand import adult_hand
from streams.array_contract import require_array, require_finite
from streams.hand_skeleton import HandShape

Array = npt.NDArray[np.float64]


def _no_offsets() -> Array:
    return np.zeros((21, 3))


@dataclass(frozen=True, slots=True, eq=False)
class UserHand:
    """What stays the same however the hand moves."""

    shape: HandShape
    """Side and bones."""
    offsets: Array = field(default_factory=_no_offsets)
    """(21, 3) float64 metres: from each joint to its landmark, in the frame of the bone that ends
    in the joint (-z along it, +y out of the back); of the wrist and the five base joints, in the
    wrist frame. A net's landmarks lie by a constant 2-15 mm beside the joints of a skeleton that
    somebody else defined; 0 says that the skeleton is the net's own."""

    def __post_init__(self) -> None:
        value = require_array("UserHand.offsets", self.offsets, np.float64, (21, 3))
        require_finite("UserHand.offsets", value)
        object.__setattr__(self, "offsets", value)

    @staticmethod
    def average(side: str) -> UserHand:
        """An adult's of average size."""
        return UserHand(adult_hand(side))

    @property
    def side(self) -> str:
        """ "left" or "right": the person's own."""
        return self.shape.side

    def mirrored(self) -> UserHand:
        """The person's other hand, taken as this one's mirror image."""
        mirror = np.array([-1.0, 1.0, 1.0])
        side = "left" if self.side == "right" else "right"
        shape = HandShape(side, self.shape.bases * mirror, np.array(self.shape.bones))
        return UserHand(shape, self.offsets * mirror)

    def scaled(self, scale: float) -> UserHand:
        """The same hand `scale` times as large."""
        shape = HandShape(self.side, self.shape.bases * scale, self.shape.bones * scale)
        return UserHand(shape, self.offsets * scale)

    def palm_span(self) -> float:
        """As `palm_span`, metres."""
        return palm_span(np.concatenate([np.zeros((1, 3)), self.shape.bases[1:]]))


def palm_span(palm: Array) -> float:
    """Metres: root mean square distance of the palm's five joints (5, 3) from their middle."""
    return float(np.sqrt(((palm - palm.mean(0)) ** 2).sum(-1).mean()))
