"""Where a new picture appears: at a pinching hand, on the desk, or behind the person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streams.rigid import Rigid

PLACES = ("beside", "hand", "desk", "backdrop")
HAND_TALL, DESK_TALL, BACKDROP_TALL = 0.16, 0.26, 1.3
"""Metres."""
_DESK_BELOW_EYES, _DESK_BEFORE = 0.42, 0.26
"""A seated person's desk: DIN EN 527 desks are 0.72 m, seated eyes about 1.2 m high."""
_DESK_TILT = float(np.deg2rad(-52.0))
"""As a book on a stand: rather lying than standing."""
_BEHIND = 0.55


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
    return PanelPlace(_turned(facing, np.asarray(pinch, np.float64) + up), HAND_TALL)


def on_desk(world_from_head: Rigid, facing: Rigid) -> PanelPlace:
    """Before and below the person, between them and the viewer, leaning back."""
    toward = facing.rotate(np.array([0.0, 0.0, _DESK_BEFORE]))
    place = np.array(world_from_head.xyz) + toward - np.array([0.0, _DESK_BELOW_EYES, 0.0])
    tilt = Rigid.from_rotvec((_DESK_TILT, 0.0, 0.0))
    return PanelPlace(_turned(facing, place) @ tilt, DESK_TALL)


def as_backdrop(world_from_head: Rigid, facing: Rigid) -> PanelPlace:
    """Behind the person as the viewer sees them, large, its middle a little above their eyes."""
    back = facing.rotate(np.array([0.0, 0.12, -_BEHIND]))
    return PanelPlace(_turned(facing, np.array(world_from_head.xyz) + back), BACKDROP_TALL)


def _turned(facing: Rigid, xyz: np.ndarray) -> Rigid:
    return Rigid.from_rotation(facing.rotation(), xyz)
