"""The pose of a hand whose bones are known, from where cameras saw its landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.rigid import Rigid

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class HandFit:
    """A hand with constant bones, laid over the landmarks of all views."""

    side: str
    """"left" or "right": the person's own."""
    joints: Array
    """(21, 3) float64 metres, world frame, MediaPipe's order: the skeleton's own joints."""
    landmarks: Array
    """(21, 3) float64 metres, world frame: the joints moved by the skeleton's offsets, which is
    what the landmark net points at."""
    world_from_wrist: Rigid
    angles: Array
    """(5, 4) float64 radians as `HandPose.angles`, within the joints' limits."""
    sideways: Array
    """(5, 2) float64 radians as `HandParts.sideways`; only the thumb's are not 0."""
    errors: Array
    """(V,) float64 pixels: median distance in each view between the landmarks there and these; NaN
    where a view has no weight."""
