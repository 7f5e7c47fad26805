"""Written videos: exact times, right colours, odd sizes, sound, and files that survive anything."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from apps.video_writer import VideoWriter, WriteError, check_writable
from capture.video_file import VideoFile


def _grey(value: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    return np.full((size[1], size[0], 3), value, np.uint8)


@pytest.mark.parametrize("fps", [25.0, 30000 / 1001, 24000 / 1001])
def test_what_is_read_back_has_the_times_that_were_written(tmp_path, fps):
    path = tmp_path / "a.mp4"
    times = [round(i * 1e9 / fps) for i in range(40)]
    with VideoWriter(path, (64, 48), fps) as writer:
        for i, t_ns in enumerate(times):
            writer.write(_grey(5 * i), t_ns)
    with VideoFile(path) as video:
        assert video.fps == pytest.approx(fps, rel=1e-6)
        frames = list(video)
    assert np.abs(np.array([f.t_ns for f in frames]) - times).max() <= 1
    assert [int(f.rgb[9, 9, 0]) // 5 for f in frames[2::9]] == pytest.approx([2, 11, 20, 29, 38], 1)


def test_colours_survive_and_are_tagged(tmp_path):
    path = tmp_path / "colour.mp4"
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128), (224, 172, 140)]
    with VideoWriter(path, (64, 48), 5.0) as writer:
        for i, colour in enumerate(colours):
            writer.write(np.full((48, 64, 3), colour, np.uint8), i * 200_000_000)
    with VideoFile(path) as video:
        for frame, colour in zip(video, colours, strict=True):
            assert np.abs(frame.rgb[20, 30].astype(int) - colour).max() <= 2
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)
        assert context.pix_fmt == "yuv420p"


def test_odd_sizes_are_padded_and_alpha_is_ignored(tmp_path):
    path = tmp_path / "odd.mp4"
    with VideoWriter(path, (65, 33), 25.0) as writer:
        writer.write(np.full((33, 65, 4), 90, np.uint8), 0)
    with VideoFile(path) as video:
        assert video.camera.size == (66, 34)
        assert np.abs(next(video).rgb.astype(int) - 90).max() <= 2


def test_a_finished_file_is_an_ordinary_mp4(tmp_path):
    path = tmp_path / "plain.mp4"
    with VideoWriter(path, (64, 48), 25.0) as writer:
        for i in range(80):
            writer.write(_grey(i), i * 40_000_000)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 80
        assert float(container.duration or 0) / av.time_base == pytest.approx(3.2, abs=0.02)


def test_wrong_pictures_and_times_are_refused(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", (64, 48), 25.0) as writer:
        with pytest.raises(ValueError, match=r"expected uint8 \(48, 64, 3 or 4\)"):
            writer.write(_grey(0, (48, 64)), 0)
        writer.write(_grey(0), 0)
        with pytest.raises(ValueError, match="expected times that rise"):
            writer.write(_grey(0), 0)
    with pytest.raises(ValueError, match="is closed"):
        writer.write(_grey(0), 1_000_000_000)


def test_a_writer_without_pictures_leaves_no_file(tmp_path):
    VideoWriter(tmp_path / "none.mp4", (64, 48), 25.0).close()
    assert not (tmp_path / "none.mp4").exists()


def test_sound_is_copied(tmp_path):
    source = tmp_path / "talk.mp4"
    with av.open(str(source), "w") as container:
        video = container.add_stream("libx264", rate=Fraction(25))
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=48000)
        for i in range(25):
            picture = av.VideoFrame.from_ndarray(_grey(100), "rgb24")
            picture.pts = i
            container.mux(video.encode(picture))
        rng = np.random.default_rng(0)
        for i in range(47):
            noise = rng.normal(0, 0.1, (1, 1024)).astype(np.float32)
            part = av.AudioFrame.from_ndarray(noise, "fltp", "mono")
            part.sample_rate, part.pts = 48000, 1024 * i
            container.mux(sound.encode(part))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    out = tmp_path / "out.mp4"
    with VideoWriter(out, (64, 48), 25.0, sound_from=source) as writer:
        for i in range(25):
            writer.write(_grey(50), i * 40_000_000)
    with av.open(str(source)) as old, av.open(str(out)) as new:
        before = [bytes(p) for p in old.demux(audio=0) if p.size]
        after = [bytes(p) for p in new.demux(audio=0) if p.size]
    assert len(after) >= 45
    assert after == before[: len(after)]


def test_no_sound_to_copy_is_no_fault(tmp_path, make_video):
    for source in (make_video(frames=3), tmp_path / "absent.mp4"):
        with VideoWriter(tmp_path / "o.mp4", (64, 48), 25.0, sound_from=source) as writer:
            writer.write(_grey(1), 0)


@pytest.mark.parametrize("name", ["absent/a.mp4", "file/a.mp4", "."])
def test_places_that_cannot_be_written_are_named(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=r"no folder|cannot write|folder") as caught:
        check_writable(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_checking_changes_nothing(tmp_path):
    check_writable(tmp_path / "new.mp4")
    assert not (tmp_path / "new.mp4").exists()
    (tmp_path / "old.mp4").write_bytes(b"kept")
    check_writable(tmp_path / "old.mp4")
    assert (tmp_path / "old.mp4").read_bytes() == b"kept"


WRITE_NOISE = """
import resource, sys
import numpy as np
from pathlib import Path
from apps.video_writer import VideoWriter, WriteError
limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
rng = np.random.default_rng(0)
try:
    with VideoWriter(Path(sys.argv[1]), (160, 120), 10.0) as writer:
        for i in range(10_000):
            writer.write(rng.integers(0, 255, (120, 160, 3), np.uint8), i * 100_000_000)
            if i == 60:
                print("sixty", flush=True)
except WriteError as error:
    print("ERROR", error, flush=True)
"""


def test_a_full_disk_is_told_and_what_was_written_plays(tmp_path, root):
    path = tmp_path / "full.mp4"
    assert resource.RLIMIT_FSIZE is not None
    done = subprocess.run(
        [sys.executable, "-c", WRITE_NOISE, str(path), "1500000"],
        cwd=root, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    line = done.stdout.strip().splitlines()[-1]
    assert line.startswith("ERROR"), done.stdout + done.stderr
    assert "writing stopped after" in line
    assert path.stat().st_size <= 1_500_000
    _plays(path, 10)


def test_what_a_killed_process_leaves_plays(tmp_path, root):
    path = tmp_path / "killed.mp4"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_NOISE, str(path), "0"],
        cwd=root, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "sixty"
        time.sleep(0.3)
    finally:
        process.kill()
        process.wait(10)
    _plays(path, 40)


def _plays(path: Path, at_least: int) -> None:
    with VideoFile(path) as video:
        frames = sum(1 for _ in video)
    assert frames >= at_least
