"""What a page must know of a topology before it can read its frames: one blob for each.

Besides faces, texture coordinates and parts it holds what the coding of frames needs
(`mesh_coding`): pieces that move about rigidly, a rest shape, the order of decoding and each
vertex's neighbours; and what the page needs to find normals by itself.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import zstandard
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import KDTree

from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]

QUANTUM_M = 1e-4
"""Step of coordinates, metres: what is decoded is within half of it."""
MOST_VERTICES = 65_535
MOST_FACES = 262_144
LEAST_PIECE = 400
"""Vertices that a connected part must have to be a piece of its own; smaller ones belong to the
piece that they are nearest to."""
MOST_PIECES = 16
SMOOTH_COSINE = float(np.cos(np.deg2rad(1.0)))
"""Where the mean of the faces' normals is as near to the vertex's own at rest, it is used."""
MAGIC = b"VVMD"
VERSION = 1
HEADER = struct.Struct("<4sHHIIIIf")
"""Magic, version, flags (1: lit), vertices, faces, pieces, turned normals, quantum."""


@dataclass(frozen=True, slots=True, eq=False)
class MeshDescription:
    """One topology's."""

    faces: Int32
    """(F, 3) vertex indices."""
    uv: Float32
    """(V, 2), as `Topology.uv`."""
    parts: npt.NDArray[np.uint8]
    """(V,) as `Topology.parts`."""
    lit: bool
    weld: Int32
    """(V,) the first vertex at the same point: a cut of the texture."""
    piece_of: npt.NDArray[np.uint8]
    """(V,) 0, 1, ..."""
    rest: Float32
    """(V, 3) metres, each piece from its own centre: where frames are predicted from."""
    order: Int32
    """(V,) the order in which vertices are decoded."""
    neighbours: Int32
    """(3, V) a, b, c: vertices decoded before, across whose edge ab the triangle abc mirrors to
    this one; all the same where there is one neighbour only, V where there is none."""
    turned: Int32
    """(N,) vertices whose normals are not the mean of their faces'."""
    turned_by: Int32
    """(N,) a neighbour of each, which gives its normal's frame a direction."""
    turned_normals: Int16
    """(N, 3) the normal in that frame, in 32767ths."""

    @property
    def vertices(self) -> int:
        return len(self.uv)

    @property
    def pieces(self) -> int:
        return int(self.piece_of.max()) + 1 if len(self.piece_of) else 0

    @staticmethod
    def of(mesh: MeshTexture | MeshNodes) -> MeshDescription:
        """Made from a topology and the first moment of it, which becomes the rest shape.

        Raises ValueError for a mesh that is too large, or not finite.
        """
        topology, at = mesh.topology, mesh.vertices.astype(np.float64)
        count = len(at)
        if count > MOST_VERTICES or len(topology.faces) > MOST_FACES:
            raise ValueError(
                f"MeshDescription.of: expected at most {MOST_VERTICES} vertices and {MOST_FACES} "
                f"faces, got {count} and {len(topology.faces)}"
            )
        if not np.isfinite(at).all():
            raise ValueError("MeshDescription.of: expected finite vertices")
        weld = _weld(mesh.vertices, mesh.normals)
        faces = weld[topology.faces]
        piece_of = _pieces(faces, weld, at)
        rest = at.copy()
        for piece in np.unique(piece_of):
            mine = piece_of == piece
            rest[mine] -= (at[mine].min(0) + at[mine].max(0)) / 2.0
        rest = rest.astype(np.float32)
        order, neighbours = _prediction(faces, weld, rest)
        turned = _turned_normals(topology.faces, weld, at, mesh.normals.astype(np.float64))
        return MeshDescription(
            topology.faces, topology.uv, topology.parts, topology.lit, weld, piece_of, rest,
            order, neighbours, *turned,
        )  # fmt: skip

    def pack(self) -> bytes:
        """The blob: a header, then one zstd frame of the arrays."""
        header = HEADER.pack(
            MAGIC, VERSION, int(self.lit), self.vertices, len(self.faces), self.pieces,
            len(self.turned), QUANTUM_M,
        )  # fmt: skip
        body = b"".join(
            array.tobytes()
            for array in (
                self.faces.astype("<u4"), self.uv.astype("<f4"), self.weld.astype("<u4"),
                self.order.astype("<u4"), self.neighbours.astype("<u4"),
                self.turned.astype("<u4"), self.turned_by.astype("<u4"),
                quantised(self.rest).astype("<i2"), self.turned_normals.astype("<i2"),
                self.parts, self.piece_of,
            )
        )  # fmt: skip
        return header + zstandard.ZstdCompressor(level=6).compress(body)

    def normals(self, vertices: Float32) -> Float32:
        """(V, 3) unit normals of vertices (V, 3) metres: the slow twin of `page/wire/normals.js`.

        A point without area around it has a zero normal.
        """
        at = vertices.astype(np.float64)
        found = _face_normals(self.faces, self.weld, at)
        frames = _frames(at, found, self.turned, self.turned_by)
        local = self.turned_normals.astype(np.float64) / 32767.0
        found[self.turned] = _unit(np.einsum("nij,nj->ni", frames, local))
        return found.astype(np.float32)


def quantised(local: npt.NDArray[np.floating]) -> Int16:
    """(V, 3) metres in the pieces' frames -> (3, V) int16 steps.

    Raises ValueError for what is too far from its piece's centre, or not finite.
    """
    return rounded(local.T * np.float32(1.0 / QUANTUM_M))


def rounded(steps: npt.NDArray[np.floating]) -> Int16:
    """(3, V) steps to the nearest whole ones. Raises ValueError as `quantised`."""
    steps = np.rint(steps)
    if not np.abs(steps).max(initial=0.0) <= 32767.0:
        raise ValueError(
            f"mesh: expected vertices within {32767 * QUANTUM_M:.2f} m of their piece's centre"
        )
    return steps.astype(np.int16)


def _weld(vertices: Float32, normals: Float32) -> Int32:
    """(V,) the first vertex of the very same place that looks the same way."""
    keys = np.concatenate([vertices, np.rint(normals * 100.0)], axis=1).astype(np.float32) + 0.0
    rows = np.ascontiguousarray(keys).view([("", np.float32)] * 6).ravel()
    _, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    return first[inverse.ravel()].astype(np.int32)


def _links(faces: Int32, count: int) -> sparse.csr_array:
    a = faces.ravel()
    b = np.roll(faces, -1, axis=1).ravel()
    return sparse.csr_array((np.ones(len(a), np.int8), (a, b)), shape=(count, count))


def _pieces(faces: Int32, weld: Int32, at: Float64) -> npt.NDArray[np.uint8]:
    """(V,) which piece each vertex belongs to: large connected parts, and what is near them."""
    count = len(at)
    if not count:
        return np.zeros(0, np.uint8)
    parts, part_of = csgraph.connected_components(_links(faces, count), directed=False)
    part_of = part_of[weld]
    sizes = np.bincount(part_of, minlength=parts)
    large = np.argsort(-sizes, kind="stable")[:MOST_PIECES]
    large = large[sizes[large] >= min(LEAST_PIECE, sizes.max())]
    piece_of_part = np.full(parts, -1)
    piece_of_part[large] = np.arange(len(large))
    piece_of = piece_of_part[part_of]
    settled = np.nonzero(piece_of >= 0)[0]
    _, nearest = KDTree(at[settled]).query(at)
    # A small part goes as a whole where most of it is nearest to.
    votes = np.zeros((parts, len(large)))
    np.add.at(votes, (part_of, piece_of[settled[nearest]]), 1.0)
    joins = np.where(piece_of_part >= 0, piece_of_part, votes.argmax(1))
    return joins[part_of].astype(np.uint8)


def _prediction(faces: Int32, weld: Int32, rest: Float32) -> tuple[Int32, Int32]:
    """(V,) order of decoding and (3, V) neighbours, breadth first over each connected part."""
    count = len(rest)
    if not count:
        return np.zeros(0, np.int32), np.zeros((3, 0), np.int32)
    links = _links(faces, count)
    part_of = csgraph.connected_components(links, directed=False)[1]
    _, starts = np.unique(part_of, return_index=True)
    starts = starts[weld[starts] == starts]  # copies at a cut are parts of their own here
    # One search over all parts, from a point beyond the last that leads to each of them.
    coo = links.tocoo()
    ways = [np.full(len(starts), count), coo.row, coo.col], [starts, coo.col, coo.row]
    rows, columns = map(np.concatenate, ways)
    shape, each = (count + 1, count + 1), np.ones(len(rows), np.int8)
    graph = sparse.csr_array((each, (rows, columns)), shape=shape)
    visited = csgraph.breadth_first_order(graph, count, return_predecessors=False)[1:]
    rank, placed = np.full(count, -1, np.int64), len(visited)
    rank[visited] = np.arange(placed)
    copies = np.nonzero(weld != np.arange(count))[0]
    rank[copies] = placed + np.arange(len(copies))
    order = np.argsort(rank).astype(np.int32)
    found = np.full((3, count), count, np.int64)
    # One neighbour: of those decoded before, the first.
    a, b = np.concatenate([coo.row, coo.col]), np.concatenate([coo.col, coo.row])
    before = rank[b] < rank[a]
    a, b = a[before], b[before]
    by_rank = np.lexsort((rank[b], a))
    own, first = np.unique(a[by_rank], return_index=True)
    found[:, own] = b[by_rank][first]
    own, chosen = _mirrored(faces, rank, rest)
    found[:, own] = chosen
    found[:, copies] = weld[copies]
    return order, found.astype(np.int32)


def _mirrored(
    faces: Int32, rank: npt.NDArray[np.int64], rest: Float32
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(N,) vertices opposite to a triangle that comes before them, and (3, N) that triangle: of
    several, the one whose parallelogram ends nearest to the vertex."""
    corners = np.concatenate([np.roll(faces, -k, axis=1) for k in range(3)]).astype(np.int64)
    # Rows a, b, c: the edge ab with the corner c on its side; the same edge the other way round
    # has the corner of the other side.
    low, high = corners[:, :2].min(1), corners[:, :2].max(1)
    by_edge = np.lexsort((high, low))
    low, high, across = low[by_edge], high[by_edge], corners[by_edge, 2]
    same = (low[1:] == low[:-1]) & (high[1:] == high[:-1])
    k = np.nonzero(same)[0]
    x = np.concatenate([across[k], across[k + 1]])
    a, b = np.tile(low[k], 2), np.tile(high[k], 2)
    c = np.concatenate([across[k + 1], across[k]])
    fits = (rank[x] > rank[a]) & (rank[x] > rank[b]) & (rank[x] > rank[c])
    fits &= (a != b) & (x != a) & (x != b) & (c != a) & (c != b)
    x, a, b, c = x[fits], a[fits], b[fits], c[fits]
    off = np.linalg.norm(rest[a] + rest[b] - rest[c] - rest[x], axis=1)
    best = np.lexsort((off, x))
    own, first = np.unique(x[best], return_index=True)
    row = best[first]
    return own, np.stack([a[row], b[row], c[row]])


def _unit(vectors: Float64) -> Float64:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-20)


def _face_normals(faces: Int32, weld: Int32, at: Float64) -> Float64:
    """(V, 3) area weighted means over the faces at each point, unit vectors."""
    a, b, c = weld[faces].T
    face = np.cross(at[b] - at[a], at[c] - at[a])
    total = np.zeros_like(at)
    for corner in (a, b, c):
        np.add.at(total, corner, face)
    return _unit(total)[weld]


def _frames(at: Float64, normals: Float64, own: Int32, towards: Int32) -> Float64:
    """(N, 3, 3) columns: the tangent towards the neighbour, across it, the normal."""
    z = normals[own]
    x = at[towards] - at[own]
    x = _unit(x - np.einsum("ni,ni->n", x, z)[:, None] * z)
    return np.stack([x, np.cross(z, x), z], axis=2)


def _turned_normals(
    faces: Int32, weld: Int32, at: Float64, normals: Float64
) -> tuple[Int32, Int32, Int16]:
    """The normals that are not their faces' mean, in frames that turn with the surface."""
    mean = _face_normals(faces, weld, at)
    turned = np.nonzero(np.einsum("ni,ni->n", mean, normals) < SMOOTH_COSINE)[0].astype(np.int32)
    towards = np.arange(len(at), dtype=np.int32)
    # The farthest other corner of any face at the vertex: short edges have no sure direction.
    for k in range(3):
        own, other = faces[:, k], faces[:, (k + 1) % 3]
        by_length = np.argsort(np.linalg.norm(at[other] - at[own], axis=1), kind="stable")
        towards[own[by_length]] = other[by_length]
    frames = _frames(at, mean, turned, towards[turned])
    local = np.einsum("nij,ni->nj", frames, normals[turned])
    return turned, towards[turned], np.rint(np.clip(local, -1, 1) * 32767.0).astype(np.int16)
