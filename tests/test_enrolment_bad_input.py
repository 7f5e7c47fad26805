"""Videos that are no good, disks that are full, processes that are killed: one clear line each, and
nothing that was there is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from apps.command import FAILED, USAGE, run
from apps.enrolment_checks import check_pictures, check_tracked, sampled_rows, without_company
from apps.enrolment_work import EnrolmentWork, VideoClip
from apps.usage import FailedError, UsageError
from apps.video_writer import VideoWriter
from avatar.avatar_file import read_avatar_file
from avatar.consent import SENTENCE
from capture.frame_source import open_source
from capture.scenes import open_scene
from streams.rigid import Rigid
from streams.tracked_state import TrackedState
from tracking.tracker import Tracker

MAIN = [sys.executable, "-c", "from apps.command import main; main()"]


@pytest.fixture(autouse=True)
def few_evaluated(home: Path, no_screen: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.enrolment_making.EVALUATED_FRAMES", 8)  # of 40: drawing is slow


def rewritten(clip: Path, to: Path, frames: int, change=lambda rgb: rgb, skip: int = 0) -> Path:
    """Some frames of a video, each changed."""
    with open_source(f"video:{clip}") as source:
        pictures = [change(frame.rgb) for frame, _ in zip(source, range(skip + frames))][skip:]  # noqa: B905
    height, width = pictures[0].shape[:2]
    with VideoWriter(to, (width, height), 30.0) as writer:
        for k, rgb in enumerate(pictures):
            writer.write(np.ascontiguousarray(rgb), round(k * 1e9 / 30))
    return to


def grey(rgb: np.ndarray) -> np.ndarray:
    return np.repeat(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)


def enroll(video: Path, *more: str) -> list[str]:
    return [
        "enroll", str(video), "--name", "me", "--consent", SENTENCE, "--planes", "4", *more
    ]  # fmt: skip


def complaint(capsys: pytest.CaptureFixture[str], code: int, arguments: list[str]) -> str:
    capsys.readouterr()
    assert run(arguments) == code
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("visavis:")]
    assert len(said) == 1
    assert "unexpected" not in said[0]
    return said[0]


def faces(seconds: float, leap_at: int | None = None) -> list[TrackedState]:
    """A talking person's states; from a row on the head is elsewhere."""
    scene, states = open_scene("demo"), []
    for k in range(int(seconds * 30)):
        state = scene.state_at(round(k * 1e9 / 30))
        assert state.face is not None
        if leap_at is not None and k >= leap_at:
            at = state.face.world_from_head
            moved = Rigid(at.wxyz, at.xyz + np.array([0.35, 0.0, 0.0]))
            state = replace(state, face=replace(state.face, world_from_head=moved))
        states.append(state)
    return states


def test_moments_with_somebody_else_are_left_out() -> None:
    states = faces(10.0)
    looked = sampled_rows(states)
    assert len(looked) == 10
    alone = without_company(states, looked, looked[4:6])
    gone = [k for k, state in enumerate(alone) if state.face is None]
    assert gone == list(range(looked[3] + 1, looked[6]))  # up to the looks that saw one face
    assert all(state.face is not None for state in without_company(states, looked, []))


def test_tracking_that_goes_over_to_a_second_person_is_refused() -> None:
    states = faces(10.0, leap_at=140)
    looked = sampled_rows(states)
    assert looked[4] < 140 < looked[5]
    with pytest.raises(FailedError, match=r"second person.* at 4\.7 s"):
        without_company(states, looked, [looked[4]])
    # Without another face in the picture it is one person who moved the chair.
    without_company(states, looked, [])


def test_a_second_person_who_enters_later_is_seen(demo_clip: Path, tmp_path: Path) -> None:
    wide: list[np.ndarray] = []

    def beside(rgb: np.ndarray) -> np.ndarray:
        wide.append(rgb)
        other = rgb[:, ::-1] if len(wide) > 12 else np.full_like(rgb, 90)
        return np.concatenate([rgb, other], axis=1)

    video = rewritten(demo_clip, tmp_path / "two.mp4", 16, beside)
    with open_source(f"video:{video}") as source, Tracker.open() as tracker:
        moments = [(frame.seq, frame, tracker.track(frame).face) for frame in source]
    looked = [m for m in moments if m[0] in (0, 2, 4, 6, 8, 14)]
    assert check_pictures([(k, f, face) for k, f, face in looked if face is not None]) == [14]


def test_small_is_refused_and_a_large_face_in_160_pixels_is_not(
    demo_clip: Path, tmp_path: Path
) -> None:
    def check(change) -> list[int]:
        video = rewritten(demo_clip, tmp_path / "small.mp4", 3, change)
        with open_source(f"video:{video}") as source, Tracker.open() as tracker:
            seen = [(frame.seq, frame, tracker.track(frame).face) for frame in source]
        return check_pictures([(k, f, face) for k, f, face in seen if face is not None])

    def small(rgb: np.ndarray) -> np.ndarray:
        return cv2.resize(rgb, (160, 160 * rgb.shape[0] // rgb.shape[1]))

    with pytest.raises(FailedError, match="pixels wide"):
        check(small)
    side = demo_side(demo_clip)
    assert check(lambda rgb: small(rgb[side])) == []


def demo_side(clip: Path) -> tuple[slice, slice]:
    """About the face in the clip's first frame, four thirds as wide as the face is."""
    with open_source(f"video:{clip}") as source, Tracker.open() as tracker:
        frame = next(source)
        face = tracker.track(frame).face
    assert face is not None
    from streams.projection import project

    marks, _ = project(frame.camera, face.world_from_head.apply(face.landmarks.astype(np.float64)))
    middle, half = marks.mean(0).astype(int), int(0.9 * np.ptp(marks[:, 0]))
    low = np.maximum(middle - half, 0)
    return slice(low[1], low[1] + 2 * half), slice(low[0], low[0] + 2 * half)


def test_few_faces_are_explained() -> None:
    seen = faces(1.0)
    gone = [replace(state, face=None) for state in faces(2.0)]
    with pytest.raises(FailedError, match=r"30 of 30 frames.*good avatar\)$"):
        check_tracked(seen)
    with pytest.raises(FailedError, match=r"30 of 90 frames.*blurred, dark"):
        check_tracked([*seen, *gone])


def test_flags_say_what_is_meant(
    home: Path, demo_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "leave --add out" in complaint(capsys, USAGE, enroll(demo_clip, "--add"))
    assert "one of" in complaint(capsys, USAGE, enroll(demo_clip, "--add", "--resume"))
    video = rewritten(demo_clip, tmp_path / "me.mp4", 3)
    work = EnrolmentWork.read(home / "enrolling" / "me")
    work.begin_with(video)
    other = rewritten(demo_clip, tmp_path / "other.mp4", 4)
    assert "--add" in complaint(capsys, USAGE, enroll(other, "--resume"))
    work.add_video(other)
    work.add_video(other)
    copy = Path(shutil.copy(other, tmp_path / "copy.mp4"))
    work.add_video(copy)  # the same bytes under another name
    assert [clip.name for clip in EnrolmentWork.read(work.folder).clips] == [str(video), str(other)]
    video.unlink()
    assert "put it back" in complaint(capsys, FAILED, enroll(other, "--resume"))
    video.write_bytes(b"another")
    assert "put it back" in complaint(capsys, FAILED, enroll(other, "--add"))
    (work.folder / "clips.json").write_text("{")
    assert "--anew" in complaint(capsys, FAILED, enroll(other, "--resume"))


def test_a_cut_file_is_used_as_far_as_it_goes(demo_clip: Path, tmp_path: Path) -> None:
    whole = rewritten(demo_clip, tmp_path / "whole.mp4", 60)
    indexed, cut = tmp_path / "indexed.mp4", tmp_path / "cut.mp4"
    with (
        av.open(str(whole)) as old,
        av.open(str(indexed), "w", options={"movflags": "faststart"}) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    data = indexed.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    work = EnrolmentWork.read(tmp_path / "work")
    work.begin_with(whole)
    work.add_video(cut)
    states = work.track(lambda _stage, _share: None)
    clips = [clip for clip in work.clips if isinstance(clip, VideoClip)]
    assert [clip.damaged() for clip in clips] == [False, True]
    assert 0 < len(states[1]) < 60 == len(states[0])


FULL = """
set -e
mount -t tmpfs -o size={kib}k none {home}
exec "$@"
"""


@pytest.mark.slow
def test_a_full_disk_loses_nothing(demo_clip: Path, tmp_path: Path, root: Path, home: Path) -> None:
    """A real one: a tmpfs of a megabyte in a mount namespace of its own, 155 tracked frames."""
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespaces here (unshare -rm), so no small disk can be mounted")
    video = rewritten(demo_clip, tmp_path / "me.mp4", 160)
    home.mkdir()
    script = FULL.format(kib=600, home=home)
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *MAIN, *enroll(video)],
        cwd=root, capture_output=True, text=True, timeout=200, check=False,
        env={**os.environ, "VISAVIS_HOME": str(home)},
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if line.startswith("visavis:")]
    assert done.returncode == FAILED, done.stderr
    assert len(said) == 1
    assert "No space left" in said[0]
    assert "--resume" in said[0]


@pytest.mark.slow
def test_killed_then_resumed_then_refined_with_a_grey_video(
    home: Path, demo_clip: Path, tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed in learning; then --resume tracks nothing again, learns and writes; then --add."""
    video = rewritten(demo_clip, tmp_path / "me.mp4", 90)
    process = subprocess.Popen(
        [*MAIN, *enroll(video)], cwd=root, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "unwrapping" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.wait(30)
    process.stderr.close()
    work = EnrolmentWork.read(home / "enrolling" / "me")
    parts = {file: file.stat().st_mtime_ns for file in work.folder.glob("clip-00/*")}
    assert len(parts) == 2
    avatar = home / "avatars" / "me.visavis"
    assert not avatar.exists()

    more = rewritten(
        demo_clip, tmp_path / "more.mp4", 80, lambda rgb: cv2.resize(grey(rgb), (320, 240)), 120
    )
    assert complaint(capsys, USAGE, enroll(more, "--resume"))
    assert run(enroll(more, "--add")) == 0
    said = capsys.readouterr().out
    assert "held out, encoded" in said
    assert {file: file.stat().st_mtime_ns for file in parts} == parts
    file = read_avatar_file(avatar)
    assert file.report["frames"] == 170
    before = avatar.read_bytes()

    empty = tmp_path / "empty.mp4"
    with VideoWriter(empty, (160, 120), 30.0) as writer:
        for k in range(5):
            writer.write(np.full((120, 160, 3), 80, np.uint8), round(k * 1e9 / 30))
    assert "it was not added" in complaint(capsys, FAILED, enroll(empty, "--add"))
    assert avatar.read_bytes() == before
    assert len(EnrolmentWork.read(work.folder).clips) == 2
    with pytest.raises(UsageError, match="--resume"):
        EnrolmentWork.read(work.folder).go_on_with(empty)
