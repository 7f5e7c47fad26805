"""Panels that hang on a head or a wrist are put where these are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from streams.panel import Panel
from streams.rigid import Rigid
from streams.tracked_state import HandPose


def place_panels(
    panels: Sequence[Panel], world_from_head: Rigid | None, hands: Sequence[HandPose]
) -> tuple[Panel, ...]:
    """The same panels, in the same order, all anchored to the world.

    A panel whose head or hand is not seen (`world_from_head` None, no hand of that side) is left
    out: it would otherwise hang where the person was.
    """
    world_from_anchor: dict[str, Rigid] = {f"{h.side} wrist": h.world_from_wrist for h in hands}
    if world_from_head is not None:
        world_from_anchor["head"] = world_from_head
    placed: list[Panel] = []
    for panel in panels:
        if panel.anchor == "world":
            placed.append(panel)
        elif panel.anchor in world_from_anchor:
            world_from_panel = world_from_anchor[panel.anchor] @ panel.anchor_from_panel
            placed.append(replace(panel, anchor="world", anchor_from_panel=world_from_panel))
    return tuple(placed)
