"""What a killed recorder, a full disk or a folder that is gone leaves of a recording."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.crash import rounds
from sessions.reader import SessionReader
from sessions.repair import repair
from sessions.session_error import SessionError
from sessions.session_header import SessionHeader
from sessions.writer import SessionOptions, SessionWriter
from streams.camera import Camera
from streams.frame import Frame
from streams.mark import Mark
from tests.session_files import write_session

CAMERA = Camera.from_fov((64, 48))
HEADER = SessionHeader(0, 1, "a test", cameras=(CAMERA,))

# A recorder that may write so many bytes to a file; tells what it was told.
LIMITED = """
import json, resource, sys
from pathlib import Path
from tests.test_sessions_crash import record_until_refused
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
print(json.dumps(record_until_refused(Path(sys.argv[1]))))
"""


def frame(number: int) -> Frame:
    rgb = np.random.default_rng(number).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    return Frame(number * 33_000_000, number, CAMERA, rgb)


def record_until_refused(path: Path, most: int = 3000) -> tuple[str, dict[str, int]]:
    """What the writer said when it could not go on, and what it had saved by then."""
    session = SessionWriter(path, HEADER, SessionOptions(wait_s=60.0, flush_s=0.02))
    said = ""
    try:
        for number in range(most):
            session.write(frame(number), Mark(number * 33_000_000, "m"))
        session.close()
    except SessionError as error:
        said = str(error)
    try:
        session.close()
    except SessionError as error:
        said = said or str(error)
    return said, session.saved


def readable(path: Path, folder: Path) -> dict[str, int]:
    """Records by seam of what is left, repaired where that is needed."""
    clean = folder / "clean.mcap"
    path = clean if repair(path, clean).out else path
    counts: dict[str, int] = {}
    with SessionReader(path) as session:
        for record in session.read():
            counts[record.seam] = counts.get(record.seam, 0) + 1
        assert not session.undecodable
    return counts


def test_kills_lose_little_and_nothing_that_was_saved(demo_clip):
    """How little depends on how busy the machine is: `benchmarks.crash` measures it."""
    done = rounds(demo_clip, 6, seed=1000, at_once=6)
    assert [one.failed for one in done] == [""] * 6
    assert max(one.lost_s for one in done) < 20.0
    assert sum(one.frames for one in done) > 0
    assert any(one.sealed for one in done)


def test_a_full_disk_is_told_and_what_was_saved_is_good(root, tmp_path):
    """The limit of a process on the size of its files: for the writer, a disk that is full."""
    path = tmp_path / "s.mcap"
    process = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), "150000"],
        cwd=root, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    said, saved = json.loads(process.stdout)
    assert f"{path}: writing stopped" in said
    assert "Make room" in said
    assert "\n" not in said
    assert saved["frames"] > 5
    assert path.stat().st_size <= 150_000
    left = readable(path, tmp_path)
    assert all(left[seam] >= count for seam, count in saved.items())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_disk_that_was_full_before_is_told(tmp_path):
    with pytest.raises(SessionError, match="exists already"):
        SessionWriter(Path("/dev/full"), HEADER)


def test_a_removed_file_or_folder_is_told(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    session = SessionWriter(folder / "s.mcap", HEADER, SessionOptions(flush_s=0.02))
    session.write(frame(0))
    shutil.rmtree(folder)

    def go_on() -> None:
        deadline = time.monotonic() + 60
        number = 0
        while time.monotonic() < deadline:
            number += 1
            session.write(frame(number))
            time.sleep(0.02)

    with pytest.raises(SessionError, match="was removed while it was written"):
        go_on()
    with pytest.raises(SessionError, match="removed"):
        session.close()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("absent/s.mcap", "there is no folder"),
        ("/proc/s.mcap", "/proc"),
        ("there.mcap", "exists already"),
        ("file/s.mcap", "cannot write here"),
    ],
)
def test_where_nothing_can_be_written_is_told_at_once(tmp_path, place, said):
    (tmp_path / "there.mcap").write_bytes(b"kept")
    (tmp_path / "file").touch()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SessionError, match=said):
        SessionWriter(tmp_path / place, HEADER)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.mcap").read_bytes() == b"kept"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_told(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(SessionError, match="cannot write here"):
            SessionWriter(tmp_path / "s.mcap", HEADER)
    finally:
        tmp_path.chmod(0o700)


def test_a_full_disk_stops_a_repair_and_leaves_nothing_of_it(root, tmp_path):
    sound = write_session(tmp_path / "s.mcap").read_bytes()
    path = tmp_path / "cut.mcap"
    path.write_bytes(sound[:-100])
    process = subprocess.run(
        [
            sys.executable, "-c",
            "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
            "from apps.command import main; main()",
            "repair", str(path),
        ],
        cwd=root, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert process.returncode == 1
    assert "could not be written" in process.stderr
    assert process.stderr.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.mcap", "s.mcap"]
    assert path.read_bytes() == sound[:-100]
