"""The head template's surface: which polygons of the base mesh it takes, clipped and laid out anew.

Every vertex is a fixed linear combination of base-mesh vertices (a row of `weights`), so one
surface serves every identity and every facial shape; cloth and collar add an offset of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse
import scipy.sparse.csgraph as csgraph

from assets.baking import atlas
from assets.baking.base_mesh import BaseMesh, Float

Int = npt.NDArray[np.int64]
Polygon = list[tuple[dict[int, float], tuple[float, float]]]
"""Corners: (base vertex -> weight, chart uv)."""

BUST_FLOOR_Y = 0.20
"""Metres above the base mesh's middle: the lower end of the bust, about 0.43 m below the chin."""
COLLAR_Y = 0.548
COLLAR_SLOPE = 0.62
"""The collar's plane: y = COLLAR_Y + COLLAR_SLOPE * (0.08 - z): low in front, high at the nape."""
CLOTH_OFFSET = 0.006
"""Metres between skin and cloth."""


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One part of the surface."""

    part: str
    """A name of streams.topology.PARTS."""
    region: str
    """Finer than the part: head, mouth, socket, neck, cloth, teeth, tongue, lash."""
    weights: sparse.csr_array
    """(V, N) rows sum to 1."""
    faces: Int
    """(F, 3) counter-clockwise."""
    uv: Float
    """(V, 2) in the atlas, (0, 0) top-left."""
    weld: Int
    """(V,) vertices with the same number are one point of the surface, cut only in the texture."""
    source_uv: Float
    """(V, 2) in MakeHuman's own layout, (0, 0) bottom-left, where its masks are painted."""


def head_patches(mesh: BaseMesh) -> list[Patch]:
    """All parts that come from the base mesh (the eye balls and the collar do not)."""
    body = mesh.groups["body"]
    charts = _charts(body, len(mesh.uv))
    outer, inner, torso = _by_position(mesh, body, charts)
    centre = {i: mesh.vertices[[v for v, _ in polygon]].mean(0) for i, polygon in enumerate(body)}

    patches = [
        _patch(mesh, "skin", "head", [_corners(mesh, body[i]) for i in outer], _head_uv),
        _patch(
            mesh, "tongue", "mouth", [_corners(mesh, body[i]) for i in inner], _fit(atlas.MOUTH)
        ),
    ]
    for sign, rectangle in zip((1.0, -1.0), atlas.SOCKETS, strict=True):
        socket = [
            i for i, chart in enumerate(charts)
            if chart not in (charts[outer[0]], charts[inner[0]], charts[torso[0]])
            and centre[i][1] > 0.70 and centre[i][0] * sign > 0 and centre[i][2] > 0.128
        ]  # fmt: skip
        polygons = [_corners(mesh, body[i]) for i in socket]
        patches.append(_patch(mesh, "skin", "socket", polygons, _fit(rectangle)))

    torso = [i for i in torso if centre[i][1] > BUST_FLOOR_Y and abs(centre[i][0]) < 0.33]
    # The skin goes on under the collar, wide enough that no gap shows beside the neck.
    neck = [i for i in torso if _plane_height(centre[i]) > -0.03 and abs(centre[i][0]) < 0.105]
    polygons = [_corners(mesh, body[i]) for i in neck]
    patches.append(_patch(mesh, "skin", "neck", polygons, _fit(atlas.NECK)))
    cloth = [clip for i in torso if len(clip := _clip_below(mesh, _corners(mesh, body[i]))) > 2]
    patches.append(_patch(mesh, "cloth", "cloth", cloth, _fit(atlas.CLOTH_TORSO)))

    for name, part, rectangle in (
        ("helper-upper-teeth", "teeth", _half(atlas.TEETH, 0)),
        ("helper-lower-teeth", "teeth", _half(atlas.TEETH, 1)),
        ("helper-tongue", "tongue", atlas.TONGUE),
    ):
        polygons = [_corners(mesh, polygon) for polygon in mesh.groups[name]]
        region = "tongue" if part == "tongue" else name.removeprefix("helper-")
        patches.append(_patch(mesh, part, region, polygons, _fit(rectangle)))
    for i, name in enumerate(("l-eyelashes-2", "r-eyelashes-2", "l-eyelashes-1", "r-eyelashes-1")):
        polygons = [_corners(mesh, polygon) for polygon in mesh.groups[f"helper-{name}"]]
        x0, y0, x1, y1 = atlas.LASHES
        height = (y1 - y0) / 4
        rectangle = (x0, y0 + i * height, x1, y0 + (i + 1) * height)
        patches.append(_patch(mesh, "lash", name, polygons, _fit(rectangle)))
    return patches


def smooth_normals(vertices: Float, faces: Int, weld: Int) -> Float:
    """(V, 3) unit normals, area weighted, continuous over texture seams (slow, plain)."""
    corner = vertices[faces]
    face = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    total = np.zeros((int(weld.max()) + 1, 3))
    for k in range(3):
        np.add.at(total, weld[faces[:, k]], face)
    normal = total[weld]
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)


def _charts(polygons: list[list[tuple[int, int]]], count: int) -> Int:
    """(P,) number of each polygon's connected piece of texture."""
    edges = [
        (polygon[k][1], polygon[(k + 1) % len(polygon)][1])
        for polygon in polygons
        for k in range(len(polygon))
    ]
    a, b = np.array(edges).T
    graph = sparse.coo_array((np.ones(len(a)), (a, b)), shape=(count, count))
    labels = csgraph.connected_components(graph, directed=False)[1]
    return labels[[polygon[0][1] for polygon in polygons]]


def _by_position(
    mesh: BaseMesh, body: list[list[tuple[int, int]]], charts: Int
) -> tuple[list[int], list[int], list[int]]:
    """Polygons of the outer head, the mouth's inside and the torso, told by points they hold."""
    centres = np.array([mesh.vertices[[v for v, _ in polygon]].mean(0) for polygon in body])

    def chart_near(point: tuple[float, float, float]) -> list[int]:
        nearest = int(np.argmin(np.linalg.norm(centres - np.array(point), axis=1)))
        return [int(i) for i in np.flatnonzero(charts == charts[nearest])]

    return chart_near((0, 0.85, 0.03)), chart_near((0, 0.66, 0.07)), chart_near((0, 0.3, 0.12))


def _corners(mesh: BaseMesh, polygon: list[tuple[int, int]]) -> Polygon:
    return [({v: 1.0}, (float(mesh.uv[t, 0]), float(mesh.uv[t, 1]))) for v, t in polygon]


def above_collar(points: Float) -> Float:
    """(...,) signed metres of base-mesh points (..., 3) above the collar's plane, along y.

    The plane drops away beyond the neck's sides, or it would cut the shoulders too.
    """
    return _plane_height(points) - 2.0 * np.maximum(np.abs(points[..., 0]) - 0.06, 0.0)


def _plane_height(points: Float) -> Float:
    return points[..., 1] - (COLLAR_Y + COLLAR_SLOPE * (0.08 - points[..., 2]))


def _height(mesh: BaseMesh, mix: dict[int, float]) -> float:
    point = sum((w * mesh.vertices[v] for v, w in mix.items()), np.zeros(3))
    return float(above_collar(point))


def _clip_below(mesh: BaseMesh, polygon: Polygon) -> Polygon:
    """Sutherland-Hodgman against the collar's plane: what lies below it."""
    out: Polygon = []
    for k, (a, uv_a) in enumerate(polygon):
        b, uv_b = polygon[(k + 1) % len(polygon)]
        da = _height(mesh, a)
        db = _height(mesh, b)
        if da <= 0:
            out.append((a, uv_a))
        if (da < 0 < db) or (db < 0 < da):
            t = da / (da - db)
            mixed = {v: w * (1 - t) for v, w in a.items()}
            for v, w in b.items():
                mixed[v] = mixed.get(v, 0.0) + w * t
            uv = tuple(float((1 - t) * p + t * q) for p, q in zip(uv_a, uv_b, strict=True))
            out.append((mixed, uv))  # type: ignore[arg-type]
    return out


def _patch(
    mesh: BaseMesh,
    part: str,
    region: str,
    polygons: list[Polygon],
    layout: Callable[[Float], Float],
) -> Patch:
    """Triangulate polygons (as fans) and number their corners."""
    rows: list[dict[int, float]] = []
    chart: list[tuple[float, float]] = []
    weld: list[int] = []
    by_corner: dict[tuple[object, ...], int] = {}
    by_point: dict[tuple[tuple[int, float], ...], int] = {}
    faces: list[tuple[int, int, int]] = []
    for polygon in polygons:
        ids: list[int] = []
        for mix, uv in polygon:
            point = tuple(sorted((v, round(w, 9)) for v, w in mix.items()))
            key = (point, uv)
            if key not in by_corner:
                by_corner[key] = len(rows)
                rows.append(mix)
                chart.append(uv)
                weld.append(by_point.setdefault(point, len(by_point)))
            ids.append(by_corner[key])
        faces += [(ids[0], ids[k], ids[k + 1]) for k in range(1, len(ids) - 1)]
    coo = [(r, v, w) for r, mix in enumerate(rows) for v, w in mix.items()]
    r, v, w = (np.array(column) for column in zip(*coo, strict=True))
    weights = sparse.csr_array(
        (w.astype(np.float64), (r, v)), shape=(len(rows), len(mesh.vertices))
    )
    source = np.array(chart)
    return Patch(part, region, weights, np.array(faces), layout(source), np.array(weld), source)


def _fit(rectangle: atlas.Rectangle) -> Callable[[Float], Float]:
    def place(chart: Float) -> Float:
        return atlas.fit(chart * [1.0, -1.0], rectangle, min(atlas.GUTTER, 2 / 1024))

    return place


def _head_uv(chart: Float) -> Float:
    """MakeHuman lays the head on its side; turn it upright and magnify the face."""
    upright = np.stack([chart[:, 1], chart[:, 0]], axis=1)
    return atlas.fit(atlas.magnify_face(upright, (0.4835, 0.886), (15.0, 10.0)), atlas.HEAD)


def _half(rectangle: atlas.Rectangle, index: int) -> atlas.Rectangle:
    x0, y0, x1, y1 = rectangle
    step = (y1 - y0) / 2
    return (x0, y0 + index * step, x1, y0 + (index + 1) * step)
