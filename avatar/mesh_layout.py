"""Which parts make one mesh: head or not, each hand or not; one Topology for each combination."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.topology import PARTS, Topology

BLENDED_PARTS = (PARTS.index("lash"), PARTS.index("hair"), PARTS.index("glasses"))
"""Drawn over the rest, in this order."""


@dataclass(frozen=True, slots=True, eq=False)
class MeshPiece:
    """What does not change of one piece: the head, or a hand."""

    name: str
    faces: npt.NDArray[np.int32]
    """(F, 3) int32, counted from 0 within the piece."""
    uv: npt.NDArray[np.float32]
    """(V, 2) float32."""
    parts: npt.NDArray[np.uint8]
    """(V,) uint8."""


class MeshLayout:
    """Topologies by the pieces present, made once each, so that a renderer uploads them once."""

    def __init__(self, avatar: str, surface: npt.NDArray[np.uint8], lit: bool = True) -> None:
        """`surface` and `lit` as in Topology; `avatar` names the topologies."""
        self._avatar = avatar
        self._lit = lit
        self._surface = surface
        self._made: dict[tuple[str, ...], Topology] = {}

    def topology(self, pieces: tuple[MeshPiece, ...]) -> Topology:
        """Vertices of the pieces one after the other; blended faces last."""
        key = tuple(piece.name for piece in pieces)
        if key not in self._made:
            self._made[key] = self._join(key, pieces)
        return self._made[key]

    def _join(self, key: tuple[str, ...], pieces: tuple[MeshPiece, ...]) -> Topology:
        starts = np.cumsum([0] + [len(piece.uv) for piece in pieces])[:-1]
        faces = [p.faces + start for p, start in zip(pieces, starts, strict=True)]
        faces = np.concatenate([np.zeros((0, 3), np.int32), *faces]).astype(np.int32)
        uv = np.concatenate([np.zeros((0, 2), np.float32), *(p.uv for p in pieces)])
        parts = np.concatenate([np.zeros(0, np.uint8), *(p.parts for p in pieces)])
        part_of_face = parts[faces[:, 0]]
        rank = np.zeros(len(faces), np.int64)
        for order, part in enumerate(BLENDED_PARTS):
            rank[part_of_face == part] = order + 1
        faces = faces[np.argsort(rank, kind="stable")]
        return Topology("/".join((self._avatar, *key)), faces, uv, parts, self._surface, self._lit)
