"""Vertices of one moment to a few kilobytes and back (docs/wire_format.md, "Mesh").

Each piece's rigid motion is sent as a pose; what is left is counted in steps of 0.1 mm in the
piece's frame. Of the steps the difference to the last frame sent is taken (of a key frame: to the
rest shape), and from that its prediction out of neighbours already decoded: the median of two
neighbours' differences and of the parallogram's through a third one, as LOCO-I predicts pixels
(Weinberger, Seroussi and Sapiro 2000) and as Touma and Gotsman (1998) predict vertices. All of it
is in 16-bit arithmetic that wraps around, so nothing needs a range. Most residuals are -1, 0 or 1:
four of them share a byte, larger ones follow, and zstd packs the bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import zstandard

from headset.webxr.mesh_description import QUANTUM_M, MeshDescription, quantised, rounded
from headset.webxr.messages import MessageError
from streams.rigid import wxyz_from_exact_rotations

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int16 = npt.NDArray[np.int16]
UInt16 = npt.NDArray[np.uint16]

HEADER = struct.Struct("<IIHHII")
"""Description's number, frame that this one is a difference to (0: none), pieces, reserved, bytes
of middling residuals, large ones."""
POSE = np.dtype("<f4")
SAMPLES = 64
"""Vertices of a piece that its pose is measured on."""
SMALL, MIDDLING = 3, 255
"""Zigzag residuals below SMALL are in the packed pairs of bits; those below SMALL + MIDDLING have
a byte; the others have two."""
APART_M = 2e-5
"""A vertex that is usually so far from where its piece's motion leads has half a say in it."""
FORGET = 0.1
"""How fast the memory of that fades, a frame."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodedMesh:
    """What `MeshDecoder` gives."""

    vertices: Float32
    """(V, 3) metres, world frame."""
    steps: Int16
    """(3, V) in the pieces' frames."""


class MeshEncoder:
    """One client's: it remembers what was sent last."""

    def __init__(self, number: int, description: MeshDescription) -> None:
        self.number, self.description = number, description
        self._poses = _PieceMotion(description)
        self._rest = quantised(description.rest)
        self._neighbours = description.neighbours.astype(np.intp)
        self._last: tuple[int, Int16] | None = None
        self._compressor = zstandard.ZstdCompressor(level=1)
        count = description.vertices
        # One more than there are vertices: a neighbour that none is has no difference.
        self._padded = np.zeros((3, count + 1), np.int16)

    def encode(self, vertices: Float32, frame_id: int, key: bool = False) -> tuple[bytes, bool]:
        """(V, 3) float32 metres, world frame -> a section's bytes, and whether they are a key.

        Raises ValueError when the mesh has another number of vertices, is not finite, or too large.
        """
        if vertices.shape != (self.description.vertices, 3):
            raise ValueError(
                f"MeshEncoder.encode: expected ({self.description.vertices}, 3) vertices, "
                f"got {vertices.shape}"
            )
        poses, steps = self._poses.of(vertices)
        steps = rounded(steps)
        key = key or self._last is None
        base_id, base = (0, self._rest) if key or self._last is None else self._last
        change = self._padded
        np.subtract(steps, base, out=change[:, :-1])
        residual = change[:, :-1] - predicted(change, self._neighbours)
        packed, middling, large = _split(residual)
        header = HEADER.pack(self.number, base_id, len(poses), 0, len(middling), len(large))
        body = self._compressor.compress(b"".join((packed, middling.tobytes(), large.tobytes())))
        self._last = frame_id, steps
        return b"".join((header, poses.tobytes(), body)), key


class MeshDecoder:
    """The slow twin of `page/wire/mesh_delta.js`."""

    def __init__(self, description: MeshDescription) -> None:
        self._description = description
        self._rest = quantised(description.rest)
        self._last: tuple[int, Int16] | None = None

    def decode(self, section: bytes, frame_id: int) -> DecodedMesh:
        """Raises MessageError for what no encoder wrote, and for a difference to another frame than
        the last one decoded."""
        described = self._description
        count, start = described.vertices, HEADER.size + 28 * described.pieces
        if len(section) < start:
            raise MessageError(f"mesh: expected more than {start} bytes, got {len(section)}")
        _, base_id, pieces, _, middling, large = HEADER.unpack_from(section)
        if pieces != described.pieces:
            raise MessageError(f"mesh: expected {described.pieces} pieces, got {pieces}")
        if base_id == 0:
            base = self._rest
        elif self._last is not None and self._last[0] == base_id:
            base = self._last[1]
        else:
            raise MessageError(f"mesh: a difference to frame {base_id}, which was not the last one")
        residual = _joined(_inflated(section[start:], count, middling, large), count, middling)
        steps = base + _summed(residual, described)
        poses = np.frombuffer(section, POSE, 7 * pieces, HEADER.size).reshape(-1, 7)
        local = steps.T.astype(np.float32) * np.float32(QUANTUM_M)
        vertices = np.empty_like(local)
        for piece, pose in enumerate(poses.astype(np.float64)):
            mine = described.piece_of == piece
            vertices[mine] = local[mine] @ _rotation(pose[:4]).T.astype(np.float32) + pose[
                4:
            ].astype(np.float32)
        self._last = frame_id, steps
        return DecodedMesh(vertices, steps)


def predicted(change: Int16, neighbours: npt.NDArray[np.intp]) -> Int16:
    """(3, V + 1) changes, the last one 0, and (3, V) neighbours -> (3, V) predictions: the median
    of a, b and a + b - c."""
    a, b, c = (change.take(row, axis=1) for row in neighbours)
    np.subtract(b, c, out=c)
    np.add(a, c, out=c)
    low = np.minimum(a, b)
    np.maximum(a, b, out=a)
    np.minimum(a, c, out=a)
    return np.maximum(low, a, out=a)


class _PieceMotion:
    """Finds each piece's pose (Kabsch 1976) on vertices that have lately moved with it."""

    def __init__(self, description: MeshDescription) -> None:
        pieces = description.pieces
        self._slices = _runs(description.piece_of)
        rng = np.random.default_rng(0)
        chosen = [
            rng.choice(np.nonzero(description.piece_of == piece)[0], SAMPLES)
            for piece in range(pieces)
        ]
        self._chosen = np.array(chosen, np.intp).reshape(pieces, SAMPLES)
        self._rest = description.rest[self._chosen].astype(np.float64)
        self._off = np.zeros((pieces, SAMPLES))
        self._count = description.vertices

    def of(self, vertices: Float32) -> tuple[Float32, Float32]:
        """(P, 7) float32 poses wxyz xyz, world_from_piece, and (3, V) float32 the vertices in the
        pieces' frames, in steps that are not rounded yet."""
        now = vertices[self._chosen].astype(np.float64)
        if not np.isfinite(now).all():
            raise ValueError("mesh: expected finite vertices")
        weights = 1.0 / (1.0 + np.square(self._off / APART_M))
        weights /= weights.sum(1, keepdims=True)
        rest_centre = np.einsum("ps,psi->pi", weights, self._rest)[:, None]
        now_centre = np.einsum("ps,psi->pi", weights, now)[:, None]
        rest, there = self._rest - rest_centre, now - now_centre
        u, _, vt = np.linalg.svd(np.matmul((rest * weights[..., None]).transpose(0, 2, 1), there))
        u[:, :, 2] *= np.sign(np.linalg.det(u) * np.linalg.det(vt))[:, None]
        turned = np.matmul(u, vt)  # row vectors: now = rest @ turned
        off = np.linalg.norm(rest @ turned - there, axis=2)
        self._off += FORGET * (off - self._off)
        poses = np.empty((len(now), 7), POSE)
        poses[:, :4] = wxyz_from_exact_rotations(turned.transpose(0, 2, 1))
        poses[:, 4:] = (now_centre - rest_centre @ turned)[:, 0]
        steps = np.empty((3, self._count), np.float32)
        steps_from_piece = [
            (_rotation(pose[:4].astype(np.float64)) / QUANTUM_M).T for pose in poses
        ]
        for piece, rows in self._slices:
            turned_back = steps_from_piece[piece].astype(np.float32)
            out = steps[:, rows]
            np.matmul(turned_back, vertices[rows].T, out=out)
            out -= (steps_from_piece[piece] @ poses[piece, 4:]).astype(np.float32)[:, None]
        return poses, steps


def _runs(piece_of: npt.NDArray[np.uint8]) -> list[tuple[int, slice]]:
    """Where which piece's vertices lie, in one row after the other."""
    ends = [*(np.nonzero(np.diff(piece_of))[0] + 1).tolist(), len(piece_of)]
    starts = [0, *ends[:-1]]
    return [(int(piece_of[a]), slice(a, b)) for a, b in zip(starts, ends, strict=True) if b > a]


def _rotation(wxyz: Float64) -> Float64:
    w, x, y, z = (wxyz / np.sqrt(wxyz @ wxyz)).tolist()
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _split(residual: Int16) -> tuple[bytes, npt.NDArray[np.uint8], UInt16]:
    """Zigzag (0 -1 1 -2 2 ...); pairs of bits four to a byte; what they cannot hold."""
    flat = residual.ravel()
    zigzag = ((flat << 1) ^ (flat >> 15)).view(np.uint16)
    # To a multiple of four, then read as 64-bit words of four numbers each.
    symbols = np.zeros(len(flat) + -len(flat) % 4, np.uint16)
    np.minimum(zigzag, SMALL, out=symbols[: len(flat)])
    words = symbols.view("<u8")
    words = words | words >> 14 | words >> 28 | words >> 42
    packed = words.astype(np.uint8)
    rest = zigzag[zigzag >= SMALL] - np.uint16(SMALL)
    middling = np.minimum(rest, MIDDLING).astype(np.uint8)
    return packed.tobytes(), middling, rest[rest >= MIDDLING].astype("<u2")


def _inflated(body: bytes, count: int, middling: int, large: int) -> bytes:
    """Undo zstd. Its own header must tell the length that the section's tells."""
    length = (3 * count + 3) // 4 + middling + 2 * large
    if middling > 3 * count or large > middling:
        raise MessageError("mesh: more residuals than coordinates")
    try:
        if zstandard.frame_content_size(body) != length:
            raise MessageError(f"mesh: expected {length} bytes of residuals")
        return zstandard.ZstdDecompressor().decompress(body)
    except zstandard.ZstdError as error:
        raise MessageError(f"mesh: {error}") from None


def _joined(data: bytes, count: int, middling: int) -> Int16:
    """(3, V) residuals: undo `_split`."""
    packed = np.frombuffer(data, np.uint8, (3 * count + 3) // 4)
    pairs = (packed[:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3).ravel()[: 3 * count]
    zigzag = pairs.astype(np.uint16)
    bytes_of = np.frombuffer(data, np.uint8, middling, len(packed)).astype(np.uint16)
    words = np.frombuffer(data, "<u2", offset=len(packed) + middling)
    escaped = np.nonzero(pairs == SMALL)[0]
    longest = np.nonzero(bytes_of == MIDDLING)[0]
    if len(escaped) != middling or len(longest) != len(words):
        raise MessageError("mesh: residuals and their counts do not agree")
    bytes_of[longest] = words
    zigzag[escaped] = bytes_of + np.uint16(SMALL)
    unsigned = (zigzag >> 1) ^ (0 - (zigzag & 1)).astype(np.uint16)
    return unsigned.view(np.int16).reshape(3, count)


def _summed(residual: Int16, description: MeshDescription) -> Int16:
    """(3, V) residuals -> (3, V) changes, one vertex after the other."""
    change = np.zeros((3, description.vertices + 1), np.int16)
    neighbours = description.neighbours
    with np.errstate(over="ignore"):
        for v in description.order:
            a, b, c = (change[:, n] for n in neighbours[:, v])
            middle = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), a + b - c))
            change[:, v] = residual[:, v] + middle
    return change[:, :-1]
