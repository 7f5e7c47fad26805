"""The MCAP file that a session is written into: https://mcap.dev/spec, with the `mcap` package's
own records. What the package's writer does not do is done here: chunks end at a given time and are
on their way to the disk at once, every chunk repeats the channels and schemas that it uses, so that
each can be read without the others, and chunks may be sealed.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections import Counter
from pathlib import Path

import zstandard
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Attachment,
    AttachmentIndex,
    Channel,
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Message,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

from sessions.record_scan import MAGIC, Index
from sessions.sealing import COMPRESSION, METADATA, Seal
from sessions.session_error import SessionError
from streams.closing import Closing

CHUNK_BYTES = 4 << 20
"""A chunk ends when it holds so much, however young it is."""
ZSTD_LEVEL = 1
SEAL_AGAIN = 16
"""Chunks after which a seal's parameters are repeated: without them nobody could open the rest."""


class ChunkFile(Closing):
    """Writes one file, never over another one, readable by its owner alone (0600).

    Every call may raise SessionError when the disk refuses; the file then ends after the last whole
    chunk, `close` tries once more to index it, and `saved` counts what it holds.
    """

    def __init__(self, path: Path, library: str, secret: bytes | None = None) -> None:
        self.path = path
        self.saved = 0
        """Bytes that are with the operating system: a crash of this process cannot lose them."""
        self.messages = 0
        """Messages in whole chunks of the file."""
        self._closed = False
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._counts: Counter[int] = Counter()
        self._chunks: list[ChunkIndex] = []
        self._metadata: list[MetadataIndex] = []
        self._attachments: list[AttachmentIndex] = []
        self._first_ns: int | None = None
        self._last_ns = 0
        self._begin()
        self._packer = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
        self._seal: Seal | None = None
        self._seal_metadata: dict[str, str] = {}
        if secret is not None:
            self._seal, self._seal_metadata = Seal.made(secret)
        self._file = _created(path)
        try:
            opening = RecordBuilder()
            opening.write(MAGIC)
            Header(profile="", library=library).write(opening)
            self._put(opening.end())
            if self._seal is not None:
                self.add_metadata(METADATA, self._seal_metadata)
        except SessionError:
            self._closed = True
            os.close(self._file)
            with contextlib.suppress(OSError):
                path.unlink()
            raise

    def add_schema(self, name: str, encoding: str, data: bytes) -> int:
        """Its number, for `add_channel`."""
        for number, schema in self._schemas.items():
            if (schema.name, schema.encoding, schema.data) == (name, encoding, data):
                return number
        number = len(self._schemas) + 1
        self._schemas[number] = Schema(id=number, name=name, encoding=encoding, data=data)
        return number

    def add_channel(self, topic: str, schema: int, encoding: str, metadata: dict[str, str]) -> int:
        """Its number, for `add`."""
        number = len(self._channels) + 1
        self._channels[number] = Channel(
            id=number,
            topic=topic,
            message_encoding=encoding,
            metadata=metadata,
            schema_id=schema,
        )
        return number

    def add_metadata(self, name: str, metadata: dict[str, str]) -> None:
        """A record of texts, at once on its way to the disk, outside of chunks and of seals."""
        builder = RecordBuilder()
        Metadata(name=name, metadata=metadata).write(builder)
        data = builder.end()
        at = self.saved
        self._put(data)
        self._metadata.append(MetadataIndex(offset=at, length=len(data), name=name))

    def add(self, channel: int, sequence: int, log_ns: int, publish_ns: int, data: bytes) -> None:
        """One message, in memory until its chunk ends."""
        if channel not in self._index:
            schema = self._schemas.get(self._channels[channel].schema_id)
            if schema is not None and schema.id not in self._used_schemas:
                schema.write(self._records)
                self._used_schemas.add(schema.id)
            self._channels[channel].write(self._records)
            self._index[channel] = []
        self._index[channel].append((log_ns, self._records.count))
        Message(
            channel_id=channel,
            log_time=log_ns,
            data=data,
            publish_time=publish_ns,
            sequence=sequence,
        ).write(self._records)
        if self._records.count >= CHUNK_BYTES:
            self.flush()

    @property
    def waiting(self) -> int:
        """How many messages the chunk in memory holds."""
        return sum(len(entries) for entries in self._index.values())

    def flush(self) -> None:
        """End the chunk in memory and hand it to the operating system."""
        if not self._index:
            return
        index, data = self._index, self._records.end()
        self._begin()
        times = [at for entries in index.values() for at, _ in entries]
        body, name, crc = self._packed(data)
        builder = RecordBuilder()
        Chunk(
            compression=name,
            data=body,
            message_start_time=min(times),
            message_end_time=max(times),
            uncompressed_crc=crc,
            uncompressed_size=len(data),
        ).write(builder)
        length = builder.count
        at = self.saved
        indexes, offsets = _indexes(
            {channel: sorted(entries) for channel, entries in index.items()}, at + length
        )
        whole = builder.end() + indexes
        self._put(whole)
        self._chunks.append(
            ChunkIndex(
                chunk_length=length,
                chunk_start_offset=at,
                compression=name,
                compressed_size=len(body),
                message_end_time=max(times),
                message_index_length=len(whole) - length,
                message_index_offsets=offsets,
                message_start_time=min(times),
                uncompressed_size=len(data),
            )
        )
        self._counted({channel: len(entries) for channel, entries in index.items()}, times)
        if self._seal is not None and len(self._chunks) % SEAL_AGAIN == 1:
            self.add_metadata(METADATA, self._seal_metadata)

    def copy_chunk(self, record: bytes, chunk: Chunk, index: Index) -> None:
        """Take over a chunk of another file: `record` are its bytes, `index` its messages.

        Its channels are taken over by `take_channels` (not those of sealed chunks).
        """
        self.flush()
        at = self.saved
        indexes, offsets = _indexes(index, at + len(record))
        self._put(record + indexes)
        self._chunks.append(
            ChunkIndex(
                chunk_length=len(record),
                chunk_start_offset=at,
                compression=chunk.compression,
                compressed_size=len(chunk.data),
                message_end_time=chunk.message_end_time,
                message_index_length=len(indexes),
                message_index_offsets=offsets,
                message_start_time=chunk.message_start_time,
                uncompressed_size=chunk.uncompressed_size,
            )
        )
        if index:
            self._counted(
                {channel: len(entries) for channel, entries in index.items()},
                [chunk.message_start_time, chunk.message_end_time],
            )

    def copy_record(self, record: McapRecord) -> None:
        """A record outside of chunks, at once: a schema, a channel, an attachment."""
        self.flush()
        builder = RecordBuilder()
        record.write(builder)
        data = builder.end()
        at = self.saved
        self._put(data)
        if isinstance(record, Attachment):
            self._attachments.append(
                AttachmentIndex(
                    offset=at,
                    length=len(data),
                    log_time=record.log_time,
                    create_time=record.create_time,
                    data_size=len(record.data),
                    name=record.name,
                    media_type=record.media_type,
                )
            )

    def take_channels(self, schemas: dict[int, Schema], channels: dict[int, Channel]) -> None:
        """Schemas and channels of another file, under the numbers that they have there."""
        self._schemas.update(schemas)
        self._channels.update(channels)

    def sync(self) -> None:
        """Wait until the disk has what is saved: a loss of power cannot take it any more."""
        try:
            os.fsync(self._file)
        except OSError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """End the last chunk and write the index. Raises SessionError when that fails; what is
        saved can then be indexed by `visavis repair`."""
        if self._closed:
            return
        try:
            self.flush()
            self._put(self._summary())
            self.sync()
        finally:
            self._closed = True
            os.close(self._file)

    def drop_waiting(self) -> None:
        """Forget the chunk in memory, whose writing failed."""
        self._records.end()
        self._begin()

    def abandon(self) -> None:
        """Close without an index, as a crash would."""
        if not self._closed:
            self._closed = True
            os.close(self._file)

    def _begin(self) -> None:
        self._records = RecordBuilder()
        self._index: Index = {}
        self._used_schemas: set[int] = set()

    def _packed(self, data: bytes) -> tuple[bytes, str, int]:
        body = self._packer.compress(data)
        if self._seal is not None:
            # A checksum of what is sealed would tell something of it; the seal is one itself.
            return self._seal.sealed(body, len(self._chunks) + 1), COMPRESSION, 0
        return body, "zstd", zlib.crc32(data)

    def _counted(self, counts: dict[int, int], times: list[int]) -> None:
        self._counts.update(counts)
        self.messages += sum(counts.values())
        first, last = min(times), max(times)
        self._first_ns = first if self._first_ns is None else min(self._first_ns, first)
        self._last_ns = max(self._last_ns, last)

    def _summary(self) -> bytes:
        """Everything after the data: its end, the groups of the summary, their offsets, the foot.

        A sealed file's names of channels are sealed with its chunks, and nowhere else.
        """
        named = () if self._names_are_sealed() else tuple(self._schemas.values())
        channels = () if self._names_are_sealed() else tuple(self._channels.values())
        builder = RecordBuilder()
        DataEnd(data_section_crc=0).write(builder)
        start = self.saved + builder.count
        statistics = Statistics(
            attachment_count=len(self._attachments),
            channel_count=len(self._counts),
            channel_message_counts=dict(sorted(self._counts.items())),
            chunk_count=len(self._chunks),
            message_count=self.messages,
            metadata_count=len(self._metadata),
            message_start_time=self._first_ns or 0,
            message_end_time=self._last_ns,
            schema_count=len(named),
        )
        groups: tuple[tuple[Opcode, tuple[McapRecord, ...]], ...] = (
            (Opcode.SCHEMA, named),
            (Opcode.CHANNEL, channels),
            (Opcode.STATISTICS, (statistics,)),
            (Opcode.CHUNK_INDEX, tuple(self._chunks)),
            (Opcode.METADATA_INDEX, tuple(self._metadata)),
            (Opcode.ATTACHMENT_INDEX, tuple(self._attachments)),
        )
        offsets: list[SummaryOffset] = []
        for opcode, records in groups:
            group = self.saved + builder.count
            for record in records:
                record.write(builder)
            length = self.saved + builder.count - group
            if length:
                offsets.append(SummaryOffset(opcode, group, length))
        offset_start = self.saved + builder.count
        for offset in offsets:
            offset.write(builder)
        data = builder.end()
        foot = RecordBuilder()
        Footer(summary_start=start, summary_offset_start=offset_start, summary_crc=0).write(foot)
        # The checksum covers the summary and the footer up to itself (MCAP, "Footer").
        head = foot.end()[:-4]
        crc = zlib.crc32(data[start - self.saved :] + head)
        return data + head + crc.to_bytes(4, "little") + MAGIC

    def _names_are_sealed(self) -> bool:
        return any(chunk.compression == COMPRESSION for chunk in self._chunks)

    def _put(self, data: bytes) -> None:
        """Append, whole or not at all."""
        if self._closed:
            raise SessionError(f"{self.path}: is closed, nothing can be written")
        view = memoryview(data)
        try:
            if not os.fstat(self._file).st_nlink:
                raise SessionError(
                    f"{self.path}: was removed while it was written; {self.messages} records are "
                    "lost with it. Record anew, to a folder that stays"
                )
            while view:
                view = view[os.write(self._file, view) :]
        except SessionError:
            raise
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self.saved)
                os.lseek(self._file, self.saved, os.SEEK_SET)
            raise self._refused(error) from error
        self.saved += len(data)

    def _refused(self, error: OSError) -> SessionError:
        return SessionError(
            f"{self.path}: writing stopped ({error.strerror}); it holds {self.messages} records "
            f"up to here. Make room, and `visavis repair {self.path}` if it does not open"
        )


def _indexes(index: Index, at: int) -> tuple[bytes, dict[int, int]]:
    """The records of a chunk's index, which begin at byte `at`, and where each one begins."""
    builder = RecordBuilder()
    offsets: dict[int, int] = {}
    for channel, entries in index.items():
        offsets[channel] = at + builder.count
        MessageIndex(channel_id=channel, records=entries).write(builder)
    return builder.end(), offsets


def _created(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        return os.open(path, flags, 0o600)
    except FileExistsError as error:
        raise SessionError(f"{path}: exists already; choose another name") from error
    except FileNotFoundError as error:
        raise SessionError(f"{path}: there is no folder {path.parent}; make it first") from error
    except OSError as error:
        raise SessionError(
            f"{path}: cannot write here ({error.strerror}); choose another folder"
        ) from error
