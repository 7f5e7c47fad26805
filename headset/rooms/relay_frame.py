"""Frames between a room's client and a relay: the little that a relay reads (docs/rooms.md).

Up, one frame a message: u8 kind, u32 to, payload. Down, one or more frames a message: u8 kind, u32
from, u32 length, payload. Little endian. `to` 0 is everybody else in the room. Members are known to
the relay by numbers, which it gives out anew for each connection.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

CODE, SOUND, BULK, CONTROL, GREETING = 1, 2, 3, 4, 5
"""What members send: of codes the newest few of a sender are enough; sound is in order and soon too
old; bulk is asked for again when it is lost; control goes first."""
WELCOME, JOINED, LEFT = 16, 17, 18
"""What a relay says: welcome holds the own number and those of who is there."""

EVERYBODY = 0
LARGEST = {CODE: 4096, SOUND: 4096, BULK: 20 * 1024, CONTROL: 2048, GREETING: 512}
"""Bytes of payload by kind."""
LARGEST_UP = max(LARGEST.values()) + 5
"""Bytes of one message up."""
LARGEST_MESSAGE = 256 * 1024
"""Bytes of one message down, which packs frames together."""
MOST_MEMBERS = 32
_UP, _DOWN, _NUMBER = struct.Struct("<BI"), struct.Struct("<BII"), struct.Struct("<I")


class FrameError(ValueError):
    """Bytes that are no frames; says why."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, up (`member` is whom it is for) or down (whom it is from or about)."""

    kind: int
    member: int
    payload: bytes


def pack_up(frame: Frame) -> bytes:
    """A client's message."""
    return _UP.pack(frame.kind, frame.member) + frame.payload


def unpack_up(message: bytes) -> Frame:
    """Raises FrameError for kinds that members do not send, and for sizes beyond LARGEST."""
    if len(message) < _UP.size:
        raise FrameError(f"relay: expected {_UP.size} bytes and more, got {len(message)}")
    kind, to = _UP.unpack_from(message)
    largest = LARGEST.get(kind)
    if largest is None:
        raise FrameError(f"relay: expected a kind among {sorted(LARGEST)}, got {kind}")
    if len(message) - _UP.size > largest:
        raise FrameError(
            f"relay: expected at most {largest} bytes of kind {kind}, got {len(message) - _UP.size}"
        )
    return Frame(kind, to, message[_UP.size :])


def pack_down(frame: Frame) -> bytes:
    """A part of a relay's message."""
    return _DOWN.pack(frame.kind, frame.member, len(frame.payload)) + frame.payload


def unpack_down(message: bytes) -> list[Frame]:
    """Raises FrameError."""
    frames, at = [], 0
    while at < len(message):
        if len(message) - at < _DOWN.size:
            raise FrameError(f"room: {len(message) - at} bytes too many after the last frame")
        kind, member, size = _DOWN.unpack_from(message, at)
        at += _DOWN.size
        if size > len(message) - at:
            raise FrameError(f"room: expected {size} bytes of a frame, got {len(message) - at}")
        frames.append(Frame(kind, member, message[at : at + size]))
        at += size
    return frames


def pack_members(numbers: Iterable[int]) -> bytes:
    """The payload of a welcome."""
    return b"".join(_NUMBER.pack(number) for number in numbers)


def unpack_members(payload: bytes) -> list[int]:
    """Raises FrameError."""
    if len(payload) % _NUMBER.size or len(payload) > _NUMBER.size * MOST_MEMBERS:
        raise FrameError(f"room: expected member numbers, got {len(payload)} bytes")
    return [number for (number,) in _NUMBER.iter_unpack(payload)]
