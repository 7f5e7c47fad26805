"""The coefficients of a texture basis at one moment: a section of a few kilobytes.

They are rounded so finely that one plane changes no texel by more than half a code value, split
into planes of low and high bytes, and packed by zstd.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt
import zstandard

from headset.webxr.messages import MessageError
from streams.mesh_nodes import MeshNodes

Float32 = npt.NDArray[np.float32]
HEADER = struct.Struct("<HHHH3f")
"""Rows, columns, planes, zero, gain; then a float32 step for each plane."""
MOST = 1 << 20
"""Coefficients."""


def pack_nodes(mesh: MeshNodes) -> bytes:
    """A section's bytes."""
    rows, columns, count = mesh.nodes.shape
    # Planes of zeros fill a basis up; their coefficients say nothing.
    steps = np.float32(1.0) / (np.float32(255.0 * 127.0) * np.maximum(mesh.basis.scale, 1e-9))
    steps = steps.astype("<f4")
    levels = np.rint(mesh.nodes.transpose(2, 0, 1) / steps[:, None, None])
    levels = np.clip(levels, -32767, 32767).astype(np.int16)
    levels[mesh.basis.scale <= 0] = 0
    zigzag = ((levels << 1) ^ (levels >> 15)).view(np.uint16).ravel()
    planes = np.concatenate([zigzag.astype(np.uint8), (zigzag >> 8).astype(np.uint8)])
    header = HEADER.pack(rows, columns, count, 0, *mesh.gain.tolist())
    body = zstandard.ZstdCompressor(level=1).compress(planes.tobytes())
    return header + steps.tobytes() + body


def parse_nodes(section: bytes) -> tuple[Float32, Float32]:
    """Nodes (rows, columns, K) and gain (3,). Raises MessageError. The twin of
    `page/wire/nodes.js`."""
    if len(section) < HEADER.size:
        raise MessageError("nodes: cut off")
    rows, columns, count, reserved, *gain = HEADER.unpack_from(section)
    start, size = HEADER.size + 4 * count, rows * columns * count
    if reserved or not 0 < size <= MOST or len(section) < start:
        raise MessageError(
            f"nodes: expected up to {MOST} of them, got {rows} x {columns} x {count}"
        )
    steps = np.frombuffer(section, "<f4", count, HEADER.size)
    try:
        if zstandard.frame_content_size(section[start:]) != 2 * size:
            raise MessageError(f"nodes: expected {2 * size} bytes")
        planes = np.frombuffer(zstandard.ZstdDecompressor().decompress(section[start:]), np.uint8)
    except zstandard.ZstdError as error:
        raise MessageError(f"nodes: {error}") from None
    zigzag = planes[:size].astype(np.uint16) | planes[size:].astype(np.uint16) << 8
    levels = ((zigzag >> 1) ^ (0 - (zigzag & 1)).astype(np.uint16)).view(np.int16)
    nodes = levels.reshape(count, rows, columns).astype(np.float32) * steps[:, None, None]
    return np.ascontiguousarray(nodes.transpose(1, 2, 0)), np.array(gain, np.float32)
