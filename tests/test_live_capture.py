"""Recording in front of the camera: what is on disk at every moment, and what is shown."""

from __future__ import annotations

import io
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apps.camera_take import CameraTake, TakeWriter
from apps.capture_picture import WIDTH, capture_picture
from apps.capture_view import TerminalView
from apps.command import FAILED, run
from apps.enrolment_work import EnrolmentWork
from apps.live_capture import capture_take, covered_by, prove_live, unfinished
from apps.sources import open_synthetic
from apps.usage import FailedError
from avatar.enrolment.coverage import Coverage
from avatar.enrolment.guide import Guide, GuideStep, Prompt
from avatar.enrolment.liveness import CHALLENGES
from capture.frame_source import FrameSource
from capture.scenes import open_scene
from capture.synthetic import SyntheticOptions
from streams.camera import Camera
from streams.frame import Frame
from streams.tracked_state import TrackedState
from tracking.tracker import Tracker, TrackerOptions

CAMERA = Camera.from_fov((64, 48), name="test")
MAIN = [sys.executable, "-c", "from apps.command import main; main()"]


def moments(count: int, begin_ns: int = 5_000_000_000_000) -> Iterator[tuple[Frame, TrackedState]]:
    scene = open_scene("still")
    for k in range(count):
        t_ns = begin_ns + k * 40_000_000
        rgb = np.full((48, 64, 3), 40 + k, np.uint8)
        yield Frame(t_ns, k, CAMERA, rgb), replace(scene.state_at(k), t_ns=t_ns)


def test_a_killed_recording_has_lost_a_second_at_most(tmp_path: Path) -> None:
    writer = TakeWriter(tmp_path / "take", CAMERA, False, 25.0)
    for frame, state in moments(64):
        writer.add(frame, state)
    # Not closed: as a kill leaves it.
    take = CameraTake(tmp_path / "take")
    assert 64 - len(take.states()) <= 25
    assert len(list(take.frames())) == len(take.states()) == 50
    writer.close()
    writer.close()
    states, frames = take.states(), list(take.frames())
    assert len(states) == len(frames) == 64
    assert all(f.t_ns == s.t_ns for f, s in zip(frames, states, strict=True))
    assert [f.seq for f in frames] == list(range(64))
    assert abs(int(frames[40].rgb.mean()) - 80) <= 2
    assert not take.finished
    take.finish()
    assert take.finished
    assert frames[0].camera.focal[0] == pytest.approx(CAMERA.focal[0])


def test_recordings_are_their_owners_alone(tmp_path: Path) -> None:
    with TakeWriter(tmp_path / "take", CAMERA, False, 25.0) as writer:
        for frame, state in moments(30):
            writer.add(frame, state)
    assert stat.S_IMODE((tmp_path / "take").stat().st_mode) == 0o700
    files = list((tmp_path / "take").iterdir())
    assert len(files) == 5
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_part_that_lost_pictures_is_told(tmp_path: Path) -> None:
    with TakeWriter(tmp_path / "take", CAMERA, False, 25.0) as writer:
        for frame, state in moments(30):
            writer.add(frame, state)
    (tmp_path / "take" / "part-0001.mp4").write_bytes(
        (tmp_path / "take" / "part-0000.mp4").read_bytes()[:0]
    )
    with pytest.raises((FailedError, OSError), match=r"part-0001\.mp4"):
        list(writer.take.frames())


def test_doubled_frames_of_a_driver_are_taken_once(tmp_path: Path) -> None:
    with TakeWriter(tmp_path / "take", CAMERA, False, 25.0) as writer:
        for frame, state in moments(5):
            writer.add(frame, state)
            again = frame.t_ns + 1
            writer.add(replace(frame, t_ns=again), replace(state, t_ns=again))
    assert len(writer.take.states()) == len(list(writer.take.frames())) == 5


FILL = """
import sys
from pathlib import Path
import numpy as np
from apps.camera_take import CameraTake, TakeWriter
from apps.usage import FailedError
from streams.camera import Camera
from streams.frame import Frame
from streams.tracked_state import TrackedState
camera = Camera.from_fov((320, 240), name="test")
rng = np.random.default_rng(0)
folder = Path(sys.argv[1]) / "take"
try:
    with TakeWriter(folder, camera, False, 25.0) as writer:
        for k in range(500):
            rgb = rng.integers(0, 255, (240, 320, 3), np.uint8)
            writer.add(Frame(k * 40_000_000, k, camera, rgb), TrackedState(k * 40_000_000, "test"))
except FailedError as error:
    print(error)
take = CameraTake(folder)
print(len(take.states()), len(list(take.frames())))
"""


def test_a_disk_that_fills_up_while_recording(tmp_path: Path, root: Path) -> None:
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespaces here (unshare -rm), so no small disk can be mounted")
    script = 'mount -t tmpfs -o size=6m none "$1" && shift && exec "$@" "$0"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, str(tmp_path), str(tmp_path), sys.executable, "-c",
         FILL],
        cwd=root, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    told, counted = done.stdout.splitlines()
    assert "No space left" in told
    assert "--resume" in told
    states, frames = map(int, counted.split())
    assert states == frames >= 25


class Nobody:
    """A view that nobody looks at, which stops at a frame."""

    said = ""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at, self.steps = stop_at, list[GuideStep]()

    def show(self, frame: Frame, step: GuideStep, coverage: Coverage) -> bool:
        self.steps.append(step)
        return self.stop_at is None or len(self.steps) < self.stop_at

    def say(self, text: str) -> None:
        self.said = text

    def show_learning(self, rgb: np.ndarray) -> bool:
        return False


def filmed(scene: str, fps: float = 8.0) -> FrameSource:
    camera = Camera.from_fov((256, 256), name=f"synthetic {scene}")
    return open_synthetic(scene, SyntheticOptions(camera, fps))


def test_a_synthetic_person_is_guided_to_the_end(tmp_path: Path) -> None:
    """From pictures: drawn, tracked, recorded; two requests, the rest of the script is tested on
    truth."""
    script = (Prompt("Rest", ("front",)), Prompt("Turn left", ("turn_left",)))
    from avatar.enrolment.guide import GuideOptions

    guide, view = Guide(script=script, options=GuideOptions(least_s=5.0)), Nobody()
    with filmed("guided") as source, Tracker.open(TrackerOptions(hands=0)) as tracker:
        writer = TakeWriter(tmp_path / "take", source.camera, False, source.fps)
        assert capture_take(source, tracker, guide, view, writer)
    shown = list(dict.fromkeys(step.text for step in view.steps))
    assert shown == ["Rest", "Turn left", "Done"]
    assert Coverage.of(writer.take.states()).share("turn_left") == 1.0
    picture = capture_picture(next(writer.take.frames()), view.steps[-1], guide.coverage)
    assert picture.shape[1:] == (WIDTH, 3)


def test_what_was_recorded_before_a_stop_counts(tmp_path: Path) -> None:
    work = EnrolmentWork.read(tmp_path / "work")
    with filmed("guided") as source, Tracker.open(TrackerOptions(hands=0)) as tracker:
        writer = TakeWriter(work.next_take(), source.camera, False, source.fps)
        work.add_take(writer.take)
        assert not capture_take(source, tracker, Guide(), Nobody(stop_at=44), writer)
    again = EnrolmentWork.read(work.folder)
    assert unfinished(again) is not None
    assert covered_by(again).share("turn_left") == 1.0
    assert again.next_take() != writer.take.folder
    with pytest.raises(ValueError, match="--resume"):
        again.begin_with(tmp_path / "any.mp4")  # a recording is never lost to a forgotten flag


def test_the_terminal_tells_each_request_once() -> None:
    out = io.StringIO()
    view, coverage = TerminalView(out), Coverage.of([])
    frame = next(moments(1))[0]
    for step in (
        GuideStep("Smile", 0.0), GuideStep("Smile", 0.5), GuideStep("Smile", 1.0, fulfilled=True),
        GuideStep("Smile", 1.0, fulfilled=True), GuideStep("Frown", 0.0, hint="come closer"),
    ):  # fmt: skip
        assert view.show(frame, step, coverage)
    assert out.getvalue().splitlines() == ["> Smile", "  good", "> Frown (come closer)"]


def test_the_mirror_and_the_meter_are_drawn() -> None:
    rgb = np.zeros((90, 160, 3), np.uint8)
    rgb[:, :80, 0] = 255  # red where the person's right hand is
    frame = Frame(0, 0, Camera.from_fov((160, 90)), rgb)
    picture = capture_picture(frame, GuideStep("Smile", 0.5), Coverage())
    assert picture[20, 20, 0] < 60  # mirrored: red is on the right
    assert picture[20, 600, 0] > 200
    turned = capture_picture(replace(frame, mirrored=True), GuideStep("Smile", 0.5), Coverage())
    assert turned[20, 20, 0] > 200
    covered = capture_picture(frame, GuideStep("Smile", 0.5), Coverage.of(_all_shown()))
    assert (covered[:, 700:, 1] > 180).sum() > 2 * (picture[:, 700:, 1] > 180).sum()


def test_learning_is_painted_over_the_head_alone() -> None:
    from avatar.enrolment.learning_picture import DIMMED, LearningPicture

    rgb = np.full((100, 120, 3), 200, np.uint8)
    y, x = np.mgrid[30:70:2, 40:80:2]
    places = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
    seen = np.ones(len(places), np.float32)
    seen[:5] = 0.0
    moment = LearningPicture(0, rgb, places, seen)
    texels = np.arange(len(places))
    colours = np.tile(np.array([10.0, 90.0, 30.0], np.float32), (len(places), 1))
    picture = moment.beside(texels, colours)
    width = picture.shape[1] // 2
    assert picture.shape[0] < 100
    assert (picture[:, :width] == 200).all()
    ours = picture[:, width:].astype(int)
    assert tuple(ours[ours.shape[0] // 2, width // 2]) == (10, 90, 30)
    assert abs(ours[0, 0] - DIMMED * 200).max() <= 1


def _all_shown() -> list[TrackedState]:
    scene = open_scene("guided")
    return [scene.state_at(k * 33_333_333) for k in range(1500)]


@pytest.mark.slow
@pytest.mark.usefixtures("no_screen")
def test_a_killed_capture_goes_on(home: Path, root: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["enroll", "synthetic:guided", "--name", "me", "--synthetic"]
    process = subprocess.Popen(
        [*MAIN, *arguments], cwd=root, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        env={k: v for k, v in os.environ.items() if k != "DISPLAY"},
    )  # fmt: skip
    folder = home / "enrolling" / "me"
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and not list(folder.glob("clip-00/part-0001.npz")):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    work = EnrolmentWork.read(folder)
    before = len(list(work.clips[0].frames()))
    assert before >= 58  # two parts of a second
    assert run(arguments) == 2  # never without --resume: the recording would be lost
    assert "--resume" in capsys.readouterr().err
    assert len(list(work.clips[0].frames())) == before


@pytest.mark.usefixtures("no_screen")
def test_an_unplugged_camera_keeps_what_was_recorded(
    home: Path, demo_clip: Path, capsys: pytest.CaptureFixture
) -> None:
    """A file read as a camera ends as a camera does whose plug is pulled."""
    from avatar.consent import SENTENCE

    spec = f"webcam:{demo_clip}"
    assert run(["enroll", spec, "--name", "me", "--consent", SENTENCE]) == FAILED
    assert "unplugged" in capsys.readouterr().err  # before anything was recorded
    assert run(["enroll", spec, "--name", "me", "--synthetic"]) == FAILED
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "unplugged" in said
    assert "--resume" in said
    assert "Traceback" not in said


def test_a_face_that_does_nothing_is_no_living_person() -> None:
    view = Nobody()
    with (
        filmed("still") as source,
        Tracker.open(TrackerOptions(hands=0)) as tracker,
        pytest.raises(FailedError, match=r"no living person.*no more pictures"),
    ):
        prove_live(source, tracker, view)
    # Two thirds of a second at rest, then a request.
    assert view.steps[0].text == "Look into the camera and wait"
    assert view.steps[-1].text in {one.text for one in CHALLENGES.values()}


def test_a_living_person_gets_three_attempts() -> None:
    view, orders = Nobody(), iter([("turn_right",), ("turn_right",)])
    with filmed("guided") as source, Tracker.open(TrackerOptions(hands=0)) as tracker:
        # The scene turns to the left, to the right, then nods.
        assert prove_live(source, tracker, view, lambda: next(orders)) == ("turn_right",)
    assert "once more" in view.said
