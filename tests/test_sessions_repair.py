"""A damaged session keeps every whole chunk and nothing else, and what is lost is said."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from apps import command
from sessions.reader import SessionReader
from sessions.repair import RepairReport, repair, repaired_name
from sessions.session_error import CutSessionError, LockedSessionError, SessionError
from tests.session_files import (
    SECRET,
    STEP_NS,
    chunks,
    messages,
    pieces,
    random_places,
    write_session,
)

MOMENTS = 90


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_session(tmp_path_factory.mktemp("sound") / "s.mcap", MOMENTS)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_session(tmp_path_factory.mktemp("sealed") / "s.mcap", MOMENTS, SECRET)


def repaired(data: bytes, folder: Path, secret: bytes | None = None) -> tuple[RepairReport, Path]:
    """Repair these bytes; the clean file must be one that needs no repair."""
    source, clean = folder / "damaged.mcap", folder / "clean.mcap"
    clean.unlink(missing_ok=True)
    source.write_bytes(data)
    report = repair(source, clean, secret)
    assert source.read_bytes() == data
    if report.out is None:
        assert not clean.exists()
        return report, source
    assert stat.S_IMODE(clean.stat().st_mode) == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["clean.mcap", "damaged.mcap"]
    assert repair(clean, folder / "no.mcap", secret).out is None
    return report, clean


def test_a_sound_file_is_left_alone(sound, sealed, tmp_path):
    for path, secret in ((sound, None), (sealed, None), (sealed, SECRET)):
        report = repair(path, tmp_path / "out.mcap", secret)
        assert report.out is None
        assert not report.losses
        assert not report.lost
        assert report.seal_checked == (secret is not None)
        assert report.last_ns == (MOMENTS - 1) * STEP_NS
        assert not list(tmp_path.iterdir())
    assert repair(sound, tmp_path / "out.mcap").kept == {"frames": 90, "audio": 90, "marks": 90}


def test_whatever_is_cut_every_whole_chunk_before_it_is_kept(sound, tmp_path):
    data, whole = sound.read_bytes(), messages(sound)
    ends = [(piece.end, piece.record.uncompressed_size) for piece in chunks(sound)]
    counts = {end: len(_messages_of(piece.content)) for piece, (end, _) in zip(
        chunks(sound), ends, strict=True)}  # fmt: skip
    for cut in random_places(data, 30):
        if cut < ends[0][0]:
            with pytest.raises(SessionError, match="nothing"):
                repaired(data[:cut], tmp_path)
            continue
        report, clean = repaired(data[:cut], tmp_path)
        kept = sum(counts[end] for end, _ in ends if end <= cut)
        assert messages(clean) == whole[:kept], cut
        assert report.index
        # What the reader gives is what was there, up to where it was cut.
        with SessionReader(clean) as session:
            assert sum(1 for _ in session.read()) == sum(report.kept.values())
            assert not session.undecodable


def _messages_of(content: bytes | None) -> list:
    from sessions.record_scan import messages_of

    return list(messages_of(content or b""))


def test_one_changed_byte_costs_one_chunk_at_most(sound, tmp_path):
    data, whole = sound.read_bytes(), messages(sound)
    most = max(len(_messages_of(piece.content)) for piece in chunks(sound))
    for place in random_places(data, 40, seed=1):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        report, clean = repaired(bytes(changed), tmp_path)
        kept = messages(clean)
        if report.header_lost:
            kept = kept[1:]
        lost = [raw for raw in whole if raw not in kept]
        assert [raw for raw in whole if raw in kept] == kept, place
        assert len(lost) <= most, place
        with SessionReader(clean) as session:
            assert session.header.cameras[0].name == "desk camera"


def test_noise_in_the_middle_costs_what_it_covers_and_is_measured(sound, tmp_path):
    data, all_chunks = bytearray(sound.read_bytes()), chunks(sound)
    first, last = len(all_chunks) // 3, len(all_chunks) // 3 + 3
    start, end = all_chunks[first].at + 40, all_chunks[last - 1].end - 40
    data[start:end] = np.random.default_rng(0).bytes(end - start)
    report, clean = repaired(bytes(data), tmp_path)
    before = {raw.log_ns for c in all_chunks[:first] for raw in _messages_of(c.content)}
    after = {raw.log_ns for c in all_chunks[last:] for raw in _messages_of(c.content)}
    assert {raw.log_ns for raw in messages(clean)} == before | after
    assert report.losses[0].at == all_chunks[first].at
    gap_s = (min(after - before) - max(before)) / 1e9
    assert report.lost_s == pytest.approx(gap_s, abs=STEP_NS / 1e9)
    lost = {seam: MOMENTS - count for seam, count in report.kept.items()}
    assert report.lost == {seam: count for seam, count in lost.items() if count}
    assert report.losses[0].chunks >= 1


@pytest.mark.parametrize("where", ["behind", "between"])
def test_foreign_bytes_are_stepped_over(sound, tmp_path, where):
    data, noise = sound.read_bytes(), np.random.default_rng(3).bytes(5000)
    at = len(data) if where == "behind" else chunks(sound)[4].at
    report, clean = repaired(data[:at] + noise + data[at:], tmp_path)
    assert messages(clean) == messages(sound)
    assert report.lost_bytes >= 5000
    assert not report.lost


def test_lost_index_and_lying_times_are_made_from_the_content(sound, tmp_path):
    data, all_chunks = bytearray(sound.read_bytes()), chunks(sound)
    chunk = all_chunks[5]
    data[chunk.at + 9 : chunk.at + 25] = bytes(16)  # Its first and last moment.
    data[chunk.end + 20] ^= 255  # A time in its index.
    report, clean = repaired(bytes(data), tmp_path)
    assert "index" not in {loss.why for loss in report.losses}
    assert report.index == "that of a chunk was missing or damaged"
    assert messages(clean) == messages(sound)
    assert not report.lost
    fixed = chunks(clean)[5].record
    assert (fixed.message_start_time, fixed.message_end_time) == (
        chunk.record.message_start_time,
        chunk.record.message_end_time,
    )


def test_a_lost_header_is_replaced_by_one_that_says_so(sound, sealed, tmp_path):
    for path, secret in ((sound, None), (sealed, SECRET)):
        data = bytearray(path.read_bytes())
        data[chunks(path)[0].at + 70] ^= 1
        report, clean = repaired(bytes(data), tmp_path, secret)
        assert report.header_lost
        with SessionReader(clean, secret) as session:
            assert "lost" in session.header.notes["repaired"]
            assert session.header.cameras[0].name == "desk camera"
            assert not session.header.consent
            assert sum(1 for _ in session.read()) == 3 * MOMENTS


def test_sealed_chunks_are_kept_without_the_secret(sealed, tmp_path):
    data = sealed.read_bytes()
    for cut in random_places(data, 12, seed=2):
        all_chunks = chunks(sealed)
        if cut < all_chunks[1].end:
            continue
        report, clean = repaired(data[:cut], tmp_path)
        assert report.sealed
        assert not report.seal_checked
        with SessionReader(clean, SECRET) as session:
            assert sum(1 for _ in session.read()) > 0
        kept = messages(clean, SECRET)
        assert kept == messages(sealed, SECRET)[: len(kept)]


def test_only_the_secret_finds_a_changed_sealed_chunk(sealed, tmp_path):
    data = bytearray(sealed.read_bytes())
    piece = chunks(sealed)[6]
    data[(piece.at + piece.end) // 2] ^= 1
    assert repaired(bytes(data), tmp_path)[0].out is None
    report, clean = repaired(bytes(data), tmp_path, SECRET)
    assert len(chunks(clean)) == len(chunks(sealed)) - 1
    assert "sealed chunk" in report.losses[0].why
    with pytest.raises(LockedSessionError, match="does not open"):
        repaired(bytes(data), tmp_path, b"another secret")


def test_a_seals_parameters_are_found_where_they_are_repeated(sealed, tmp_path):
    data = bytearray(sealed.read_bytes())
    places = [(p.at, p.end) for p in pieces(sealed) if p.opcode == Opcode.METADATA]
    assert len(places) >= 2
    data[slice(*places[0])] = bytes(places[0][1] - places[0][0])
    _, clean = repaired(bytes(data), tmp_path)
    assert messages(clean, SECRET) == messages(sealed, SECRET)
    for at, end in places:
        data[at:end] = bytes(end - at)
    with pytest.raises(LockedSessionError, match="nobody can open it"):
        repaired(bytes(data), tmp_path)


def _foreign(path: Path, chunked: bool) -> Path:
    writer = Writer(
        str(path), chunk_size=400, compression=CompressionType.LZ4, use_chunking=chunked
    )
    writer.start("other", "another writer")
    channel = writer.register_channel(
        "/numbers", "json", writer.register_schema("Numbers", "jsonschema", b"{}")
    )
    writer.add_attachment(3, 4, "notes.txt", "text/plain", b"nothing much")
    writer.add_metadata("about", {"who": "another"})
    for k in range(60):
        writer.add_message(channel, k * STEP_NS, f"number {k}".encode() * 3, k * STEP_NS, k)
    writer.finish()
    return path


@pytest.mark.parametrize("chunked", [True, False])
def test_other_programs_files_are_repaired_too(tmp_path, chunked):
    path = _foreign(tmp_path / "foreign.mcap", chunked)
    data = path.read_bytes()
    folder = tmp_path / "in"
    folder.mkdir()
    report, clean = repaired(data[: len(data) * 6 // 10], folder)
    assert not report.session
    assert "another writer" in report.library
    with clean.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        read = [message.data for _, _, message in reader.iter_messages()]
        assert len(read) > 10
        assert read == [f"number {k}".encode() * 3 for k in range(len(read))]
        assert [a.data for a in reader.iter_attachments()] == [b"nothing much"]
        assert [m.metadata for m in reader.iter_metadata()] == [{"who": "another"}]


def test_channels_defined_in_a_lost_chunk_come_from_the_index(tmp_path):
    """Others define a channel once: the chunk that did may be the damaged one."""
    path = _foreign(tmp_path / "foreign.mcap", True)
    data = bytearray(path.read_bytes())
    folder = tmp_path / "in"
    folder.mkdir()
    first = chunks(path)[0]
    data[first.end - 3] ^= 1
    clean = repaired(bytes(data), folder)[1]
    with clean.open("rb") as file:
        topics = [channel.topic for _, channel, _ in make_reader(file).iter_messages()]
    assert set(topics) == {"/numbers"}
    # Without that index nothing says what the rest is.
    with pytest.raises(SessionError, match="nothing"):
        repaired(bytes(data[: chunks(path)[-1].end]), folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x89MCAP0\r\n", "nothing"),
        (bytes(100_000), "no MCAP file"),
        (np.random.default_rng(0).bytes(100_000), "no MCAP file"),
    ],
)
def test_what_holds_nothing_is_said_to(tmp_path, content, said):
    with pytest.raises(SessionError, match=said):
        repaired(content, tmp_path)


def test_a_video_is_no_session(demo_clip, tmp_path):
    with pytest.raises(SessionError, match="no MCAP file"):
        repair(demo_clip, tmp_path / "out.mcap")


def test_the_verb_tells_and_never_overwrites_another_file(sound, tmp_path, capsys):
    data = sound.read_bytes()
    path = tmp_path / "session.mcap"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CutSessionError, match="visavis repair"), SessionReader(path):
        pass
    assert command.run(["repair", str(path)]) == 0
    said = capsys.readouterr().out
    clean = repaired_name(path)
    assert clean == tmp_path / "session.repaired.mcap"
    assert f"wrote {clean}" in said
    assert "lost: " in said
    assert "after" in said
    assert command.run(["repair", str(path)]) == 1
    assert f"{clean}: exists already" in capsys.readouterr().err
    assert command.run(["repair", str(clean)]) == 0
    assert f"{clean} is sound" in capsys.readouterr().out
    # The source itself is replaced when that is asked for.
    assert command.run(["repair", str(path), "--out", str(path)]) == 0
    assert messages(path) == messages(clean)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, clean.name]


def test_a_copy_that_cannot_be_written_leaves_nothing(sound, tmp_path, capsys):
    path = tmp_path / "session.mcap"
    path.write_bytes(sound.read_bytes()[:-100])
    for out in (tmp_path / "absent" / "o.mcap", Path("/proc/o.mcap")):
        assert command.run(["repair", str(path), "--out", str(out)]) == 1
        said = capsys.readouterr().err
        assert str(out) in said
        assert "unexpected" not in said
    assert os.listdir(tmp_path) == ["session.mcap"]


def test_a_message_in_the_clear_is_no_part_of_a_sealed_file(sealed, tmp_path):
    """Its channel is defined under the seals, if anywhere."""
    data, place = sealed.read_bytes(), chunks(sealed)[3].at
    message = b"\x05" + (30).to_bytes(8, "little") + (4).to_bytes(2, "little") + bytes(28)
    for secret in (None, SECRET):
        clean = repaired(data[:place] + message + data[place:-9], tmp_path, secret)[1]
        with SessionReader(clean, SECRET) as session:
            assert sum(1 for _ in session.read()) == 3 * MOMENTS


def test_sealed_chunks_that_come_twice_are_kept_once(sealed, tmp_path):
    data, twice = sealed.read_bytes(), chunks(sealed)[2]
    at = chunks(sealed)[5].at
    damaged = data[:at] + data[twice.at : chunks(sealed)[3].at] + data[at:]
    report, clean = repaired(damaged, tmp_path, SECRET)
    assert "not in its place" in report.losses[0].why
    assert messages(clean, SECRET) == messages(sealed, SECRET)


def test_an_index_that_names_other_times_than_its_chunk_is_refused(sound, tmp_path):
    """A chunk's own index has no checksum: what can be known to be wrong is."""
    data, chunk = bytearray(sound.read_bytes()), chunks(sound)[5]
    data[chunk.end + 9 + 6 + 7] ^= 64  # The highest byte of the first time in it.
    path = tmp_path / "s.mcap"
    path.write_bytes(data)
    with SessionReader(path) as session, pytest.raises(CutSessionError, match="visavis repair"):
        [session.times(seam) for seam in session.seams]
