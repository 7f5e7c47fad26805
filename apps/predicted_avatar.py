"""An avatar whose head and hands are where they will be when its picture is shown."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from apps.pipeline import Codes
from streams.avatar_code import AvatarCode
from streams.frame import Frame
from streams.mesh_texture import MeshTexture
from streams.tracked_state import TrackedState
from streams.view import View
from tracking.prediction import PredictionOptions, predict

STATES = 256
"""More than the history of any camera."""


class PredictedAvatar:
    """Encodes what was seen, then carries head and hands on by `ahead_s`.

    The face's code stays that of its picture: expressions cannot be foretold
    (docs/face_details.md), and a personal avatar reads its appearance where the head was.
    """

    def __init__(self, avatar: Codes, ahead_s: float) -> None:
        self._avatar = avatar
        self._ahead_ns = round(ahead_s * 1e9)
        self._options = PredictionOptions()
        self._states: deque[TrackedState] = deque(maxlen=STATES)

    def encode(self, state: TrackedState, frame: Frame | None = None) -> AvatarCode:
        """As the avatar's own; a state that is older than the last one begins anew."""
        if self._states and state.t_ns <= self._states[-1].t_ns:
            self._states.clear()
        self._states.append(state)
        oldest_ns = state.t_ns - round(self._options.history_s * 1e9)
        while self._states[0].t_ns < oldest_ns:
            self._states.popleft()
        code = self._avatar.encode(state, frame)
        shown = predict(tuple(self._states), state.t_ns + self._ahead_ns, self._options)
        if shown.face is None or code.world_from_head is None:
            return replace(code, hands=shown.hands)
        return replace(code, world_from_head=shown.face.world_from_head, hands=shown.hands)

    def decode(self, code: AvatarCode, view: View | None = None) -> MeshTexture:
        """As the avatar's own."""
        return self._avatar.decode(code, view)
