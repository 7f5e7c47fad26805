"""Views and lights to OpenGL's clip space. The eye's y-down axes become GL's y-up ones here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from render.environment import SoftLight
from streams.view import View

NEAR, FAR = 0.02, 100.0
"""Metres; what is nearer or farther is not drawn."""

Matrix = npt.NDArray[np.float64]


def clip_from_world(view: View) -> Matrix:
    """(4, 4) float64 row-major: world metres to GL's clip space."""
    left, right, up, down = np.tan(view.fov)
    clip_from_eye = np.array(
        [
            [2 / (right - left), 0, -(right + left) / (right - left), 0],
            [0, -2 / (up - down), -(up + down) / (up - down), 0],
            [0, 0, (FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)],
            [0, 0, 1, 0],
        ]
    )
    return clip_from_eye @ view.world_from_eye.inverse().matrix()


def metres_from_depth(depth: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Depth-buffer values 0..1 -> metres along the eye's +z; the cleared value 1 -> 0 (nothing)."""
    scale, offset = np.float32(FAR - NEAR), np.float32(FAR)
    metres = np.float32(FAR * NEAR) / (offset - scale * depth)
    metres[depth >= 1.0] = 0.0
    return metres


def view_rays(view: View) -> tuple[Matrix, Matrix, Matrix]:
    """World directions: of the picture's lower-left corner, then what one unit of clip x and of
    clip y adds. Not unit vectors."""
    left, right, up, down = np.tan(view.fov)
    rotation = view.world_from_eye.rotation()
    origin = rotation @ np.array([left, -down, 1.0])
    return (
        origin,
        rotation @ np.array([(right - left) / 2, 0.0, 0.0]),
        rotation @ np.array([0.0, -(up - down) / 2, 0.0]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class ShadowFrame:
    """Where a far light sees the mesh: a box around it along the light's axes."""

    clip_from_world: Matrix
    """(4, 4) float64: the box to -1..1."""
    texture_from_world: Matrix
    """(4, 4) float64: the box to 0..1, moved towards the light so that a surface does not shade
    itself."""
    blur: npt.NDArray[np.float64]
    """(2,) float64 the penumbra's radius in the box's width and height."""


PENUMBRA_M = 0.012
"""Metres: what a soft box of a studio's size gives a few centimetres behind an edge."""
SHADOW_TEXELS = 160
"""Of the map each way. The penumbra is wide: finer would not show."""
SHADOW_MARGIN_M = 0.005
"""How far the box reaches beyond the mesh."""
SHADOW_BIAS_M = 0.002
"""How far it is moved towards the light, besides half a texel."""


def shadow_frame(light: SoftLight, vertices: npt.NDArray[np.float32], texels: int) -> ShadowFrame:
    """The light's view of `vertices` (V, 3), V > 0, world metres."""
    z = np.array(light.towards) / np.linalg.norm(light.towards)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= max(float(np.linalg.norm(x)), 1e-6)
    axes = np.stack([x, np.cross(z, x), z])
    seen = axes.astype(np.float32) @ vertices.T
    low = seen.min(axis=1).astype(np.float64) - SHADOW_MARGIN_M
    high = seen.max(axis=1).astype(np.float64) + SHADOW_MARGIN_M
    size = high - low
    clip = np.eye(4)
    clip[:3, :3] = axes * (2.0 / size)[:, None]
    clip[:3, 3] = -(high + low) / size
    clip[2] *= -1.0  # nearer to the light is a smaller depth
    to_texture = np.eye(4)
    to_texture[:3, :3] *= 0.5
    to_texture[:3, 3] = 0.5
    # The shader follows the surface's plane; what is left is the size of a texel and curvature.
    bias = 0.5 * float(max(size[0], size[1])) / texels + SHADOW_BIAS_M
    texture = to_texture @ clip
    texture[2, 3] -= bias / size[2]
    return ShadowFrame(clip, texture, PENUMBRA_M / size[:2])
