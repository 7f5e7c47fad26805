"""A copy of a session without pictures and sound of a person.

Nothing is copied as bytes: every message is read and written again from the fields that this
version knows, under schemas and channels of its own, so that nothing removed can stay behind in a
field, a channel, an index or a gap between records that no reader looks at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from mcap.records import Channel

from sessions.chunk_file import ChunkFile
from sessions.chunk_reader import ChunkReader
from sessions.message_schema import schema_bytes
from sessions.new_file import NewFile
from sessions.record_messages import entry_texts, packed, parsed
from sessions.record_scan import RawMessage
from sessions.seams import (
    SEAMS,
    SessionChannel,
    channel_metadata,
    counts_in_order,
    schema_name,
    session_channel,
    topic_of,
)
from sessions.session_error import SessionError
from sessions.session_header import PERSONAL_NOTES

REMOVED = ("frames", "audio")
"""What is removed when nothing else is said."""
NOTE = "redacted"
"""Of the header: which seams were removed."""
CHUNK_NS = 2_000_000_000
"""A chunk ends after so much time: what is left of a second is little."""


@dataclass(frozen=True, slots=True)
class RedactionReport:
    """What was done."""

    path: Path
    out: Path
    removed: dict[str, int]
    """Records by seam that the copy does not have."""
    kept: dict[str, int]
    """Records by seam that it has."""
    notes: tuple[str, ...]
    """Names of the header's notes that the copy does not have."""
    foreign: int
    """Messages of channels that are not a session's own, which are never copied."""
    sealed: bool


def redact(
    source: Path,
    out: Path,
    seams: Collection[str] = REMOVED,
    secret: bytes | None = None,
) -> RedactionReport:
    """Copy `source` to `out`, which must not exist, without the records of these seams.

    The header stays, consent with it, and says what was removed; with the frames go its
    PERSONAL_NOTES, which are of no use without them. A sealed file's copy is sealed
    with the same secret. Raises ValueError for an unknown seam, SessionError when `source` is no
    sound session or `out` cannot be written.
    """
    for seam in seams:
        if seam not in SEAMS:
            raise ValueError(f"seam {seam!r}: expected one of {', '.join(SEAMS)}")
    if out.exists():
        raise SessionError(f"{out}: exists already; choose another name")
    with ChunkReader(source, secret) as file:
        channels = _own_channels(file)
        removed = {n for n, channel in channels.items() if channel.seam in seams}
        kept = {n: channel for n, channel in channels.items() if n not in removed}
        counts: Counter[str] = Counter()
        notes: list[str] = []
        with NewFile(out, source) as new:
            try:
                with ChunkFile(new.path, "visavis", secret if file.sealed else None) as copy:
                    _copy(file, copy, kept, seams, counts, notes)
            except SessionError as error:
                if isinstance(error.__cause__, OSError):
                    raise new.refused(error) from error
                raise
            new.finish()
        gone: Counter[str] = Counter()
        for number in removed:
            gone[channels[number].seam] += file.counts.get(number, 0)
        foreign = sum(count for n, count in file.counts.items() if n not in channels)
        return RedactionReport(
            source,
            out,
            counts_in_order(gone),
            counts_in_order(counts),
            tuple(dict.fromkeys(notes)),
            foreign,
            file.sealed,
        )


def _own_channels(file: ChunkReader) -> dict[int, SessionChannel]:
    channels: dict[int, SessionChannel] = {}
    for number, channel in file.channels.items():
        schema = file.schemas.get(channel.schema_id)
        try:
            own = session_channel(channel, "" if schema is None else schema.name, 0)
        except ValueError as error:
            raise SessionError(f"{file.path}: {error}") from error
        if own is not None:
            channels[number] = own
    if not any(channel.seam == "header" for channel in channels.values()):
        raise SessionError(
            f"{file.path}: is an MCAP file, but no session of Visavis (it has no header)"
        )
    return channels


def _copy(
    file: ChunkReader,
    copy: ChunkFile,
    kept: dict[int, SessionChannel],
    seams: Collection[str],
    counts: Counter[str],
    notes: list[str],
) -> None:
    """Counts the records that the copy has, and lists the notes that its header lost."""
    _define(copy, kept)
    first_ns: int | None = None
    for chunk in sorted(file.chunks, key=lambda chunk: chunk.chunk_start_offset):
        for raw in file.messages(chunk, set(kept)):
            channel = kept[raw.channel]
            try:
                data, gone = _data(raw, channel, seams)
            except ValueError as error:
                raise file.damaged(error) from error
            copy.add(raw.channel, raw.sequence, raw.log_ns, raw.publish_ns, data)
            counts[channel.seam] += 1
            notes += gone
            if channel.seam == "header":
                copy.flush()  # It has a chunk of its own, as in every session.
            elif first_ns is None:
                first_ns = raw.log_ns
            elif abs(raw.log_ns - first_ns) > CHUNK_NS:
                copy.flush()
                first_ns = None


def _define(copy: ChunkFile, kept: dict[int, SessionChannel]) -> None:
    """Channels under the numbers that they have, which a session's states know."""
    channels: dict[int, Channel] = {}
    for number, channel in kept.items():
        name = schema_name(channel.seam)
        schema = copy.add_schema(name, "protobuf", schema_bytes(name))
        metadata = channel_metadata(channel.seam, channel.source, channel.camera)
        topic = topic_of(channel.seam, channel.source)
        channels[number] = Channel(number, topic, "protobuf", metadata, schema)
    copy.take_channels({}, channels)


def _data(
    raw: RawMessage, channel: SessionChannel, seams: Collection[str]
) -> tuple[bytes, list[str]]:
    """A message written again, without fields that are unknown here; and the notes that it lost."""
    gone: list[str] = []
    message = parsed(schema_name(channel.seam), raw.data)
    message.DiscardUnknownFields()
    if channel.seam == "header":
        notes = {entry.key: entry.text for entry in message.notes}
        gone = [name for name in PERSONAL_NOTES if "frames" in seams and name in notes]
        for name in gone:
            del notes[name]
        before = {name for name in notes.get(NOTE, "").split(", ") if name}
        notes[NOTE] = ", ".join(seam for seam in SEAMS if seam in {*before, *seams})
        del message.notes[:]
        message.notes.extend(entry_texts(notes))
    elif channel.seam == "session":
        # A state counts what was written before it; removed records are not missing ones.
        for field in ("written", "lost"):
            entries = [entry for entry in getattr(message, field) if entry.key not in seams]
            del getattr(message, field)[:]
            getattr(message, field).extend(entries)
        if "frames" in seams:
            del message.key_frames[:]
    return packed(message), gone
