"""What of a texture does not change: neck, collar and clothes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

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


class StaticTexture:
    """Gathers frames; `picture` gives the average, filled where nothing was seen."""

    def __init__(self, head: HeadMesh, table: TexelTable) -> None:
        """`head`: the person's, `table`: texels of its neck, collar and cloth."""
        self._placement, self._gaze = HeadPlacement(head), STRAIGHT
        self._face = head.vertices[self._placement.moving]
        self.table = table
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
        out = np.tile(otherwise, (len(self._weight), 1)).astype(np.float64)
        out[known] = self._sum[known] / self._weight[known, None]
        place = np.stack([self.table.rows, self.table.columns], axis=1)
        for region in np.unique(self.table.regions):
            here = self.table.regions == region
            seen, unseen = np.flatnonzero(here & known), np.flatnonzero(here & ~known)
            if len(seen) and len(unseen):
                near = KDTree(place[seen]).query(place[unseen], k=min(12, len(seen)))[1]
                out[unseen] = out[seen[near.reshape(len(unseen), -1)]].mean(1)
        return np.rint(out).astype(np.uint8)
