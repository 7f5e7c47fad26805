"""What a relay, a stranger and another member can do to a room: nothing that goes unnoticed."""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from typing import TypeVar

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from headset.rooms.meeting import Came, Event, Heard, Left, Meeting
from headset.rooms.relay_frame import (
    CODE,
    CONTROL,
    EVERYBODY,
    GREETING,
    JOINED,
    LEFT,
    SOUND,
    WELCOME,
    Frame,
    FrameError,
    pack_members,
    unpack_down,
    unpack_up,
)
from headset.rooms.replay_window import WINDOW, ReplayWindow
from headset.rooms.room_code import CONSONANTS, SECRET_BYTES, RoomCode, RoomCodeError
from headset.rooms.room_keys import RoomKeyError, Session, room_id
from headset.rooms.room_message import (
    Answer,
    Chunk,
    ChunkWish,
    CodePacket,
    KeyGiven,
    KeyPacketWish,
    KeyTaken,
    Presence,
    Question,
    RoomMessage,
    RoomMessageError,
    SoundPacket,
    pack_message,
    unpack_message,
)
from headset.rooms.trunk_frame import unpack_trunk

T = TypeVar("T")
MS = 1_000_000


class Wire:
    """A relay that does what a test wants with frames between meetings."""

    def __init__(self, *meetings: Meeting) -> None:
        self.meetings = dict(enumerate(meetings, 1))
        self.now_ns = 0
        self.frames: list[tuple[int, Frame]] = []
        """Everything that went through, with whom it went to."""
        self.events: dict[int, list[Event]] = {number: [] for number in self.meetings}
        there: list[int] = []
        for number in self.meetings:
            self.give(number, Frame(WELCOME, number, pack_members(there)))
            for other in there:
                self.give(other, Frame(JOINED, number, b""))
            there.append(number)
        self.run()

    def give(self, number: int, frame: Frame) -> list[Event]:
        """To one meeting."""
        events = self.meetings[number].receive(frame, self.now_ns)
        self.events[number] += events
        return events

    def sent(self) -> list[tuple[int, Frame]]:
        """What all have to say now, not delivered yet."""
        out = []
        for number, meeting in self.meetings.items():
            while (frame := meeting.take()) is not None:
                given = Frame(frame.kind, number, frame.payload)
                for other in self.meetings:
                    if frame.member in (EVERYBODY, other) and other != number:
                        out.append((other, given))
        return out

    def run(self, rounds: int = 40) -> None:
        """Deliver faithfully, 50 ms a round."""
        for _ in range(rounds):
            for to, frame in self.sent():
                self.frames.append((to, frame))
                self.give(to, frame)
            self.now_ns += 50 * MS
            for meeting in self.meetings.values():
                meeting.tick(self.now_ns)


def meeting(code: RoomCode, name: str = "x") -> Meeting:
    return Meeting(code, Ed25519PrivateKey.generate(), Presence(name, "avatars/x"))


def said(wire: Wire, number: int, kind: type[T]) -> list[T]:
    return [
        e.message
        for e in wire.events[number]
        if isinstance(e, Heard) and isinstance(e.message, kind)
    ]


def test_room_codes_are_read_out_and_typed_in() -> None:
    code = RoomCode.new()
    text = str(code)
    assert len(text.split("-")) == 9
    assert RoomCode.parse(text) == code
    assert RoomCode.parse(f"  {text.upper().replace('-', ' ')}\n") == code
    assert text not in repr(code)
    assert code.secret.hex() not in repr(code)
    assert str(RoomCode(bytes(SECRET_BYTES))).startswith("babab-babab")
    for wrong in (
        "",
        "babab",
        text[:-1],
        text + "-babab",
        text.replace("a", "e").replace("i", "y"),
    ):
        with pytest.raises(RoomCodeError):
            RoomCode.parse(wrong)


def test_one_misheard_letter_is_noticed() -> None:
    rng, noticed = np.random.default_rng(0), 0
    for _ in range(300):
        letters = list(str(RoomCode(rng.bytes(SECRET_BYTES))))
        at = 6 * int(rng.integers(9)) + 2 * int(rng.integers(3))
        letters[at] = str(rng.choice([c for c in CONSONANTS if c != letters[at]]))
        try:
            RoomCode.parse("".join(letters))
        except RoomCodeError:
            noticed += 1
    assert noticed >= 299  # one of 65536 would pass


def test_members_find_each_other_and_understand() -> None:
    """Three of them: keys, presence, clocks; nothing is refused when nobody cheats."""
    code = RoomCode.new()
    wire = Wire(*(meeting(code, name) for name in "abc"))
    for number, one in wire.meetings.items():
        assert len([e for e in wire.events[number] if isinstance(e, Came)]) == 2
        assert sorted(m.presence.name for m in one.members if m.presence) == sorted(
            "abc".replace("abc"[number - 1], "")
        )
        assert all(m.clock.synchronised for m in one.members)
    wire.meetings[1].say(CodePacket(5, b"secret face"))
    wire.meetings[1].say(SoundPacket(6, 0, b"secret voice"))
    wire.run()
    for number in (2, 3):
        assert said(wire, number, CodePacket) == [CodePacket(5, b"secret face")]
        assert said(wire, number, SoundPacket) == [SoundPacket(6, 0, b"secret voice")]
        assert wire.meetings[number].refused["forged"] == 0
        assert wire.meetings[number].refused["replayed"] == 0
    # What a relay saw: no plain text, and every sealed message another one.
    everything = b"".join(frame.payload for _, frame in wire.frames)
    for secret in (b"secret", b"avatars/x", code.secret, str(code).encode()):
        assert secret not in everything
    sealed = {(frame.member, to, frame.payload) for to, frame in wire.frames if frame.member}
    assert len({payload for _, _, payload in sealed if payload}) >= len(sealed) / 3


def test_no_key_and_nonce_come_twice() -> None:
    """Under hard conditions too: greetings sent again, members called gone and back."""
    used: dict[tuple[int, bytes], bytes] = {}
    code = RoomCode.new()
    wire = Wire(meeting(code), meeting(code))
    greetings = [(to, frame) for to, frame in wire.frames if frame.kind == GREETING]
    for _ in range(5):
        for number in (1, 2):
            wire.give(number, Frame(LEFT, 3 - number, b""))
            wire.give(number, Frame(JOINED, 3 - number, b""))
        for to, frame in greetings:
            wire.give(to, frame)
        wire.meetings[1].say(CodePacket(1, b"x"))
        wire.meetings[2].say(CodePacket(2, b"y"))
        wire.run(30)
    count = 0
    for to, frame in wire.frames:
        if frame.kind == GREETING:
            continue
        # Private messages: one key for each pair and direction; others: one for each epoch.
        private = frame.payload[2:4] == b"\0\0"
        name = (frame.member * 100 + (to if private else 0), frame.payload[1:8])
        assert used.setdefault(name, frame.payload) == frame.payload
        count += 1
    assert count > 100
    assert wire.meetings[1].members
    assert wire.meetings[2].members


def test_who_has_another_code_learns_and_does_nothing() -> None:
    """Even when the relay puts both in one room."""
    wire = Wire(meeting(RoomCode.new()), meeting(RoomCode.new()))
    wire.meetings[1].say(CodePacket(1, b"face"))
    wire.run()
    for number, one in wire.meetings.items():
        assert not one.members
        assert not wire.events[number]
        assert one.refused["forged"] > 0
    assert room_id(RoomCode.new()) != room_id(RoomCode.new())


@pytest.mark.parametrize("kind", [GREETING, CONTROL, CODE, SOUND])
def test_every_changed_bit_is_noticed(kind: int) -> None:
    """A bit of each byte of a message, and its end."""
    code = RoomCode.new()
    wire = Wire(meeting(code), meeting(code))
    if kind == GREETING:
        frame = next(f for to, f in wire.frames if f.kind == GREETING and to == 2)
        session = Session(code, Ed25519PrivateKey.generate())
        assert session.open_greeting(frame.payload)
        for at in range(len(frame.payload)):
            changed = bytearray(frame.payload)
            changed[at] ^= 1 << at % 8
            with pytest.raises(RoomKeyError):
                session.open_greeting(bytes(changed))
        return
    one, other = wire.meetings[1], wire.meetings[2]
    if kind == CONTROL:
        one.say(KeyPacketWish(), one.members[0])
    else:
        one.say(CodePacket(1, b"abc") if kind == CODE else SoundPacket(1, 0, b"abc"))
    ((_, frame),) = [item for item in wire.sent() if item[1].kind == kind]
    for at in range(len(frame.payload) + 1):
        changed = bytearray(frame.payload)
        if at < len(changed):
            changed[at] ^= 1 << at % 8
        else:
            del changed[-1]
        refused = other.refused.total()
        assert not wire.give(2, dataclasses.replace(frame, payload=bytes(changed)))
        assert other.refused.total() == refused + 1
    assert not wire.give(2, dataclasses.replace(frame, kind=SOUND if kind != SOUND else CODE))
    assert len(wire.give(2, frame)) == 1  # none of this used the number up


def test_replays_are_refused_and_late_ones_taken_once() -> None:
    code = RoomCode.new()
    wire = Wire(meeting(code), meeting(code))
    sent: deque[Frame] = deque()
    for number in range(40):
        wire.meetings[1].say(CodePacket(number, b"x"))
        sent += [frame for _, frame in wire.sent() if frame.kind == CODE]
    assert len(sent) == 40
    order = np.random.default_rng(2).permutation(40)
    for index in order:
        assert len(wire.give(2, sent[int(index)])) == 1
    assert sorted(m.t_ns for m in said(wire, 2, CodePacket)) == list(range(40))
    for frame in sent:
        assert not wire.give(2, frame)
    assert wire.meetings[2].refused["replayed"] == 40


def test_a_message_does_not_pass_for_another_members() -> None:
    code = RoomCode.new()
    wire = Wire(*(meeting(code) for _ in range(3)))
    wire.meetings[1].say(CodePacket(7, b"x"))
    frames = [(to, frame) for to, frame in wire.sent() if frame.kind == CODE and to == 3]
    assert not wire.give(3, dataclasses.replace(frames[0][1], member=2))
    assert wire.meetings[3].refused["forged"] + wire.meetings[3].refused["early"] == 1
    wire.meetings[1].say(KeyPacketWish(), wire.meetings[1].members[0])
    ((to, frame),) = [item for item in wire.sent() if item[1].kind == CONTROL]
    other = 5 - to  # 2 -> 3, 3 -> 2: not for this one
    assert not wire.give(other, frame)


def test_who_left_cannot_read_on_and_who_comes_not_before() -> None:
    code = RoomCode.new()
    a, b, c = (meeting(code) for _ in range(3))
    wire = Wire(a, b)
    a.say(CodePacket(1, b"before"))
    before = [frame for _, frame in wire.sent() if frame.kind == CODE]
    wire.meetings[3], wire.events[3] = c, []
    wire.give(3, Frame(WELCOME, 3, pack_members([1, 2])))
    for number in (1, 2):
        wire.give(number, Frame(JOINED, 3, b""))
    wire.run()
    assert len(c.members) == 2
    assert not wire.give(3, before[0])
    gone = wire.meetings.pop(2)
    for number in (1, 3):
        assert any(isinstance(event, Left) for event in wire.give(number, Frame(LEFT, 2, b"")))
    wire.run()
    a.say(CodePacket(2, b"after"))
    frames = [frame for _, frame in wire.sent() if frame.kind == CODE]
    assert not gone.receive(frames[0], wire.now_ns)
    assert len(wire.give(3, frames[0])) == 1


def test_an_old_recording_of_a_room_brings_nobody_back() -> None:
    """Greetings and all else of an earlier session, played to a member of today's."""
    code = RoomCode.new()
    wire = Wire(meeting(code), meeting(code))
    today = meeting(code)
    today.receive(Frame(WELCOME, 1, pack_members([2])), 0)
    for to, frame in wire.frames:
        if to == 1:
            assert not today.receive(frame, 0)
    assert not today.members


def test_members_that_a_relay_makes_up_cost_little() -> None:
    code = RoomCode.new()
    wire = Wire(meeting(code), meeting(code))
    for number in range(3, 5000):
        wire.give(1, Frame(JOINED, number, b""))
    wire.now_ns += 1000 * MS
    wire.meetings[1].tick(wire.now_ns)
    frames = 0
    while wire.meetings[1].take() is not None:
        frames += 1
    assert frames < 200
    assert wire.meetings[1].members


def test_lost_greetings_and_keys_are_sent_again() -> None:
    """Half of everything is lost at random; the room still comes about."""
    code, rng = RoomCode.new(), np.random.default_rng(5)
    wire = Wire()
    wire.meetings = {n: meeting(code) for n in (1, 2)}
    wire.events = {1: [], 2: []}
    wire.give(2, Frame(WELCOME, 2, pack_members([1])))
    wire.give(1, Frame(JOINED, 2, b""))
    for _ in range(400):
        for to, frame in wire.sent():
            if rng.random() < 0.5:
                wire.give(to, frame)
        wire.now_ns += 50 * MS
        for one in wire.meetings.values():
            one.tick(wire.now_ns)
    wire.run()
    for number in (1, 2):
        (member,) = wire.meetings[number].members
        assert member.presence is not None
        wire.meetings[number].say(CodePacket(1, b"x"))
    wire.run()
    assert said(wire, 1, CodePacket)
    assert said(wire, 2, CodePacket)


EXAMPLES: list[RoomMessage] = [
    KeyGiven(3, bytes(range(32))),
    KeyTaken(65535),
    Question(2**62),
    Answer(1, 2),
    Presence("Ada", "avatars/ada/1234", bytes(range(32)), 5_000_000, True, 17),
    Presence("", ""),
    CodePacket(9, b"p"),
    SoundPacket(9, 2**32 - 1, b"abc", b"de"),
    ChunkWish(bytes(32), 65535, 32),
    Chunk(bytes(32), 0, bytes(16384)),
    KeyPacketWish(),
]


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m).__name__)
def test_messages_are_read_as_they_were_written(message: RoomMessage) -> None:
    data = pack_message(message)
    assert unpack_message(message.KIND, data) == message
    for kind in {CODE, SOUND, CONTROL} - {message.KIND}:
        with pytest.raises(RoomMessageError):
            unpack_message(kind, data)
    for cut in range(min(len(data), 60)):
        try:
            assert unpack_message(message.KIND, data[:cut]) != message
        except RoomMessageError:
            pass


@settings(max_examples=400)
@given(st.integers(0, 6), st.binary(max_size=200))
def test_no_bytes_make_a_reader_fail_otherwise(kind: int, data: bytes) -> None:
    for type_ in range(13):
        try:
            unpack_message(kind, bytes([type_]) + data)
        except RoomMessageError:
            pass
    for read in (unpack_up, unpack_down, unpack_trunk):
        try:
            read(data)
        except FrameError:
            pass
    try:
        RoomCode.parse(data.decode("latin-1"))
    except RoomCodeError:
        pass


def test_a_window_takes_each_number_once() -> None:
    """As its specification: a set of what came, and nothing that is WINDOW behind the newest."""
    rng = np.random.default_rng(4)
    window, seen, newest = ReplayWindow(), set(), -1
    for _ in range(5000):
        number = max(0, newest + int(rng.integers(-1500, 60)))
        wanted = number not in seen and number > newest - WINDOW
        assert window.is_new(number) == wanted
        if wanted:
            window.take(number)
            seen.add(number)
            newest = max(newest, number)
    with pytest.raises(ValueError, match="came before"):
        window.take(newest)


def test_frames_are_checked_by_kind() -> None:
    for kind, size in itertools.product(range(8), (0, 600, 5000, 30000)):
        message = bytes([kind, 0, 0, 0, 0]) + bytes(size)
        limits = {1: 4096, 2: 4096, 3: 20480, 4: 2048, 5: 512}
        if size <= limits.get(kind, -1):
            assert unpack_up(message) == Frame(kind, 0, bytes(size))
        else:
            with pytest.raises(FrameError):
                unpack_up(message)
