"""`visavis preview`, `demo` and `bench` with the real tracker, avatar and renderer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apps import command
from apps.preview import Preview
from apps.preview_file import write_preview
from apps.preview_stages import open_source_of, open_stages
from apps.usage import FailedError
from capture.video_file import VideoFile


def _frames(path: Path) -> list:
    with VideoFile(path) as video:
        return list(video)


def test_every_frame_keeps_its_time_and_the_size_is_the_one_asked_for(tmp_path, make_video):
    times = [0, 33_000_000, 100_000_000, 101_000_000, 600_000_000]
    source = make_video(frames=5, size=(96, 64), times_ns=times)
    out = tmp_path / "out.mp4"
    with pytest.raises(FailedError, match="no person was seen in 5 frames"):
        write_preview(Preview(source=f"video:{source}", size="80x80"), out)
    frames = _frames(out)
    assert np.abs(np.array([f.t_ns for f in frames]) - times).max() <= 80_000
    assert frames[0].camera.size == (80, 80)


def test_an_empty_room_is_the_same_in_every_picture(tmp_path, make_video):
    source, out = make_video(frames=6, size=(96, 64)), tmp_path / "out.mp4"
    with pytest.raises(FailedError):
        write_preview(Preview(source=f"video:{source}"), out)
    rooms = np.array([f.rgb for f in _frames(out)]).astype(int)
    assert np.abs(rooms - rooms[0]).max() <= 6  # what H.264 leaves
    assert rooms.std() > 1.0, "a background, not black"


@pytest.fixture(scope="module")
def drawn_twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Half a second of the synthetic person, through everything, two times."""
    folder = tmp_path_factory.mktemp("twice")
    picture = folder / "picture.png"
    Image.new("RGB", (40, 30), (255, 40, 40)).save(picture)
    paths = folder / "a.mp4", folder / "b.mp4"
    for path in paths:
        preview = Preview(
            source="synthetic:demo", seconds=0.5, size="192x192", text="Hello", image=picture,
            generated_by="a model",
        )  # fmt: skip
        preview.check()
        assert "wrote" in write_preview(preview, path)
    return paths


def test_the_same_source_gives_the_same_file(drawn_twice):
    a, b = drawn_twice
    assert a.read_bytes() == b.read_bytes()


def test_person_and_panels_are_in_the_picture(drawn_twice):
    frames = _frames(drawn_twice[0])
    assert len(frames) == 15
    last = frames[-1].rgb.astype(int)
    assert last.shape == (192, 192, 3)
    red = (last[..., 0] > 200) & (last[..., 1] < 100) & (last[..., 2] < 100)
    rows, columns = np.nonzero(red)
    assert red.sum() > 500, "the picture's panel"
    assert rows.max() < 96, "is in the upper half"
    assert columns.min() > 96, "on the right"
    # Skin, redder than the studio's grey, fills the middle.
    middle = last[60:110, 80:112]
    assert (middle[..., 0] - middle[..., 2]).mean() > 15


def test_stages_take_the_view_from_the_sources_camera(make_video):
    preview = Preview(source=f"video:{make_video(size=(96, 64))}", fov_deg=50.0, size="64x64")
    with open_source_of(preview) as source, open_stages(preview, source) as stages:
        frame = next(source)
        view = stages.view_of(frame)
    assert view.size == (64, 64)
    assert view.t_ns == frame.t_ns
    assert view.fov[1] - view.fov[0] == pytest.approx(np.deg2rad(50.0), abs=1e-6)
    assert view.world_from_eye.angle_to(source.camera.world_from_camera) == 0.0


def test_demo_without_a_display_writes_demo_mp4_here(demo_clip, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert command.run(["demo", "--seconds", "0.5"]) == 0
    shown = capsys.readouterr().out
    assert str(tmp_path / "demo.mp4") in shown
    assert "There is no display" in shown
    assert len(_frames(tmp_path / "demo.mp4")) >= 10


def test_bench_measures_every_stage(make_video, capsys):
    source = f"video:{make_video(frames=60, size=(96, 96))}"
    arguments = ["bench", "--source", source, "--seconds", "1.5", "--size", "64x64", "--json"]
    assert command.run(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert [c["stage"] for c in report["costs"]] == [
        "source", "tracking", "encode", "decode", "render"
    ]  # fmt: skip
    assert all(c["frames"] > 20 and c["wall_median"] > 0 for c in report["costs"])
    assert report["work_cpu_ms"] > 0
    assert report["age_median_ms"] > 0
    assert len(report["age_quarters_ms"]) == 4
    assert report["memory_end_mb"] > 50


@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="xvfb-run is not installed")
def test_the_window_plays_a_source_to_its_end(make_video, root):
    source = f"video:{make_video(frames=30, size=(96, 96))}"
    start = "from apps.command import main; main()"
    done = subprocess.run(
        ["xvfb-run", "-a", "-s", "-screen 0 640x480x24", sys.executable, "-c", start,
         "preview", "--source", source, "--text", "hello"],
        cwd=root, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_panels_are_worn_and_change_while_shown(tmp_path):
    from apps.preview_panels import board_of, shown_panels
    from capture.scenes import open_scene
    from overlay.text_panel import text_panel
    from streams.rigid import Rigid
    from streams.tracked_state import TrackedState
    from streams.view import View

    scene = open_scene("hands")
    state = scene.state_at(600_000_000)
    assert state.face is not None
    hand = state.hand("right")
    assert hand is not None
    nobody = TrackedState(0, "test")
    for anchor, near in (
        ("head", state.face.world_from_head.xyz),
        ("right-wrist", hand.world_from_wrist.xyz),
    ):
        board = board_of(Preview(text="hello", anchor=anchor), View.front())
        panels_of = shown_panels(board)
        (panel,) = panels_of(state)
        assert panel.anchor == "world"
        assert 0.1 < np.linalg.norm(panel.anchor_from_panel.xyz - near) < 0.35
        # It faces the camera, which sees the face and the palm.
        assert panel.anchor_from_panel.rotation()[2, 2] > 0.5
        assert panels_of(nobody) == ()
        board.put(text_panel("text", "bye", "world", Rigid.identity()))
        assert panels_of(nobody)[0].rgba.shape != panel.rgba.shape


def test_unknown_anchor_is_refused(capsys):
    from apps.command import run

    assert run(["preview", "--text", "a", "--anchor", "knee", "--out", "x.mp4"]) == 2
    assert "expected one of world, head, left-wrist, right-wrist" in capsys.readouterr().err
