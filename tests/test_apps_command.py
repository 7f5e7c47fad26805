"""The command line: exit codes, one readable line, quick help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from apps import command
from apps.usage import UsageError, one_line, parse_size


def _said(capsys: pytest.CaptureFixture[str]) -> str:
    """What went to stderr; it has to be one line."""
    text = capsys.readouterr().err
    assert text.count("\n") == 1, text
    assert text.startswith("visavis: ")
    return text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dance"], "dance"),
        (["preview", "--sorce", "x"], "perhaps you meant --source"),
        (["preview", "--source"], "--source"),
        (["preview", "--seconds", "soon"], "--seconds"),
        (["preview", "--seconds", "-1"], "expected more than 0"),
        (["preview", "--size", "big"], "expected WIDTHxHEIGHT"),
        (["preview", "--size", "0x0"], "expected sides from 16"),
        (["preview", "--size", "99999x10"], "expected sides from 16 to 4096"),
        (["preview", "--size", "-4x10"], "expected WIDTHxHEIGHT"),
        (["preview", "--source", "film:a.mp4", "--out", "o.mp4"], "expected one of webcam:NUMBER"),
        (["preview", "--source", "a.mp4", "--out", "o.mp4"], "video:a.mp4"),
        (["preview", "--source", "synthetic:dance", "--out", "o.mp4"], "demo, range, still"),
        (["preview", "--source", "video:a.mp4", "--out", "o.avi"], "ends in .mp4"),
        (["preview", "--generated-by", "a model", "--out", "o.mp4"], "give --image PATH too"),
        (["preview", "--fov-deg", "300"], "expected 5 to 170"),
        (["preview", "--text", " ", "--out", "o.mp4"], "expected some text"),
        (["bench", "--seconds", "0"], "expected more than 0"),
    ],
)
def test_wrong_flags_are_usage_errors(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.run(arguments) == 2
    assert words in _said(capsys)
    assert not list(tmp_path.iterdir())


def test_help_lists_the_verbs(capsys):
    assert command.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in command.VERBS)
    assert command.run([]) == 0
    assert command.run(["preview", "--help"]) == 0
    assert "--source" in capsys.readouterr().out


def test_help_loads_nothing_heavy(root):
    code = (
        "import sys; from apps.command import run; run(['--help']); "
        "print([m for m in ('torch', 'mediapipe', 'cv2', 'av', 'OpenGL', 'open3d') "
        "if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert done.stderr.strip() == "[]"


def test_own_errors_speak_for_themselves_and_others_get_a_hint():
    assert one_line(UsageError("--size x:\n expected y")) == "--size x: expected y"
    assert "VISAVIS_DEBUG=1" in one_line(KeyError("x"))
    assert "unexpected ZeroDivisionError" in one_line(ZeroDivisionError("division by zero"))


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UsageError("no"), 2, "visavis: no"),
        (RuntimeError("a\nb"), 1, "unexpected RuntimeError: a b"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_exit_codes(error, code, words, capsys, monkeypatch):
    def fails(_self: object) -> int:
        raise error

    monkeypatch.setattr(command.VERBS["doctor"], "run", fails)
    assert command.run(["doctor"]) == code
    assert words in _said(capsys)


def test_debug_shows_the_traceback(capsys, monkeypatch):
    def fails(_self: object) -> int:
        raise RuntimeError("inside")

    monkeypatch.setattr(command.VERBS["doctor"], "run", fails)
    monkeypatch.setenv("VISAVIS_DEBUG", "1")
    assert command.run(["doctor"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_closed_pipe_is_silent(root):
    process = subprocess.Popen(
        [sys.executable, "-c", "from apps.command import main; main()", "--help"],
        cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.wait(30)
    assert b"Traceback" not in said


def test_sizes():
    assert parse_size("1280x720") == (1280, 720)
    assert parse_size("64X48") == (64, 48)


def test_doctor_tells_every_part_in_one_screen(capsys):
    begun = time.monotonic()
    code = command.run(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert code == 0, "\n".join(lines)
    assert len(lines) <= 30
    for name in ("python", "packages", "opencv", "models", "opengl", "tracking", "avatar", "disk",
                 "video files", "display", "cameras", "gpu"):  # fmt: skip
        assert any(line[6:].startswith(name) for line in lines), name
    assert all(line[:4].strip() in ("ok", "warn", "fail", "") for line in lines)
    assert time.monotonic() - begun < 120


def test_a_probe_that_crashes_is_a_finding(monkeypatch):
    from apps import probes

    real = subprocess.run

    def aborts(_command: list[str], **options: object) -> object:
        return real([sys.executable, "-c", "import os; os.abort()"], **options)  # type: ignore

    monkeypatch.setattr(subprocess, "run", aborts)
    finding = probes.probe("opengl")
    assert finding.status == "fail"
    assert "crashed (signal 6)" in finding.text
    assert "apt-get" in finding.mend


def test_a_probe_that_hangs_is_a_finding(monkeypatch):
    from apps import probes

    real = subprocess.run

    def hangs(_command: list[str], **options: object) -> object:
        return real([sys.executable, "-c", "import time; time.sleep(60)"], **options)  # type: ignore

    monkeypatch.setattr(subprocess, "run", hangs)
    assert "no answer within 0.5 s" in probes.probe("tracking", 0.5).text


def test_probes_print_one_finding(root):
    environment = {**os.environ, "__EGL_VENDOR_LIBRARY_DIRS": "/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-m", "apps.probes", "opengl"], cwd=root, env=environment,
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    finding = json.loads(done.stdout.strip().splitlines()[-1])
    assert finding["status"] == "fail"
    assert "apt-get install" in finding["mend"]
