"""A ribbed crew-neck collar around the edge where the cloth was cut."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from assets.baking import atlas
from assets.baking.base_mesh import Float

SECTION = np.array(
    [
        [0.0005, -0.011],
        [0.0055, -0.009],
        [0.0068, 0.0],
        [0.0055, 0.008],
        [0.0015, 0.0105],
        [-0.002, 0.006],
    ]
)
"""(6, 2) metres: outwards and up along the neck, a soft closed band about 20 mm high."""
COUNT = 96
"""Points around the neck."""


def edge_loop(
    faces: npt.NDArray[np.int64], weld: npt.NDArray[np.int64], above: Float
) -> npt.NDArray[np.int64]:
    """Vertices (one a welded point) on the boundary of `faces` that lie on the collar's plane.

    `above` (V,) is each vertex's signed distance to that plane.
    """
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    key = np.sort(weld[edges], axis=1)
    _, first, count = np.unique(key, axis=0, return_index=True, return_counts=True)
    rim = np.unique(edges[first[count == 1]])
    rim = rim[np.abs(above[rim]) < 1e-6]
    return rim[np.unique(weld[rim], return_index=True)[1]]


def collar(loop: Float) -> tuple[Float, npt.NDArray[np.int64], Float]:
    """A closed band along (N, 3) unordered points around the neck.

    Returns (V, 3) metres, (F, 3) faces counter-clockwise from outside, (V, 2) atlas uv.
    """
    middle = loop.mean(0)
    angle = np.arctan2(loop[:, 0] - middle[0], loop[:, 2] - middle[2])
    order = np.argsort(angle)
    around = np.linspace(-np.pi, np.pi, COUNT, endpoint=False)
    path = np.stack(
        [np.interp(around, angle[order], loop[order, k], period=2 * np.pi) for k in range(3)],
        axis=1,
    )
    for _ in range(8):  # the cut crosses a coarse mesh: even the line out
        path = 0.5 * path + 0.25 * (np.roll(path, 1, 0) + np.roll(path, -1, 0))
    tangent = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    up = np.array([0.0, 1.0, -0.28]) / np.linalg.norm([0.0, 1.0, -0.28])
    outwards = np.cross(tangent, up)
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    upwards = np.cross(outwards, tangent)
    vertices = (
        path[:, None]
        + SECTION[None, :, :1] * outwards[:, None]
        + SECTION[None, :, 1:] * upwards[:, None]
    )
    rows = len(SECTION)
    index = np.arange(COUNT * rows).reshape(COUNT, rows)
    a, b = index, np.roll(index, -1, axis=1)  # a closed section: the inside is seen too
    c, d = np.roll(b, -1, 0), np.roll(a, -1, 0)
    faces = np.concatenate(
        [np.stack([a, d, c], -1).reshape(-1, 3), np.stack([a, c, b], -1).reshape(-1, 3)]
    )
    x0, _, x1, y1 = atlas.CLOTH
    # A strip along the cloth rectangle's lower edge, under the torso's chart.
    u = x0 + atlas.GUTTER + (x1 - x0 - 2 * atlas.GUTTER) * np.abs(around) / np.pi
    v = y1 - atlas.GUTTER - np.linspace(0.0, 0.012, rows)
    uv = np.stack(np.meshgrid(u, v, indexing="ij"), axis=-1).reshape(-1, 2)
    return vertices.reshape(-1, 3), faces, uv
