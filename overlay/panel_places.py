"""Where a new picture appears: beside the face, at a pinching hand, on the desk or behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streams.rigid import Rigid

PLACES = ("beside", "hand", "desk", "backdrop")
HAND_TALL = 0.16
"""Metres."""


@dataclass(frozen=True, slots=True, eq=False)
class PanelPlace:
    """Place and height of a panel."""

    world_from_panel: Rigid
    tall: float
    """Metres."""


def at_hand(pinch: np.ndarray, facing: Rigid) -> PanelPlace:
    """Over a pinch at that world point, its lower edge just above the fingers; `facing`: world
    from the axes of a panel that faces the viewer (only its rotation counts)."""
    up = facing.rotate(np.array([0.0, HAND_TALL / 2 + 0.03, 0.0]))
    place = Rigid.from_rotation(facing.rotation(), np.asarray(pinch, np.float64) + up)
    return PanelPlace(place, HAND_TALL)
