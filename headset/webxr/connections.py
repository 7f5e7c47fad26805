"""Accepting TCP connections: how many, from whom, for how long before they show who they are.

TLS begins only when a connection was let in, so that turning one away costs next to nothing. Of
connections that have not shown a device's token the oldest goes when there are too many: who holds
hundreds open shuts nobody out, not even a headset at the same address.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from headset.webxr.rate_limits import AddressBuckets, limited_address
from headset.webxr.refusals import Refusals
from streams.clock import now_ns

UNSENT_BYTES = 128 * 1024
"""What the system may hold of a connection's data before it is on the way: more would be minutes
of queue on a bad link."""


class HttpProtocol(Protocol):
    """What is used of aiohttp's `RequestHandler`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...

    def connection_lost(self, exc: BaseException | None) -> None: ...

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> bool | None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections there may be."""

    unknown_each: int = 16
    """From one address, that showed no token."""
    unknown: int = 64
    """From everywhere, that showed no token."""
    known: int = 128
    """That showed a token: a browser has up to seven."""
    unknown_s: float = 15.0
    """A connection that shows no token ends after so long, however busy it is."""
    new_rate: float = 50.0
    new_burst: float = 300.0
    """New ones of an address a second on average, and at once: a TLS handshake costs a
    millisecond."""
    handshake_s: float = 5.0
    """TLS must be there by then."""


class Connections:
    """All that are open. Belongs to the network's loop."""

    def __init__(
        self,
        limits: ConnectionLimits,
        refusals: Refusals,
        handler: Callable[[], HttpProtocol],
        clock: Callable[[], int] = now_ns,
    ) -> None:
        self.limits, self.refusals, self.handler, self.clock = limits, refusals, handler, clock
        self._new = AddressBuckets(limits.new_rate, limits.new_burst, clock)
        self._open: dict[Connection, None] = {}
        self._by_handler: dict[int, Connection] = {}

    def factory(self, tls: ssl.SSLContext | None) -> Callable[[], asyncio.Protocol]:
        """For `loop.create_server`, without its own `ssl`; None serves in the clear."""
        return lambda: Connection(self, tls)

    def of(self, handler: object) -> Connection | None:
        """The connection that a handler serves, while it is open."""
        return self._by_handler.get(id(handler))

    def admit(self, new: Connection) -> bool:
        """Let it in, at the cost of older ones that nobody knows; False when it cannot be."""
        if not self._new.take(new.address):
            self.refusals.tell(new.address, "connects too often")
            return False
        if sum(1 for one in self._open if one.known) >= self.limits.known:
            self.refusals.tell(new.address, "too many connections of paired devices")
            return False
        unknown = [one for one in self._open if not one.known]
        same = [one for one in unknown if one.address == new.address]
        for group, most in ((same, self.limits.unknown_each), (unknown, self.limits.unknown)):
            if len(group) >= most:
                self.refusals.tell(group[0].address, "too many connections")
                group[0].drop()
        self._open[new] = None
        return True

    def begin(self, one: Connection, handler: HttpProtocol) -> None:
        self._by_handler[id(handler)] = one

    def forget(self, one: Connection, handler: HttpProtocol | None) -> None:
        self._open.pop(one, None)
        if handler is not None:
            self._by_handler.pop(id(handler), None)

    def drop_overdue(self) -> None:
        """End those that took too long to show who they are. To be called about once a second."""
        latest = self.clock() - round(self.limits.unknown_s * 1e9)
        for one in [one for one in self._open if not one.known and one.since_ns < latest]:
            if one.silent:
                self.refusals.tell(one.address, "connected and asked for nothing")
            one.drop()

    def drop_all(self) -> None:
        """End every one at once."""
        for one in list(self._open):
            one.drop()

    def counts(self) -> tuple[int, int]:
        """(known, unknown) that are open."""
        known = sum(1 for one in self._open if one.known)
        return known, len(self._open) - known


class Connection(asyncio.Protocol):
    """One TCP connection: admission, then TLS, then HTTP, which is `handler`'s."""

    def __init__(self, all_: Connections, tls: ssl.SSLContext | None) -> None:
        self._all, self._tls = all_, tls
        self.address = "unknown"
        self.since_ns = all_.clock()
        self.known = False
        """Whether it showed a paired device's token."""
        self.silent = True
        """Whether no request of it was answered yet."""
        self._raw: asyncio.Transport | None = None
        self._transport: asyncio.Transport | None = None
        self._handler: HttpProtocol | None = None
        self._early: list[bytes] = []
        self._shaking: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.address = limited_address(str(peer[0])) if peer else "unknown"
        if not self._all.admit(self):
            self._raw.abort()
            return
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        if self._tls is None:
            self._begin(self._raw)
            return
        self._raw.pause_reading()
        self._shaking = asyncio.get_running_loop().create_task(self._shake_hands(self._tls))

    async def _shake_hands(self, tls: ssl.SSLContext) -> None:
        limit = self._all.limits.handshake_s
        raw = cast(asyncio.Transport, self._raw)
        try:
            transport = await asyncio.get_running_loop().start_tls(
                raw, self, tls, server_side=True, ssl_handshake_timeout=limit,
                ssl_shutdown_timeout=limit,
            )  # fmt: skip
        except OSError as error:
            # A browser that shows its warning breaks off too: that is none of our business.
            if isinstance(error, ConnectionAbortedError):
                self._all.refusals.tell(self.address, "no TLS handshake in time")
            elif isinstance(error, ssl.SSLError) and error.reason == "HTTP_REQUEST":
                self._all.refusals.tell(self.address, "plain HTTP where TLS is spoken")
            self.drop()
            self.connection_lost(None)
            return
        if transport is None or transport.is_closing():
            self.connection_lost(None)
            return
        self._begin(transport)

    def _begin(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._handler = self._all.handler()
        self._all.begin(self, self._handler)
        self._handler.connection_made(transport)
        for data in self._early:
            self._handler.data_received(data)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        if self._handler is None:
            self._early.append(data)  # Came together with the end of the handshake.
        else:
            self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._handler is None else self._handler.eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        handler, self._handler = self._handler, None
        self._all.forget(self, handler)
        if handler is not None:
            handler.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        if self._handler is not None:
            self._handler.resume_writing()

    def unsent(self) -> int:
        """Bytes that the system did not take yet."""
        size = 0 if self._raw is None else self._raw.get_write_buffer_size()
        if self._transport is not None and self._transport is not self._raw:
            size += self._transport.get_write_buffer_size()
        return size

    @property
    def closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._transport is None or self._transport.is_closing()

    def drop(self) -> None:
        """End it now, whatever is under way; forgotten at once, so that it counts no more."""
        self._all.forget(self, None)
        if self._transport is not None:
            self._transport.abort()
        if self._raw is not None:
            self._raw.abort()
