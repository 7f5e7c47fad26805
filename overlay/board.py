"""The live set of panels: any thread puts and removes, the drawing thread reads."""

from __future__ import annotations

import threading

from streams.array_contract import require_time
from streams.panel import Panel


class PanelBoard:
    """A PanelProvider over a set of panels by id, in the order in which ids first appeared."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._panels: dict[str, tuple[int, Panel]] = {}

    def put(self, panel: Panel, t_ns: int = 0) -> bool:
        """Show `panel`; one of the same id is replaced and keeps its place in the order.

        `t_ns` is when its content was asked for. Where slow work answers out of order, an older
        answer must not replace a newer one: then nothing changes and the result is False.
        """
        require_time("PanelBoard.put t_ns", t_ns)
        with self._lock:
            held = self._panels.get(panel.id)
            if held is not None and t_ns < held[0]:
                return False
            self._panels[panel.id] = (t_ns, panel)
            return True

    def remove(self, panel_id: str) -> bool:
        """Show it no longer. False when there is none of that id."""
        with self._lock:
            return self._panels.pop(panel_id, None) is not None

    def clear(self) -> None:
        """Show nothing."""
        with self._lock:
            self._panels.clear()

    def get(self, panel_id: str) -> Panel | None:
        """The panel of that id as it is now, for example to put a changed copy."""
        with self._lock:
            held = self._panels.get(panel_id)
        return None if held is None else held[1]

    def panels(self, t_ns: int) -> tuple[Panel, ...]:
        """Everything on the board; it does not change with the display time."""
        del t_ns
        with self._lock:
            return tuple(panel for _, panel in self._panels.values())
