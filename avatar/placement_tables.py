"""What places a head's vertices, as plain arrays: for engines other than numpy (ONNX, torch)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Index = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class NormalTables:
    """`SmoothNormals` without sparse matrices: gathers and sums only, which every engine has."""

    corners: Index
    """(F, 3) vertices of the faces that take part."""
    faces_of_point: Index
    """(N, most) faces about each welded point; F where there are fewer: a face of no area."""
    point_of_vertex: Index
    """(B,) the point of each vertex whose normal is wanted."""


@dataclass(frozen=True, slots=True, eq=False)
class PlacementTables:
    """One head's `HeadPlacement`. V vertices, M of them moved by the face, B bending."""

    rest: Float32
    """(V, 3) metres, head frame."""
    rest_normals: Float32
    """(V, 3) unit vectors."""
    moving: Index
    """(M,) vertices that the face moves."""
    balls: tuple[slice, slice]
    """Vertices of each eye ball, left first."""
    eyes: Float32
    """(2, 3) metres: the balls' centres."""
    bending: Index
    """(B,) vertices whose normals are computed anew."""
    normals: NormalTables
    """For `bending`, in its order."""
    neck: Index
    """Vertices that do not wholly follow the head."""
    torso_share: Float32
    """Their shares, 1 = stays with the torso."""
    neck_pivot: Float32
    """(3,) metres."""
