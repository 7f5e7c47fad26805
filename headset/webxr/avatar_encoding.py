"""One person's avatar for one page: meshes and their textures as messages under one frame id."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headset.webxr.flow_control import Rung
from headset.webxr.mesh_coding import MeshEncoder
from headset.webxr.messages import Message, MessageKind, Section, SectionKind
from headset.webxr.nodes_coding import pack_nodes
from headset.webxr.scene_blobs import SceneBlobs, SceneEntry
from headset.webxr.texture_video import TextureVideoEncoder
from streams.closing import Closing
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture

IDR = 1
"""Flag of an H.264 section that stands alone."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedFrame:
    """A message, and what the page must know before it."""

    message: Message
    entry: SceneEntry
    new_scene: bool


class AvatarEncoding(Closing):
    """Remembers what was sent last. Belongs to one thread at a time."""

    def __init__(self, blobs: SceneBlobs, person: int, nodes: bool, texture_size: int) -> None:
        """`nodes`: whether the page sums a texture basis itself; otherwise it gets the sum."""
        self._blobs, self._person, self._nodes = blobs, person, nodes
        self._texture_size = texture_size
        self._mesh: MeshEncoder | None = None
        self._video: TextureVideoEncoder | None = None

    def encode(
        self, mesh: MeshTexture | MeshNodes, frame_id: int, rung: Rung, key: bool
    ) -> EncodedFrame:
        """Raises ValueError for a mesh that cannot be sent; the next one should be a key."""
        entry = self._blobs.of(mesh)
        new_scene = self._mesh is None or self._mesh.number != entry.number
        if self._mesh is None or new_scene:
            self._mesh = MeshEncoder(entry.number, entry.description)
        data, mesh_key = self._mesh.encode(mesh.vertices, frame_id, key)
        kind = SectionKind.MESH_KEY if mesh_key else SectionKind.MESH_DELTA
        parts, whole = [Section(kind, data)], mesh_key
        if isinstance(mesh, MeshNodes) and self._nodes:
            parts.append(Section(SectionKind.NODES, pack_nodes(mesh)))
        elif mesh.topology.faces.size:
            picture, alone = self._picture(mesh, rung, key)
            parts.append(Section(SectionKind.H264, picture, IDR if alone else 0))
            whole = whole and alone
        message = Message(
            MessageKind.AVATAR, tuple(parts), frame_id, mesh.t_ns, self._person, whole
        )
        return EncodedFrame(message, entry, new_scene)

    def close(self) -> None:
        """Free the video encoder. May be called twice."""
        if self._video is not None:
            self._video.close()
            self._video = None

    def _picture(self, mesh: MeshTexture | MeshNodes, rung: Rung, key: bool) -> tuple[bytes, bool]:
        if isinstance(mesh, MeshTexture):
            albedo = mesh.albedo
        else:
            albedo = mesh.basis.picture(mesh.nodes, mesh.gain)
        size = texture_size(albedo.shape[1], albedo.shape[0], min(rung.size, self._texture_size))
        if self._video is None or (self._video.size, self._video.bits_s) != (size, rung.bits_s):
            self.close()
            self._video = TextureVideoEncoder(size, rung.bits_s)
        return self._video.encode(np.asarray(albedo), key)


def texture_size(width: int, height: int, most: int) -> tuple[int, int]:
    """(width, height) with even sides, the longer one at most `most`, never enlarged."""
    scale = min(1.0, most / max(width, height))
    even = [max(16, 2 * round(side * scale / 2.0)) for side in (width, height)]
    return even[0], even[1]
