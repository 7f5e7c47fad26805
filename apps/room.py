"""A room, wired: own codes and voice out; others' in, as people who can be drawn and heard.

with Room(RoomSetup(code, relay, "Ada"), open_own_avatar("me"), print) as room:
    room.say_code(code)                 # from the pipeline's thread
    for person in room.people(): ...    # from the drawing one
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from apps.room_avatar import OwnAvatar, open_received, open_shipped
from apps.room_person import RoomPerson
from apps.usage import UsageError, one_line
from avatar.bitstream import BitstreamEncoder, BitstreamOptions
from avatar.signature import fingerprint, own_key, user_folder
from headset.rooms.avatar_transfer import AvatarCache
from headset.rooms.meeting import Came, Heard, Left, Member, with_loss
from headset.rooms.opus_sound import OpusEncoder
from headset.rooms.relay_address import RelayAddress, RelayAddressError
from headset.rooms.room_client import (
    AvatarCame,
    Connected,
    Disconnected,
    RoomClient,
    RoomEvent,
    RoomOptions,
)
from headset.rooms.room_code import RoomCode, RoomCodeError
from headset.rooms.room_message import CodePacket, KeyPacketWish, Presence, SoundPacket
from streams.audio_block import AudioBlock
from streams.avatar_code import AvatarCode
from streams.clock import now_ns
from streams.closing import Closing

CLOSE_S = 10.0
TWICE_FROM = 2
"""Of 255 lost packets of sound at any member, from where on each is sent twice: about 1 %."""
LOSS_NS = 2_000_000_000
"""How often others are told how well they are heard."""
AWAY_NS = 5_000_000_000
"""Who is cut off keeps their place for so long."""
NEW = "new"
Packets = Callable[[int, bytes, int], None]


@dataclass(frozen=True, slots=True)
class RoomSetup:
    """Which room, where, and as whom."""

    code: RoomCode
    relay: RelayAddress
    name: str
    kbit_s: float = 24.0
    """Of the own codes."""
    cache: Path | None = None
    """Folder of others' avatars; by default the user's own."""

    @staticmethod
    def parse(room: str, relay: str | None, name: str | None) -> RoomSetup:
        """From the command line; room "new" makes one. Raises UsageError."""
        if relay is None:
            raise UsageError("--room: needs --relay, the address that `visavis relay` printed")
        try:
            code = RoomCode.new() if room.strip().lower() == NEW else RoomCode.parse(room)
            return RoomSetup(code, RelayAddress.parse(relay), (name or "").strip())
        except RoomCodeError as error:
            raise UsageError(f"--room: {error} (--room new makes a room)") from error
        except RelayAddressError as error:
            raise UsageError(f"--relay: {error}") from error

    def tell(self, room: str) -> None:
        """Print the code of a room that was made for `room` "new"."""
        if room.strip().lower() == NEW:
            print(f"room {self.code}\nRead it to whom you want to meet; nobody else gets in.")


class Room(Closing):
    """In the room from `with` on. `log` gets a line when something happens, in any thread."""

    def __init__(
        self,
        setup: RoomSetup,
        own: OwnAvatar,
        log: Callable[[str], None] = lambda _line: None,
        heard: Packets = lambda _person, _packet, _t_ns: None,
        coded: Packets = lambda _person, _packet, _t_ns: None,
    ) -> None:
        """`heard` gets every Opus packet and `coded` every packet of codes as they come, in the
        network's thread: person, packet, its time by our clock."""
        self.setup, self._log = setup, log
        self._heard_sound, self._coded = heard, coded
        self._encoder = BitstreamEncoder(own.avatar, BitstreamOptions(setup.kbit_s))
        self._voice, self._twice = OpusEncoder(), False
        self._people: dict[Member, RoomPerson] = {}
        self._away: dict[RoomPerson, int] = {}
        """Who was cut off, since when."""
        self._lock = threading.Lock()
        self._opening = ThreadPoolExecutor(1, "visavis room avatars")
        self._failure: BaseException | None = None
        self._loss_ns = 0
        cache = AvatarCache(setup.cache or user_folder() / "received")
        self.client = RoomClient(
            RoomOptions(setup.code, setup.relay, own_key()), Presence(setup.name, ""), cache,
            self._hear,
        )  # fmt: skip
        self._presence = Presence(setup.name, own.avatar.id)
        if own.file is not None:
            sha256 = self.client.avatars.offer(own.file)
            self._presence = Presence(setup.name, own.avatar.id, sha256, len(own.file))
        self.client.present(self._presence)
        self._thread = threading.Thread(target=self._run, name="visavis room", daemon=True)
        self._thread.start()

    def people(self) -> list[RoomPerson]:
        """The others who are there, in the order of their numbers. Raises what went wrong in the
        network's thread."""
        if self._failure is not None:
            raise self._failure
        now = now_ns()
        with self._lock:
            gone = [person for person, since in self._away.items() if now - since > AWAY_NS]
            for person in gone:
                del self._away[person]
            found = sorted([*self._people.values(), *self._away], key=lambda p: p.person)
        for person in gone:
            self._log(f"room: {person.name} left")
            person.close()
        self._attend(found, now)
        return found

    def say_code(self, code: AvatarCode) -> None:
        """The own avatar at one moment."""
        packet = self._encoder.encode(code)
        if packet is not None:
            self.client.say_code(packet, code.t_ns)

    def say_sound(self, block: AudioBlock) -> None:
        """The own voice."""
        for packet in self._voice.encode(block, self._twice):
            self.client.say_sound(packet)

    def close(self) -> None:
        """Leave. May be called twice."""
        self.client.close()
        self._thread.join(CLOSE_S)
        self._opening.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            people = [*self._people.values(), *self._away]
            self._people, self._away = {}, {}
        for person in people:
            person.close()

    def _run(self) -> None:
        try:
            asyncio.run(self.client.run())
        except BaseException as error:
            self._failure = error

    def _attend(self, people: list[RoomPerson], now: int) -> None:
        for person in people:
            if person.wants_key_packet(now):
                self.client.wish_key_packet(person.member)
        if now - self._loss_ns > LOSS_NS:
            self._loss_ns = now
            worst = max((person.sound.recent_loss() for person in people), default=0.0)
            self._presence = with_loss(self._presence, worst)
            self.client.present(self._presence)

    def _hear(self, event: RoomEvent) -> None:
        """In the network's thread."""
        if isinstance(event, Connected):
            self._log("room: connected")
        elif isinstance(event, Disconnected):
            self._log(f"room: no relay, {event.reason}; trying again")
        elif isinstance(event, Came):
            self._came(event.member)
        elif isinstance(event, Left):
            with self._lock:
                person = self._people.pop(event.member, None)
                if person is not None:
                    self._away[person] = now_ns()
        elif isinstance(event, AvatarCame):
            self._avatar_came(event)
        else:
            self._heard(event)

    def _came(self, member: Member) -> None:
        self._encoder.request_key()
        with self._lock:
            for person in self._away:
                if person.member.identity == member.identity:
                    del self._away[person]
                    person.rejoin(member)
                    self._people[member] = person
                    return
            taken = {person.person for person in (*self._people.values(), *self._away)}
            number = next(n for n in range(1, len(taken) + 2) if n not in taken)
            self._people[member] = RoomPerson(number, member)

    def _heard(self, event: Heard) -> None:
        person, message = self._people.get(event.member), event.message
        if person is None:
            return
        if isinstance(message, CodePacket):
            t_ns = person.put_code(message, now_ns())
            if t_ns is not None:
                self._coded(person.person, message.packet, t_ns)
        elif isinstance(message, SoundPacket):
            t_ns = person.put_sound(message, now_ns())
            if t_ns is not None:
                self._heard_sound(person.person, message.packet, t_ns)
        elif isinstance(message, Presence):
            self._presented(person, message)
        elif isinstance(message, KeyPacketWish):
            self._encoder.request_key()

    def _presented(self, person: RoomPerson, presence: Presence) -> None:
        before, person.presence = person.presence, presence
        with self._lock:
            others = [p.presence for p in self._people.values() if p.presence is not None]
        self._twice = any(other.lost >= TWICE_FROM for other in others)
        if before is None:
            who = fingerprint(person.member.identity)
            self._log(f"room: {person.name} is here (key {who})")
        if before is not None and before.avatar == presence.avatar:
            return
        if presence.has_file:
            path = self.client.avatars.cache.find(presence.avatar_sha256)
            if path is not None:  # else it opens once it came
                self._opening.submit(self._open, person, presence, path)
        elif presence.avatar:
            self._opening.submit(self._open, person, presence, None)

    def _avatar_came(self, event: AvatarCame) -> None:
        with self._lock:
            people = list(self._people.values())
        for person in people:
            presence = person.presence
            if presence is None or presence.avatar_sha256 != event.sha256:
                continue
            if event.path is None:
                self._failed(person, event.reason)
            else:
                self._opening.submit(self._open, person, presence, event.path)

    def _open(self, person: RoomPerson, presence: Presence, path: Path | None) -> None:
        """In the thread that opens avatars."""
        if person.avatar is not None and person.avatar.id == presence.avatar:
            return
        try:
            if path is None:
                avatar = open_shipped(presence.avatar)
                if avatar is None:
                    self._failed(person, f"there is no avatar {presence.avatar[:60]!r} here")
                    return
            else:
                avatar = open_received(path, presence.avatar, person.member.identity)
        except Exception as error:
            # Whatever came from outside is a reason not to show somebody, never to end.
            self._failed(person, one_line(error))
            return
        person.wear(avatar)
        self._log(f"room: {person.name} is seen")

    def _failed(self, person: RoomPerson, reason: str) -> None:
        person.problem = reason
        self._log(f"room: {person.name} is not shown: {reason}")
