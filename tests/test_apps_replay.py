"""Replaying recorded sessions through the real stages: what comes back, bit for bit, and that the
check of it can fail."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps import command
from apps.pipeline import Draw, PipelineOptions
from apps.record_fields import first_difference
from apps.recorded_stages import ReplayParts, open_avatar, open_tracker
from apps.replay_file import write_replay
from apps.replay_stages import Replay, ReplayOptions
from apps.replay_verification import Opening, open_gl_draw, verify_replay
from apps.session_moments import MomentOptions, read_moments
from apps.usage import FailedError, UsageError
from capture.video_file import VideoFile
from sessions.reader import SessionReader
from sessions.session_header import SessionHeader
from sessions.writer import SessionOptions, SessionWriter
from streams.avatar_code import AvatarCode
from streams.frame import Frame
from streams.shown_panels import ShownPanels
from streams.tracked_state import TrackedState
from tests.replayed_sessions import record_clip

FRAMES = 14
SMALL = ReplayOptions(size=(96, 96))


@pytest.fixture(scope="module")
def session(demo_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The beginning of the demo at all seams, bit for bit, with a panel."""
    path = tmp_path_factory.mktemp("session") / "lossless.mcap"
    seams = ("frames", "state", "code", "views", "panels")
    return record_clip(path, demo_clip, FRAMES, seams, text="Recorded")


@pytest.fixture(scope="module")
def lossy(demo_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with pictures as they usually are, without views and panels."""
    path = tmp_path_factory.mktemp("session") / "lossy.mcap"
    return record_clip(path, demo_clip, FRAMES, lossless=False)


@contextlib.contextmanager
def _no_pictures() -> Iterator[Draw]:
    """For what is not about pictures: compiling shaders twice takes most of a test's time."""
    yield lambda _mesh, _view, _panels: None


UNDRAWN = Opening(draw=_no_pictures)


@pytest.mark.parametrize(("seam", "speed"), [("state", 3.0), ("code", 40.0)])
def test_two_replays_are_the_same_at_every_seam(session, seam, speed):
    with SessionReader(session) as opened:
        report = verify_replay(opened, replace(SMALL, seam=seam), (UNDRAWN, UNDRAWN), speed)
    assert report.same
    assert report.moments == FRAMES
    assert set(report.digests) == {"state", "code", "mesh", "image"}
    assert report.text().startswith(f"the same: {FRAMES} moments replayed from {seam}")


def test_lossless_frames_give_the_recorded_states_and_codes_again(session):
    with SessionReader(session) as opened:
        report = verify_replay(opened, SMALL)
    assert report.same
    assert report.recorded == {"state": FRAMES, "code": FRAMES}
    assert "the same as the 14 states and 14 codes that were recorded" in report.text()


def test_it_says_why_lossy_frames_are_not_compared_with_what_was_recorded(lossy):
    with SessionReader(lossy) as opened:
        report = verify_replay(opened, replace(SMALL, seconds=0.1), (UNDRAWN, UNDRAWN))
    assert report.same
    assert report.recorded == {}
    assert "not recorded losslessly" in report.text()


def test_a_recorder_that_left_out_frames_is_not_compared(session, tmp_path):
    """A tracker remembers: what it says of a frame depends on which ones it saw before."""
    path = tmp_path / "gaps.mcap"
    with SessionReader(session) as whole:
        from sessions.picture_track import PictureOptions

        options = SessionOptions(PictureOptions(lossless=True), wait_s=30.0, stamped=False)
        with SessionWriter(path, whole.header, options) as writer:
            for n, record in enumerate(whole.read(("frames", "state"))):
                if record.seam == "frames" or n % 4 == 1:
                    writer.write(record.record)
    with SessionReader(path) as opened:
        report = verify_replay(opened, SMALL, (UNDRAWN, UNDRAWN))
    assert report.same
    assert "tracked 7 of 14 frames" in report.text()


@pytest.mark.parametrize("name", ["faces/d0.mp4", "faces/d6.mp4"])
def test_replays_of_real_people_are_the_same(shared_data, tmp_path, name):
    clip = shared_data / name
    if not clip.exists():
        pytest.skip(f"no real test data at {clip}")
    path = record_clip(tmp_path / "real.mcap", clip, 12)
    with SessionReader(path) as opened:
        report = verify_replay(opened, SMALL, (UNDRAWN, UNDRAWN))
    assert report.same, report.text()
    assert report.recorded == {"state": 12, "code": 12}


def test_an_enrolled_avatar_that_looks_at_pictures_replays_the_same(session, small_avatar):
    options = replace(SMALL, avatar=str(small_avatar), seconds=0.2)
    with SessionReader(session) as opened:
        report = verify_replay(opened, options, (UNDRAWN, UNDRAWN))
    assert report.same, report.text()
    assert report.recorded == {"state": report.moments}  # codes of another avatar say nothing


def test_the_recorded_engine_tracks_again_and_another_is_not_compared(tmp_path, demo_clip):
    path = tmp_path / "talk.mcap"
    command_line = ["record", str(path), "--source", f"video:{demo_clip}", "--seconds", "0.2"]
    assert command.run([*command_line, "--lossless", "--tracker", "mediapipe"]) == 0
    with SessionReader(path) as opened:
        assert opened.header.notes["tracker"] == "mediapipe"
        again = verify_replay(opened, SMALL, (UNDRAWN, UNDRAWN))
        assert again.same, again.text()
        assert again.recorded == {"state": 6, "code": 6}
        other = verify_replay(opened, replace(SMALL, tracker="litert"), (UNDRAWN, UNDRAWN))
    assert other.same
    assert other.not_compared == "it was tracked by mediapipe, this is litert"


def test_other_processes_with_other_threads_give_the_same_hashes(session):
    arguments = ["replay", str(session), "--verify", "--size", "96x96", "--seconds", "0.15"]
    start = "from apps.command import main; main()"
    said: list[str] = []
    for hash_seed, threads in (("1", "1"), ("7", "3")):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        changed = dict.fromkeys(names, threads) | {"PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", start, *arguments],
            capture_output=True, text=True, timeout=120, check=False,
            env=os.environ | changed, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[0] == said[1]
    assert said[0].count("sha256") == 4


class _Tracker:
    """A tracker whose answers somebody changes."""

    def __init__(self, change: Callable[[TrackedState], TrackedState]) -> None:
        self._tracker, self._change = open_tracker("mediapipe"), change

    def track(self, frame: Frame) -> TrackedState:
        return self._change(self._tracker.track(frame))

    def begin_anew(self) -> None:
        self._tracker.begin_anew()

    def close(self) -> None:
        self._tracker.close()


def _reads_the_clock(state: TrackedState) -> TrackedState:
    assert state.face is not None
    moved = state.face.landmarks.copy()
    moved[3, 1] += np.float32((time.monotonic_ns() % 1000 + 1) * 1e-6)
    return replace(state, face=replace(state.face, landmarks=moved))


def test_a_tracker_that_reads_the_clock_is_found(session):
    opening = Opening(
        ReplayParts(open_tracker=lambda _name: _Tracker(_reads_the_clock)), _no_pictures
    )
    with SessionReader(session) as opened:
        first = verify_replay(opened, SMALL, (opening, opening)).first
    assert first is not None
    assert (first.seam, first.difference.field) == ("state", "face.landmarks")
    assert first.difference.largest is not None
    assert 0 < first.difference.largest < 2e-3
    assert "1 of 1434 numbers" in first.text()
    assert "[3, 1]" in first.text()


def test_one_flipped_bit_in_one_code_is_found(session):
    class Flips:
        """An avatar that flips the last bit of one number, once."""

        def __init__(self, name: str) -> None:
            self._avatar = open_avatar(name)
            self.id = self._avatar.id
            self.count = 0

        def encode(self, state: TrackedState, frame: Frame | None = None) -> AvatarCode:
            code = self._avatar.encode(state, frame)
            self.count += 1
            if self.count != 9:
                return code
            numbers = code.geometry.copy()
            numbers.view(np.uint32)[5] ^= 1
            return replace(code, geometry=numbers)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._avatar, name)

    with SessionReader(session) as opened:
        times = opened.times("frames")
        openings = UNDRAWN, Opening(ReplayParts(open_avatar=Flips), _no_pictures)  # type: ignore[arg-type]
        report = verify_replay(opened, SMALL, openings)
    assert report.moments == 8
    assert report.first is not None
    assert (report.first.seam, report.first.t_ns) == ("code", times[8])
    assert report.first.difference.field == "geometry"
    assert "1 of" in report.first.difference.how


def test_a_renderer_that_draws_one_pixel_differently_is_found(session):
    @contextlib.contextmanager
    def open_draw() -> Iterator[Draw]:
        with open_gl_draw() as draw:

            def changed(mesh, view, panels):
                image = draw(mesh, view, panels)
                assert image is not None
                rgba = image.rgba.copy()
                rgba[5, 7, 2] ^= 1
                return replace(image, rgba=rgba)

            yield changed

    with SessionReader(session) as opened:
        options = replace(SMALL, seam="code")
        first = verify_replay(opened, options, (Opening(), Opening(draw=open_draw))).first
    assert first is not None
    assert (first.seam, first.difference.field) == ("image", "rgba")
    assert first.difference.largest == 1.0


def test_a_recorded_state_that_the_frames_do_not_give_is_found(session, tmp_path, capsys):
    path = tmp_path / "changed.mcap"
    from sessions.picture_track import PictureOptions

    options = SessionOptions(PictureOptions(lossless=True), wait_s=30.0, stamped=False)
    with SessionReader(session) as whole, SessionWriter(path, whole.header, options) as writer:
        changed_ns = int(whole.times("state")[4])
        for record in whole.read(("frames", "state")):
            value = record.record
            if isinstance(value, TrackedState) and value.t_ns == changed_ns:
                assert value.face is not None
                shapes = value.face.blendshapes.copy()
                shapes[30] = 0.125
                value = replace(value, face=replace(value.face, blendshapes=shapes))
            writer.write(value)
    assert command.run(["replay", str(path), "--verify", "--size", "64x64"]) == 1
    said = capsys.readouterr().out
    assert "DIFFERENT after 4 moments: the recorded state and a replay's differ first" in said
    assert "face.blendshapes: 1 of 52 numbers" in said


WINDOW = """
import contextlib, sys
from pathlib import Path
from apps.replay_stages import ReplayOptions
from apps.replay_verification import Opening, verify_replay
from render.renderer import RenderOptions
from render.window import Window, WindowOptions
from sessions.reader import SessionReader

@contextlib.contextmanager
def in_a_window():
    with Window(WindowOptions(size=(96, 96), vsync=False), RenderOptions()) as window:
        def draw(mesh, view, panels):
            image = window.renderer.draw(mesh, view, panels)
            window.show(None, ("shown",))
            return image
        yield draw

with SessionReader(Path(sys.argv[1])) as session:
    report = verify_replay(
        session, ReplayOptions("state", size=(96, 96)), (Opening(), Opening(draw=in_a_window))
    )
print(report.text())
"""


@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="xvfb-run is not installed")
def test_a_window_draws_the_same_bytes(session):
    done = subprocess.run(
        ["xvfb-run", "-a", "-s", "-screen 0 640x480x24", sys.executable, "-c", WINDOW,
         str(session)],
        capture_output=True, text=True, timeout=120, check=False, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith(f"the same: {FRAMES} moments"), done.stdout


@pytest.mark.parametrize("seam", ["frames", "state", "code"])
def test_a_replay_as_a_session_has_the_same_bytes_however_it_is_run(session, tmp_path, seam):
    paths = tmp_path / "one.mcap", tmp_path / "many.mcap"
    ways = PipelineOptions(threads=False), PipelineOptions(lossless=True)
    for path, way in zip(paths, ways, strict=True):
        with (
            SessionReader(session) as opened,
            Replay(opened, ReplayOptions(seam)) as replay,
        ):
            assert "of 14 moments" in write_replay(replay, path, options=way)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with SessionReader(paths[0]) as written, SessionReader(session) as opened:
        header = written.header
        assert header.notes["replay from"] == seam
        assert header.notes["replay of"] == session.name
        assert len(header.notes["replay of sha256"]) == 64
        assert (header.t_ns, header.consent) == (opened.header.t_ns, opened.header.consent)
        assert "models/face_landmarker.task" in header.models or seam != "frames"
        assert "avatars/codec" in header.models
        assert written.seams == ("state", "code")
        for mine, theirs in zip(written.read(("code",)), opened.read(("code",)), strict=True):
            assert mine.t_ns == mine.written_ns == theirs.t_ns
            assert isinstance(mine.record, AvatarCode)
            assert isinstance(theirs.record, AvatarCode)
            assert (mine.record.geometry == theirs.record.geometry).all()


def test_a_film_shows_the_recorded_panel_at_the_recorded_times(session, tmp_path, capsys):
    film, bare = tmp_path / "film.mp4", tmp_path / "bare.mp4"
    arguments = ["--from", "code", "--start", "0.1", "--seconds", "0.2", "--size", "128x128"]
    assert command.run(["replay", str(session), "--out", str(film), *arguments]) == 0
    assert "6 pictures, a person in 6 of them" in capsys.readouterr().out
    with VideoFile(film) as video:
        frames = list(video)
    assert len(frames) == 6
    assert frames[0].t_ns == pytest.approx(0, abs=100_000)
    without = tmp_path / "without.mcap"
    with SessionReader(session) as opened, SessionWriter(without, opened.header) as writer:
        for record in opened.read(("code", "views")):
            writer.write(record.record)
    assert command.run(["replay", str(without), "--out", str(bare), "--size", "128x128"]) == 0
    with VideoFile(bare) as video:
        plain = list(video)
    # Lower left, where the text lies; everything else is the same.
    change = np.abs(frames[0].rgb.astype(int) - plain[3].rgb.astype(int)).max(-1)
    assert np.percentile(change[80:, :40], 97) > 30
    assert np.percentile(change[:80], 99) < 12


def test_it_tells_what_it_cannot_replay(session, lossy, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    out = str(tmp_path / "x.mcap")
    nothing = tmp_path / "nothing.mcap"
    with SessionWriter(nothing, SessionHeader(0, 0)):
        pass
    codes = tmp_path / "codes.mcap"
    with SessionReader(lossy) as opened, SessionWriter(codes, opened.header) as writer:
        for record in opened.read(("code",)):
            writer.write(record.record)
    for arguments, code, words in (
        ([str(session)], 1, "there is no display for a window; give --out FILE.mp4"),
        ([str(session), "--out", "x.avi"], 2, "ends in .mp4 or .mcap"),
        ([str(session), "--from", "mesh", "--out", out], 2, "expected frames, state, code"),
        ([str(session), "--speed", "fast"], 2, "0.01 to 100, or max"),
        ([str(session), "--out", out, "--loop"], 2, "without --loop"),
        ([str(session), "--out", str(session)], 2, "this is the session itself"),
        ([str(session), "--out", out, "--start", "99"], 1, "ends after 0.433 s"),
        ([str(session), "--out", out, "--tracker", "none"], 2, "expected auto, litert"),
        ([str(session), "--out", out, "--camera", "left"], 1, "has frames of demo.mp4"),
        ([str(codes), "--out", out, "--from", "frames"], 1, "can be replayed from code"),
        ([str(codes), "--out", out, "--avatar", "mei"], 2, "replay --from state"),
        ([str(nothing), "--out", out], 1, "nothing to replay"),
        ([str(tmp_path / "none.mcap"), "--out", out], 1, "there is no such file"),
    ):
        assert command.run(["replay", *arguments]) == code, arguments
        assert words in capsys.readouterr().err
    assert not Path(out).exists()


def test_a_session_is_a_source_of_its_frames(session, lossy, tmp_path, capsys):
    from apps.sources import open_any
    from capture.frame_source import SourceOptions

    with open_any(f"session:{session}") as source, SessionReader(session) as opened:
        assert not source.live
        assert source.fps == pytest.approx(30.0, abs=0.1)
        frames = list(source)
        assert [f.t_ns for f in frames] == list(opened.times("frames"))
        assert frames[0].camera.name == source.camera.name == "demo.mp4"
        assert source.damaged == 0
    again = tmp_path / "again.mcap"
    spec = f"session:{lossy}"
    assert command.run(["record", str(again), "--source", spec, "--seams", "frames,state"]) == 0
    with SessionReader(again) as opened:
        assert len(opened.times("state")) == FRAMES
    with pytest.raises(UsageError, match="calibration was recorded"):
        open_any(spec, SourceOptions(fov_long_side=1.0))
    codes = tmp_path / "codes.mcap"
    with SessionReader(lossy) as opened, SessionWriter(codes, opened.header) as writer:
        writer.write(*(record.record for record in opened.read(("code",))))
    with pytest.raises(FailedError, match="holds no frames"):
        open_any(f"session:{codes}")


def test_the_latest_seam_alone_is_enough(lossy, tmp_path):
    """Without frames the pictures are blanks of the header's camera; they are shown to nobody."""
    path = tmp_path / "codes.mcap"
    with SessionReader(lossy) as opened, SessionWriter(path, opened.header) as writer:
        for record in opened.read(("code",)):
            writer.write(record.record)
    with SessionReader(path) as opened, Replay(opened) as replay:
        assert replay.seam == "code"
        assert replay.size == opened.header.cameras[0].size
        frame = next(replay.source)
        assert not frame.rgb.any()
        assert replay.source.moment(frame.t_ns).frame is None
    with pytest.raises(UsageError), SessionReader(path) as opened:
        Replay(opened, ReplayOptions(avatar="mei"))


def test_what_was_sealed_stays_sealed(session, tmp_path, monkeypatch):
    pytest.importorskip("nacl")
    from sessions.session_error import LockedSessionError

    sealed, out = tmp_path / "sealed.mcap", tmp_path / "out.mcap"
    with (
        SessionReader(session) as opened,
        SessionWriter(sealed, opened.header, secret=b"correct horse") as writer,
    ):
        for record in opened.read(("state",)):
            writer.write(record.record)
    monkeypatch.setenv("VISAVIS_SECRET", "correct horse")
    assert command.run(["replay", str(sealed), "--out", str(out)]) == 0
    with pytest.raises(LockedSessionError):
        SessionReader(out)
    with SessionReader(out, b"correct horse") as opened:
        assert opened.seams == ("state", "code")


def test_a_replay_that_breaks_off_says_how_far_it_came(session, tmp_path):
    def fails(state: TrackedState) -> TrackedState:
        if state.t_ns > 200_000_000:
            raise ValueError("tracking fell over")
        return state

    parts = ReplayParts(open_tracker=lambda _name: _Tracker(fails))
    out = tmp_path / "out.mcap"
    with (
        SessionReader(session) as opened,
        Replay(opened, SMALL, parts) as replay,
        pytest.raises(FailedError, match=r"fell over.*holds \d moments"),
    ):
        write_replay(replay, out)
    with SessionReader(out) as written:
        assert 1 <= len(written.times("code")) < FRAMES


def test_a_tracker_that_begins_anew_is_as_just_opened(session):
    with SessionReader(session) as opened:
        frames = [r.record for r in opened.read(("frames",)) if isinstance(r.record, Frame)]
    used, fresh = open_tracker("mediapipe"), open_tracker("mediapipe")
    try:
        for frame in frames[:6]:
            used.track(frame)
        used.begin_anew()
        for frame in frames[9:12]:
            assert first_difference(used.track(frame), fresh.track(frame)) is None
        used.close()
        with pytest.raises(ValueError, match="open tracker"):
            used.begin_anew()
    finally:
        used.close()
        fresh.close()


def test_an_enrolled_avatar_that_begins_anew_is_as_just_opened(session, small_avatar):
    with SessionReader(session) as opened:
        moments = list(read_moments(opened, MomentOptions()))
    used, fresh = open_avatar(str(small_avatar)), open_avatar(str(small_avatar))
    for moment in moments[:5]:
        assert moment.state is not None
        used.encode(moment.state, moment.frame)
    used.begin_anew()
    last = moments[-1]
    assert last.state is not None
    codes = [avatar.encode(last.state, last.frame) for avatar in (used, fresh)]
    assert first_difference(*codes) is None


def test_moments_gather_what_belongs_together(session):
    with SessionReader(session) as opened:
        moments = list(read_moments(opened, MomentOptions()))
        assert len(moments) == FRAMES
        for moment in moments:
            assert moment.frame is not None
            assert moment.state is not None
            assert moment.code is not None
            assert moment.view is not None
            assert moment.panels
            times = {moment.frame.t_ns, moment.state.t_ns, moment.code.t_ns, moment.view.t_ns}
            assert times == {moment.t_ns}
        start, end = moments[4].t_ns, moments[7].t_ns
        part = list(read_moments(opened, MomentOptions("state", None, start, end)))
        assert [m.t_ns for m in part] == [m.t_ns for m in moments[4:7]]
        bare = list(read_moments(opened, MomentOptions("code", pictures=False)))
        assert all(m.frame is None and m.state is not None for m in bare)


def test_the_newest_view_and_panels_before_a_moment_count(session, tmp_path):
    path = tmp_path / "sparse.mcap"
    with SessionReader(session) as opened:
        moments = list(read_moments(opened, MomentOptions("code", pictures=False)))
        shown = next(r.record for r in opened.read(("panels",)))
    assert isinstance(shown, ShownPanels)
    with SessionWriter(path, SessionHeader(0, 0), SessionOptions(stamped=False)) as writer:
        writer.write(replace(shown, t_ns=moments[2].t_ns - 1))
        for moment in moments:
            assert moment.code is not None
            writer.write(moment.code)
        writer.write(ShownPanels(moments[6].t_ns, ()))
    with SessionReader(path) as opened:
        seen = [bool(m.panels) for m in read_moments(opened, MomentOptions("code"))]
        later = MomentOptions("code", start_ns=moments[4].t_ns)
        from_the_middle = [bool(m.panels) for m in read_moments(opened, later)]
    assert seen == [False, False, True, True, True, True] + [False] * (FRAMES - 6)
    assert from_the_middle == seen[4:]
