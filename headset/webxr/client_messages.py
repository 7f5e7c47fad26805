"""What a page tells the server besides samples, and what both ask each other."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np

from headset.webxr.messages import (
    Message,
    MessageError,
    MessageKind,
    Section,
    SectionKind,
    unpack_exactly,
    unpack_text,
)
from streams.rigid import Rigid

HELLO = struct.Struct("<IHH")
DISPLAYED = struct.Struct("<fI")
NEED_KEY = struct.Struct("<II")
PLACE = struct.Struct("<9f")
WISH = struct.Struct("<B3xI")
STATISTICS = struct.Struct("<4f")
ECHO = struct.Struct("<qq")
ANSWER = 1
"""Section flag of an echo that is an answer."""
FARTHEST_M = 1000.0
LARGEST_M = 100.0


class Capability(IntFlag):
    """What a page can do."""

    GEOMETRY = 1
    """Draw meshes."""
    H264 = 2
    """Decode H.264 as it comes (WebCodecs)."""
    NODES = 4
    """Sum a texture basis in its shader."""
    CODE = 8
    """Decode avatar codes itself."""
    VIDEO = 16
    """Show the server's own pictures."""
    OPUS = 32
    """Decode sound."""
    XR = 64
    """Start an XR session."""


class Payload(IntEnum):
    """How an avatar reaches a page."""

    AUTO = 0
    GEOMETRY = 1
    CODE = 2
    VIDEO = 3


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of a page."""

    can: Capability
    texture_size: int = 1024
    """Largest side of a texture that it wants, pixels."""
    name: str = ""
    """Its browser, for the log."""

    @staticmethod
    def of(message: Message) -> Hello:
        """Raises MessageError."""
        can, size, reserved = unpack_exactly("hello", HELLO, message.need(SectionKind.HELLO).data)
        text = message.find(SectionKind.TEXT)
        if not 16 <= size <= 4096 or reserved:
            raise MessageError(f"hello: expected a texture's side of 16 to 4096, got {size}")
        name = unpack_text("hello", text.data) if text is not None else ""
        return Hello(Capability(can & sum(Capability)), size, name)

    def message(self) -> Message:
        parts = [Section(SectionKind.HELLO, HELLO.pack(self.can, self.texture_size, 0))]
        if self.name:
            parts.append(Section(SectionKind.TEXT, self.name.encode()))
        return Message(MessageKind.HELLO, tuple(parts))


@dataclass(frozen=True, slots=True)
class Displayed:
    """A frame is on the screen, and so all before it are done with."""

    frame_id: int
    person: int
    device_ns: int
    """By the page's clock."""
    decode_ms: float
    """From the message's arrival to mesh and texture."""

    @staticmethod
    def of(message: Message) -> Displayed:
        """Raises MessageError."""
        data = message.need(SectionKind.DISPLAYED).data
        decode_ms, _ = unpack_exactly("displayed", DISPLAYED, data)
        if not 0.0 <= decode_ms < 1e6:
            raise MessageError(f"displayed: expected milliseconds of decoding, got {decode_ms}")
        return Displayed(message.frame_id, message.person, message.t_ns, decode_ms)

    def message(self) -> Message:
        part = Section(SectionKind.DISPLAYED, DISPLAYED.pack(self.decode_ms, 0))
        return Message(MessageKind.DISPLAYED, (part,), self.frame_id, self.device_ns, self.person)


@dataclass(frozen=True, slots=True)
class NeedKey:
    """The page cannot go on from what it has."""

    person: int
    received: int
    """The last frame that came, read or not, or 0: none up to it will be displayed."""

    @staticmethod
    def of(message: Message) -> NeedKey:
        """Raises MessageError."""
        data = message.need(SectionKind.NEED_KEY).data
        last, reserved = unpack_exactly("need_key", NEED_KEY, data)
        if reserved:
            raise MessageError("need_key: expected zero in reserved bits")
        return NeedKey(message.person, last)

    def message(self) -> Message:
        part = Section(SectionKind.NEED_KEY, NEED_KEY.pack(self.received, 0))
        return Message(MessageKind.NEED_KEY, (part,), person=self.person)


@dataclass(frozen=True, slots=True, eq=False)
class PanelMoved:
    """The person took a panel elsewhere."""

    id: str
    anchor_from_panel: Rigid
    size_m: tuple[float, float]

    @staticmethod
    def of(message: Message) -> PanelMoved:
        """Raises MessageError."""
        name = unpack_text("panel_moved", message.need(SectionKind.TEXT).data)
        values = unpack_exactly("panel_moved", PLACE, message.need(SectionKind.PLACE).data)
        place, size = unpack_place("panel_moved", list(values))
        return PanelMoved(name, place, size)

    def message(self) -> Message:
        parts = (
            Section(SectionKind.TEXT, self.id.encode()),
            Section(SectionKind.PLACE, pack_place(self.anchor_from_panel, self.size_m)),
        )
        return Message(MessageKind.PANEL_MOVED, parts)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person chose on the page."""

    payload: Payload = Payload.AUTO
    most_bits_s: int = 0
    """Bit rate that must not be passed; 0: none."""

    @staticmethod
    def of(message: Message) -> Wish:
        """Raises MessageError."""
        payload, bits = unpack_exactly("wish", WISH, message.need(SectionKind.WISH).data)
        if payload not in Payload._value2member_map_:
            raise MessageError(f"wish: expected a payload from 0 to 3, got {payload}")
        return Wish(Payload(payload), bits)

    def message(self) -> Message:
        part = Section(SectionKind.WISH, WISH.pack(self.payload, self.most_bits_s))
        return Message(MessageKind.WISH, (part,))


@dataclass(frozen=True, slots=True)
class PageStatistics:
    """What the page sees of the stream, over its last half second or so."""

    rate_hz: float
    """Avatar frames displayed."""
    age_ms: float
    """From observation to display, the median."""
    kbit_s: float
    loss_share: float
    """0..1 of code packets that did not come."""

    @staticmethod
    def of(message: Message) -> PageStatistics:
        """Raises MessageError."""
        data = message.need(SectionKind.STATISTICS).data
        values = unpack_exactly("statistics", STATISTICS, data)
        if not all(math.isfinite(v) for v in values):
            raise MessageError("statistics: expected finite numbers")
        return PageStatistics(*values)

    def message(self) -> Message:
        numbers = (self.rate_hz, self.age_ms, self.kbit_s, self.loss_share)
        part = Section(SectionKind.STATISTICS, STATISTICS.pack(*numbers))
        return Message(MessageKind.STATISTICS, (part,))


@dataclass(frozen=True, slots=True)
class EchoMessage:
    """A question for the other's time, or its answer. Both sides ask."""

    asked_ns: int
    """By the asker's clock."""
    answered_ns: int | None = None
    """By the other's; None: this is the question."""

    @staticmethod
    def of(message: Message) -> EchoMessage:
        """Raises MessageError."""
        part = message.need(SectionKind.ECHO)
        asked, answered = unpack_exactly("echo", ECHO, part.data)
        if part.flags not in (0, ANSWER):
            raise MessageError("echo: expected a question or an answer")
        return EchoMessage(asked, answered if part.flags else None)

    def message(self) -> Message:
        answer = self.answered_ns is not None
        data = ECHO.pack(self.asked_ns, self.answered_ns or 0)
        return Message(MessageKind.ECHO, (Section(SectionKind.ECHO, data, int(answer)),))


def pack_place(place: Rigid, size_m: tuple[float, float]) -> bytes:
    """A pose (wxyz, xyz) and a size (width, height) metres: nine float32."""
    return PLACE.pack(*place.wxyz, *place.xyz, *size_m)


def unpack_place(name: str, values: list[float]) -> tuple[Rigid, tuple[float, float]]:
    """Raises MessageError for what is no pose, or out of all proportion."""
    wxyz, xyz = np.array(values[:4]), np.array(values[4:7])
    norm = float(np.linalg.norm(wxyz))
    sizes = (values[7], values[8])
    if not (abs(norm - 1.0) < 1e-3 and float(np.abs(xyz).max()) <= FARTHEST_M):
        raise MessageError(f"{name}: expected a pose within {FARTHEST_M:g} m")
    if not all(0.0 < size <= LARGEST_M for size in sizes):
        raise MessageError(f"{name}: expected a size up to {LARGEST_M:g} m")
    return Rigid(wxyz / norm, xyz), sizes
