"""From code and view direction to the face's moving vertices and its colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avatar.checkpoint import Checkpoint, CheckpointError
from avatar.encoder import APPEARANCE, GEOMETRY
from avatar.local_basis import GRID, LocalBasis
from avatar.network import Network

Float32 = npt.NDArray[np.float32]

CHART = 384
"""Texels along the side of the face's field, which covers HEAD_SHARE of the atlas."""
HEAD_SHARE = 0.75


@dataclass(frozen=True, slots=True, eq=False)
class Decoder:
    """The networks and bases all avatars share, and the numbers that say whose face it is."""

    person: Float32
    """(P,) float32: this avatar among those the networks know."""
    shape_network: Network
    """GEOMETRY + P -> coefficients of `shape_basis`."""
    shape_basis: Float32
    """(S, M * 3) float32 metres: how the moving vertices move."""
    colour_network: Network
    """APPEARANCE + 3 + P -> GRID * GRID * K coefficients."""
    colour_basis: LocalBasis

    @staticmethod
    def read(file: Checkpoint, avatar: str, moving: int) -> Decoder:
        """From `codec.safetensors`, for one of its avatars and its mesh's `moving` vertices."""
        avatars = file.names("avatars")
        if avatar not in avatars:
            listed = ", ".join(avatars)
            raise CheckpointError(f"{file.path}: expected an avatar among {listed}, got {avatar!r}")
        people = file.array("people", np.float32, (len(avatars), None))
        shape = file.array("shape_basis", np.float16, (None, moving * 3))
        scale = file.array("shape_scale", np.float32, (len(shape),))
        x, y, w, h = (int(n) for n in file.array("colour_rectangle", np.int32, (4,)))
        if min(x, y) < 0 or min(w, h) < 1 or max(x + w, y + h) > CHART:
            raise CheckpointError(
                f"{file.path}: colour_rectangle: expected x, y, w, h within {CHART}, "
                f"got {x}, {y}, {w}, {h}"
            )
        colour = file.array("colour_basis", np.int8, (None, h, w, 3))
        colour_scale = file.array("colour_scale", np.float32, (len(colour), 3))
        size = people.shape[1]
        return Decoder(
            person=people[avatars.index(avatar)],
            shape_network=Network.read(file, "shape", GEOMETRY + size, len(shape)),
            shape_basis=shape.astype(np.float32) * scale[:, None],
            colour_network=Network.read(
                file, "colour", APPEARANCE + 3 + size, GRID * GRID * len(colour)
            ),
            colour_basis=LocalBasis(
                colour.astype(np.float32) * colour_scale[:, None, None, :], (x, y, w, h), CHART
            ),
        )

    def offsets(self, geometry: Float32) -> Float32:
        """(GEOMETRY,) -> (M, 3) float32 metres, head frame, added to the neutral face."""
        coefficients = self.shape_network(np.concatenate([geometry, self.person]))
        return (coefficients @ self.shape_basis).reshape(-1, 3)

    def field(self, appearance: Float32, view: Float32) -> Float32:
        """(APPEARANCE,) and the unit direction (3,) from the head to the eye, head frame ->
        (h, w, 3) float32 log factors on the neutral albedo, on `colour_basis.rectangle`."""
        return self.colour_basis.field(self.nodes(appearance, view))

    def nodes(self, appearance: Float32, view: Float32) -> Float32:
        """(GRID, GRID, K) coefficients of the colour basis, of which `field` is the sum."""
        nodes = self.colour_network(np.concatenate([appearance, view, self.person]))
        return nodes.reshape(GRID, GRID, -1)

    def atlas_rectangle(self, atlas: int) -> tuple[int, int, int, int]:
        """The field's rectangle in texels of an atlas of this size."""
        scale = atlas * HEAD_SHARE / CHART
        x, y, w, h = self.colour_basis.rectangle
        return round(x * scale), round(y * scale), round(w * scale), round(h * scale)
