"""A decoded avatar: where its vertices are now and what colour it has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_array, require_time
from streams.topology import Topology


@dataclass(frozen=True, slots=True, eq=False)
class MeshTexture:
    """One moment of one mesh. An empty mesh (0 faces) means that nobody is seen."""

    t_ns: int
    """Of the observation it derives from, monotonic nanoseconds."""
    topology: Topology
    vertices: npt.NDArray[np.float32]
    """(V, 3) float32 metres, world frame."""
    normals: npt.NDArray[np.float32]
    """(V, 3) float32 unit vectors, world frame, outwards."""
    albedo: npt.NDArray[np.uint8]
    """(H, W, 3) uint8 sRGB: what the surface shows under an even white light from everywhere."""

    def __post_init__(self) -> None:
        require_time("MeshTexture.t_ns", self.t_ns)
        put, count = object.__setattr__, len(self.topology.uv)
        for name in ("vertices", "normals"):
            value = getattr(self, name)
            put(self, name, require_array(f"MeshTexture.{name}", value, np.float32, (count, 3)))
        albedo = require_array("MeshTexture.albedo", self.albedo, np.uint8, (None, None, 3))
        put(self, "albedo", albedo)
