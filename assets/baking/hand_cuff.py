"""The sleeve cuff that a hand's forearm comes out of, so that it does not end in a hole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import open3d as o3d

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CUT_M = 0.080
"""Where the forearm's skin is cut, along its axis from the wrist."""
OPENING_M, END_M = 0.055, 0.115
"""Where the sleeve begins and ends along the same axis."""
SEGMENTS = 28

PROFILE: tuple[tuple[float, float, float], ...] = (
    # along the axis (m), outwards from the skin (m), share of the radius
    (END_M + 0.004, 0.0, 0.0),
    (END_M + 0.004, 0.0, 0.55),
    (END_M + 0.002, 0.0040, 1.0),
    (END_M, 0.0062, 1.0),
    (0.100, 0.0058, 1.0),
    (0.085, 0.0064, 1.0),
    (0.070, 0.0054, 1.0),
    (0.0605, 0.0050, 1.0),
    (0.0590, 0.0056, 1.0),
    (0.0560, 0.0054, 1.0),
    (OPENING_M, 0.0044, 1.0),
    (0.0556, 0.0036, 1.0),
    (0.0620, 0.0030, 1.0),
    (0.0740, 0.0022, 1.0),
    (0.0750, -0.0015, 1.0),
)
"""Rings from the dark cap at the far end over the outside and the hem to the inside."""
FIRST_INSIDE_RING = 12
UV_RECTANGLE = (0.02, 0.86, 0.52, 0.98)
"""x0 y0 x1 y1 in the hand's texture square."""


@dataclass(frozen=True, slots=True)
class Cuff:
    """A tube closed at its far end, vertices doubled along one seam, in the wrist frame."""

    vertices: Array
    """(C, 3) metres."""
    faces: Ints
    """(F, 3) counter-clockwise from outside."""
    uv: Array
    """(C, 2) in the hand's texture square."""
    weights: Array
    """(C, B): the forearm's bone and the sleeve's far end."""
    weld: Ints
    """(C,) equal for the two copies of a point on the seam."""
    dark: Array
    """(C,) 1 where hardly any light falls: the inside and the cap."""


def build_cuff(vertices: Array, faces: Ints, axis: Array, bones: int) -> Cuff:
    """The cuff round a forearm that leaves the wrist (the origin) along the unit vector `axis`."""
    across = np.cross(axis, np.array([0.0, 1.0, 0.0]))
    across /= np.linalg.norm(across)
    upward = np.cross(across, axis)
    angles = np.linspace(0.0, 2.0 * np.pi, SEGMENTS, endpoint=False)
    outwards = np.cos(angles)[:, None] * across + np.sin(angles)[:, None] * upward
    near, far = 0.050, 0.076
    middle, radius = _section(vertices, faces, axis, outwards, (near, far))
    rings = []
    for row, (along, clearance, share) in enumerate(PROFILE):
        t = (along - near) / (far - near)
        centre = middle[0] + t * (middle[1] - middle[0])
        # Beyond the skin's end the arm is taken to widen on, but no faster than a forearm does.
        width = radius[0] + t * np.clip(radius[1] - radius[0], 0.0, 0.0025)
        fold = 0.0011 * np.sin(3.0 * angles + 80.0 * along) + 0.0007 * np.sin(
            5.0 * angles - 150.0 * along + 1.0
        )
        width = width + clearance + (fold if 2 < row < 9 else 0.35 * fold)
        rings.append(centre + outwards * (share * width)[:, None])
    grid = np.stack(rings)
    grid = np.concatenate([grid, grid[:, :1]], axis=1)
    rows, columns = grid.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    quads = np.stack([a, b, c, a, c, d], axis=-1).reshape(-1, 3)
    flat = grid.reshape(-1, 3)
    weld = np.arange(rows * columns).reshape(rows, columns)
    weld[:, -1] = weld[:, 0]
    weld[0] = weld[0, 0]
    kept = quads[[len({*face}) == 3 for face in weld.reshape(-1)[quads].tolist()]]
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(grid[:, 0], axis=0), axis=1))])
    x0, y0, x1, y1 = UV_RECTANGLE
    uv = np.stack(
        np.broadcast_arrays(
            np.linspace(x1, x0, columns)[None, :], (y0 + (y1 - y0) * length / length[-1])[:, None]
        ),
        axis=-1,
    ).reshape(-1, 2)
    share = np.clip((np.array(PROFILE)[:, 0] - CUT_M) / (END_M - CUT_M), 0.0, 1.0)
    weights = np.zeros((rows, columns, bones))
    weights[..., -1] = share[:, None]
    weights[..., -2] = 1.0 - share[:, None]
    dark = np.zeros((rows, columns))
    dark[:2] = dark[FIRST_INSIDE_RING:] = 1.0
    return Cuff(flat, kept, uv, weights.reshape(-1, bones), weld.reshape(-1), dark.reshape(-1))


def _section(
    vertices: Array, faces: Ints, axis: Array, outwards: Array, at: tuple[float, float]
) -> tuple[Array, Array]:
    """Middles (2, 3) and smooth radii (2, SEGMENTS) of the forearm at two places on its axis."""
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        o3d.core.Tensor.from_numpy(vertices.astype(np.float32)),
        o3d.core.Tensor.from_numpy(faces.astype(np.uint32)),
    )
    middles, radii = [], []
    for along in at:
        middle = axis * along
        for _ in range(3):  # the middle settles: each time the mean of what its rays hit
            rays = np.concatenate([np.broadcast_to(middle, outwards.shape), outwards], axis=1)
            hit = scene.cast_rays(o3d.core.Tensor.from_numpy(rays.astype(np.float32)))[
                "t_hit"
            ].numpy()
            middle = middle + (outwards * hit[:, None]).mean(0)
        rays = np.concatenate([np.broadcast_to(middle, outwards.shape), outwards], axis=1)
        hit = scene.cast_rays(o3d.core.Tensor.from_numpy(rays.astype(np.float32)))["t_hit"].numpy()
        wave = np.fft.rfft(hit.astype(np.float64))
        wave[4:] = 0.0
        middles.append(middle)
        radii.append(np.fft.irfft(wave, SEGMENTS))
    return np.stack(middles), np.stack(radii)
