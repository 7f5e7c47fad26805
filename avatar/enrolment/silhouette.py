"""The outline of hair: the template's scalp grown or shrunk to the person's silhouette.

Landmarks end at the hairline. Beyond it every frame's outline of the person says how far the head
reaches at right angles to the view. Those directions are few: between them, and where no frame
looks along the outline (the back of the head), hair is taken to be as thick as it is on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse
from scipy.spatial import KDTree

from avatar.head_mesh import HeadMesh
from avatar.personal_head import beyond_face, smoothstep
from streams.camera import Camera
from streams.projection import project
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

CENTRE = np.array([0.0, 0.015, -0.06])
"""Metres, head frame: inside the head, at the depth of its widest outline."""
ANGLES = 72
"""Rays about the head in a picture."""
ROUNDS = 5
"""The outline of a grown head lies elsewhere than that of the template."""
FARTHEST = 2.0
"""The mask is followed as far from the centre as so many times the mesh."""
INSIDE = 0.5
"""A mask of more is the person."""
LEAST, MOST = 0.9, 1.5
"""Growth is held between."""
ANCHORS = 400
"""Directions, evenly over the sphere, at which outlines of many frames are put together."""
KERNEL_RAD = 0.45
"""Reach of the Gaussian process of the growth: a tuft as wide as three of these is still followed,
the aliasing of a single ray is not."""
DEVIATION, NOISE = 0.25, 0.05
"""Of the growth's logarithm over directions, and of one anchor's measurement."""
FROM_FACE_M = (0.006, 0.030)
"""Metres beyond the face's landmarks, on the template, where growth begins and is whole."""
ABOVE_M = (-0.045, 0.010)
"""Metres above the head frame's origin, on the template, likewise: below is neck, not hair."""
EAR_M = ((0.072, 0.100), (-0.065, 0.020), (-0.105, -0.060))
"""The ears' box on the template: |x|, y and z. Ears are carried along, not stretched."""
EAR_CLEARANCE_M = 0.03
"""Around them the scalp grows less, lest it part from them: by half where it touches them."""
EAR_SHARE = 0.25
"""Of the growth at their roots: hair is thicker above the ears than under them."""
FREE = 0.6
"""What takes less part than this is not asked how far it should grow."""
EAR_ROOT_M = np.array([0.072, -0.010, -0.082])


@dataclass(frozen=True, slots=True, eq=False)
class OutlineView:
    """One frame's outline of the person."""

    mask: Float32
    """(H, W) 0 background to 1 person."""
    camera: Camera
    world_from_head: Rigid


def shaped_scalp(head: HeadMesh, vertices: Array, views: Sequence[OutlineView]) -> Array:
    """(T, 3) metres, head frame: a person's resting `vertices` (T, 3) with the scalp grown to the
    outline in `views`; unchanged when the views show none."""
    scalp, shaped = _Scalp.of(head), vertices
    field = _Field(np.zeros((0, 3)), np.zeros(0), 0.0)
    for _ in range(ROUNDS):
        points, free = scalp.outline @ shaped, scalp.outline @ scalp.free
        found = [_seen_growth(points, free, view) for view in views]
        directions = np.concatenate([np.zeros((0, 3)), *(d for d, _ in found)])
        if len(directions) < ANGLES // 3:
            break
        wanted = np.concatenate([more for _, more in found]) + field.at(directions)
        field = _Field.fit(directions, np.clip(wanted, np.log(LEAST), np.log(MOST)))
        shaped = scalp.grown(vertices, field.at(scalp.direction_of(vertices)))
    return shaped


@dataclass(frozen=True, slots=True, eq=False)
class _Scalp:
    """What of the template can grow."""

    free: Array
    """(T,) 0..1: how far each vertex takes part."""
    outline: sparse.csr_array
    """(n, T): points along the edges of the head, of which some are its outline in any view."""
    ears: npt.NDArray[np.bool_]
    """(T,)."""

    @staticmethod
    def of(head: HeadMesh) -> _Scalp:
        count = head.template_size
        rest = head.vertices[:count].astype(np.float64)
        skin = head.regions[:count] == "head"
        away = beyond_face(rest, rest)
        free = skin * smoothstep(away, FROM_FACE_M) * smoothstep(rest[:, 1], ABOVE_M)
        box = np.array(EAR_M)
        beside = np.column_stack([np.abs(rest[:, 0]), rest[:, 1:]])
        beyond = np.linalg.norm(beside - np.clip(beside, box[:, 0], box[:, 1]), axis=1)
        ears = skin & (beyond == 0.0)
        free *= 0.5 + 0.5 * smoothstep(beyond, (0.0, EAR_CLEARANCE_M))
        faces = head.faces[(head.faces < count).all(1)]
        faces = faces[skin[faces].all(1)]
        edges = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]]), 1), axis=0)
        rows = np.arange(4 * len(edges))
        share = np.tile([0.0, 0.25, 0.5, 0.75], len(edges))
        ends = np.repeat(edges, 4, axis=0)
        outline = sparse.csr_array(
            (
                np.concatenate([1.0 - share, share]),
                (np.tile(rows, 2), np.concatenate([ends[:, 0], ends[:, 1]])),
            ),
            (len(rows), count),
        )
        return _Scalp(free, outline, ears)

    def direction_of(self, vertices: Array) -> Array:
        """(T, 3) unit vectors from the centre; those of an ear are its root's."""
        away = vertices - CENTRE
        away[self.ears] = EAR_ROOT_M - CENTRE
        away[self.ears, 0] *= np.sign(vertices[self.ears, 0])
        return away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)

    def grown(self, vertices: Array, log_growth: Array) -> Array:
        """(T, 3) of the person's own (T, 3) and (T,)."""
        away = vertices - CENTRE
        share = self.free.copy()
        for side in (-1.0, 1.0):
            ear = self.ears & (side * vertices[:, 0] > 0)
            away[ear] = EAR_ROOT_M * (side, 1.0, 1.0) - CENTRE
            share[ear] = EAR_SHARE * float(smoothstep(EAR_ROOT_M[1:2], ABOVE_M)[0])
        return vertices + away * (share * np.expm1(log_growth))[:, None]


@dataclass(frozen=True, slots=True, eq=False)
class _Field:
    """A scalar over directions: a Gaussian process (Rasmussen and Williams 2006, section 2.2)."""

    anchors: Array
    """(m, 3) unit vectors."""
    weights: Array
    """(m,)."""
    mean: float

    @staticmethod
    def fit(directions: Array, values: Array) -> _Field:
        """From measurements (n,) at (n, 3): medians about anchors first, which neither many frames
        nor a few wrong outlines sway."""
        every = _even_directions(ANCHORS)
        near = KDTree(every).query(directions)[1]
        used = np.unique(near)
        middle = np.array([np.median(values[near == k]) for k in used])
        place = np.array([directions[near == k].mean(0) for k in used])
        place /= np.linalg.norm(place, axis=1, keepdims=True)
        mean = float(np.median(middle))
        covariance = _kernel(place, place) + NOISE**2 * np.eye(len(used))
        weights = np.linalg.solve(covariance, middle - mean)
        return _Field(place, np.asarray(weights, np.float64), mean)

    def at(self, directions: Array) -> Array:
        """(n, 3) -> (n,)."""
        return self.mean + _kernel(directions, self.anchors) @ self.weights


def _kernel(a: Array, b: Array) -> Array:
    return DEVIATION**2 * np.exp((np.clip(a @ b.T, -1.0, 1.0) - 1.0) / KERNEL_RAD**2)


def _seen_growth(points: Array, free: Array, view: OutlineView) -> tuple[Array, Array]:
    """Directions (n, 3), head frame, in which a view shows the outline, and the logarithm (n,) of
    how much further the person reaches there than the head whose outline is among `points` (m, 3)
    metres, head frame, of which only those that are `free` (m,) count."""
    pose, camera = view.world_from_head, view.camera
    pixels, _ = project(camera, pose.apply(np.concatenate([CENTRE[None], points])))
    centre, away = pixels[0], pixels[1:] - pixels[0]
    if not np.isfinite(pixels).all():
        return np.zeros((0, 3)), np.zeros(0)
    turn = np.arctan2(away[:, 1], away[:, 0]) / (2 * np.pi) * ANGLES
    reach, ray = np.hypot(away[:, 0], away[:, 1]), np.rint(turn).astype(int) % ANGLES
    order, farthest = np.argsort(reach), np.full(ANGLES, -1)
    farthest[ray[order]] = order  # the farthest comes last
    mesh = np.where(farthest < 0, 0.0, reach[farthest])
    angles = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    person = _reach(view.mask, centre, rays, mesh)
    known = np.isfinite(person) & (farthest >= 0) & (free[farthest] > FREE)
    contact = points[farthest[known]] - CENTRE
    contact /= np.linalg.norm(contact, axis=1, keepdims=True)
    return contact, np.log(person[known] / mesh[known])


def _reach(mask: Float32, centre: Array, rays: Array, mesh: Array) -> Array:
    """(ANGLES,) pixels from the centre to where each ray leaves the mask; NaN when it leaves the
    picture first, or begins outside the person."""
    height, width = mask.shape
    along = np.linspace(0.5, FARTHEST, 300)[None, :] * mesh[:, None]
    where = centre + rays[:, None] * along[:, :, None]
    column, row = (np.rint(where[..., k]).astype(np.intp) for k in (0, 1))
    outside = (column < 0) | (row < 0) | (column >= width) | (row >= height)
    value = mask[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    leaves = outside | (value < INSIDE)
    first = np.argmax(leaves, axis=1)
    each = np.arange(len(rays))
    known = leaves.any(1) & ~outside[each, first] & (first > 0)
    return np.where(known, along[each, first], np.nan)


def _even_directions(count: int) -> Array:
    """(count, 3) unit vectors on a golden spiral."""
    k = np.arange(count) + 0.5
    y, turn = 1.0 - 2.0 * k / count, np.pi * (1.0 + np.sqrt(5.0)) * k
    level = np.sqrt(1.0 - y * y)
    return np.stack([level * np.cos(turn), y, level * np.sin(turn)], axis=1)
