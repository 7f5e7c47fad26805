"""Video files: times, rates, rotation, colours, damage."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from capture.frame_source import SourceError, SourceOptions, open_source
from capture.video_file import VideoFile


@pytest.mark.parametrize("fps", [25.0, 30000 / 1001, 24000 / 1001, 59.94, 12.5])
def test_rate_and_times_are_the_files_own(make_video, fps):
    with VideoFile(make_video(frames=30, fps=fps)) as video:
        frames = list(video)
    assert len(frames) == 30
    assert video.fps == pytest.approx(fps, rel=1e-4)
    assert [frame.seq for frame in frames] == list(range(30))
    # The file's time base has 12800 ticks a second or more: half a tick is 39 us.
    for i, frame in enumerate(frames):
        assert abs(frame.t_ns - i * 1e9 / fps) <= 40_000
    assert video.damaged == 0


def test_variable_rate_keeps_each_pictures_time(make_video):
    times = [0, 40_000_000, 50_000_000, 200_000_000, 1_000_000_000, 1_033_000_000]
    with VideoFile(make_video(frames=6, times_ns=times)) as video:
        found = [frame.t_ns for frame in video]
    assert np.abs(np.array(found) - times).max() <= 40_000


def test_pixels_are_srgb_and_upright(make_video):
    with VideoFile(make_video(frames=3)) as video:
        frame = next(video)
    assert frame.rgb.shape == (48, 64, 3)
    assert frame.rgb.flags.c_contiguous
    assert np.abs(frame.rgb[40, 60].astype(int) - 40).max() <= 2
    assert frame.rgb[4, 4].min() >= 250, "the white corner is the left upper one"


def _write_h264(path: Path, size: tuple[int, int], tag: int | None, frames: int = 3) -> None:
    """A file of one saturated colour whose YUV matrix is `tag`, or untagged BT.601."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        if tag is not None:
            stream.codec_context.colorspace = tag
        for i in range(frames):
            rgb = np.full((size[1], size[0], 3), (200, 60, 30), np.uint8)
            picture = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(
                format="yuv420p", dst_colorspace=5 if tag in (None, 5, 6) else 1
            )
            picture.pts = i
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("tag", [None, 1, 6])
def test_both_usual_yuv_matrices_give_the_right_colour(tmp_path, tag):
    path = tmp_path / "colour.mp4"
    _write_h264(path, (96, 64), tag)
    with VideoFile(path) as video:
        colour = next(video).rgb[30, 40].astype(int)
    assert np.abs(colour - (200, 60, 30)).max() <= 3


def test_rotation_flag_is_honoured(make_video, tmp_path):
    """A phone held upright writes lying pictures and a display matrix."""
    plain = make_video(frames=4, size=(64, 48))
    data = bytearray(plain.read_bytes())
    # The track header's 3x3 matrix, 16.16 fixed point: identity becomes a quarter turn clockwise.
    matrix = data.rindex(b"tkhd") + 4 + 4 + 20 + 16
    one = (1 << 16).to_bytes(4, "big")
    assert data[matrix : matrix + 4] == one
    turned = [0, 1 << 16, 0, -(1 << 16) & 0xFFFFFFFF, 0, 0, 48 << 16, 0, 1 << 30]
    data[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big") for value in turned)
    path = tmp_path / "turned.mp4"
    path.write_bytes(bytes(data))
    with VideoFile(path) as video:
        frame = next(video)
    assert video.camera.size == (48, 64)
    assert frame.rgb[4, 44].min() >= 250, "the left upper corner went to the right upper one"
    assert frame.rgb[60, 4].max() < 60


def test_huge_pictures_are_scaled_down(make_video):
    path = make_video(frames=2, size=(3000, 400))
    with VideoFile(path, SourceOptions(longest_side=1024)) as video:
        assert video.camera.size == (1024, 137)
        assert next(video).rgb.shape == (137, 1024, 3)


def test_truncated_file_gives_what_decodes_and_counts_the_damage(make_video, tmp_path):
    whole = _fast_start(make_video(frames=100, size=(160, 120)), tmp_path / "whole.mp4")
    cut = tmp_path / "cut.mp4"
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) * 6 // 10])
    with VideoFile(cut) as video:
        frames = list(video)
    assert 10 <= len(frames) < 100
    assert video.damaged >= 1
    with VideoFile(whole) as video:
        assert len(list(video)) == 100
        assert video.damaged == 0


def _fast_start(source: Path, target: Path) -> Path:
    """The same packets with the index in front, as the web's files have it."""
    with (
        av.open(str(source)) as old,
        av.open(str(target), "w", options={"movflags": "faststart"}) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return target


def test_flipped_bytes_end_early_but_never_raise(make_video, tmp_path):
    data = bytearray(_fast_start(make_video(frames=60), tmp_path / "w.mp4").read_bytes())
    # The first picture stays: x264's bytes are not the same in every process, and one that nothing
    # can decode is another test's.
    start = (data.index(b"mdat") + len(data)) // 2
    rng = np.random.default_rng(0)
    for at in rng.integers(start, len(data), 300):
        data[at] = rng.integers(256)
    path = tmp_path / "flipped.mp4"
    path.write_bytes(bytes(data))
    with VideoFile(path) as video:
        times = [frame.t_ns for frame in video]
    assert times == sorted(set(times))
    assert len(times) >= 1


def test_unreadable_files_are_refused_in_one_line(tmp_path):
    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(b"\x00garbage" * 1000)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for path, words in (
        (tmp_path / "none.mp4", "no such file"), (tmp_path, "folder"),
        (garbage, "not a video"), (empty, "not a video"),
    ):  # fmt: skip
        with pytest.raises(SourceError, match=words) as caught:
            open_source(f"video:{path}")
        assert "\n" not in str(caught.value)


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 48000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(SourceError, match="no video stream"):
        VideoFile(path)


def test_pictures_too_small_to_show_anyone_are_refused(make_video):
    with pytest.raises(SourceError, match="8x8 pixels; expected at least 16x16"):
        VideoFile(make_video(frames=2, size=(8, 8)))


@pytest.mark.parametrize("spec", ["", "video", "video:", "film:a.mp4", "webcam:"])
def test_unknown_specs_list_the_choices(spec):
    with pytest.raises(ValueError, match="webcam:NUMBER, video:PATH"):
        open_source(spec)


def test_closing_twice_and_reading_after_it(make_video):
    video = VideoFile(make_video(frames=3))
    next(video)
    video.close()
    video.close()
    assert list(video) == []
