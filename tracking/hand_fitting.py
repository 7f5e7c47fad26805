"""A live hand with constant bones: fitted to what one camera's engine says, from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streams.camera import Camera
from streams.hand_skeleton import PALM_JOINTS
from streams.rigid import Rigid
from streams.tracked_state import SIDES, HandPose
from tracking.engine import HandMarks
from tracking.hand_fit import HandFit, fit_hand
from tracking.hand_placement import (
    FARTHEST,
    NEAREST,
    at_part_of_distance,
    confidence_of,
    reachable_depth,
)
from tracking.hand_view import HandView
from tracking.user_hand import UserHand

LONGEST_GAP_NS = 200_000_000
"""After this the last pose says little about the new one."""


class HandFitting:
    """Fits the person's own hands where they were measured, else an average adult's.

    The picture says how large a hand is seen, hence its bones how far away it is. An average hand's
    distance is a guess: where the head is seen too, it is kept within an arm's reach of that, the
    hand so much smaller or larger, as `hand_placement` does. A measured hand keeps its size.
    """

    def __init__(self, measured: Sequence[UserHand] = ()) -> None:
        """At most one hand a side."""
        self._measured = {user.side: user for user in measured}
        self._users = {side: UserHand.average(side) for side in SIDES} | self._measured
        self._last: dict[str, tuple[int, HandFit]] = {}

    def forget(self) -> None:
        """The next hands are from somewhere else."""
        self._last.clear()

    def place(
        self,
        camera: Camera,
        marks: HandMarks,
        t_ns: int,
        world_from_head: Rigid | None = None,
    ) -> HandPose | None:
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
        depth = believed = float(in_camera[PALM_JOINTS, 2].mean())
        if marks.side not in self._measured:
            believed = reachable_depth(camera, depth, world_from_head)
        if not NEAREST <= believed <= FARTHEST or depth <= 0.0:
            return None
        self._last[marks.side] = t_ns, fit
        spread = float(np.sqrt(((points - points.mean(0)) ** 2).sum(-1).mean()))
        pose = fit.pose(confidence_of(camera, marks, float(fit.errors[0]) / spread))
        return pose if believed == depth else at_part_of_distance(pose, camera, believed / depth)
