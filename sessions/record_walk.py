"""Walking a damaged MCAP file from its first byte to its last, whatever lies between.

Where a record is expected and none is, the walk searches for the next one that proves itself: a
chunk by its checksum (or by unpacking, where it has none), others by their fields, which must fill
the record exactly. Every length is checked before it is believed, and what failed attempts may cost
is limited, so that a file made to be slow is not.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from mcap import records
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import Chunk

from sessions.record_scan import (
    MAGIC,
    MESSAGE,
    MOST_RECORD,
    MOST_UNPACKED,
    PREFIX,
    parsed,
    read_record,
    unpacked,
)
from sessions.sealing import COMPRESSION, OVERHEAD, Seal

CHUNK_HEAD = struct.Struct("<QQQII")
"""First and last moment, unpacked size, checksum, length of the compression's name."""
_LONGEST_NAME = 64
_KINDS: dict[int, Any] = {
    Opcode.HEADER: records.Header,
    Opcode.FOOTER: records.Footer,
    Opcode.SCHEMA: records.Schema,
    Opcode.CHANNEL: records.Channel,
    Opcode.MESSAGE: records.Message,
    Opcode.MESSAGE_INDEX: records.MessageIndex,
    Opcode.CHUNK_INDEX: records.ChunkIndex,
    Opcode.ATTACHMENT: records.Attachment,
    Opcode.ATTACHMENT_INDEX: records.AttachmentIndex,
    Opcode.STATISTICS: records.Statistics,
    Opcode.METADATA: records.Metadata,
    Opcode.METADATA_INDEX: records.MetadataIndex,
    Opcode.SUMMARY_OFFSET: records.SummaryOffset,
    Opcode.DATA_END: records.DataEnd,
}
_LOOSE = (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE)
_LAST_OPCODE = max(_KINDS)
# A record's opcode, and a length below 2^29, little-endian; overlapping places are found as well.
_CANDIDATE = re.compile(rb"(?=[\x01-\x0f].{3}[\x00-\x1f]\x00{4})", re.DOTALL)
_WINDOW = 1 << 20
_MOST_IN_VAIN = 1 << 29
"""Bytes that the search may read and unpack in vain, about ten seconds of it."""
_ATTEMPT = 2048
"""What an attempt counts at least, in bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A whole record of the file."""

    at: int
    end: int
    opcode: int
    record: Any
    """Parsed by the `mcap` package's class; None for an opcode that MCAP leaves to others."""
    content: bytes | None = None
    """A chunk's unpacked records; None where it is sealed and no secret was given."""
    sound: bool = True
    """False for a chunk whose own length was wrong: its bytes cannot be copied as they are."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of the file that are no record."""

    at: int
    end: int
    why: str
    chunk: bool = False
    """Whether a chunk begins there, by its first byte."""


class RecordWalk:
    """The pieces and damages of one file, in order. For one pass.

    `loose`: messages outside of chunks prove themselves as well. In a file of chunks they would be
    found inside damaged ones, where nothing tells whether they are whole.
    """

    def __init__(
        self, file: BinaryIO, size: int, seal: Seal | None = None, loose: bool = False
    ) -> None:
        self._file, self._size, self._seal = file, size, seal
        self._loose = loose
        self._in_vain = 0
        self.ended = False
        """Whether the file ends as it should: a footer, the magic, and nothing after it."""

    def __iter__(self) -> Iterator[Piece | Damage]:
        self._file.seek(0)
        at = len(MAGIC) if self._file.read(len(MAGIC)) == MAGIC else 0
        if not at and self._size:
            end = self._resumed(0)
            yield Damage(0, end, "does not begin as an MCAP file")
            at = end
        footed = False
        while at < self._size:
            if footed and self._bytes(at, len(MAGIC), short=True) == MAGIC:
                at += len(MAGIC)
                self.ended = at == self._size
                footed = False
                if self.ended:
                    return
            try:
                piece = self._trusted(at)
            except ValueError as error:  # UnicodeDecodeError is one too.
                end = self._resumed(at + 1)
                yield Damage(at, end, str(error), self._bytes(at, 1) == bytes([Opcode.CHUNK]))
                footed = False
                at = end
                continue
            footed = piece.opcode == Opcode.FOOTER
            self._loose = self._loose or piece.opcode == Opcode.MESSAGE
            yield piece
            at = piece.end

    def piece(self, at: int) -> Piece:
        """The record at byte `at`. Raises ValueError when there is none or it is damaged."""
        opcode = self._bytes(at, 1)
        if opcode == bytes([Opcode.CHUNK]):
            return self._chunk(at)
        opcode, body = read_record(self._file, at, self._size)
        if not opcode:
            raise ValueError(f"byte {at}: expected a record, got something else")
        if opcode == Opcode.ATTACHMENT and body[-4:] not in (
            bytes(4),
            zlib.crc32(body[:-4]).to_bytes(4, "little"),
        ):
            raise ValueError(f"byte {at}: an attachment's checksum does not fit it")
        end = at + PREFIX.size + len(body)
        kind = _KINDS.get(opcode)
        return Piece(at, end, opcode, None if kind is None else parsed(kind, body))

    def _trusted(self, at: int) -> Piece:
        """The record at a place where one must be. Where its fields do not fill it, its length may
        be damaged, or its writer a newer one: what follows tells."""
        piece = self.piece(at)
        if (
            piece.opcode != Opcode.CHUNK
            and not self._exact(piece)
            and not self._plausible(piece.end, 2)
        ):
            raise ValueError(f"byte {at}: expected a record, got something else")
        return piece

    def _exact(self, piece: Piece) -> bool:
        """Whether a record's fields, written again, are its bytes."""
        if piece.record is None or piece.opcode == Opcode.MESSAGE:
            return False
        builder = RecordBuilder()
        piece.record.write(builder)
        return builder.end() == self._bytes(piece.at, piece.end - piece.at)

    def _resumed(self, at: int) -> int:
        """The first byte from `at` on where a record proves itself; the file's end otherwise."""
        # A chunk that failed is usually whole in its length: first what follows it by its own word.
        head = self._bytes(max(at - 1, 0), PREFIX.size, short=True)
        if len(head) == PREFIX.size and head[0] == Opcode.CHUNK:
            after = at - 1 + PREFIX.size + PREFIX.unpack(head)[1]
            if after <= self._size and self._proven(after):
                return after
        while at < self._size:
            window = self._bytes(at, _WINDOW + PREFIX.size, short=True)
            for match in _CANDIDATE.finditer(window):
                if self._in_vain > _MOST_IN_VAIN:
                    return self._size
                if match.start() < _WINDOW and self._proven(at + match.start()):
                    return at + match.start()
            at += _WINDOW
        return self._size

    def _proven(self, at: int) -> bool:
        """Whether the record at `at` can be nothing else."""
        if at == self._size:
            return True
        self._in_vain += _ATTEMPT
        try:
            opcode, length = PREFIX.unpack(self._bytes(at, PREFIX.size))
            if not 1 <= opcode <= _LAST_OPCODE or length > self._size - at:
                return False
            if opcode in _LOOSE and not self._loose:
                return False
            if opcode == Opcode.CHUNK:
                chunk, end, whole = self._chunk_fields(at)
                self._in_vain += len(chunk.data)
                if chunk.compression == COMPRESSION and self._seal is None:
                    return whole and self._plausible(end)
                self._in_vain += chunk.uncompressed_size
                unpacked(chunk, self._seal)
                self._in_vain -= _ATTEMPT + len(chunk.data) + chunk.uncompressed_size
                return True
            self._in_vain += length
            piece = self.piece(at)
            if opcode == Opcode.MESSAGE:
                return self._plausible(piece.end, 3)
            return self._exact(piece) and self._plausible(piece.end)
        except (ValueError, struct.error):
            return False

    def _plausible(self, at: int, records: int = 1) -> bool:
        """Whether so many records may follow at `at`, or the file's end."""
        for _ in range(records):
            if at == self._size or self._bytes(at, len(MAGIC), short=True) == MAGIC:
                return True
            head = self._bytes(at, PREFIX.size, short=True)
            if len(head) < PREFIX.size:
                return False
            opcode, length = PREFIX.unpack(head)
            # The last record of a file that was cut goes beyond its end.
            if not (1 <= opcode <= _LAST_OPCODE or opcode >= 0x80) or length > MOST_RECORD:
                return False
            if opcode < 0x80 and length < (MESSAGE.size if opcode == Opcode.MESSAGE else 4):
                return False
            at = min(at + PREFIX.size + length, self._size)
        return True

    def _chunk(self, at: int) -> Piece:
        chunk, end, whole = self._chunk_fields(at)
        if chunk.compression == COMPRESSION and self._seal is None:
            if not whole or len(chunk.data) < OVERHEAD or not self._plausible(end):
                raise ValueError(f"byte {at}: a sealed chunk of a wrong length")
            return Piece(at, end, Opcode.CHUNK, chunk)
        content = unpacked(chunk, self._seal)
        return Piece(at, end, Opcode.CHUNK, chunk, content, whole)

    def _chunk_fields(self, at: int) -> tuple[Chunk, int, bool]:
        """A chunk by its inner lengths, where it ends, and whether its outer length is the same:
        of the two one may be damaged."""
        room = PREFIX.size + CHUNK_HEAD.size + _LONGEST_NAME + 8
        head = self._bytes(at, room, short=True)
        if len(head) < PREFIX.size + CHUNK_HEAD.size:
            raise ValueError(f"byte {at}: the file ends within a chunk")
        _, outer = PREFIX.unpack_from(head)
        first, last, size, crc, n = CHUNK_HEAD.unpack_from(head, PREFIX.size)
        start = PREFIX.size + CHUNK_HEAD.size + n + 8
        if n > _LONGEST_NAME or len(head) < start:
            raise ValueError(f"byte {at}: a chunk's beginning is damaged or cut off")
        name = head[start - 8 - n : start - 8].decode("utf-8")
        (length,) = struct.unpack_from("<Q", head, start - 8)
        if length > self._size - at - start:
            raise ValueError(f"byte {at}: the file ends within a chunk")
        if length > MOST_RECORD or size > MOST_UNPACKED:
            raise ValueError(f"byte {at}: a chunk of {length} bytes that would become {size}")
        inner = start - PREFIX.size + length
        data = self._bytes(at + start, length)
        chunk = Chunk(name, data, last, first, crc, size)
        return chunk, at + PREFIX.size + inner, inner == outer

    def _bytes(self, at: int, count: int, short: bool = False) -> bytes:
        self._file.seek(at)
        data = self._file.read(count)
        if len(data) < count and not short:
            raise ValueError(f"byte {at}: the file ends within a record")
        return data
