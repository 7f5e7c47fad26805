"""Files of schema version 1 are read for ever, to the last bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sessions.reader import SessionReader
from sessions.session_error import SessionError
from tests.fixtures.sessions_v1.make import SECRET, records
from tests.session_records import digest

FOLDER = Path(__file__).parent / "fixtures" / "sessions_v1"


@pytest.mark.parametrize("name", ["lossless", "h264", "sealed"])
def test_files_of_version_1(name: str) -> None:
    expected = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    with SessionReader(FOLDER / f"{name}.mcap", SECRET if name == "sealed" else None) as session:
        assert digest(session.header) == expected["header"]
        assert {channel.version for channel in session.channels} == {1}
        found = [[r.seam, r.source, r.t_ns, digest(r.record)] for r in session.read()]
    assert found == expected["records"]
    assert len(found) == len(records())


def test_a_later_version_is_refused_with_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that a later Visavis wrote: version 2 in its channels."""
    from sessions import seams, writer
    from sessions.session_header import SessionHeader
    from streams.mark import Mark

    monkeypatch.setattr(seams, "VERSION", 2)
    with writer.SessionWriter(tmp_path / "later.mcap", SessionHeader(0, 0)) as session:
        session.write(Mark(0, "later"))
    monkeypatch.undo()
    with pytest.raises(SessionError, match=r"version 2.* a newer Visavis may read it"):
        SessionReader(tmp_path / "later.mcap")
