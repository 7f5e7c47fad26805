"""Whatever goes wrong ends in one readable line, exit code 1, and a playable file of what was done.

Most cases run the real command in this process, because loading MediaPipe takes seconds; those that
need another environment or a signal start one of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from apps import command, doctor
from assets.manifest import assets_folder
from capture.video_file import VideoFile

MAIN = [sys.executable, "-c", "from apps.command import main; main()"]
SMALL = ["--size", "96x96"]


def _fails(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """Run the command; it must fail with one readable line, which is returned."""
    assert command.run(arguments) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("visavis:")]
    assert len(lines) == 1
    assert "unexpected" not in lines[0]
    assert "Traceback" not in lines[0]
    return lines[0]


def _pictures(path: Path) -> list[np.ndarray]:
    with VideoFile(path) as video:
        return [frame.rgb for frame in video]


@pytest.fixture(scope="module")
def person(demo_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped clip's first two seconds, with the index in front."""
    path = tmp_path_factory.mktemp("person") / "person.mp4"
    with (
        av.open(str(demo_clip)) as old,
        av.open(str(path), "w", options={"movflags": "faststart"}) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            if packet.pts * packet.time_base < 2:
                packet.stream = stream
                new.mux(packet)
    return path


def test_missing_file(capsys, tmp_path):
    out = tmp_path / "out.mp4"
    said = _fails(capsys, ["preview", "--source", "video:/no/such.mp4", "--out", str(out)])
    assert "/no/such.mp4: there is no such file" in said
    assert not out.exists()


def test_unreadable_video(capsys, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(os.urandom(5000))
    said = _fails(capsys, ["preview", "--source", f"video:{bad}", "--out", str(tmp_path / "o.mp4")])
    assert "not a video that FFmpeg can read" in said


def test_absent_camera(capsys, tmp_path):
    out = tmp_path / "o.mp4"
    said = _fails(capsys, ["preview", "--source", "webcam:77", "--out", str(out)])
    assert "camera" in said
    assert not out.exists()


@pytest.mark.parametrize("place", ["{tmp}/absent/o.mp4", "{tmp}/file/o.mp4", "/proc/o.mp4"])
def test_output_that_cannot_be_written(capsys, tmp_path, make_video, place):
    (tmp_path / "file").touch()
    out = place.format(tmp=tmp_path)
    said = _fails(capsys, ["preview", "--source", f"video:{make_video()}", "--out", out])
    assert out in said
    assert "--out" in said or "make it first" in said


def test_an_unwritable_output_keeps_what_was_there(capsys, tmp_path, make_video):
    folder = tmp_path / "folder.mp4"
    folder.mkdir()
    said = _fails(capsys, ["preview", "--source", f"video:{make_video()}", "--out", str(folder)])
    assert "this is a folder" in said


def test_source_as_output_is_refused(capsys, make_video):
    path = make_video(frames=5)
    before = path.read_bytes()
    assert command.run(["preview", "--source", f"video:{path}", "--out", str(path)]) == 2
    assert "the source itself" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_bad_panel_picture(capsys, tmp_path, make_video):
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"not a picture")
    source = f"video:{make_video(frames=3, size=(96, 96))}"
    out = ["--out", str(tmp_path / "o.mp4")]
    said = _fails(capsys, ["preview", "--source", source, "--image", str(picture), *out])
    assert "picture.png" in said


def test_unknown_avatar(capsys, tmp_path, make_video):
    source = f"video:{make_video(frames=3, size=(96, 96))}"
    out = ["--out", str(tmp_path / "o.mp4")]
    said = _fails(capsys, ["preview", "--source", source, "--avatar", "nobody", *out])
    assert "nobody" in said


def test_a_video_with_no_person_is_written_and_told(capsys, tmp_path, make_video):
    out = tmp_path / "o.mp4"
    source = make_video(frames=12, size=(96, 96))
    said = _fails(capsys, ["preview", "--source", f"video:{source}", "--out", str(out)])
    assert "no person was seen in 12 frames" in said
    assert len(_pictures(out)) == 12


def test_zero_sized_pictures(capsys, tmp_path, make_video):
    source = make_video(frames=3, size=(8, 8))
    said = _fails(
        capsys, ["preview", "--source", f"video:{source}", "--out", str(tmp_path / "o.mp4")]
    )
    assert "8x8 pixels; expected at least 16x16" in said


def test_huge_pictures(capsys, tmp_path, make_video):
    """8k frames go through: scaled down when read, drawn at 1280."""
    out = tmp_path / "o.mp4"
    source = make_video(frames=2, size=(7680, 4320))
    said = _fails(capsys, ["preview", "--source", f"video:{source}", "--out", str(out)])
    assert "no person was seen in 2 frames" in said
    assert [p.shape for p in _pictures(out)] == [(720, 1280, 3)] * 2


def test_unplugged_camera(capsys, tmp_path, make_video):
    """A file read as a camera ends as a camera does whose plug is pulled."""
    out = tmp_path / "o.mp4"
    source = make_video(frames=60, size=(96, 96))
    said = _fails(capsys, ["preview", "--source", f"webcam:{source}", "--out", str(out)])
    assert "unplugged" in said
    if "holds" in said:  # OpenCV may read all of a short file before the first picture is drawn.
        assert len(_pictures(out)) >= 1


def test_truncated_video(capsys, tmp_path, person):
    data = person.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) * 6 // 10])
    out = tmp_path / "o.mp4"
    said = _fails(capsys, ["preview", "--source", f"video:{cut}", "--out", str(out), *SMALL])
    assert "damaged or cut off" in said
    with VideoFile(cut) as source:
        readable = len(list(source))
    assert len(_pictures(out)) == readable > 5


def test_cut_off_before_the_index(capsys, tmp_path, make_video):
    data = make_video(frames=60).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[:300])
    said = _fails(capsys, ["preview", "--source", f"video:{cut}", "--out", str(tmp_path / "o.mp4")])
    assert "cut" in said


def test_a_person_who_leaves_and_returns(capsys, tmp_path, person):
    """The middle third is an empty room: nothing is drawn there, and everything is after it."""
    from apps.video_writer import VideoWriter

    pictures = _pictures(person)
    third = len(pictures) // 3
    source, out = tmp_path / "leaves.mp4", tmp_path / "o.mp4"
    with VideoWriter(source, pictures[0].shape[1::-1], 30.0) as writer:
        for i, rgb in enumerate(pictures):
            away = third <= i < 2 * third
            writer.write(np.full_like(rgb, 60) if away else rgb, round(i * 1e9 / 30))
    assert command.run(["preview", "--source", f"video:{source}", "--out", str(out), *SMALL]) == 0
    assert "wrote" in capsys.readouterr().out
    drawn = np.array(_pictures(out)).astype(float)
    assert len(drawn) == len(pictures)
    empty = drawn[3 * third // 2]
    differs = np.abs(drawn - empty).mean(axis=(1, 2, 3))
    # The engine notices within a few frames that somebody went or came.
    assert differs[third // 2] > 3.0
    assert differs[third + 8 : 2 * third - 1].max() < 1.0
    assert differs[-third // 3 :].min() > 3.0


@pytest.fixture
def own_assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the assets that may be damaged."""
    folder = tmp_path / "assets"
    shutil.copytree(assets_folder(), folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    monkeypatch.setenv("VISAVIS_ASSETS", str(folder))
    return folder


@pytest.mark.parametrize("fault", ["flipped", "truncated", "missing", "manifest"])
def test_corrupt_model(capsys, tmp_path, make_video, own_assets, fault):
    model = own_assets / "models" / "face_landmarker.task"
    data = bytearray(model.read_bytes())
    if fault == "flipped":
        data[1000] ^= 1
        model.write_bytes(data)
    elif fault == "truncated":
        model.write_bytes(data[:1000])
    elif fault == "missing":
        model.unlink()
    else:
        (own_assets / "manifest.json").write_text("{", encoding="utf-8")
    source = f"video:{make_video(frames=3, size=(96, 96))}"
    out = tmp_path / "o.mp4"
    said = _fails(capsys, ["preview", "--source", source, "--out", str(out)])
    assert ("manifest.json" if fault == "manifest" else "face_landmarker.task") in said
    assert not out.exists()


def test_doctor_finds_a_corrupt_model(own_assets):
    (own_assets / "models" / "hand_landmarker.task").write_bytes(b"x")
    finding = doctor.models_finding()
    assert finding.status == "fail"
    assert "hand_landmarker.task" in finding.text
    assert "git checkout" in finding.mend


@pytest.fixture
def bare_environment() -> dict[str, str]:
    """No display, whatever machine this is."""
    return {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}


def _start(arguments: list[str], root: Path, environment: dict[str, str]):
    return subprocess.Popen(
        [*MAIN, *arguments], cwd=root, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # What a shell starts in the background inherits that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def _one_line_of(process: subprocess.Popen[str], code: int) -> str:
    _, said = process.communicate(timeout=120)
    assert process.returncode == code, said
    assert said.count("\n") == 1, said
    return said


def test_no_opengl(tmp_path, make_video, root, bare_environment):
    environment = {**bare_environment, "__EGL_VENDOR_LIBRARY_DIRS": "/nonexistent"}
    source = f"video:{make_video(frames=3, size=(96, 96))}"
    out = ["--out", str(tmp_path / "o.mp4")]
    said = _one_line_of(_start(["preview", "--source", source, *out], root, environment), 1)
    assert "OpenGL" in said
    assert "apt-get install" in said


def test_no_display(make_video, root, bare_environment):
    source = f"video:{make_video(frames=3, size=(96, 96))}"
    said = _one_line_of(_start(["preview", "--source", source], root, bare_environment), 1)
    assert "no display" in said
    assert "--out FILE.mp4" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_closes_the_file(tmp_path, make_video, root, bare_environment, number):
    source = f"video:{make_video(frames=3000, size=(96, 96))}"
    out = tmp_path / "o.mp4"
    process = _start(["preview", "--source", source, "--out", str(out)], root, bare_environment)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if out.exists() and out.stat().st_size >= 3000:
            break
        time.sleep(0.05)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert f"{out} holds the" in said
    assert said.splitlines()[-1] == "visavis: stopped"
    # Closed properly: an ordinary MP4 with its count of pictures.
    with av.open(str(out)) as container:
        told = container.streams.video[0].frames
    assert 0 < told == len(_pictures(out)) < 3000


def test_every_bad_model_is_named_in_the_manifest():
    listed = json.loads((assets_folder() / "manifest.json").read_text(encoding="utf-8"))
    files = {entry["file"] for entry in listed["assets"]}
    assert {"models/face_landmarker.task", "models/hand_landmarker.task"} <= files
