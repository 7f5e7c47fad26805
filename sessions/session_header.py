"""What a session says of itself before its first record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sessions.message_schema import PACKAGE, message_class
from sessions.record_messages import camera_message, camera_of, entry_texts
from streams.array_contract import require_time
from streams.camera import Camera

HANDS_NOTE, CALM_FACE_NOTE = "hands", "neutral face"
"""A person's bones and face at rest, with which the frames were or are to be tracked."""
PERSONAL_NOTES = (HANDS_NOTE, CALM_FACE_NOTE)
"""Notes that describe a person. Who tracks the frames reads them, and nobody else."""


@dataclass(frozen=True, slots=True, eq=False)
class SessionHeader:
    """The first message of every session."""

    t_ns: int
    """Monotonic nanoseconds of the clock that the records' times are of..."""
    unix_ns: int
    """...and the same moment in nanoseconds since 1970 (UTC): the only wall time of a session."""
    software: str = ""
    """Name and version of what recorded."""
    source: str = ""
    """What was recorded, as --source says it."""
    avatar: str = ""
    """Whose codes these are: an avatar's id."""
    cameras: tuple[Camera, ...] = ()
    """Calibrations known at the beginning; each channel of frames holds its own as well."""
    models: dict[str, str] = field(default_factory=dict)
    """SHA-256 of every model and avatar file that took part, by its id."""
    consent: str = ""
    """The sentence that was agreed to before a person was recorded, with who and when."""
    notes: dict[str, str] = field(default_factory=dict)
    """Anything else that a reader may want to know."""

    def __post_init__(self) -> None:
        require_time("SessionHeader.t_ns", self.t_ns)
        require_time("SessionHeader.unix_ns", self.unix_ns)


def header_message(header: SessionHeader) -> Any:
    return message_class(f"{PACKAGE}.SessionHeader")(
        t_ns=header.t_ns,
        unix_ns=header.unix_ns,
        software=header.software,
        source=header.source,
        avatar=header.avatar,
        cameras=[camera_message(camera) for camera in header.cameras],
        models=entry_texts(header.models),
        consent=header.consent,
        notes=entry_texts(header.notes),
    )


def header_of(message: Any) -> SessionHeader:
    return SessionHeader(
        message.t_ns,
        message.unix_ns,
        message.software,
        message.source,
        message.avatar,
        tuple(camera_of(camera) for camera in message.cameras),
        {entry.key: entry.text for entry in message.models},
        message.consent,
        {entry.key: entry.text for entry in message.notes},
    )
