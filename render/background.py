"""The studio wall behind everything: a function of the direction, so it stands still in the world.

`background.frag` draws it; this is its numpy twin and holds its colours.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from render.projection_matrix import view_rays
from streams.colour import srgb_from_linear
from streams.view import View

WALL_BRIGHT = (0.165, 0.186, 0.215)
"""Linear RGB behind the subject."""
WALL_DARK = (0.012, 0.014, 0.019)
"""Linear RGB far from there."""


def background_uniforms(view: View, cell: int) -> dict[str, npt.NDArray[np.float32] | float]:
    """Inputs of background.vert and .frag; `cell`: drawn pixels a shown pixel, each way."""
    origin, across, up = view_rays(view)
    return {
        "ray_origin": origin.astype(np.float32),
        "ray_across": across.astype(np.float32),
        "ray_up": up.astype(np.float32),
        "wall_bright": np.array(WALL_BRIGHT, np.float32),
        "wall_dark": np.array(WALL_DARK, np.float32),
        "cell": float(cell),
    }


def background_picture(view: View) -> npt.NDArray[np.uint8]:
    """(height, width, 3) uint8 sRGB, row 0 on top."""
    width, height = view.size
    origin, across, up = view_rays(view)
    x = (np.arange(width) + 0.5) * 2 / width
    y = (height - np.arange(height) - 0.5) * 2 / height
    ray = origin + x[None, :, None] * across + y[:, None, None] * up
    d = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    glow = np.clip(d @ np.array([0.0, 0.0624, -0.9981]), 0.0, 1.0)
    share = 1.0 / (1.0 + 7.0 * (1.0 - glow * glow))
    bright, dark = np.array(WALL_BRIGHT), np.array(WALL_DARK)
    wall = (dark + share[..., None] * (bright - dark)) * (1.0 + 0.22 * d[..., 1:2])
    column, row = np.arange(width), (height - 1 - np.arange(height))[:, None]
    # float32 as on the card: the noise depends on the last bits.
    inner = (column * np.float32(0.06711056) + row * np.float32(0.00583715)).astype(np.float32)
    noise = np.modf(np.float32(52.9829189) * np.modf(inner)[0])[0][..., None]
    code = srgb_from_linear(wall) + (noise - 0.5) / 255.0
    return np.rint(np.clip(code, 0.0, 1.0) * 255.0).astype(np.uint8)
