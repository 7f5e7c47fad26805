"""What is learned is kept stage by stage: killed at any point, an enrolment goes on from there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from apps.command import FAILED, run
from apps.enrolment_lock import EnrolmentLock
from apps.enrolment_work import EnrolmentWork
from apps.usage import FailedError
from apps.video_writer import VideoWriter
from avatar.avatar_file import read_avatar_file
from avatar.consent import SENTENCE
from avatar.enrolment.learning_picture import LearningPicture
from avatar.enrolment.learning_stages import LearningStages
from avatar.enrolment.stored_tree import StoredTreeError, read_tree, write_tree
from avatar.unwrapping import TexelTable
from capture.frame_source import open_source

VERB = (
    "from apps.command import main\n"
    "import apps.enrolment_making as making\n"
    "making.EVALUATED_FRAMES = 4\n"
    "main()\n"
)
"""A process of its own: the last bits of a product depend on BLAS's threads, which only the command
can hold to one."""
HOLD = """
import sys, time
from pathlib import Path
from apps.enrolment_lock import EnrolmentLock
with EnrolmentLock(Path(sys.argv[1]), "me"):
    print("held", flush=True)
    time.sleep(60)
"""


# -- values on disk -------------------------------------------------------------------------------


def table() -> TexelTable:
    rng = np.random.default_rng(3)
    at = sparse.csr_array(np.where(rng.random((5, 7)) < 0.3, rng.random((5, 7)), 0.0))
    names = np.array(["head", "neck", "head", "eye", "cloth"])
    return TexelTable(64, np.arange(5), np.arange(5)[::-1], names, at)


def test_a_value_is_read_back_to_the_last_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    turned = np.asfortranarray(rng.standard_normal((4, 3)).astype(np.float32))
    seen = np.array([0.1, np.nan], np.float32)
    picture = LearningPicture(3, np.zeros((2, 2, 3), np.uint8), turned, seen)
    value = ((table(), picture), [1, 2.5, None, "x", True], {"a": turned}, slice(2, None))
    write_tree(tmp_path / "one.npz", value)
    (found, shown), plain, named, part = read_tree(tmp_path / "one.npz")
    assert type(found) is TexelTable
    assert (found.size, plain, part) == (64, [1, 2.5, None, "x", True], slice(2, None))
    np.testing.assert_array_equal(found.regions, value[0][0].regions)
    np.testing.assert_array_equal(found.at_vertices.toarray(), value[0][0].at_vertices.toarray())
    assert shown.places.tobytes("A") == turned.tobytes("A")
    assert shown.places.flags.f_contiguous
    assert shown.places is named["a"]  # shared, as it was
    np.testing.assert_array_equal(shown.seen, seen)
    assert (tmp_path / "one.npz").stat().st_mode & 0o777 == 0o600
    with pytest.raises(StoredTreeError, match="records of"):
        write_tree(tmp_path / "two.npz", lambda: 0)
    assert [file.name for file in tmp_path.iterdir()] == ["one.npz"]


def test_files_that_nobody_wrote_make_nothing(tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    for module, name in (("os", "system"), ("apps.command", "run"), ("avatar.absent", "X")):
        tree = {"class": [module, name], "fields": {}}
        np.savez(path, tree=np.array(json.dumps(tree)))
        with pytest.raises(StoredTreeError, match=r"one\.npz"):
            read_tree(path)
    write_tree(path, np.arange(10_000))
    whole = path.read_bytes()
    for data in (b"", whole[: len(whole) // 2], whole[:2000] + b"\x55" + whole[2001:]):
        path.write_bytes(data)
        with pytest.raises(StoredTreeError, match="cannot be read"):
            read_tree(path)


# -- stages ---------------------------------------------------------------------------------------


@dataclass
class Work:
    """Counts what is done."""

    done: Counter[str]

    def parts(self, stages: LearningStages) -> np.ndarray:
        first = stages.once("first", self.first)(3)
        return stages.once("second", self.second)(first)

    def first(self, size: int) -> np.ndarray:
        self.done["first"] += 1
        return np.arange(size * 2.0).reshape(size, 2).T

    def second(self, first: np.ndarray) -> np.ndarray:
        self.done["second"] += 1
        return first * 2.0


def test_stages_are_done_once_and_parts_go_when_the_whole_is_there(tmp_path: Path) -> None:
    work = Work(Counter())
    for _ in range(2):
        stages = LearningStages.kept(tmp_path / "learning", "key")
        made = stages.once("all", work.parts)(stages.part("all"))
        np.testing.assert_array_equal(made, [[0.0, 4.0, 8.0], [2.0, 6.0, 10.0]])
    assert work.done == {"first": 1, "second": 1}
    assert [file.name for file in stages.folder.iterdir()] == ["all.npz"]  # pyright: ignore
    (tmp_path / "learning" / "key" / "all.npz").write_bytes(b"cut")
    stages.once("all", work.parts)(stages.part("all"))
    assert work.done == {"first": 2, "second": 2}
    other = LearningStages.kept(tmp_path / "learning", "other")  # learned from something else
    assert [folder.name for folder in (tmp_path / "learning").iterdir()] == ["other"]
    other.clear()
    assert not (tmp_path / "learning").exists()
    plain = LearningStages()
    plain.once("all", work.parts)(plain.part("all"))
    assert work.done["first"] == 3


def test_without_room_learning_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    stages = LearningStages.kept(tmp_path / "learning", "key", said.append)

    def full(path: Path, value: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("avatar.enrolment.learning_stages.write_tree", full)
    work = Work(Counter())
    stages.once("all", work.parts)(stages.part("all"))
    assert len(said) == 3
    assert all("no room" in line for line in said)


# -- one at a time --------------------------------------------------------------------------------


def test_a_name_is_made_by_one_process_and_a_dead_one_holds_nothing(
    tmp_path: Path, root: Path
) -> None:
    folder = tmp_path / "me"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], cwd=root, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "held"
        with (
            pytest.raises(FailedError, match=rf"named me .* process {holder.pid} .* since"),
            EnrolmentLock(folder, "me"),
        ):
            pass
        with EnrolmentLock(tmp_path / "other", "other"):
            pass
    finally:
        holder.kill()
        holder.wait(30)
        if holder.stdout is not None:
            holder.stdout.close()
    with EnrolmentLock(folder, "me"):  # taken over
        assert str(os.getpid()) in (folder / "lock").read_text()
        with pytest.raises(FailedError, match="--resume"), EnrolmentLock(folder, "me"):
            pass


# -- a real enrolment -----------------------------------------------------------------------------


def killed_at(root: Path, arguments: list[str], stage: str, which: int) -> list[str]:
    """The stages that a run says, until it is killed at the n-th of that name."""
    process = subprocess.Popen(
        [sys.executable, "-c", VERB, *arguments], cwd=root, text=True,
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stderr is not None
    said: list[str] = []
    for line in process.stderr:
        if line.startswith("["):
            said.append(line.partition("] ")[2].strip())
        if said.count(stage) == which:
            process.send_signal(signal.SIGKILL)
            break
    process.wait(30)
    process.stderr.close()
    return said


def ended(root: Path, arguments: list[str]) -> list[str]:
    """The stages that a run says, which comes to its end."""
    process = subprocess.run(
        [sys.executable, "-c", VERB, *arguments], cwd=root, text=True, capture_output=True
    )
    assert process.returncode == 0, process.stderr
    return [line.partition("] ")[2] for line in process.stderr.splitlines()]


@pytest.mark.slow
def test_killed_in_learning_it_goes_on_and_ends_with_the_same_bits(
    demo_clip: Path,
    tmp_path: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In the second learning: nothing is done twice, and the avatar is that of a calm run."""
    monkeypatch.setenv("VISAVIS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    video = tmp_path / "me.mp4"
    with (
        open_source(f"video:{demo_clip}") as source,
        VideoWriter(video, next(source).camera.size, 30.0) as writer,
    ):
        for k, frame in zip(range(90), source, strict=False):
            writer.write(frame.rgb, round(k * 1e9 / 30))
    usual = ["--consent", SENTENCE, "--planes", "4"]
    arguments = ["enroll", str(video), "--name", "me", *usual]
    once = ["unwrapping", "learning the texture", "learning to drive"]
    learning = ["registering", *once, "registering photometrically", *once]
    before = killed_at(root, arguments, once[1], 4)
    assert before == ["tracking", *learning, "measuring", *learning[:7]]
    assert EnrolmentWork.read(tmp_path / "home" / "enrolling" / "me").clips
    said = ended(root, [*arguments, "--resume"])
    assert [stage for stage in said if stage in (*before, *learning)] == [
        "registering", "learning the texture", "learning to drive"
    ]  # fmt: skip
    avatars = tmp_path / "home" / "avatars"
    resumed = read_avatar_file(avatars / "me.visavis")
    assert not (tmp_path / "home" / "enrolling" / "me" / "learning").exists()

    ended(root, ["enroll", str(video), "--name", "calm", *usual])
    calm = read_avatar_file(avatars / "calm.visavis")
    wanted, got = calm.model.tensors(), resumed.model.tensors()
    assert wanted.keys() == got.keys()
    for name, tensor in wanted.items():
        assert tensor.tobytes() == got[name].tobytes(), name
    assert (calm.model.mean == resumed.model.mean).all()
    assert calm.report["held_out"] == resumed.report["held_out"]
    with EnrolmentLock(tmp_path / "home" / "enrolling" / "me", "me"):
        assert run([*arguments, "--resume"]) == FAILED
    assert "is being made by" in capsys.readouterr().err
