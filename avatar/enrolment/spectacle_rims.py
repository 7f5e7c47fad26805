"""The rims of glasses in the average picture of a front sheet, and whether there are any.

A rim is a closed line around an eye that is darker or brighter than both of its sides: neither lids
nor cheeks have one below the eye, and no bare nose has one across its bridge.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d, map_coordinates

from avatar.spectacles import BOTTOM_M, HEIGHT, REACH_M, TEXEL_M, TOP_M, WIDTH, texel_of

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]

OUTWARDS_M, DOWN_M = 0.007, 0.003
"""From an iris to the middle of the lens before it: lenses reach further to the temples."""
LEAST_RADIUS_M, LARGEST_RADIUS_M = 0.013, 0.034
ASIDE_M = (-0.004, -0.002, 0.0, 0.002, 0.004)
ANGLES, RADII = 120, 64
SIDES_M = 0.0022
"""How far from a line its two sides are looked at."""
STEP_COST = 1.2
"""Code values that a rim gives up for each step in or out between neighbouring angles."""
STRONGEST = 14.0
"""More contrast than that does not make it more of a rim."""
LOWER = (np.deg2rad(200.0), np.deg2rad(340.0))
"""Angles (from the person's left, counter-clockwise) of a rim that lies on the cheek."""
HINGE_M = 0.008
"""A temple begins so near above or below where it is looked for."""
BRIDGE_M = 0.005
"""Half the width of the nose across which a bridge is looked for."""
WORN = 2.5
"""Code values from which on glasses are worn. Of nine people in videos, the three who wear some
(thin wire, wire with a dark bridge, clear plastic) have 14, 14 and 5.0."""


@dataclass(frozen=True, slots=True, eq=False)
class Rims:
    """In texels of the front's picture."""

    left: Array
    """(ANGLES, 2) column and row around the person's left eye."""
    right: Array
    lower_contrast: float
    """Code values by which the rims differ from the skin of the cheeks."""
    bridge_contrast: float
    """Likewise what crosses the nose."""
    bridge_row: float

    @property
    def evidence(self) -> float:
        """Code values: that there are rims and that there is a bridge, together."""
        return float(np.sqrt(self.lower_contrast * self.bridge_contrast))

    @property
    def worn(self) -> bool:
        """Whether this is a pair of glasses."""
        return self.evidence > WORN

    def wire(self, reach_m: float) -> UInt8:
        """(HEIGHT, WIDTH) 0 or 255: within `reach_m` of the middles of the rims."""
        out = np.zeros((HEIGHT, WIDTH), np.uint8)
        for rim in (self.left, self.right):
            cv2.polylines(out, [np.rint(rim * 16).astype(np.int32)], True, 255, 1, cv2.LINE_8, 4)
        size = 2 * int(np.ceil(reach_m / TEXEL_M)) + 1
        round_about = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        return np.asarray(cv2.dilate(out, round_about), np.uint8)

    def mask(self, reach_m: float) -> UInt8:
        """(HEIGHT, WIDTH) 0 or 255: within `reach_m` of the rims, and about bridge and hinges."""
        wide = self.wire(reach_m)
        middle_column = (WIDTH - 1) / 2
        away = [np.abs(rim[:, 0] - middle_column) for rim in (self.left, self.right)]
        inner = [self.left[away[0].argmin()], self.right[away[1].argmin()]]
        # Bridge and nose pads lie between the rims, hinges beyond them.
        top = min(self.left[:, 1].min(), self.right[:, 1].min())
        low = max(point[1] for point in inner) + 0.010 / TEXEL_M
        a, b = sorted(int(point[0]) for point in inner)
        wide[int(max(top, self.bridge_row - 0.006 / TEXEL_M)) : int(low), a : b + 1] = 255
        for column, row in self.hinges():
            rows = slice(int(max(0, row - HINGE_M / TEXEL_M)), int(row + HINGE_M / TEXEL_M))
            first, last = (int(column), WIDTH) if column > middle_column else (0, int(column) + 1)
            wide[rows, first:last] = 255
        return wide

    def hinges(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Column and row at which the temples begin, left first: the outer ends of the rims, a
        little above their middle."""
        found = []
        for rim in (self.left, self.right):
            outer = rim[np.abs(rim[:, 0] - (WIDTH - 1) / 2).argmax()]
            found.append((float(outer[0]), 0.5 * (self.bridge_row + float(outer[1]))))
        return found[0], found[1]


def find_rims(picture: Float32, irises: Float32) -> Rims:
    """`picture` (HEIGHT, WIDTH, 3) code values of the front; `irises` (2, 3) metres, head frame,
    left first."""
    level, middle = float(irises[:, 1].mean()), float(irises[:, 0].mean())
    apart = 0.5 * float(irises[0, 0] - irises[1, 0]) + OUTWARDS_M
    # Glasses hang a little to one side; faces are not quite symmetric either.
    tries = [_rims_about(picture, middle + aside, level, apart) for aside in ASIDE_M]
    best = max(tries, key=lambda found: found.strength)
    bridge, bridge_row = _bridge(picture, middle, level)
    return Rims(*best.rims, best.lower_contrast, bridge, bridge_row)


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """Rims about one guess of their middle."""

    rims: tuple[Array, Array]
    lower_contrast: float
    strength: float


def _rims_about(picture: Float32, middle: float, level: float, apart: float) -> _Pair:
    angles = np.linspace(0.0, 2 * np.pi, ANGLES, endpoint=False)
    radii = np.linspace(LEAST_RADIUS_M, LARGEST_RADIUS_M, RADII)
    step = (LARGEST_RADIUS_M - LEAST_RADIUS_M) / (RADII - 1)
    sides = (1.0, -1.0)

    def place(side: float, along: Array) -> tuple[Array, Array]:
        """x and y at radii `along` (ANGLES, ...) of the angles."""
        cosine, sine = np.cos(angles), np.sin(angles)
        if along.ndim > 1:
            cosine, sine = cosine[:, None], sine[:, None]
        return middle + side * (apart + cosine * along), level - DOWN_M + sine * along

    every = np.broadcast_to(radii, (ANGLES, RADII))
    strengths = []
    for side in sides:
        around = gaussian_filter1d(_sampled(picture, *place(side, every)), 2.0, axis=0, mode="wrap")
        strengths.append(_line_strength(around, step))
    # Both rims have one shape, mirrored.
    both = np.minimum(0.5 * (strengths[0] + strengths[1]), STRONGEST)
    path = _closed_path(both)
    along = [s[np.arange(ANGLES), path] for s in strengths]
    lower = (angles > LOWER[0]) & (angles < LOWER[1])
    contrast = float(np.median(np.minimum(along[0], along[1])[lower]))
    rims = []
    for side in sides:
        x, y = (v.astype(np.float32) for v in place(side, radii[path]))
        rims.append(np.stack(texel_of(x, y), axis=1).astype(np.float64))
    strength = float(np.minimum(np.minimum(along[0], along[1]), STRONGEST).mean())
    return _Pair((rims[0], rims[1]), contrast, strength)


def _bridge(picture: Float32, middle: float, level: float) -> tuple[float, float]:
    """Contrast and row of the line across the nose, between brows and the tip."""
    x = middle + np.linspace(-BRIDGE_M, BRIDGE_M, 9)
    y = np.arange(level + 0.014, level - 0.012, -TEXEL_M)
    across = np.stack(np.meshgrid(x, y, indexing="ij"))
    found = _sampled(picture, across[0], across[1])
    # A bridge is arched: each column may be a little higher or lower.
    strength = _line_strength(found, TEXEL_M)
    shifted = np.stack([np.roll(strength, k, axis=1) for k in (-1, 0, 1)]).max(0)
    along = np.median(shifted, axis=0)
    best = int(along.argmax())
    _, row = texel_of(np.zeros(1, np.float32), np.array([y[best]], np.float32))
    return float(along[best]), float(row[0])


def _line_strength(values: Array, step_m: float) -> Array:
    """(N, M, 3) -> (N, M): by how much a value along the second axis differs from both sides, where
    they agree on the sign (an edge of a surface is none), over the channels."""
    away = max(1, round(SIDES_M / step_m))
    padded = np.pad(gaussian_filter1d(values, 0.7, axis=1), ((0, 0), (away, away), (0, 0)), "edge")
    low = values - padded[:, : values.shape[1]]
    high = values - padded[:, 2 * away :]
    agree = low * high > 0.0
    return np.where(agree, np.minimum(np.abs(low), np.abs(high)), 0.0).max(2)


def _closed_path(strength: Array) -> npt.NDArray[np.intp]:
    """(ANGLES,) radius indices of the strongest smooth closed path through (ANGLES, RADII):
    dynamic programming twice around, so that the ends meet."""
    angles, radii = strength.shape
    total = np.zeros(radii)
    came = np.zeros((2 * angles, radii), np.intp)
    steps = np.arange(-2, 3)
    for k in range(2 * angles):
        options = np.full((len(steps), radii), -np.inf)
        for i, step in enumerate(steps):
            source = np.arange(radii) + step
            good = (source >= 0) & (source < radii)
            options[i, good] = total[source[good]] - STEP_COST * abs(int(step))
        best = options.argmax(0)
        came[k] = np.arange(radii) + steps[best]
        total = options[best, np.arange(radii)] + strength[k % angles]
    path = np.zeros(2 * angles, np.intp)
    path[-1] = int(total.argmax())
    for k in range(2 * angles - 1, 0, -1):
        path[k - 1] = came[k, path[k]]
    # The middle lap: its neighbours on both sides are known.
    half = angles // 2
    return np.roll(path[half : half + angles], half)


def _sampled(picture: Float32, x: Array, y: Array) -> Array:
    """(..., 3) at places of the front, metres."""
    column = (x + REACH_M) / TEXEL_M
    row = (TOP_M - y) * (HEIGHT - 1) / (TOP_M - BOTTOM_M)
    return np.stack(
        [
            map_coordinates(picture[..., k], (row, column), order=1, mode="nearest")
            for k in range(3)
        ],
        axis=-1,
    )
