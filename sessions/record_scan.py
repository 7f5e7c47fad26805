"""Reading MCAP's records from files that nobody vouches for.

The `mcap` package parses a record's fields; here every length is checked against the file and
against limits before anything of that size is read or unpacked. Whatever is wrong raises
ValueError with words, never another exception, and memory stays within MOST_UNPACKED a chunk.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import lz4.frame
import numpy as np
import numpy.typing as npt
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Metadata, Schema

from sessions.sealing import COMPRESSION, METADATA, Seal

MAGIC = b"\x89MCAP0\r\n"
PREFIX = struct.Struct("<BQ")
MESSAGE = struct.Struct("<HIQQ")
MOST_RECORD = 256 << 20
"""Bytes of a record in a file; a chunk of the largest lossless picture has less."""
MOST_UNPACKED = 256 << 20
"""Bytes of a chunk's records."""
MOST_CHANNELS = 4096
MOST_CACHED = 16 << 10
"""Bytes of a schema or channel that is remembered."""
MOST_RECORDS = 1 << 18
"""Of a chunk: the smallest messages have 31 bytes, so that a chunk as `ChunkFile` makes them has at
most half of these."""


Moments = npt.NDArray[np.int64]
"""(N, 2): time and place of messages within a chunk."""


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as it lies in a chunk."""

    channel: int
    sequence: int
    log_ns: int
    publish_ns: int
    data: bytes


def read_record(file: BinaryIO, at: int, size: int) -> tuple[int, bytes]:
    """The opcode and body of the record at byte `at` of a file of `size` bytes."""
    file.seek(at)
    head = file.read(PREFIX.size)
    if len(head) < PREFIX.size:
        raise ValueError(f"byte {at}: the file ends within a record")
    opcode, length = PREFIX.unpack(head)
    if length > size - at - PREFIX.size:
        raise ValueError(f"byte {at}: a record of {length} bytes goes beyond the end of the file")
    if length > MOST_RECORD:
        raise ValueError(f"byte {at}: a record of {length} bytes; at most {MOST_RECORD} are read")
    body = file.read(length)
    if len(body) < length:
        raise ValueError(f"byte {at}: the file ends within a record")
    return opcode, body


def is_sealed(path: Path) -> bool:
    """Whether a file says right behind its beginning that its chunks are sealed. False as well for
    what is no session or cannot be read: whoever opens it then says so."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if file.read(len(MAGIC)) != MAGIC:
                return False
            _, header = read_record(file, len(MAGIC), size)
            opcode, body = read_record(file, len(MAGIC) + PREFIX.size + len(header), size)
            return opcode == Opcode.METADATA and parsed(Metadata, body).name == METADATA
    except (OSError, ValueError):
        return False


def parsed(kind: type[Any], body: bytes) -> Any:
    """A record of that kind from its body."""
    try:
        stream = ReadDataStream(_Exact(body))
        if kind.__name__ == "Message":
            return kind.read(stream, len(body))
        return kind.read(stream)
    except (McapError, struct.error, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise ValueError(f"{kind.__name__}: expected a whole record ({error})") from error


class _Exact(BytesIO):
    """A stream that never gives less than was asked for: a length inside a record may be a lie."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if size is not None and size >= 0 and len(data) < size:
            raise ValueError(f"expected {size} more bytes in a record, got {len(data)}")
        return data


def chunk_of(body: bytes) -> Chunk:
    """A chunk record; its data are as they lie in the file."""
    chunk = parsed(Chunk, body)
    if chunk.uncompressed_size > MOST_UNPACKED:
        raise ValueError(
            f"chunk: would unpack to {chunk.uncompressed_size} bytes; at most {MOST_UNPACKED} are"
        )
    return chunk


def unpacked(chunk: Chunk, seal: Seal | None) -> bytes:
    """A chunk's records. Raises ValueError when they are damaged, sealed without `seal`, packed in
    an unknown way, or not as long as the chunk says."""
    data, name = chunk.data, chunk.compression
    if name == COMPRESSION:
        if seal is None:
            raise ValueError("chunk: is sealed")
        data, name = seal.opened_chunk(data)[1], "zstd"
    size = chunk.uncompressed_size
    try:
        if name == "zstd":
            if zstandard.frame_content_size(data) not in (size, -1):
                raise ValueError("chunk: zstd names another size than the chunk")
            data = zstandard.ZstdDecompressor().decompress(data, max_output_size=max(size, 1))
        elif name == "lz4":
            frame = lz4.frame.LZ4FrameDecompressor()
            data = frame.decompress(data, max_length=size + 1)
            if not frame.eof:
                raise ValueError("chunk: its LZ4 frame does not end where its records do")
        elif name:
            raise ValueError(f"chunk: packed by {name!r}, which this version does not know")
    except (zstandard.ZstdError, RuntimeError, MemoryError) as error:
        raise ValueError(f"chunk: cannot be unpacked ({error})") from error
    if len(data) != size:
        raise ValueError(f"chunk: expected {size} bytes of records, got {len(data)}")
    if chunk.uncompressed_crc and zlib.crc32(data) != chunk.uncompressed_crc:
        raise ValueError("chunk: its checksum does not fit its records")
    return data


def messages_of(data: bytes, channels: set[int] | None = None) -> Iterator[RawMessage]:
    """The messages of unpacked records, of these channels or of all, in their order."""
    for opcode, at, end in records_of(data):
        if opcode != Opcode.MESSAGE:
            continue
        if end - at < MESSAGE.size:
            raise ValueError(f"message: expected at least {MESSAGE.size} bytes, got {end - at}")
        channel, sequence, log_ns, publish_ns = MESSAGE.unpack_from(data, at)
        if channels is None or channel in channels:
            yield RawMessage(channel, sequence, log_ns, publish_ns, data[at + MESSAGE.size : end])


Index = dict[int, list[tuple[int, int]]]
"""Of a chunk: channel to the time and the place in its unpacked records of every message."""


def index_of(data: bytes) -> Index:
    """The index of a chunk's unpacked records, by time as MCAP asks for it."""
    index: Index = {}
    for opcode, at, end in records_of(data):
        if opcode == Opcode.MESSAGE:
            if end - at < MESSAGE.size:
                raise ValueError(f"message: expected at least {MESSAGE.size} bytes, got {end - at}")
            channel, _, log_ns, _ = MESSAGE.unpack_from(data, at)
            index.setdefault(channel, []).append((log_ns, at - PREFIX.size))
    for entries in index.values():
        entries.sort()
    return index


def names_of(data: bytes) -> tuple[dict[int, Schema], dict[int, Channel]]:
    """The schemas and channels that unpacked records define."""
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    for opcode, at, end in records_of(data):
        if opcode == Opcode.SCHEMA:
            schema = _definition(Schema, data[at:end])
            schemas[schema.id] = schema
        elif opcode == Opcode.CHANNEL:
            channel = _definition(Channel, data[at:end])
            channels[channel.id] = channel
    if len(channels) > MOST_CHANNELS or len(schemas) > MOST_CHANNELS:
        raise ValueError(f"chunk: defines {len(channels)} channels; at most {MOST_CHANNELS} are")
    return schemas, channels


def moments_of(body: bytes) -> tuple[int, Moments]:
    """The channel of a message index and its entries, by time, then by place."""
    if len(body) < 6:
        raise ValueError(f"message index: expected at least 6 bytes, got {len(body)}")
    channel, length = struct.unpack_from("<HI", body)
    if length != len(body) - 6 or length % 16:
        raise ValueError(f"message index: expected {len(body) - 6} bytes of entries, got {length}")
    entries = np.frombuffer(body, "<u8", offset=6).reshape(-1, 2)
    if (entries >> np.uint64(63)).any():
        raise ValueError("message index: expected times and places below 2^63")
    moments = entries.astype(np.int64)
    return channel, moments[np.lexsort((moments[:, 1], moments[:, 0]))]


def _definition(kind: type[Any], body: bytes) -> Any:
    """A schema or a channel, which every chunk of a file repeats."""
    return _cached(kind, body) if len(body) <= MOST_CACHED else parsed(kind, body)


@lru_cache(64)
def _cached(kind: type[Any], body: bytes) -> Any:
    return parsed(kind, body)


def records_of(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Opcode, start and end of the body of every one of a chunk's unpacked records."""
    at = count = 0
    while at < len(data):
        if len(data) - at < PREFIX.size:
            raise ValueError("chunk: ends within a record")
        opcode, length = PREFIX.unpack_from(data, at)
        at += PREFIX.size
        count += 1
        if not opcode or count > MOST_RECORDS:
            raise ValueError(f"chunk: its record {count} is none, or one too many")
        if length > len(data) - at:
            raise ValueError(f"chunk: a record of {length} bytes goes beyond its end")
        yield opcode, at, at + length
        at += length
