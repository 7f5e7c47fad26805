"""What a session's own numbers say of records that are missing from it.

Messages of each channel are numbered, and a session's state tells every second how many records of
each seam were written before it: after a damage, both are compared with what is still there.
"""

from __future__ import annotations

import zlib
from collections import Counter

import zstandard
from mcap.data_stream import RecordBuilder
from mcap.records import Channel, Chunk, Message, Schema

from sessions.message_schema import schema_bytes
from sessions.record_messages import packed, parsed
from sessions.record_scan import Index, index_of, messages_of
from sessions.sealing import COMPRESSION, Seal
from sessions.seams import (
    SEAMS,
    channel_metadata,
    counts_in_order,
    schema_name,
    session_channel,
    topic_of,
)
from sessions.session_header import SessionHeader, header_message
from streams.camera import Camera

Schemas = dict[int, Schema]
Channels = dict[int, Channel]
NOTE = "repaired"
"""Of a header that stands for one that was lost."""


class Tally:
    """Counts a session's messages, chunk by chunk in the order of the file."""

    def __init__(self) -> None:
        self.dropped: dict[str, int] = {}
        """Records that the recorder had no time for, by seam, by the newest state."""
        self._counts: Counter[int] = Counter()
        self._next: Counter[int] = Counter()
        self._seams: dict[int, str] = {}
        self._missing: Counter[str] = Counter()
        self.first_ns: int | None = None

    def add(self, content: bytes, channels: Channels) -> None:
        """A chunk's unpacked records. Raises ValueError when they are damaged."""
        for number, channel in channels.items():
            if number not in self._seams:
                self._seams[number] = channel.metadata.get("seam", "")
        for raw in messages_of(content):
            seam = self._seams.get(raw.channel, "")
            self._counts[raw.channel] += 1
            self._next[raw.channel] = max(self._next[raw.channel], raw.sequence + 1)
            if seam == "session":
                self._compare(parsed(schema_name("session"), raw.data))
            elif seam in SEAMS:
                earlier = self.first_ns is None or raw.log_ns < self.first_ns
                self.first_ns = raw.log_ns if earlier else self.first_ns

    @property
    def session(self) -> bool:
        """Whether there are channels of a session of Visavis."""
        return any(seam in SEAMS or seam in ("header", "session") for seam in self._seams.values())

    @property
    def header_lost(self) -> bool:
        """Whether it is a session without its header."""
        return self.session and not any(
            self._counts[number] for number, seam in self._seams.items() if seam == "header"
        )

    @property
    def kept(self) -> dict[str, int]:
        """Records by seam."""
        return self._by_seam(self._counts)

    @property
    def missing(self) -> dict[str, int]:
        """Records by seam that were before one that is there."""
        numbered = self._by_seam(self._next)
        kept = self.kept
        lost = {
            seam: max(numbered.get(seam, 0) - kept.get(seam, 0), self._missing[seam])
            for seam in SEAMS
        }
        return {seam: count for seam, count in lost.items() if count > 0}

    def _compare(self, state: object) -> None:
        kept = self.kept
        written = {entry.key: entry.number for entry in state.written}  # pyright: ignore[reportAttributeAccessIssue]
        self.dropped = {entry.key: entry.number for entry in state.lost}  # pyright: ignore[reportAttributeAccessIssue]
        for seam in SEAMS:
            self._missing[seam] = max(self._missing[seam], written.get(seam, 0) - kept.get(seam, 0))

    def _by_seam(self, counts: Counter[int]) -> dict[str, int]:
        found: Counter[str] = Counter()
        for number, count in counts.items():
            found[self._seams.get(number, "")] += count
        return counts_in_order(found)


def header_chunk(
    schemas: Schemas, channels: Channels, first_ns: int, seal: Seal | None, place: int
) -> tuple[Chunk, Index]:
    """A chunk with a header in place of one that was lost: the cameras are known from their
    channels; when and with whose consent it was recorded is not, and it says so.

    Its schema and channel are added to `schemas` and `channels`. `place` is its number among
    sealed chunks.
    """
    name = schema_name("header")
    right = {n for n, s in schemas.items() if (s.name, s.data) == (name, schema_bytes(name))}
    headers = (n for n, c in channels.items() if c.metadata.get("seam") == "header")
    number = next((n for n in headers if channels[n].schema_id in right), None)
    if number is None:
        number = _free(channels)
        schema = min(right, default=0) or _free(schemas)
        schemas[schema] = Schema(schema, schema_bytes(name), "protobuf", name)
        metadata = channel_metadata("header", "")
        channels[number] = Channel(number, topic_of("header", ""), "protobuf", metadata, schema)
    header = SessionHeader(
        max(first_ns, 0),
        0,
        cameras=_cameras(schemas, channels),
        notes={NOTE: "the header was lost; when it was recorded and with what consent is unknown"},
    )
    records = RecordBuilder()
    schemas[channels[number].schema_id].write(records)
    channels[number].write(records)
    data = packed(header_message(header))
    Message(number, header.t_ns, data, 0, 0).write(records)
    content = records.end()
    body, packing, crc = zstandard.compress(content), "zstd", zlib.crc32(content)
    if seal is not None:
        body, packing, crc = seal.sealed(body, place), COMPRESSION, 0
    chunk = Chunk(packing, body, header.t_ns, header.t_ns, crc, len(content))
    return chunk, index_of(content)


def _free(used: dict[int, Schema] | dict[int, Channel]) -> int:
    return next(n for n in range(1, 1 << 16) if n not in used)


def _cameras(schemas: Schemas, channels: Channels) -> tuple[Camera, ...]:
    found: dict[str, Camera] = {}
    for channel in channels.values():
        schema = schemas.get(channel.schema_id)
        try:
            own = session_channel(channel, "" if schema is None else schema.name, 0)
        except ValueError:
            continue
        if own is not None and own.camera is not None:
            found.setdefault(own.camera.name, own.camera)
    return tuple(found.values())
