"""People of a room on the pages of a stream: their meshes, their codes, their voices."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from apps.room import Room, RoomSetup
from apps.room_avatar import OwnAvatar
from apps.room_person import RoomPerson
from avatar.page_decoder import page_decoder
from headset.webxr.blob_store import BlobStore
from headset.webxr.presentation import Presentation
from streams.avatar_code import AvatarCode
from streams.clock import now_ns
from streams.closing import Closing
from streams.rigid import Rigid

RATE_HZ = 30.0
JOIN_S = 10.0
IDLE_S = 0.1


class StreamedRoom(Closing):
    """Shows whoever is in the room as person 1 and up; each stands in a world of their own, which
    the page seats. Call `say_code` with the own avatar's."""

    def __init__(
        self,
        setup: RoomSetup,
        own: OwnAvatar,
        presentation: Presentation,
        blobs: BlobStore,
        log: Callable[[str], None],
    ) -> None:
        self._presentation, self._blobs = presentation, blobs
        self.room = Room(setup, own, log, self._heard, self._coded)
        self._worn: dict[int, str] = {}
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="visavis room people", daemon=True)
        self._thread.start()

    def say_code(self, code: AvatarCode) -> None:
        """Raises what went wrong in one of the room's threads."""
        if self._failure is not None:
            raise self._failure
        self.room.say_code(code)

    def need_key(self, person: int) -> None:
        """A page can read a packet of theirs only that needs no earlier one."""
        for other in self.room.people():
            if other.person == person:
                other.want_key_packet()

    def close(self) -> None:
        """Leave the room. May be called twice."""
        self._stop.set()
        self._thread.join(JOIN_S)
        self.room.close()

    def _heard(self, person: int, packet: bytes, t_ns: int) -> None:
        self._presentation.hear(packet, t_ns, person)

    def _coded(self, person: int, packet: bytes, t_ns: int) -> None:
        if person in self._worn:
            self._presentation.show_code(packet, t_ns, person)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                begun = time.monotonic()
                pages = len(self._presentation.statistics())
                self._show(self.room.people(), pages)
                passed = time.monotonic() - begun
                self._stop.wait(max(0.0, 1.0 / RATE_HZ - passed) if pages else IDLE_S)
        except Exception as error:
            self._failure = error

    def _show(self, people: list[RoomPerson], pages: int) -> None:
        for number in set(self._worn) - {person.person for person in people}:
            del self._worn[number]
            self._presentation.remove(number)
        for person in people:
            avatar = person.avatar
            if avatar is None:
                continue
            if self._worn.get(person.person) != avatar.id:
                decoder = self._blobs.add(page_decoder(avatar))
                self._presentation.describe_avatar(person.person, decoder)
                self._worn[person.person] = avatar.id
            if pages:
                code = person.moment(now_ns())
                seen = None if code is None else person.decoded(code, None, Rigid.identity())
                if seen is not None:
                    self._presentation.show(seen.mesh, person.person)
