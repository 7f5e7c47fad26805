"""The webcam's class, on files that OpenCV opens as it opens cameras; and absent cameras."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest

from capture.frame_source import SourceError, SourceOptions, open_source
from capture.webcam import Webcam, cameras_present


def test_gives_rgb_frames_with_rising_times_then_reports_the_unplugging(make_video):
    path = make_video(frames=40)
    frames = []
    with Webcam(str(path)) as camera:
        assert camera.live
        assert camera.camera.size == (64, 48)
        with pytest.raises(SourceError, match="unplugged"):
            frames.extend(camera)
    assert frames
    assert all(a.t_ns < b.t_ns and a.seq < b.seq for a, b in pairwise(frames))
    assert frames[0].rgb.shape == (48, 64, 3)


def test_red_stays_red(tmp_path):
    from apps.video_writer import VideoWriter

    path = tmp_path / "red.mp4"
    with VideoWriter(path, (64, 48), 25.0) as writer:
        for i in range(20):
            writer.write(np.full((48, 64, 3), (220, 30, 30), np.uint8), i * 40_000_000)
    with Webcam(str(path)) as camera:
        colour = next(camera).rgb[20, 20].astype(int)
    assert colour[0] > 180
    assert colour[1:].max() < 90


def test_absent_camera_is_refused_at_once():
    with pytest.raises(SourceError, match=r"no camera|no such camera"):
        open_source("webcam:63")


def test_close_ends_the_thread_and_iterating(make_video):
    camera = Webcam(str(make_video(frames=50)))
    camera.close()
    camera.close()
    assert list(camera) == []
    assert not any(t.name.startswith("webcam") and t.is_alive() for t in threading.enumerate())


def test_mirrored_is_remembered(make_video):
    with Webcam(str(make_video(frames=5)), SourceOptions(mirrored=True)) as camera:
        assert next(camera).mirrored


@pytest.mark.webcam
def test_a_real_camera():
    if not cameras_present():
        pytest.skip("no camera on this machine")
    with open_source("webcam:0") as camera:
        frames = [next(camera) for _ in range(10)]
    assert frames[-1].t_ns > frames[0].t_ns
