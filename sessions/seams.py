"""Which records a session holds, at which seams, on which channels."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcap.records import Channel

from sessions.message_schema import AUDIO, PACKAGE, VERSION, VIDEO, message_class
from sessions.record_messages import camera_message, camera_of, packed, parsed
from streams.audio_block import AudioBlock
from streams.avatar_code import AvatarCode
from streams.camera import Camera
from streams.frame import Frame
from streams.headset_sample import HeadsetSample
from streams.mark import Mark
from streams.shown_panels import ShownPanels
from streams.tracked_state import TrackedState
from streams.view import View

Record = Frame | AudioBlock | HeadsetSample | TrackedState | AvatarCode | ShownPanels | View | Mark
"""What a session can hold."""

SEAMS = ("frames", "audio", "headset", "state", "code", "panels", "views", "marks")
"""In the order in which records of the same time follow one another."""

HEADER_TOPIC, STATE_TOPIC = "/session/header", "/session/state"

_SCHEMAS = {
    "frames": VIDEO,
    "audio": AUDIO,
    "headset": f"{PACKAGE}.HeadsetSample",
    "state": f"{PACKAGE}.TrackedState",
    "code": f"{PACKAGE}.AvatarCode",
    "panels": f"{PACKAGE}.ShownPanels",
    "views": f"{PACKAGE}.View",
    "marks": f"{PACKAGE}.Mark",
    "header": f"{PACKAGE}.SessionHeader",
    "session": f"{PACKAGE}.SessionState",
}


@dataclass(frozen=True, slots=True, eq=False)
class SessionChannel:
    """One stream of records in a session."""

    number: int
    topic: str
    seam: str
    source: str
    """Which camera, microphone, tracker's source, avatar or eye; "" where there is only one."""
    version: int
    """Of the record's message."""
    schema: str
    """Full name of the message."""
    count: int
    """Messages in the file."""
    camera: Camera | None = None
    """The calibration of a channel of frames."""


def seam_of(record: Record) -> tuple[str, str]:
    """The seam and the source of a record. Raises ValueError for what no session holds."""
    if isinstance(record, Frame):
        return "frames", record.camera.name
    elif isinstance(record, TrackedState):
        return "state", record.source
    elif isinstance(record, AvatarCode):
        return "code", record.avatar
    elif isinstance(record, AudioBlock):
        return "audio", record.source
    elif isinstance(record, HeadsetSample):
        return "headset", ""
    elif isinstance(record, View):
        return "views", record.eye
    elif isinstance(record, ShownPanels):
        return "panels", ""
    elif isinstance(record, Mark):
        return "marks", ""
    raise ValueError(f"session: expected a record of streams, got {type(record).__name__}")


def schema_name(seam: str) -> str:
    """Full name of the message of a seam; "header" and "session" are a session's own."""
    return _SCHEMAS[seam]


def topic_of(seam: str, source: str) -> str:
    """The channel's topic, as viewers show it."""
    if seam == "header":
        return HEADER_TOPIC
    if seam == "session":
        return STATE_TOPIC
    return f"/{seam}/{source}" if source else f"/{seam}"


def channel_metadata(seam: str, source: str, camera: Camera | None = None) -> dict[str, str]:
    """What a channel says of itself beside its topic."""
    metadata = {"seam": seam, "source": source, "version": str(VERSION)}
    if camera is not None:
        metadata["camera"] = base64.b64encode(packed(camera_message(camera))).decode("ascii")
    return metadata


def session_channel(channel: Channel, schema: str, count: int) -> SessionChannel | None:
    """A channel of the file as one of ours; None for others' (which are left alone).

    Raises ValueError for a version or a message that this software does not know.
    """
    seam = channel.metadata.get("seam", "")
    if seam not in _SCHEMAS:
        return None
    try:
        version = int(channel.metadata.get("version", "0"))
    except ValueError:
        version = 0
    if version != VERSION:
        raise ValueError(
            f"{channel.topic}: its records are of version {channel.metadata.get('version')}, "
            f"this software reads version {VERSION}; a newer Visavis may read it"
        )
    if schema != _SCHEMAS[seam] or channel.message_encoding != "protobuf":
        raise ValueError(f"{channel.topic}: expected {_SCHEMAS[seam]}, got {schema!r}")
    camera = None
    if seam == "frames":
        data = channel.metadata.get("camera", "")
        camera = camera_of(parsed(f"{PACKAGE}.Camera", base64.b64decode(data, validate=True)))
    source = channel.metadata.get("source", "")
    return SessionChannel(channel.id, channel.topic, seam, source, version, schema, count, camera)


def session_state(t_ns: int, **counts: Any) -> Any:
    """The message that tells every second what there is: `written`, `lost`, `key_frames`, each
    entries by channel or seam."""
    return message_class(schema_name("session"))(t_ns=t_ns, **counts)


def counts_in_order(counts: Mapping[str, int]) -> dict[str, int]:
    """What there is at each seam, in the order of SEAMS; seams without anything are left out."""
    return {seam: counts[seam] for seam in SEAMS if counts.get(seam)}


def counts_text(counts: Mapping[str, int]) -> str:
    """The same, as a user wants to read it."""
    return ", ".join(f"{n} {seam}" for seam, n in counts_in_order(counts).items()) or "nothing"
