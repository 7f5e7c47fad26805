"""`visavis inspect`: rates, gaps, losses, latency and sizes of sessions whose truth is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apps import command
from apps.session_survey import Gap, survey_session
from apps.survey_text import duration
from sessions import writer as session_writer
from sessions.chunk_reader import ChunkReader
from sessions.reader import SessionReader
from sessions.session_header import SessionHeader
from sessions.writer import SessionOptions, SessionWriter
from streams.audio_block import AudioBlock
from streams.camera import Camera
from streams.frame import Frame
from streams.mark import Mark
from streams.tracked_state import TrackedState

CAMERA = Camera.from_fov((64, 48), name="cam")
START = 5_000_000_000_000
STEP = 33_333_333
MISSING = (40, 41, 42, 70)


@pytest.fixture
def recorder_clock(monkeypatch) -> list[int]:
    """The recorder's clock, set by the test."""
    now = [START]
    monkeypatch.setattr(session_writer, "now_ns", lambda: now[0])
    return now


@pytest.fixture
def live(tmp_path: Path, recorder_clock: list[int]) -> Path:
    """100 frames of a camera, four of them missing, each tracked 20 ms later, every tenth 80 ms."""
    path = tmp_path / "live.mcap"
    header = SessionHeader(
        START, 1_700_000_000_000_000_000, "visavis 9.9", "webcam:0", "amara", (CAMERA,),
        {"models/face": "ab" * 32}, "Everybody agreed", {"place": "Turin"},
    )  # fmt: skip
    rng = np.random.default_rng(0)
    with SessionWriter(path, header, SessionOptions(wait_s=10.0)) as writer:
        for k in range(100):
            if k in MISSING:
                continue
            t_ns = START + k * STEP
            recorder_clock[0] = t_ns + 5_000_000
            noise = rng.integers(0, 255, (48, 64, 3)).astype(np.uint8)
            writer.write(Frame(t_ns, k, CAMERA, noise))
            recorder_clock[0] = t_ns + (80_000_000 if k % 10 == 0 else 20_000_000)
            writer.write(TrackedState(t_ns, "cam"))
        writer.write(Mark(START + STEP, "smile"))
    return path


def test_it_finds_what_is_missing_and_when(live):
    with SessionReader(live) as session:
        survey = survey_session(session)
    frames = next(s for s in survey.streams if s.seam == "frames")
    assert frames.count == 96
    assert frames.rate == pytest.approx(30.0, abs=0.01)
    assert frames.gaps == (
        Gap(START + 39 * STEP, 4 * STEP, 3),
        Gap(START + 69 * STEP, 2 * STEP, 1),
    )
    assert survey.seconds == pytest.approx(99 * STEP / 1e9)
    assert [s.seam for s in survey.streams] == ["frames", "state", "marks"]
    assert frames.lossless is False
    assert frames.size == (64, 48)
    assert frames.undecodable == 0
    assert frames.key_pictures == 4


def test_latencies_of_a_live_source_count_from_the_observation(live):
    with SessionReader(live) as session:
        survey = survey_session(session)
    assert survey.live
    frames, states = survey.latencies[:2]
    assert (frames.after, frames.median_ms, frames.largest_ms) == ("the observation", 5.0, 5.0)
    assert (states.count, states.median_ms, states.largest_ms) == (96, 20.0, 80.0)
    assert states.p95_ms == 80.0


def test_latencies_of_a_file_count_from_the_seam_before(tmp_path, recorder_clock):
    path = tmp_path / "file.mcap"
    picture = np.zeros((48, 64, 3), np.uint8)
    with SessionWriter(path, SessionHeader(0, 1), SessionOptions(wait_s=10.0)) as writer:
        for k in range(20):
            recorder_clock[0] = START + k * 7_000_000
            writer.write(Frame(k * STEP, k, CAMERA, picture))
            recorder_clock[0] += 12_500_000
            writer.write(TrackedState(k * STEP, "cam"))
    with SessionReader(path) as session:
        survey = survey_session(session)
    assert not survey.live
    assert [(x.seam, x.after, x.median_ms) for x in survey.latencies] == [
        ("/state/cam", "/frames/cam", 12.5)
    ]


def test_sizes_are_those_of_the_messages(tmp_path):
    path = tmp_path / "sound.mcap"
    with SessionWriter(path, SessionHeader(0, 1), SessionOptions(wait_s=10.0)) as writer:
        for k in range(40):
            samples = np.full((800, 2), k, np.int16)
            writer.write(AudioBlock(k * 50_000_000, "mic", 16_000, samples))
    with SessionReader(path) as session:
        (stream,) = survey_session(session).streams
    assert 40 * 3200 < stream.bytes < 40 * 3280
    assert stream.kbit_s == pytest.approx(stream.bytes * 8 / 1000 / 1.95)


def test_pictures_that_build_on_a_missing_one_are_counted(tmp_path, live):
    """As a file is when a chunk in its middle was damaged and `repair` left it out."""
    path = tmp_path / "hole.mcap"
    from sessions.chunk_file import ChunkFile
    from sessions.seams import channel_metadata

    with ChunkReader(live) as chunks, ChunkFile(path, "test") as file:
        numbers = {}
        for number, channel in chunks.channels.items():
            schema = chunks.schemas[channel.schema_id]
            made = file.add_schema(schema.name, schema.encoding, schema.data)
            numbers[number] = file.add_channel(
                channel.topic, made, channel.message_encoding, channel.metadata
            )
        assert channel_metadata("marks", "")["seam"] == "marks"
        left_out = 0
        for chunk in chunks.chunks:
            for raw in chunks.messages(chunk):
                if chunks.channels[raw.channel].metadata["seam"] == "frames":
                    left_out += 1
                    if left_out == 50:  # not a key picture
                        continue
                file.add(numbers[raw.channel], raw.sequence, raw.log_ns, raw.publish_ns, raw.data)
    with SessionReader(path) as session:
        survey = survey_session(session)
        decoded = sum(1 for _ in session.read(("frames",)))
        undecodable = session.undecodable
    frames = survey.streams[0]
    assert frames.undecodable == undecodable > 0
    assert frames.count == decoded + undecodable == 95


def test_records_that_were_lost_are_told(tmp_path, capsys):
    path = tmp_path / "lost.mcap"
    picture = np.zeros((480, 640, 3), np.uint8)
    camera = Camera.from_fov((640, 480), name="cam")
    with SessionWriter(path, SessionHeader(0, 1), SessionOptions(queue_bytes=1)) as writer:
        for k in range(200):
            writer.write(Frame(k * STEP, k, camera, picture))
        lost = writer.lost["frames"]
    assert lost > 0
    assert command.run(["inspect", str(path)]) == 0
    assert f"frames: {lost} records found no room and were NOT recorded" in capsys.readouterr().out


def test_the_page_says_who_when_and_what(live, capsys):
    assert command.run(["inspect", str(live)]) == 0
    page = capsys.readouterr().out
    for words in (
        "2023-11-14 22:13:20 UTC by visavis 9.9", "webcam:0 (live)", "consent    Everybody agreed",
        "place      Turin", "models/face abababab", "/frames/cam", "64x48 H.264, 4 key pictures",
        "133 ms from 1.300 s on, about 3 missing",
    ):  # fmt: skip
        assert words in page
    assert max(len(line) for line in page.splitlines()) <= 110


def test_as_json_for_programs(live, capsys):
    assert command.run(["inspect", str(live), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["live"] is True
    assert told["unix_ns"] == 1_700_000_000_000_000_000
    frames = told["streams"][0]
    assert (frames["topic"], frames["count"], len(frames["gaps"])) == ("/frames/cam", 96, 2)
    assert told["latencies"][1]["median_ms"] == 20.0


def test_the_plot_shows_every_stream_and_the_gap_in_red(live, tmp_path, capsys):
    out = tmp_path / "plot.png"
    assert command.run(["inspect", str(live), "--plot", str(out)]) == 0
    assert f"wrote {out}" in capsys.readouterr().out
    picture = np.asarray(Image.open(out).convert("RGB")).astype(int)
    blue = np.abs(picture - (68, 119, 170)).max(-1) < 6
    red = np.abs(picture - (204, 51, 17)).max(-1) < 6
    lane = blue[:300].sum(1).argmax()
    columns = np.flatnonzero(blue[lane])
    share = (np.flatnonzero(red[lane]).mean() - columns[0]) / (columns[-1] - columns[0])
    assert share == pytest.approx(0.43, abs=0.08)  # around frames 40 to 42 of 100
    assert 0.5 * len(columns) > red[lane].sum() > 0.01 * len(columns)


@pytest.mark.parametrize("what", ["empty", "one record", "sealed"])
def test_odd_files_are_pages_and_plots_too(tmp_path, what, capsys, monkeypatch):
    path, out = tmp_path / "odd.mcap", tmp_path / "odd.png"
    secret = None
    if what == "sealed":
        pytest.importorskip("nacl")
        secret = b"correct horse"
    with SessionWriter(path, SessionHeader(0, 1), secret=secret) as writer:
        if what != "empty":
            writer.write(TrackedState(7, "cam"))
    if secret:
        assert command.run(["inspect", str(path)]) == 1
        assert "is sealed" in capsys.readouterr().err
        monkeypatch.setenv("VISAVIS_SECRET", secret.decode())
    assert command.run(["inspect", str(path), "--plot", str(out)]) == 0
    page = capsys.readouterr().out
    assert "consent    NONE is stored" in page
    assert (", sealed" in page) == (what == "sealed")
    assert Image.open(out).size[0] > 800


def test_what_is_no_session_is_said_in_a_line(tmp_path, capsys):
    path = tmp_path / "x.mcap"
    path.write_bytes(b"no session at all, just text" * 9)
    assert command.run(["inspect", str(path)]) == 1
    assert "is no session; expected an MCAP file" in capsys.readouterr().err
    assert command.run(["inspect", str(path), "--plot", "x.jpg"]) == 2


def test_durations():
    assert [duration(s) for s in (1.5, 99.994, 100, 3723)] == [
        "1.50 s", "99.99 s", "1:40 min", "1:02:03"
    ]  # fmt: skip
    assert replace(Gap(0, 1, 2), missing=3).missing == 3
