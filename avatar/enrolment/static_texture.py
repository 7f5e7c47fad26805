"""What of a texture does not change: neck, collar and clothes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avatar.enrolment.texel_filling import TexelSurface
from avatar.eye_balls import STRAIGHT
from avatar.head_mesh import HeadMesh
from avatar.head_placement import HeadPlacement
from avatar.unwrapping import TexelTable, texel_weight, unwrap
from streams.frame import Frame
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

KNOWN = 0.05
"""Average visibility from which a texel's own colour is taken."""
CELL_M = 0.003
"""Metres; see TexelSurface.cell."""


class StaticTexture:
    """Gathers frames; `picture` gives the average, filled where nothing was seen."""

    def __init__(self, head: HeadMesh, table: TexelTable) -> None:
        """`head`: the person's, `table`: texels of its neck, collar and cloth."""
        self._placement, self._gaze = HeadPlacement(head), STRAIGHT
        self._face = head.vertices[self._placement.moving]
        self.table = table
        self._places = table.at_vertices @ head.vertices
        self._sum = np.zeros((len(table.rows), 3))
        self._weight = np.zeros(len(table.rows))
        self._frames = 0

    def add(
        self, frame: Frame, world_from_head: Rigid, landmarks: Float32, person: Float32
    ) -> None:
        """`person` (H, W) 0..1: where the background is, is no cloth."""
        vertices, normals = self._placement.place(self._face, self._gaze, world_from_head)
        head_from_world = world_from_head.inverse()
        found = unwrap(
            self.table,
            frame.rgb,
            frame.camera,
            world_from_head,
            head_from_world.apply(vertices).astype(np.float32),
            head_from_world.rotate(normals).astype(np.float32),
            landmarks,
        )
        shown = found.seen * found.sampled(person) ** 4
        weight = texel_weight(np.rint(shown * 255).astype(np.uint8))
        self._sum += found.colours * weight[:, None]
        self._weight += weight
        self._frames += 1

    def colours(self, otherwise: Float32) -> UInt8:
        """(n, 3) uint8; `otherwise` (3,) where no frame shows anything."""
        known = self._weight > KNOWN * max(1, self._frames)
        colours = (self._sum / np.maximum(self._weight, 1e-9)[:, None]).astype(np.float32)
        no_hair = np.zeros(len(known), np.float32)
        surface = TexelSurface(self._places, self.table.regions, no_hair, CELL_M, no_hair + 1)
        return np.rint(surface.filled(colours, known, otherwise.tolist())).astype(np.uint8)
