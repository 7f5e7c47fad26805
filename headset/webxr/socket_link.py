"""A link over a WebSocket of aiohttp: sizes, rates, and what happens to who does not read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import WebSocketError, WSCloseCode, WSMsgType, web

from headset.webxr.connections import Connection
from headset.webxr.devices import Device
from headset.webxr.link import LinkClosedError
from headset.webxr.rate_limits import TokenBucket
from headset.webxr.refusals import Refusals


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """What one client may do."""

    message_bytes: int = 64 * 1024
    """Its longest message; a sample has below 700 bytes."""
    messages_rate: float = 500.0
    """Its messages a second on average (a headset has 120 samples and 120 acknowledgements)."""
    messages_burst: float = 1000.0
    bytes_rate: float = 500_000.0
    """Its bytes a second on average."""
    bytes_burst: float = 2_000_000.0
    send_s: float = 5.0
    """Time that it has to take a message, and beside that, what it takes at `slowest_rate`."""
    slowest_rate: float = 16_000.0
    """Bytes a second that a link must carry."""
    heartbeat_s: float = 10.0
    """Asked so often whether it is still there; it has half of that to answer."""
    links: int = 16
    """Of all devices together."""
    links_each: int = 4
    """Of one device: pages that are open, and one that is just being replaced."""


class SocketLink:
    """A `Link`. Whatever breaks a limit ends it, with one line about it."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        connection: Connection,
        device: Device,
        limits: LinkLimits,
        refusals: Refusals,
        clock: Callable[[], int],
    ) -> None:
        self._socket, self._connection, self.device = socket, connection, device
        self._limits, self._refusals = limits, refusals
        self._messages = TokenBucket(limits.messages_rate, limits.messages_burst, clock)
        self._bytes = TokenBucket(limits.bytes_rate, limits.bytes_burst, clock)
        self._sending = asyncio.Lock()
        self._closed = False

    @property
    def name(self) -> str:
        return self.device.name

    async def receive(self) -> bytes | None:
        """As `Link.receive`."""
        try:
            message = await self._socket.receive()
        except RuntimeError:
            return None  # It was closed on our side.
        if message.type is WSMsgType.BINARY:
            data: bytes = message.data
            if self._messages.take() and self._bytes.take(len(data)):
                return data
            await self._refuse("too many messages", WSCloseCode.POLICY_VIOLATION)
        elif message.type is WSMsgType.TEXT:
            await self._refuse("a message that is not binary", WSCloseCode.UNSUPPORTED_DATA)
        elif message.type is WSMsgType.ERROR:
            # aiohttp has closed it already. Other errors are a connection that broke.
            error = message.data
            if isinstance(error, WebSocketError):
                if error.code == WSCloseCode.MESSAGE_TOO_BIG:
                    self._tell(f"a message above {self._limits.message_bytes} bytes")
                else:
                    self._tell("a broken WebSocket frame")
        return None

    async def send(self, message: bytes) -> None:
        """As `Link.send`."""
        limit = self._limits.send_s + len(message) / self._limits.slowest_rate
        try:
            async with asyncio.timeout(limit), self._sending:
                if self._closed or self._connection.closing:
                    raise LinkClosedError(f"{self.name}: the connection is closed")
                await self._socket.send_bytes(message)
                wait = 0.0005
                while self._connection.unsent() and not self._connection.closing:
                    await asyncio.sleep(wait)
                    wait = min(2 * wait, 0.008)
        except TimeoutError as error:
            self._tell("does not read what is sent")
            self.drop()
            raise LinkClosedError(f"{self.name}: took no message for {limit:.1f} s") from error
        except (ConnectionError, RuntimeError) as error:
            raise LinkClosedError(f"{self.name}: the connection is closed") from error

    async def close(self, reason: str) -> None:
        """As `Link.close`."""
        await self._close(reason, WSCloseCode.GOING_AWAY)

    async def refuse_message(self, reason: str) -> None:
        """End it because of a message that makes no sense."""
        await self._refuse(reason, WSCloseCode.INVALID_TEXT)

    def drop(self) -> None:
        """End it without a word."""
        self._closed = True
        self._connection.drop()

    async def _refuse(self, reason: str, code: WSCloseCode) -> None:
        self._tell(reason)
        await self._close(reason, code)

    async def _close(self, reason: str, code: WSCloseCode) -> None:
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(TimeoutError, ConnectionError, RuntimeError):
            async with asyncio.timeout(1.0):
                await self._socket.close(code=code, message=reason.encode()[:120])
        self._connection.drop()

    def _tell(self, reason: str) -> None:
        self._refusals.tell(self._connection.address, reason, self.name)
