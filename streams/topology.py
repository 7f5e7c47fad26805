"""What of a mesh does not change from frame to frame: faces, texture coordinates, materials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_array

PARTS = ("skin", "eye", "teeth", "tongue", "hair", "lash", "cloth", "glasses")
"""What a triangle is made of; `Topology.parts` holds indices into this tuple."""


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """Shared by every MeshTexture of one shape; a renderer uploads it once (by identity)."""

    name: str
    faces: npt.NDArray[np.int32]
    """(F, 3) int32 vertex indices, counter-clockwise seen from outside. Vertices are not shared
    between parts. Faces of hair, lash and glasses come last (they are blended over the rest)."""
    uv: npt.NDArray[np.float32]
    """(V, 2) float32; (0, 0) is the texture's top-left corner, (1, 1) its bottom-right corner."""
    parts: npt.NDArray[np.uint8]
    """(V,) uint8 indices into PARTS, per vertex."""
    surface: npt.NDArray[np.uint8]
    """(Hs, Ws, 4) uint8 material over the same uv, not colour: R roughness 0..1, G occlusion
    0..1 (1 = open), B height 0..1 (0.5 = flat, 1 mm full range), A opacity 0..1."""
    lit: bool = True
    """False: the texture holds the light of its capture; draw it as it is, without lights."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "faces", require_array("Topology.faces", self.faces, np.int32, (None, 3)))
        put(self, "uv", require_array("Topology.uv", self.uv, np.float32, (None, 2)))
        count = len(self.uv)
        put(self, "parts", require_array("Topology.parts", self.parts, np.uint8, (count,)))
        surface = require_array("Topology.surface", self.surface, np.uint8, (None, None, 4))
        put(self, "surface", surface)
        if len(self.faces) and not (self.faces.min() >= 0 and self.faces.max() < count):
            raise ValueError(
                f"Topology.faces: expected indices from 0 to {count - 1}, "
                f"got {self.faces.min()} to {self.faces.max()}"
            )
        if count and self.parts.max() >= len(PARTS):
            raise ValueError(f"Topology.parts: expected < {len(PARTS)}, got {self.parts.max()}")
