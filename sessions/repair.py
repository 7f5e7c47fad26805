"""Making a sound file of what a crash, a full disk or a bad sector left of a session.

The file is walked to find what is whole, then that is copied. Chunks are copied as they are (sealed
ones too: no secret is needed for that), their indexes are made from their content, and the file's
index at its end is new. The file that is repaired is only read.
"""

from __future__ import annotations

import os
import zlib
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import zstandard
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import Chunk

from sessions.chunk_file import ChunkFile
from sessions.chunk_reader import opened
from sessions.file_survey import Kept, Survey, span_of, surveyed
from sessions.lost_records import header_chunk
from sessions.new_file import NewFile
from sessions.record_scan import MESSAGE, PREFIX, index_of, names_of, records_of
from sessions.record_walk import Piece, RecordWalk
from sessions.sealing import COMPRESSION, METADATA, Seal
from sessions.session_error import LockedSessionError, SessionError

MOST_PARAMETERS = 3
"""Different parameters of a seal that are tried: each takes a third of a second."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One place of the file where something is missing."""

    at: int
    end: int
    """Bytes of the damaged file."""
    why: str
    after_ns: int | None
    """Time of the last record before it, None where there is none..."""
    before_ns: int | None
    """...and of the first one after it; None at the end."""
    chunks: int
    """About how many chunks were there; 0 where only parts of an index were."""
    seconds: float
    """About how much of the session."""


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a file holds, and what it has lost."""

    path: Path
    out: Path | None
    """The clean file; None when there was nothing to repair."""
    library: str
    """The software that wrote it, by its own account."""
    session: bool
    """Whether it is known to be a session of Visavis; a sealed one is with its secret alone."""
    sealed: bool
    seal_checked: bool
    chunks: int
    messages: int
    first_ns: int
    last_ns: int
    losses: tuple[Loss, ...] = ()
    index: str = ""
    """What was wrong with the index; "" when nothing was."""
    unreadable: int = 0
    """Messages left out because nothing says what they are."""
    kept: dict[str, int] = field(default_factory=dict)
    """Records by seam."""
    lost: dict[str, int] = field(default_factory=dict)
    """Records by seam that the file once had: counted where numbers or states after them show it,
    estimated from the rate of the others where the end is missing."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Records by seam that the recorder had no time for, by its own account."""
    header_lost: bool = False
    """The header was not saved, with date, models and consent; a new one in its place says so."""

    @property
    def lost_bytes(self) -> int:
        """Of the damaged file."""
        return sum(loss.end - loss.at for loss in self.losses)

    @property
    def lost_s(self) -> float:
        """About how many seconds are missing, all places together."""
        return sum(loss.seconds for loss in self.losses)


def repair(source: Path, out: Path, secret: bytes | None = None) -> RepairReport:
    """Write what is whole of `source` to `out`, which appears only when all of it is written;
    nothing when `source` is sound. `out` may be `source` itself, which is then replaced.

    `secret` checks the seals of a sealed file. Raises SessionError when there is nothing to save or
    `out` cannot be written, LockedSessionError when the secret is another one.
    """
    with opened(source) as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise SessionError(f"{source}: is empty; nothing was recorded to it")
        seal = _seal_of(source, file, size, secret)
        survey = surveyed(file, size, seal)
        if not survey.counts:
            raise SessionError(
                f"{source}: holds no whole chunk of records; there is nothing to save"
                if survey.kept or survey.channels
                else f"{source}: is no MCAP file; nothing in it looks like a session"
            )
        if survey.counts.keys() <= survey.undefined:
            raise SessionError(
                f"{source}: holds {survey.counts.total()} messages, and nothing says what they "
                "are; there is nothing to save"
            )
        if survey.sealed and not survey.seal_found:
            raise LockedSessionError(
                f"{source}: is sealed, and the parameters of its seal are lost: nobody can open it"
            )
        if survey.sealed and seal is None and not survey.first_found:
            raise LockedSessionError(
                f"{source}: is sealed, and its header is lost; give the secret (--key-file FILE), "
                "so that a new one can be sealed with the rest"
            )
        if survey.sound:
            return _report(source, None, survey, seal, size)
        report = _report(source, out, survey, seal, size)
        _write(source, file, size, seal, survey, out)
        return report


def repaired_name(source: Path) -> Path:
    """The name that a clean file gets by default."""
    return source.with_name(f"{source.stem}.repaired.mcap")


def _seal_of(source: Path, file: BinaryIO, size: int, secret: bytes | None) -> Seal | None:
    """The seal that the secret opens; None without a secret or for a file that is not sealed."""
    if secret is None:
        return None
    tried: list[dict[str, str]] = []
    failure: SessionError | None = None
    # The parameters stand at the beginning and are repeated: the first that open will do, and what
    # is there twice is not damaged.
    for piece in RecordWalk(file, size):
        if not isinstance(piece, Piece):
            continue
        if piece.opcode == Opcode.CHUNK and piece.record.compression != COMPRESSION:
            break
        if piece.opcode != Opcode.METADATA or piece.record.name != METADATA:
            continue
        if piece.record.metadata in tried or len(tried) == MOST_PARAMETERS:
            break
        tried.append(piece.record.metadata)
        try:
            return Seal.opened(str(source), piece.record.metadata, secret)
        except SessionError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return None


def _write(
    source: Path, file: BinaryIO, size: int, seal: Seal | None, survey: Survey, out: Path
) -> None:
    copy = _Copy(RecordWalk(file, size, seal), survey)
    with NewFile(out, source) as new:
        try:
            with ChunkFile(new.path, survey.library) as clean:
                header = survey.tally.header_lost
                for kept in survey.kept:
                    if header and kept.opcode in (Opcode.CHUNK, Opcode.MESSAGE):
                        chunk, index = header_chunk(
                            survey.schemas,
                            survey.channels,
                            survey.tally.first_ns or 0,
                            seal,
                            0 if survey.first_found else 1,
                        )
                        clean.copy_chunk(_bytes_of(chunk), chunk, index)
                        header = False
                    copy.put(clean, kept)
                clean.take_channels(survey.schemas, survey.channels)
        except SessionError as error:
            if isinstance(error.__cause__, OSError):
                raise new.refused(error) from error
            raise
        new.finish()


class _Copy:
    """Copies what a survey kept."""

    def __init__(self, walk: RecordWalk, survey: Survey) -> None:
        self._walk, self._survey = walk, survey
        self._undefined = survey.undefined
        self._defined: set[int] = set()

    def put(self, clean: ChunkFile, kept: Kept) -> None:
        """One record into the clean file."""
        piece = self._walk.piece(kept.at)
        record = piece.record
        if piece.opcode == Opcode.METADATA:
            clean.add_metadata(record.name, record.metadata)
        elif piece.opcode == Opcode.ATTACHMENT:
            clean.copy_record(record)
        elif piece.opcode == Opcode.CHUNK:
            self._put_chunk(clean, piece, kept)
        elif record.channel_id in self._survey.channels.keys() - self._undefined:
            clean.take_channels(self._survey.schemas, self._survey.channels)
            times = record.log_time, record.publish_time
            clean.add(record.channel_id, record.sequence, *times, record.data)

    def _put_chunk(self, clean: ChunkFile, piece: Piece, kept: Kept) -> None:
        chunk: Chunk = piece.record
        if piece.content is None:
            clean.copy_chunk(_bytes_of(chunk), chunk, kept.index or {})
            return
        content = piece.content
        index = index_of(content)
        if self._undefined & set(index):
            content = _without(content, self._undefined)
            index = index_of(content)
            body, crc = zstandard.compress(content), zlib.crc32(content)
            chunk = Chunk("zstd", body, 0, 0, crc, len(content))
        if not index:
            return
        chunk.message_start_time, chunk.message_end_time = span_of(index) or (0, 0)
        if chunk.compression != COMPRESSION:
            own = set(names_of(content)[1])
            self._define(clean, set(index) - own - self._defined)
            self._defined |= own
        clean.copy_chunk(_bytes_of(chunk), chunk, index)

    def _define(self, clean: ChunkFile, numbers: set[int]) -> None:
        """Channels that a chunk uses and does not define: where they were may be lost."""
        for number in sorted(numbers):
            channel = self._survey.channels[number]
            if channel.schema_id:
                clean.copy_record(self._survey.schemas[channel.schema_id])
            clean.copy_record(channel)
            self._defined.add(number)


def _bytes_of(chunk: Chunk) -> bytes:
    builder = RecordBuilder()
    chunk.write(builder)
    return builder.end()


def _without(content: bytes, channels: set[int]) -> bytes:
    """Unpacked records without the messages of these channels."""
    kept = bytearray()
    for opcode, at, end in records_of(content):
        if opcode != Opcode.MESSAGE or MESSAGE.unpack_from(content, at)[0] not in channels:
            kept += content[at - PREFIX.size : end]
    return bytes(kept)


def _report(
    source: Path, out: Path | None, survey: Survey, seal: Seal | None, size: int
) -> RepairReport:
    timed = [kept for kept in survey.kept if kept.opcode in (Opcode.CHUNK, Opcode.MESSAGE)]
    last_ns = max(kept.last_ns for kept in timed)
    first_ns = min(kept.first_ns for kept in timed)
    if survey.tally.first_ns is not None:  # Not the header's, which may be of an earlier moment.
        first_ns = survey.tally.first_ns
    kept_bytes = sum(kept.end - kept.at for kept in timed)
    bytes_s = kept_bytes / max((last_ns - first_ns) / 1e9, 0.1)
    losses = _losses(survey, timed, bytes_s)
    tally = survey.tally
    tail_s = sum(loss.seconds for loss in losses if loss.before_ns is None)
    span_s = max((last_ns - first_ns) / 1e9, 0.1)
    lost = dict(tally.missing)
    for seam, count in tally.kept.items():
        behind = round(count / span_s * tail_s)
        if behind:
            lost[seam] = lost.get(seam, 0) + behind
    undefined = survey.undefined
    unreadable = sum(survey.counts[number] for number in undefined)
    return RepairReport(
        source,
        out,
        survey.library,
        tally.session,
        survey.sealed,
        survey.sealed and seal is not None,
        len(survey.chunks),
        survey.counts.total() - unreadable,
        first_ns,
        last_ns,
        losses,
        survey.index,
        unreadable,
        tally.kept,
        lost,
        tally.dropped,
        tally.header_lost,
    )


def _losses(survey: Survey, timed: list[Kept], bytes_s: float) -> tuple[Loss, ...]:
    """The damages, with what is known of the times about them."""
    places = [kept.at for kept in timed]
    mean = sum(kept.end - kept.at for kept in timed) / len(timed)
    losses: list[Loss] = []
    for damage in sorted(survey.damages, key=lambda damage: damage.at):
        k = bisect_right(places, damage.at)
        after_ns = timed[k - 1].last_ns if k else None
        before_ns = timed[k].first_ns if k < len(timed) else None
        length = damage.end - damage.at
        chunks = round(length / mean)
        seconds = 0.0
        if survey.data_end and damage.at >= survey.data_end:
            chunks = 0
        elif chunks or damage.chunk:
            chunks = max(chunks, 1)
            if after_ns is not None and before_ns is not None:
                seconds = max(before_ns - after_ns, 0) / 1e9
            else:
                seconds = length / bytes_s
        losses.append(Loss(damage.at, damage.end, damage.why, after_ns, before_ns, chunks, seconds))
    return tuple(losses)
