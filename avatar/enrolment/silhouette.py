"""The outline of hair and ears: the template's scalp grown or shrunk to the person's silhouette.

Landmarks end at the hairline. Beyond it the average outline of the person over the video, seen from
the front, says how far the head reaches in every direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.camera import Camera
from streams.projection import project
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

ANGLES = 96
CENTRE = np.array([0.0, 0.015, -0.06])
"""Metres, head frame: inside the head, at the depth of its widest outline."""
REACH_M, STEPS = 0.26, 130
LOWEST_RAD = np.deg2rad(-28.0)
"""Below this elevation, left and right, chin and neck have the outline, not the hair."""
FADE_RAD = np.deg2rad(22.0)
MARGIN = 1.02
"""The surface reaches a little beyond the outline: the rest is left to its opacity."""
LEAST, MOST = 0.92, 1.7
FRONTAL_RAD = np.deg2rad(22.0)
FACE_EDGE = (0.72, 1.0)
"""Share of the way to the outline where the growth begins and where it is whole."""
BEHIND_M = (0.0, -0.05)
"""Depth, head frame, over which it becomes whole whatever that share."""


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """How far the person reaches around the head."""

    radius: Array
    """(ANGLES,) metres from CENTRE in the head's x-y plane, at k / ANGLES of a turn from x."""

    @staticmethod
    def of(
        masks: Sequence[Float32], cameras: Sequence[Camera], poses: Sequence[Rigid]
    ) -> Outline | None:
        """From person masks (H, W) and heads; None when no head is seen from the front."""
        angles = np.arange(ANGLES) * (2 * np.pi / ANGLES)
        along = np.linspace(0.04, REACH_M, STEPS)
        rays = np.stack([np.cos(angles), np.sin(angles), np.zeros(ANGLES)], axis=1)
        points = CENTRE + rays[:, None] * along[None, :, None]
        found: list[Array] = []
        for mask, camera, pose in zip(masks, cameras, poses, strict=True):
            if np.abs(pose.rotvec()).max() > FRONTAL_RAD:
                continue
            pixels, _ = project(camera, pose.apply(points.reshape(-1, 3)))
            where = np.rint(np.nan_to_num(pixels, nan=-1e6)).astype(np.int64)
            height, width = mask.shape
            inside = (where >= 0).all(1) & (where[:, 0] < width) & (where[:, 1] < height)
            value = np.full(len(where), np.nan)
            value[inside] = mask[where[inside, 1], where[inside, 0]]
            found.append(_first_exit(value.reshape(ANGLES, STEPS), along))
        if not found:
            return None
        stacked = np.array(found)
        known = np.isfinite(stacked).sum(0) >= max(1, len(found) // 3)
        if known.sum() < ANGLES // 3:
            return None
        radius = np.full(ANGLES, np.nan)
        radius[known] = np.nanmedian(stacked[:, known], axis=0)
        return Outline(radius)


def shaped_scalp(vertices: Array, scalp: npt.NDArray[np.bool_], outline: Outline) -> Array:
    """(T, 3) metres with the vertices of `scalp` (T,) bool grown to the outline."""
    away = vertices - CENTRE
    angle = np.arctan2(away[:, 1], away[:, 0])
    reach = np.hypot(away[:, 0], away[:, 1])
    bins = np.floor(np.mod(angle, 2 * np.pi) / (2 * np.pi) * ANGLES).astype(int) % ANGLES
    own = np.zeros(ANGLES)
    np.maximum.at(own, bins[scalp], reach[scalp])
    own = _smoothed(np.where(own > 0, own, np.nan))
    grown = MARGIN * outline.radius / own
    grown = np.where(np.isfinite(grown), np.clip(grown, LEAST, MOST), np.nan)
    directions = (np.arange(ANGLES) + 0.5) * (2 * np.pi / ANGLES)
    # Elevation above the horizontal, the same on both sides.
    elevation = np.arcsin(np.sin(directions))
    upper = np.clip((elevation - LOWEST_RAD) / FADE_RAD, 0.0, 1.0)
    grown = _smoothed(np.where(upper > 0, grown, 1.0))
    growth = 1.0 + (grown - 1.0) * upper
    place = np.mod(angle, 2 * np.pi) / (2 * np.pi) * ANGLES - 0.5
    low = np.floor(place).astype(int)
    inside = place - low
    growth = growth[low % ANGLES] * (1 - inside) + growth[(low + 1) % ANGLES] * inside
    outward = reach / np.maximum(own[bins], 1e-6)
    edge = _smoothstep((outward - FACE_EDGE[0]) / (FACE_EDGE[1] - FACE_EDGE[0]))
    behind = _smoothstep((vertices[:, 2] - BEHIND_M[0]) / (BEHIND_M[1] - BEHIND_M[0]))
    share = np.maximum(edge * (vertices[:, 2] < 0.03), behind) * scalp
    factor = 1.0 + share * (growth - 1.0)
    out = vertices.copy()
    out[:, :2] = CENTRE[:2] + away[:, :2] * factor[:, None]
    deeper = out[:, 2] < 0.0
    out[deeper, 2] *= 1.0 + 0.6 * (factor[deeper] - 1.0)
    return out


def _first_exit(value: Array, along: Array) -> Array:
    """(ANGLES,) where each ray first leaves the mask; NaN when the picture ends before."""
    out = np.full(len(value), np.nan)
    for k, row in enumerate(value):
        leaves = np.flatnonzero((row < 0.5) | np.isnan(row))
        if len(leaves) and not np.isnan(row[leaves[0]]):
            out[k] = along[leaves[0]]
    return out


def _smoothed(ring: Array) -> Array:
    """A circular Gaussian over 3 bins that skips NaN; where nothing is near, the mean of all."""
    offsets = np.arange(-6, 7)
    weights = np.exp(-0.5 * (offsets / 2.0) ** 2)
    total, count = np.zeros(len(ring)), np.zeros(len(ring))
    for offset, weight in zip(offsets, weights, strict=True):
        rolled = np.roll(ring, offset)
        good = np.isfinite(rolled)
        total[good] += weight * rolled[good]
        count[good] += weight
    mean = float(np.nanmean(ring)) if np.isfinite(ring).any() else 1.0
    return np.where(count > 0.2, total / np.maximum(count, 1e-9), mean)


def _smoothstep(x: Array) -> Array:
    t = np.clip(x, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)
