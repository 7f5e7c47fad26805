"""The shaders' colour curves in numpy. The exact ones are in `streams.colour`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def decode_srgb(c: Array) -> Array:
    """lighting.glsl's linear_from_srgb: within 0.05 of a code value of the exact curve."""
    high = 0.00104602 + c * (0.0284091 + c * (0.560346620 + c * (0.526553887 - c * 0.116813168)))
    return np.where(c <= 0.04045, c / 12.92, high)


def encode_srgb(x: Array) -> Array:
    """lighting.glsl's srgb_from_linear: within 0.2 of a code value of the exact curve."""
    r = np.sqrt(x)
    high = r * (1.447968979 + r * (-0.945105432 + r * (0.843115919 - 0.309716603 * r)))
    return np.where(x <= 0.0031308, 12.92 * x, high - 0.037010478)


def tone_mapped(x: Array) -> Array:
    """lighting.glsl's curve: exact up to 0.6, then a shoulder that reaches 1 at 1.4."""
    over = np.clip(x - 0.6, 0.0, 0.8)
    return np.minimum(x, 0.6) + over * (1.0 - 0.625 * over)
