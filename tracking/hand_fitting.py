"""A live hand of known bones: fitted to what one camera's engine says, from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streams.camera import Camera
from streams.hand_skeleton import PALM_JOINTS
from streams.tracked_state import HandPose
from tracking.engine import HandMarks
from tracking.hand_fit import HandFit, fit_hand
from tracking.hand_placement import FARTHEST, NEAREST, confidence_of
from tracking.hand_view import HandView
from tracking.user_hand import UserHand

LONGEST_GAP_NS = 200_000_000
"""After this the last pose says little about the new one."""


class HandFitting:
    """Fits the hands whose bones are known; others are left to `hand_placement`."""

    def __init__(self, users: Sequence[UserHand]) -> None:
        """At most one hand a side."""
        self._users = {user.side: user for user in users}
        self._last: dict[str, tuple[int, HandFit]] = {}

    def knows(self, side: str) -> bool:
        """Whether the bones of that hand are known."""
        return side in self._users

    def forget(self) -> None:
        """The next hands are from somewhere else."""
        self._last.clear()

    def place(self, camera: Camera, marks: HandMarks, t_ns: int) -> HandPose | None:
        """The hand in the world, its bones as long as they are, or None when no plausible hand
        stands behind the marks."""
        last = self._last.pop(marks.side, None)
        start = last[1] if last is not None and 0 < t_ns - last[0] <= LONGEST_GAP_NS else None
        try:
            points = marks.landmarks.astype(np.float64)
            view = HandView(camera, points, np.ones(21), marks.shape.astype(np.float64))
            fit = fit_hand([view], self._users[marks.side], start)
        except (ValueError, np.linalg.LinAlgError):
            # Points on a line: MediaPipe's answer to something that is no hand.
            return None
        in_camera = np.asarray(camera.world_from_camera.inverse().apply(fit.joints))
        if not NEAREST <= float(in_camera[PALM_JOINTS, 2].mean()) <= FARTHEST:
            return None
        self._last[marks.side] = t_ns, fit
        spread = float(np.sqrt(((points - points.mean(0)) ** 2).sum(-1).mean()))
        return fit.pose(confidence_of(camera, marks, float(fit.errors[0]) / spread))
