"""The plain blend-shape rig: the neural decoder's slow twin, and what it is compared with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avatar.eye_balls import ball_rotation
from avatar.head_mesh import HeadMesh

Float32 = npt.NDArray[np.float32]


def rig_vertices(head: HeadMesh, weights: Float32, gaze: Float32) -> Float32:
    """(V, 3) float32 metres, head frame: neutral + sum of weighted shapes, eyes turned.

    `weights` (52,) in the order of FACE_SHAPES, `gaze` (2, 3) unit, head frame, left first. No
    correctives: lids do not slide over the ball, lips do not seal.
    """
    vertices = head.vertices.copy()
    vertices[: head.template_size] += np.tensordot(weights, head.shapes, axes=1)
    turn_eyes(head, vertices, gaze)
    return vertices


def turn_eyes(head: HeadMesh, vertices: Float32, gaze: Float32) -> None:
    """Put the eye balls of (V, 3) `vertices` in place, looking along `gaze`; in place."""
    for eye in (0, 1):
        ball, centre = head.eye_vertices(eye), head.eyes[eye]
        turned = (head.vertices[ball] - centre) @ ball_rotation(gaze, eye).T
        vertices[ball] = turned + centre
