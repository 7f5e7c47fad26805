"""Squares of a picture that a detector looks at, so that it finds what is small in the whole.

A detector sees 128 or 192 pixels: a face of a tenth of the picture's width is a dozen of them. So
the picture is also looked at in pieces. All pieces at once cost many times the whole; in a film
they take turns.
"""

from __future__ import annotations

import math

from tracking.region import Region, whole_picture

TILE_SIDE = 1.2
"""Tiles of level n are this part of the n-th of the picture's longer side: what lies on the edge of
one is whole in its neighbour."""
OVERLAP = 1.0 / 6.0
"""Least part of a tile that its neighbour shows too."""

SMALLEST_TILE = 64
"""Pixels of its side. In less a detector, which sees it enlarged twice or more, takes an eye for a
face; what can be told from so few pixels is large enough in a larger square."""


def tiles(width: int, height: int, levels: tuple[int, ...]) -> tuple[Region, ...]:
    """Squares that cover the picture: one for level 1, about a dozen for level 4; in the order of
    `levels`, then from top to bottom and left to right. Levels whose tiles would be smaller than
    SMALLEST_TILE are left out, but for the whole picture."""
    found: list[Region] = []
    for level in levels:
        if level == 1:
            found.append(whole_picture(width, height))
            continue
        side = TILE_SIDE * max(width, height) / level
        if side < SMALLEST_TILE:
            continue
        found += [
            Region(x, y, side, 0.0) for y in _middles(height, side) for x in _middles(width, side)
        ]
    return tuple(found) or (whole_picture(width, height),)


class TileTurns:
    """The squares for one look after another: all of them at first, then the whole and a tile."""

    def __init__(self, levels: tuple[int, ...]) -> None:
        """`levels` as of `tiles`; (1,) is the whole picture only."""
        self._levels = levels
        self._turn = 0
        self._size = (0, 0)

    def next(self, width: int, height: int, alone: bool) -> tuple[Region, ...]:
        """The squares to look at now. A first look, or one at a picture of another size, gets all;
        later ones the whole, and one tile in turn unless `alone`."""
        squares = tiles(width, height, self._levels)
        if self._size != (width, height):
            self._size, self._turn = (width, height), 0
            return squares
        rest = squares[1:]
        if alone or not rest:
            return squares[:1]
        self._turn += 1
        return squares[0], rest[(self._turn - 1) % len(rest)]


def _middles(length: int, side: float) -> list[float]:
    """Middles of tiles along one axis of the picture, pixels."""
    if side >= length:
        return [(length - 1) / 2.0]
    steps = math.ceil((length - side) / (side * (1.0 - OVERLAP)))
    step = (length - side) / steps
    return [side / 2.0 - 0.5 + i * step for i in range(steps + 1)]
