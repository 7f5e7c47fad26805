"""The binary messages between the server and a headset's page (docs/wire_format.md).

A message is a header of 24 bytes and sections; what a section of which kind holds is said by the
module that packs it. Reading is strict: every length is checked against what came before anything
is allocated, and whatever does not fit raises `MessageError`, never anything else.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

VERSION = 1
HEADER = struct.Struct("<BBHIqHHI")
SECTION_HEADER = struct.Struct("<BBHI")
CODE_HEADER = struct.Struct("<BBHI")
"""Of a message that is nothing but a code: kind, flags, person, frame id; then the packet."""
MOST_SECTIONS = 64
MOST_UP_BYTES = 16_384
"""Of a message from a page."""
MOST_DOWN_BYTES = 16_777_216
"""Of a message to a page."""
KEY = 1
"""Header flag: a page that knows nothing of what was sent before can read on from here."""


class MessageError(ValueError):
    """Bytes that are no message of this version."""


class MessageKind(IntEnum):
    """What a message is; below 64 to a page, from 128 on from it, in between both ways."""

    WELCOME = 1
    SCENE = 2
    AVATAR = 3
    PANEL = 4
    PANEL_GONE = 5
    AUDIO = 6
    VIDEO = 7
    LANE = 8
    CODE = 9
    ECHO = 64
    PROMPT = 65
    HELLO = 128
    DISPLAYED = 129
    SAMPLE = 130
    NEED_KEY = 131
    PANEL_MOVED = 132
    WISH = 133
    STATISTICS = 134
    PANEL_CHOSEN = 135
    PANEL_DISMISSED = 136
    PINCHED = 137
    SPEECH = 138


class SectionKind(IntEnum):
    """What a section holds."""

    MESH_KEY = 1
    MESH_DELTA = 2
    H264 = 3
    CODE = 4
    NODES = 5
    OPUS = 6
    VIEW = 7
    WELCOME = 16
    SCENE = 17
    PANEL = 18
    TEXT = 19
    LABEL = 20
    PNG = 21
    WEBP = 22
    ECHO = 32
    HELLO = 33
    DISPLAYED = 34
    HEAD = 35
    LEFT_HAND = 36
    RIGHT_HAND = 37
    NEED_KEY = 38
    PLACE = 39
    WISH = 40
    STATISTICS = 41
    LANE = 42
    WORDS = 43
    PCM = 44


K, S = MessageKind, SectionKind
SECTIONS_OF: dict[MessageKind, frozenset[SectionKind]] = {
    K.WELCOME: frozenset({S.WELCOME}),
    K.SCENE: frozenset({S.SCENE}),
    K.AVATAR: frozenset({S.MESH_KEY, S.MESH_DELTA, S.H264, S.NODES, S.CODE}),
    K.PANEL: frozenset({S.PANEL, S.TEXT, S.LABEL, S.PNG, S.WEBP}),
    K.PANEL_GONE: frozenset({S.TEXT}),
    K.AUDIO: frozenset({S.OPUS}),
    K.VIDEO: frozenset({S.H264, S.VIEW}),
    K.LANE: frozenset({S.LANE}),
    K.CODE: frozenset(),
    K.ECHO: frozenset({S.ECHO}),
    K.HELLO: frozenset({S.HELLO, S.TEXT}),
    K.DISPLAYED: frozenset({S.DISPLAYED}),
    K.SAMPLE: frozenset({S.HEAD, S.LEFT_HAND, S.RIGHT_HAND, S.VIEW}),
    K.NEED_KEY: frozenset({S.NEED_KEY}),
    K.PANEL_MOVED: frozenset({S.TEXT, S.PLACE}),
    K.WISH: frozenset({S.WISH}),
    K.STATISTICS: frozenset({S.STATISTICS}),
    K.PROMPT: frozenset({S.WORDS}),
    K.PANEL_CHOSEN: frozenset({S.TEXT}),
    K.PANEL_DISMISSED: frozenset({S.TEXT}),
    K.PINCHED: frozenset({S.PLACE}),
    K.SPEECH: frozenset({S.PCM}),
}
"""Which sections a message may have."""
REPEATED = frozenset({S.VIEW})
"""Sections that may come several times."""


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """One part of a message."""

    kind: SectionKind
    data: bytes
    flags: int = 0
    """0..255, the section's own."""


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """One message. `frame_id` and `person` are 0 where they mean nothing."""

    kind: MessageKind
    sections: tuple[Section, ...] = ()
    frame_id: int = 0
    """0..2**32 - 1."""
    t_ns: int = 0
    """Of the observation: server's monotonic nanoseconds down, the page's clock up."""
    person: int = 0
    """0 the host's own avatar, 1.. others in the room."""
    key: bool = False

    def find(self, kind: SectionKind) -> Section | None:
        """The first section of that kind."""
        return next((section for section in self.sections if section.kind == kind), None)

    def need(self, kind: SectionKind) -> Section:
        """The same; raises MessageError when there is none."""
        found = self.find(kind)
        if found is None:
            raise MessageError(
                f"{self.kind.name} message: expected a section {kind.name}, got none"
            )
        return found


def pack_message(message: Message) -> bytes:
    """As it goes over the wire.

    Raises ValueError for numbers that do not fit and sections that do not belong.
    """
    if message.kind == K.CODE:
        raise ValueError("CODE message: pack_code makes it")
    if len(message.sections) > MOST_SECTIONS:
        raise ValueError(f"message: expected at most {MOST_SECTIONS} sections")
    allowed = SECTIONS_OF[message.kind]
    try:
        parts = [
            HEADER.pack(
                message.kind, KEY if message.key else 0, VERSION, message.frame_id, message.t_ns,
                message.person, len(message.sections), 0,
            )
        ]  # fmt: skip
        for section in message.sections:
            if section.kind not in allowed:
                raise ValueError(f"{message.kind.name} message: no place for {section.kind.name}")
            length = len(section.data)
            parts.append(SECTION_HEADER.pack(section.kind, section.flags, 0, length))
            parts += (section.data, b"\0" * (-length % 4))
    except struct.error as error:
        raise ValueError(f"{message.kind.name} message: {error}") from None
    return b"".join(parts)


def pack_code(person: int, frame_id: int, packet: bytes, key: bool = False) -> bytes:
    """An avatar frame that is one packet of the bitstream, with 8 bytes before it instead of 32.
    Its time is not told: the packet must tell it modulo 65,536 ms (`code_tells_time`)."""
    return CODE_HEADER.pack(MessageKind.CODE, KEY if key else 0, person, frame_id) + packet


def code_tells_time(packet: bytes, t_ns: int) -> bool:
    """Whether a packet's own time, bytes 1 and 2 in milliseconds modulo 65,536, is that of `t_ns`:
    another person's packets tell the time of another machine."""
    return packet[1:3] == ((t_ns // 1_000_000) & 0xFFFF).to_bytes(2, "big")


def parse_message(data: bytes, most_bytes: int = MOST_UP_BYTES) -> Message:
    """Read what `pack_message` wrote, or `pack_code`, which comes back as an AVATAR message at time
    0. Raises MessageError for anything else."""
    if data[:1] == bytes([K.CODE]):
        return _parse_code(data, most_bytes)
    if not HEADER.size <= len(data) <= most_bytes:
        raise MessageError(
            f"message: expected {HEADER.size} to {most_bytes} bytes, got {len(data)}"
        )
    kind, flags, version, frame_id, t_ns, person, count, reserved = HEADER.unpack_from(data)
    if version != VERSION:
        raise MessageError(f"message: expected wire format version {VERSION}, got {version}")
    if flags & ~KEY or reserved:
        raise MessageError("message: expected zero in reserved bits")
    if kind not in K._value2member_map_:
        raise MessageError(f"message: expected a known kind, got {kind}")
    if count > MOST_SECTIONS:
        raise MessageError(f"message: expected at most {MOST_SECTIONS} sections, got {count}")
    name, at = K(kind), HEADER.size
    sections: list[Section] = []
    for _ in range(count):
        section, at = _parse_section(data, at, name)
        if section.kind not in REPEATED and any(s.kind == section.kind for s in sections):
            raise MessageError(f"{name.name} message: two sections {section.kind.name}")
        sections.append(section)
    if at != len(data):
        raise MessageError(f"{name.name} message: {len(data) - at} bytes too many")
    return Message(name, tuple(sections), frame_id, t_ns, person, bool(flags & KEY))


def _parse_code(data: bytes, most_bytes: int) -> Message:
    if not CODE_HEADER.size < len(data) <= most_bytes:
        raise MessageError(f"code: expected 9 to {most_bytes} bytes, got {len(data)}")
    _, flags, person, frame_id = CODE_HEADER.unpack_from(data)
    if flags & ~KEY:
        raise MessageError("code: expected zero in reserved bits")
    part = Section(S.CODE, bytes(data[CODE_HEADER.size :]))
    return Message(K.AVATAR, (part,), frame_id, 0, person, bool(flags & KEY))


def _parse_section(data: bytes, at: int, message: MessageKind) -> tuple[Section, int]:
    if at + SECTION_HEADER.size > len(data):
        raise MessageError(f"{message.name} message: cut off before a section")
    kind, flags, reserved, length = SECTION_HEADER.unpack_from(data, at)
    at += SECTION_HEADER.size
    if reserved:
        raise MessageError(f"{message.name} message: expected zero in reserved bits")
    if kind not in S._value2member_map_ or S(kind) not in SECTIONS_OF[message]:
        raise MessageError(f"{message.name} message: no place for a section of kind {kind}")
    end = at + length + -length % 4
    if end > len(data):
        raise MessageError(
            f"{message.name} message: section {S(kind).name} says {length} bytes, "
            f"{len(data) - at} are left"
        )
    if any(data[at + length : end]):
        raise MessageError(f"{message.name} message: expected zeros as padding")
    return Section(S(kind), bytes(data[at : at + length]), flags), end


def unpack_exactly(name: str, layout: struct.Struct, data: bytes) -> tuple[Any, ...]:
    """`layout.unpack`, raising MessageError that tells `name` when the length is another one."""
    if len(data) != layout.size:
        raise MessageError(f"{name}: expected {layout.size} bytes, got {len(data)}")
    return layout.unpack(data)


def unpack_text(name: str, data: bytes, most: int = 256) -> str:
    """UTF-8 of 1 to `most` bytes. Raises MessageError."""
    if not 1 <= len(data) <= most:
        raise MessageError(f"{name}: expected 1 to {most} bytes of text, got {len(data)}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise MessageError(f"{name}: expected UTF-8 text") from None
