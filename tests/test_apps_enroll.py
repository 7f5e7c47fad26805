"""`visavis enroll` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from apps.command import FAILED, USAGE, run
from apps.enrolment_checks import check_pictures, check_tracked
from apps.enrolment_work import PART_FRAMES, EnrolmentWork
from apps.usage import FailedError, UsageError
from apps.video_writer import VideoWriter
from avatar.avatar_file import read_avatar_file
from avatar.consent import SENTENCE
from capture.frame_source import open_source
from streams.tracked_state import TrackedState
from tracking.tracker import Tracker


@pytest.fixture(autouse=True)
def few_evaluated(home: Path, no_screen: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.enrolment_making.EVALUATED_FRAMES", 8)  # of 40: drawing is slow


def quiet(_stage: str, _share: float) -> None:
    """Nobody looks at the progress."""


def shortened(clip: Path, to: Path, frames: int, size: tuple[int, int] | None = None) -> Path:
    """The first frames of a video, or its first frame again and again when `frames` < 0."""
    with open_source(f"video:{clip}") as source:
        first = next(source)
        shown = size or first.camera.size
        with VideoWriter(to, shown, 30.0) as writer:
            frame = first
            for k in range(abs(frames)):
                rgb = frame.rgb if size is None else cv2.resize(frame.rgb, size)
                writer.write(np.ascontiguousarray(rgb, np.uint8), round(k * 1e9 / 30))
                frame = next(source) if frames > 0 else first
    return to


def test_a_video_becomes_an_avatar_that_previews(
    demo_clip: Path, tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = shortened(demo_clip, tmp_path / "me.mp4", 110)
    arguments = ["enroll", str(video), "--name", "me", "--consent", SENTENCE, "--planes", "4"]
    assert run(arguments) == 0
    said = capsys.readouterr().out
    assert "held out, encoded" in said
    assert "preview --avatar me" in said
    file = read_avatar_file(home / "avatars" / "me.visavis")
    assert file.consent.kind == "typed"
    assert file.report["held_out"]["encoded"]["psnr_db"] > 25.0
    page = (home / "avatars" / "me.html").read_text()
    assert page.count("<img") >= 3
    assert "the video covers" in said
    assert page.count("not enough") >= 3
    assert list((home / "enrolling" / "me").glob("clip-00/part-*.npz"))
    learning = cv2.imread(str(home / "enrolling" / "me" / "preview.png"))
    assert learning is not None
    video_side, avatar_side = np.split(learning.astype(float), 2, axis=1)
    # About the middle of the face the avatar so far is like the video.
    height, width = video_side.shape[:2]
    middle = (slice(height * 2 // 5, height * 3 // 5), slice(width * 9 // 20, width * 11 // 20))
    assert np.abs(video_side[middle] - avatar_side[middle]).mean() < 25.0
    out = tmp_path / "shown.mp4"
    source = f"video:{video}"
    shown = ["preview", "--source", source, "--avatar", "me", "--out", str(out), "--seconds", "0.3"]
    assert run([*shown, "--size", "96x96"]) == 0
    assert out.stat().st_size > 1000


def test_without_consent_nothing_is_made(
    demo_clip: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["enroll", str(demo_clip), "--name", "me"]) == USAGE
    assert SENTENCE in capsys.readouterr().err
    assert run(["enroll", str(demo_clip), "--name", "me", "--consent", "ok"]) == USAGE
    assert run(["enroll", str(demo_clip), "--name", "../me", "--consent", SENTENCE]) == USAGE
    assert run(["enroll", "absent.mp4", "--name", "me", "--consent", SENTENCE]) == USAGE
    assert not home.exists()


def test_videos_that_cannot_become_avatars(
    demo_clip: Path, make_video, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def complaint(video: Path) -> str:
        assert run(["enroll", str(video), "--name", "me", "--consent", SENTENCE]) == FAILED
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert "Traceback" not in said
        return said

    assert "no face" in complaint(make_video(frames=5))
    assert "at least" in complaint(shortened(demo_clip, tmp_path / "short.mp4", 40))
    assert "photograph" in complaint(shortened(demo_clip, tmp_path / "still.mp4", -90))


def test_pictures_are_looked_at_closely(demo_clip: Path, tmp_path: Path) -> None:
    with open_source(f"video:{demo_clip}") as source, Tracker.open() as tracker:
        frame = next(source)
        face = tracker.track(frame).face
    assert face is not None
    check_pictures([(0, frame, face)])
    from dataclasses import replace

    blurred = np.asarray(cv2.GaussianBlur(frame.rgb, (0, 0), 14.0), np.uint8)
    with pytest.raises(FailedError, match="blurred"):
        check_pictures([(0, replace(frame, rgb=blurred), face)])
    small = shortened(demo_clip, tmp_path / "small.mp4", 6, (96, 96))
    with open_source(f"video:{small}") as source, Tracker.open() as tracker:
        tiny = next(source)
        seen = tracker.track(tiny).face
    assert seen is not None
    with pytest.raises(FailedError, match="pixels wide"):
        check_pictures([(0, tiny, seen)])
    two = np.concatenate([frame.rgb, frame.rgb], axis=1)
    camera = replace(frame.camera, size=(two.shape[1], two.shape[0]))
    with pytest.raises(FailedError, match="more than one face"):
        check_pictures([(0, replace(frame, rgb=two, camera=camera), face)])
    with pytest.raises(FailedError, match="no face"):
        check_tracked([TrackedState(0, "camera", None)] * 90)


def test_an_interrupted_tracking_goes_on(
    demo_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = shortened(demo_clip, tmp_path / "me.mp4", PART_FRAMES + 12)
    work = EnrolmentWork.read(tmp_path / "work")
    work.begin_with(video)

    def stop_late(_stage: str, share: float) -> None:
        if share > (PART_FRAMES + 2) / (PART_FRAMES + 12):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work.track(stop_late)
    work = EnrolmentWork.read(work.folder)
    work.go_on_with(video)
    tracked: list[int] = []
    plain = Tracker.track
    monkeypatch.setattr(
        Tracker, "track", lambda self, frame: (tracked.append(frame.seq), plain(self, frame))[1]
    )
    [states] = work.track(quiet)
    assert len(states) == PART_FRAMES + 12
    assert tracked[0] == PART_FRAMES  # nothing twice
    assert states[3].face is not None
    tracked.clear()
    assert len(work.track(quiet)[0]) == PART_FRAMES + 12
    assert not tracked
    (work.folder / "clip-00" / "part-0000.npz").write_bytes(b"cut")
    assert len(work.track(quiet)[0]) == PART_FRAMES + 12
    assert tracked[0] == 0
    other = shortened(demo_clip, tmp_path / "other.mp4", 4)
    with pytest.raises(UsageError, match="--resume"):
        work.go_on_with(other)
    work.begin_with(other)
    assert not list(work.folder.glob("clip-*/part-*"))
