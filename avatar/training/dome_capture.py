"""The synthetic dome as a registered capture: what a published data set would give, in memory."""

from __future__ import annotations

import numpy as np

from avatar.datasets.capture_writer import WrittenMoment
from avatar.datasets.registered_capture import RegisteredMoment
from avatar.datasets.synthetic_capture import SyntheticCapture


class DomeCapture:
    """Every moment once for each camera. A `RegisteredCapture`."""

    def __init__(self, capture: SyntheticCapture, moments: tuple[WrittenMoment, ...]) -> None:
        """Some moments of a capture."""
        self._capture, self._moments = capture, moments
        self._cameras = tuple(capture.cameras)
        self.faces, self.uv = capture.topology.faces, capture.topology.uv

    @staticmethod
    def split(capture: SyntheticCapture, held_out: float) -> tuple[DomeCapture, DomeCapture]:
        """Most moments, and about the share `held_out` of them, evenly spread."""
        every = max(round(1.0 / held_out), 2)
        kept, out = [], []
        for k, moment in enumerate(capture.moments):
            (out if k % every == every - 1 else kept).append(moment)
        return DomeCapture(capture, tuple(kept)), DomeCapture(capture, tuple(out))

    def __len__(self) -> int:
        return len(self._moments) * len(self._cameras)

    def __getitem__(self, index: int) -> RegisteredMoment:
        """Raises IndexError."""
        if not 0 <= index < len(self):
            raise IndexError(f"DomeCapture: expected an index below {len(self)}, got {index}")
        row, column = divmod(index, len(self._cameras))
        moment, name = self._moments[row], self._cameras[column]
        texture = moment.textures[name]
        place = self._capture.cameras[name].world_from_camera.xyz
        towards = moment.world_from_head.inverse().apply(place)
        return RegisteredMoment(
            moment=f"{moment.segment}/{moment.frame}",
            camera=name,
            vertices=self._capture.topology.spread(moment.vertices),
            texture=texture,
            seen=(texture.max(-1) > 0).astype(np.float32),
            view=(towards / np.linalg.norm(towards)).astype(np.float32),
        )
