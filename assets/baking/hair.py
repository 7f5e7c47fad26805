"""Hair as cards: strips of strands that grow from the scalp, are combed, and hang.

A groom is a field over the scalp (canonical millimetres, see assets.baking.skin): where hair
grows, how long, and which way it is combed. Cards follow it step by step and keep off the skin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from assets.baking import atlas

Float = npt.NDArray[Any]

CROWN_AXIS_Z = -75.0
"""Canonical z of the skull's vertical axis, mm."""


@dataclass(frozen=True, slots=True, eq=False)
class Hair:
    """Cards in the head frame; static, they ride on the head."""

    vertices: npt.NDArray[np.float32]
    """(V, 3) metres."""
    normals: npt.NDArray[np.float32]
    """(V, 3) unit; the skull's, not the card's: a mass of hair is lit as a volume."""
    faces: npt.NDArray[np.int32]
    """(F, 3)."""
    uv: npt.NDArray[np.float32]
    """(V, 2) in the atlas; v runs along the strand."""


@dataclass(frozen=True, slots=True)
class Groom:
    """One hair style."""

    hairline: tuple[float, ...]
    """Lowest y of hair in mm at each of AZIMUTHS, from the front to the nape."""
    comb: Callable[[Float, Float], Float]
    """(N, 3) canonical roots or points, (N,) distance walked mm -> (N, 3) wished direction."""
    length: Callable[[Float], Float]
    """(N, 3) canonical roots -> (N,) mm."""
    cards: int
    steps: int
    width: float
    """mm."""
    lift: float
    """How far the outermost layer stands off the crown, mm; the sides lie three times flatter."""
    seed: int
    thin_top: float = 0.0
    """Share of the hair missing on the crown."""


FREE_BELOW = -25.0
"""Canonical y in mm below which hair no longer lies on the skull."""

AZIMUTHS = np.array([0.0, 30.0, 50.0, 66.0, 80.0, 95.0, 115.0, 145.0, 180.0])
"""Degrees from the front at which a groom's hairline is given."""


def scalp_height(canonical: npt.NDArray[Any], hairline: tuple[float, ...]) -> Float:
    """(...,) mm above the hairline (negative on bare skin)."""
    x, y, z = np.moveaxis(np.asarray(canonical, np.float64), -1, 0)
    azimuth = np.degrees(np.arctan2(np.abs(x), z - CROWN_AXIS_Z))
    return y - np.interp(azimuth, AZIMUTHS, np.array(hairline))


def _swept_back(p: Float, walked: Float) -> Float:
    """Off the forehead, up and back, parted on the left; sides back and down."""
    x, y, z = p.T
    top = np.clip((y - 45.0) / 35.0, 0.0, 1.0)
    to_right = np.where(x < 38.0, -0.55, 0.45)
    up = np.stack([to_right, 0.25 * np.ones_like(x), -0.75 * np.ones_like(x)], -1)
    side = np.stack([0.05 * np.sign(x), -0.75 * np.ones_like(x), -0.55 * np.ones_like(x)], -1)
    nape = np.stack([-0.1 * np.sign(x), -1.0 * np.ones_like(x), 0.1 * np.ones_like(x)], -1)
    back = np.clip((-120.0 - z) / 40.0, 0.0, 1.0)[:, None]
    out = top[:, None] * up + (1 - top[:, None]) * side
    return (1 - back) * out + back * nape


def _to_bun(p: Float, walked: Float) -> Float:
    """Everything is drawn tight to a knot high on the back of the head."""
    return np.array([0.0, 72.0, -176.0]) - p


def _bob(p: Float, walked: Float) -> Float:
    """Falls from a side parting to the jaw, curling in at the ends."""
    x, y, _ = p.T
    part = np.where(x > 14.0, 1.0, -1.0)
    steep = np.clip((95.0 - y) / 60.0, 0.0, 1.0)
    curl = np.clip((-55.0 - y) / 40.0, 0.0, 1.0)
    return np.stack(
        [
            part * (0.95 - 0.85 * steep) - 0.35 * part * curl,
            -0.15 - 1.0 * steep,
            -0.22 * (1 - steep) - 0.06 + 0.1 * curl,
        ],
        -1,
    )


def _cropped(p: Float, walked: Float) -> Float:
    """Short and thin: forward on top, down elsewhere."""
    x, y, _ = p.T
    top = np.clip((y - 55.0) / 35.0, 0.0, 1.0)[:, None]
    over = np.stack([-0.6 * np.ones_like(x), 0.1 * np.ones_like(x), -0.5 * np.ones_like(x)], -1)
    down = np.stack([0.0 * x, -0.8 * np.ones_like(x), -0.55 * np.ones_like(x)], -1)
    return top * over + (1 - top) * down


def _short_length(p: Float) -> Float:
    return np.interp(p[:, 1], [-70.0, -10.0, 30.0, 60.0, 95.0], [10.0, 14.0, 20.0, 40.0, 52.0])


def _crop_length(p: Float) -> Float:
    return np.interp(p[:, 1], [-70.0, 0.0, 60.0, 95.0], [8.0, 11.0, 17.0, 24.0])


def _bun_length(p: Float) -> Float:
    return np.linalg.norm(np.array([0.0, 72.0, -176.0]) - p, axis=1) * 1.12 + 6.0


def _bob_length(p: Float) -> Float:
    front = np.clip((p[:, 2] + 40.0) / 60.0, 0.0, 1.0)
    return np.clip(p[:, 1] + 88.0, 25.0, 210.0) * 1.02 + 26.0 * front


GROOMS: dict[str, Groom] = {
    "default": Groom(
        (72, 71, 56, 12, -12, 24, -14, -52, -66), _swept_back, _short_length, 620, 4, 11.0, 10.0, 1
    ),
    "amara": Groom(
        (70, 68, 58, 30, 6, 22, -8, -48, -58), _to_bun, _bun_length, 300, 8, 13.0, 3.0, 2
    ),
    "mei": Groom((74, 70, 58, 26, 4, 14, -10, -50, -62), _bob, _bob_length, 380, 10, 18.0, 10.0, 3),
    "walter": Groom(
        (84, 92, 76, 16, -14, 24, -14, -52, -66), _cropped, _crop_length, 560, 3, 8.5, 4.5, 4, 0.55
    ),
}


def grow(
    groom: Groom,
    canonical: npt.NDArray[Any],
    positions: npt.NDArray[Any],
    normals: npt.NDArray[Any],
    skin: npt.NDArray[Any],
) -> Hair:
    """Grow a groom's cards.

    `canonical` (N, 3) mm, `positions` (N, 3) m and `normals` (N, 3) sample the head's skin evenly;
    `skin` (M, 3) m are all skin points that hair keeps off.
    """
    rng = np.random.default_rng(groom.seed)
    height = scalp_height(canonical, groom.hairline) + rng.normal(0, 1.5, len(canonical))
    keep = height > 0.0
    if groom.thin_top:
        bald = np.exp(-(((canonical[:, 0]) / 42) ** 2 + ((canonical[:, 2] + 62) / 62) ** 2))
        bald *= np.clip((canonical[:, 1] - 60) / 30, 0, 1)
        keep &= rng.random(len(canonical)) > groom.thin_top * bald * 1.5
    candidates = np.flatnonzero(keep)
    roots = candidates[_spread(positions[candidates], groom.cards, rng)]
    layer = rng.permutation(len(roots)) / max(len(roots) - 1, 1)

    # At the hairline hair is finer, shorter and sparser.
    edge = np.clip(height[roots] / 16.0, 0.0, 1.0)

    tree = KDTree(skin)
    surface_normals = _outwards(skin, positions, normals)
    scale = 1e-3
    length = groom.length(canonical[roots].astype(np.float64)) * rng.uniform(0.78, 1.12, len(roots))
    length *= 0.62 + 0.38 * edge
    step = length / groom.steps * scale
    crown = np.clip((canonical[roots, 1].astype(np.float64) - 20.0) / 50.0, 0.0, 1.0)
    lift = groom.lift * (0.33 + 0.67 * crown)
    p = positions[roots].astype(np.float64) + 0.0008 * normals[roots]
    offset = canonical[roots].astype(np.float64) - positions[roots] / scale
    path, across = [p.copy()], []
    walked = np.zeros(len(roots))
    direction = normals[roots].astype(np.float64)
    for k in range(groom.steps):
        wish = groom.comb(p / scale + offset, walked)
        wish /= np.maximum(np.linalg.norm(wish, axis=1, keepdims=True), 1e-9)
        wish += rng.normal(0, 0.10, wish.shape)
        _, near = tree.query(p)
        n = surface_normals[near]
        flat = wish - (wish * n).sum(1, keepdims=True) * n * 0.85
        rise = (1.0 - k / groom.steps) ** 2 * ((0.25 + 0.75 * layer) * np.minimum(lift / 8, 1.2))[
            :, None
        ]
        aim = flat + rise * n
        aim /= np.maximum(np.linalg.norm(aim, axis=1, keepdims=True), 1e-9)
        direction = 0.35 * direction + 0.65 * aim if k else aim
        direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-9)
        p = p + direction * step[:, None]
        _, near = tree.query(p)
        off = ((p - skin[near]) * surface_normals[near]).sum(1)
        t = (k + 1) / groom.steps
        least = (0.0014 + lift * scale * layer * np.sin(np.pi * min(t, 0.62))) * (
            1 if t < 1 else 0.8
        )
        # Combed hair follows the skull; below the ears it hangs free.
        most = np.where(p[:, 1] / scale + offset[:, 1] > FREE_BELOW, least + 0.002, np.inf)
        keep_off = np.maximum(least - off, 0.0) - np.maximum(off - most, 0.0)
        p = p + keep_off[:, None] * surface_normals[near]
        walked = walked + step / scale
        path.append(p.copy())
        across.append(np.cross(direction, surface_normals[near]))
    across.append(across[-1])
    return _strips(
        np.stack(path, 1), np.stack(across, 1), layer, edge, groom, tree, surface_normals, rng
    )


def bun(scale: float = 1.0) -> Hair:
    """A knot of hair, canonical metres, made of wound strips around a flattened ball."""
    centre, radius = np.array([0.0, 0.070, -0.185]), 0.036 * scale
    rows, columns = 14, 22
    theta, phi = np.meshgrid(
        np.linspace(0.05, np.pi - 0.05, rows), np.linspace(0, 2 * np.pi, columns), indexing="ij"
    )
    normal = np.stack(
        [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), -np.cos(theta)], -1
    )
    wave = 1.0 + 0.05 * np.sin(5 * phi + 4 * theta)
    vertices = centre + normal * (radius * wave[..., None]) * [1.0, 1.0, 0.78]
    x0, y0, x1, y1 = atlas.HAIR
    quarter = (x1 - x0) / 4
    # Only the densest card's middle is opaque enough to be a solid.
    u = x0 + quarter * (0.38 + 0.24 * (theta / np.pi))
    v = y0 + (y1 - y0) * (0.08 + 0.40 * np.abs((phi / np.pi) % 2 - 1))
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    )
    return Hair(
        vertices.reshape(-1, 3).astype(np.float32), normal.reshape(-1, 3).astype(np.float32),
        faces.astype(np.int32), np.stack([u, v], -1).reshape(-1, 2).astype(np.float32),
    )  # fmt: skip


def join(parts: list[Hair]) -> Hair:
    """One mesh of several."""
    starts = np.cumsum([0] + [len(p.vertices) for p in parts[:-1]])
    return Hair(
        np.concatenate([p.vertices for p in parts]), np.concatenate([p.normals for p in parts]),
        np.concatenate([p.faces + s for p, s in zip(parts, starts, strict=True)]).astype(np.int32),
        np.concatenate([p.uv for p in parts]),
    )  # fmt: skip


def _spread(
    points: npt.NDArray[Any], count: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Indices of `count` points that lie evenly (best of eight candidates each time)."""
    chosen = [int(rng.integers(len(points)))]
    distance = np.linalg.norm(points - points[chosen[0]], axis=1)
    for _ in range(min(count, len(points)) - 1):
        trial = rng.integers(0, len(points), 24)
        best = int(trial[np.argmax(distance[trial])])
        chosen.append(best)
        distance = np.minimum(distance, np.linalg.norm(points - points[best], axis=1))
    return np.array(chosen)


def _outwards(
    skin: npt.NDArray[Any],
    positions: npt.NDArray[Any],
    normals: npt.NDArray[Any],
) -> Float:
    """(M, 3) smooth normals at skin points: the mean of those of the nearest samples."""
    _, near = KDTree(positions).query(skin, k=12)
    n = normals[near].mean(1)
    return n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-9)


def _strips(
    path: Float,
    across: Float,
    layer: Float,
    edge: Float,
    groom: Groom,
    tree: KDTree,
    skin_normals: Float,
    rng: np.random.Generator,
) -> Hair:
    count, points = path.shape[:2]
    across /= np.maximum(np.linalg.norm(across, axis=2, keepdims=True), 1e-9)
    t = np.linspace(0, 1, points)
    profile = (0.75 + 0.5 * np.sin(np.pi * np.clip(t * 0.8 + 0.1, 0, 1))) * (1 - 0.35 * t**2)
    half = groom.width * 0.5e-3 * rng.uniform(0.6, 1.25, (count, 1)) * profile
    half *= (0.5 + 0.5 * edge)[:, None]
    left, right = path - across * half[..., None], path + across * half[..., None]
    _, near = tree.query(path.reshape(-1, 3))
    normal = skin_normals[near].reshape(count, points, 3)
    # Tilt each edge's normal outwards a little: cards look rounded.
    vertices = np.stack([left, right], 2)
    normals = np.stack([normal - 0.35 * across, normal + 0.35 * across], 2)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    # Inner layers take the dense cards, the outermost the wispy one.
    variant = np.clip(
        (layer * 3.2 + 2.6 * (1 - edge) + rng.normal(0, 0.6, count)).astype(int), 0, 3
    )
    x0, y0, x1, y1 = atlas.HAIR
    quarter = (x1 - x0) / 4
    u0 = x0 + variant * quarter + 0.002
    u = np.stack([u0, u0 + quarter - 0.004], -1)
    flip = rng.random(count) < 0.5
    u[flip] = u[flip, ::-1]
    v = y0 + 0.004 + (y1 - y0 - 0.008) * t
    uv = np.empty((count, points, 2, 2))
    uv[..., 0] = u[:, None, :]
    uv[..., 1] = v[None, :, None]
    index = np.arange(count * points * 2).reshape(count, points, 2)
    a, b, c, d = index[:, :-1, 0], index[:, :-1, 1], index[:, 1:, 1], index[:, 1:, 0]
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2)
    order = np.argsort(layer)  # inner layers are drawn first
    return Hair(
        vertices.reshape(-1, 3).astype(np.float32), normals.reshape(-1, 3).astype(np.float32),
        faces[order].reshape(-1, 3).astype(np.int32), uv.reshape(-1, 2).astype(np.float32),
    )  # fmt: skip
