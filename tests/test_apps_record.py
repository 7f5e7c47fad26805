"""`visavis record` and `preview --record`: real videos, the real tracker, real sessions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from apps.command import run
from apps.recording import CONSENT, open_sound
from apps.spoken_consent import record
from apps.usage import FailedError
from capture.frame_source import SourceError, open_source
from capture.microphone import Microphone
from sessions.reader import SessionReader
from streams.audio_block import AudioBlock
from streams.avatar_code import AvatarCode
from streams.frame import Frame
from streams.tracked_state import TrackedState
from tests.session_records import bits
from tracking.engine_choice import chosen_engine
from tracking.tracker import Tracker, TrackerOptions


def test_lossless_frames_tracked_again_give_the_recorded_state(
    tmp_path: Path, demo_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "talk.mcap"
    command = ["record", str(out), "--source", f"video:{demo_clip}", "--seconds", "1"]
    assert run([*command, "--lossless"]) == 0
    told = capsys.readouterr()
    assert "30 frames, 30 state, 30 code" in told.out
    assert CONSENT in told.err
    with SessionReader(out) as session:
        assert session.lost == {}
        assert CONSENT in session.header.consent
        assert session.header.source == f"video:{demo_clip}"
        assert session.header.notes["lossless"] == "yes"
        engine = session.header.notes["tracker"]
        assert engine == chosen_engine("auto")
        assert len(session.header.models["models/face_landmarker.task"]) == 64
        records = [found.record for found in session.read()]
    frames = [r for r in records if isinstance(r, Frame)]
    states = [r for r in records if isinstance(r, TrackedState)]
    codes = [r for r in records if isinstance(r, AvatarCode)]
    with open_source(f"video:{demo_clip}") as source:
        for frame, original in zip(frames, source, strict=False):
            assert bits(frame) == bits(original)
    with Tracker.open(TrackerOptions(engine=engine)) as tracker:
        assert [bits(tracker.track(frame)) for frame in frames] == [bits(s) for s in states]
    assert {code.avatar for code in codes} == {"avatars/default"}


def test_sound_lies_beside_the_frames(tmp_path: Path) -> None:
    video, out = tmp_path / "speaks.mp4", tmp_path / "speaks.mcap"
    with av.open(str(video), "w") as container:
        pictures = container.add_stream("libx264", rate=25)
        pictures.width = pictures.height = 64
        pictures.pix_fmt = "yuv420p"
        sound = container.add_stream("flac", rate=16_000, layout="mono")
        tone = (np.sin(np.arange(32_000) * 0.1) * 9000).astype(np.int16)
        for k in range(50):
            picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 5 * k, np.uint8), "rgb24")
            container.mux(pictures.encode(picture))
            piece = tone[None, k * 640 : (k + 1) * 640]
            block = av.AudioFrame.from_ndarray(piece, "s16", "mono")
            block.sample_rate, block.pts = 16_000, k * 640
            container.mux(sound.encode(block))
        container.mux(pictures.encode(None))
        container.mux(sound.encode(None))
    assert run(["record", str(out), "--source", f"video:{video}", "--seams", "frames,audio"]) == 0
    with SessionReader(out) as session:
        assert session.seams == ("frames", "audio")
        blocks = [r.record for r in session.read(("audio",)) if isinstance(r.record, AudioBlock)]
        heard = np.concatenate([block.samples for block in blocks])[:, 0]
        assert len(blocks) > 5
        np.testing.assert_array_equal(heard, tone[: len(heard)])
        assert len(heard) > 0.9 * len(tone)
        assert (
            abs(blocks[-1].t_ns - blocks[0].t_ns - (len(heard) - len(blocks[-1].samples)) * 62_500)
            < 1e5
        )
        assert len(list(session.times("frames"))) == 50


def test_several_cameras(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    one, two = make_video(30, name="one.mp4"), make_video(20, name="two.mp4")
    out = tmp_path / "both.mcap"
    command = ["record", str(out), "--source", f"video:{one}", "--seams", "frames"]
    assert run([*command, "--more-sources", f"video:{two}"]) == 0
    with SessionReader(out) as session:
        assert set(session.sources("frames")) == {"one.mp4", "two.mp4"}
        for path, count in ((one, 30), (two, 20)):
            with open_source(f"video:{path}") as source:
                times = [frame.t_ns for frame in source]
            assert len(times) == count
            recorded = list(session.times("frames", path.name))
            assert recorded == [t for t in times if t <= max(session.times("frames", "one.mp4"))]
    command[1] = str(tmp_path / "mixed.mcap")
    assert run([*command, "--more-sources", "webcam:77"]) == 1


def test_a_preview_records_what_it_shows(tmp_path: Path, demo_clip: Path) -> None:
    out = tmp_path / "shown.mcap"
    command = ["preview", "--source", f"video:{demo_clip}", "--seconds", "0.5", "--text", "Hello"]
    assert (
        run([*command, "--size", "160x160", "--out", str(tmp_path / "a.mp4"), "--record", str(out)])
        == 0
    )
    with SessionReader(out) as session:
        assert session.seams == ("frames", "state", "code", "panels", "views")
        (shown,) = [r.record for r in session.read(("panels",))]
        view = session.at("views", 10**9)
        assert view is not None
        assert view.record.size == (160, 160)  # pyright: ignore[reportAttributeAccessIssue]
        assert len(shown.panels) == 1  # pyright: ignore[reportAttributeAccessIssue]
        counts = {channel.seam: channel.count for channel in session.channels}
    assert counts["code"] >= 15
    assert counts["code"] == counts["views"]


def test_sealed_with_a_key_file(tmp_path: Path, demo_clip: Path) -> None:
    key, out = tmp_path / "key", tmp_path / "a.mcap"
    key.write_text("correct horse battery\n", encoding="ascii")
    command = ["record", str(out), "--source", f"video:{demo_clip}", "--seconds", "0.2"]
    command += ["--seams", "frames"]
    assert run([*command, "--key-file", str(key)]) == 2
    assert run([*command, "--encrypt", "--key-file", str(key)]) == 0
    with SessionReader(out, b"correct horse battery") as session:
        assert session.sealed
        assert len(list(session.times("frames"))) == 6


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["a.avi"], 2, "expected a name that ends in .mcap"),
        (["a.mcap", "--seams", "smell"], 2, "expected some of frames,state,code,audio"),
        (["a.mcap", "--seams", ""], 2, "expected some of"),
        (["a.mcap", "--seconds", "0"], 2, "expected more than 0"),
        (["a.mcap", "--source", "video:none.mp4"], 1, "there is no such file"),
        (["a.mcap", "--source", "film"], 2, "expected one of webcam:NUMBER"),
        (["a.mcap", "--consent", " "], 2, "expected what was agreed to"),
        (["there.mcap", "--source", "synthetic:still"], 1, "exists already"),
        (["no/a.mcap", "--source", "synthetic:still"], 1, "there is no folder no"),
        (["a.mcap", "--source", "synthetic:still", "--seams", "audio"], 1, "has no sound"),
    ],
)
def test_what_cannot_be_recorded_is_said(
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.mcap").write_bytes(b"mine")
    assert run(["record", *arguments]) == code
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") <= 2
    assert Path("there.mcap").read_bytes() == b"mine"
    assert not Path("a.mcap").exists()


def test_without_a_microphone_it_is_said() -> None:
    try:
        with Microphone() as microphone:
            assert next(microphone).rate == 16_000
        pytest.skip("a microphone is there, and heard something")
    except SourceError:
        pass  # as expected here: what it says is checked below
    with pytest.raises(FailedError, match=r"microphone: .* leave audio out of --seams"):
        open_sound("webcam:0")()
    with pytest.raises(FailedError, match=r"--spoken mic: microphone: .* FILE.wav"):
        record(0.1)


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
def test_ctrl_c_closes_the_session(tmp_path: Path, demo_clip: Path) -> None:
    out = tmp_path / "stopped.mcap"
    command = [sys.executable, "-c", "from apps.command import main; main()", "record", str(out)]
    worker = subprocess.Popen(
        [*command, "--source", f"video:{demo_clip}"], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (out.exists() and out.stat().st_size > 100_000) and time.monotonic() < deadline:
        time.sleep(0.05)
    worker.send_signal(signal.SIGTERM)  # a shell in the background ignores SIGINT
    _, said = worker.communicate(timeout=60)
    assert worker.returncode == 130
    assert "frames" in said
    with SessionReader(out) as session:
        assert 3 <= len(list(session.times("frames"))) < 300
        assert session.lost == {}
