"""Session files for tests that damage them, and what is in any MCAP file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Schema

from sessions import chunk_file, sealing
from sessions.chunk_file import ChunkFile
from sessions.chunk_reader import ChunkReader
from sessions.message_schema import schema_bytes
from sessions.record_messages import packed
from sessions.record_scan import RawMessage
from sessions.record_walk import Piece, RecordWalk
from sessions.sealing import Seal
from sessions.seams import channel_metadata, schema_name, topic_of
from sessions.session_header import SessionHeader, header_message
from sessions.writer import SessionOptions, SessionWriter
from streams.audio_block import AudioBlock
from streams.camera import Camera
from streams.frame import Frame
from streams.mark import Mark

SECRET = b"correct horse battery"
CONSENT = "Consented at noon, says the tester"
STEP_NS = 33_000_000


def write_session(path: Path, moments: int = 90, secret: bytes | None = None) -> Path:
    """Noise in pictures and sound, a mark a moment; in many small chunks."""
    rng = np.random.default_rng(7)
    camera = Camera.from_fov((32, 24), name="desk camera")
    usual = chunk_file.CHUNK_BYTES, sealing.OPS, sealing.MEMORY
    # A key that is made in no time, for those who open the file as well.
    chunk_file.CHUNK_BYTES, sealing.OPS, sealing.MEMORY = 6000, 1, 8 << 10
    try:
        header = SessionHeader(
            0, 1, "a test", "made up", "amara", cameras=(camera,), consent=CONSENT
        )
        # A recorder's thread that ends chunks by the clock would make other files every time.
        options = SessionOptions(wait_s=60.0, flush_s=600.0)
        with SessionWriter(path, header, options, secret) as session:
            for k in range(moments):
                t_ns = k * STEP_NS
                rgb = rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)
                samples = rng.integers(-9999, 9999, (100, 1)).astype(np.int16)
                session.write(
                    Frame(t_ns, k, camera, rgb),
                    AudioBlock(t_ns, "desk microphone", 16_000, samples),
                    Mark(t_ns, f"mark {k}", "said aloud"),
                )
    finally:
        chunk_file.CHUNK_BYTES, sealing.OPS, sealing.MEMORY = usual
    return path


def pieces(path: Path, secret: bytes | None = None) -> list[Piece]:
    """All whole records of a file."""
    with path.open("rb") as file:
        size = path.stat().st_size
        seal: Seal | None = None
        if secret is not None:
            for piece in RecordWalk(file, size):
                if isinstance(piece, Piece) and piece.opcode == Opcode.METADATA:
                    seal = Seal.opened(str(path), piece.record.metadata, secret)
                    break
        return [p for p in RecordWalk(file, size, seal) if isinstance(p, Piece)]


def chunks(path: Path, secret: bytes | None = None) -> list[Piece]:
    """A file's chunks, in its order."""
    return [piece for piece in pieces(path, secret) if piece.opcode == Opcode.CHUNK]


def messages(path: Path, secret: bytes | None = None) -> list[RawMessage]:
    """A file's messages, in its order."""
    with ChunkReader(path, secret) as file:
        ordered = sorted(file.chunks, key=lambda chunk: chunk.chunk_start_offset)
        return [raw for chunk in ordered for raw in file.messages(chunk)]


def bytes_of(chunk: Chunk) -> bytes:
    builder = RecordBuilder()
    chunk.write(builder)
    return builder.end()


class HostileFile:
    """A session file whose messages and chunks may be anything."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = ChunkFile(path, "hostile")
        self._numbers: dict[tuple[str, str], int] = {}
        self.add("header", "", 0, packed(header_message(SessionHeader(0, 1))))
        self.file.flush()

    def channel(
        self, seam: str, source: str = "", camera: Camera | None = None, **more: str
    ) -> int:
        key = (seam, source)
        if key not in self._numbers:
            name = schema_name(seam)
            schema = self.file.add_schema(name, "protobuf", schema_bytes(name))
            metadata = channel_metadata(seam, source, camera) | more
            self._numbers[key] = self.file.add_channel(
                topic_of(seam, source), schema, "protobuf", metadata
            )
        return self._numbers[key]

    def add(self, seam: str, source: str, t_ns: int, data: bytes) -> HostileFile:
        self.file.add(self.channel(seam, source), 0, t_ns, 0, data)
        return self

    def done(self) -> Path:
        self.file.close()
        return self.path


def rewritten(
    path: Path, out: Path, change: Callable[[Schema | Channel], Schema | Channel]
) -> Path:
    """A copy whose schemas and channels are changed, and everything around them made to fit."""
    with ChunkReader(path) as file, ChunkFile(out, "rewritten") as copy:
        copy.take_channels(
            {n: change(schema) for n, schema in file.schemas.items()},  # pyright: ignore[reportArgumentType]
            {n: change(channel) for n, channel in file.channels.items()},  # pyright: ignore[reportArgumentType]
        )
        for chunk in sorted(file.chunks, key=lambda chunk: chunk.chunk_start_offset):
            for raw in file.messages(chunk):
                copy.add(raw.channel, raw.sequence, raw.log_ns, raw.publish_ns, raw.data)
            copy.flush()
    return out


def random_places(data: bytes, count: int, seed: int = 0) -> Iterator[int]:
    yield from (int(k) for k in np.random.default_rng(seed).integers(8, len(data), count))
