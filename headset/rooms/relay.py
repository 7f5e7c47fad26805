"""A relay: forwards what members of a room send one another, and reads nothing of it.

async with Relay(RelayOptions(port=8444)) as relay:
    await asyncio.sleep(3600)

It knows room ids, sizes and times, never a room's code (docs/rooms.md has what that means). Every
limit is per client, so that one who sends or reads badly disturbs nobody else. One loop, no
threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import ssl
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from aiohttp import WSMsgType, web

from headset.rooms.relay_address import PATH
from headset.rooms.relay_frame import LARGEST_UP, FrameError, unpack_up
from headset.rooms.relay_outbox import RelayOutbox
from headset.rooms.relay_room import RelayRoom, RoomFullError
from headset.rooms.send_buffers import keep_small, room_to_write
from headset.rooms.trunk_frame import RELAY_BYTES, unpack_trunk

_ROOM_ID = re.compile(r"[0-9a-f]{64}")
LIST_S = 2.0
"""How often other relays are told who is here."""


class RelayError(OSError):
    """The relay cannot start; says why and what to do."""


@dataclass(frozen=True, slots=True)
class RelayOptions:
    """Where it listens and what it takes."""

    host: str = "127.0.0.1"
    port: int = 8444
    """0: any free one; `Relay.port` tells it."""
    tls: ssl.SSLContext | None = None
    most_clients: int = 200
    most_from_address: int = 64
    bytes_s: float = 2.0 * 1024 * 1024
    """Of one client, on average; it may send `burst_s` seconds' worth at once. Who sends more is
    read more slowly."""
    frames_s: float = 500.0
    burst_s: float = 2.0
    request_s: float = 10.0
    """A connection that has not asked for a room by then is closed."""
    heartbeat_s: float = 10.0
    """How often a silent client is asked whether it is there; half of it later it is gone."""


class Trunk(Protocol):
    """What connects relays (`nats_transport.NatsTransport`)."""

    async def join(self, room: str, heard: Callable[[bytes], None]) -> None: ...

    async def leave(self, room: str) -> None: ...

    def publish(self, room: str, message: bytes) -> None: ...


class Relay:
    """Serves from `start` to `close`. `log` gets one line for everybody who is refused."""

    def __init__(
        self,
        options: RelayOptions | None = None,
        trunk: Trunk | None = None,
        log: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.options, self._trunk, self._log = options or RelayOptions(), trunk, log
        self._id = secrets.token_bytes(RELAY_BYTES)
        self._rooms: dict[str, RelayRoom] = {}
        self._clients: set[web.WebSocketResponse] = set()
        self._addresses: Counter[str] = Counter()
        self._asked: set[object] = set()
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._listing: asyncio.Task[None] | None = None
        self.port = 0
        self.dropped = 0
        """Frames that clients who left were too slow for."""

    @property
    def rooms(self) -> int:
        """That somebody is in."""
        return len(self._rooms)

    @property
    def clients(self) -> int:
        """Connected now."""
        return len(self._clients)

    async def start(self) -> None:
        """Raises RelayError when the port cannot be had."""
        app = web.Application()
        app.router.add_get(PATH + "{room}", self._serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        options, loop = self.options, asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: self._connection(runner), options.host, options.port, ssl=options.tls
            )
        except OSError as error:
            await runner.cleanup()
            raise RelayError(
                f"relay: cannot listen on {options.host}, port {options.port} "
                f"({error.strerror or error}); choose another --port"
            ) from error
        self._runner, self.port = runner, self._server.sockets[0].getsockname()[1]
        if self._trunk is not None:
            self._listing = asyncio.create_task(self._list_members())

    async def close(self) -> None:
        """Send everybody away; they look for the relay again by themselves. May be called twice."""
        if self._listing is not None:
            self._listing.cancel()
            self._listing = None
        if self._server is not None:
            self._server.close()
            self._server = None
        for socket_ in list(self._clients):
            with contextlib.suppress(ConnectionError, RuntimeError):
                await asyncio.wait_for(socket_.close(code=1001, message=b"relay closes"), 1.0)
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def _connection(self, runner: web.AppRunner) -> asyncio.Protocol:
        server = runner.server
        if server is None:
            raise RuntimeError("Relay: expected a server that is set up")
        handler = server()
        asyncio.get_running_loop().call_later(self.options.request_s, self._end_idle, handler)
        return handler

    def _end_idle(self, handler: web.RequestHandler) -> None:
        if handler in self._asked or handler.transport is None:
            return
        self._log(f"{_address(handler.transport)}: closed, asked for no room")
        handler.transport.abort()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        room, where = request.match_info["room"], request.remote or "?"
        refusal = self._refusal(request, room, where)
        if refusal is not None:
            self._log(f"{where}: refused, {refusal[1]}")
            return web.Response(status=refusal[0], text=refusal[1] + "\n")
        client = web.WebSocketResponse(
            heartbeat=self.options.heartbeat_s,
            compress=False,
            max_msg_size=LARGEST_UP,
        )
        self._clients.add(client)
        self._addresses[where] += 1
        self._asked.add(request.protocol)
        try:
            await client.prepare(request)
            if request.transport is not None:
                keep_small(request.transport.get_extra_info("socket"))
            await self._host(client, room, where, request.transport)
        except (TimeoutError, ConnectionError):
            pass
        finally:
            self._asked.discard(request.protocol)
            self._clients.discard(client)
            self._addresses[where] -= 1
            if not self._addresses[where]:
                del self._addresses[where]
        return client

    def _refusal(self, request: web.Request, room: str, where: str) -> tuple[int, str] | None:
        if not _ROOM_ID.fullmatch(room):
            return 404, "no such room"
        if "Origin" in request.headers:
            # Pages that a browser loaded from elsewhere have no business here.
            return 403, "a web page asked"
        if len(self._clients) >= self.options.most_clients:
            return 503, f"{self.options.most_clients} clients are connected"
        if self._addresses[where] >= self.options.most_from_address:
            return 429, f"{self.options.most_from_address} clients come from there"
        return None

    async def _host(
        self,
        client: web.WebSocketResponse,
        room_id: str,
        where: str,
        transport: asyncio.BaseTransport | None,
    ) -> None:
        number, outbox = secrets.randbelow(2**32 - 1) + 1, RelayOutbox()
        room = await self._opened(room_id)
        try:
            room.join(number, outbox)
        except RoomFullError as error:
            self._log(f"{where}: refused, {error}")
            await client.close(code=1013, message=str(error).encode())
            return
        writing = asyncio.create_task(_write(client, outbox, transport))
        try:
            reason = await self._read(client, room, number)
            if reason:
                self._log(f"{where}: sent away, {reason}")
                await client.close(code=1008, message=reason.encode()[:120])
        finally:
            room.leave(number)
            self.dropped += outbox.dropped
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await writing
            await self._closed(room_id)

    async def _read(self, client: web.WebSocketResponse, room: RelayRoom, number: int) -> str:
        """Forward until the client goes ("") or misbehaves (why)."""
        pace = _Pace(self.options)
        while True:
            message = await client.receive()
            if message.type is WSMsgType.BINARY:
                try:
                    frame = unpack_up(message.data)
                except FrameError as error:
                    return str(error)
                room.forward(frame, number)
                rest_s = pace.rest_s(len(message.data), time.monotonic())
                if rest_s > 0.0:
                    # Not read meanwhile, so that its own connection holds it back.
                    await asyncio.sleep(rest_s)
            elif message.type is WSMsgType.TEXT:
                return "expected binary messages"
            elif message.type is WSMsgType.ERROR:
                return f"{message.data or client.exception() or 'its connection broke'}"
            else:
                return _reason(client)

    async def _opened(self, room_id: str) -> RelayRoom:
        room = self._rooms.get(room_id)
        if room is not None:
            return room
        trunk = self._trunk
        publish = None if trunk is None else (lambda message: trunk.publish(room_id, message))
        room = self._rooms[room_id] = RelayRoom(self._id, publish)
        if trunk is not None:
            await trunk.join(room_id, lambda message: self._heard(room_id, message))
        return room

    async def _closed(self, room_id: str) -> None:
        """Forget the room when nobody is in it any more."""
        room = self._rooms.get(room_id)
        if room is not None and not len(room):
            del self._rooms[room_id]
            if self._trunk is not None:
                await self._trunk.leave(room_id)

    def _heard(self, room_id: str, message: bytes) -> None:
        room = self._rooms.get(room_id)
        if room is None:
            return
        try:
            room.heard(unpack_trunk(message), time.monotonic())
        except FrameError as error:
            self._log(f"other relay: dropped, {error}")

    async def _list_members(self) -> None:
        while True:
            await asyncio.sleep(LIST_S)
            for room in list(self._rooms.values()):
                room.list_members()
                room.expire(time.monotonic())


class _Pace:
    """Two leaky buckets, of bytes and of frames (Turner 1986)."""

    def __init__(self, options: RelayOptions) -> None:
        self._bytes_s, self._frames_s, self._burst_s = (
            options.bytes_s, options.frames_s, options.burst_s,
        )  # fmt: skip
        self._full_s, self._at_s = 0.0, 0.0

    def rest_s(self, size: int, now_s: float) -> float:
        """How long to read nothing after a frame of so many bytes."""
        self._full_s = max(0.0, self._full_s - (now_s - self._at_s))
        self._at_s = now_s
        self._full_s += max(size / self._bytes_s, 1.0 / self._frames_s)
        return self._full_s - self._burst_s


async def _write(
    client: web.WebSocketResponse, outbox: RelayOutbox, transport: asyncio.BaseTransport | None
) -> None:
    with contextlib.suppress(ConnectionError, RuntimeError):
        while await outbox.wait():
            await room_to_write(transport)
            message = outbox.take()
            if message:
                await client.send_bytes(message)


def _reason(client: web.WebSocketResponse) -> str:
    """Why a connection ended; "" for a usual end."""
    if client.close_code in (1009, 1002, 1007):
        return f"broke the protocol ({client.close_code})"
    return ""


def _address(transport: asyncio.BaseTransport) -> str:
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else "?"
