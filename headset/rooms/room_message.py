"""What members of a room say to one another, inside the encryption: one byte of type, then fields.

Little endian. Reading is strict: every length is checked before anything is taken, and nothing may
be left over. A type that this version does not know is an error of its own, which readers count
and leave out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from headset.rooms.relay_frame import BULK, CODE, CONTROL, SOUND

HASH_BYTES = 32
CHUNK_BYTES = 16 * 1024
LARGEST_AVATAR = 20 * 1024 * 1024
LARGEST_CODE, LARGEST_SOUND = 4000, 1900
LARGEST_NAME, LARGEST_ID = 64, 200
"""Bytes of UTF-8."""
MOST_WISHED = 32


class RoomMessageError(ValueError):
    """Bytes that are no message of a room; says why."""


@dataclass(frozen=True, slots=True)
class KeyGiven:
    """The key under which the writer speaks to all from now on. To one member."""

    TYPE: ClassVar = 1
    KIND: ClassVar = CONTROL
    _FORM: ClassVar = struct.Struct("<H32s")
    epoch: int
    key: bytes

    def pack(self) -> bytes:
        return self._FORM.pack(self.epoch, self.key)

    @classmethod
    def unpack(cls, data: bytes) -> KeyGiven:
        return cls(*_fixed(cls._FORM, data))


@dataclass(frozen=True, slots=True)
class KeyTaken:
    """The answer to `KeyGiven`."""

    TYPE: ClassVar = 2
    KIND: ClassVar = CONTROL
    _FORM: ClassVar = struct.Struct("<H")
    epoch: int

    def pack(self) -> bytes:
        return self._FORM.pack(self.epoch)

    @classmethod
    def unpack(cls, data: bytes) -> KeyTaken:
        return cls(*_fixed(cls._FORM, data))


@dataclass(frozen=True, slots=True)
class Question:
    """What time is it there? To one member."""

    TYPE: ClassVar = 3
    KIND: ClassVar = CONTROL
    _FORM: ClassVar = struct.Struct("<q")
    sent_ns: int

    def pack(self) -> bytes:
        return self._FORM.pack(self.sent_ns)

    @classmethod
    def unpack(cls, data: bytes) -> Question:
        return cls(_time(*_fixed(cls._FORM, data)))


@dataclass(frozen=True, slots=True)
class Answer:
    """The question's time, and the time when it was answered."""

    TYPE: ClassVar = 4
    KIND: ClassVar = CONTROL
    _FORM: ClassVar = struct.Struct("<qq")
    sent_ns: int
    answered_ns: int

    def pack(self) -> bytes:
        return self._FORM.pack(self.sent_ns, self.answered_ns)

    @classmethod
    def unpack(cls, data: bytes) -> Answer:
        sent, answered = _fixed(cls._FORM, data)
        return cls(_time(sent), _time(answered))


@dataclass(frozen=True, slots=True)
class Presence:
    """Who somebody is, which avatar their codes are of, and how well they hear."""

    TYPE: ClassVar = 5
    KIND: ClassVar = CONTROL
    _FORM: ClassVar = struct.Struct("<BB32sIBB")
    name: str
    avatar: str
    """Id of the avatar that codes name; "" for somebody who only watches."""
    avatar_sha256: bytes = bytes(HASH_BYTES)
    """Of the avatar's file, to be asked for by chunks; zeros for an avatar that ships."""
    avatar_bytes: int = 0
    muted: bool = False
    lost: int = 0
    """Of 255 packets of sound that were to be heard lately, how many did not come in time."""

    def __post_init__(self) -> None:
        if len(self.avatar_sha256) != HASH_BYTES:
            raise RoomMessageError(f"presence: expected a hash of {HASH_BYTES} bytes")
        if not 0 <= self.avatar_bytes <= LARGEST_AVATAR:
            raise RoomMessageError(
                f"presence: expected an avatar of at most {LARGEST_AVATAR >> 20} MiB, got "
                f"{self.avatar_bytes / 2**20:.1f}"
            )
        if not 0 <= self.lost <= 255:
            raise RoomMessageError(f"presence: expected lost from 0 to 255, got {self.lost}")
        if not self.name.isprintable() or not self.avatar.isprintable():
            raise RoomMessageError("presence: expected names that can be printed")
        _limited(self.name, LARGEST_NAME)
        _limited(self.avatar, LARGEST_ID)

    @property
    def has_file(self) -> bool:
        """Whether the avatar is one that others do not have."""
        return self.avatar_bytes > 0

    def pack(self) -> bytes:
        name, avatar = self.name.encode(), self.avatar.encode()
        head = self._FORM.pack(
            self.muted, self.lost, self.avatar_sha256, self.avatar_bytes, len(name), len(avatar)
        )
        return head + name + avatar

    @classmethod
    def unpack(cls, data: bytes) -> Presence:
        form = cls._FORM
        if len(data) < form.size:
            raise RoomMessageError(f"presence: expected {form.size} bytes and more")
        muted, lost, sha256, size, name, avatar = form.unpack_from(data)
        if len(data) != form.size + name + avatar or muted > 1:
            raise RoomMessageError(f"presence: expected other lengths than {len(data)} bytes have")
        try:
            texts = data[form.size :][:name].decode(), data[form.size + name :].decode()
        except UnicodeDecodeError:
            raise RoomMessageError("presence: expected names in UTF-8") from None
        return cls(texts[0], texts[1], sha256, size, bool(muted), lost)


@dataclass(frozen=True, slots=True)
class CodePacket:
    """A packet of the avatar's bitstream (docs/bitstream.md). To all."""

    TYPE: ClassVar = 6
    KIND: ClassVar = CODE
    _FORM: ClassVar = struct.Struct("<q")
    t_ns: int
    """Of the observation, by the writer's clock."""
    packet: bytes

    def pack(self) -> bytes:
        return self._FORM.pack(self.t_ns) + self.packet

    @classmethod
    def unpack(cls, data: bytes) -> CodePacket:
        if not cls._FORM.size < len(data) <= cls._FORM.size + LARGEST_CODE:
            raise RoomMessageError(f"code: expected up to {LARGEST_CODE} bytes, got {len(data)}")
        return cls(_time(*cls._FORM.unpack_from(data)), data[cls._FORM.size :])


@dataclass(frozen=True, slots=True)
class SoundPacket:
    """20 ms of sound as an Opus packet (RFC 6716). To all."""

    TYPE: ClassVar = 7
    KIND: ClassVar = SOUND
    _FORM: ClassVar = struct.Struct("<qIH")
    t_ns: int
    """Of the first sample that comes out of a decoder, by the writer's clock."""
    number: int
    """Counts packets from 0."""
    packet: bytes
    before: bytes = b""
    """The packet before once more (RFC 2198's idea), where somebody loses packets."""

    def pack(self) -> bytes:
        return self._FORM.pack(self.t_ns, self.number, len(self.packet)) + self.packet + self.before

    @classmethod
    def unpack(cls, data: bytes) -> SoundPacket:
        form = cls._FORM
        if not form.size < len(data) <= form.size + 2 * LARGEST_SOUND:
            raise RoomMessageError(f"sound: expected another length than {len(data)} bytes")
        t_ns, number, size = form.unpack_from(data)
        if not 0 < size <= len(data) - form.size:
            raise RoomMessageError(f"sound: expected a packet of {size} bytes")
        return cls(_time(t_ns), number, data[form.size :][:size], data[form.size + size :])


@dataclass(frozen=True, slots=True)
class ChunkWish:
    """Please send these pieces of your avatar's file. To one member."""

    TYPE: ClassVar = 8
    KIND: ClassVar = CONTROL
    _FORM: ClassVar = struct.Struct("<32sHB")
    sha256: bytes
    first: int
    count: int

    def pack(self) -> bytes:
        return self._FORM.pack(self.sha256, self.first, self.count)

    @classmethod
    def unpack(cls, data: bytes) -> ChunkWish:
        sha256, first, count = _fixed(cls._FORM, data)
        if not 1 <= count <= MOST_WISHED:
            raise RoomMessageError(f"wish: expected 1 to {MOST_WISHED} chunks, got {count}")
        return cls(sha256, first, count)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of an avatar's file. To one member."""

    TYPE: ClassVar = 9
    KIND: ClassVar = BULK
    _FORM: ClassVar = struct.Struct("<32sH")
    sha256: bytes
    index: int
    data: bytes
    """CHUNK_BYTES, the last one what is left."""

    def pack(self) -> bytes:
        return self._FORM.pack(self.sha256, self.index) + self.data

    @classmethod
    def unpack(cls, data: bytes) -> Chunk:
        form = cls._FORM
        if not form.size < len(data) <= form.size + CHUNK_BYTES:
            raise RoomMessageError(f"chunk: expected up to {CHUNK_BYTES} bytes, got {len(data)}")
        sha256, index = form.unpack_from(data)
        return cls(sha256, index, data[form.size :])


@dataclass(frozen=True, slots=True)
class KeyPacketWish:
    """Please make the next code packet one that needs no earlier one. To one member."""

    TYPE: ClassVar = 10
    KIND: ClassVar = CONTROL

    def pack(self) -> bytes:
        return b""

    @classmethod
    def unpack(cls, data: bytes) -> KeyPacketWish:
        if data:
            raise RoomMessageError(f"wish: expected nothing more, got {len(data)} bytes")
        return cls()


RoomMessage = (
    KeyGiven
    | KeyTaken
    | Question
    | Answer
    | Presence
    | CodePacket
    | SoundPacket
    | ChunkWish
    | Chunk
    | KeyPacketWish
)
_KNOWN: tuple[type[RoomMessage], ...] = (
    *(KeyGiven, KeyTaken, Question, Answer, Presence),
    *(CodePacket, SoundPacket, ChunkWish, Chunk, KeyPacketWish),
)
_READERS: dict[int, tuple[int, Callable[[bytes], RoomMessage]]] = {
    known.TYPE: (known.KIND, known.unpack) for known in _KNOWN
}


def pack_message(message: RoomMessage) -> bytes:
    """To be sealed as `message.KIND`."""
    return bytes([message.TYPE]) + message.pack()


def unpack_message(kind: int, data: bytes) -> RoomMessage:
    """What was opened of a frame of that kind. Raises RoomMessageError."""
    if not data:
        raise RoomMessageError("message: expected a type, got nothing")
    known = _READERS.get(data[0])
    if known is None:
        raise RoomMessageError(f"message: type {data[0]} is not known to this version")
    if known[0] != kind:
        raise RoomMessageError(f"message: type {data[0]} came as kind {kind}")
    return known[1](data[1:])


def _fixed(form: struct.Struct, data: bytes) -> tuple:
    if len(data) != form.size:
        raise RoomMessageError(f"message: expected {form.size} bytes, got {len(data)}")
    return form.unpack(data)


def _time(t_ns: int) -> int:
    if t_ns < 0:
        raise RoomMessageError(f"message: expected a time from 0, got {t_ns}")
    return t_ns


def _limited(text: str, largest: int) -> None:
    if len(text.encode()) > largest:
        raise RoomMessageError(f"presence: expected at most {largest} bytes of text")
