"""Unwrap a hand into two charts like the two halves of a glove: palm side and back.

Each chart is flattened conformally (LSCM) and then as rigidly as possible (ARAP), so that a texel
has nearly the same size everywhere; both are then packed into the unit square.

Levy et al., Least Squares Conformal Maps, 2002; Liu et al., A Local/Global Approach to Mesh
Parameterization, 2008.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csgraph
from scipy.sparse.linalg import splu

from assets.baking.hand_cuff import UV_RECTANGLE

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PALM, BACK = 0, 1
GUTTER = 4.0 / 256.0
"""Free space round each chart, in units of the hand's square (256 texels)."""
ARAP_STEPS = 400


@dataclass(frozen=True, slots=True)
class Chart:
    """The unwrapped mesh: vertices are doubled along the seam between the charts."""

    source: Ints
    """(N,) the vertex of the hand that each vertex copies."""
    side: Ints
    """(N,) PALM or BACK."""
    faces: Ints
    """(F, 3) into these N vertices."""
    uv: Array
    """(N, 2) in the unit square, (0, 0) top-left."""
    metres: float
    """How many metres of skin one unit of uv covers."""


def split_sides(vertices: Array, faces: Ints, back: Array) -> Ints:
    """(F,) PALM or BACK: where a face looks, compared with its bones' dorsal directions (V, 3).

    Each side is one connected patch; the border is smoothed by vote.
    """
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normal, axis=1)
    towards = (normal * back[faces].mean(1)).sum(1) / area
    neighbours = face_neighbours(faces)
    smooth = neighbours + sparse.identity(len(faces)) * 2.0
    smooth = sparse.diags(1.0 / np.asarray(smooth.sum(1)).ravel()) @ smooth
    for _ in range(4):
        towards = smooth @ towards
    sides = (towards > 0.0).astype(np.int64)
    for side in (PALM, BACK):  # islands join what surrounds them
        members = np.flatnonzero(sides == side)
        _, label = csgraph.connected_components(neighbours[members][:, members], directed=False)
        sides[members[label != np.bincount(label).argmax()]] = 1 - side
    return sides


def face_neighbours(faces: Ints) -> sparse.csr_matrix:
    """(F, F) 1 where two faces share an edge."""
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    key = edges[:, 0] * (faces.max() + 1) + edges[:, 1]
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    a, b = order[:-1][same] // 3, order[1:][same] // 3
    ones = np.ones(2 * len(a))
    pairs = (np.concatenate([a, b]), np.concatenate([b, a]))
    return sparse.csr_matrix((ones, pairs), shape=(len(faces), len(faces)))


def unwrap_hand(vertices: Array, faces: Ints, sides: Ints) -> Chart:
    """Flatten both sides and pack them beside the cuff's rectangle."""
    source, charts, rows, side_of, start = [], [], np.zeros_like(faces), [], 0
    for side in (PALM, BACK):
        members = np.flatnonzero(sides == side)
        used, local = np.unique(faces[members], return_inverse=True)
        local = local.reshape(-1, 3)
        charts.append(flatten(vertices[used], local))
        rows[members] = local + start
        source.append(used)
        side_of.append(np.full(len(used), side))
        start += len(used)
    cells = [faces_of[sides == side] for side, faces_of in ((PALM, rows), (BACK, rows))]
    cells[BACK] = cells[BACK] - len(source[PALM])
    placed, scale = pack(charts, cells)
    return Chart(
        np.concatenate(source), np.concatenate(side_of), rows, np.concatenate(placed), 1.0 / scale
    )


def flatten(points: Array, faces: Ints) -> Array:
    """(N, 2) metres, y down, not mirrored: the chart of one patch (N, 3) seen from outside."""
    local = _triangles_in_plane(points, faces)
    uv = _lscm(local, faces, len(points), _far_pair(points))
    uv *= np.sqrt(_area(local).sum() / _area(uv[faces]).sum())
    uv = _arap(local, faces, uv)
    flipped = int((_area(uv[faces]) <= 0.0).sum())
    if flipped:
        raise ValueError(f"flatten: expected no folded triangle, got {flipped} of {len(faces)}")
    return uv * [1.0, -1.0]


def _triangles_in_plane(points: Array, faces: Ints) -> Array:
    """(F, 3, 2) each triangle laid into its own plane, first corner at 0, counter-clockwise."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    x = b - a
    length = np.linalg.norm(x, axis=1, keepdims=True)
    x = x / length
    height = np.linalg.norm(np.cross(x, c - a), axis=1)
    out = np.zeros((len(faces), 3, 2))
    out[:, 1, 0] = length[:, 0]
    out[:, 2, 0] = ((c - a) * x).sum(1)
    out[:, 2, 1] = height
    return out


def _area(triangles: Array) -> Array:
    """(F,) signed areas of (F, 3, 2)."""
    e, f = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    return 0.5 * (e[:, 0] * f[:, 1] - e[:, 1] * f[:, 0])


def _far_pair(points: Array) -> tuple[int, int]:
    """Two vertices about as far apart as any."""
    first = int(np.linalg.norm(points - points[0], axis=1).argmax())
    return first, int(np.linalg.norm(points - points[first], axis=1).argmax())


def _lscm(local: Array, faces: Ints, count: int, pins: tuple[int, int]) -> Array:
    """Least-squares conformal map with two pinned vertices."""
    edge = local[:, [2, 0, 1]] - local[:, [1, 2, 0]]
    w = (edge[..., 0] + 1j * edge[..., 1]) / np.sqrt(2.0 * _area(local))[:, None]
    row = np.repeat(np.arange(len(faces)), 3)
    matrix = sparse.csc_matrix((w.ravel(), (row, faces.ravel())), shape=(len(faces), count))
    free = np.setdiff1d(np.arange(count), pins)
    known = np.array([0.0, 1.0 + 0.0j])
    right = -(matrix[:, list(pins)] @ known)
    a = matrix[:, free]
    normal = (a.conj().T @ a).tocsc()
    solution = splu(normal).solve(a.conj().T @ right)
    flat = np.zeros(count, np.complex128)
    flat[free], flat[list(pins)] = solution, known
    uv = np.stack([flat.real, flat.imag], axis=1)
    return uv if _area(uv[faces]).sum() > 0 else uv * [1.0, -1.0]


def _arap(local: Array, faces: Ints, uv: Array) -> Array:
    """Local/global steps: each triangle's best rotation, then one sparse solve for all."""
    count = len(uv)
    cot = np.zeros((len(faces), 3))  # opposite to corner k
    for k in range(3):
        e = local[:, (k + 1) % 3] - local[:, k]
        f = local[:, (k + 2) % 3] - local[:, k]
        cot[:, k] = (e * f).sum(1) / (2.0 * _area(local))
    # A thin triangle's negative cotangent would let it fold.
    cot = np.maximum(cot, 0.02)
    ends = [((k + 1) % 3, (k + 2) % 3) for k in range(3)]
    laplace = sparse.csc_matrix((count, count))
    for k, (i, j) in enumerate(ends):
        for p, q, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
            pairs = (faces[:, p], faces[:, q])
            laplace = laplace + sparse.csc_matrix((sign * cot[:, k], pairs), shape=(count, count))
    anchor = sparse.csc_matrix(([1.0], ([0], [0])), shape=(count, count))
    solver = splu((laplace + anchor).tocsc())
    for _ in range(ARAP_STEPS):
        now = uv[faces]
        moment = np.zeros((len(faces), 2))  # complex sum of conj(rest edge) * present edge
        for k, (i, j) in enumerate(ends):
            r, n = local[:, j] - local[:, i], now[:, j] - now[:, i]
            moment[:, 0] += cot[:, k] * (r * n).sum(1)
            moment[:, 1] += cot[:, k] * (r[:, 0] * n[:, 1] - r[:, 1] * n[:, 0])
        cosine, sine = (moment / np.linalg.norm(moment, axis=1, keepdims=True)).T
        right = np.zeros((count, 2))
        for k, (i, j) in enumerate(ends):
            r = local[:, i] - local[:, j]
            turned = np.stack(
                [cosine * r[:, 0] - sine * r[:, 1], sine * r[:, 0] + cosine * r[:, 1]], axis=1
            )
            np.add.at(right, faces[:, i], cot[:, k, None] * turned)
            np.add.at(right, faces[:, j], -cot[:, k, None] * turned)
        uv = np.stack([solver.solve(right[:, 0]), solver.solve(right[:, 1])], axis=1)
    return uv


def pack(charts: list[Array], cells: list[Ints], grid: int = 96) -> tuple[list[Array], float]:
    """Place two charts in the unit square at the largest common scale, in turns of 15 degrees.

    Returns the charts in the square, and the scale in units of uv per metre.
    """
    taken = np.zeros((grid, grid), np.uint8)
    _, y0, x1, _ = UV_RECTANGLE
    taken[int(y0 * grid) :, : int(np.ceil((x1 + GUTTER) * grid))] = 1
    low, high, best = 1.0, 6.0, None
    while high - low > 0.04:
        scale = 0.5 * (low + high)
        found = _place_both(charts, cells, scale, taken)
        if found is None:
            high = scale
        else:
            low, best = scale, found
    if best is None:
        raise ValueError("pack: the charts do not fit the square at any scale")
    return best, low


def _place_both(
    charts: list[Array], cells: list[Ints], scale: float, taken: npt.NDArray[np.uint8]
) -> list[Array] | None:
    grid = len(taken)
    turned = [[_turn(chart * scale, np.deg2rad(a)) for a in range(0, 360, 15)] for chart in charts]
    masks = [[_mask(uv, cells[k], grid) for uv in row] for k, row in enumerate(turned)]
    for a, mask in zip(turned[0], masks[0], strict=True):
        for y, x in _corners(mask, taken):
            occupied = taken.copy()
            occupied[y : y + mask.shape[0], x : x + mask.shape[1]] |= mask
            for b, other in zip(turned[1], masks[1], strict=True):
                free = _free_places(other, occupied)
                if len(free):
                    place = (int(free[0][0]), int(free[0][1]))
                    return [_move(a, (y, x), grid), _move(b, place, grid)]
    return None


def _turn(uv: Array, angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return uv @ np.array([[c, s], [-s, c]])


def _mask(uv: Array, faces: Ints, grid: int) -> npt.NDArray[np.uint8]:
    """The chart with its gutter, on cells of the packing grid, in its bounding box."""
    margin = GUTTER * grid / 2.0 + 0.5
    at = (uv - uv.min(0)) * grid + margin
    width, height = np.ceil(at.max(0) + margin).astype(int)
    mask = np.zeros((height, width), np.uint8)
    # Holes where two outlines meet are closed by the dilation.
    cv2.fillPoly(mask, list(np.round(at[faces] * 16).astype(np.int32)), 1, shift=4)
    reach = int(np.ceil(margin))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(mask, kernel), np.uint8)


def _corners(mask: npt.NDArray[np.uint8], taken: npt.NDArray[np.uint8]) -> list[tuple[int, int]]:
    """The first chart's places worth trying: the extreme free ones."""
    free = _free_places(mask, taken)
    if not len(free):
        return []
    keys = (free @ [1, 1], free @ [1, -1], free @ [-1, 1], free @ [-1, -1])
    picks = {tuple(int(v) for v in free[key.argmin()]) for key in keys}
    return sorted((y, x) for y, x in picks)


def _free_places(mask: npt.NDArray[np.uint8], taken: npt.NDArray[np.uint8]) -> Ints:
    """(N, 2) rows and columns where the mask's top-left corner may lie."""
    if max(mask.shape) > len(taken):
        return np.zeros((0, 2), np.int64)
    overlap = cv2.matchTemplate(taken.astype(np.float32), mask.astype(np.float32), cv2.TM_CCORR)
    return np.argwhere(overlap < 0.5)


def _move(uv: Array, corner: tuple[int, int], grid: int) -> Array:
    margin = GUTTER * grid / 2.0 + 0.5
    return uv - uv.min(0) + (np.array([corner[1], corner[0]]) + margin) / grid
