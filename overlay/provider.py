"""What fills a scene with panels: text, images, generated content, a running assistant."""

from __future__ import annotations

from typing import Protocol

from streams.panel import Panel


class PanelProvider(Protocol):
    """Asked once for every drawn picture, from the thread that draws: it must not wait."""

    def panels(self, t_ns: int) -> tuple[Panel, ...]:
        """What shows at that display time, monotonic nanoseconds, in drawing order."""
        ...
