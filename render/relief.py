"""The surface map's height turned into slopes, once a topology, as the shaders read it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

HEIGHT_RANGE_M = 0.001
"""Metres between heights 0 and 1 (see Topology.surface)."""
STEEPEST = 0.12
"""Height change a texel (0..1) that the 8 bits can hold; steeper is clipped."""


def relief_map(surface: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(H, W, 4) uint8: roughness, occlusion, slope along u, slope along v (128 = flat)."""
    height = surface[..., 2].astype(np.float32) / 255.0
    packed = surface.copy()
    for channel, axis in ((2, 1), (3, 0)):
        if height.shape[axis] < 2:
            packed[..., channel] = 128
            continue
        slope = np.gradient(height, axis=axis) / STEEPEST
        packed[..., channel] = np.rint(128.0 + 127.0 * np.clip(slope, -1.0, 1.0)).astype(np.uint8)
    return packed


def slope_scale(surface: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(2,) float32: metres of height a unit of uv, a unit of (code / 255 - 128 / 255)."""
    h, w = surface.shape[:2]
    return np.array([w, h], np.float32) * np.float32(STEEPEST * HEIGHT_RANGE_M * 255.0 / 127.0)
