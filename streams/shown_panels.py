"""All panels that are in view from one moment on."""

from __future__ import annotations

from dataclasses import dataclass

from streams.array_contract import require_time
from streams.panel import Panel


@dataclass(frozen=True, slots=True, eq=False)
class ShownPanels:
    """What is shown beside the avatar from `t_ns` on, until the next such record."""

    t_ns: int
    """Monotonic nanoseconds."""
    panels: tuple[Panel, ...] = ()
    """In drawing order, each `id` once; empty when nothing is shown."""

    def __post_init__(self) -> None:
        require_time("ShownPanels.t_ns", self.t_ns)
        if not isinstance(self.panels, tuple):  # pyright: ignore[reportUnnecessaryIsInstance]
            got = type(self.panels).__name__
            raise ValueError(f"ShownPanels.panels: expected a tuple of Panel, got {got}")
        ids = [panel.id for panel in self.panels]
        if len(set(ids)) != len(ids):
            raise ValueError(f"ShownPanels.panels: expected each id once, got {ids}")
