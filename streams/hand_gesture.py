"""Pinch, grab and point of a hand, each as a strength from 0 to 1 and as a yes that holds.

Strengths are made of distances between joints as parts of the hand's own bones, so that tracked
hands of any size and those of headsets (OpenXR, WebXR) are judged alike. A yes begins above
`BEGINS` and ends below `ENDS`, since tracking trembles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_choice, require_unit_interval
from streams.hand_skeleton import FINGER_JOINTS
from streams.tracked_state import SIDES, HandPose

Array = npt.NDArray[np.float64]

GESTURES = ("pinch", "grab", "point")
BEGINS, ENDS = 0.74, 0.40
"""Strengths."""
TIPS_TOUCH, TIPS_APART = 0.15, 0.65
"""Distance of the tips of thumb and index finger over the palm's length (wrist to middle knuckle)
at which a pinch is 1 and 0; tips that touch are still apart, because joints lie inside fingers."""
CURLED, STRAIGHT = 0.50, 0.95
"""Distance from knuckle to tip over the finger's length at which it is wholly curled and straight.
A fist has 0.3 to 0.45."""


@dataclass(frozen=True, slots=True)
class HandGesture:
    """What one hand does."""

    side: str
    """"left" or "right": the person's own."""
    pinch: float
    """0..1: how close the tips of thumb and index finger are."""
    grab: float
    """0..1: how far the index and the three other fingers are curled."""
    point: float
    """0..1: how straight the index finger is while the three others are curled."""
    made: frozenset[str]
    """Which of `GESTURES` it makes."""

    def __post_init__(self) -> None:
        require_choice("HandGesture.side", self.side, SIDES)
        for name in GESTURES:
            require_unit_interval(f"HandGesture.{name}", getattr(self, name))
        if not self.made <= set(GESTURES):
            raise ValueError(f"HandGesture.made: expected some of {GESTURES}, got {set(self.made)}")


class GestureSensor:
    """What the hands that are seen do, from frame to frame."""

    def __init__(self) -> None:
        self._made: dict[str, frozenset[str]] = {}

    def sense(self, hands: Sequence[HandPose]) -> tuple[HandGesture, ...]:
        """One for each of these hands. A hand that is not seen makes nothing any longer."""
        found: list[HandGesture] = []
        for hand in hands:
            strengths = gesture_strengths(hand.joints)
            before = self._made.get(hand.side, frozenset[str]())
            made = frozenset(
                name
                for name, strength in zip(GESTURES, strengths, strict=True)
                if strength > (ENDS if name in before else BEGINS)
            )
            found.append(HandGesture(hand.side, *strengths, made))
        self._made = {gesture.side: gesture.made for gesture in found}
        return tuple(found)


def gesture_strengths(joints: npt.ArrayLike) -> tuple[float, float, float]:
    """Pinch, grab and point, 0..1 each, of (21, 3) joints, metres, MediaPipe's order, any frame.
    A hand without a palm (all joints on one point) makes nothing."""
    p = np.asarray(joints, np.float64)
    if p.shape != (21, 3):
        raise ValueError(f"gesture_strengths joints: expected (21, 3), got {p.shape}")
    palm = float(np.linalg.norm(p[9] - p[0]))
    if palm <= 0.0:
        return 0.0, 0.0, 0.0
    pinch = _falling(float(np.linalg.norm(p[4] - p[8])) / palm, TIPS_TOUCH, TIPS_APART)
    fingers = p[FINGER_JOINTS[1:]]
    length = np.linalg.norm(np.diff(fingers, axis=1), axis=-1).sum(-1)
    reach = np.linalg.norm(fingers[:, 3] - fingers[:, 0], axis=-1) / np.maximum(length, 1e-9)
    index, *others = (_falling(float(part), CURLED, STRAIGHT) for part in reach)
    return pinch, min(index, sum(others) / 3.0), min(1.0 - index, *others)


def _falling(value: float, one: float, zero: float) -> float:
    return min(max((zero - value) / (zero - one), 0.0), 1.0)
