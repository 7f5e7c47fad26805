"""Thumb and index finger that touch: how hands hold things here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streams.rigid import Rigid
from streams.tracked_state import HandPose

BEGINS, ENDS = 0.28, 0.45
"""Distance of the two tips over the palm's length (wrist to middle knuckle). Two thresholds, since
tracking trembles; tips that touch are about 0.15 apart, because joints lie inside the fingers."""
_WRIST, _THUMB_TIP, _INDEX_TIP, _MIDDLE_KNUCKLE = 0, 4, 8, 9


@dataclass(frozen=True, slots=True, eq=False)
class Pinch:
    """A hand that pinches."""

    side: str
    """"left" or "right"."""
    world_from_pinch: Rigid
    """Origin between the two tips, axes of the wrist."""


class PinchSensor:
    """Which of the hands that are seen pinch."""

    def __init__(self) -> None:
        self._pinching: set[str] = set()

    def sense(self, hands: Sequence[HandPose]) -> tuple[Pinch, ...]:
        """The pinching ones of these; a hand that is not seen pinches no longer."""
        found: list[Pinch] = []
        for hand in hands:
            joints = hand.joints.astype(np.float64)
            palm = float(np.linalg.norm(joints[_MIDDLE_KNUCKLE] - joints[_WRIST]))
            apart = float(np.linalg.norm(joints[_THUMB_TIP] - joints[_INDEX_TIP]))
            most = ENDS if hand.side in self._pinching else BEGINS
            if palm > 0.0 and apart < most * palm:
                middle = (joints[_THUMB_TIP] + joints[_INDEX_TIP]) / 2.0
                place = Rigid.from_rotation(hand.world_from_wrist.rotation(), middle)
                found.append(Pinch(hand.side, place))
        self._pinching = {pinch.side for pinch in found}
        return tuple(found)
