"""What the server tells a page besides avatar frames."""

from __future__ import annotations

import io
import struct
from enum import IntFlag

import numpy as np
from PIL import Image as Picture

from headset.webxr.client_messages import pack_place, unpack_place
from headset.webxr.datagram_lane import LaneOffer
from headset.webxr.messages import (
    Message,
    MessageError,
    MessageKind,
    Section,
    SectionKind,
    unpack_exactly,
    unpack_text,
)
from headset.webxr.scene_blobs import SceneEntry
from streams.panel import ANCHORS, Panel

WELCOME = struct.Struct("<HHI")
"""Version, `Allowed`, which client it is."""
SCENE = struct.Struct("<I32s32s32s32s")
"""A topology's number (0: none) and the SHA-256 of its description, surface, basis, and of the
page's decoder for this person's codes; zeros where there is none."""
LANE = struct.Struct("<HH32s32s")
"""UDP port, zero, SHA-256 of the lane's certificate, ticket."""
PANEL = struct.Struct("<B3x9f")
NONE = bytes(32)
MOST_LABEL = 256
SMALL_QUALITY = 60


class Allowed(IntFlag):
    """What the server takes from a page."""

    CONTROL = 1
    """Its samples and panel moves count."""
    PROMPTS = 2
    """Words and hands make pictures."""
    SPEECH = 4
    """Spoken words, too."""


NOTHING = Allowed(0)


def welcome(allowed: Allowed, client: int, version: int) -> Message:
    """The answer to a hello, and sent anew when control passes on."""
    data = WELCOME.pack(version, allowed, client)
    return Message(MessageKind.WELCOME, (Section(SectionKind.WELCOME, data),))


def scene(person: int, entry: SceneEntry | None, decoder: str | None) -> Message:
    """What frames of a person are about from now on."""
    hashes = (entry.blob, entry.surface, entry.basis) if entry is not None else (None,) * 3
    raw = [bytes.fromhex(sha) if sha else NONE for sha in (*hashes, decoder)]
    data = SCENE.pack(entry.number if entry is not None else 0, *raw)
    return Message(MessageKind.SCENE, (Section(SectionKind.SCENE, data),), person=person)


def panel_message(panel: Panel, picture: bytes | None) -> Message:
    """Where a panel is and, where `picture` (PNG or WebP) is given, what it shows now."""
    place = pack_place(panel.anchor_from_panel, panel.size_m)
    parts = [
        Section(SectionKind.PANEL, struct.pack("<B3x", ANCHORS.index(panel.anchor)) + place),
        Section(SectionKind.TEXT, _cut(panel.id)),
    ]
    if panel.generated_by is not None:
        parts.append(Section(SectionKind.LABEL, _cut(panel.generated_by)))
    if picture is not None:
        webp = picture.startswith(b"RIFF")
        parts.append(Section(SectionKind.WEBP if webp else SectionKind.PNG, picture))
    return Message(MessageKind.PANEL, tuple(parts))


def parse_panel(message: Message) -> tuple[Panel, bool]:
    """The panel (one clear pixel when the message has no picture), and whether it had one. For
    tests and Python clients. Raises MessageError."""
    anchor, *rest = unpack_exactly("panel", PANEL, message.need(SectionKind.PANEL).data)
    if anchor >= len(ANCHORS):
        raise MessageError(f"panel: expected an anchor from 0 to {len(ANCHORS) - 1}, got {anchor}")
    place, size = unpack_place("panel", rest)
    label = message.find(SectionKind.LABEL)
    picture = message.find(SectionKind.PNG) or message.find(SectionKind.WEBP)
    rgba = np.zeros((1, 1, 4), np.uint8)
    if picture is not None:
        try:
            with Picture.open(io.BytesIO(picture.data), formats=("PNG", "WEBP")) as image:
                rgba = np.asarray(image.convert("RGBA"))
        except (OSError, ValueError, Picture.DecompressionBombError) as error:
            raise MessageError(f"panel: {error}") from None
    panel = Panel(
        unpack_text("panel", message.need(SectionKind.TEXT).data),
        rgba, ANCHORS[anchor], place, size,
        unpack_text("panel", label.data) if label is not None else None,
    )  # fmt: skip
    return panel, picture is not None


def lane_message(offer: LaneOffer) -> Message:
    """The page may open a datagram lane."""
    data = LANE.pack(offer.port, 0, offer.certificate_sha256, offer.ticket)
    return Message(MessageKind.LANE, (Section(SectionKind.LANE, data),))


def panel_gone(panel_id: str) -> Message:
    """It is not shown any more."""
    return Message(MessageKind.PANEL_GONE, (Section(SectionKind.TEXT, _cut(panel_id)),))


def panel_picture(panel: Panel) -> bytes:
    """PNG: panels are text and drawings, and lossless. Quick rather than small."""
    file = io.BytesIO()
    Picture.fromarray(np.ascontiguousarray(panel.rgba)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def small_picture(panel: Panel) -> bytes:
    """WebP with losses, for links on which a PNG would take many seconds."""
    file = io.BytesIO()
    picture = Picture.fromarray(np.ascontiguousarray(panel.rgba))
    picture.save(file, "WEBP", quality=SMALL_QUALITY, method=2)
    return file.getvalue()


def _cut(text: str) -> bytes:
    return text.encode()[:MOST_LABEL].decode(errors="ignore").encode()
