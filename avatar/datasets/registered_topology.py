"""The mesh that a data set registers to every frame: faces and texture coordinates of an OBJ file.

OBJ gives a vertex another texture coordinate in each face; our meshes have one a vertex. A vertex
with several is therefore listed again after all others: the first `count` rows are the file's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avatar.datasets.capture_files import DatasetError, file_text

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class RegisteredTopology:
    """V rows, of which the first `count` are the vertices of the data set's files."""

    faces: npt.NDArray[np.int32]
    """(F, 3), counter-clockwise seen from outside."""
    uv: Float32
    """(V, 2), (0, 0) = the texture's top-left; zero for a vertex of no face."""
    rows: npt.NDArray[np.int32]
    """(V,) the file's vertex that each row repeats."""
    count: int
    """Vertices in the data set's files."""

    @property
    def used(self) -> npt.NDArray[np.intp]:
        """The file's vertices that lie on a face (some lie on none)."""
        return np.unique(self.rows[self.faces]).astype(np.intp)

    def spread(self, vertices: Float32) -> Float32:
        """(count, 3) as in the file -> (V, 3). Raises ValueError for another number."""
        if len(vertices) != self.count:
            raise ValueError(
                f"RegisteredTopology.spread: expected {self.count} vertices, got {len(vertices)}"
            )
        return vertices[self.rows]


def read_topology(path: Path) -> RegisteredTopology:
    """Faces of more than three corners are cut into fans. Raises DatasetError."""
    vertices = 0
    uv: list[list[float]] = []
    corners: list[tuple[tuple[int, int], ...]] = []
    advice = "take face_topology.obj or a tracked_mesh file of the data set"
    for k, line in enumerate(file_text(path, advice).splitlines()):
        words = line.split()
        try:
            if words[:1] == ["v"]:
                vertices += 1
            elif words[:1] == ["vt"]:
                uv.append([float(words[1]), float(words[2])])
            elif words[:1] == ["f"]:
                face = [tuple(int(n) for n in word.split("/")[:2]) for word in words[1:]]
                if any(len(c) != 2 for c in face) or len(face) < 3:
                    raise ValueError("a face without texture coordinates")
                corners += [(face[0], face[i], face[i + 1]) for i in range(1, len(face) - 1)]  # type: ignore[misc]
        except (ValueError, IndexError) as error:
            raise DatasetError(f"{path}, line {k + 1}: {error}; {advice}") from error
    if not corners:
        raise DatasetError(f"{path}: expected a mesh with faces, found none; {advice}")
    table = np.array(corners, np.int64)
    # OBJ counts from 1, and backwards from -1.
    table = np.where(table < 0, table + np.array([vertices, len(uv)]), table - 1)
    if table.min() < 0 or (table.max(axis=(0, 1)) >= (vertices, len(uv))).any():
        raise DatasetError(
            f"{path}: expected indices of {vertices} vertices and {len(uv)} texture coordinates, "
            f"got up to {table.max(axis=(0, 1)) + 1}; is the file cut? {advice}"
        )
    return _joined(table, np.array(uv, np.float64), vertices)


def obj_text(
    vertices_mm: npt.NDArray[np.floating], uv: Float32, corners: npt.NDArray[np.integer]
) -> str:
    """An OBJ file of (N, 3) vertices, (M, 2) texture coordinates with (0, 0) at the texture's
    top-left, and (F, 3, 2) pairs of indices into both."""
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices_mm.tolist()]
    # repr of the float64 keeps every float32 exactly.
    lines += [f"vt {u!r} {1.0 - v!r}" for u, v in uv.astype(np.float64).tolist()]
    lines += ["f " + " ".join(f"{v + 1}/{t + 1}" for v, t in face) for face in corners.tolist()]
    return "\n".join(lines) + "\n"


def _joined(
    table: npt.NDArray[np.int64], uv: npt.NDArray[np.float64], count: int
) -> RegisteredTopology:
    """`table` (F, 3, 2) pairs of vertex and texture coordinate."""
    pairs, row_of = np.unique(table.reshape(-1, 2), axis=0, return_inverse=True)
    first = np.ones(len(pairs), bool)
    first[1:] = pairs[1:, 0] != pairs[:-1, 0]
    place = np.empty(len(pairs), np.int32)
    place[first] = pairs[first, 0]
    place[~first] = count + np.arange((~first).sum())
    rows = np.concatenate([np.arange(count), pairs[~first, 0]]).astype(np.int32)
    top_left = np.zeros((len(rows), 2), np.float32)
    top_left[place] = uv[pairs[:, 1]] * [1.0, -1.0] + [0.0, 1.0]
    faces = place[np.asarray(row_of).reshape(-1, 3)]
    return RegisteredTopology(faces, top_left, rows, count)
