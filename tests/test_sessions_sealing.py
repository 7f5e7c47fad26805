"""A sealed session is useless without its secret, and shows every change to who has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.records import Metadata

from apps import command
from sessions import sealing
from sessions.chunk_file import ChunkFile
from sessions.reader import SessionReader
from sessions.record_scan import index_of, is_sealed
from sessions.sealing import Seal
from sessions.session_error import CutSessionError, LockedSessionError, SessionError
from tests.session_files import CONSENT, SECRET, bytes_of, chunks, messages, pieces, write_session


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_session(tmp_path_factory.mktemp("sealed") / "s.mcap", 60, SECRET)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the same secret."""
    return write_session(tmp_path_factory.mktemp("other") / "s.mcap", 60, SECRET)


def assembled(path: Path, source: Path, order: list[tuple[Path, int]]) -> Path:
    """A file with the parameters of `source` and these chunks of files, sealed as they are; its
    index fits."""
    with ChunkFile(path, "an attacker") as out:
        seal = next(p for p in pieces(source) if p.opcode == Opcode.METADATA)
        out.add_metadata(seal.record.name, seal.record.metadata)
        for where, k in order:
            chunk = chunks(where)[k].record
            content = chunks(where, SECRET)[k].content
            out.copy_chunk(bytes_of(chunk), chunk, index_of(content or b""))
    return path


def with_parameters(path: Path, source: Path, **changed: str | None) -> Path:
    """A copy of `source` whose seal has other parameters; None removes one."""
    with ChunkFile(path, "an attacker") as out:
        for piece in pieces(source):
            if piece.opcode == Opcode.METADATA:
                metadata = {k: v for k, v in (piece.record.metadata | changed).items() if v}
                out.add_metadata(piece.record.name, metadata)
            elif piece.opcode == Opcode.CHUNK:
                out.copy_chunk(bytes_of(piece.record), piece.record, {1: [(0, 0)]})
    return path


def read(path: Path, secret: bytes | None = SECRET) -> int:
    with SessionReader(path, secret) as session:
        return sum(1 for _ in session.read())


def test_it_opens_with_its_secret_alone(sealed, capsys):
    assert is_sealed(sealed)
    assert read(sealed) == 180
    for secret in (None, b"correct horse", SECRET + b" ", b"\0" * 40):
        with pytest.raises(LockedSessionError, match="secret"):
            read(sealed, secret)
    with pytest.raises(SessionError, match="at least 8"):
        Seal.made(b"short")


def test_no_name_and_no_text_is_in_the_clear(sealed, tmp_path):
    data = sealed.read_bytes()
    plain = write_session(tmp_path / "plain.mcap", 60)
    for text in (
        b"desk camera", b"desk microphone", b"amara", CONSENT.encode(), b"mark", b"said aloud",
        b"made up", b"SessionHeader", b"CompressedVideo", b"/frames", b"pcm-s16",
        SECRET,
    ):  # fmt: skip
        assert text not in data
    # What a reader of MCAP can see: numbered channels, times, sizes.
    with sealed.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    assert not summary.channels
    assert not summary.schemas
    # Packed, but not sealed, the same texts are there: the search would find them.
    clear = plain.read_bytes()
    assert b"desk camera" in clear
    assert CONSENT.encode() in b"".join(piece.content or b"" for piece in chunks(plain))


def test_two_files_of_one_secret_have_nothing_in_common(sealed, other):
    keys = [
        next(p for p in pieces(path) if p.opcode == Opcode.METADATA).record.metadata["salt"]
        for path in (sealed, other)
    ]
    assert keys[0] != keys[1]
    nonces = [p.record.data[8:32] for path in (sealed, other) for p in chunks(path)]
    assert len(set(nonces)) == len(nonces)


def test_every_changed_byte_of_a_chunk_is_noticed(sealed, tmp_path):
    data = sealed.read_bytes()
    piece = chunks(sealed)[3]
    start = piece.end - len(piece.record.data)
    for at in (start, start + 8, start + 40, piece.end - 20, piece.end - 1):
        changed = bytearray(data)
        changed[at] ^= 1
        path = tmp_path / "changed.mcap"
        path.write_bytes(changed)
        with pytest.raises(CutSessionError, match="changed"):
            read(path)


def test_chunks_cannot_change_places_come_twice_or_from_another_file(sealed, other, tmp_path):
    count = len(chunks(sealed))
    mine = [(sealed, k) for k in range(count)]
    assert messages(assembled(tmp_path / "a", sealed, mine), SECRET) == messages(sealed, SECRET)
    swapped = [*mine[:3], mine[4], mine[3], *mine[5:]]
    with pytest.raises(CutSessionError, match="not in its place"):
        read(assembled(tmp_path / "b", sealed, swapped))
    with pytest.raises(CutSessionError, match="not in its place"):
        read(assembled(tmp_path / "c", sealed, [*mine, mine[3]]))
    with pytest.raises(CutSessionError, match="changed"):
        read(assembled(tmp_path / "d", sealed, [*mine[:3], (other, 3), *mine[4:]]))
    # What is missing is not noticed: the end may be lost, and a repair leaves damaged chunks out.
    assert 0 < read(assembled(tmp_path / "e", sealed, mine[:-2])) < 180


def test_a_chunk_in_the_clear_is_no_way_in(sealed, tmp_path):
    """An attacker who cannot seal adds a chunk of their own: it reads as a chunk of the file, so
    that it must be refused."""
    plain = write_session(tmp_path / "plain.mcap", 60)
    mine = [(sealed, k) for k in range(len(chunks(sealed)))]
    path = assembled(tmp_path / "mixed", sealed, [*mine[:3], (plain, 4), *mine[4:]])
    with pytest.raises(CutSessionError, match="not sealed"):
        read(path)


def test_a_cut_file_is_still_sealed(sealed, tmp_path):
    path = tmp_path / "cut.mcap"
    path.write_bytes(sealed.read_bytes()[: sealed.stat().st_size * 2 // 3])
    assert is_sealed(path)
    with pytest.raises(CutSessionError, match="repair"):
        read(path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ops": "4000000000"}, "refused"),
        ({"ops": "0"}, "refused"),
        ({"ops": "-1"}, "refused"),
        ({"memory": str(1 << 40)}, "refused"),
        ({"memory": "1"}, "refused"),
        ({"memory": "much"}, "damaged"),
        ({"memory": "9" * 5000}, "damaged"),
        ({"salt": "00"}, "refused"),
        ({"salt": "no hex"}, "damaged"),
        ({"salt": None}, "damaged"),
        ({"check": None}, "damaged"),
        ({"check": "00"}, "does not open"),
        ({"version": "2"}, "does not know"),
        ({"cipher": "none"}, "does not know"),
        ({"key": "plain"}, "does not know"),
    ],
)
def test_a_seals_parameters_are_not_trusted(sealed, tmp_path, changed, said):
    path = with_parameters(tmp_path / "p.mcap", sealed, **changed)
    with pytest.raises(SessionError, match=said):
        read(path)


def test_what_a_key_may_cost_is_bounded():
    assert sealing.MOST_MEMORY <= 512 << 20
    assert sealing.MOST_OPS * sealing.MOST_MEMORY <= 12 * sealing.OPS * sealing.MEMORY
    # The real ones, which other tests do without, once.
    seal, metadata = Seal.made(SECRET)
    assert (metadata["ops"], metadata["memory"]) == ("3", str(128 << 20))
    assert Seal.opened("here", metadata, SECRET).opened_chunk(seal.sealed(b"x", 5)) == (5, b"x")


def test_verbs_take_the_secret_from_a_file(sealed, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("VISAVIS_SECRET", raising=False)
    key, wrong = tmp_path / "key", tmp_path / "wrong"
    key.write_bytes(SECRET + b"\n")
    wrong.write_bytes(b"something else\n")
    assert command.run(["repair", str(sealed), "--key-file", str(key)]) == 0
    assert "seals checked" in capsys.readouterr().out
    assert command.run(["repair", str(sealed), "--key-file", str(wrong)]) == 1
    assert "the secret does not open it" in capsys.readouterr().err
    out = str(tmp_path / "o.mcap")
    assert command.run(["redact", str(sealed), "--out", out]) == 1
    assert "--key-file" in capsys.readouterr().err
    monkeypatch.setenv("VISAVIS_SECRET", SECRET.decode())
    assert command.run(["redact", str(sealed), "--out", out]) == 0


def test_metadata_of_a_seal_is_the_only_thing_outside(sealed):
    kinds = {type(p.record) for p in pieces(sealed) if p.opcode == Opcode.METADATA}
    assert kinds == {Metadata}
    assert {p.record.name for p in pieces(sealed) if p.opcode == Opcode.METADATA} == {
        sealing.METADATA
    }
