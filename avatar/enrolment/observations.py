"""What was tracked of one face over a video, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avatar.driving import drivers_of
from streams.rigid import Rigid
from streams.tracked_state import TrackedState

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """One row a moment at which a face was seen."""

    frames: npt.NDArray[np.int64]
    """(N,) which of the video's frames, rising."""
    blendshapes: Float32
    """(N, 52)."""
    landmarks: Float32
    """(N, 478, 3) metres, head frame."""
    gaze: Float32
    """(N, 2, 3) unit vectors, head frame."""
    world_from_head: tuple[Rigid, ...]

    @staticmethod
    def of(states: Sequence[TrackedState]) -> Observations:
        """The states in which there is a face; a row's number in `states` is its frame's."""
        seen = [(k, state.face) for k, state in enumerate(states) if state.face is not None]
        return Observations(
            np.array([k for k, _ in seen], np.int64),
            _stacked([face.blendshapes for _, face in seen], (52,)),
            _stacked([face.landmarks for _, face in seen], (478, 3)),
            _stacked([face.gaze for _, face in seen], (2, 3)),
            tuple(face.world_from_head for _, face in seen),
        )

    def __len__(self) -> int:
        return len(self.frames)

    def at(self, rows: npt.NDArray[np.integer]) -> Observations:
        """Some of the rows."""
        return Observations(
            self.frames[rows],
            self.blendshapes[rows],
            self.landmarks[rows],
            self.gaze[rows],
            tuple(self.world_from_head[int(row)] for row in rows),
        )

    def drivers(self) -> Float32:
        """(N, DRIVERS): see avatar.driving.drivers_of."""
        return drivers_of(self.blendshapes, self.gaze)

    def poses(self) -> Float32:
        """(N, 6): rotation vector and place of the head."""
        rows = [np.concatenate([pose.rotvec(), pose.xyz]) for pose in self.world_from_head]
        return _stacked([row.astype(np.float32) for row in rows], (6,))

    def view_directions(self) -> Float32:
        """(N, 3) unit vectors from the head to the world's origin, where a webcam stands."""
        rows = [pose.inverse().apply(np.zeros(3)) for pose in self.world_from_head]
        directions = _stacked([row.astype(np.float32) for row in rows], (3,))
        return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _stacked(rows: Sequence[npt.NDArray[np.float32]], shape: tuple[int, ...]) -> Float32:
    return np.stack(rows) if rows else np.zeros((0, *shape), np.float32)
