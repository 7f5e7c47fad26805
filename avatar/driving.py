"""What drives a personal avatar where no camera shows its face: numbers of the tracked state."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avatar.eye_balls import gaze_angles
from avatar.personal_model import DRIVERS

Float32 = npt.NDArray[np.float32]


def drivers_of(blendshapes: Float32, gaze: Float32) -> Float32:
    """(..., 52) and (..., 2, 3) -> (..., DRIVERS): shapes, gaze angles in radians, and a one."""
    angles = gaze_angles(gaze).reshape(*blendshapes.shape[:-1], 4)
    one = np.ones((*blendshapes.shape[:-1], 1), np.float32)
    drivers = np.concatenate([blendshapes, angles, one], axis=-1).astype(np.float32)
    if drivers.shape[-1] != DRIVERS:
        raise ValueError(f"drivers_of: expected {DRIVERS} numbers, got {drivers.shape[-1]}")
    return drivers
