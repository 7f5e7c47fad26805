"""The avatar: encoder and decoder of one person.

with Avatar.open("default") as avatar:
    code = avatar.encode(state)                  # at most 256 numbers; what a network carries
    mesh = avatar.decode(code, view)             # vertices, normals and texture
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from assets.manifest import asset_path
from avatar.checkpoint import Checkpoint
from avatar.decoder import Decoder
from avatar.encoder import APPEARANCE, GEOMETRY, Encoder
from avatar.eye_balls import STRAIGHT
from avatar.hand_rig import HandRig
from avatar.head_mesh import HeadMesh
from avatar.head_placement import HeadPlacement, moving_vertices
from avatar.linear_rig import rig_vertices
from avatar.mesh_assembly import MeshAssembly, view_direction
from avatar.mesh_layout import MeshLayout, MeshPiece
from avatar.skin_texture import SkinTexture
from streams.avatar_code import AvatarCode
from streams.closing import Closing
from streams.frame import Frame
from streams.mesh_texture import MeshTexture
from streams.rigid import Rigid
from streams.tracked_state import TrackedState
from streams.view import View

Float32 = npt.NDArray[np.float32]

SHIPPED_WEIGHT = 15.0
"""Squared code values that one unit of a number makes, about."""


class Avatar(Closing):
    """One avatar, loaded. Not shared between threads; the same input gives the same bytes."""

    def __init__(self, head: HeadMesh, encoder: Encoder, decoder: Decoder, hands: HandRig) -> None:
        """Use `open`; this one takes the parts that it reads."""
        self.id = f"avatars/{head.name}"
        self._encoder, self._decoder = encoder, decoder
        self._head, self._placement = head, HeadPlacement(head)
        self._neutral_face = head.vertices[self._placement.moving]
        self._skin = SkinTexture(head.albedo, decoder.atlas_rectangle(len(head.albedo)))
        piece = MeshPiece("head", head.faces, head.uv, head.parts)
        self._assembly = MeshAssembly(MeshLayout(self.id, head.surface), piece, hands)
        self._closed = False

    @staticmethod
    def open(avatar_id: str = "default", weights: Path | None = None) -> Avatar:
        """An avatar that ships: "default", "amara", "mei" or "walter"; `weights` is another file
        of the codec's networks than the shipped one.

        Raises ValueError (AssetError, CheckpointError) when there is none of that name or one of
        its files is damaged.
        """
        name = avatar_id.removeprefix("avatars/")
        head = HeadMesh.open(name)
        with Checkpoint(weights or asset_path("avatars/codec")) as file:
            encoder = Encoder.read(file)
            decoder = Decoder.read(file, name, len(moving_vertices(head)))
        return Avatar(head, encoder, decoder, HandRig.open())

    @property
    def head(self) -> HeadMesh:
        """At rest."""
        return self._head

    @property
    def decoder(self) -> Decoder:
        """The networks and bases that decode."""
        return self._decoder

    def close(self) -> None:
        """Decoding and encoding afterwards raise ValueError. May be called twice."""
        self._closed = True

    def begin_anew(self) -> None:
        """Nothing is remembered from one moment to the next."""

    def encode(self, state: TrackedState, frame: Frame | None = None) -> AvatarCode:
        """The code of what was tracked. `frame` is not used yet, so every code is "driven"."""
        self._require_open("encode")
        face = state.face
        geometry, appearance = np.zeros(GEOMETRY, np.float32), np.zeros(APPEARANCE, np.float32)
        if face is not None:
            geometry, appearance = self._encoder.code(face.blendshapes, face.gaze)
        return AvatarCode(
            t_ns=state.t_ns,
            avatar=self.id,
            geometry=geometry,
            appearance=appearance,
            gaze=STRAIGHT if face is None else face.gaze,
            world_from_head=None if face is None else face.world_from_head,
            hands=state.hands,
        )

    def decode(self, code: AvatarCode, view: View | None = None) -> MeshTexture:
        """Vertices, normals and texture, in the world; what is not in the code is not in the mesh.

        `view` says from where the texture is seen (default: from the world's origin, where a webcam
        stands).
        """
        self._require_open("decode")
        self._require_own("decode", code)
        if code.world_from_head is None:
            parts = self._assembly.join(None, code.hands, None)
            return MeshTexture(code.t_ns, *parts, self._skin.neutral)
        face = self._neutral_face + self._decoder.offsets(code.geometry)
        head = self._placement.place(face, code.gaze, code.world_from_head)
        towards = view_direction(code.world_from_head, view)
        albedo = self._skin.coloured(self._decoder.field(code.appearance, towards))
        parts = self._assembly.join(head, code.hands, code.world_from_head)
        return MeshTexture(code.t_ns, *parts, albedo)

    def weights(self) -> tuple[Float32, Float32]:
        """For the bitstream: the same for every number, as the networks were trained for."""
        each = np.float32(SHIPPED_WEIGHT)
        return np.full(GEOMETRY, each), np.full(APPEARANCE, each)

    def expected(self, pose: Rigid, geometry: Float32, gaze: Float32) -> Float32:
        """(APPEARANCE,) zeros: of these avatars all appearance is sent."""
        return np.zeros(APPEARANCE, np.float32)

    def rig(self, state: TrackedState) -> MeshTexture:
        """The same person by the slow twin: plain blend shapes, the neutral texture.

        Exact for the state's own weights, so synthetic people are filmed with it.
        """
        self._require_open("rig")
        face, head = state.face, None
        if face is not None:
            vertices = rig_vertices(self._head, face.blendshapes, face.gaze)
            moving = vertices[self._placement.moving]
            head = self._placement.place(moving, face.gaze, face.world_from_head)
        world_from_head = None if face is None else face.world_from_head
        parts = self._assembly.join(head, state.hands, world_from_head)
        return MeshTexture(state.t_ns, *parts, self._skin.neutral)

    def _require_open(self, verb: str) -> None:
        if self._closed:
            raise ValueError(f"Avatar.{verb}: this avatar is closed; open it again")

    def _require_own(self, verb: str, code: AvatarCode) -> None:
        if code.avatar != self.id:
            raise ValueError(
                f"Avatar.{verb}: expected a code of {self.id!r}, got one of {code.avatar!r}"
            )
        for name, size in (("geometry", GEOMETRY), ("appearance", APPEARANCE)):
            got = len(getattr(code, name))
            if got != size:
                raise ValueError(f"Avatar.{verb}: expected {size} {name} numbers, got {got}")
