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
    angles = np.empty((*gaze.shape[:-1], 2), gaze.dtype)
    np.arctan2(gaze[..., 0], gaze[..., 2], out=angles[..., 0])
    np.arcsin(np.minimum(np.maximum(gaze[..., 1], -1.0), 1.0), out=angles[..., 1])
    return angles


def gaze_from_angles(angles: npt.NDArray[np.floating]) -> Float32:
    """The inverse of `gaze_angles`: (..., 2) radians -> (..., 3) float32 unit vectors."""
    sine, cosine = np.sin(angles), np.cos(angles)
    gaze = np.empty((*angles.shape[:-1], 3), np.float32)
    gaze[..., 0] = sine[..., 0] * cosine[..., 1]
    gaze[..., 1] = sine[..., 1]
    gaze[..., 2] = cosine[..., 0] * cosine[..., 1]
    return gaze
