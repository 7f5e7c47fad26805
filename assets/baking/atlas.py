"""Where each part lies in the avatar's one texture: rectangles of the unit square, (0, 0) top-left.

The hands' rectangles are the right column's lower half (see bake_hands.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[Any]
Rectangle = tuple[float, float, float, float]
"""x0, y0, x1, y1."""

HEAD: Rectangle = (0.0, 0.0, 0.75, 0.75)
NECK: Rectangle = (0.0, 0.75, 0.25, 1.0)
CLOTH: Rectangle = (0.25, 0.75, 0.75, 1.0)
CLOTH_TORSO: Rectangle = (0.25, 0.75, 0.75, 0.975)
"""Below it lies the strip of the collar."""
EYES: tuple[Rectangle, Rectangle] = ((0.75, 0.0, 0.875, 0.125), (0.875, 0.0, 1.0, 0.125))
"""Left eye first."""
TEETH: Rectangle = (0.75, 0.125, 0.875, 0.1875)
TONGUE: Rectangle = (0.875, 0.125, 0.9375, 0.1875)
MOUTH: Rectangle = (0.9375, 0.125, 1.0, 0.1875)
LASHES: Rectangle = (0.75, 0.1875, 0.875, 0.25)
SOCKETS: tuple[Rectangle, Rectangle] = ((0.875, 0.1875, 0.9375, 0.25), (0.9375, 0.1875, 1.0, 0.25))
HAIR: Rectangle = (0.75, 0.25, 1.0, 0.5)
GUTTER = 4.0 / 1024.0
"""Kept free inside every rectangle's edge, so that filtering never mixes two parts."""


def fit(uv: Float, rectangle: Rectangle, gutter: float = GUTTER) -> Float:
    """Scale (N, 2) chart coordinates (any range, y down) to fill a rectangle."""
    low, high = uv.min(0), uv.max(0)
    x0, y0, x1, y1 = rectangle
    corner = np.array([x0 + gutter, y0 + gutter])
    extent = np.array([x1 - x0, y1 - y0]) - 2.0 * gutter
    return corner + (uv - low) / np.maximum(high - low, 1e-9) * extent


def magnify_face(uv: Float, middle: tuple[float, float], strength: tuple[float, float]) -> Float:
    """Give the features of the face more texels than the scalp: asinh on each axis.

    Monotone on both axes, so a chart without overlaps keeps none.
    """
    k = np.array(strength)
    return np.arcsinh((uv - np.array(middle)) * k) / k
