"""The user's own hands in sessions: recorded with a camera, replayed the same on any machine."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from apps.own_hands import hands_for, keep_own_hands, own_hands, own_hands_path
from apps.pacing import PacedSource
from apps.preview_options import PreviewOptions
from apps.preview_stages import open_stages
from apps.record import Record
from apps.recording import Recording, RecordingOptions
from apps.replay_stages import ReplayOptions
from apps.replay_verification import verify_replay
from apps.session_survey import survey_session
from apps.survey_text import survey_text
from apps.tracker_choice import recorded_options
from apps.usage import FailedError
from capture.frame_source import FrameSource, open_source
from capture.rig_source import RigSource
from sessions.reader import SessionReader
from sessions.session_header import HANDS_NOTE, SessionHeader
from sessions.writer import SessionWriter
from streams.camera import Camera
from streams.frame import Frame
from streams.hand_skeleton import HandShape
from streams.tracked_state import TrackedState
from tests.test_apps_replay import UNDRAWN
from tests.test_hand_measuring import other_hand
from tracking.tracker import Tracker, TrackerOptions
from tracking.user_hand import hands_to_json

HANDS = (other_hand("left", 1.1), other_hand("right", 1.1))
FIRST, COUNT = 45, 10
"""Frames of the demo in which a right hand is up."""
SMALL = ReplayOptions(size=(96, 96))


def live(clip: Path | None = None) -> FrameSource:
    """A camera that shows some frames of the clip, or nothing."""
    frames: list[Frame] = []
    if clip is not None:
        with open_source(f"video:{clip}") as source:
            frames = list(itertools.islice(source, FIRST, FIRST + COUNT))
    camera = frames[0].camera if frames else Camera.from_fov((64, 48))
    return cast(FrameSource, SimpleNamespace(live=True, camera=camera, fps=30.0, frames=frames))


def recorded(path: Path, source: FrameSource, options: TrackerOptions) -> list[TrackedState]:
    """The states of `source`'s frames, which the session at `path` then holds too."""
    told = RecordingOptions(path, ("frames", "state"), lossless=True, tracker="litert")
    states: list[TrackedState] = []
    with Recording(told, source) as recording, Tracker.open(options) as tracker:
        for frame in cast(Any, source).frames:
            states.append(tracker.track(frame))
            recording.taps.frame(frame)
            recording.taps.state(states[-1])
    return states


def test_only_a_camera_shows_the_user(home: Path) -> None:
    assert hands_for(live()) == ()
    keep_own_hands(HANDS)
    assert [hand.side for hand in hands_for(live())] == ["left", "right"]
    film = cast(FrameSource, SimpleNamespace(live=False))
    assert hands_for(film) == ()
    paced = PacedSource(film)
    assert paced.live
    assert hands_for(paced) == (), "a film in a window"
    assert len(hands_for(RigSource(live(), (), print))) == 2
    own_hands_path().write_text("{}")
    with pytest.raises(FailedError, match=r"hands\.json: .*measure-hands --forget"):
        hands_for(live())
    assert hands_for(film) == ()


def test_a_session_of_own_hands_replays_the_same_without_their_file(
    home: Path, tmp_path: Path, demo_clip: Path
) -> None:
    keep_own_hands(HANDS)
    source, path = live(demo_clip), tmp_path / "own.mcap"
    states = recorded(path, source, TrackerOptions(own_hands=hands_for(source)))
    seen = [hand for state in states for hand in state.hands]
    assert len(seen) >= COUNT - 2
    for hand in seen:
        bones = HandShape.of(hand.joints, hand.side).bones
        assert bones == pytest.approx(other_hand(hand.side, 1.1).shape.bones, abs=2e-5)
    own_hands_path().unlink()
    with SessionReader(path) as session:
        assert hands_to_json(recorded_options(session).own_hands) == hands_to_json(HANDS)
        report = verify_replay(session, SMALL, (UNDRAWN, UNDRAWN))
        assert report.same, report.text()
        assert report.recorded == {"state": COUNT}
        text = survey_text(survey_session(session))
    assert max(len(line) for line in text.splitlines() if line.startswith("  hands")) < 100
    # Another machine's hands have no say either.
    keep_own_hands((other_hand("left"), other_hand("right", 0.9)))
    with SessionReader(path) as session:
        assert verify_replay(session, SMALL, (UNDRAWN, UNDRAWN)).same


def without_note(path: Path, out: Path, seams: tuple[str, ...] = ("frames", "state")) -> Path:
    """A copy as the sessions of before were: its header says nothing of hands."""
    from sessions.picture_track import PictureOptions
    from sessions.writer import SessionOptions

    options = SessionOptions(PictureOptions(lossless=True), wait_s=30.0, stamped=False)
    with SessionReader(path) as session:
        notes = {name: text for name, text in session.header.notes.items() if name != HANDS_NOTE}
        with SessionWriter(out, replace(session.header, notes=notes), options) as writer:
            for found in session.read(seams):
                writer.write(found.record)
    return out


def test_a_session_from_before_the_fit_is_tracked_as_it_was(
    home: Path, tmp_path: Path, demo_clip: Path
) -> None:
    whole = tmp_path / "whole.mcap"
    recorded(whole, live(demo_clip), TrackerOptions(hand_fit=False))
    old = without_note(whole, tmp_path / "old.mcap")
    with SessionReader(old) as session:
        assert not recorded_options(session).hand_fit
        report = verify_replay(session, SMALL, (UNDRAWN, UNDRAWN))
        assert report.same, report.text()
        assert report.recorded == {"state": COUNT}
    # The check would tell: with a note of fitted hands these states come out otherwise.
    with SessionReader(whole) as session:
        report = verify_replay(session, SMALL, (UNDRAWN, UNDRAWN))
    assert not report.same
    assert "hands" in report.text()
    # Where nothing was tracked, nothing is to be repeated.
    with SessionReader(without_note(whole, tmp_path / "frames.mcap", ("frames",))) as session:
        assert recorded_options(session).hand_fit


def test_a_header_with_damaged_hands_is_refused_in_one_line(tmp_path: Path) -> None:
    for note in ("", "[]", '{"version": 2}', hands_to_json(HANDS).replace("0.0", "1e300", 1)):
        path = tmp_path / "damaged.mcap"
        path.unlink(missing_ok=True)
        header = SessionHeader(0, 1, "a test", "made up", notes={HANDS_NOTE: note})
        SessionWriter(path, header).close()
        with SessionReader(path) as session, pytest.raises(FailedError, match="in its header"):
            recorded_options(session)


class _AskedError(Exception):
    """Instead of a tracker."""


@pytest.mark.parametrize("recording", [False, True])
def test_cameras_are_tracked_with_own_hands_recorded_or_not(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recording: bool
) -> None:
    asked: list[TrackerOptions] = []

    def refuse(_name: str, options: TrackerOptions) -> None:
        asked.append(options)
        raise _AskedError

    monkeypatch.setattr("apps.tracker_choice.open_tracker", refuse)
    keep_own_hands(HANDS)
    preview = PreviewOptions(record=tmp_path / "a.mcap" if recording else None)
    nothing = cast(Any, lambda _mesh, _view, _panels: None)
    with pytest.raises(_AskedError), open_stages(preview, live(), nothing, avatar=nothing):
        pass
    with pytest.raises(_AskedError), ExitStack() as opened:
        Record(tmp_path / "b.mcap")._stages(live(), False, opened)
    for options in asked:
        assert hands_to_json(options.own_hands) == hands_to_json(own_hands())
    assert len(asked) == 2
