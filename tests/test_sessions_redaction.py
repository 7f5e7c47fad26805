"""A redacted session holds no byte of what was removed, and all of the rest."""

from __future__ import annotations

import itertools
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from apps import command
from sessions.chunk_file import ChunkFile
from sessions.chunk_reader import ChunkReader
from sessions.message_schema import AUDIO, VIDEO
from sessions.reader import SessionReader
from sessions.record_messages import parsed
from sessions.redaction import redact
from sessions.repair import repair
from sessions.seams import SEAMS
from sessions.session_error import CutSessionError, LockedSessionError, SessionError
from sessions.session_header import CALM_FACE_NOTE, HANDS_NOTE, SessionHeader
from sessions.writer import SessionOptions, SessionWriter
from streams.audio_block import AudioBlock
from streams.avatar_code import AvatarCode
from streams.camera import Camera
from streams.frame import Frame
from streams.mark import Mark
from streams.tracked_state import TrackedState
from tests.session_files import CONSENT, SECRET, chunks, pieces
from tests.session_records import bits

WINDOW = 12
"""Bytes in a row that would be a piece of what was removed; noise has no such piece twice."""


def times() -> Iterator[int]:
    """A clock's. Their lowest byte is 0x80: behind the zeros of the number before, a time of the
    real clock looked like the start of an H.264 unit once in some thirty runs."""
    return itertools.count(7_000_000_000_128, 256 * 1001)


def write(path: Path, secret: bytes | None = None) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sessions.writer.now_ns", times().__next__)
        return write_at_those(path, secret)


def write_at_those(path: Path, secret: bytes | None) -> Path:
    rng = np.random.default_rng(1)
    camera = Camera.from_fov((32, 24), name="front")
    ahead = np.tile(np.array([0.0, 0.0, 1.0], np.float32), (2, 1))
    notes = {HANDS_NOTE: "long bones", CALM_FACE_NOTE: "a crooked nose", "seams": "all"}
    header = SessionHeader(0, 1, "a test", cameras=(camera,), consent=CONSENT, notes=notes)
    with SessionWriter(path, header, SessionOptions(wait_s=60.0, flush_s=0.02), secret) as session:
        for k in range(120):
            t_ns = k * 33_000_000
            rgb = rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)
            sound = rng.integers(-9999, 9999, (200, 1)).astype(np.int16)
            values = rng.normal(size=8).astype(np.float32)
            session.write(
                Frame(t_ns, k, camera, rgb),
                AudioBlock(t_ns, "secret microphone", 8000, sound),
                TrackedState(t_ns, "front", None, ()),
                AvatarCode(t_ns, "amara", values, values, ahead, None, (), "encoded"),
                Mark(t_ns, f"mark {k}"),
            )
    return path


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("session") / "s.mcap")


def removed_pieces(path: Path, secret: bytes | None = None) -> set[bytes]:
    """Windows of all payloads of pictures and sound."""
    found: set[bytes] = set()
    with SessionReader(path, secret) as session:
        for seam, name in (("frames", VIDEO), ("audio", AUDIO)):
            for raw in session.messages((seam,)):
                data = parsed(name, raw.data).data
                found |= {data[k : k + WINDOW] for k in range(0, len(data) - WINDOW, WINDOW)}
    return {piece for piece in found if len(set(piece)) > 4}


def everything_in(path: Path, secret: bytes | None = None) -> bytes:
    """A file's bytes, and the unpacked bytes of its chunks."""
    return path.read_bytes() + b"".join(piece.content or b"" for piece in chunks(path, secret))


def windows_in(data: bytes, wanted: set[bytes]) -> int:
    return sum(data[k : k + WINDOW] in wanted for k in range(len(data) - WINDOW))


def test_no_byte_of_pictures_and_sound_is_left(session, tmp_path):
    out = tmp_path / "out.mcap"
    report = redact(session, out)
    assert report.removed == {"frames": 120, "audio": 120}
    assert report.kept == {"state": 120, "code": 120, "marks": 120}
    wanted, left = removed_pieces(session), everything_in(out)
    assert windows_in(everything_in(session), wanted) > 1000  # They can be found.
    assert windows_in(left, wanted) == 0
    for text in (b"secret microphone", b"pcm-s16", b"h264", b"RawAudio", b"CompressedVideo"):
        assert text not in left
    assert report.notes == ("hands", "neutral face")
    for text in (b"long bones", b"a crooked nose"):
        assert text in everything_in(session)
        assert text not in left
    for nal in (0x67, 0x68, 0x65, 0x25, 0x41, 0x61):
        assert bytes((0, 0, 0, 1, nal)) not in left
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_the_rest_is_the_same_and_the_header_says_what_was_done(session, tmp_path):
    out = tmp_path / "out.mcap"
    redact(session, out)
    with SessionReader(session) as before, SessionReader(out) as after:
        seams = ("state", "code", "marks")
        assert after.seams == seams
        pairs = zip(before.read(seams), after.read(seams), strict=True)
        for old, new in pairs:
            assert bits(old.record) == bits(new.record)
            assert old.written_ns == new.written_ns
        assert after.header.notes == {"redacted": "frames, audio", "seams": "all"}
        assert after.header.consent == before.header.consent == CONSENT
        assert after.header.unix_ns == before.header.unix_ns
    report = repair(out, tmp_path / "no.mcap")
    assert report.out is None
    assert not report.lost  # Its own states do not count what was removed.


def test_what_hides_beside_known_fields_and_channels_goes_too(session, tmp_path):
    """A picture in a field that no version knows, in a channel of another program, in metadata."""
    hidden = b"\xff\xd8 a picture of a face " * 5
    dirty, out = tmp_path / "dirty.mcap", tmp_path / "out.mcap"
    with ChunkReader(session) as file, ChunkFile(dirty, "a test") as copy:
        copy.take_channels(file.schemas, file.channels)
        schema = copy.add_schema("Picture", "jsonschema", hidden)
        foreign = copy.add_channel("/thumbnail", schema, "json", {"preview": hidden.hex()})
        copy.add_metadata("thumbnail", {"jpeg": hidden.hex()})
        state = next(n for n, c in file.channels.items() if c.metadata["seam"] == "state")
        for chunk in file.chunks:
            for raw in file.messages(chunk):
                # Field 1000, of bytes: what a newer writer might add.
                more = b"\xc2\x3e" + bytes([len(hidden)]) + hidden if raw.channel == state else b""
                copy.add(raw.channel, raw.sequence, raw.log_ns, raw.publish_ns, raw.data + more)
            copy.add(foreign, 0, chunk.message_end_time, 0, hidden)
    assert everything_in(dirty).count(hidden) > 100
    report = redact(dirty, out)
    assert report.foreign > 0
    assert report.kept["state"] == 120
    left = everything_in(out)
    assert hidden not in left
    assert hidden.hex().encode() not in left
    assert {type(p.record).__name__ for p in pieces(out)} >= {"Header", "Chunk", "Footer"}


def test_a_sealed_session_stays_sealed(tmp_path, monkeypatch):
    monkeypatch.setattr("sessions.sealing.OPS", 1)
    monkeypatch.setattr("sessions.sealing.MEMORY", 8 << 10)
    path, out = write(tmp_path / "s.mcap", SECRET), tmp_path / "out.mcap"
    with pytest.raises(LockedSessionError):
        redact(path, out)
    assert redact(path, out, secret=SECRET).sealed
    with pytest.raises(LockedSessionError):
        SessionReader(out)
    assert windows_in(everything_in(out, SECRET), removed_pieces(path, SECRET)) == 0
    with SessionReader(out, SECRET) as session:
        assert session.header.notes == {"redacted": "frames, audio", "seams": "all"}
    for text in (b"amara", CONSENT.encode(), b"redacted", b"mark"):
        assert text not in out.read_bytes()


def test_the_verb_removes_and_keeps_what_it_is_told(session, tmp_path, capsys):
    out = tmp_path / "o.mcap"
    arguments = ["redact", str(session), "--out", str(out)]
    assert command.run([*arguments, "--remove", "state", "--keep", "audio"]) == 0
    said = capsys.readouterr().out
    assert "removed: frames 120, state 120" in said
    assert "removed from the header: hands, neutral face\n" in said
    assert f"{session} still holds them" in said
    with SessionReader(out) as copy:
        assert copy.seams == ("audio", "code", "marks")
        assert copy.header.notes == {"redacted": "frames, state", "seams": "all"}
    # Once more: what is gone stays noted.
    again = tmp_path / "again.mcap"
    assert command.run(["redact", str(out), "--out", str(again)]) == 0
    with SessionReader(again) as copy:
        assert copy.header.notes == {"redacted": "frames, audio, state", "seams": "all"}
    # With the frames stays what they are tracked with.
    frames, keep = tmp_path / "frames.mcap", ["--remove", "state", "--keep", "frames"]
    assert command.run(["redact", str(session), "--out", str(frames), *keep]) == 0
    assert "header" not in capsys.readouterr().out
    with SessionReader(frames) as copy:
        assert set(copy.header.notes) == {HANDS_NOTE, CALM_FACE_NOTE, "redacted", "seams"}
    assert command.run(arguments) == 1
    assert "exists already" in capsys.readouterr().err
    for wrong in (["--remove", "faces"], ["--keep", "state"]):
        assert command.run([*arguments, *wrong]) == 2
        assert wrong[1] in capsys.readouterr().err


def test_only_a_sound_session_is_redacted(session, tmp_path):
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(session.read_bytes()[:-500])
    with pytest.raises(CutSessionError, match="visavis repair"):
        redact(cut, tmp_path / "o.mcap")
    with pytest.raises(ValueError, match="faces"):
        redact(session, tmp_path / "o.mcap", ("faces",))
    with pytest.raises(SessionError, match="no folder"):
        redact(session, tmp_path / "absent" / "o.mcap")
    assert [path.name for path in tmp_path.iterdir()] == ["cut.mcap"]
    assert set(SEAMS) >= {"frames", "audio"}
