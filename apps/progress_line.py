"""How far long work is: one line on a terminal, rewritten every second; nothing elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

PROGRESS_S = 1.0


class ProgressLine:
    """Call `tell` as often as you like, `end` at the end."""

    def __init__(self) -> None:
        self._last, self._told = time.monotonic(), False

    def tell(self, text: Callable[[], str]) -> None:
        """Show this, if it is time to; it is asked for only then."""
        now = time.monotonic()
        if sys.stderr.isatty() and now - self._last >= PROGRESS_S:
            self._last, self._told = now, True
            print(f"\r{text()} ", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Go on in a new line."""
        if self._told:
            print(file=sys.stderr)
            self._told = False
