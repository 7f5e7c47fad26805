"""Batches: what is run on which file and where it goes, one file's work, what is remembered."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from apps.batch import split_arguments
from apps.batch_plan import VERB_FORMS, BatchOrder, matches
from apps.batch_receipt import FileIdentity, files_named
from apps.batch_report import duration
from apps.batch_task import BatchTask, own_folder, run_task
from apps.command import VERBS, parse_arguments, run
from apps.usage import FailedError, UsageError
from capture.scenes import open_scene
from sessions.session_header import SessionHeader
from sessions.writer import SessionWriter

LIGHT = ("--seams", "frames")
"""Options of `record` that load neither tracker nor avatar."""


@pytest.fixture
def videos(make_video, tmp_path) -> Path:
    """A folder with take.mp4 and other/take.mp4."""
    folder = tmp_path / "in"
    (folder / "other").mkdir(parents=True)
    for path in (folder / "take.mp4", folder / "other" / "take.mp4"):
        shutil.copy(make_video(frames=5), path)
    return folder


def order(folder: Path, *inputs: str, **options: object) -> BatchOrder:
    return dataclasses.replace(BatchOrder("record", inputs, LIGHT, folder / "out"), **options)


def one_task(videos: Path, **options: object) -> BatchTask:
    (task,) = order(videos.parent, str(videos / "take.mp4"), **options).tasks()
    task.folder.mkdir(exist_ok=True)
    return task


def test_options_that_are_not_batchs_are_the_verbs():
    own, verbs = split_arguments(
        ["replay", "a.mcap", "b.mcap", "--from", "frames", "--out=o", "--cpus", "2", "--loop",
         "--anew", "--", "--cpus", "3"]
    )  # fmt: skip
    assert own == ["replay", "a.mcap", "b.mcap", "--out=o", "--cpus", "2", "--anew"]
    assert verbs == ("--from", "frames", "--loop", "--cpus", "3")
    assert split_arguments(["--out", "o", "compare", "a", "--", "b/{name}"])[1] == ("b/{name}",)


def test_what_a_pattern_matches_keeps_its_folders(videos):
    assert [below for _, below in matches(f"{videos}/**/*.mp4")] == [
        Path("other/take.mp4"), Path("take.mp4")
    ]  # fmt: skip
    assert [below for _, below in matches(f"{videos}/*/*.mp4")] == [Path("other/take.mp4")]
    assert [below for _, below in matches(str(videos / "take.mp4"))] == [Path("take.mp4")]
    odd = videos / "a[1].mp4"
    odd.touch()
    assert [path for path, _ in matches(str(odd))] == [odd]


def test_each_file_has_its_command_and_its_output(videos, tmp_path):
    tasks = order(tmp_path, f"{videos}/**/*.mp4").tasks()
    out = tmp_path / "out"
    assert [task.output for task in tasks] == [out / "other/take.mcap", out / "take.mcap"]
    source = f"video:{videos / 'take.mp4'}"
    assert tasks[1].command == ("record", "{out}", "--source", source, *LIGHT)
    assert tasks[1].template[3] == "video:{input}"
    # A file that two patterns match is worked on once.
    assert len(order(tmp_path, f"{videos}/*.mp4", f"{videos}/take*").tasks()) == 1


def test_placeholders_say_where_input_and_output_go(videos, tmp_path):
    options = ("--source", "video:{input}", "--image", "p/{stem}.png", "--out", "{out}")
    (task,) = order(
        tmp_path, f"{videos}/*/*.mp4", verb="preview", options=options, ending="mp4"
    ).tasks()
    assert task.command[4] == "p/other/take.png"
    assert task.command[:3] == ("preview", "--source", f"video:{videos / 'other/take.mp4'}")
    assert task.output == tmp_path / "out" / "other" / "take.mp4"


@pytest.mark.parametrize(
    ("inputs", "options", "error", "words"),
    [
        (("{videos}/none*.mp4",), {}, FailedError, "no file matches"),
        (("{videos}/take.mp4", "{videos}/other/take.mp4"), {}, FailedError, "both be written"),
        (("{videos}/take.mp4",), {"verb": "doctor", "ending": ".txt"}, UsageError, "say where"),
        (("{videos}/take.mp4",), {"ending": "a/b"}, UsageError, "name's ending"),
        (("{videos}/take.mp4",), {"out": Path("{videos}"), "ending": "mp4"}, FailedError, "over"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(
    inputs, options, error, words, videos, tmp_path
):
    inputs = [text.format(videos=videos) for text in inputs]
    if "out" in options:
        options = {**options, "out": videos}
    with pytest.raises(error, match=words):
        order(tmp_path, *inputs, **options).tasks()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--cpus", "0"], "--cpus 0: expected more than 0"),
        (["--gpus", "-1"], "expected 0 or more"),
        (["--tries", "0"], "expected 1 to 20"),
        (["--at-once", "0"], "expected 1 or more"),
        (["--time-limit", "0"], "--time-limit 0: expected more than 0"),
        (["--sezms", "frames"], "Unrecognized options: --sezms"),
    ],
)
def test_wrong_flags_are_usage_errors(flags, words, videos, tmp_path, capsys):
    command = ["batch", "record", f"{videos}/*.mp4", "--out", str(tmp_path / "out"), *flags]
    assert run(command) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_machine_without_ray_is_told_the_extra(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    command = ["batch", "record", f"{videos}/*.mp4", "--out", str(tmp_path / "out"), *LIGHT]
    assert run(command) == 1
    assert "pip install 'visavis[cluster]'" in capsys.readouterr().err
    # What was not done is told there too.
    assert json.loads((tmp_path / "out" / "batch.json").read_text())["not_done"] == 1


def test_a_second_batch_in_a_folder_is_refused(videos, tmp_path, capsys):
    from apps.batch import _locked

    out = tmp_path / "out"
    with _locked(out):
        assert run(["batch", "record", f"{videos}/*.mp4", "--out", str(out), *LIGHT]) == 1
    assert f"another batch writes here (process {os.getpid()})" in capsys.readouterr().err


def test_one_files_work_is_published_whole_and_remembered(videos):
    task = one_task(videos)
    outcome = run_task(task, 1)
    assert outcome.result == "done", outcome
    assert outcome.outputs == (("take.mcap", task.output.stat().st_size),)
    assert outcome.said.startswith("wrote take.mcap: 5 frames")
    assert outcome.cpu_seconds > 0.1
    assert outcome.peak_mb > 20
    assert task.output.stat().st_mode & 0o777 == 0o600  # as the verb made it
    kept = task.kept()
    assert kept is not None
    assert kept.figures["said"] == outcome.said
    assert not list((own_folder(task.folder) / "work").iterdir())


def test_a_receipt_holds_for_the_same_work_alone(videos):
    task = one_task(videos)
    assert run_task(task, 1).result == "done"
    os.utime(task.input, ns=(1, 1))
    assert task.kept() is not None  # touched, the same bytes
    assert one_task(videos, options=(*LIGHT, "--seconds", "9")).kept() is None
    assert dataclasses.replace(task, version="0").kept() is None
    whole = task.input.read_bytes()
    task.input.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert task.kept() is None
    task.input.write_bytes(whole)
    assert task.kept() is not None
    task.output.write_bytes(b"cut")
    assert task.kept() is None
    task.receipt.write_text("{")
    assert task.kept() is None


def test_the_files_that_options_name_belong_to_a_receipt(tmp_path, monkeypatch):
    monkeypatch.setenv("VISAVIS_HOME", str(tmp_path / "home"))
    enrolled = tmp_path / "home" / "avatars" / "me.visavis"
    enrolled.parent.mkdir(parents=True)
    for path in (enrolled, tmp_path / "p.png", tmp_path / "secret"):
        path.write_bytes(b"x")
    arguments = ["replay", "--avatar", "me", "--image=p.png", "--key-file", "secret", "x" * 5000]
    assert files_named(arguments, tmp_path) == (enrolled, tmp_path / "p.png")
    assert files_named(["--key-file=secret"], tmp_path) == ()
    identity = FileIdentity.of(enrolled)
    enrolled.write_bytes(b"y")
    assert not identity.is_still(enrolled)
    assert not identity.is_still(tmp_path / "none")


def test_what_a_verb_prints_is_the_output_of_one_that_writes_nothing(videos):
    session = videos / "take.mcap"
    assert run_task(one_task(videos), 1).result == "done"
    shutil.move(videos.parent / "out" / "take.mcap", session)
    (task,) = order(
        videos.parent, str(session), verb="repair", options=("{input}",), ending="txt"
    ).tasks()
    assert run_task(task, 1).result == "done"
    assert "is sound, nothing to repair" in task.output.read_text()


def test_a_verb_that_finds_nothing_to_do_is_done(videos):
    session = videos / "take.mcap"
    assert run_task(one_task(videos), 1).result == "done"
    shutil.move(videos.parent / "out" / "take.mcap", session)
    (task,) = order(videos.parent, str(session), verb="repair", options=()).tasks()
    outcome = run_task(task, 1)
    assert (outcome.result, outcome.outputs) == ("done", ())
    assert "is sound, nothing to repair" in outcome.said
    assert task.kept() is not None


def test_every_known_form_is_one_that_its_verb_understands(tmp_path):
    for verb, form in VERB_FORMS.items():
        if verb not in VERBS:
            continue
        ending = form.ending or ".csv"
        arguments = [
            text.replace("{input}", "in.mcap").replace("{out}", f"out{ending}")
            for text in form.arguments
        ]
        if verb == "compare":
            arguments.append("other.mcap")
        assert isinstance(parse_arguments([verb, *arguments]), VERBS[verb]), verb


def test_sessions_are_exported_with_all_their_files(tmp_path):
    """What one file's work writes beside its output comes along: BVH has a file a hand."""
    scene = open_scene("hands")
    with SessionWriter(tmp_path / "acted.mcap", SessionHeader(0, 0)) as session:
        for k in range(90):
            session.write(scene.state_at(k * 100_000_000))
    (task,) = order(
        tmp_path, str(tmp_path / "acted.mcap"), verb="export", options=(), ending="bvh"
    ).tasks()
    task.folder.mkdir()
    outcome = run_task(task, 1)
    assert outcome.result == "done", outcome
    assert [name for name, _ in outcome.outputs] == ["acted-left.bvh", "acted-right.bvh"]
    assert all((task.folder / name).stat().st_size == size for name, size in outcome.outputs)
    assert task.kept() is not None
    (task.folder / "acted-left.bvh").unlink()
    assert task.kept() is None


def test_what_a_verb_refuses_is_one_line_and_leaves_nothing(videos):
    task = one_task(videos)
    task.input.write_bytes(b"no video")
    outcome = run_task(task, 1)
    assert outcome.result == "failed"
    assert "not a video that FFmpeg can read" in outcome.reason
    assert "\n" not in outcome.reason
    assert not task.output.exists()
    assert task.kept() is None
    assert "try 1 on" in task.log.read_text()


def test_another_version_and_a_missing_file_are_told(videos):
    task = one_task(videos)
    assert "expected equal" in run_task(dataclasses.replace(task, version="0"), 1).reason
    task.input.unlink()
    outcome = run_task(task, 1)
    assert outcome.result == "failed"
    assert "under the same paths" in outcome.reason


def child_of(task: BatchTask) -> int | None:
    """The process that works on this file."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"apps.batch_task" in words and f"video:{task.input}".encode() in words:
            return int(folder.name)
    return None


def when_it_runs(task: BatchTask, act: Callable[[int], None]) -> threading.Thread:
    """Act on the process that works on this file as soon as there is one."""

    def wait() -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if (pid := child_of(task)) is not None:
                act(pid)
                return
            time.sleep(0.005)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_crash_and_a_hang_are_contained(videos):
    task = one_task(videos)
    killing = when_it_runs(task, lambda pid: os.kill(pid, signal.SIGSEGV))
    outcome = run_task(task, 1)
    killing.join(30)
    assert (outcome.result, outcome.reason) == ("crashed", "crashed (SIGSEGV)")
    outcome = run_task(dataclasses.replace(task, time_limit=0.05), 2)
    assert (outcome.result, outcome.reason) == ("failed", "took longer than --time-limit 0.05 s")
    assert not task.output.exists()
    log = task.log.read_text()
    assert "-- try 1 on" in log
    assert "-- try 2 on" in log


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_the_verb_ends_with_its_worker(videos, root):
    """A worker that is killed by force leaves nobody who goes on writing."""
    import pickle
    import subprocess

    task = one_task(videos)
    code = "import pickle, sys; from apps.batch_task import run_task; " \
        "run_task(pickle.loads(sys.stdin.buffer.read()), 1)"  # fmt: skip
    worker = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdin=subprocess.PIPE)
    found: list[int] = []

    def stop(pid: int) -> None:
        # Stopped while its worker dies, so that it cannot have ended by itself.
        os.kill(pid, signal.SIGSTOP)
        found.append(pid)
        worker.kill()

    killing = when_it_runs(task, stop)
    worker.communicate(pickle.dumps(task), timeout=30)
    killing.join(30)
    assert found
    os.kill(found[0], signal.SIGCONT)
    until = time.monotonic() + 10
    while child_of(task) is not None:
        assert time.monotonic() < until, "the verb outlived its worker"
        time.sleep(0.02)
    # It did not end because it was done.
    assert not [path for path in own_folder(task.folder).rglob("*.mcap") if path.is_file()]
    assert not task.output.exists()


def test_durations_are_told_in_words():
    assert [duration(t) for t in (0.4, 42, 200, 9000)] == ["0 s", "42 s", "3 min", "2.5 h"]


def test_a_folder_that_cannot_be_made_is_told(videos, capsys):
    command = ["batch", "record", f"{videos}/*.mp4", "--out", str(videos / "take.mp4"), *LIGHT]
    assert run(command) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"visavis: {videos / 'take.mp4'}: File exists")
    assert said.count("\n") == 1
