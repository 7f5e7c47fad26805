"""A decoded avatar whose texture is still a sum, for renderers that take it pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_array, require_finite, require_time
from streams.mesh_texture import MeshTexture
from streams.texture_basis import TextureBasis
from streams.topology import Topology

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class MeshNodes:
    """One moment of one mesh, as `MeshTexture`, with coefficients in the place of the texture."""

    t_ns: int
    """Of the observation it derives from, monotonic nanoseconds."""
    topology: Topology
    vertices: Float32
    """(V, 3) float32 metres, world frame."""
    normals: Float32
    """(V, 3) float32 unit vectors, world frame, outwards."""
    basis: TextureBasis
    nodes: Float32
    """(rows, columns, K) float32: the coefficients on the basis' grid."""
    gain: Float32
    """(3,) float32: exposure and white balance, a factor on the sum's sRGB code values."""

    def __post_init__(self) -> None:
        require_time("MeshNodes.t_ns", self.t_ns)
        put, count = object.__setattr__, len(self.topology.uv)
        shapes = (
            ("vertices", (count, 3)),
            ("normals", (count, 3)),
            ("nodes", self.basis.nodes_shape),
            ("gain", (3,)),
        )
        for name, shape in shapes:
            value = require_array(f"MeshNodes.{name}", getattr(self, name), np.float32, shape)
            put(self, name, value)
        require_finite("MeshNodes.nodes", self.nodes)
        require_finite("MeshNodes.gain", self.gain)

    def materialised(self) -> MeshTexture:
        """The same with the sum taken: for export and for renderers without a shader for it."""
        picture = self.basis.picture(self.nodes, self.gain)
        return MeshTexture(self.t_ns, self.topology, self.vertices, self.normals, picture)
