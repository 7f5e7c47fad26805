"""Eye balls: explicit spheres turned by the gaze, never learned."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

STRAIGHT: Float32 = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]], np.float32)
"""(2, 3) float32 gaze of both eyes straight out of the face."""


OUTWARDS = float(np.deg2rad(4.0))
"""Radians by which the pupil's axis stands outside the line of sight (the angle kappa; adults have
about 2 to 6 degrees). Without it eyes that look straight ahead seem to cross."""


def ball_rotation(gaze: Float32, eye: int) -> Float32:
    """(2, 3) unit gaze, head frame -> (3, 3) turn of the left (0) or right (1) ball."""
    angle = OUTWARDS if eye == 0 else -OUTWARDS
    c, s = float(np.cos(angle)), float(np.sin(angle))
    aside = np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]], np.float32)
    return gaze_rotation(gaze[eye]) @ aside


def gaze_rotation(direction: Float32) -> Float32:
    """(3,) unit gaze, head frame -> (3, 3) rotation from straight ahead: pitch, then yaw, no roll
    (Fick's order; the eye muscles' own roll is a few degrees at most)."""
    x, y, z = (float(n) for n in direction)
    level = max(float(np.hypot(x, z)), 1e-6)
    sine, cosine = x / level, z / level
    return np.array(
        [[cosine, -sine * y, x], [0.0, level, y], [-sine, -cosine * y, z]],
        np.float32,
    )


def gaze_angles(gaze: Float32) -> Float32:
    """(..., 3) unit vectors -> (..., 2) radians: yaw to the person's left, pitch up."""
    x, y, z = gaze[..., 0], gaze[..., 1], gaze[..., 2]
    return np.stack([np.arctan2(x, z), np.arcsin(np.clip(y, -1.0, 1.0))], axis=-1)


def gaze_from_angles(angles: npt.NDArray[np.floating]) -> Float32:
    """The inverse of `gaze_angles`: (..., 2) radians -> (..., 3) float32 unit vectors."""
    yaw, pitch = angles[..., 0], angles[..., 1]
    gaze = np.stack(
        [np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)], axis=-1
    )
    return gaze.astype(np.float32)
