"""Whose hands these are, where cameras tell their places in space: those that reach the head.

The twin of `tracking.subject`, which judges by sizes in one picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streams.hand_skeleton import PALM_JOINTS
from streams.projection import project
from streams.tracked_state import FacePose, HandPose
from tracking.hand_placement import lies_on_face
from tracking.subject import LEEWAY, REACH
from tracking.view_association import Find


def within_reach(
    face: FacePose | None, joints: npt.NDArray[np.floating], followed: bool = False
) -> bool:
    """Whether a hand of (21, 3) joints, metres, world frame, NaN where unknown, may be that of the
    person with this face. Anybody's is while no face is seen; one that is `followed` has leeway."""
    if face is None:
        return True
    palm = np.asarray(joints, np.float64)[PALM_JOINTS]
    palm = palm[np.isfinite(palm).all(-1)]
    if not len(palm):
        return False
    apart = float(np.linalg.norm(palm.mean(0) - face.world_from_head.xyz))
    return apart <= REACH * (LEEWAY if followed else 1.0)


def is_of_face(face: FacePose | None, hand: HandPose, finds: Sequence[Find]) -> bool:
    """Whether engines took a part of the face for this hand, in every camera that found it."""
    if face is None:
        return False
    landmarks = np.asarray(face.world_from_head.apply(face.landmarks.astype(np.float64)))
    for find in finds:
        outline, _ = project(find.camera, landmarks)
        if not np.isfinite(outline).all() or not lies_on_face(
            find.marks, hand, outline, find.camera, face.world_from_head
        ):
            return False
    return True
