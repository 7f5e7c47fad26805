"""A hand that one camera of a rig alone sees.

Its distance follows from an average hand's size, as with a single camera, which is wrong by a
tenth, more or less with the hand's shape. A hand that the others just lost does not jump there: how
wrong this camera's guess was when several measured the hand is known, and fades.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.hand_skeleton import PALM_JOINTS
from streams.rigid import Rigid
from streams.tracked_state import HandPose
from tracking.hand_placement import at_part_of_distance, place_hand
from tracking.view_association import Find

HALF_LIFE_S = 0.25
"""Of what is known: hands seldom change their shape sooner."""
FADED_S = 8 * HALF_LIFE_S


class OneView:
    """Places such hands, one a side."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Measured] = {}

    def measured(
        self, t_ns: int, side: str, finds: Sequence[Find], joints: npt.NDArray[np.floating]
    ) -> None:
        """Several cameras saw that hand: its finds, and its (21, 3) joints, metres, world frame."""
        for find in finds:
            self._seen[side, find.source] = _Measured(t_ns, find, np.asarray(joints, np.float64))

    def keep(self, sides: Collection[str]) -> None:
        """Forget the hands of other sides: they were lost."""
        self._seen = {key: seen for key, seen in self._seen.items() if key[0] in sides}

    def place(self, t_ns: int, find: Find, world_from_head: Rigid | None) -> HandPose | None:
        """The hand in the world, or None when no plausible hand stands behind the find. Where it
        was not measured lately, it is held within reach of the head."""
        seen = self._seen.get((find.marks.side, find.source))
        ago_s = np.inf if seen is None else (t_ns - seen.t_ns) / 1e9
        if seen is None or ago_s > FADED_S:
            return place_hand(find.camera, find.marks, world_from_head)
        pose = place_hand(find.camera, find.marks)
        guessed = place_hand(seen.find.camera, seen.find.marks)
        if pose is None or guessed is None:
            return pose
        centre = seen.find.camera.world_from_camera.xyz
        farther = _distance(seen.joints, centre) / _distance(guessed.joints, centre)
        farther **= 0.5 ** (ago_s / HALF_LIFE_S)
        return at_part_of_distance(pose, find.camera, farther)


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """A hand when several cameras saw it."""

    t_ns: int
    find: Find
    """One camera's."""
    joints: npt.NDArray[np.float64]
    """Of all."""


def _distance(joints: npt.NDArray[np.floating], centre: npt.NDArray[np.float64]) -> float:
    return float(np.linalg.norm(joints[PALM_JOINTS].mean(0) - centre))
