"""A note at a moment: what somebody wants to find again."""

from __future__ import annotations

from dataclasses import dataclass

from streams.array_contract import require_time


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A named moment."""

    t_ns: int
    """Monotonic nanoseconds."""
    name: str
    """One line, not empty: what the moment is."""
    text: str = ""
    """What there is to say of it."""

    def __post_init__(self) -> None:
        require_time("Mark.t_ns", self.t_ns)
        if not self.name.strip() or "\n" in self.name:
            raise ValueError(f"Mark.name: expected one line of text, got {self.name!r}")
