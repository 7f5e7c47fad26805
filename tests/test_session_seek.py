"""Finding records by time: the index's way against reading everything, on random sessions."""

from __future__ import annotations

import builtins
import contextlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sessions import chunk_file, chunk_reader
from sessions.picture_track import PictureOptions, is_lossless
from sessions.reader import SessionReader
from sessions.record_scan import moments_of
from sessions.session_error import SessionError
from sessions.session_header import SessionHeader
from sessions.writer import SessionOptions, SessionWriter
from streams.camera import Camera
from streams.frame import Frame
from streams.mark import Mark
from streams.tracked_state import TrackedState

CAMERAS = [Camera.from_fov((48, 32), name=name) for name in ("left", "right")]
MS = 1_000_000


def slow_at(session: SessionReader, seam: str, t_ns: int, source: str | None = None) -> Any:
    """The specification of `at`: the last record that reading from the beginning to the end gives
    at or before `t_ns`."""
    found = None
    for record in session.read((seam,), sources=None if source is None else (source,)):
        if record.t_ns <= t_ns:
            found = record
    return found


def _value(record: Any) -> Any:
    value = record.record
    return value.rgb.tobytes() if isinstance(value, Frame) else getattr(value, "text", value.t_ns)


@pytest.fixture(scope="module", params=[(0, False), (1, False), (2, True)])
def session(request, tmp_path_factory) -> Path:
    """Two cameras, states and marks; small chunks, records out of order, equal times, and a header
    far away in time."""
    seed, lossless = request.param
    rng = np.random.default_rng(seed)
    path = tmp_path_factory.mktemp("seek") / "session.mcap"
    options = SessionOptions(
        PictureOptions(lossless=lossless, key_ns=300 * MS), flush_s=1e9, wait_s=10.0, stamped=False
    )
    with (
        pytest.MonkeyPatch.context() as patch,
        SessionWriter(path, SessionHeader(9 * 10**12, 0), options) as writer,
    ):
        patch.setattr(chunk_file, "CHUNK_BYTES", 2_500)  # a few records
        for k in range(90):
            t_ns = (k * 33 + int(rng.integers(0, 5))) * MS
            for n, camera in enumerate(CAMERAS):
                if rng.random() < 0.9:
                    rgb = np.full((32, 48, 3), (k * 2 + n * 40) % 256, np.uint8)
                    rgb[k % 32] = 255
                    writer.write(Frame(t_ns + n * MS, k, camera, rgb))
            # Late or early by up to a second: in another chunk than its time says.
            moved = t_ns + int(rng.integers(-1000, 1000)) * MS if k % 3 == 0 else t_ns
            writer.write(TrackedState(max(moved, 0), "left"))
            for twin in range(int(rng.integers(0, 3))):
                writer.write(Mark(t_ns, "m", f"{k}.{twin}"))
    return path


def test_at_is_what_reading_everything_finds(session):
    rng = np.random.default_rng(4)
    times = [*rng.integers(-50, 3100, 60) * MS, 0, 2**62]
    with SessionReader(session) as fast, SessionReader(session) as slow:
        assert len(fast._file.chunks) > 20
        for seam in ("frames", "state", "marks"):
            everything = list(slow.read((seam,)))
            for t_ns in times:
                found = fast.at(seam, int(t_ns))
                before = [record for record in everything if record.t_ns <= t_ns]
                if not before:
                    assert found is None
                    continue
                assert found is not None
                assert (found.t_ns, found.source) == (before[-1].t_ns, before[-1].source)
                assert _value(found) == _value(before[-1])
        expected = slow_at(slow, "frames", 1500 * MS, "right")
        found = fast.at("frames", 1500 * MS, "right")
        assert found is not None
        assert _value(found) == _value(expected)


def test_steps_and_jumps_give_the_same_pictures(session):
    """Whatever a track decoded and kept before."""
    rng = np.random.default_rng(7)
    with SessionReader(session) as fast, SessionReader(session) as slow:
        frames = [record.record for record in slow.read(("frames",), sources=("left",))]
        place = 0
        for _ in range(150):
            jump = int(rng.integers(0, len(frames)))
            place = jump if rng.random() < 0.2 else place + int(rng.choice((-1, 1, 1, -2, 3)))
            place = min(max(place, 0), len(frames) - 1)
            found = fast.at("frames", frames[place].t_ns, "left")
            assert found is not None
            assert isinstance(found.record, Frame)
            wanted = frames[place]
            assert isinstance(wanted, Frame)
            assert found.record.seq == wanted.seq
            assert (found.record.rgb == wanted.rgb).all()
        assert fast.undecodable == 0


def test_times_and_span_are_those_of_the_records(session):
    with SessionReader(session) as opened, SessionReader(session) as slow:
        everything = list(slow.read())
        assert opened.start_ns == min(record.t_ns for record in everything)
        assert opened.end_ns == max(record.t_ns for record in everything)
        for seam, source in (("frames", None), ("frames", "right"), ("state", None)):
            wanted = [r.t_ns for r in everything if r.seam == seam and source in (None, r.source)]
            assert list(opened.times(seam, source)) == wanted
        first = opened.times("frames", limit=10)
        assert 10 <= len(first) < 60


def test_reading_from_the_middle_is_a_part_of_reading_all(session):
    rng = np.random.default_rng(1)
    with SessionReader(session) as opened:
        whole = [(r.seam, r.source, r.t_ns, _value(r)) for r in opened.read()]
        for _ in range(12):
            start, end = sorted(int(t) * MS for t in rng.integers(-10, 3100, 2))
            part = [(r.seam, r.source, r.t_ns, _value(r)) for r in opened.read(None, start, end)]
            assert part == [entry for entry in whole if start <= entry[2] < end]


def test_opening_reads_the_index_alone_and_a_seek_a_few_chunks(session, monkeypatch):
    read: list[int] = []

    class Counting:
        """A file that counts what is read of it."""

        def __init__(self, path: Path) -> None:
            self._file = builtins.open(path, "rb")  # noqa: SIM115 - closed by the reader

        def read(self, size: int = -1) -> bytes:
            data = self._file.read(size)
            read.append(len(data))
            return data

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

    monkeypatch.setattr(chunk_reader, "opened", Counting)
    with SessionReader(session) as opened:
        index = sum(read)
        body = sum(chunk.compressed_size for chunk in opened._file.chunks)
        header = max(
            c.compressed_size for c in opened._file.chunks if c.message_start_time > 10**12
        )
        summary = session.stat().st_size - body
        assert index <= summary + header + 100
        read.clear()
        opened.times("frames")
        assert opened.end_ns > opened.start_ns
        assert not any(chunk.compressed_size in read for chunk in opened._file.chunks)
        read.clear()
        opened.at("state", 1500 * MS)
        assert (
            sum(1 for c in opened._file.chunks if c.chunk_start_offset in opened._file._kept) <= 4
        )


def test_an_index_that_lies_is_found_out(session, tmp_path):
    """Offsets and times in a chunk's index are not under the file's checksums."""
    data = bytearray(session.read_bytes())
    with SessionReader(session) as opened:
        number = next(c.number for c in opened.channels if c.seam == "state")
        chunk = next(
            c for c in opened._file.chunks
            if number in c.message_index_offsets and c.message_start_time > 10**9
        )  # fmt: skip
        at = chunk.message_index_offsets[number]
        t_ns = int(opened._file.index(chunk, number)[0, 0])
    for place, wrong in ((at + 9 + 6, 1), (at + 9 + 6 + 8, 3), (at + 9 + 6 + 12, 255)):
        changed = bytearray(data)
        changed[place] ^= wrong
        path = tmp_path / f"{place}.mcap"
        path.write_bytes(changed)
        with SessionReader(path) as opened, contextlib.suppress(SessionError):
            found = opened.at("state", t_ns)
            assert found is None or found.t_ns <= t_ns


def test_a_chunks_index_is_read_in_order_and_checked():
    entries = np.array([[30, 7], [10, 9], [10, 3], [20, 1]], "<u8")
    body = struct.pack("<HI", 5, entries.nbytes) + entries.tobytes()
    channel, moments = moments_of(body)
    assert channel == 5
    assert moments.tolist() == [[10, 3], [10, 9], [20, 1], [30, 7]]
    far = np.array([[2**63, 0]], "<u8")
    for wrong, words in (
        (body[:4], "at least 6 bytes"), (body[:-1], "bytes of entries"),
        (body + b"x", "bytes of entries"),
        (struct.pack("<HI", 5, 16) + far.tobytes(), "below 2\\^63"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            moments_of(wrong)


def test_whether_pictures_are_lossless_is_in_their_stream(session):
    with SessionReader(session) as opened:
        decoded = [r.record for r in opened.read(("frames",), sources=("left",))]
        exact = all(
            len(np.unique(frame.rgb.reshape(-1, 3), axis=0)) <= 2
            for frame in decoded
            if isinstance(frame, Frame)
        )
        assert opened.lossless("left") == exact
    assert not is_lossless(b"")
    assert not is_lossless(b"\x00\x00\x01\x67")
    assert not is_lossless(b"\x00\x00\x01\x65abc")


def test_a_second_reader_of_a_sealed_file_needs_no_secret_again(tmp_path):
    pytest.importorskip("nacl")
    path = tmp_path / "sealed.mcap"
    with SessionWriter(path, SessionHeader(0, 0), secret=b"correct horse") as writer:
        writer.write(TrackedState(5, "cam"))
    with SessionReader(path, b"correct horse") as opened, opened.opened_again() as again:
        assert list(again.times("state")) == [5]
