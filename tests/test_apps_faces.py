"""`--faces`: the hands of who sits beside you, in what is recorded and in what is replayed."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.command import run
from apps.preview_options import PreviewOptions
from apps.replay_stages import ReplayOptions
from apps.replay_verification import verify_replay
from apps.stream_options import StreamOptions
from apps.tracker_choice import recorded_options
from apps.usage import UsageError
from apps.video_writer import VideoWriter
from benchmarks.film_frames import frames
from sessions.reader import SessionReader
from streams.tracked_state import TrackedState
from tests.test_apps_replay import UNDRAWN
from tests.test_tracking_subject import WAVING, two_people


@pytest.fixture(scope="module")
def neighbours(demo_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of somebody calm, and of somebody who waves with both hands, 0.6 m beside."""
    pictures = frames(demo_clip, 200)
    path = tmp_path_factory.mktemp("neighbours") / "two.mp4"
    height, width = pictures[0].shape[:2]
    with VideoWriter(path, (2 * width, height), 30.0) as writer:
        for k, waving in enumerate(pictures[WAVING]):
            writer.write(two_people(pictures[0], waving, 1.0, 0.9), k * 33_333_333)
    return path


def recorded(video: Path, out: Path, *options: str) -> list[TrackedState]:
    told = ["record", str(out), "--source", f"video:{video}", "--seams", "frames,state"]
    assert run([*told, "--lossless", "--tracker", "litert", *options]) == 0
    with SessionReader(out) as session:
        return [r.record for r in session.read(("state",)) if isinstance(r.record, TrackedState)]


def test_a_neighbours_hands_are_not_recorded_as_yours(neighbours: Path, tmp_path: Path) -> None:
    alone = recorded(neighbours, tmp_path / "one.mcap")
    assert all(len(state.hands) == 2 for state in alone), "who follows one face takes them"
    path = tmp_path / "two.mcap"
    both = recorded(neighbours, path, "--faces", "2")
    assert all(state.face is not None and not state.hands for state in both)
    with SessionReader(path) as session:
        assert session.header.notes["faces"] == "2"
        assert recorded_options(session).faces == 2
        report = verify_replay(session, ReplayOptions(size=(96, 96)), (UNDRAWN, UNDRAWN))
    assert report.same, report.text()
    assert report.recorded == {"state": len(both)}


def test_a_stream_tracks_as_it_is_told() -> None:
    shown = StreamOptions(source="synthetic:still", tracker="openvino", faces=3).shown()
    assert (shown.tracker, shown.faces) == ("openvino", 3)


@pytest.mark.parametrize(
    ("faces", "tracker", "says"),
    [
        (0, "litert", "--faces 0: expected 1 to 6"),
        (7, "auto", "--faces 7: expected 1 to 6"),
        (2, "mediapipe", "--faces 2: expected 1 with --tracker mediapipe"),
    ],
)
def test_other_numbers_of_faces_are_refused(
    faces: int, tracker: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match=says):
        PreviewOptions("synthetic:still", tracker=tracker, faces=faces).check()
    out = tmp_path / "a.mcap"
    told = ["record", str(out), "--source", "synthetic:still", "--faces", str(faces)]
    assert run([*told, "--tracker", tracker]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_several_cameras_tell_hands_apart_by_themselves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ("video:left.mp4", "video:right.mp4")
    rig = str(tmp_path / "rig.json")
    says = "--faces 2: expected 1 with several cameras"
    with pytest.raises(UsageError, match=says):
        PreviewOptions(both[0], faces=2, more_sources=both[1:], rig=rig).check()
    told = ["record", str(tmp_path / "a.mcap"), "--source", both[0], "--more-sources", both[1]]
    assert run([*told, "--rig", rig, "--faces", "2"]) == 2
    assert says in capsys.readouterr().err


def test_a_session_of_two_faces_is_not_replayed_by_mediapipe(
    neighbours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "two.mcap"
    recorded(neighbours, path, "--faces", "2")
    capsys.readouterr()
    told = ["replay", str(path), "--from", "frames", "--out", str(tmp_path / "again.mcap")]
    assert run([*told, "--tracker", "mediapipe"]) == 2
    said = capsys.readouterr().err
    assert "--tracker mediapipe: follows one face, but" in said
    assert "two.mcap was recorded with --faces 2" in said
