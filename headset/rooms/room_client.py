"""A member of a room, over the network: joins, says and hears, and comes back by itself.

client = RoomClient(RoomOptions(code, "wss://relay.example:8444", identity), presence, cache, hear)
await client.run()                       # until `close`, which any thread may call

`hear` gets every `RoomEvent` in the network's thread and must not wait. `say_code`, `say_sound` and
`present` may be called from any thread; nothing that they are given ever queues (`Meeting.take`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from headset.rooms.avatar_transfer import AvatarCache, AvatarTransfer
from headset.rooms.meeting import Came, Event, Heard, Left, Meeting, Member
from headset.rooms.relay_address import PATH, RelayAddress
from headset.rooms.relay_frame import LARGEST_MESSAGE, FrameError, pack_up, unpack_down
from headset.rooms.room_code import RoomCode
from headset.rooms.room_keys import room_id
from headset.rooms.room_message import (
    Chunk,
    ChunkWish,
    CodePacket,
    KeyPacketWish,
    Presence,
    RoomMessage,
    SoundPacket,
)
from headset.rooms.send_buffers import keep_small, room_to_write
from streams.clock import now_ns

TICK_S = 0.05
CONNECT_S = 5.0
HEARTBEAT_S = 3.0
"""A relay that says nothing is asked then, and given up 1.5 s later. Less would take a busy machine
for a lost network."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.0
"""Between attempts to connect: back within a second of the relay."""


@dataclass(frozen=True, slots=True)
class RoomOptions:
    """Which room, where, and as whom."""

    code: RoomCode
    relay: RelayAddress
    identity: Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Connected:
    """The relay was reached (again)."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The relay is away; it is looked for until `close`."""

    reason: str


@dataclass(frozen=True, slots=True)
class AvatarCame:
    """The file of somebody's avatar is here, unopened; or not to be had (`path` None)."""

    sha256: bytes
    path: Path | None
    reason: str = ""


RoomEvent = Connected | Disconnected | AvatarCame | Came | Left | Heard


class RoomClient:
    """One member's connection. `run` in one loop; `meeting` belongs to that loop."""

    def __init__(
        self,
        options: RoomOptions,
        presence: Presence,
        cache: AvatarCache,
        hear: Callable[[RoomEvent], None],
    ) -> None:
        self.options, self._presence, self._hear = options, presence, hear
        self.avatars = AvatarTransfer(
            cache, lambda sha256, path, reason: hear(AvatarCame(sha256, path, reason))
        )
        self.meeting: Meeting | None = None
        self.sent_bytes = self.came_bytes = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = asyncio.Event()
        self._wake = asyncio.Event()
        self._closed = False

    async def run(self) -> None:
        """Stay in the room until `close`. Ends quietly; a relay that is away is no error here."""
        self._loop = asyncio.get_running_loop()
        if self._closed:
            return
        pause_s, said = FIRST_PAUSE_S, ""
        async with aiohttp.ClientSession() as http:
            while not self._closing.is_set():
                reason, was_there = await self._connection(http)
                if self._closing.is_set():
                    break
                if was_there or reason != said:
                    self._hear(Disconnected(reason))
                said = reason
                pause_s = FIRST_PAUSE_S if was_there else min(2 * pause_s, LONGEST_PAUSE_S)
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), pause_s)

    def close(self) -> None:
        """Leave. From any thread; may be called twice."""
        self._closed = True
        self._in_loop(self._closing.set)

    def say_code(self, packet: bytes, t_ns: int) -> None:
        """One moment of the own avatar (docs/bitstream.md)."""
        self._in_loop(lambda: self._say(CodePacket(t_ns, packet)))

    def say_sound(self, packet: SoundPacket) -> None:
        """20 ms of the own voice."""
        self._in_loop(lambda: self._say(packet))

    def wish_key_packet(self, member: Member) -> None:
        """Ask somebody whose codes cannot be read for a packet that needs no earlier one."""
        self._in_loop(lambda: self._say(KeyPacketWish(), member))

    def present(self, presence: Presence) -> None:
        """What others are to know of us."""

        self._presence = presence

        def change() -> None:
            if self.meeting is not None:
                self.meeting.present(presence)

        self._in_loop(change)

    def _in_loop(self, do: Callable[[], None]) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: there is nobody to tell
                loop.call_soon_threadsafe(do)

    def _say(self, message: RoomMessage, to: Member | None = None) -> None:
        if self.meeting is not None:
            self.meeting.say(message, to)
            self._wake.set()

    async def _connection(self, http: aiohttp.ClientSession) -> tuple[str, bool]:
        """One connection to its end: why it ended, and whether the relay was there at all."""
        options = self.options
        url = f"{options.relay.url}{PATH}{room_id(options.code)}"
        try:
            connected = await asyncio.wait_for(
                http.ws_connect(
                    url, ssl=options.relay.ssl, heartbeat=HEARTBEAT_S, compress=0,
                    max_msg_size=LARGEST_MESSAGE + 64 * 1024,
                ),
                CONNECT_S,
            )  # fmt: skip
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            return _reason(error), False
        self.meeting = Meeting(options.code, options.identity, self._presence)
        async with connected as relay:
            keep_small(relay.get_extra_info("socket"))
            self._hear(Connected())
            tasks = [
                asyncio.create_task(self._read(relay)),
                asyncio.create_task(self._write(relay)),
                asyncio.create_task(self._tick()),
                asyncio.create_task(self._closing.wait()),
            ]
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            reason = "connection lost"
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                # A mistake of ours (or of `hear`) is not to be taken for a bad network.
                if isinstance(outcome, Exception) and not isinstance(
                    outcome, aiohttp.ClientError | OSError | FrameError
                ):
                    self._gone()
                    raise outcome
            if tasks[0] in ended and relay.close_code not in (None, 1000, 1006):
                reason = f"the relay closed the connection ({relay.close_code})"
        self._gone()
        return reason, True

    def _gone(self) -> None:
        meeting, self.meeting = self.meeting, None
        self.avatars.everybody_left()
        for member in [] if meeting is None else meeting.members:
            self._hear(Left(member))

    async def _read(self, relay: aiohttp.ClientWebSocketResponse) -> None:
        async for message in relay:
            if message.type is not aiohttp.WSMsgType.BINARY or self.meeting is None:
                return
            now = now_ns()
            self.came_bytes += len(message.data)
            for frame in unpack_down(message.data):
                for event in self.meeting.receive(frame, now):
                    self._happened(event, now)
            self._wake.set()

    def _happened(self, event: Event, now: int) -> None:
        if isinstance(event, Heard):
            message, member = event.message, event.member
            if isinstance(message, ChunkWish):
                for chunk in self.avatars.answer(message):
                    self._say(chunk, member)
                return
            if isinstance(message, Chunk):
                self.avatars.take(member.number, message, now)
                self._wish(now)
                return
            self._hear(event)
            if isinstance(message, Presence) and message.has_file:
                self.avatars.want(message.avatar_sha256, message.avatar_bytes, member.number)
        else:
            if isinstance(event, Left):
                self.avatars.left(event.member.number)
            self._hear(event)

    async def _tick(self) -> None:
        while self.meeting is not None:
            now = now_ns()
            self.meeting.tick(now)
            self._wish(now)
            self._wake.set()
            await asyncio.sleep(TICK_S)

    def _wish(self, now: int) -> None:
        if self.meeting is None:
            return
        for number, wish in self.avatars.wishes(now):
            for member in self.meeting.members:
                if member.number == number:
                    self._say(wish, member)

    async def _write(self, relay: aiohttp.ClientWebSocketResponse) -> None:
        transport = _transport(relay)
        while self.meeting is not None:
            await room_to_write(transport)
            frame = self.meeting.take()
            if frame is None:
                await self._wake.wait()
                self._wake.clear()
                continue
            message = pack_up(frame)
            self.sent_bytes += len(message)
            await relay.send_bytes(message)


def _transport(relay: aiohttp.ClientWebSocketResponse) -> asyncio.Transport | None:
    connection = relay._response.connection
    return None if connection is None else connection.transport


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.WSServerHandshakeError):
        known = {
            403: "it refuses", 404: "there is no relay", 429: "too many come from here",
            503: "it is full",
        }  # fmt: skip
        return known.get(error.status, f"it answers {error.status}")
    if isinstance(error, aiohttp.ServerFingerprintMismatch):
        return "its certificate is another one than the address says: do not trust it"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "its certificate is not known here; give the address with #sha256=..."
    if isinstance(error, asyncio.TimeoutError):
        return "it does not answer"
    return f"it cannot be reached ({error})"
