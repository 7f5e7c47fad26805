"""A TextureBasis on the card: uploaded once; what a frame brings are its few coefficients."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import numpy.typing as npt
from OpenGL import GL

from render.gl_objects import Texture, TextureArray, TextureFormat
from streams.mesh_nodes import MeshNodes
from streams.texture_basis import TextureBasis

PLANES_UNIT, NODES_UNIT = 3, 4
"""Texture units; 0 is the mean, 1 the surface map, 2 the shadow map."""
_SNORM = 127.0


class GlBasis:
    """Textures of one basis, and the coefficients of the frame that was uploaded last."""

    def __init__(self, basis: TextureBasis) -> None:
        self.basis = basis
        height, width = basis.mean.shape[:2]
        levels = min(3, min(width, height).bit_length())
        form = TextureFormat(levels=levels, min_filter=GL.GL_LINEAR_MIPMAP_NEAREST)
        self.mean = Texture((width, height), form)
        # Four channels: drivers convert three-channel texels one by one.
        self.mean.write(_rgba(basis.mean))
        self.mean.generate_mipmaps()
        count, height, width = basis.planes.shape[:3]
        self._planes = TextureArray(
            (width, height, count), GL.GL_RGBA8_SNORM, GL.GL_RGBA, GL.GL_BYTE
        )
        self._planes.write(_rgba(basis.planes))
        rows, columns, _ = basis.nodes_shape
        self._nodes = TextureArray(
            (columns, rows, count // 4), GL.GL_RGBA16F, GL.GL_RGBA, GL.GL_FLOAT
        )

    def upload(self, mesh: MeshNodes) -> None:
        """The coefficients of one frame."""
        rows, columns, count = self.basis.nodes_shape
        scaled = mesh.nodes * (self.basis.scale * np.float32(_SNORM))
        layers = scaled.reshape(rows, columns, count // 4, 4).transpose(2, 0, 1, 3)
        self._nodes.write(np.ascontiguousarray(layers, np.float32))

    def bind(self) -> None:
        """All three, each on its unit."""
        self._planes.bind(PLANES_UNIT)
        self._nodes.bind(NODES_UNIT)
        self.mean.bind(0)

    def release(self) -> None:
        for texture in (self.mean, self._planes, self._nodes):
            texture.release()


class GlBasisCache:
    """The last few bases, by identity; the oldest are released."""

    def __init__(self, capacity: int = 4) -> None:
        self._capacity = capacity
        self._bases: OrderedDict[int, GlBasis] = OrderedDict()

    def get(self, basis: TextureBasis) -> GlBasis:
        found = self._bases.get(id(basis))
        if found is None:
            while len(self._bases) >= self._capacity:
                self._bases.popitem(last=False)[1].release()
            found = self._bases[id(basis)] = GlBasis(basis)
        self._bases.move_to_end(id(basis))
        return found

    def release(self) -> None:
        for basis in self._bases.values():
            basis.release()
        self._bases.clear()


def _rgba(texels: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """(..., 3) -> (..., 4), the fourth zero."""
    out = np.zeros((*texels.shape[:-1], 4), texels.dtype)
    out[..., :3] = texels
    return out
