"""The panels of one page: what of them is sent next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from headset.webxr.messages import Message
from headset.webxr.server_messages import (
    panel_gone,
    panel_message,
    panel_picture,
    small_picture,
)
from streams.panel import Panel
from streams.shown_panels import ShownPanels

SLOW_PICTURE_NS = 1_000_000_000
"""On a slow link a panel has so long from one picture to the next."""

Encode = Callable[[Callable[[Panel], bytes], Panel], Awaitable[bytes]]
"""Calls the first with the second, in another thread."""


class PanelStream:
    """Remembers what the page was sent. Runs in the network's loop."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._panels: dict[str, Panel] = {}
        self._pictured_ns: dict[str, int] = {}

    async def next(self, shown: ShownPanels | None, slow: bool, now_ns: int) -> Message | None:
        """The next thing to send, one at a time, so that avatar frames come between; None where
        the page has everything.

        `slow`: the link bears codes only. A PNG would be a stone in that pipe: pictures are made
        small with losses, and the newest of each panel goes once a second.
        """
        panels = {panel.id: panel for panel in shown.panels} if shown else {}
        for panel_id in [known for known in self._panels if known not in panels]:
            del self._panels[panel_id]
            self._pictured_ns.pop(panel_id, None)
            return panel_gone(panel_id)
        for panel in panels.values():
            known = self._panels.get(panel.id)
            if known is panel:
                continue
            picture = None
            if known is None or not _same_picture(known, panel):
                last = self._pictured_ns.get(panel.id)
                if slow and last is not None and now_ns - last < SLOW_PICTURE_NS:
                    continue
                self._pictured_ns[panel.id] = now_ns
                picture = await self._encode(small_picture if slow else panel_picture, panel)
            elif _same_place(known, panel):
                self._panels[panel.id] = panel
                continue
            self._panels[panel.id] = panel
            return panel_message(panel, picture)
        return None


def _same_picture(a: Panel, b: Panel) -> bool:
    if a.rgba.shape != b.rgba.shape:
        return False
    return a.rgba.base is b.rgba.base is not None or bool((a.rgba == b.rgba).all())


def _same_place(a: Panel, b: Panel) -> bool:
    return (
        (a.anchor, a.size_m, a.generated_by) == (b.anchor, b.size_m, b.generated_by)
        and bool((a.anchor_from_panel.wxyz == b.anchor_from_panel.wxyz).all())
        and bool((a.anchor_from_panel.xyz == b.anchor_from_panel.xyz).all())
    )
