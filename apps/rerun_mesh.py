"""An avatar's decoded mesh in a Rerun recording: few meshes a second, each part rarely.

Faces, texture coordinates and one texture are logged once for each topology; hair, which only rides
on the head, once in the head's frame; all other vertices at every mesh.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.pipeline import Codes
from streams.avatar_code import AvatarCode
from streams.mesh_texture import MeshTexture
from streams.rigid import Rigid
from streams.topology import PARTS, Topology
from streams.tracked_state import TrackedState

BODY, HAIR = "/world/avatar", "/world/head/hair"
_HAIR_PART, _LASH_PART = PARTS.index("hair"), PARTS.index("lash")
CLEAR = 128
"""Rerun's viewer ignores a texture's opacity: faces that are clearer than this are left out, and so
are lashes, which would be black cards."""


class RerunMesh:
    """Decodes and logs; the recording's timelines stand at the record's moment."""

    def __init__(self, rr: ModuleType, recording: Any, avatar: Codes, mesh_fps: float) -> None:
        self._rr, self._recording, self._avatar = rr, recording, avatar
        self._step_ns = round(1e9 / mesh_fps)
        self._next_ns: int | None = None
        self._shown: dict[str, Topology | None] = {}
        self._textured: set[str] = set()
        self._parts: tuple[Topology, npt.NDArray[np.bool_], npt.NDArray[np.bool_]] | None = None
        self.count = 0

    def add(self, record: TrackedState | AvatarCode) -> None:
        """Decode and log the mesh of this moment, if it is time for one.

        Raises ValueError for a code of another avatar.
        """
        if self._next_ns is not None and record.t_ns < self._next_ns:
            return
        self._next_ns = record.t_ns + self._step_ns
        code = self._avatar.encode(record) if isinstance(record, TrackedState) else record
        mesh = self._avatar.decode(code)
        self.count += 1
        hair, body = self._parts_of(mesh.topology)
        self._log_part(BODY, mesh, body)
        if code.world_from_head is not None and HAIR not in self._shown:
            self._log_part(HAIR, mesh, hair, code.world_from_head.inverse())

    def _parts_of(self, topology: Topology) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Which faces (F,) are hair, and which are body."""
        if self._parts is None or self._parts[0] is not topology:
            part = topology.parts[topology.faces[:, 0]]
            height, width = topology.surface.shape[:2]
            middle = topology.uv[topology.faces].mean(1) * [width, height]
            x, y = np.clip(middle.astype(int), 0, [width - 1, height - 1]).T
            opaque = topology.surface[y, x, 3] >= CLEAR
            is_hair = part == _HAIR_PART
            self._parts = topology, is_hair & opaque, opaque & ~is_hair & (part != _LASH_PART)
        return self._parts[1], self._parts[2]

    def _log_part(
        self,
        entity: str,
        mesh: MeshTexture,
        chosen: npt.NDArray[np.bool_],
        frame_from_world: Rigid | None = None,
    ) -> None:
        """Faces (F,) of the mesh as an entity; what is there already is not logged again."""
        topology = mesh.topology
        if not chosen.any():
            if self._shown.get(entity) is not None:
                self._recording.log(entity, self._rr.Clear(recursive=False), strict=True)
                # What was cleared has to be logged again.
                self._shown[entity] = None
                self._textured.discard(entity)
            return
        used, corners = np.unique(topology.faces[chosen], return_inverse=True)
        vertices, normals = mesh.vertices[used], mesh.normals[used]
        if frame_from_world is not None:
            vertices = np.asarray(frame_from_world.apply(vertices))
            normals = np.asarray(frame_from_world.rotate(normals))
        fields: dict[str, Any] = {"vertex_positions": vertices}
        if topology.lit:
            fields["vertex_normals"] = normals
        if self._shown.get(entity) is not topology:
            self._shown[entity] = topology
            fields["triangle_indices"] = corners.reshape(-1, 3)
            fields["vertex_texcoords"] = topology.uv[used]
        if entity not in self._textured:
            self._textured.add(entity)
            fields["albedo_texture"] = mesh.albedo
        self._recording.log(entity, self._rr.Mesh3D(**fields), strict=True)
