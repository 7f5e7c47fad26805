"""Glasses as a rigid layer of their own: a front sheet and two temples that ride on the skull.

The front is a height field over a fixed rectangle of the head frame, so that a ray is easily met
with it. Its picture lies in a strip of the atlas that the face leaves free; what is frame and what
is air the opacity says. Lenses are air: eyes behind them are the face's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from avatar.head_mesh import ATLAS

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 240, 112
"""Texels of the front's picture."""
REACH_M, TOP_M, BOTTOM_M = 0.075, 0.030, -0.040
"""The front's rectangle: x to both sides of the middle, y of its upper and lower texels."""
TEXEL_M = 2 * REACH_M / (WIDTH - 1)
ROWS, COLUMNS = 9, 25
"""Grid points of the front."""
LENS_ASIDE_M = 0.035
"""From the middle of the front to that of a lens."""
NUMBERS = 4
"""Of a code: what moves them."""
STATIONS = 3
"""Points along a temple: at the hinge, above the ear, at its tip."""
STRIP_ROW, STRIP_COLUMN = 136, 776
"""Where the front's upper left texel lies in the atlas."""
STRIP = (slice(130, 256), slice(768, 1024))
"""Rows and columns of the atlas that belong to the glasses."""
TEMPLE_COLUMN = 4
"""Texels from the front's edge to the column that a temple shows from end to end."""
TEMPLE_ROWS = 26
"""Texels across a temple: as fine as the front's, so that both are filtered alike."""
FARTHEST_M = 0.3
"""No point of a pair of glasses lies farther from the middle of the eyes."""


@dataclass(frozen=True, slots=True, eq=False)
class Spectacles:
    """One pair, head frame."""

    depth: Float32
    """(ROWS, COLUMNS) float32 metres: z of the front's points; row 0 on top, column 0 at the
    person's right."""
    temples: Float32
    """(2, STATIONS, 2, 3) float32 metres: left first; at each station the upper and the lower
    edge."""
    unit: Float32
    """(NUMBERS,): how far one unit of each number of a code moves them against the tracked head:
    metres to x and y, radians about the front's middle, a part of their size. No expression moves
    glasses; but what a tracker takes for the head's pose trembles with expressions."""
    average: UInt8
    """(HEIGHT, WIDTH, 3) uint8 sRGB: what is seen through the front on average; by its lines they
    are found in a picture, and from it their own texels' changes are counted."""

    def __post_init__(self) -> None:
        wanted = {
            "depth": ((ROWS, COLUMNS), np.float32), "unit": ((NUMBERS,), np.float32),
            "temples": ((2, STATIONS, 2, 3), np.float32), "average": ((HEIGHT, WIDTH, 3), np.uint8),
        }  # fmt: skip
        for name, (shape, kind) in wanted.items():
            value = getattr(self, name)
            if value.shape != shape or value.dtype != kind or not np.isfinite(value).all():
                raise ValueError(
                    f"Spectacles.{name}: expected finite {np.dtype(kind).name} {shape}, "
                    f"got {value.dtype.name} {value.shape}"
                )
        if max(np.abs(self.depth).max(), np.abs(self.temples).max()) > FARTHEST_M:
            raise ValueError(f"Spectacles: expected points within {FARTHEST_M} m of the eyes")

    def vertices(self) -> Float32:
        """(G, 3) metres: front, temples, then both once more for their backs."""
        x, y = front_grid()
        front = np.stack([x, y, self.depth], axis=-1).reshape(-1, 3)
        once = np.concatenate([front, self.temples.reshape(-1, 3)])
        return np.concatenate([once, once]).astype(np.float32)

    def unit_mm(self) -> Float32:
        """(NUMBERS,) how far one unit of each number moves the middles of the lenses."""
        return self.unit * np.float32(1e3) * (1.0, 1.0, LENS_ASIDE_M, LENS_ASIDE_M)

    def vertex_moves(self) -> Float32:
        """(NUMBERS, G, 3) metres: what one unit of each number adds to each vertex."""
        return np.stack([self.shift(self.vertices(), row) for row in np.diag(self.unit)])

    def shift(self, points: Float32, moved: Float32) -> Float32:
        """(..., 3) metres, what `moved` (NUMBERS,), in metres, radians and part of the size, adds
        to `points` (..., 3)."""
        away = points - self.middle()
        out = away * moved[3]
        out[..., 0] += moved[0] - moved[2] * away[..., 1]
        out[..., 1] += moved[1] + moved[2] * away[..., 0]
        return out.astype(np.float32)

    def middle(self) -> Float32:
        """(3,) metres: about which they turn."""
        centre = self.depth[ROWS // 2, COLUMNS // 2]
        return np.array([0.0, 0.5 * (TOP_M + BOTTOM_M), centre], np.float32)


def front_points(depth: Float32) -> Float32:
    """(HEIGHT, WIDTH, 3) metres, head frame, of the texels of a front of this `depth`."""
    x, y = np.linspace(-REACH_M, REACH_M, WIDTH), np.linspace(TOP_M, BOTTOM_M, HEIGHT)
    across, down = np.meshgrid(x, y)
    at = np.meshgrid(
        np.linspace(0, ROWS - 1, HEIGHT), np.linspace(0, COLUMNS - 1, WIDTH), indexing="ij"
    )
    fine = map_coordinates(depth.astype(np.float64), at, order=1)
    return np.stack([across, down, fine], axis=-1).astype(np.float32)


def front_grid() -> tuple[Float32, Float32]:
    """x and y of the front's points, (ROWS, COLUMNS) metres each."""
    x = np.linspace(-REACH_M, REACH_M, COLUMNS, dtype=np.float32)
    y = np.linspace(TOP_M, BOTTOM_M, ROWS, dtype=np.float32)
    across, down = np.meshgrid(x, y)
    return across, down


def texel_of(x: Float32, y: Float32) -> tuple[Float32, Float32]:
    """Column and row of the front's picture at places of its rectangle, metres."""
    column = (x + np.float32(REACH_M)) * np.float32((WIDTH - 1) / (2 * REACH_M))
    row = (np.float32(TOP_M) - y) * np.float32((HEIGHT - 1) / (TOP_M - BOTTOM_M))
    return column, row


def spectacle_faces() -> npt.NDArray[np.int32]:
    """(F, 3) counter-clockwise seen from outside, of `Spectacles.vertices`."""
    index = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    faces = [_quads(index[:-1, :-1], index[1:, :-1], index[:-1, 1:], index[1:, 1:])]
    for side in (0, 1):
        start = ROWS * COLUMNS + side * STATIONS * 2
        strip = start + np.arange(STATIONS * 2).reshape(STATIONS, 2)
        if side == 1:  # so that the outside of either temple is its front
            strip = strip[:, ::-1]
        faces.append(_quads(strip[:-1, 0], strip[:-1, 1], strip[1:, 0], strip[1:, 1]))
    once = np.concatenate(faces)
    count = ROWS * COLUMNS + 2 * STATIONS * 2
    return np.concatenate([once, once[:, ::-1] + count]).astype(np.int32)


def _quads(*corners: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Upper left, lower left, upper right, lower right."""
    a, b, c, d = (corner.ravel() for corner in corners)
    return np.concatenate([np.stack([a, b, c], axis=1), np.stack([c, b, d], axis=1)])


def spectacle_uv() -> Float32:
    """(G, 2) of `Spectacles.vertices`."""
    column, row = texel_of(*front_grid())
    front = np.stack([column, row], axis=-1).reshape(-1, 2)
    temples = np.zeros((2, STATIONS, 2, 2), np.float32)
    temples[0, :, :, 0], temples[1, :, :, 0] = WIDTH - 1 + TEMPLE_COLUMN, -TEMPLE_COLUMN
    temples[:, :, 1, 1] = TEMPLE_ROWS - 1
    texels = np.concatenate([front, temples.reshape(-1, 2)])
    uv = (texels + (STRIP_COLUMN + 0.5, STRIP_ROW + 0.5)) / ATLAS
    return np.concatenate([uv, uv]).astype(np.float32)
