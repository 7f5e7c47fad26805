"""Stages for a pipeline that nobody looks at: codes are made, nothing is decoded or drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apps.pipeline import Codes
from capture.frame_source import FrameSource, SourceAround
from streams.avatar_code import AvatarCode
from streams.frame import Frame
from streams.image import Image
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.topology import Topology
from streams.tracked_state import TrackedState
from streams.view import View

NOBODY = Topology(
    "nobody",
    np.zeros((0, 3), np.int32),
    np.zeros((0, 2), np.float32),
    np.zeros(0, np.uint8),
    np.zeros((1, 1, 4), np.uint8),
)
_AHEAD = np.tile(np.array([0.0, 0.0, 1.0], np.float32), (2, 1))


class UndrawnAvatar:
    """Encodes as `avatar` does, or to a code without numbers; decodes to an empty mesh."""

    def __init__(self, avatar: Codes | None) -> None:
        self._avatar = avatar

    def encode(self, state: TrackedState, frame: Frame | None = None) -> AvatarCode:
        """The avatar's code."""
        if self._avatar is not None:
            return self._avatar.encode(state, frame)
        none = np.zeros(0, np.float32)
        return AvatarCode(state.t_ns, "", none, none, _AHEAD, None)

    def decode(self, code: AvatarCode, view: View | None = None) -> MeshTexture:
        """Nothing."""
        none = np.zeros((0, 3), np.float32)
        return MeshTexture(code.t_ns, NOBODY, none, none, np.zeros((1, 1, 3), np.uint8))


def draw_nothing(mesh: MeshTexture, view: View, panels: Sequence[Panel]) -> Image | None:
    """A `Draw` that draws nothing."""
    return None


def source_view(frame: Frame) -> View:
    """From where the source sees."""
    return View.from_camera(frame.camera, frame.t_ns)


class LimitedSource(SourceAround):
    """A FrameSource that ends `seconds` after its first frame (a file's: after its zero)."""

    def __init__(self, source: FrameSource, seconds: float | None) -> None:
        super().__init__(source)
        self._seconds = seconds
        self._first_ns: int | None = None if source.live else 0

    def __next__(self) -> Frame:
        frame = next(self._source)
        if self._first_ns is None:
            self._first_ns = frame.t_ns
        if self._seconds is not None and frame.t_ns - self._first_ns >= self._seconds * 1e9:
            raise StopIteration
        return frame
