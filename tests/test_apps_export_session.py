"""`visavis export TALK.mcap`: every format, from one session, as a user writes it."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from apps.command import FAILED, USAGE, run
from avatar.codec import Avatar
from benchmarks.morph_sheet import GlbFile
from capture.scenes import open_scene
from capture.sound_track import SoundTrack
from capture.video_file import VideoFile
from overlay.text_panel import text_panel
from sessions.session_header import SessionHeader
from sessions.writer import SessionOptions, SessionWriter
from streams.audio_block import AudioBlock
from streams.frame import Frame
from streams.mark import Mark
from streams.rigid import Rigid
from streams.shown_panels import ShownPanels
from streams.tracked_state import TrackedState

START_NS = 5_000_000_000_000
COUNT, FPS = 30, 15.0


@pytest.fixture(scope="module")
def talk(demo_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds: two cameras, tracked by one of them, codes of amara, sound, a panel, a mark."""
    path = tmp_path_factory.mktemp("session") / "talk.mcap"
    scene = open_scene("demo")
    times = [round(k * 1e9 / FPS) for k in range(COUNT)]
    with VideoFile(demo_clip) as video:
        pictures = [next(video) for _ in times]
    cameras = [replace(pictures[0].camera, name=name) for name in ("front", "side")]
    states = []
    for t in times:
        state = scene.state_at(5_200_000_000 + t)
        states.append(TrackedState(START_NS + t, "front", state.face, state.hands))
    tone = (9000 * np.sin(np.arange(32_000) * 2 * np.pi * 440 / 16_000)).astype(np.int16)
    panel = text_panel("note", "hello", "head", Rigid.from_translation((0.0, 0.17, 0.05)))
    header = SessionHeader(START_NS, 1_700_000_000_000_000_000, avatar="amara")
    with (
        Avatar.open("amara") as avatar,
        SessionWriter(path, header, SessionOptions(fps=FPS, wait_s=30.0)) as session,
    ):
        for k, (t, picture, state) in enumerate(zip(times, pictures, states, strict=True)):
            for camera in cameras:
                rgb = picture.rgb if camera.name == "front" else picture.rgb[::-1].copy()
                session.write(Frame(START_NS + t, k, camera, rgb))
            session.write(state, avatar.encode(state))
            at = round(t * 16e-6)
            session.write(AudioBlock(START_NS + t, "mic", 16_000, tone[at : at + 1067][:, None]))
        session.write(ShownPanels(START_NS + 400_000_000, (panel,)))
        session.write(Mark(START_NS + 10**9, "middle"))
    return path


def export(talk: Path, name: str, *options: str) -> Path:
    out = talk.parent / name
    assert run(["export", str(talk), "--out", str(out), *options]) == 0
    return out


def test_mp4_shows_what_was_recorded_with_its_sound(
    talk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = [export(talk, "front.mp4"), export(talk, "side.mp4", "--camera", "side")]
    said = capsys.readouterr().out
    assert said.count("of 'front'; choose 'side' with --camera") == 1
    pictures = []
    for film in films:
        with VideoFile(film) as video:
            frames = list(video)
        times = np.array([frame.t_ns for frame in frames])
        assert np.abs(times - np.round(np.arange(COUNT) * 1e9 / FPS)).max() < 50_000
        pictures.append(frames[7].rgb.astype(int))
        with SoundTrack(film) as sound:
            heard = np.concatenate([block.samples[:, 0] for block in sound])
        assert len(heard) / sound.rate == pytest.approx(2.0, abs=0.1)
        assert np.abs(heard[4000:24_000].astype(int)).max() > 7000
    assert np.abs(pictures[0] - pictures[1][::-1]).mean() < 6  # side is upside down


def test_mp4_shows_any_avatar(talk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for name, options in (("own", ["--from", "code"]), ("mei", ["--avatar", "mei"])):
        film = export(talk, f"{name}.mp4", *options, "--size", "160x120", "--end", "0.6")
        with VideoFile(film) as video:
            frames = list(video)
            assert video.camera.size == (160, 120)
        assert len(frames) == 9
        shown.append(frames[-1].rgb.astype(int))
    assert np.abs(shown[0] - shown[1]).mean() > 3
    said = capsys.readouterr().out
    assert "amara drawn from the code, with sound" in said
    assert "mei drawn from the state, with sound" in said
    assert run(["export", str(talk), "--out", str(talk.parent / "x.mp4"), "--avatar", "mei",
                "--from", "code"]) == FAILED  # fmt: skip
    assert "codes of avatars/amara, not of avatars/mei" in capsys.readouterr().err


def test_tables_have_a_row_a_moment(talk: Path) -> None:
    for name in ("a.csv", "a.parquet"):
        if name.endswith("parquet"):
            pq = pytest.importorskip("pyarrow.parquet")
            rows = pq.read_table(export(talk, name)).to_pylist()
        else:
            with export(talk, name).open(newline="") as file:
                rows = list(csv.DictReader(file))
        assert len(rows) == COUNT
        assert int(rows[3]["t_ns"]) == START_NS + round(3e9 / FPS)
        assert rows[0]["avatar"] == "avatars/amara"
        assert float(rows[0]["jawOpen"]) >= 0.0
    with export(talk, "b.csv", "--landmarks", "--start", "1").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == COUNT // 2
    assert rows[0]["landmark_477_z_m"] != ""


def test_gltf_is_animated_and_bvh_has_both_hands(
    talk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = GlbFile.read(export(talk, "talk.glb", "--avatar", "walter"))
    (animation,) = file.json["animations"]
    paths = {channel["target"]["path"] for channel in animation["channels"]}
    assert paths == {"weights", "rotation", "translation", "scale"}
    times = file.accessor(animation["samplers"][0]["input"])
    assert times[-1, 0] == pytest.approx((COUNT - 1) / FPS, abs=1e-5)
    out = talk.parent / "hands.bvh"
    assert run(["export", str(talk), "--out", str(out), "--fps", "30"]) == 0
    assert not out.exists()
    for side in ("left", "right"):
        text = (talk.parent / f"hands-{side}.bvh").read_text()
        assert f"ROOT {side}_wrist" in text
        assert f"Frames: {2 * COUNT - 1}" in text
    assert "mm from what was tracked" in capsys.readouterr().out


def test_rerun_opens_it(talk: Path) -> None:
    chunks = pytest.importorskip("rerun.chunk", reason="needs rerun-sdk (extra rerun)")
    for name, options, mesh in (("a.rrd", [], True), ("b.rrd", ["--from", "frames"], False)):
        path = export(talk, name, *options)
        found = {chunk.entity_path for chunk in chunks.RrdReader(path).stream()}
        assert {"/world/cameras/front/picture", "/world/cameras/side/picture"} <= found
        assert {"/world/head", "/audio/mic", "/panels/note", "/marks", "/confidence/left"} <= found
        assert ("/world/avatar" in found) == mesh


def test_what_cannot_be_exported(talk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def complaint(code: int, what: str, out: str, *options: str) -> str:
        assert run(["export", what, "--out", str(talk.parent / out), *options]) == code
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    session = str(talk)
    assert "is for a session" in complaint(USAGE, "amara", "a.bvh")
    assert "is for an avatar" in complaint(USAGE, session, "a.onnx")
    assert "--camera: is for a session" in complaint(USAGE, "amara", "a.glb", "--camera", "x")
    assert "'front', 'side'" in complaint(FAILED, session, "x.mp4", "--camera", "back")
    assert "--from" in complaint(USAGE, session, "a.csv", "--from", "state")
    assert "--landmarks" in complaint(USAGE, session, "a.mp4", "--landmarks")
    assert "--start" in complaint(USAGE, session, "a.mp4", "--start", "3", "--end", "2")
    assert "absent.mcap" in complaint(FAILED, "absent.mcap", "a.csv")
    cut = talk.parent / "cut.mcap"
    cut.write_bytes(talk.read_bytes()[:-5000])
    assert "visavis repair" in complaint(FAILED, str(cut), "x.csv")
    empty = talk.parent / "empty.mcap"
    with SessionWriter(empty, SessionHeader(0, 0)) as writer:
        writer.write(Mark(0, "nothing else"))
    for name in ("e.csv", "e.glb", "e.bvh", "e.mp4"):
        assert "holds no state" in complaint(FAILED, str(empty), name)
        assert not (talk.parent / name).exists()


def test_ffmpegs_own_reader_finds_h264_and_aac(talk: Path) -> None:
    with av.open(str(export(talk, "codec.mp4"))) as container:
        names = [stream.codec_context.name for stream in container.streams]
    assert names == ["h264", "aac"]
