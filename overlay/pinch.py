"""Thumb and index finger that touch: how hands hold things here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streams.hand_gesture import GestureSensor
from streams.rigid import Rigid
from streams.tracked_state import HandPose

_THUMB_TIP, _INDEX_TIP = 4, 8


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
        self._sensor = GestureSensor()

    def sense(self, hands: Sequence[HandPose]) -> tuple[Pinch, ...]:
        """The pinching ones of these; a hand that is not seen pinches no longer."""
        found: list[Pinch] = []
        for hand, gesture in zip(hands, self._sensor.sense(hands), strict=True):
            if "pinch" in gesture.made:
                joints = hand.joints.astype(np.float64)
                middle = (joints[_THUMB_TIP] + joints[_INDEX_TIP]) / 2.0
                place = Rigid.from_rotation(hand.world_from_wrist.rotation(), middle)
                found.append(Pinch(hand.side, place))
        return tuple(found)
