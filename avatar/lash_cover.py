"""What the lashes of a personal avatar hide of lids and eye balls, and how these look without them.

Lashes are drawn over the face. So what is learned and encoded of the face is what a picture shows
without theirs: by the average opacity of each piece of a strip, which is all that a webcam sees.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from avatar.head_mesh import HeadMesh
from avatar.lash_strips import GUTTER, STRIPS, WINDOW, LashStrips
from avatar.unwrapping import TexelTable, Unwrapped, pixels_of
from streams.camera import Camera
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

REACH_M = 0.012
"""No texel further than this from the box about a strip at rest is hidden by it."""
MOST = 0.7
"""So much at most is taken to be hidden: the rest would be noise."""
FINER = 2
"""Samples a pixel both ways."""
MARGIN = 3
"""Pixels about the lashes."""


class LashCover:
    """Of one person's face."""

    def __init__(
        self, head: HeadMesh, mean: UInt8, opacity: UInt8, table: TexelTable, rest: Float32
    ) -> None:
        """`mean` (ATLAS, ATLAS, 3) and `opacity` (ATLAS, ATLAS) as PersonalModel's; `rest` (T, 3)
        metres, head frame: the face at rest, on whose texels `table` lies."""
        strips = LashStrips.of(head)
        rows, _ = WINDOW
        each = (rows.stop - rows.start) // len(STRIPS)
        inner = slice(GUTTER, -GUTTER)
        corners, ink = [], []
        for strip in range(len(STRIPS)):
            grid = strips.grid(strip)
            corners.append(
                np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], axis=-1)
            )
            at = slice(each * strip, each * (strip + 1))
            size = (grid.shape[1] - 1, grid.shape[0] - 1)
            shown = opacity[WINDOW][at][inner, inner].astype(np.float32) / np.float32(255.0)
            share = cv2.resize(shown, size, interpolation=cv2.INTER_AREA)
            colour = np.median(mean[WINDOW][at].reshape(-1, 3), axis=0)
            ink.append(np.dstack([share[..., None] * colour, share]))
        flat = np.concatenate([i.reshape(-1, 4) for i in ink]).astype(np.float64)
        # Where pieces lie over one another the most opaque, drawn last, counts.
        order = np.argsort(flat[:, 3], kind="stable")
        self._ink = flat[order]
        self._corners = np.concatenate([c.reshape(-1, 4) for c in corners])[order]
        near = np.zeros(len(table.rows), bool)
        places = table.at_vertices @ rest
        for strip in range(len(STRIPS)):
            part = rest[strips.grid(strip)]
            low, high = part.min((0, 1)) - REACH_M, part.max((0, 1)) + REACH_M
            near |= ((places > low) & (places < high)).all(1)
        self.rows = np.flatnonzero(near)
        """(m,) rows of the table that can be hidden."""

    def past(
        self, found: Unwrapped, camera: Camera, world_from_head: Rigid, vertices: Float32
    ) -> Unwrapped:
        """The texels of a picture as they would look without lashes, the face being at `vertices`
        (T, 3)."""
        over = self._over(found.places[self.rows], camera, world_from_head, vertices)
        share = np.minimum(over[:, 3:], MOST)
        ink = over[:, :3] * (share / np.maximum(over[:, 3:], 1e-6))
        colours = found.colours.copy()
        bare = (colours[self.rows] - ink) / (1.0 - share)
        colours[self.rows] = np.clip(np.rint(bare), 0, 255)
        return replace(found, colours=colours)

    def _over(
        self, places: Float32, camera: Camera, world_from_head: Rigid, vertices: Float32
    ) -> Float32:
        """(m, 4) colour times opacity, and opacity, of the lashes at `places` (m, 2) pixels."""
        corners = vertices[self._corners].reshape(-1, 3)
        pixels = pixels_of(camera, world_from_head, corners).reshape(*self._corners.shape, 2)
        size = np.array(camera.size)
        low = np.clip(np.floor(pixels.reshape(-1, 2).min(0)) - MARGIN, 0, size).astype(int)
        high = np.clip(np.ceil(pixels.reshape(-1, 2).max(0)) + MARGIN, 0, size).astype(int)
        out = np.zeros((len(places), 4), np.float32)
        width, height = high - low
        if width < 2 or height < 2:
            return out
        fine = np.zeros((int(height) * FINER, int(width) * FINER, 4), np.float32)
        pieces = np.rint(((pixels - low + 0.5) * FINER - 0.5) * 16).astype(np.int32)
        for corner, ink in zip(pieces, self._ink, strict=True):
            cv2.fillConvexPoly(fine, corner, ink.tolist(), cv2.LINE_8, 4)
        over = cv2.resize(fine, (int(width), int(height)), interpolation=cv2.INTER_AREA)
        x, y = (np.ascontiguousarray(v)[None] for v in (places - low).astype(np.float32).T)
        found = cv2.remap(over, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return np.asarray(found, np.float32)[0]
