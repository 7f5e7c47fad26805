"""The slow numpy twin of the OpenGL renderer: one sample at each pixel's centre, no shadows.

It exists to be compared with: textures are read from their full size (no mip levels), a triangle
that comes nearer than the near plane is left out whole, edges are jagged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from render.background import background_picture
from render.materials import material_of
from render.panels import back_to_front, panel_matrix, panel_picture
from render.projection_matrix import NEAR, clip_from_world
from render.relief import relief_map, slope_scale
from render.renderer import RenderOptions, require_drawable
from render.shading import Fragments, Lights, light_vertices, shade
from streams.closing import Releasing
from streams.image import Image
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.topology import PARTS
from streams.view import View

Array = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.intp]
_ORDER = ("cloth", "skin", "eye", "teeth", "tongue", "hair", "lash", "glasses")


@dataclass(slots=True, eq=False)
class _Canvas:
    """Colour (H, W, 4) in code values 0..1 and depth (H, W) metres, infinite where empty."""

    rgba: Array
    depth: Array

    def blend(
        self, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], colour: Array
    ) -> None:
        """Premultiplied `colour` (N, 4) over what is there."""
        under = self.rgba[rows, columns]
        self.rgba[rows, columns] = colour + under * (1 - colour[:, 3:])


@dataclass(frozen=True, slots=True, eq=False)
class _Triangle:
    """Three corners in the picture."""

    xy: Array
    """(3, 2) pixels, row 0 on top, pixel centres at whole numbers."""
    w: Array
    """(3,) metres along the eye's +z."""

    def weights(self, x: Pixels, y: Pixels) -> Array:
        """(N, 3) perspective-correct weights of the corners at pixels, outside them too."""
        (ax, ay), (bx, by), (cx, cy) = self.xy
        double_area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        wb = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / double_area
        wc = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / double_area
        flat = np.stack([1 - wb - wc, wb, wc], axis=-1) / self.w
        return flat / flat.sum(axis=-1, keepdims=True)

    def pixels(self, size: tuple[int, int]) -> tuple[Pixels, Pixels]:
        """Rows and columns of the pixels whose centres are inside."""
        low = np.maximum(np.ceil(self.xy.min(axis=0)), 0).astype(int)
        high = np.minimum(np.floor(self.xy.max(axis=0)), np.array(size) - 1).astype(int)
        if (low > high).any():
            nothing = np.empty(0, np.intp)
            return nothing, nothing
        columns, rows = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
        columns, rows = columns.ravel(), rows.ravel()
        inside = (self.weights(columns, rows) >= 0).all(axis=1)
        return rows[inside], columns[inside]


class ReferenceRenderer(Releasing):
    """Draws as `GlRenderer` does with antialias "none" and without shadows."""

    def __init__(self, options: RenderOptions) -> None:
        self._options = options
        self._lights = Lights.of(options.environment)

    def draw(
        self, mesh: MeshTexture | MeshNodes, view: View, panels: Sequence[Panel] = ()
    ) -> Image:
        """See `Renderer.draw`. Foveation is not drawn."""
        require_drawable(mesh, view, panels)
        if isinstance(mesh, MeshNodes):
            mesh = mesh.materialised()
        width, height = view.size
        rgba = np.ones((height, width, 4))
        rgba[..., :3] = background_picture(view) / 255.0
        canvas = _Canvas(rgba, np.full((height, width), np.inf))
        matrix = clip_from_world(view)
        for part in _ORDER:
            self._draw_part(canvas, mesh, view, matrix, part)
        for panel in back_to_front(panels, view):
            _draw_panel(canvas, panel, view, matrix)
        depth = np.where(np.isfinite(canvas.depth), canvas.depth, 0.0).astype(np.float32)
        if not self._options.depth:
            depth[:] = 0.0
        pixels = np.rint(np.clip(canvas.rgba, 0, 1) * 255).astype(np.uint8)
        return Image(mesh.t_ns, view, pixels, depth)

    def release(self) -> None:
        """Nothing is held."""

    def _draw_part(
        self, canvas: _Canvas, mesh: MeshTexture, view: View, matrix: Array, part: str
    ) -> None:
        topology = mesh.topology
        material = material_of(part, topology.lit)
        chosen = topology.parts[topology.faces[:, 0]] == PARTS.index(part)
        faces = topology.faces[chosen]
        if not len(faces):
            return
        relief = relief_map(topology.surface)
        uv = topology.uv.astype(np.float64)
        positions, normals = mesh.vertices.astype(np.float64), mesh.normals.astype(np.float64)
        vertices = light_vertices(
            *(positions, normals, _bilinear(relief, uv), view.world_from_eye.xyz),
            *(self._lights, material),
        )
        vertices |= {"uv": uv, "normal": normals}
        see_through = material.kind in ("fibre", "baked")
        surface = topology.surface if see_through else relief
        for face, triangle in _triangles(positions, faces, view, matrix, cull=True):
            corners = {name: values[face] for name, values in vertices.items()}
            rows, columns = triangle.pixels(view.size)
            weights = triangle.weights(columns, rows)
            depth = weights @ triangle.w
            # GL_LEQUAL: a fragment at the same depth is drawn.
            front = depth <= canvas.depth[rows, columns]
            rows, columns, weights, depth = (
                rows[front],
                columns[front],
                weights[front],
                depth[front],
            )
            fragments = _fragments(
                triangle, corners, rows, columns, view.size[1], mesh.albedo, surface
            )
            scale = slope_scale(topology.surface).astype(np.float64)
            colour = shade(fragments, scale, self._lights, material)
            if see_through:
                kept = colour[:, 3] >= 0.02
                rows, columns, colour, depth = rows[kept], columns[kept], colour[kept], depth[kept]
            canvas.blend(rows, columns, colour)
            canvas.depth[rows, columns] = depth


def _fragments(
    triangle: _Triangle,
    corners: dict[str, Array],
    rows: Pixels,
    columns: Pixels,
    height: int,
    albedo: npt.NDArray[np.uint8],
    surface: npt.NDArray[np.uint8],
) -> Fragments:
    here = triangle.weights(columns, rows)
    at = {name: here @ values for name, values in corners.items()}
    # A card takes differences within blocks of two by two pixels, counted from the lower left.
    left = columns - columns % 2
    low = rows + (height - 1 - rows) % 2

    def changes(x: Pixels, y: Pixels) -> tuple[Array, Array]:
        weights = triangle.weights(x, y)
        view = weights @ corners["view"]
        return view[:, :3] * view[:, 3:], weights @ corners["uv"]

    position_l, uv_l = changes(left, rows)
    position_r, uv_r = changes(left + 1, rows)
    position_b, uv_b = changes(columns, low)
    position_t, uv_t = changes(columns, low - 1)
    return Fragments(
        at["view"],
        at["normal"],
        at["light"],
        at["gloss"],
        at["highlight"],
        _bilinear(albedo, at["uv"]),
        _bilinear(surface, at["uv"]),
        position_r - position_l,
        position_t - position_b,
        uv_r - uv_l,
        uv_t - uv_b,
    )


def _draw_panel(canvas: _Canvas, panel: Panel, view: View, matrix: Array) -> None:
    picture = panel_picture(panel)
    square = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [-0.5, 0.5, 0], [0.5, 0.5, 0]])
    corners = panel_matrix(panel)
    positions = square @ corners[:3, :3].T + corners[:3, 3]
    uv = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    faces = np.array([[0, 1, 2], [2, 1, 3]])
    # Both triangles before blending, so that their common edge is not blended twice.
    drawn = np.zeros(canvas.depth.shape, bool)
    for face, triangle in _triangles(positions, faces, view, matrix, cull=False):
        rows, columns = triangle.pixels(view.size)
        weights = triangle.weights(columns, rows)
        colour, depth = _bilinear(picture, weights @ uv[face]), weights @ triangle.w
        kept = (depth <= canvas.depth[rows, columns]) & ~drawn[rows, columns]
        kept &= colour[:, 3] >= 0.004
        rows, columns = rows[kept], columns[kept]
        canvas.blend(rows, columns, colour[kept])
        canvas.depth[rows, columns] = depth[kept]
        drawn[rows, columns] = True


def _triangles(
    positions: Array,
    faces: npt.NDArray[np.integer],
    view: View,
    matrix: Array,
    *,
    cull: bool,
) -> Iterator[tuple[npt.NDArray[np.integer], _Triangle]]:
    """The faces before the near plane, with their corners in the picture; front faces if `cull`."""
    width, height = view.size
    clip = positions @ matrix[:, :3].T + matrix[:, 3]
    w = clip[:, 3]
    safe = np.maximum(w, 1e-9)
    x = (clip[:, 0] / safe + 1) * width / 2 - 0.5
    y = (1 - clip[:, 1] / safe) * height / 2 - 0.5
    for face in faces:
        if w[face].min() < NEAR:
            continue
        triangle = _Triangle(np.stack([x[face], y[face]], axis=1), w[face])
        a, b, c = triangle.xy
        turn = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
        # Rows count downwards, so counter-clockwise faces turn negative.
        if turn < 0 or (turn > 0 and not cull):
            yield face, triangle


def _bilinear(texels: npt.NDArray[np.uint8], uv: Array) -> Array:
    """(N, C) values 0..1 at texture coordinates, clamped at the border."""
    height, width = texels.shape[:2]
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1)
    y = np.clip(uv[:, 1] * height - 0.5, 0, height - 1)
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    t = texels.astype(np.float64) / 255.0
    top = t[y0, x0] * (1 - fx) + t[y0, x1] * fx
    return top * (1 - fy) + (t[y1, x0] * (1 - fx) + t[y1, x1] * fx) * fy
