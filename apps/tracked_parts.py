"""Tracked states on disk, a part at a time: whole or not at all, readable by their owner alone."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from streams.rigid import Rigid
from streams.tracked_state import FacePose, TrackedState

SOURCE = "enrolment"


def write_part(path: Path, states: Sequence[TrackedState]) -> None:
    """Faces and times of `states` as .npz. Raises OSError when the disk is full."""
    faces = [state.face for state in states]
    seen = [face for face in faces if face is not None]
    buffer = io.BytesIO()
    np.savez(
        buffer,
        t_ns=np.array([state.t_ns for state in states], np.int64),
        has=np.array([face is not None for face in faces], bool),
        blendshapes=np.array([face.blendshapes for face in seen], np.float32),
        landmarks=np.array([face.landmarks for face in seen], np.float32),
        gaze=np.array([face.gaze for face in seen], np.float32),
        wxyz=np.array([face.world_from_head.wxyz for face in seen], np.float64),
        xyz=np.array([face.world_from_head.xyz for face in seen], np.float64),
        confidence=np.array([face.confidence for face in seen], np.float64),
    )
    write_whole(path, buffer.getvalue())


def read_part(path: Path) -> list[TrackedState] | None:
    """None for a part that is not there or not whole."""
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
            states.append(TrackedState(int(t_ns), SOURCE, face))
        return states
    except (OSError, ValueError, KeyError, IndexError, EOFError):
        return None


def read_parts(folder: Path) -> list[list[TrackedState]]:
    """The parts from the first on, up to the first that is missing or damaged."""
    parts: list[list[TrackedState]] = []
    while (part := read_part(part_path(folder, len(parts)))) is not None:
        parts.append(part)
    return parts


def part_path(folder: Path, number: int) -> Path:
    """Of the part's states."""
    return folder / f"part-{number:04d}.npz"


def write_whole(path: Path, data: bytes) -> None:
    """A file that is there with all of `data`, or as it was before. Mode 0600."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
