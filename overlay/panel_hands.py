"""Panels in one's hands: pinch to hold, move, with both hands to scale, throw away to dismiss."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from overlay.board import PanelBoard
from overlay.pinch import Pinch, PinchSensor
from streams.panel import Panel
from streams.rigid import Rigid
from streams.tracked_state import HandPose

REACH_M = 0.08
"""A pinch this near to a panel's rectangle takes it: half a hand, as tracked depth is no better."""
THROWN_M_S = 1.6
"""Let go at this speed a panel is dismissed; placing something ends below 0.5 m/s."""
SMALLEST_M, LARGEST_M = 0.03, 3.0
"""Height of a panel, metres."""
LOST_NS = 300_000_000
"""A hand may be unseen for so long before what it holds is let go, where it was."""
_SPEED_NS = 120_000_000


@dataclass(frozen=True, slots=True)
class PanelHeld:
    """What hands did with a panel."""

    kind: str
    """"grabbed", "released" or "dismissed"."""
    panel_id: str
    side: str


@dataclass(slots=True)
class _Grip:
    """One hand's hold of a panel."""

    panel_id: str
    pinch_from_panel: Rigid
    seen_ns: int
    path: deque[tuple[int, np.ndarray]] = field(default_factory=lambda: deque(maxlen=64))


class PanelHands:
    """Moves the panels of a board that are anchored to the world. One thread at a time."""

    def __init__(self, board: PanelBoard) -> None:
        self._board = board
        self._sensor = PinchSensor()
        self._grips: dict[str, _Grip] = {}
        self._before: set[str] = set()
        self._stretch: tuple[str, float, Panel, np.ndarray] | None = None
        """While both hands hold one panel: its id, their distance, itself and their middle then."""
        self.pinches: tuple[Pinch, ...] = ()
        """Of the last update."""

    def update(self, hands: Sequence[HandPose], t_ns: int) -> list[PanelHeld]:
        """Follow the hands as they are at that time; what happened."""
        events: list[PanelHeld] = []
        self.pinches = self._sensor.sense(hands)
        pinching = {pinch.side: pinch.world_from_pinch for pinch in self.pinches}
        seen = {hand.side for hand in hands}
        for side in [*self._grips]:
            grip = self._grips[side]
            if side not in pinching and (side in seen or t_ns - grip.seen_ns > LOST_NS):
                events.append(self._let_go(side, thrown=side in seen))
            elif self._board.get(grip.panel_id) is None:
                # Somebody else took it away.
                del self._grips[side]
        for side, place in pinching.items():
            if side not in self._before and side not in self._grips:
                panel = self._within_reach(place.xyz)
                if panel is not None:
                    # Both hands count from where the panel is now.
                    for other in self._grips.values():
                        if other.panel_id == panel.id:
                            other.path.clear()
                    held = place.inverse() @ panel.anchor_from_panel
                    self._grips[side] = _Grip(panel.id, held, t_ns)
                    events.append(PanelHeld("grabbed", panel.id, side))
        # A hand that was lost while it pinched does not grab anew when it comes back pinching.
        self._before = set(pinching) | (self._before - seen if self._grips else set())
        self._follow(pinching, t_ns)
        return events

    def _follow(self, pinching: dict[str, Rigid], t_ns: int) -> None:
        for side, grip in self._grips.items():
            if side in pinching:
                grip.seen_ns = t_ns
                grip.path.append((t_ns, np.array(pinching[side].xyz)))
        both = [grip for side, grip in self._grips.items() if side in pinching]
        if len(both) == 2 and both[0].panel_id == both[1].panel_id:
            self._scale(both[0].panel_id, pinching)
            return
        if self._stretch is not None:
            # One hand is left: it holds the panel as it is now.
            self._stretch = None
            for side, grip in self._grips.items():
                panel = self._board.get(grip.panel_id)
                if panel is not None and side in pinching:
                    grip.pinch_from_panel = pinching[side].inverse() @ panel.anchor_from_panel
        for side, grip in self._grips.items():
            panel = self._board.get(grip.panel_id)
            if panel is not None and side in pinching:
                place = pinching[side] @ grip.pinch_from_panel
                self._board.put(replace(panel, anchor_from_panel=place), t_ns)

    def _scale(self, panel_id: str, pinching: dict[str, Rigid]) -> None:
        """Both hands: as much larger as they are farther apart; the middle goes with them."""
        left, right = (np.array(place.xyz) for place in pinching.values())
        apart, middle = float(np.linalg.norm(left - right)), (left + right) / 2.0
        if self._stretch is None or self._stretch[0] != panel_id:
            panel = self._board.get(panel_id)
            if panel is None or apart < 1e-3:
                return
            self._stretch = (panel_id, apart, panel, middle)
        _, apart_then, then, middle_then = self._stretch
        now = self._board.get(panel_id)
        if now is None:
            return
        scale = float(
            np.clip(
                apart / apart_then,
                SMALLEST_M / then.size_m[1],
                LARGEST_M / then.size_m[1],
            )
        )
        offset = np.array(then.anchor_from_panel.xyz) - middle_then
        place = Rigid.from_rotation(then.anchor_from_panel.rotation(), middle + scale * offset)
        # The picture may have changed meanwhile, its shape not.
        size = (now.size_m[0] / now.size_m[1] * then.size_m[1] * scale, then.size_m[1] * scale)
        self._board.put(replace(now, anchor_from_panel=place, size_m=size))

    def _let_go(self, side: str, thrown: bool) -> PanelHeld:
        grip = self._grips.pop(side)
        alone = all(other.panel_id != grip.panel_id for other in self._grips.values())
        if thrown and alone and _speed(grip.path) > THROWN_M_S:
            self._board.remove(grip.panel_id)
            return PanelHeld("dismissed", grip.panel_id, side)
        return PanelHeld("released", grip.panel_id, side)

    def _within_reach(self, point: np.ndarray) -> Panel | None:
        panels = [panel for panel in self._board.panels(0) if panel.anchor == "world"]
        near = [(distance_to(panel, point), panel) for panel in panels]
        near = [pair for pair in near if pair[0] <= REACH_M]
        return min(near, key=lambda pair: pair[0])[1] if near else None


def distance_to(panel: Panel, point: np.ndarray) -> float:
    """Metres from a world point to the panel's rectangle, whose anchor is the world."""
    x, y, z = panel.anchor_from_panel.inverse().apply(np.asarray(point, np.float64))
    outside_x = max(abs(float(x)) - panel.size_m[0] / 2, 0.0)
    outside_y = max(abs(float(y)) - panel.size_m[1] / 2, 0.0)
    return float(np.sqrt(outside_x**2 + outside_y**2 + float(z) ** 2))


def _speed(path: deque[tuple[int, np.ndarray]]) -> float:
    """Metres a second at the end of a path."""
    if len(path) < 2:
        return 0.0
    end_ns, end = path[-1]
    begin_ns, begin = next((p for p in path if end_ns - p[0] <= _SPEED_NS), path[-2])
    if begin_ns == end_ns:
        return 0.0
    return float(np.linalg.norm(end - begin)) / (end_ns - begin_ns) * 1e9
