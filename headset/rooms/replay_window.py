"""Which numbers of a sender's messages have come already (RFC 6479 without its ring of words)."""

from __future__ import annotations

WINDOW = 1024
"""Messages that may overtake one another; older ones are refused, seen or not."""


class ReplayWindow:
    """Takes every number once."""

    def __init__(self) -> None:
        self._newest = -1
        self._seen = 0
        """Bit k: `_newest - k` came."""

    def is_new(self, number: int) -> bool:
        """Whether it may still be taken. Ask before deciphering, `take` after: what cannot be
        deciphered must not use up a number."""
        behind = self._newest - number
        return behind < 0 or (behind < WINDOW and not self._seen >> behind & 1)

    def take(self, number: int) -> int:
        """Remember it. Returns how many numbers between it and the newest before did not come
        (yet); -1 for one that was overtaken. Raises ValueError when it is not new."""
        if not self.is_new(number):
            raise ValueError(f"ReplayWindow: number {number} came before")
        behind = self._newest - number
        if behind > 0:
            self._seen |= 1 << behind
            return -1
        self._seen = (self._seen << min(-behind, WINDOW) | 1) & ((1 << WINDOW) - 1)
        self._newest = number
        return -behind - 1
