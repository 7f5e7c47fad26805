"""One person's hand as a fit knows it: its bones, and where the landmarks lie on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.adult_hand import adult_hand
from streams.array_contract import require_array, require_finite
from streams.hand_skeleton import HandParts, HandShape, wrist_frame

Array = npt.NDArray[np.float64]

VERSION = 1
LARGEST = 0.3
"""Metres: no part of a hand is longer, whatever a file says."""


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


def hands_to_json(hands: Sequence[UserHand]) -> str:
    """A person's hands as kept in a file; metres, to a hundredth of a millimetre."""

    def rounded(array: Array) -> list[list[float]]:
        return [[round(float(n), 5) for n in row] for row in array]

    kept = [
        {
            "side": hand.side,
            "bases_m": rounded(hand.shape.bases),
            "bones_m": rounded(hand.shape.bones),
            "offsets_m": rounded(hand.offsets),
        }
        for hand in hands
    ]
    return json.dumps({"version": VERSION, "hands": kept})


def hands_from_json(text: str) -> tuple[UserHand, ...]:
    """The inverse of `hands_to_json`, to its rounding. Raises ValueError for anything else."""
    try:
        data: Any = json.loads(text)
        if data["version"] != VERSION:
            raise ValueError(f"of version {data['version']!r}")
        hands = tuple(
            UserHand(
                HandShape(
                    kept["side"],
                    np.array(kept["bases_m"], np.float64),
                    np.array(kept["bones_m"], np.float64),
                ),
                np.array(kept["offsets_m"], np.float64),
            )
            for kept in data["hands"]
        )
        if len({hand.side for hand in hands}) != len(hands):
            raise ValueError("two hands of one side")
        parts = [(hand.shape.bases, hand.shape.bones, hand.offsets) for hand in hands]
        longest = max((float(np.abs(part).max()) for hand in parts for part in hand), default=0.0)
        if longest > LARGEST:
            raise ValueError(f"a hand with {longest:.3g} m in it")
        return hands
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"hands: expected version {VERSION}, got something else ({error}); measure them again "
            "with `visavis measure-hands`"
        ) from error


def offsets_on_bones(side: str, joints: Array, landmarks: Array) -> Array:
    """(21, 3) as `UserHand.offsets`: where landmarks (N, 21, 3) lie beside true joints (N, 21, 3)
    of a hand, metres, world frame, NaN where there is none; the median of N.

    Raises ValueError for other shapes, or when a landmark is nowhere.
    """
    if joints.shape != landmarks.shape or joints.shape[1:] != (21, 3):
        raise ValueError(
            f"offsets_on_bones: expected two (N, 21, 3), got {joints.shape} and {landmarks.shape}"
        )
    found = np.empty(joints.shape)
    for index, (true, seen) in enumerate(zip(joints, landmarks, strict=True)):
        wrist = wrist_frame(true, side)
        local = np.asarray(wrist.inverse().apply(true), np.float64)
        bones = HandParts.of(local[None], (side,)).rotations()[0]
        beside = (seen - true) @ wrist.rotation()
        found[index] = beside
        fingers = beside[1:].reshape(5, 4, 3)[:, 1:]
        found[index, 1:].reshape(5, 4, 3)[:, 1:] = np.einsum("fkji,fkj->fki", bones, fingers)
    if np.isnan(found).all(0).any():
        raise ValueError("offsets_on_bones: expected every landmark once, got none of some")
    return np.nanmedian(found, axis=0)
