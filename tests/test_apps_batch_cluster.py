"""Batches through a real Ray of two workers, which are killed."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from apps.command import run
from sessions.reader import SessionReader
from tests.session_records import digest

# Not imported here: it reads its settings as it is imported.
if importlib.util.find_spec("ray") is None:
    pytest.skip("needs the extra `cluster`", allow_module_level=True)
if sys.platform != "linux":
    pytest.skip("looks for processes in /proc", allow_module_level=True)

FILM = ("--to", ".mp4", "--from", "frames")
PATIENCE_S = 120


def command_line(pid: int) -> str:
    """Raises OSError for one that is gone."""
    text = Path(f"/proc/{pid}/cmdline").read_bytes()
    return text.replace(b"\0", b" ").decode("utf-8", "replace")


def processes(*words: str) -> dict[int, int]:
    """Living processes with these words in their command line: process -> parent."""
    found: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = command_line(int(folder.name))
            state, parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:2]
        except OSError:
            continue
        if state != "Z" and all(word in line for word in words):
            found[int(folder.name)] = int(parent)
    return found


def family(pid: int) -> set[int]:
    """What this process started, and those in turn."""
    parents = processes()
    found, before = {pid}, 0
    while before < len(found):
        before = len(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return found - {pid}


def wait_until_gone(pids: set[int]) -> None:
    until = time.monotonic() + PATIENCE_S
    while left := pids & processes().keys():
        assert time.monotonic() < until, left
        time.sleep(0.05)


def verbs_on(session: Path) -> dict[int, int]:
    """The processes that work on this file, and their workers."""
    return processes("apps.batch_task", str(session))


class Killer(threading.Thread):
    """Acts on each process that begins on a file, `times` times."""

    def __init__(self, session: Path, times: int, act: Callable[[int, int], None]) -> None:
        super().__init__(daemon=True)
        self.left = times
        self._session, self._act = session, act
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        seen: set[int] = set()
        while self.left and not self._over.wait(0.005):
            for pid, worker in verbs_on(self._session).items():
                if pid not in seen:
                    seen.add(pid)
                    self._act(pid, worker)
                    self.left -= 1

    def end(self) -> None:
        self._over.set()
        self.join(10)


@pytest.fixture(scope="module")
def two_workers() -> Iterator[None]:
    from apps.ray_cluster import open_cluster

    with open_cluster(cpus=2) as cluster:
        assert cluster.slots() == 2
        yield
        ours = family(os.getpid()) & processes("ray").keys()
        assert len(ours) > 2
    wait_until_gone(ours)


@pytest.fixture(scope="module")
def sessions(make_video, tmp_path_factory) -> Path:
    """A folder with a.mcap, b.mcap and poison.mcap."""
    folder = tmp_path_factory.mktemp("sessions")
    recorded = folder / "a.mcap"
    source = f"video:{make_video(frames=5)}"
    assert run(["record", str(recorded), "--source", source, "--seams", "frames"]) == 0
    for name in ("b", "poison"):
        shutil.copy(recorded, folder / f"{name}.mcap")
    return folder


def entries(out: Path) -> dict[str, dict]:
    return {entry["name"]: entry for entry in json.loads((out / "batch.json").read_text())["files"]}


def test_a_killed_worker_costs_a_try_and_a_poison_file_only_itself(
    two_workers, sessions, tmp_path, capsys
):
    command = [
        "batch",
        "export",
        f"{sessions}/*.mcap",
        "--out",
        str(tmp_path),
        "--tries",
        "2",
        *FILM,
    ]
    victim = Killer(sessions / "a.mcap", 1, lambda _, worker: os.kill(worker, signal.SIGKILL))
    poison = Killer(sessions / "poison.mcap", 9, lambda verb, _: os.kill(verb, signal.SIGSEGV))
    try:
        code = run(command)
    finally:
        victim.end()
        poison.end()
    assert victim.left == 0
    assert poison.left == 7
    assert code == 1
    said = capsys.readouterr()
    assert "a: its worker was killed or crashed; try 2 of 2 begins" in said.out
    assert "poison (crashed (SIGSEGV), 2 tries); the others are done" in said.err
    assert said.err.count("\n") == 1
    assert "[3/3]" in said.out
    assert "(raylet)" not in said.out
    found = entries(tmp_path)
    assert [found[name]["result"] for name in ("a", "b", "poison")] == ["done", "done", "failed"]
    assert [found[name]["tries"] for name in ("a", "b", "poison")] == [2, 1, 2]
    assert (tmp_path / "a.mp4").stat().st_size == found["a"]["outputs"]["a.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".batch", "a.mp4", "b.mp4", "batch.json"
    ]  # fmt: skip

    # The same again: what is done is kept, the rest is done.
    before = (tmp_path / "a.mp4").stat()
    assert run(command) == 0
    assert "3 files, 2 done before" in capsys.readouterr().out
    assert [entry["result"] for entry in entries(tmp_path).values()] == ["kept", "kept", "done"]
    assert (tmp_path / "a.mp4").stat().st_mtime_ns == before.st_mtime_ns
    # Other options are other work.
    assert run([*command, "--end", "9"]) == 0
    assert [entry["result"] for entry in entries(tmp_path).values()] == ["done"] * 3


def test_a_file_that_no_machine_can_take_is_told(two_workers, sessions, tmp_path, capsys):
    command = [
        "batch",
        "export",
        f"{sessions}/a.mcap",
        "--out",
        str(tmp_path),
        "--cpus",
        "64",
        *FILM,
    ]
    assert run(command) == 1
    assert "the largest has 2 and 0 (--cpus, --gpus)" in capsys.readouterr().err


def begin(sessions: Path, out: Path, root: Path) -> subprocess.Popen[str]:
    """A batch with a Ray of its own, one file at a time."""
    code = "from apps.command import main; main()"
    command = [
        sys.executable,
        "-c",
        code,
        "batch",
        "export",
        f"{sessions}/*.mcap",
        "--out",
        str(out),
    ]
    return subprocess.Popen(
        [*command, "--at-once", "1", *FILM], cwd=root, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # What a shell starts in the background inherits that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def held_in_the_second_file(
    begun: tuple[subprocess.Popen[str], Path],
) -> tuple[int, int, set[int]]:
    """Wait until the first file is done and the next one begun, and hold its process there: that
    one, its worker, and all of the batch's."""
    batch, out = begun
    work = out / ".batch" / "work"
    until = time.monotonic() + PATIENCE_S
    while not (verbs := processes("apps.batch_task", f"{work}/b.mp4")):
        assert time.monotonic() < until
        assert batch.poll() is None, batch.communicate()
        time.sleep(0.005)
    ((verb, worker),) = verbs.items()
    os.kill(verb, signal.SIGSTOP)
    assert (out / "a.mp4").is_file()
    return verb, worker, family(batch.pid)


def test_ctrl_c_and_a_killed_batch_leave_no_worker_and_go_on(
    two_workers, sessions, tmp_path, root, capsys
):
    interrupted, killed = tmp_path / "interrupted", tmp_path / "killed"
    batches = [(begin(sessions, out, root), out) for out in (interrupted, killed)]
    with ThreadPoolExecutor(2) as pool:
        held = list(pool.map(held_in_the_second_file, batches))
    families = [pids for *_, pids in held]
    assert all(len(pids) > 4 for pids in families)
    (stopped, _), (dead, _) = batches
    homes: set[str] = set()
    for pid in families[1]:
        with contextlib.suppress(OSError):
            homes |= set(re.findall(r"/tmp/visavis-ray-\w+", command_line(pid)))
    stopped.send_signal(signal.SIGINT)
    dead.kill()
    said, complaint = stopped.communicate(timeout=PATIENCE_S)
    assert (stopped.returncode, complaint) == (130, "visavis: stopped\n")
    assert "1 done, 2 not done; the same command goes on" in said
    results = [entry["result"] for entry in entries(interrupted).values()]
    assert results == ["done", "not done", "not done"]
    dead.communicate(timeout=PATIENCE_S)
    for verb, worker, _ in held:
        # Let go before, it could still end its file while Ray finds out that its batch is gone.
        wait_until_gone({worker})
        with contextlib.suppress(ProcessLookupError):
            os.kill(verb, signal.SIGCONT)
    wait_until_gone(families[0])
    # Ray's two agents, which do no work, end by themselves a minute after the batch is killed.
    agents = families[1] & processes("ray::", "Agent").keys()
    wait_until_gone(families[1] - agents)
    for pid in agents:
        os.kill(pid, signal.SIGKILL)
    for home in homes:
        shutil.rmtree(home, ignore_errors=True)
    for out in (interrupted, killed):
        assert not (out / "b.mp4").exists()
        command = ["batch", "export", f"{sessions}/*.mcap", "--out", str(out), *FILM]
        assert run(command) == 0
        assert [entry["result"] for entry in entries(out).values()] == ["kept", "done", "done"]
        assert not (out / ".batch" / "work").exists()


def test_sessions_tracked_anew_by_a_batch_are_those_tracked_without_one(
    two_workers, demo_clip, tmp_path
):
    session, alone = tmp_path / "talk.mcap", tmp_path / "alone.mcap"
    recorded = ["record", str(session), "--source", f"video:{demo_clip}", "--seconds", "0.2"]
    assert run([*recorded, "--seams", "frames"]) == 0
    options = ["--from", "frames"]
    out = tmp_path / "out"
    assert run(["batch", "replay", str(session), "--out", str(out), "--to", "mcap", *options]) == 0
    assert run(["replay", str(session), "--out", str(alone), *options]) == 0
    found = []
    for path in (out / "talk.mcap", alone):
        with SessionReader(path) as replayed:
            found.append([digest(one.record) for one in replayed.read(("state", "code"))])
    assert len(found[0]) == 2 * 6
    assert found[0] == found[1]
