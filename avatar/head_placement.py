"""From the face's moving vertices to the whole head in the world: eyes, hair, neck, torso, normals.

Normals are computed anew only where the surface bends (face and neck); all others turn rigidly
with what they ride on.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avatar.eye_balls import ball_rotation
from avatar.head_mesh import HeadMesh
from avatar.placement_tables import PlacementTables
from avatar.posture import head_from_torso, turn_on_neck
from avatar.smooth_normals import SmoothNormals
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]

MOVES_MM = 0.01
"""A vertex that no shape moves further than this belongs to the rigid rest."""
GLASSES = "glasses"
"""The region of vertices that a code shifts without being the template's."""
NECK_BENDS = 0.01
"""Where the neck's share differs by more over one face, turning the head bends the surface."""


def moving_vertices(head: HeadMesh) -> npt.NDArray[np.intp]:
    """(M,) indices of the template's vertices that expressions move, the same for every avatar."""
    reach = np.abs(head.shapes).max(axis=(0, 2))
    eyes = np.isin(head.regions[: head.template_size], ("eye-left", "eye-right"))
    return np.flatnonzero((reach > MOVES_MM * 1e-3) & ~eyes)


class HeadPlacement:
    """What of one avatar's head does not change from frame to frame, ready for `place`.

    `moving`: the template's `moving_vertices`, then those of glasses."""

    def __init__(self, head: HeadMesh) -> None:
        worn = np.flatnonzero(head.regions == GLASSES)
        self.moving = np.concatenate([moving_vertices(head), worn])
        self._head = head
        self._balls = tuple(head.eye_vertices(eye) for eye in (0, 1))
        template = np.arange(head.template_size)
        self._rest = head.vertices
        normals = SmoothNormals(head.faces, head.weld, template).of(head.vertices)
        self._rest_normals = np.concatenate([normals, head.hair_normals])
        # Vertices of no face have no normal of their own; any unit vector keeps the contract.
        self._rest_normals[~self._rest_normals.any(1)] = (0.0, 0.0, 1.0)
        self._bending = np.union1d(self.moving, _bent_by_neck(head))
        self._normals = SmoothNormals(head.faces, head.weld, self._bending)
        self._neck = np.flatnonzero(head.neck < 0.999)
        self._torso_share = (1.0 - head.neck[self._neck]).astype(np.float32)

    def place(
        self, face: Float32, gaze: Float32, world_from_head: Rigid
    ) -> tuple[Float32, Float32]:
        """(V, 3) float32 vertices, metres, and unit normals, both in the world.

        `face` (M, 3) metres, head frame: the moving vertices. `gaze` (2, 3) unit, head frame.
        """
        vertices, normals = self._rest.copy(), self._rest_normals.copy()
        vertices[self.moving] = face
        for eye, ball in enumerate(self._balls):
            turn, centre = ball_rotation(gaze, eye).T, self._head.eyes[eye]
            vertices[ball] = (self._rest[ball] - centre) @ turn + centre
            normals[ball] = self._rest_normals[ball] @ turn
        vertices[self._neck], normals[self._neck] = turn_on_neck(
            vertices[self._neck],
            normals[self._neck],
            self._torso_share,
            self._head.neck_pivot,
            head_from_torso(world_from_head),
        )
        normals[self._bending] = self._normals.of(vertices)
        return (
            world_from_head.apply(vertices).astype(np.float32, copy=False),
            world_from_head.rotate(normals).astype(np.float32, copy=False),
        )

    def tables(self) -> PlacementTables:
        """The same for engines other than numpy."""
        return PlacementTables(
            rest=self._rest,
            rest_normals=self._rest_normals,
            moving=self.moving.astype(np.int32),
            balls=(self._balls[0], self._balls[1]),
            eyes=self._head.eyes,
            bending=self._bending.astype(np.int32),
            normals=self._normals.tables(),
            neck=self._neck.astype(np.int32),
            torso_share=self._torso_share,
            neck_pivot=self._head.neck_pivot,
        )


def _bent_by_neck(head: HeadMesh) -> npt.NDArray[np.intp]:
    share = head.neck[head.faces]
    bent = head.faces[share.max(1) - share.min(1) > NECK_BENDS]
    return np.unique(bent).astype(np.intp)
