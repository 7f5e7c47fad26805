"""A scanned or registered face as a personal head: the template bent onto another mesh's surface.

Landmarks bring the template near; then points of each surface are pulled to the nearest point of
the other, while the template resists bending over ever shorter lengths (non-rigid ICP: Amberg,
Romdhani and Vetter 2007, "Optimal step nonrigid ICP algorithms for surface registration").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse
from scipy.sparse.linalg import splu

from avatar.enrolment.likeness import Likeness, Placement
from avatar.enrolment.surface_bending import SurfaceBending
from avatar.head_mesh import HeadMesh
from avatar.landmark_map import LandmarkMap
from avatar.similarity import similarity
from streams.face_outlines import LIDS
from streams.rigid import Rigid

Array = npt.NDArray[np.float64]
Faces = npt.NDArray[np.integer]

SKIN = ("head", "mouth", "socket", "neck")
"""Regions that bend as one sheet."""
OUTSIDE = ("head", "neck")
"""Regions that a scan shows."""
SEEN = ("head", "neck", "mouth", "socket", "eye-left", "eye-right")
"""Regions to which distances are taken."""
LEAST_VERTICES = 500
SLIDES, FIXED = 0.55, 0.85
"""Trust below which a landmark says nothing of its place on the surface, and fully from which."""
ASTRAY_M = 0.03
"""A ray that meets the scan this far from where the landmark is went through a hole, or past."""
FACE_REACH_M = 0.010
"""Within this of a landmark, a vertex of the scan belongs to the face."""


@dataclass(frozen=True, slots=True)
class SurfaceFitOptions:
    """How far and how finely the template bends."""

    first_length_m: float = 0.080
    last_length_m: float = 0.001
    """Below about this length the template no longer resists."""
    steps: int = 50
    reach_m: float = 0.030
    """Surfaces further apart than this do not pull at first; a quarter of it at last."""
    least_cosine: float = 0.5
    """Between the normals of two points that may pull at each other."""
    landmark_m2: float = 1e-3
    """Area of surface for which a landmark counts at first; it fades with the length."""
    hold: float = 1e-4
    """Share of a point's pull by which what nothing pulls stays where the landmarks left it."""


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceFit:
    """A person's head, and where the scan lies in its frame."""

    likeness: Likeness
    """The origin is midway between the eye balls."""
    head_from_scan: Rigid

    def surface(self, head: HeadMesh) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """Vertices (T, 3) as an avatar file stores them (float32 metres), and the triangles (F, 3)
        of what one sees: skin and eye balls."""
        faces = head.faces[(head.faces < head.template_size).all(1)]
        seen = np.isin(head.regions[faces], SEEN).all(1)
        return self.likeness.vertices.astype(np.float32), faces[seen]


def fit_surface(
    head: HeadMesh,
    landmarks: LandmarkMap,
    vertices: npt.NDArray[np.floating],
    faces: Faces,
    marks: npt.NDArray[np.floating],
    options: SurfaceFitOptions | None = None,
) -> SurfaceFit:
    """`vertices` (N, 3) metres and `faces` (F, 3) of a scan, counter-clockwise seen from outside;
    `marks` (468, 3) metres: the face landmarks on it, in the same frame, which may be any.

    Raises ValueError when these are no surface of a face.
    """
    chosen = options or SurfaceFitOptions()
    scan = _checked(vertices, faces, marks)
    rest = head.vertices[: head.template_size].astype(np.float64)
    points = np.asarray(marks, np.float64)
    _, turn, offset = similarity(landmarks.points(rest), points, landmarks.trust)
    head_from_scan = Rigid.from_rotation(turn.T, -turn.T @ offset)
    scan = replace(scan, vertices=np.asarray(head_from_scan.apply(scan.vertices), np.float64))
    points = np.asarray(head_from_scan.apply(points), np.float64)
    scale, turn, offset = similarity(landmarks.points(rest), points, landmarks.trust)
    start = Likeness.fit(head, landmarks, points)
    bending = SurfaceBending.of(head, start.vertices, SKIN)
    bent = _bent(head, landmarks, bending, scan, points, chosen)
    skin = start.vertices.copy()
    skin[bending.on_surface] = bent[bending.points]
    moved = scale * rest @ turn.T + offset
    lids = np.array(LIDS)
    lids_moved = (landmarks.points(skin) - landmarks.points(moved))[lids].mean(1)
    placement = Placement(scale, turn, offset)
    likeness = Likeness.carried(head, bending.on_surface, placement, skin, lids_moved)
    origin = likeness.eyes.mean(0)
    centred = replace(
        likeness,
        vertices=likeness.vertices - origin,
        eyes=likeness.eyes - origin,
        neck_pivot=likeness.neck_pivot - origin,
    )
    return SurfaceFit(centred, Rigid.from_translation(-origin) @ head_from_scan)


def surface_distances(
    vertices: npt.NDArray[np.floating], faces: Faces, points: npt.NDArray[np.floating]
) -> Array:
    """(N,) metres from each of `points` (N, 3) to the nearest point of a mesh."""
    place, _, _ = nearest_on_mesh(vertices, faces, points)
    return np.linalg.norm(place - points, axis=1)


def near_landmarks(points: npt.NDArray[np.floating], marks: npt.NDArray[np.floating]) -> Any:
    """(N,) bool: which of `points` (N, 3) belong to the face of which `marks` (468, 3) are."""
    from scipy.spatial import KDTree

    return KDTree(marks).query(points)[0] < FACE_REACH_M


def marks_on_surface(
    vertices: npt.NDArray[np.floating],
    faces: Faces,
    eye: npt.NDArray[np.floating],
    through: npt.NDArray[np.floating],
) -> Array:
    """(K, 3): where the rays from `eye` (3,) through points (K, 3) meet a mesh, all in one frame.

    So landmarks tracked in a picture of a scan are brought onto it. Where the ray goes past, or
    through a hole, the nearest point of the surface is taken.
    """
    import open3d as o3d

    aim = np.asarray(through, np.float64)
    towards = aim - eye
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    rays = np.concatenate([np.broadcast_to(eye, towards.shape), towards], axis=1)
    query = o3d.core.Tensor.from_numpy(rays.astype(np.float32))
    far = _scene(vertices, faces).cast_rays(query, nthreads=1)["t_hit"].numpy()
    out = eye + towards * np.where(np.isfinite(far), far, 0.0)[:, None]
    astray = np.linalg.norm(out - aim, axis=1) > ASTRAY_M
    out[astray] = nearest_on_mesh(vertices, faces, aim[astray])[0]
    return out


@dataclass(frozen=True, slots=True, eq=False)
class _Scan:
    vertices: Array
    faces: npt.NDArray[np.int64]
    used: npt.NDArray[np.intp]
    """Vertices that lie on a face."""
    rim: npt.NDArray[np.bool_]
    """(F,) triangles at the scan's border: beyond it nothing is known."""


def _checked(
    vertices: npt.NDArray[np.floating], faces: Faces, marks: npt.NDArray[np.floating]
) -> _Scan:
    for name, value in (("vertices", vertices), ("marks", marks)):
        if value.ndim != 2 or value.shape[1] != 3 or not np.isfinite(value).all():
            raise ValueError(f"fit_surface {name}: expected finite (N, 3), got {value.shape}")
    if len(marks) != 468:
        raise ValueError(f"fit_surface marks: expected 468 landmarks, got {len(marks)}")
    if faces.ndim != 2 or faces.shape[1] != 3 or len(faces) == 0:
        raise ValueError(f"fit_surface faces: expected (F, 3), got {faces.shape}")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError(f"fit_surface faces: expected indices below {len(vertices)}")
    used = np.unique(faces)
    if len(used) < LEAST_VERTICES:
        raise ValueError(
            f"fit_surface: expected a surface of at least {LEAST_VERTICES} vertices, got "
            f"{len(used)}; a face needs a finer mesh"
        )
    size = float(np.ptp(np.asarray(marks), axis=0).max())
    if not 0.05 < size < 0.5:
        raise ValueError(
            f"fit_surface: expected a face in metres, got landmarks {size:.3g} wide; scale the scan"
        )
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    _, which, count = np.unique(edges, axis=0, return_inverse=True, return_counts=True)
    rim = (count[np.asarray(which).ravel()] == 1).reshape(-1, 3).any(1)
    return _Scan(
        np.asarray(vertices, np.float64), np.asarray(faces, np.int64), used.astype(np.intp), rim
    )


def _bent(
    head: HeadMesh,
    landmarks: LandmarkMap,
    bending: SurfaceBending,
    scan: _Scan,
    marks: Array,
    options: SurfaceFitOptions,
) -> Array:
    """(n, 3) the sheet's points on the scan."""
    count = head.template_size
    n = len(bending.place)
    outside = np.zeros(n, bool)
    outside[bending.point_of[np.isin(head.regions[:count], OUTSIDE)]] = True
    shown = bending.faces[outside[bending.faces].all(1)]
    corners = bending.point_of[landmarks.corners]
    at_marks = bending.at(corners, landmarks.weights)
    scan_normals, scan_area = _normals(scan.vertices, scan.faces)
    targets = scan.vertices[scan.used]
    target_normals, target_area = scan_normals[scan.used], scan_area[scan.used]
    # Cheeks and outline have no landmarks that stay in place; there the surface may slide.
    sure = np.clip((landmarks.trust - SLIDES) / (FIXED - SLIDES), 0.0, 1.0)
    place = bending.place.copy()
    for step in range(options.steps):
        done = step / max(options.steps - 1, 1)
        length = options.first_length_m * (options.last_length_m / options.first_length_m) ** done
        reach = options.reach_m * 0.25**done
        normals, area = _normals(place, shown)
        # From the scan to the template: this is the distance that is measured in the end.
        near, triangle, share = nearest_on_mesh(place, shown, targets)
        facing = np.einsum("kc,kcd->kd", share, normals[shown[triangle]])
        weight = _pull(targets - near, target_normals, facing, target_area, reach, options)
        from_scan = bending.at(shown[triangle], share)
        # And back, so that no part of the template lags behind.
        on_scan, triangle, share = nearest_on_mesh(scan.vertices, scan.faces, place)
        facing = np.einsum("kc,kcd->kd", share, scan_normals[scan.faces[triangle]])
        back = _pull(place - on_scan, normals, facing, area, reach, options)
        back[~outside | scan.rim[triangle]] = 0.0
        mark = options.landmark_m2 * sure * length / options.first_length_m
        pull = from_scan.T @ sparse.diags_array(weight)
        pull_marks = at_marks.T @ sparse.diags_array(mark)
        hold = options.hold * bending.area
        system = (
            length**4 * bending.energy + pull @ from_scan + pull_marks @ at_marks
            + sparse.diags_array(back + hold)
        )  # fmt: skip
        wanted = (
            pull @ (targets - from_scan @ bending.place)
            + pull_marks @ (marks - at_marks @ bending.place)
            + back[:, None] * (on_scan - bending.place)
        )
        place = bending.place + splu(sparse.csc_matrix(system)).solve(wanted)
    return place


def _pull(
    away: Array, normals: Array, others: Array, area: Array, reach: float, o: SurfaceFitOptions
) -> Array:
    """(k,) square metres: less for what lies far (Tukey's biweight), none where normals differ."""
    far = np.linalg.norm(away, axis=1) / reach
    length = np.maximum(np.linalg.norm(others, axis=1), 1e-9)
    facing = (normals * others).sum(1) / length
    return np.where(facing > o.least_cosine, area * np.clip(1.0 - far**2, 0.0, 1.0) ** 2, 0.0)


def _normals(vertices: Array, faces: Faces) -> tuple[Array, Array]:
    """(N, 3) unit normals and (N,) a third of the area about each vertex."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    across = np.cross(b - a, c - a)
    size = np.linalg.norm(across, axis=1)
    normals, area = np.zeros_like(vertices), np.zeros(len(vertices))
    for k in range(3):
        np.add.at(normals, faces[:, k], across)
        np.add.at(area, faces[:, k], size / 6.0)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    return normals, area


def nearest_on_mesh(
    vertices: npt.NDArray[np.floating], faces: Faces, points: npt.NDArray[np.floating]
) -> tuple[Array, npt.NDArray[np.int64], Array]:
    """The nearest points (N, 3) of a mesh, their triangles (N,) and barycentric weights (N, 3)."""
    import open3d as o3d

    query = o3d.core.Tensor.from_numpy(np.ascontiguousarray(points, np.float32))
    found = _scene(vertices, faces).compute_closest_points(query, nthreads=1)
    triangle = found["primitive_ids"].numpy().astype(np.int64)
    uv = found["primitive_uvs"].numpy().astype(np.float64)
    share = np.stack([1.0 - uv.sum(1), uv[:, 0], uv[:, 1]], axis=1)
    return np.einsum("kc,kcd->kd", share, vertices[faces[triangle]]), triangle, share


def _scene(vertices: npt.NDArray[np.floating], faces: Faces) -> Any:
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(vertices, np.float32)),
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(faces, np.uint32)),
    )
    return scene
