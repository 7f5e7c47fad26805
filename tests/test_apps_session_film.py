"""Films with sound: every picture and every sample at its own time, whatever the clock says."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from apps.session_film import Shown, drawn_pictures, nominal_fps, recorded_pictures, write_film
from apps.sound_line import SoundFormat
from apps.usage import FailedError
from apps.video_writer import VideoWriter
from avatar.codec import Avatar
from capture.frame_source import SourceError
from capture.scenes import open_scene
from capture.sound_track import SoundTrack
from capture.video_file import VideoFile
from overlay.text_panel import text_panel
from render.renderer import RenderOptions, open_renderer
from streams.audio_block import AudioBlock
from streams.camera import Camera
from streams.frame import Frame
from streams.rigid import Rigid
from streams.shown_panels import ShownPanels
from streams.view import View

START_NS = 123_456_789_012
"""A session's clock starts anywhere."""


def clap(rate: int, channels: int, seconds: float, at_s: tuple[float, ...]) -> np.ndarray:
    """Silence with a 1 kHz tone of 20 ms at these seconds."""
    out = np.zeros((round(seconds * rate), channels), np.int16)
    tone = 20000 * np.sign(np.sin(np.arange(rate // 50) * 2 * np.pi * 1000 / rate + 0.1))
    for second in at_s:
        out[round(second * rate) : round(second * rate) + len(tone)] = tone[:, None]
    return out


def blocks(samples: np.ndarray, rate: int, start_ns: int, length: int) -> list[AudioBlock]:
    return [
        AudioBlock(start_ns + round(k * 1e9 / rate), "mic", rate, samples[k : k + length])
        for k in range(0, len(samples), length)
    ]


def frames(seconds: float, flashes_s: tuple[float, ...], start_ns: int) -> list[Frame]:
    """Dark pictures at uneven times; the first one from each of these seconds on is white."""
    camera = Camera.from_fov((64, 48), name="cam")
    rng = np.random.default_rng(2)
    times = np.arange(0.0, seconds, 0.04)
    times[1:] += rng.uniform(0.0, 0.015, len(times) - 1)
    times = np.union1d(times, flashes_s)
    return [
        Frame(
            start_ns + round(t * 1e9), k, camera,
            np.full((48, 64, 3), 255 if t in flashes_s else 10, np.uint8),
        )
        for k, t in enumerate(times)
    ]  # fmt: skip


def in_time(*records: Frame | AudioBlock) -> list[Frame | AudioBlock]:
    return sorted(records, key=lambda record: record.t_ns)


def onsets(path: Path) -> list[float]:
    """Seconds at which tones begin."""
    with SoundTrack(path) as track:
        got = list(track)
    rate = track.rate
    total = round(max(b.t_ns + b.duration_ns for b in got) * rate / 1e9)
    loud = np.zeros(total + rate, bool)
    for block in got:
        at = round(block.t_ns * rate / 1e9)
        loud[at : at + len(block.samples)] = np.abs(block.samples[:, 0].astype(int)) > 6000
    at = np.flatnonzero(loud) / rate
    return at[np.concatenate([[True], np.diff(at) > 0.1])].tolist()


@pytest.mark.parametrize(("rate", "channels"), [(48000, 1), (44100, 2), (16000, 1), (11000, 4)])
def test_sound_and_pictures_keep_their_times(tmp_path: Path, rate: int, channels: int) -> None:
    path, at_s = tmp_path / "a.mp4", (0.5, 1.3, 2.1)
    seen = frames(2.5, at_s, START_NS)
    heard = blocks(clap(rate, channels, 2.5, at_s), rate, START_NS, rate // 37)
    take = write_film(
        recorded_pictures(in_time(*seen, *heard)), path, sound=SoundFormat(rate, channels)
    )
    assert (take.pictures, take.sound, take.start_ns) == (len(seen), True, START_NS)
    with VideoFile(path) as video:
        got = list(video)
    wanted = np.array([frame.t_ns for frame in seen]) - START_NS
    assert np.abs(np.array([frame.t_ns for frame in got]) - wanted).max() <= 50_000
    white = [frame.t_ns / 1e9 for frame in got if frame.rgb.mean() > 200]
    assert white == pytest.approx(at_s, abs=1e-4)
    assert onsets(path) == pytest.approx(at_s, abs=2e-3)
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        assert container.streams.video[0].codec_context.name == "h264"


def test_late_early_missing_and_repeated_sound(tmp_path: Path) -> None:
    path, rate, at_s = tmp_path / "a.mp4", 48000, (0.4, 1.6, 2.3)
    seen = frames(2.6, at_s, START_NS)
    # It began a second before the first picture, has a hole, and says some things twice.
    heard = blocks(clap(rate, 1, 3.6, tuple(1 + s for s in at_s)), rate, START_NS - 10**9, 960)
    holed = [b for b in heard if not 1.7 < (b.t_ns - START_NS) / 1e9 + 1 < 2.4]
    twice = sorted([*holed, *holed[::7]], key=lambda b: b.t_ns)
    write_film(recorded_pictures(in_time(*seen, *twice)), path, sound=SoundFormat(rate, 1))
    assert onsets(path) == pytest.approx(at_s, abs=2e-3)
    # A microphone that starts late.
    late = [b for b in heard if b.t_ns > START_NS + 10**9]
    write_film(recorded_pictures(in_time(*seen, *late)), path, sound=SoundFormat(rate, 1))
    assert onsets(path) == pytest.approx(at_s[1:], abs=2e-3)


def test_a_clock_that_drifts_stays_within_a_few_frames_of_sound(tmp_path: Path) -> None:
    """A microphone of 48,480 samples a second that calls itself 48,000 (1 % fast)."""
    path, rate, at_s = tmp_path / "a.mp4", 48000, (1.0, 5.0, 9.0)
    sound = clap(48480, 1, 10.0, at_s)
    heard = [
        AudioBlock(START_NS + round(k * 1e9 / 48480), "mic", rate, sound[k : k + 480])
        for k in range(0, len(sound), 480)
    ]
    seen = frames(10.0, at_s, START_NS)
    write_film(recorded_pictures(in_time(*seen, *heard)), path, sound=SoundFormat(rate, 1))
    assert onsets(path) == pytest.approx(at_s, abs=0.03)


def test_a_film_is_drawn_from_states_and_the_same_one_from_codes(tmp_path: Path) -> None:
    scene = open_scene("demo")
    states = [scene.state_at(START_NS % 10**9 + round(k * 1e9 / 10)) for k in range(8)]
    view = View.from_camera(Camera.from_fov((160, 120)))
    panel = text_panel("t", "a note", "head", Rigid.from_translation((0.0, 0.1, 0.1)))
    shown = ShownPanels(states[4].t_ns, (panel,))
    pictures = []
    with (
        Avatar.open("mei") as avatar,
        open_renderer("gl", RenderOptions(depth=False)) as renderer,
    ):
        codes = [avatar.encode(state) for state in states]
        for records in (states, codes):
            every = [*records[:4], shown, *records[4:]]
            pictures.append(
                [
                    part
                    for part in drawn_pictures(every, avatar, renderer.draw, lambda _t: view)
                    if isinstance(part, Shown)
                ]
            )
    first, second = pictures
    assert [part.t_ns for part in first] == [state.t_ns for state in states]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.rgb, b.rgb)
    assert write_film(iter(first), tmp_path / "a.mp4", 10.0).pictures == 8
    moved = np.abs(first[3].rgb.astype(int) - first[5].rgb).max(2)[:50].mean()
    still = np.abs(first[2].rgb.astype(int) - first[3].rgb).max(2)[:50].mean()
    assert moved > 2 * still  # the panel hangs above the head


def test_what_makes_no_film_is_said(tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    with pytest.raises(FailedError, match="no picture"):
        write_film([], out)
    seen = frames(1.0, (), 0)
    other = replace(seen[-1], camera=Camera.from_fov((32, 32)), rgb=np.zeros((32, 32, 3), np.uint8))

    def changing() -> Iterator[Shown]:
        yield Shown(0, seen[0].rgb)
        yield Shown(40_000_000, other.rgb)

    with pytest.raises(FailedError, match="one size"):
        write_film(changing(), out)
    with (
        VideoWriter(out, (64, 48), 25.0, sound=SoundFormat(48000, 1)) as writer,
        pytest.raises(ValueError, match="expected 48000 Hz and 1 channels"),
    ):
        writer.write_sound(AudioBlock(0, "mic", 44100, np.zeros((5, 1), np.int16)))
    with (
        VideoWriter(out, (64, 48), 25.0) as writer,
        pytest.raises(ValueError, match="made with `sound`"),
    ):
        writer.write_sound(AudioBlock(0, "mic", 44100, np.zeros((5, 1), np.int16)))


def test_the_rate_is_the_median_of_the_intervals() -> None:
    assert nominal_fps(np.array([0, 40, 80, 400, 440], np.int64) * 10**6) == 25.0
    assert nominal_fps(np.array([5], np.int64)) == 30.0


def test_codecs_that_nobody_knows_are_named(tmp_path: Path) -> None:
    path, rate = tmp_path / "a.mp4", 48000
    parts = in_time(*frames(0.5, (), 0), *blocks(clap(rate, 1, 0.5, ()), rate, 0, 480))
    write_film(recorded_pictures(parts), path, sound=SoundFormat(rate, 1))
    data = path.read_bytes()
    assert data.count(b"avc1") >= 1
    data = data.replace(b"avc1", b"zzz1").replace(b"mp4a", b"ac-4").replace(b"esds", b"zzzz")
    path.write_bytes(data)
    for reads in (VideoFile, SoundTrack):
        with pytest.raises(SourceError, match="does not know"):
            reads(path)
    # A video that is written beside such sound goes without it.
    with VideoWriter(tmp_path / "b.mp4", (64, 48), 25.0, sound_from=path) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8), 0)
    assert SoundTrack.of(tmp_path / "b.mp4") is None


def test_a_sound_track_says_what_is_wrong_with_it(tmp_path: Path, demo_clip: Path) -> None:
    silent = tmp_path / "silent.mp4"
    write_film([Shown(0, np.zeros((48, 64, 3), np.uint8))], silent)
    assert SoundTrack.of(silent) is None
    (tmp_path / "text.mp4").write_text("no video")
    text = tmp_path / "text.mp4"
    for path, said in ((silent, "no sound"), (text, "FFmpeg"), (tmp_path, "no such")):
        with pytest.raises(SourceError, match=said):
            SoundTrack(path)
    track = SoundTrack.of(demo_clip)
    if track is not None:
        track.close()
        assert list(track) == []


def test_a_sound_track_mixes_to_one_channel_at_a_chosen_rate(tmp_path: Path) -> None:
    rate, seconds = 44_100, 1.0
    t = np.arange(round(rate * seconds)) / rate
    left = (9000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((2, 2, rate, 0, "NONE", ""))
        file.writeframes(np.stack([left, left], 1).tobytes())
    with SoundTrack(tmp_path / "a.wav", 16_000) as track:
        assert (track.rate, track.channels) == (16_000, 1)
        blocks = list(track)
    samples = np.concatenate([block.samples[:, 0] for block in blocks])
    assert abs(len(samples) - 16_000) <= 1
    wanted = 9000 * np.sin(2 * np.pi * 440 * np.arange(len(samples)) / 16_000)
    assert np.abs(samples - wanted)[100:-100].max() < 200
    ends = [block.t_ns + len(block.samples) * 62_500 for block in blocks]
    assert all(abs(a - b.t_ns) < 2e6 for a, b in zip(ends, blocks[1:], strict=False))
