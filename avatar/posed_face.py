"""A person's face in the head frame: the template's vertices at one moment."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avatar.eye_balls import ball_rotation, gaze_angles, gaze_from_angles
from avatar.head_mesh import HeadMesh
from avatar.head_placement import moving_vertices
from avatar.smooth_normals import SmoothNormals

Float32 = npt.NDArray[np.float32]


class PosedFace:
    """Neck and torso stay as they are at rest."""

    def __init__(
        self, head: HeadMesh, rest: Float32, moves: Float32, eyes: Float32, gaze_map: Float32
    ) -> None:
        """`rest` (T, 3) metres, `moves` (P, M, 3) metres a unit, `eyes` (2, 3) metres, all in the
        head frame; `gaze_map` (5, 4) as PersonalModel.gaze_map."""
        count = head.template_size
        self._rest, self._moves, self._eyes, self._gaze_map = rest, moves, eyes, gaze_map
        self._moving = moving_vertices(head)
        faces = head.faces[(head.faces < count).all(1)]
        self._normals = SmoothNormals(faces, head.weld[:count], np.arange(count))
        self._balls = tuple(head.eye_vertices(eye) for eye in (0, 1))

    def of(self, geometry: Float32, gaze: Float32) -> tuple[Float32, Float32]:
        """(T, 3) metres and (T, 3) normals for geometry numbers (P,) and a tracked gaze (2, 3)."""
        vertices = self._rest.copy()
        vertices[self._moving] += np.tensordot(geometry, self._moves, 1)
        turned = mapped_gaze(self._gaze_map, gaze)
        for eye, ball in enumerate(self._balls):
            centre = self._eyes[eye]
            vertices[ball] = (vertices[ball] - centre) @ ball_rotation(turned, eye).T + centre
        return vertices, self._normals.of(vertices)


def mapped_gaze(gaze_map: npt.NDArray[np.floating], gaze: Float32) -> Float32:
    """The tracker's gaze (2, 3) -> the gaze (2, 3) by which balls turn so that the irises meet."""
    angles = np.append(gaze_angles(gaze).ravel(), np.float32(1.0)) @ gaze_map
    return gaze_from_angles(angles.reshape(2, 2))
