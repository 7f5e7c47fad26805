"""The average adult's hand, by which hands are measured that nobody measured."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.hand_skeleton import HandShape

Array = npt.NDArray[np.float64]

BASES_RIGHT = np.array(
    [
        [-0.026, -0.014, -0.026],
        [-0.024, -0.004, -0.090],
        [0.0, 0.0, -0.092],
        [0.020, -0.001, -0.086],
        [0.037, -0.004, -0.077],
    ]
)
"""(5, 3) metres, a right hand's wrist frame: the thumb's CMC joint and the knuckles."""
BONES = np.array(
    [
        [0.046, 0.034, 0.028],
        [0.043, 0.025, 0.022],
        [0.047, 0.029, 0.023],
        [0.043, 0.027, 0.023],
        [0.034, 0.020, 0.020],
    ]
)
"""(5, 3) metres from base to tip."""


def adult_hand(side: str) -> HandShape:
    """The average hand of that side; left and right are mirror images."""
    mirror = np.array([1.0, 1.0, 1.0]) if side == "right" else np.array([-1.0, 1.0, 1.0])
    return HandShape(side, BASES_RIGHT * mirror, BONES)
