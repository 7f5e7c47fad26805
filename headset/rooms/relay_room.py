"""One room of a relay: who is in it, here and at other relays, and who gets a frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from headset.rooms.relay_frame import (
    EVERYBODY,
    JOINED,
    LEFT,
    MOST_MEMBERS,
    WELCOME,
    Frame,
    pack_down,
    pack_members,
    unpack_members,
)
from headset.rooms.relay_outbox import RelayOutbox
from headset.rooms.trunk_frame import MEMBERS, TrunkFrame, pack_trunk

TRUNK_SILENCE_S = 6.0
"""After which another relay's members are gone: three lists of its did not come."""


class RoomFullError(ConnectionError):
    """There is no place for one more."""


@dataclass(slots=True)
class _OtherRelay:
    members: set[int] = field(default_factory=set)
    heard_s: float = 0.0


class RelayRoom:
    """All calls come from the relay's loop. `publish` hands a message to the other relays."""

    def __init__(self, relay: bytes, publish: Callable[[bytes], None] | None = None) -> None:
        self._relay, self._publish = relay, publish
        self._outboxes: dict[int, RelayOutbox] = {}
        self._others: dict[bytes, _OtherRelay] = {}

    def __len__(self) -> int:
        """Members at this relay."""
        return len(self._outboxes)

    def numbers(self) -> list[int]:
        """Of all members, at all relays."""
        away = [number for other in self._others.values() for number in other.members]
        return [*self._outboxes, *away]

    def join(self, number: int, outbox: RelayOutbox) -> None:
        """Welcome one more, and tell the others. Raises RoomFullError."""
        there = self.numbers()
        if len(there) >= MOST_MEMBERS:
            raise RoomFullError(f"the room is full: {MOST_MEMBERS} people are in it")
        outbox.put(Frame(WELCOME, number, pack_members(there)))
        self._tell(Frame(JOINED, number, b""))
        self._outboxes[number] = outbox
        self.list_members()

    def leave(self, number: int) -> None:
        """Tell the others."""
        if self._outboxes.pop(number, None) is not None:
            self._gone(number)
            self.list_members()

    def forward(self, frame: Frame, sender: int) -> None:
        """A member's frame to whom it is for."""
        sent = Frame(frame.kind, sender, frame.payload)
        self._deliver(sent, frame.member)
        if self._publish is not None and (
            frame.member == EVERYBODY or frame.member not in self._outboxes
        ):
            self._publish(pack_trunk(TrunkFrame(self._relay, sent, frame.member)))

    def list_members(self) -> None:
        """Tell other relays who is here."""
        if self._publish is not None:
            listed = Frame(MEMBERS, 0, pack_members(self._outboxes))
            self._publish(pack_trunk(TrunkFrame(self._relay, listed)))

    def heard(self, message: TrunkFrame, now_s: float) -> None:
        """Another relay's frame. What its sender has no member for goes nowhere."""
        if message.relay == self._relay:
            return
        other = self._others.get(message.relay)
        if message.frame.kind == MEMBERS:
            if other is None:
                other = self._others[message.relay] = _OtherRelay()
                self.list_members()
            other.heard_s = now_s
            self._listed(other, set(unpack_members(message.frame.payload)))
        elif other is not None and message.frame.member in other.members:
            self._deliver(message.frame, message.to)

    def expire(self, now_s: float) -> None:
        """Let go of relays that went silent."""
        for relay, other in list(self._others.items()):
            if now_s - other.heard_s > TRUNK_SILENCE_S:
                del self._others[relay]
                for number in other.members:
                    self._gone(number)

    def _listed(self, other: _OtherRelay, now: set[int]) -> None:
        now -= self._outboxes.keys()
        before, other.members = other.members, now
        for number in before - now:
            self._gone(number)
        for number in now - before:
            self._tell(Frame(JOINED, number, b""))

    def _gone(self, number: int) -> None:
        for outbox in self._outboxes.values():
            outbox.forget(number)
        self._tell(Frame(LEFT, number, b""))

    def _deliver(self, frame: Frame, to: int) -> None:
        packed = pack_down(frame)
        if to == EVERYBODY:
            for number, outbox in self._outboxes.items():
                if number != frame.member:
                    outbox.put_packed(frame.kind, frame.member, packed)
        elif to in self._outboxes and to != frame.member:
            self._outboxes[to].put_packed(frame.kind, frame.member, packed)

    def _tell(self, frame: Frame) -> None:
        for outbox in self._outboxes.values():
            outbox.put(frame)
