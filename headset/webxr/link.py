"""One paired client's connection, as whoever serves it sees it."""

from __future__ import annotations

from typing import Protocol


class LinkClosedError(ConnectionError):
    """The other side is gone, or was dropped: nothing more can be sent to it."""


class Link(Protocol):
    """An authenticated client's binary WebSocket. All methods belong to the network's loop."""

    @property
    def name(self) -> str:
        """The device's name, for log lines; printable, and unique among devices."""
        ...

    async def receive(self) -> bytes | None:
        """The next message, no longer than the server's limit; None when the other side is gone
        (a message that breaks a limit ends the link)."""
        ...

    async def send(self, message: bytes) -> None:
        """Returns when the system's socket took all of it. Raises LinkClosedError when the other
        side is gone, or does not read."""
        ...

    async def close(self, reason: str) -> None:
        """End it; the client is told `reason`, at most 120 bytes of it. May be called twice."""
        ...
