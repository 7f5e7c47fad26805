"""What a session's states ask of an application (OpenXR 1.0, 9.3), without any runtime in it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from streams.array_contract import require_choice, require_time

STATES = (
    "unknown", "idle", "ready", "synchronized", "visible", "focused", "stopping", "loss pending",
    "exiting",
)  # fmt: skip
"""XrSessionState in its order; its values count from 0."""
BEGIN, END, LEAVE, LOSE, NOTHING = "begin", "end", "leave", "lose", "nothing"


class SessionStates:
    """Follows a session's states and tells what each one asks for."""

    def __init__(self) -> None:
        self.state = "unknown"
        self.running = False
        """Between xrBeginSession and xrEndSession: frames must be waited for, begun and ended."""
        self.passed: list[str] = []
        """Every state until now, in order."""

    @property
    def visible(self) -> bool:
        """Whether the wearer sees our pictures."""
        return self.state in ("visible", "focused")

    def enter(self, state: str) -> str:
        """The session is in `state` now. Returns what to do: "begin" or "end" the session, "leave"
        for good, "lose" it (destroy it; another may follow), or "nothing"."""
        require_choice("SessionStates.enter state", state, STATES)
        self.state = state
        self.passed.append(state)
        if state == "ready":
            self.running = True
            return BEGIN
        if state == "stopping":
            self.running = False
            return END
        if state in ("exiting", "loss pending"):
            self.running = False
            return LEAVE if state == "exiting" else LOSE
        return NOTHING


@dataclass(frozen=True, slots=True)
class ReopeningOptions:
    """How often a lost session is opened again."""

    limit: int = 3
    """Losses within `window_s` that are borne; the next one ends it."""
    window_s: float = 60.0


class Reopening:
    """Decides whether a lost session is opened again, so that a broken runtime ends it."""

    def __init__(self, options: ReopeningOptions | None = None) -> None:
        self.options = options or ReopeningOptions()
        self._losses: deque[int] = deque()

    def lost(self, at_ns: int) -> bool:
        """A session was lost at that monotonic time. True: open another."""
        require_time("Reopening.lost at_ns", at_ns)
        self._losses.append(at_ns)
        while at_ns - self._losses[0] > self.options.window_s * 1e9:
            self._losses.popleft()
        return len(self._losses) <= self.options.limit
