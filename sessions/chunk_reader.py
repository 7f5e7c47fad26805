"""A session file's index: read from its end when it is opened, the body only where it is asked for.

Opening an hour costs a few megabytes of index. Each chunk that is read is kept while it is among
the last few, because reading backwards and forwards comes in steps smaller than a chunk.
"""

from __future__ import annotations

import os
import zlib
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    ChunkIndex,
    Footer,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
)

from sessions.record_scan import (
    MAGIC,
    MESSAGE,
    MOST_CHANNELS,
    PREFIX,
    Moments,
    RawMessage,
    chunk_of,
    messages_of,
    moments_of,
    names_of,
    parsed,
    read_record,
    unpacked,
)
from sessions.sealing import COMPRESSION, METADATA, Seal, number_of
from sessions.session_error import CutSessionError, SessionError
from streams.closing import Closing

FOOT = PREFIX.size + 20 + len(MAGIC)
MOST_SUMMARY = 64 << 20
"""Bytes of an index; that of an hour has one or two million."""
KEPT_CHUNKS, KEPT_BYTES = 6, 64 << 20
MOST_MOMENTS = 16 << 20
"""Bytes of a chunk's own index: 16 for each message."""
KEPT_MOMENTS = 4 << 20
"""Entries of chunks' indexes that are kept (64 MB; an hour of all seams has half a million)."""
LAST_NS = 2**63 - 1
_NO_MOMENTS: Moments = np.zeros((0, 2), np.int64)


class ChunkReader(Closing):
    """An indexed MCAP file, opened for reading.

    Raises SessionError when there is no such file or it is no MCAP file, CutSessionError when it
    has no sound index, LockedSessionError when it is sealed and `secret` does not open it.
    """

    def __init__(self, path: Path, secret: bytes | None = None) -> None:
        self.path = path
        self.schemas: dict[int, Schema] = {}
        self.channels: dict[int, Channel] = {}
        self.chunks: list[ChunkIndex] = []
        """In the order of their first moments."""
        self.counts: dict[int, int] = {}
        """Messages of each channel."""
        self._metadata: list[MetadataIndex] = []
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._sealed_at: list[int] = []
        self._sealed_numbers: list[int] = []
        self._moments: OrderedDict[int, dict[int, Moments]] = OrderedDict()
        self._moments_count = 0
        self._seal: Seal | None = None
        self._file = opened(path)
        try:
            self._size = os.fstat(self._file.fileno()).st_size
            self._read_index()
            if any(chunk.compression == COMPRESSION for chunk in self.chunks) or (
                METADATA in {entry.name for entry in self._metadata}
            ):
                self._seal = Seal.opened(str(path), self.metadata(METADATA), secret)
                self._read_sealed_names()
            self.chunks.sort(key=lambda chunk: (chunk.message_start_time, chunk.chunk_start_offset))
        except ValueError as error:
            self._file.close()
            raise self.damaged(error) from error
        except BaseException:
            self._file.close()
            raise

    @property
    def sealed(self) -> bool:
        """Whether a secret was needed."""
        return self._seal is not None

    @property
    def size(self) -> int:
        """Of the file, bytes."""
        return self._size

    def metadata(self, name: str) -> dict[str, str]:
        """The texts of that name; empty when there are none."""
        for entry in self._metadata:
            if entry.name == name:
                opcode, body = read_record(self._file, entry.offset, self._size)
                if opcode != Opcode.METADATA:
                    raise ValueError(f"byte {entry.offset}: expected metadata, got {opcode}")
                return parsed(Metadata, body).metadata
        return {}

    def records(self, chunk: ChunkIndex) -> bytes:
        """A chunk's unpacked records. Raises CutSessionError when it is damaged."""
        at = chunk.chunk_start_offset
        kept = self._kept.get(at)
        if kept is not None:
            self._kept.move_to_end(at)
            return kept
        try:
            opcode, body = read_record(self._file, at, self._size)
            if opcode != Opcode.CHUNK:
                raise ValueError(f"byte {at}: expected a chunk, got record {opcode}")
            packed = chunk_of(body)
            data = unpacked(packed, self._seal)
            if packed.compression == COMPRESSION:
                self._require_order(at, number_of(packed.data))
            elif self._seal is not None:
                raise ValueError(f"byte {at}: a chunk is not sealed as the others are")
        except ValueError as error:
            raise self.damaged(error) from error
        self._kept[at] = data
        total = sum(len(kept) for kept in self._kept.values())
        while len(self._kept) > KEPT_CHUNKS or (total > KEPT_BYTES and len(self._kept) > 1):
            total -= len(self._kept.popitem(last=False)[1])
        return data

    def _require_order(self, at: int, number: int) -> None:
        """Raise ValueError unless sealed chunks lie in the order in which they were sealed."""
        k = bisect_left(self._sealed_at, at)
        if k < len(self._sealed_at) and self._sealed_at[k] == at:
            return
        before, behind = self._sealed_numbers[k - 1 : k], self._sealed_numbers[k : k + 1]
        if (k and before[0] >= number) or (behind and behind[0] <= number):
            raise ValueError(f"byte {at}: sealed chunk {number} is not in its place")
        self._sealed_at.insert(k, at)
        self._sealed_numbers.insert(k, number)

    def messages(self, chunk: ChunkIndex, channels: set[int] | None = None) -> Iterator[RawMessage]:
        """A chunk's messages of these channels or of all, in the order of the file."""
        data = self.records(chunk)
        first_ns, last_ns = chunk.message_start_time, min(chunk.message_end_time, LAST_NS)
        try:
            for raw in messages_of(data, channels):
                if not first_ns <= raw.log_ns <= last_ns or raw.publish_ns > LAST_NS:
                    raise ValueError(f"a message of {raw.log_ns} ns is not where its index says")
                yield raw
        except ValueError as error:
            raise self.damaged(error) from error

    def index(self, chunk: ChunkIndex, channel: int) -> Moments:
        """(N, 2) int64, time and place of a channel's messages in a chunk, in the order of reading;
        nothing is unpacked for it."""
        at = chunk.chunk_start_offset
        if at not in self._moments:
            try:
                moments = self._read_moments(chunk)
            except ValueError as error:
                raise self.damaged(error) from error
            self._moments[at] = moments
            self._moments_count += sum(len(found) for found in moments.values())
            while self._moments_count > KEPT_MOMENTS and len(self._moments) > 1:
                _, old = self._moments.popitem(last=False)
                self._moments_count -= sum(len(found) for found in old.values())
        return self._moments[at].get(channel, _NO_MOMENTS)

    def message(self, chunk: ChunkIndex, channel: int, moment: tuple[int, int]) -> RawMessage:
        """The message that `index` names. Raises CutSessionError when another one lies there."""
        data, (log_ns, at) = self.records(chunk), moment
        try:
            opcode, length = (
                PREFIX.unpack_from(data, at) if at + PREFIX.size <= len(data) else (0, 0)
            )
            at += PREFIX.size
            if opcode != Opcode.MESSAGE or not MESSAGE.size <= length <= len(data) - at:
                raise ValueError(f"its index names a message at byte {moment[1]} of a chunk")
            found, sequence, found_ns, publish_ns = MESSAGE.unpack_from(data, at)
            if (found, found_ns) != (channel, log_ns):
                raise ValueError("a chunk's index and its messages differ")
        except ValueError as error:
            raise self.damaged(error) from error
        body = data[at + MESSAGE.size : at + length]
        return RawMessage(channel, sequence, log_ns, publish_ns, body)

    def damaged(self, error: ValueError) -> CutSessionError:
        """The words for a file that cannot be read (on)."""
        return CutSessionError(
            f"{self.path}: is cut off or damaged ({error}); `visavis repair {self.path}` saves "
            "what is whole"
        )

    def close(self) -> None:
        """Close the file."""
        self._kept.clear()
        self._moments.clear()
        self._moments_count = 0
        self._file.close()

    def _read_moments(self, chunk: ChunkIndex) -> dict[int, Moments]:
        start = chunk.chunk_start_offset + chunk.chunk_length
        length = chunk.message_index_length
        if length > min(self._size - start, MOST_MOMENTS):
            raise ValueError(f"byte {start}: an index of {length} bytes")
        self._file.seek(start)
        body = self._file.read(length)
        view, at = BytesIO(body), 0
        moments: dict[int, Moments] = {}
        while at < len(body):
            opcode, record = read_record(view, at, len(body))
            at += PREFIX.size + len(record)
            if opcode != Opcode.MESSAGE_INDEX:
                raise ValueError(f"byte {start}: expected an index, got record {opcode}")
            channel, found = moments_of(record)
            first_ns, last_ns = chunk.message_start_time, min(chunk.message_end_time, LAST_NS)
            if len(found) and not first_ns <= found[0, 0] <= found[-1, 0] <= last_ns:
                raise ValueError(f"byte {start}: an index names times outside of its chunk's")
            moments[channel] = found
        if set(moments) != set(chunk.message_index_offsets):
            raise ValueError(f"byte {start}: a chunk's index names other channels than the file's")
        return moments

    def _read_index(self) -> None:
        self._file.seek(0)
        if self._file.read(len(MAGIC)) != MAGIC:
            raise SessionError(f"{self.path}: is no session; expected an MCAP file")
        if self._size < len(MAGIC) + FOOT:
            raise ValueError("it has no end")
        self._file.seek(self._size - FOOT)
        foot = self._file.read(FOOT)
        opcode, length = PREFIX.unpack_from(foot)
        if not foot.endswith(MAGIC) or opcode != Opcode.FOOTER or length != 20:
            raise ValueError("it has no end")
        footer: Footer = parsed(Footer, foot[PREFIX.size : -len(MAGIC)])
        start, end = footer.summary_start, self._size - FOOT
        if not start:
            raise ValueError("it has no index")
        if not len(MAGIC) <= start <= end:
            raise ValueError(f"its index would begin at byte {start}")
        if end - start > MOST_SUMMARY:
            raise ValueError(f"its index has {end - start} bytes; at most {MOST_SUMMARY} are read")
        self._file.seek(start)
        summary = self._file.read(end - start)
        crc = zlib.crc32(foot[: PREFIX.size + 16], zlib.crc32(summary))
        if footer.summary_crc and crc != footer.summary_crc:
            raise ValueError("the checksum of its index does not fit")
        self._read_summary(summary)

    def _read_summary(self, summary: bytes) -> None:
        at, view = 0, BytesIO(summary)
        while at < len(summary):
            opcode, body = read_record(view, at, len(summary))
            at += PREFIX.size + len(body)
            if opcode == Opcode.SCHEMA:
                schema: Schema = parsed(Schema, body)
                self.schemas[schema.id] = schema
            elif opcode == Opcode.CHANNEL:
                channel: Channel = parsed(Channel, body)
                self.channels[channel.id] = channel
            elif opcode == Opcode.CHUNK_INDEX:
                chunk: ChunkIndex = parsed(ChunkIndex, body)
                if chunk.chunk_start_offset + chunk.chunk_length > self._size:
                    raise ValueError("a chunk of its index lies beyond its end")
                if chunk.message_start_time > chunk.message_end_time:
                    raise ValueError("a chunk of its index ends before it begins")
                self.chunks.append(chunk)
            elif opcode == Opcode.STATISTICS:
                self.counts = parsed(Statistics, body).channel_message_counts
            elif opcode == Opcode.METADATA_INDEX:
                self._metadata.append(parsed(MetadataIndex, body))
        end = 0
        for chunk in sorted(self.chunks, key=lambda chunk: chunk.chunk_start_offset):
            # Else a small file could name the same bytes again and again.
            if chunk.chunk_start_offset < end:
                raise ValueError("chunks of its index lie over one another")
            end = chunk.chunk_start_offset + chunk.chunk_length + chunk.message_index_length
        if len(self.channels) > MOST_CHANNELS or len(self.counts) > MOST_CHANNELS:
            raise ValueError(f"it has {len(self.channels)} channels; at most {MOST_CHANNELS} are")

    def _read_sealed_names(self) -> None:
        """Names of channels are sealed with the chunks: one chunk of each channel tells them."""
        missing = {number for chunk in self.chunks for number in chunk.message_index_offsets}
        for chunk in self.chunks:
            if missing & set(chunk.message_index_offsets):
                schemas, channels = names_of(self.records(chunk))
                self.schemas.update(schemas)
                self.channels.update(channels)
                missing -= set(channels)
            if not missing:
                return


def opened(path: Path):
    """The file, for reading bytes. Raises SessionError."""
    if path.is_dir():
        raise SessionError(f"{path}: is a folder; give a session file in it")
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise SessionError(f"{path}: there is no such file") from error
    except OSError as error:
        raise SessionError(f"{path}: cannot be read ({error.strerror})") from error
