"""What never changes of the avatars shown, as blobs that pages fetch once by their hash."""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import zstandard

from headset.webxr.blob_store import BlobStore
from headset.webxr.mesh_description import MeshDescription
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.texture_basis import SPACES, TextureBasis

SURFACE = struct.Struct("<4sHHII")
"""Magic "VVSF", version, zero, width, height; then zstd of (H, W, 4) uint8."""
BASIS = struct.Struct("<4sHHIIIIIII")
"""Magic "VVTB", version, space, mean width and height, planes, their width and height, rows and
columns of nodes; then zstd of scale, mean, planes."""
REMEMBERED = 64
"""Topologies and textures of a session: an avatar has one for each set of visible hands."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class SceneEntry:
    """One topology with what belongs to it."""

    number: int
    """From 1 on; what frames call it."""
    description: MeshDescription
    blob: str
    """SHA-256 of the packed description."""
    surface: str
    basis: str | None


class _ByIdentity(Generic[T]):
    """Remembers what was made of a record, which is kept so that its identity stays its own."""

    def __init__(self) -> None:
        self._made: OrderedDict[int, tuple[Any, T]] = OrderedDict()

    def of(self, record: Any, make: Callable[[], T]) -> T:
        found = self._made.get(id(record))
        if found is None:
            found = record, make()
            self._made[id(record)] = found
            while len(self._made) > REMEMBERED:
                self._made.popitem(last=False)
        self._made.move_to_end(id(record))
        return found[1]


class SceneBlobs:
    """Thread-safe; what is new takes a third of a second."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._lock = threading.Lock()
        self._count = 0
        self._entries: _ByIdentity[_ByIdentity[SceneEntry]] = _ByIdentity()
        self._surfaces: _ByIdentity[str] = _ByIdentity()
        self._bases: _ByIdentity[str] = _ByIdentity()

    def of(self, mesh: MeshTexture | MeshNodes) -> SceneEntry:
        """Raises ValueError for a mesh that cannot be described."""
        basis = mesh.basis if isinstance(mesh, MeshNodes) else None
        with self._lock:
            entries = self._entries.of(mesh.topology, _ByIdentity)
            return entries.of(basis, lambda: self._make(mesh, basis))

    def _make(self, mesh: MeshTexture | MeshNodes, basis: TextureBasis | None) -> SceneEntry:
        description = MeshDescription.of(mesh)
        surface = mesh.topology.surface
        base = surface if surface.base is None else surface.base
        if basis is None:
            basis_blob = None
        else:
            basis_blob = self._bases.of(basis, lambda: self._blobs.add(pack_basis(basis)))
        entry = SceneEntry(
            self._count + 1,
            description,
            self._blobs.add(description.pack()),
            self._surfaces.of(base, lambda: self._blobs.add(pack_surface(surface))),
            basis_blob,
        )
        self._count += 1
        return entry


def pack_surface(surface: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """(H, W, 4) uint8 as `Topology.surface`."""
    height, width = surface.shape[:2]
    header = SURFACE.pack(b"VVSF", 1, 0, width, height)
    return header + zstandard.ZstdCompressor(level=3).compress(surface.tobytes())


def pack_basis(basis: TextureBasis) -> bytes:
    """All that a shader needs besides nodes and gain."""
    count, plane_height, plane_width = basis.planes.shape[:3]
    height, width = basis.mean.shape[:2]
    header = BASIS.pack(
        b"VVTB", 1, SPACES.index(basis.space), width, height, count, plane_width, plane_height,
        *basis.grid,
    )  # fmt: skip
    body = basis.scale.astype("<f4").tobytes() + basis.mean.tobytes() + basis.planes.tobytes()
    return header + zstandard.ZstdCompressor(level=3).compress(body)
