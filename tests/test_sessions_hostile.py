"""Session files that somebody made to do harm: refused with words, in bounded memory.

Each case is a file made by hand against one limit; `benchmarks.fuzz_sessions` changes small files
at random, of which two thousand are tried here.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import lz4.frame
import numpy as np
import pytest
import zstandard
from av.video.frame import VideoFrame
from mcap.records import Channel, Chunk, Schema
from PIL import Image as Picture

from sessions import message_search
from sessions.chunk_file import ChunkFile
from sessions.chunk_reader import ChunkReader
from sessions.message_schema import VIDEO, message_class
from sessions.reader import SessionReader
from sessions.record_messages import packed, panel_message
from sessions.record_scan import MOST_RECORDS, MOST_UNPACKED
from sessions.repair import repair
from sessions.session_error import SessionError
from streams.camera import Camera
from streams.panel import Panel
from streams.rigid import Rigid
from tests.session_files import HostileFile, bytes_of, rewritten, write_session

CAMERA = Camera.from_fov((16, 16))
MOST_RESIDENT = 900
"""MiB that a process may ever have had to try all cases, its libraries among them."""


def _chunk(path: Path, chunk: Chunk, content: bytes = b"") -> Path:
    hostile = HostileFile(path)
    number = hostile.channel("marks")
    hostile.file.copy_chunk(bytes_of(chunk), chunk, {number: [(0, 0), (9, 50)]})
    return hostile.done()


def _zstd_tells_a_terabyte(path: Path) -> Path:
    return _chunk(path, Chunk("zstd", zstandard.compress(b"x" * 100), 9, 0, 0, 1 << 40))


def _zstd_is_larger_than_told(path: Path) -> Path:
    packer = zstandard.ZstdCompressor(write_content_size=False)
    return _chunk(path, Chunk("zstd", packer.compress(bytes(64 << 20)), 9, 0, 0, 1000))


def _zstd_unpacks_to_too_much(path: Path) -> Path:
    size = MOST_UNPACKED + 1
    return _chunk(path, Chunk("zstd", zstandard.compress(b"x"), 9, 0, 0, size))


def _lz4_is_larger_than_told(path: Path) -> Path:
    return _chunk(path, Chunk("lz4", lz4.frame.compress(bytes(64 << 20)), 9, 0, 0, 1000))


def _unknown_packing(path: Path) -> Path:
    return _chunk(path, Chunk("brotli", b"x" * 100, 9, 0, 0, 100))


def _a_chunk_of_nothing_but_zeros(path: Path) -> Path:
    size = 32 << 20
    return _chunk(path, Chunk("zstd", zstandard.compress(bytes(size)), 9, 0, 0, size))


def _a_chunk_of_very_many_messages(path: Path) -> Path:
    hostile = HostileFile(path)
    number = hostile.channel("marks")
    one = b"\x05" + (22).to_bytes(8, "little") + number.to_bytes(2, "little") + bytes(20)
    content = one * (MOST_RECORDS + 1)
    chunk = Chunk("zstd", zstandard.compress(content), 0, 0, 0, len(content))
    hostile.file.copy_chunk(bytes_of(chunk), chunk, {number: [(0, 0)]})
    return hostile.done()


def _a_message_of_very_many_parts(path: Path) -> Path:
    """Two bytes of a file for a message of a hundred bytes in memory."""
    return HostileFile(path).add("state", "a", 0, b"\x22\x00" * (8 << 20)).done()


def _panels_without_end(path: Path) -> Path:
    return HostileFile(path).add("panels", "", 0, b"\x12\x00" * (8 << 20)).done()


def _png(side: int, shade: int = 0) -> bytes:
    out = io.BytesIO()
    Picture.new("RGBA", (side, side), (shade, 0, 0, 255)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def _wide_png() -> bytes:
    out = io.BytesIO()
    Picture.new("RGBA", (9000, 8)).save(out, "PNG")
    return out.getvalue()


def _shown(*pngs: bytes) -> bytes:
    small = np.zeros((1, 1, 4), np.uint8)
    panel = Panel("p", small, "world", Rigid(), (1.0, 1.0), None)
    panels = [panel_message(panel, f"key {k}", 0, png) for k, png in enumerate(pngs)]
    return packed(message_class("visavis.v1.ShownPanels")(t_ns=0, panels=panels))


def _a_png_bomb(path: Path) -> Path:
    return HostileFile(path).add("panels", "", 0, _shown(_wide_png())).done()


def _many_large_pngs(path: Path) -> Path:
    pngs = [_png(4000, shade) for shade in range(5)]
    return HostileFile(path).add("panels", "", 0, _shown(*pngs)).done()


def _video(path: Path, data: bytes, camera: Camera = CAMERA, t_ns: int = 0) -> Path:
    hostile = HostileFile(path)
    hostile.channel("frames", "camera", camera)
    message = message_class(VIDEO)(frame_id="camera", data=data, format="h264", key=True)
    return hostile.add("frames", "camera", t_ns, packed(message)).done()


def _encoded(side: int) -> bytes:
    context = av.CodecContext.create("libx264", "w")
    context.width = context.height = side  # pyright: ignore[reportAttributeAccessIssue]
    context.pix_fmt = "yuv420p"  # pyright: ignore[reportAttributeAccessIssue]
    context.time_base = Fraction(1, 30)
    context.options = {"preset": "ultrafast", "tune": "zerolatency"}
    picture = VideoFrame.from_ndarray(np.zeros((side * 3 // 2, side), np.uint8), "yuv420p")
    return b"".join(bytes(packet) for packet in context.encode(picture))  # pyright: ignore[reportAttributeAccessIssue]


def _pictures_larger_than_told(path: Path) -> Path:
    return _video(path, _encoded(2048))


def _a_camera_of_a_terapixel(path: Path) -> Path:
    camera = Camera("camera", (1 << 20, 1 << 20), CAMERA.focal, CAMERA.centre)
    return _video(path, _encoded(16), camera)


def _pictures_that_are_noise(path: Path) -> Path:
    return _video(path, b"\x00\x00\x00\x01\x67" + np.random.default_rng(0).bytes(5000))


def _pictures_of_another_time(path: Path) -> Path:
    return _video(path, _encoded(16), t_ns=5)


def _messages_that_are_noise(path: Path) -> Path:
    hostile = HostileFile(path)
    for k, seam in enumerate(("state", "code", "audio", "headset", "views", "marks")):
        hostile.add(seam, "a", k, np.random.default_rng(k).bytes(500))
    return hostile.done()


def _a_record_at_another_time(path: Path) -> Path:
    mark = message_class("visavis.v1.Mark")(t_ns=7, name="m")
    return HostileFile(path).add("marks", "", 2**62, packed(mark)).done()


def _times_beyond_all_time(path: Path) -> Path:
    mark = message_class("visavis.v1.Mark")(t_ns=7, name="m")
    return HostileFile(path).add("marks", "", 2**64 - 1, packed(mark)).done()


def _a_future_version(path: Path) -> Path:
    def later(record: Schema | Channel) -> Schema | Channel:
        if isinstance(record, Channel):
            return replace(record, metadata=record.metadata | {"version": "2"})
        return record

    return rewritten(write_session(path.with_suffix(".sound"), 5), path, later)


def _another_schema(path: Path) -> Path:
    def other(record: Schema | Channel) -> Schema | Channel:
        return replace(record, name="other.Thing") if isinstance(record, Schema) else record

    return rewritten(write_session(path.with_suffix(".sound"), 5), path, other)


CASES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "zstd tells a terabyte": (_zstd_tells_a_terabyte, "would unpack to"),
    "zstd is larger than told": (_zstd_is_larger_than_told, "unpack"),
    "zstd unpacks to too much": (_zstd_unpacks_to_too_much, "would unpack to"),
    "lz4 is larger than told": (_lz4_is_larger_than_told, "LZ4|bytes of records"),
    "unknown packing": (_unknown_packing, "does not know"),
    "a chunk of nothing but zeros": (_a_chunk_of_nothing_but_zeros, "its record 1"),
    "a chunk of very many messages": (_a_chunk_of_very_many_messages, "one too many"),
    "a message of very many parts": (_a_message_of_very_many_parts, "expected at most"),
    "panels without end": (_panels_without_end, "more than 4096 fields"),
    "a PNG bomb": (_a_png_bomb, "up to 8192 pixels"),
    "many large PNGs": (_many_large_pngs, "their pictures have more"),
    "pictures larger than told": (_pictures_larger_than_told, "H.264"),
    "a camera of a terapixel": (_a_camera_of_a_terapixel, "expected pictures of at most"),
    "pictures that are noise": (_pictures_that_are_noise, "frames: expected"),
    "pictures of another time": (_pictures_of_another_time, "lies at"),
    "messages that are noise": (_messages_that_are_noise, "damaged"),
    "a record at another time": (_a_record_at_another_time, "lies at"),
    "times beyond all time": (_times_beyond_all_time, "not where its index says"),
}


def refused(path: Path) -> str:
    """Read all of a file and repair it; the words of the refusal to read."""
    said = ""
    try:
        with SessionReader(path) as session:
            for _ in session.read():
                pass
    except SessionError as error:
        said = str(error)
    try:
        repair(path, path.with_suffix(".clean"))
    except SessionError:
        pass
    return said


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory, root: Path) -> dict[str, str]:
    """What every case is refused with, all tried in one process of little address space."""
    folder = tmp_path_factory.mktemp("hostile")
    paths = {name: make(folder / f"{k}.mcap") for k, (name, (make, _)) in enumerate(CASES.items())}
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from tests.test_sessions_hostile import refused\n"
        "resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"
        "for name in sys.argv[1:]: print(refused(Path(name)).replace('\\n', ' '))\n"
        # Not ru_maxrss, which a new process takes over from the one that started it.
        "status = Path('/proc/self/status').read_text()\n"
        "print(int(status.partition('VmHWM:')[2].split()[0]) // 1024)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", script, *(str(path) for path in paths.values())],
        cwd=root, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    *lines, memory = process.stdout.splitlines()
    return dict(zip([*paths, "memory"], [*lines, memory], strict=True))


@pytest.mark.parametrize("name", CASES)
def test_hostile_files_are_refused_with_words(words: dict[str, str], name: str) -> None:
    said = words[name]
    assert any(part in said for part in CASES[name][1].split("|")), said
    assert ".mcap: " in said


def test_they_take_little_memory(words: dict[str, str]) -> None:
    assert int(words["memory"]) < MOST_RESIDENT


def test_a_future_version_says_who_can_read_it(tmp_path):
    path = _a_future_version(tmp_path / "s.mcap")
    with pytest.raises(SessionError, match=r"version 2, .* reads version 1; a newer Visavis"):
        SessionReader(path)


def test_another_schema_is_named(tmp_path):
    with pytest.raises(SessionError, match="got 'other\\.Thing'"):
        SessionReader(_another_schema(tmp_path / "s.mcap"))


def test_chunks_that_all_claim_the_same_times_are_not_all_held(tmp_path, monkeypatch):
    monkeypatch.setattr(message_search, "_WAITING_BYTES", 1 << 20)
    hostile = HostileFile(tmp_path / "s.mcap")
    for _ in range(8):
        hostile.add("audio", "a", 5, bytes(400_000))
        hostile.file.flush()
        hostile.file._chunks[-1].message_start_time = 0  # As an index may lie.
    with SessionReader(hostile.done()) as session, pytest.raises(SessionError, match="same times"):
        list(session.messages(("audio",)))


@pytest.mark.parametrize(
    "field", ["chunk_start_offset", "chunk_length", "message_start_time", "compressed_size"]
)
def test_lying_indexes_are_refused(tmp_path, field):
    """A number of the index made extreme, the checksum made to fit."""
    sound = write_session(tmp_path / "s.mcap", 10)
    for value in (0, 1, 2**31, 2**63, 2**64 - 1):
        path, clean = tmp_path / f"{value}.mcap", tmp_path / f"{value}.clean.mcap"
        with ChunkReader(sound) as file, ChunkFile(path, "x") as out:
            out.take_channels(file.schemas, file.channels)
            for chunk in file.chunks:
                for raw in file.messages(chunk):
                    out.add(raw.channel, raw.sequence, raw.log_ns, 0, raw.data)
                out.flush()
            setattr(out._chunks[1], field, value)
        said = refused(path)
        assert not said or "visavis repair" in said
        # Whatever the index says, the chunks are whole.
        with SessionReader(clean if repair(path, clean).out else path) as session:
            assert sum(1 for _ in session.read()) == 30


def test_two_thousand_mutated_files_are_read_or_refused(root: Path) -> None:
    """In a process of its own, whose memory is not that of all tests before."""
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.fuzz_sessions", "--json", "--first", "1000000",
         "--count", "2000"],
        cwd=root, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    findings = json.loads(process.stdout.strip().splitlines()[0])
    assert not findings["failures"]
    assert sum(findings["outcomes"].values()) == 2000
    # Not all alike: some are read, some refused, some repaired.
    assert len(findings["outcomes"]) > 5
