"""Where the secret of a sealed session comes from."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from apps import secret
from apps.usage import FailedError, UsageError
from sessions.session_header import SessionHeader
from sessions.writer import SessionWriter

WORDS = b"correct horse battery"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _nothing_given(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(secret.VARIABLE, raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())


def _typing(monkeypatch: pytest.MonkeyPatch, *lines: str) -> list[str]:
    asked: list[str] = []
    answers = iter(lines)

    def typed(prompt: str) -> str:
        asked.append(prompt)
        return next(answers)

    monkeypatch.setattr("sys.stdin", _Terminal())
    monkeypatch.setattr("getpass.getpass", typed)
    return asked


def _session(path: Path, words: bytes | None) -> Path:
    with SessionWriter(path, SessionHeader(0, 1), secret=words):
        pass
    return path


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_key_files_last_line_break_is_not_part_of_it(tmp_path, monkeypatch, end):
    path = tmp_path / "key"
    path.write_bytes(WORDS + end)
    monkeypatch.setenv(secret.VARIABLE, "another one")
    assert secret.given_secret(path) == WORDS


@pytest.mark.parametrize("content", [None, b"", b"\n", bytes(secret.MOST_BYTES + 1)])
def test_what_is_no_key_file_is_refused(tmp_path, content):
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FailedError, match=f"--key-file {path}"):
        secret.given_secret(path)


def test_the_environment_gives_it(monkeypatch, tmp_path):
    monkeypatch.setenv(secret.VARIABLE, WORDS.decode())
    assert secret.given_secret(None) == WORDS
    assert secret.secret_of(tmp_path / "any.mcap", None) == WORDS
    assert secret.new_secret(None) == WORDS


def test_only_who_opens_a_sealed_session_at_a_terminal_is_asked(tmp_path, monkeypatch):
    sealed = _session(tmp_path / "sealed.mcap", WORDS)
    plain = _session(tmp_path / "plain.mcap", None)
    assert secret.secret_of(sealed, None) is None
    asked = _typing(monkeypatch, WORDS.decode())
    assert secret.secret_of(plain, None) is None
    assert secret.secret_of(tmp_path / "absent.mcap", None) is None
    assert not asked
    assert secret.secret_of(sealed, None) == WORDS
    assert "sealed.mcap" in asked[0]


def test_a_new_secret_is_typed_twice(monkeypatch):
    with pytest.raises(UsageError, match=secret.VARIABLE):
        secret.new_secret(None)
    _typing(monkeypatch, "long enough", "long enough")
    assert secret.new_secret(None) == b"long enough"
    _typing(monkeypatch, "long enough", "long enuogh")
    with pytest.raises(FailedError, match="differ"):
        secret.new_secret(None)
