"""What the windows of preview and replay share: their corner's lines, how often they look."""

from __future__ import annotations

import time

from apps.meter import Meter
from apps.pipeline import Drawn

POLL_S = 0.03
"""Keys are looked at so often even while no picture comes."""
HUD_S = 0.5
HUD_FRAMES = 60


class NoWindowError(RuntimeError):
    """There is no display, or no OpenGL in it. The message is one readable line."""


class Hud:
    """The lines in the window's corner, made anew twice a second."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._since = time.monotonic()
        self._pictures = 0
        self._lines: tuple[str, ...] = ("loading ...",)

    def lines(self, drawn: Drawn | None, live: bool = True) -> tuple[str, ...]:
        """What to show now; how old a picture is means something for live sources only."""
        now = time.monotonic()
        self._pictures += drawn is not None
        if drawn is not None and now - self._since >= HUD_S:
            rate = self._pictures / (now - self._since)
            self._since, self._pictures = now, 0
            costs = self._meter.costs(HUD_FRAMES)
            self._lines = (
                f"{rate:.0f} pictures/s" + (f", {drawn.age_ms:.0f} ms old" if live else ""),
                *(f"{cost.stage} {cost.wall_median:.1f} ms" for cost in costs),
                "Esc quits",
            )
        return self._lines
