"""A mesh on the card: what a Topology keeps, uploaded once; what a frame brings, each frame."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from OpenGL import GL

from render.gl_basis import GlBasisCache
from render.gl_objects import Buffer, Texture, TextureFormat, VertexArray
from render.materials import DRAW_ORDER, Material, material_of
from render.relief import relief_map, slope_scale
from render.silhouette import EdgeTable
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.topology import PARTS, Topology

_ALBEDO_LEVELS = 3
"""Mip levels made a frame: a face fills the texture enough that more would not be sampled."""
_OUTLINED = ("cloth", "skin", "teeth")
"""Parts whose edges are seen; eye balls and tongue end behind lids and lips."""


@dataclass(frozen=True, slots=True)
class PartRange:
    """A run of indices of one part."""

    part: str
    material: Material
    first: int
    count: int


class GlMesh:
    """Buffers and textures of one Topology."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.ranges, indices = _by_part(topology)
        self._all_indices = indices
        self.caster = next((r for r in self.ranges if r.material.kind == "skin"), None)
        """What throws shadows. Fibres are mostly holes and as solid cards would throw a helmet's
        shadow; the rest throws none that would be missed."""
        self._edges: EdgeTable | None = None
        self._vertices = Buffer(GL.GL_ARRAY_BUFFER)
        self._normals = Buffer(GL.GL_ARRAY_BUFFER)
        self._uv = Buffer(GL.GL_ARRAY_BUFFER)
        self._uv.write(topology.uv, GL.GL_STATIC_DRAW)
        self._indices = Buffer(GL.GL_ELEMENT_ARRAY_BUFFER)
        self._arrays = self._vertex_array(self._indices)
        self._indices.write(indices, GL.GL_STATIC_DRAW)
        self._outline_indices = Buffer(GL.GL_ELEMENT_ARRAY_BUFFER)
        self._outline_arrays = self._vertex_array(self._outline_indices)
        surface = topology.surface
        if 0 in surface.shape:
            surface = np.full((1, 1, 4), (128, 255, 128, 255), np.uint8)
        self.surface = _static_texture(surface)
        self.relief = _static_texture(relief_map(surface))
        self.slope_scale = slope_scale(surface)
        self._albedo: Texture | None = None
        self._rgba = np.empty((0, 0, 4), np.uint8)
        self._uploaded: MeshTexture | MeshNodes | None = None

    def upload(self, mesh: MeshTexture | MeshNodes, bases: GlBasisCache) -> None:
        """Send what changed; the same mesh again (the other eye) costs nothing."""
        if mesh is self._uploaded:
            return
        self._vertices.write(mesh.vertices)
        self._normals.write(mesh.normals)
        if isinstance(mesh, MeshNodes):
            bases.get(mesh.basis).upload(mesh)
        else:
            self._upload_albedo(mesh.albedo)
        self._uploaded = mesh

    def upload_outlines(
        self, mesh: MeshTexture | MeshNodes, clip_from_world: npt.NDArray[np.float64]
    ) -> list[PartRange]:
        """Send the outlines of a view; the runs of line indices, by part."""
        outlined = [r for r in self.ranges if r.part in _OUTLINED]
        if not outlined:
            return []
        if self._edges is None:
            runs = [self._all_indices[r.first : r.first + r.count] for r in outlined]
            faces = np.concatenate(runs).reshape(-1, 3).astype(np.int32)
            groups = np.repeat(np.arange(len(outlined)), [r.count // 3 for r in outlined])
            self._edges = EdgeTable(faces, groups)
        ends, groups = self._edges.outlines(mesh.vertices, clip_from_world)
        self._outline_arrays.bind()
        self._outline_indices.write(ends)
        bounds = np.searchsorted(groups, np.arange(len(outlined) + 1))
        return [
            PartRange(run.part, run.material, 2 * int(low), 2 * int(high - low))
            for run, low, high in zip(outlined, bounds[:-1], bounds[1:], strict=True)
        ]

    def bind_outlines(self) -> None:
        """As `bind`, for drawing the lines of `upload_outlines`."""
        self.bind()
        self._outline_arrays.bind()

    def bind(self) -> None:
        """Ready to draw: arrays, and the albedo on texture unit 0, unless a basis is its place."""
        if self._uploaded is None:
            raise RuntimeError("GlMesh.bind: nothing was uploaded yet")
        self._arrays.bind()
        if self._albedo is not None and isinstance(self._uploaded, MeshTexture):
            self._albedo.bind(0)

    def release(self) -> None:
        arrays = (self._arrays, self._outline_arrays)
        buffers = (self._vertices, self._normals, self._uv, self._indices, self._outline_indices)
        for thing in (*arrays, *buffers, self.surface, self.relief, self._albedo):
            if thing is not None:
                thing.release()
        self._uploaded = None

    def _vertex_array(self, indices: Buffer) -> VertexArray:
        arrays = VertexArray()
        for location, buffer, width in (
            (0, self._vertices, 3),
            (1, self._normals, 3),
            (2, self._uv, 2),
        ):
            arrays.attach_floats(location, buffer, width)
        arrays.attach_indices(indices)
        return arrays

    def _upload_albedo(self, albedo: npt.NDArray[np.uint8]) -> None:
        height, width = albedo.shape[:2]
        if self._albedo is None or self._albedo.size != (width, height):
            if self._albedo is not None:
                self._albedo.release()
            levels = min(_ALBEDO_LEVELS, min(width, height).bit_length())
            # Nearest mip, not a blend of two: half the texture reads, and a software GL feels it.
            form = TextureFormat(levels=levels, min_filter=GL.GL_LINEAR_MIPMAP_NEAREST)
            self._albedo = Texture((width, height), form)
            self._rgba = np.empty((height, width, 4), np.uint8)
        # Four channels: drivers convert three-channel texels one by one.
        level_texels = cv2.cvtColor(albedo, cv2.COLOR_RGB2RGBA, dst=self._rgba)
        for level in range(self._albedo.form.levels):
            if level:
                size = (max(1, width >> level), max(1, height >> level))
                level_texels = cv2.resize(level_texels, size, interpolation=cv2.INTER_AREA)
            self._albedo.write(level_texels, level)


class GlMeshCache:
    """The meshes of the last few topologies, by identity; the oldest are released."""

    def __init__(self, capacity: int = 4) -> None:
        self._capacity = capacity
        self._meshes: OrderedDict[int, GlMesh] = OrderedDict()

    def get(self, topology: Topology) -> GlMesh:
        # A GlMesh holds its topology, so an id cannot be reused while it is a key here.
        mesh = self._meshes.get(id(topology))
        if mesh is None:
            while len(self._meshes) >= self._capacity:
                self._meshes.popitem(last=False)[1].release()
            mesh = self._meshes[id(topology)] = GlMesh(topology)
        self._meshes.move_to_end(id(topology))
        return mesh

    def release(self) -> None:
        for mesh in self._meshes.values():
            mesh.release()
        self._meshes.clear()


def _by_part(topology: Topology) -> tuple[tuple[PartRange, ...], npt.NDArray[np.uint32]]:
    """Faces grouped by part in drawing order -> the runs, and all indices."""
    face_parts = topology.parts[topology.faces[:, 0]] if len(topology.faces) else np.empty(0, int)

    def runs() -> Iterator[tuple[str, npt.NDArray[np.int32]]]:
        for part in DRAW_ORDER:
            faces = topology.faces[face_parts == PARTS.index(part)]
            if len(faces):
                yield part, faces

    ranges: list[PartRange] = []
    indices: list[npt.NDArray[np.uint32]] = [np.empty(0, np.uint32)]
    first = 0
    for part, faces in runs():
        material = material_of(part, topology.lit)
        ranges.append(PartRange(part, material, first, faces.size))
        indices.append(faces.astype(np.uint32).ravel())
        first += faces.size
    return tuple(ranges), np.concatenate(indices)


def _static_texture(texels: npt.NDArray[np.uint8]) -> Texture:
    height, width = texels.shape[:2]
    levels = max(width, height).bit_length()
    form = TextureFormat(levels=levels, min_filter=GL.GL_LINEAR_MIPMAP_NEAREST)
    texture = Texture((width, height), form)
    texture.write(texels)
    texture.generate_mipmaps()
    return texture
