"""The studio's light: one soft key from the upper left, fill, two rims and a gentle surround.

Irradiance is relative to an even white light from everywhere: 1 means that a surface shows its
albedo as it is. Directions are in the world; for a webcam the picture's left is -x. The key is kept
apart from the rest because it can cast a shadow; all other light is a spherical-harmonics
irradiance of order 2 (Ramamoorthi and Hanrahan 2001).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_array, require_finite

Array = npt.NDArray[np.float32]

SH_BASIS = np.array([0.282095, 0.488603, 0.488603, 0.488603, 1.092548, 1.092548, 0.315392, 1.092548,
                     0.546274])  # fmt: skip
"""Constants of the real basis 1, y, z, x, xy, yz, 3z^2 - 1, xz, x^2 - y^2."""
LIGHTS = 4
"""The shaders have this many lights; unused ones are black."""


@dataclass(frozen=True, slots=True)
class SoftLight:
    """A rectangular soft box, far away."""

    towards: tuple[float, float, float]
    """World direction from the subject to the light; any length."""
    colour: tuple[float, float, float]
    """Irradiance on a surface that faces the light, linear RGB, 1 = as bright as even light."""
    half_size: tuple[float, float] = (0.3, 0.3)
    """Tangents of half its angular width and height."""


@dataclass(frozen=True, slots=True, eq=False)
class Environment:
    """What lights the scene. The first light is the key; nothing mirrors the fourth."""

    lights: tuple[SoftLight, ...]
    surround: Array
    """(9, 3) float32 irradiance coefficients of everything but the key (see `SH_BASIS`), linear
    RGB; multiply by the basis at the normal."""

    def __post_init__(self) -> None:
        surround = require_array("Environment.surround", self.surround, np.float32, (9, 3))
        require_finite("Environment.surround", surround)
        object.__setattr__(self, "surround", surround)
        if len(self.lights) > LIGHTS:
            raise ValueError(
                f"Environment.lights: expected at most {LIGHTS}, got {len(self.lights)}"
            )

    @staticmethod
    def studio() -> Environment:
        """The portrait studio that avatars are shown in: key to fill about 2.5 to 1."""
        key = SoftLight((-0.62, 0.56, 0.82), (1.02, 0.97, 0.91), (0.25, 0.31))
        fill = SoftLight((0.85, 0.12, 0.62), (0.10, 0.11, 0.125), (0.50, 0.60))
        rim = SoftLight((0.85, 0.50, -0.62), (0.24, 0.255, 0.285), (0.22, 0.55))
        back = SoftLight((-0.90, 0.35, -0.70), (0.17, 0.17, 0.17), (0.22, 0.55))

        def surround(directions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            # A light wall and ceiling, a warm floor, and the boxes other than the key.
            up = 0.5 + 0.5 * directions[:, 1:2]
            front = 0.5 + 0.5 * directions[:, 2:3]
            wall = up * [0.34, 0.355, 0.38] + (1 - up) * [0.215, 0.19, 0.17]
            return wall * (0.72 + 0.40 * front)

        coefficients = _irradiance_of(surround)
        for light in (fill, rim, back):
            coefficients += _irradiance_of_light(light)
        return Environment((key, rim, back, fill), coefficients.astype(np.float32))

    @staticmethod
    def even() -> Environment:
        """White from everywhere: surfaces show their albedo exactly. For tests and for baking."""
        surround = np.zeros((9, 3), np.float32)
        surround[0] = 1.0 / SH_BASIS[0]
        return Environment((), surround)

    def irradiance_matrices(self) -> Array:
        """(3, 4, 4) float32 symmetric M, one a channel: surround irradiance = h^T M h with
        h = (nx, ny, nz, 1)."""
        c = self.surround.astype(np.float64) * SH_BASIS[:, None]
        matrices = np.zeros((3, 4, 4))
        for channel, (one, y, z, x, xy, yz, zz, xz, xx_yy) in enumerate(c.T):
            matrices[channel] = [
                [xx_yy, xy / 2, xz / 2, x / 2],
                [xy / 2, -xx_yy, yz / 2, y / 2],
                [xz / 2, yz / 2, 3 * zz, z / 2],
                [x / 2, y / 2, z / 2, one - zz],
            ]
        return matrices.astype(np.float32)

    def light_frames(self) -> Array:
        """(LIGHTS, 3, 3) float32: rows are the unit direction to each light, then its width and
        height axes divided by its half size."""
        frames = np.zeros((LIGHTS, 3, 3))
        frames[:, 0, 1] = 1.0
        for frame, light in zip(frames, self.lights, strict=False):
            frame[0] = np.array(light.towards) / np.linalg.norm(light.towards)
            across = np.cross([0.0, 1.0, 0.0], frame[0])
            across /= max(float(np.linalg.norm(across)), 1e-6)
            frame[1] = across / light.half_size[0]
            frame[2] = np.cross(frame[0], across) / light.half_size[1]
        return frames.astype(np.float32)

    def light_colours(self) -> Array:
        """(LIGHTS, 3) float32 irradiance of each light on a surface that faces it."""
        colours = np.zeros((LIGHTS, 3), np.float32)
        for i, light in enumerate(self.lights):
            colours[i] = light.colour
        return colours

    def light_radiances(self) -> Array:
        """(LIGHTS, 3) float32 radiance of each box, in units in which even light has 1."""
        radiances = self.light_colours()
        for i, light in enumerate(self.lights):
            radiances[i] *= np.pi / (4.0 * light.half_size[0] * light.half_size[1])
        return radiances


def sh_basis(directions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N, 3) unit directions -> (N, 9) basis values."""
    x, y, z = directions.T
    one = np.ones_like(x)
    return SH_BASIS * np.stack([one, y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], 1)


_COSINE_LOBE = np.array([1.0, *[2.0 / 3.0] * 3, *[0.25] * 5])
"""A band's weight when radiance is turned into irradiance / pi."""


def _irradiance_of(
    radiance: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
) -> npt.NDArray[np.float64]:
    """(9, 3) coefficients of irradiance/pi under `radiance`, a function of (N, 3) directions."""
    directions = _sphere(4096)
    basis = sh_basis(directions)
    return _COSINE_LOBE[:, None] * (basis.T @ radiance(directions)) * (4 * np.pi / len(directions))


def _irradiance_of_light(light: SoftLight) -> npt.NDArray[np.float64]:
    """(9, 3) coefficients of irradiance/pi of a light that is small enough to be a direction."""
    towards = np.array([light.towards]) / np.linalg.norm(light.towards)
    return _COSINE_LOBE[:, None] * sh_basis(towards).T * np.array([light.colour]) * np.pi


def _sphere(count: int) -> npt.NDArray[np.float64]:
    """(count, 3) unit directions, evenly spread (Fibonacci's spiral)."""
    i = np.arange(count) + 0.5
    z = 1.0 - 2.0 * i / count
    r, angle = np.sqrt(1.0 - z * z), np.pi * (1.0 + 5.0**0.5) * i
    return np.stack([r * np.cos(angle), r * np.sin(angle), z], 1)
