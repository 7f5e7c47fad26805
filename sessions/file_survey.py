"""What is whole in a damaged MCAP file, and what is wrong with it: the first walk of a repair.

Little is remembered of each chunk, so that memory stays small however much the file unpacks to.
"""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, ChunkIndex, Footer, Schema, Statistics

from sessions.lost_records import Tally
from sessions.record_scan import Index, index_of, names_of
from sessions.record_walk import Damage, Piece, RecordWalk
from sessions.sealing import COMPRESSION, METADATA, Seal, number_of

NOT_SEALED = "is not sealed as the rest of the file is"


@dataclass(slots=True)
class Kept:
    """A record that a clean file gets."""

    at: int
    end: int
    opcode: int
    first_ns: int = 0
    last_ns: int = 0
    index: Index | None = None
    """Of a chunk that cannot be opened, as the file has it; of others it is made anew."""


@dataclass(slots=True)
class Survey:
    """A file as the first walk found it."""

    library: str = "visavis"
    kept: list[Kept] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    """Messages of each channel."""
    tally: Tally = field(default_factory=Tally)
    sealed: bool = False
    seal_found: bool = False
    """Whether the parameters of the seal are there."""
    first_found: bool = False
    """Whether the first sealed chunk is there, which holds the header."""
    data_end: int = 0
    """Where the records end and the index begins, bytes; 0 where it is not to be seen."""
    index: str = ""
    """What is wrong with the index; "" when nothing is."""

    @property
    def chunks(self) -> list[Kept]:
        return [kept for kept in self.kept if kept.opcode == Opcode.CHUNK]

    @property
    def sound(self) -> bool:
        """Whether a clean copy would be no better."""
        return not (self.damages or self.index or self.tally.header_lost or self.undefined)

    @property
    def undefined(self) -> set[int]:
        """Channels with messages that nothing defines: nobody can read these."""
        if self.sealed:
            return set()
        return {
            number
            for number in self.counts
            if number not in self.channels
            or self.channels[number].schema_id not in {0, *self.schemas}
        }


def surveyed(file: BinaryIO, size: int, seal: Seal | None) -> Survey:
    """Walk a file of `size` bytes; with `seal` sealed chunks are opened and checked as well."""
    survey = _Surveyor(file, size, seal, False).survey
    return survey if survey.counts else _Surveyor(file, size, seal, True).survey


class _Surveyor:
    """The walk, and what must be remembered from one record to the next."""

    def __init__(self, file: BinaryIO, size: int, seal: Seal | None, loose: bool) -> None:
        self.survey = Survey()
        self._file = file
        self._chunk: Piece | None = None
        self._last_number = -1
        self._found: Index = {}
        self._footer: Piece | None = None
        self._statistics: Statistics | None = None
        self._chunk_indexes: list[ChunkIndex] = []
        walk = RecordWalk(file, size, seal, loose)
        for piece in walk:
            if isinstance(piece, Piece) and piece.opcode == Opcode.MESSAGE_INDEX:
                self._found[piece.record.channel_id] = piece.record.records
                continue
            self._finish_chunk()
            if isinstance(piece, Damage):
                self.survey.damages.append(piece)
            else:
                self._take(piece, piece.record)
        self._finish_chunk()
        self.survey.index = self.survey.index or self._index_fault(walk.ended)

    def _take(self, piece: Piece, record: Any) -> None:
        survey = self.survey
        if piece.opcode == Opcode.CHUNK:
            self._chunk = piece
        elif piece.opcode == Opcode.HEADER:
            survey.library = record.library
        elif piece.opcode == Opcode.SCHEMA:
            survey.schemas.setdefault(record.id, record)
        elif piece.opcode == Opcode.CHANNEL:
            survey.channels.setdefault(record.id, record)
        elif piece.opcode == Opcode.MESSAGE and survey.sealed:
            survey.damages.append(Damage(piece.at, piece.end, NOT_SEALED))
        elif piece.opcode == Opcode.MESSAGE:
            survey.counts[record.channel_id] += 1
            at_ns = record.log_time
            survey.kept.append(Kept(piece.at, piece.end, piece.opcode, at_ns, at_ns))
        elif piece.opcode in (Opcode.ATTACHMENT, Opcode.METADATA):
            if piece.opcode == Opcode.METADATA and record.name == METADATA:
                survey.sealed = survey.seal_found = True
            survey.kept.append(Kept(piece.at, piece.end, piece.opcode))
        elif piece.opcode == Opcode.CHUNK_INDEX:
            self._chunk_indexes.append(record)
        elif piece.opcode == Opcode.STATISTICS:
            self._statistics = record
        elif piece.opcode == Opcode.DATA_END:
            survey.data_end = piece.end
        elif piece.opcode == Opcode.FOOTER:
            self._footer = piece

    def _finish_chunk(self) -> None:
        """Take up a chunk, when its index is behind it too."""
        piece, found = self._chunk, self._found
        self._chunk, self._found = None, {}
        if piece is None:
            return
        survey = self.survey
        chunk: Chunk = piece.record
        if chunk.compression == COMPRESSION:
            survey.sealed = True
        try:
            if survey.sealed:
                self._require_place(piece)
            content = piece.content
            index = _told_index(chunk, found) if content is None else self._read(content)
        except ValueError as error:
            survey.damages.append(Damage(piece.at, piece.end, str(error), True))
            return
        if survey.sealed and number_of(chunk.data) <= 1:
            survey.first_found = True
        span = span_of(index) or (0, 0)
        if index != found or not piece.sound or span != _told(chunk):
            survey.index = "that of a chunk was missing or damaged"
        survey.counts.update({channel: len(entries) for channel, entries in index.items()})
        kept = Kept(piece.at, piece.end, piece.opcode, *span)
        kept.index = index if piece.content is None else None
        survey.kept.append(kept)

    def _require_place(self, piece: Piece) -> None:
        """Raise ValueError unless a chunk of a sealed file is sealed, and in the order of sealing
        (which is known of those that could be opened)."""
        chunk: Chunk = piece.record
        if chunk.compression != COMPRESSION:
            raise ValueError(NOT_SEALED)
        number = number_of(chunk.data)
        if piece.content is not None:
            if number <= self._last_number:
                raise ValueError(f"sealed chunk {number} is not in its place")
            self._last_number = number

    def _read(self, content: bytes) -> Index:
        survey = self.survey
        schemas, channels = names_of(content)
        index = index_of(content)
        if any(survey.channels.get(n, c) != c for n, c in channels.items()) or any(
            survey.schemas.get(n, s) != s for n, s in schemas.items()
        ):
            raise ValueError("a chunk defines a channel in another way than those before it")
        survey.schemas.update(schemas)
        survey.channels.update(channels)
        survey.tally.add(content, channels)
        return index

    def _index_fault(self, ended: bool) -> str:
        """What is wrong with the index at the end of the file, or ""."""
        survey = self.survey
        if self._footer is None or not survey.data_end or not ended:
            return "it was missing"
        footer: Footer = self._footer.record
        if footer.summary_start != survey.data_end or self._statistics is None:
            return "it was missing"
        self._file.seek(survey.data_end)
        summary = self._file.read(self._footer.end - 4 - survey.data_end)
        if footer.summary_crc and zlib.crc32(summary) != footer.summary_crc:
            return "it was damaged"
        wanted = [(c.at, c.end - c.at, c.first_ns, c.last_ns) for c in survey.chunks]
        told = [(c.chunk_start_offset, c.chunk_length, *_told(c)) for c in self._chunk_indexes]
        if wanted != told or self._statistics.channel_message_counts != dict(survey.counts):
            return "it was not that of the file"
        return ""


def span_of(index: Index) -> tuple[int, int] | None:
    """The first and the last moment of an index; None for an empty one."""
    times = [entry[0] for entries in index.values() for entry in entries]
    return (min(times), max(times)) if times else None


def _told_index(chunk: Chunk, found: Index) -> Index:
    """The index beside a chunk that cannot be opened, when it can be true."""
    if not found or span_of(found) != _told(chunk):
        raise ValueError("a sealed chunk's index is missing or damaged; its secret makes it anew")
    return found


def _told(chunk: Chunk | ChunkIndex) -> tuple[int, int]:
    return chunk.message_start_time, chunk.message_end_time
