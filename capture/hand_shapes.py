"""The shapes that a hand makes, as joint angles."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

STRAIGHT = (0.06, 0.08, 0.05)
CURLED = (1.40, 1.70, 1.0)
"""Flexion at the three joints from base to tip, radians."""
SPREAD = (0.0, 0.20, 0.0, 0.14, 0.30)
"""Radians away from the middle finger when the hand is spread; the thumb has its own."""
# The thumb's angles were found by inverse kinematics on the adult hand, for where its tip belongs.
THUMB_OUT = (-0.14, -0.43, 0.27, 0.30)
"""Out of the palm, then flexion at its three joints: stretched away from the index finger."""
THUMB_BESIDE = (-0.30, -0.01, 0.34, 0.33)
THUMB_OVER = (-0.26, 0.34, 0.82, 0.91)
"""Laid across the curled fingers."""
THUMB_IN = (-0.50, 0.42, 1.00, 1.10)
"""Laid into the open palm."""
THUMB_UP = (0.05, -0.46, -0.10, -0.20)
THUMB_PINCH = (0.08, 0.26, 0.40, 0.37)
INDEX_PINCH = (0.22, 0.85, 0.77, 0.38)
"""With it, the tips of thumb and index meet."""


def _shape(
    curls: tuple[float, float, float, float],
    thumb: tuple[float, float, float, float],
    spread: float = 0.4,
) -> Array:
    """Index to little finger curled by 0..1; curled fingers lie side by side."""
    angles = np.zeros((5, 4))
    angles[0] = thumb
    for finger, curl in enumerate(curls, start=1):
        angles[finger, 0] = SPREAD[finger] * spread * (1.0 - curl)
        angles[finger, 1:] = (1 - curl) * np.array(STRAIGHT) + curl * np.array(CURLED)
    return angles


HAND_SHAPES: dict[str, Array] = {
    "relaxed": _shape((0.16, 0.22, 0.26, 0.28), THUMB_BESIDE, 0.3),
    "open": _shape((0.0, 0.0, 0.0, 0.0), THUMB_OUT, 1.0),
    "flat": _shape((0.02, 0.02, 0.02, 0.02), THUMB_BESIDE, 0.1),
    "fist": _shape((1.0, 1.0, 1.0, 1.0), THUMB_OVER, 0.0),
    "point": _shape((0.0, 0.97, 1.0, 1.0), THUMB_OVER, 0.2),
    "two": _shape((0.0, 0.0, 1.0, 1.0), THUMB_OVER, 1.0),
    "three": _shape((0.0, 0.0, 0.0, 1.0), THUMB_OVER, 0.9),
    "four": _shape((0.0, 0.0, 0.0, 0.0), THUMB_IN, 0.9),
    "thumb": _shape((1.0, 1.0, 1.0, 1.0), THUMB_UP, 0.0),
    "pinch": _shape((0.0, 0.2, 0.14, 0.1), THUMB_PINCH, 0.5),
}
"""(5, 4) float64 radians as `HandPose.angles`."""
HAND_SHAPES["pinch"][1] = INDEX_PINCH
