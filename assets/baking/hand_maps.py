"""Static maps of a hand in texture space: ambient occlusion and masks of what the skin shows where.

Each map is computed on four by four samples a texel from the surface's place at rest, averaged, and
spread beyond the charts' edges, so that filtering never reads an empty texel.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import open3d as o3d
from scipy import ndimage

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

SIZE = 256
"""Texels on a side of one hand's square."""
SAMPLES = 4
RAYS = 96
REACH_M = 0.08
"""Skin farther away than this casts no shade."""
FINGERS_AT = (2, 7, 12, 17, 22)
"""First moving joint of each finger in the order of OpenXR's joints, thumb first."""

PALM_LINES: tuple[tuple[tuple[float, float], ...], ...] = (
    ((-0.050, -0.074), (-0.030, -0.080), (-0.008, -0.086), (0.008, -0.098)),  # heart
    ((0.038, -0.080), (0.018, -0.077), (-0.008, -0.066), (-0.034, -0.050)),  # head
    ((0.038, -0.081), (0.016, -0.068), (0.004, -0.044), (0.006, -0.014)),  # life
    ((-0.024, 0.003), (0.0, 0.0045), (0.022, 0.003)),  # wrist
    ((-0.022, 0.010), (0.0, 0.0115), (0.022, 0.010)),
)
"""Creases of the palm as points (x, z) in the left wrist frame, metres."""


@dataclass(frozen=True, slots=True)
class MapInput:
    """The hand as it is saved, per vertex unless said otherwise."""

    vertices: Array
    normals: Array
    faces: Ints
    uv: Array
    cloth: Array
    """1 on the cuff."""
    dark: Array
    """1 inside the cuff."""
    back: Array
    """(V, 3) the dorsal direction of the bones that move a vertex."""
    nails: Ints
    """(5,) the vertex in the middle of each nail."""
    rest: Array
    """(B, 4, 4) wrist_from_bone."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Points of the surface at the samples of the texture."""

    where: Ints
    """(S,) index into the (SIZE * SAMPLES)^2 samples."""
    face: Ints
    """(S,)."""
    corners: Array
    """(S, 3) barycentric."""

    def of(self, per_vertex: Array, faces: Ints) -> Array:
        """Values at the samples of something given at the vertices."""
        values = per_vertex[faces[self.face]]
        weights = self.corners if values.ndim == 2 else self.corners[..., None]
        return (values * weights).sum(1)


def bake_maps(given: MapInput) -> dict[str, Bytes]:
    """Every map, (SIZE, SIZE) uint8 0..255, by name."""
    samples = rasterise(given.uv, given.faces)
    place = samples.of(given.vertices, given.faces)
    normal = _unit(samples.of(given.normals, given.faces))
    back = _unit(samples.of(given.back, given.faces))
    skin = 1.0 - samples.of(given.cloth, given.faces)
    palmar = _smoothstep(0.35, -0.35, (normal * back).sum(1))
    near_hand = _smoothstep(0.035, 0.0, place[:, 2])
    maps = {
        "nails": skin * nail_mask(given, samples),
        "creases": skin * crease_mask(given.rest, place, palmar),
        "knuckles": skin * (1.0 - palmar) * knuckle_mask(given.rest, place),
        "palm": skin * palmar * near_hand,
        "cloth": 1.0 - skin,
    }
    full = {name: gather(samples.where, value) for name, value in maps.items()}
    place_t, normal_t = (
        np.stack([gather(samples.where, v[:, k]) for k in range(3)], -1) for v in (place, normal)
    )
    dark = gather(samples.where, samples.of(given.dark, given.faces))
    open_sky = occlusion(given, place_t.reshape(-1, 3), _unit(normal_t.reshape(-1, 3)))
    full["occlusion"] = open_sky.reshape(SIZE, SIZE) * (1.0 - 0.92 * dark)
    return {name: np.round(255.0 * full[name].clip(0, 1)).astype(np.uint8) for name in sorted(full)}


def rasterise(uv: Array, faces: Ints) -> Samples:
    """Which triangle covers each sample of the texture, and where in it."""
    grid = SIZE * SAMPLES
    at = uv * grid - 0.5
    owner = np.full((grid, grid), -1, np.int64)
    corners = np.zeros((grid, grid, 3))
    for index, (a, b, c) in enumerate(at[faces]):
        low = np.maximum(np.ceil(np.minimum(np.minimum(a, b), c)).astype(int), 0)
        high = np.minimum(np.floor(np.maximum(np.maximum(a, b), c)).astype(int), grid - 1)
        if (low > high).any():
            continue
        x, y = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
        twice = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if abs(twice) < 1e-9:
            continue
        v = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / twice
        w = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / twice
        inside = (v >= -1e-9) & (w >= -1e-9) & (v + w <= 1.0 + 1e-9)
        rows, columns = y[inside], x[inside]
        owner[rows, columns] = index
        corners[rows, columns] = np.stack([1.0 - v - w, v, w], -1)[inside]
    where = np.flatnonzero(owner.ravel() >= 0)
    return Samples(where, owner.ravel()[where], corners.reshape(-1, 3)[where])


def gather(where: Ints, values: Array) -> Array:
    """(SIZE, SIZE): the mean of each texel's samples; texels without any take the nearest one's."""
    grid = SIZE * SAMPLES
    total, count = np.zeros(grid * grid), np.zeros(grid * grid)
    total[where], count[where] = values, 1.0
    shape = (SIZE, SAMPLES, SIZE, SAMPLES)
    total, count = total.reshape(shape).sum((1, 3)), count.reshape(shape).sum((1, 3))
    mean = total / np.maximum(count, 1.0)
    nearest = np.zeros((2, SIZE, SIZE), np.int32)
    ndimage.distance_transform_edt(
        np.asarray(count == 0), return_distances=False, return_indices=True, indices=nearest
    )
    return mean[nearest[0], nearest[1]]


def occlusion(given: MapInput, points: Array, normals: Array) -> Array:
    """(N,) the share of an even sky that each point sees, 1 = open; ray-cast by Open3D."""
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        o3d.core.Tensor.from_numpy(given.vertices.astype(np.float32)),
        o3d.core.Tensor.from_numpy(given.faces.astype(np.uint32)),
    )
    # Hammersley points, so that the same bake gives the same map.
    k = np.arange(RAYS)
    radical = np.array([int(f"{i:07b}"[::-1], 2) / 128.0 for i in k])
    radius, turn = np.sqrt((k + 0.5) / RAYS), 2.0 * np.pi * radical
    local = np.stack([radius * np.cos(turn), radius * np.sin(turn), np.sqrt(1 - radius**2)], -1)
    helper = np.where(np.abs(normals[:, :1]) < 0.8, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    tangent = _unit(np.cross(helper, normals))
    frame = np.stack([tangent, np.cross(normals, tangent), normals], axis=-1)
    start = points + normals * 0.0006
    seen = np.zeros(len(points))
    for ray in local:
        rays = np.concatenate([start, frame @ ray], axis=1).astype(np.float32)
        hit = scene.cast_rays(o3d.core.Tensor.from_numpy(rays))["t_hit"].numpy()
        seen += np.minimum(hit / REACH_M, 1.0)
    return seen / RAYS


def nail_mask(given: MapInput, samples: Samples) -> Array:
    """1 on the nail plates: large faces round each nail's middle that look the same way."""
    corners = given.vertices[given.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(across, axis=1)
    on = np.zeros(len(given.faces))
    for middle in given.nails:
        fan = (given.faces == middle).any(1)
        ahead = _unit(across[fan].sum(0, keepdims=True))[0]
        plate = fan.copy()
        for _ in range(3):
            touching = np.isin(given.faces, np.unique(given.faces[plate])).sum(1) >= 2
            facing = (across @ ahead) > 0.80 * area
            plate |= touching & facing & (area > 0.30 * np.median(area[fan]))
        on[plate] = 1.0
    return on[samples.face]


def crease_mask(rest: Array, place: Array, palmar: Array) -> Array:
    """Lines where the skin folds: in the palm, inside the finger joints, on the knuckles."""
    out = np.zeros(len(place))
    for line in PALM_LINES:
        distance = _distance_to_curve(place[:, [0, 2]], np.array(line))
        out = np.maximum(out, palmar * _line(distance, 0.0011))
    for finger, first in enumerate(FINGERS_AT):
        for joint in (1, 2) if finger == 0 else (0, 1, 2):
            local = (place - rest[first + joint, :3, 3]) @ rest[first + joint, :3, :3]
            near = (np.abs(local[:, 0]) < 0.013) & (np.abs(local[:, 1]) < 0.016)
            wobble = 0.0006 * np.sin(900.0 * local[:, 0] + finger + 2.0 * joint)
            along = np.where(near, local[:, 2] + wobble, 1.0)
            inner = {0: (-0.021,), 1: (0.0, 0.0028), 2: (0.0,)}[joint]
            if finger == 0:
                inner = (0.0,)
            for at in inner:
                out = np.maximum(out, palmar * _line(np.abs(along - at), 0.0010))
            outer = {0: (), 1: (-0.005, -0.0022, 0.0006, 0.0034, 0.006), 2: (-0.002, 0.0005, 0.003)}
            for at in outer[joint]:
                arc = at + 18.0 * local[:, 0] ** 2 * np.sign(at)
                strength = 0.75 - 60.0 * abs(at)
                line = _line(np.abs(along - arc), 0.0007) * (np.abs(local[:, 0]) < 0.0075)
                out = np.maximum(out, (1.0 - palmar) * strength * line)
    return out


def knuckle_mask(rest: Array, place: Array) -> Array:
    """Soft spots over the joints, where thin skin lies over bone."""
    out = np.zeros(len(place))
    for first in FINGERS_AT:
        for joint, size in ((0, 0.012), (1, 0.010), (2, 0.008)):
            distance = np.linalg.norm(place - rest[first + joint, :3, 3], axis=1)
            out = np.maximum(out, np.exp(-(np.maximum(distance - 0.6 * size, 0.0) ** 2) / size**2))
    return out


def _distance_to_curve(points: Array, through: Array) -> Array:
    """(N,) distance from (N, 2) points to a smooth curve through the given points."""
    ends = np.concatenate([[2 * through[0] - through[1]], through, [2 * through[-1] - through[-2]]])
    t = np.linspace(0.0, 1.0, 12, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(ends[:-3], ends[1:-2], ends[2:-1], ends[3:], strict=True):
        cubic = 2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
        pieces.append(0.5 * (cubic + (3 * b - a - 3 * c + d) * t**3))
    curve = np.concatenate([*pieces, through[-1:]])
    best = np.full(len(points), np.inf)
    for a, b in itertools.pairwise(curve):
        ab = b - a
        along = ((points - a) @ ab / (ab @ ab)).clip(0.0, 1.0)
        best = np.minimum(best, np.linalg.norm(points - a - along[:, None] * ab, axis=1))
    return best


def _line(distance: Array, width: float) -> Array:
    return np.exp(-((distance / width) ** 2))


def _smoothstep(low: float, high: float, value: Array) -> Array:
    t = ((value - low) / (high - low)).clip(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _unit(v: Array) -> Array:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)
