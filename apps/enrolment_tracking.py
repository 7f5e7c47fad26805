"""Tracking a video for an enrolment, a part at a time on disk: an interruption costs little."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apps.usage import FailedError, UsageError
from capture.frame_source import open_source
from streams.frame import Frame
from streams.rigid import Rigid
from streams.tracked_state import FacePose, TrackedState

PART_FRAMES = 150


@dataclass(frozen=True, slots=True)
class EnrolmentWork:
    """One enrolment's folder: which video it is of, and what has been tracked of it."""

    folder: Path
    video: Path

    def begin(self, resume: bool) -> None:
        """Make or check the folder. Raises UsageError when it holds something else."""
        note = self.folder / "source.json"
        about = self.video.stat()
        mine = {"path": str(self.video.resolve()), "bytes": about.st_size}
        if note.exists():
            found = json.loads(note.read_text())
            if resume and found != mine:
                raise UsageError(
                    f"enroll --resume: {self.folder} is of {found.get('path')}, not of "
                    f"{mine['path']}; leave --resume out to begin anew"
                )
            if not resume:
                self.clear()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(note, json.dumps(mine).encode())

    def clear(self) -> None:
        """Remove what was tracked; nothing else lies there."""
        for file in self.folder.glob("part-*.npz"):
            file.unlink()
        (self.folder / "source.json").unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def frames(self) -> Iterator[Frame]:
        """The video from its beginning."""
        with open_source(f"video:{self.video}") as source:
            yield from source

    def track(self, progress: Callable[[str, float], None], expected: int) -> list[TrackedState]:
        """The state of every frame; parts that are on disk are not tracked again."""
        from tracking.tracker import Tracker, TrackerOptions

        states: list[TrackedState] = []
        parts = 0
        while (part := self.folder / f"part-{parts:04d}.npz").exists():
            loaded = _read_part(part)
            if loaded is None:
                break
            states += loaded
            parts += 1
        known, fresh = len(states), list[TrackedState]()
        with Tracker.open(TrackerOptions(hands=0)) as tracker:
            for k, frame in enumerate(self.frames()):
                if k < known:
                    continue
                fresh.append(tracker.track(frame))
                if len(fresh) == PART_FRAMES:
                    _write_part(self.folder / f"part-{parts:04d}.npz", fresh)
                    states, fresh, parts = states + fresh, [], parts + 1
                progress("tracking", min(1.0, (k + 1) / max(1, expected)))
        if fresh:
            states += fresh
        if not states:
            raise FailedError(f"{self.video}: holds no picture")
        return states


def _write_part(path: Path, states: list[TrackedState]) -> None:
    faces = [state.face for state in states]
    seen = [face for face in faces if face is not None]
    buffer = io.BytesIO()
    np.savez(
        buffer,
        t_ns=np.array([state.t_ns for state in states], np.int64),
        has=np.array([face is not None for face in faces]),
        blendshapes=np.array([face.blendshapes for face in seen], np.float32),
        landmarks=np.array([face.landmarks for face in seen], np.float32),
        gaze=np.array([face.gaze for face in seen], np.float32),
        wxyz=np.array([face.world_from_head.wxyz for face in seen], np.float64),
        xyz=np.array([face.world_from_head.xyz for face in seen], np.float64),
        confidence=np.array([face.confidence for face in seen], np.float64),
    )
    _write(path, buffer.getvalue())


def _read_part(path: Path) -> list[TrackedState] | None:
    """None for a part that was not written to its end."""
    try:
        with np.load(path, allow_pickle=False) as file:
            part = {name: file[name] for name in file.files}
        states, row = [], 0
        for t_ns, has in zip(part["t_ns"], part["has"], strict=True):
            face = None
            if has:
                face = FacePose(
                    part["blendshapes"][row], part["landmarks"][row], part["gaze"][row],
                    Rigid(part["wxyz"][row], part["xyz"][row]), float(part["confidence"][row]),
                )  # fmt: skip
                row += 1
            states.append(TrackedState(int(t_ns), "enrolment", face))
        return states
    except (OSError, ValueError, KeyError, IndexError, EOFError):
        return None


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
