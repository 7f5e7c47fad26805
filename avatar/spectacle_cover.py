"""Which texels of a face a pair of glasses hides from a camera."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse

from avatar.spectacles import (
    BOTTOM_M,
    COLUMNS,
    HEIGHT,
    REACH_M,
    ROWS,
    STRIP_COLUMN,
    STRIP_ROW,
    TOP_M,
    WIDTH,
    Spectacles,
    texel_of,
)
from avatar.unwrapping import TexelTable
from streams.camera import Camera
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

AROUND_M = 0.03
"""So far from the front's rectangle a texel may lie and still be seen through it."""
STEPS = 3
"""A ray meets the front after so many guesses of its depth: it is nearly flat."""
SPREAD = 5
"""Texels by which the frame is taken to be wider: registration errs, and pixels blur."""


def front_opacity(opacity: UInt8) -> Float32:
    """(HEIGHT, WIDTH) 0..1 of the front in an avatar's opacity (ATLAS, ATLAS)."""
    rows = slice(STRIP_ROW, STRIP_ROW + HEIGHT)
    columns = slice(STRIP_COLUMN, STRIP_COLUMN + WIDTH)
    return opacity[rows, columns].astype(np.float32) / np.float32(255.0)


class SpectacleCover:
    """Of one pair before one person's face."""

    def __init__(
        self, spectacles: Spectacles, opacity: Float32, table: TexelTable, rest: Float32
    ) -> None:
        """`opacity` (HEIGHT, WIDTH) 0..1 of the front; `rest` (T, 3) metres, head frame: the face
        at rest, on whose texels `table` lies."""
        self._spectacles = spectacles
        wide = cv2.dilate(opacity, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (SPREAD, SPREAD)))
        self._opacity = np.minimum(cv2.GaussianBlur(wide, (0, 0), 0.8) * 1.5, 1.0)
        at = table.at_vertices @ rest
        near = np.abs(at[:, 0]) < REACH_M + AROUND_M
        near &= (
            (at[:, 1] > BOTTOM_M - AROUND_M) & (at[:, 1] < TOP_M + AROUND_M) & (at[:, 2] > -0.06)
        )
        self.rows = np.flatnonzero(near)
        """(m,) rows of the table that can be hidden."""
        self._at_vertices = sparse.csr_array(table.at_vertices[self.rows])

    def uncovered(
        self,
        seen: Float32,
        camera: Camera,
        world_from_head: Rigid,
        vertices: Float32,
        moved: Float32,
    ) -> Float32:
        """(n,) how well the texels of the table are `seen` (n,) past the glasses; as `hidden`."""
        eye = world_from_head.inverse().apply(camera.world_from_camera.xyz).astype(np.float32)
        out = seen.copy()
        out[self.rows] *= 1.0 - self.hidden(vertices, moved, eye)
        return out

    def hidden(self, vertices: Float32, moved: Float32, eye: Float32) -> Float32:
        """(m,) 0..1 how much of each texel of `rows` is hidden from `eye` (3,) metres, head frame,
        when the face is at `vertices` (T, 3) and the glasses' numbers (NUMBERS,) are `moved`."""
        # Seen from the glasses, it is face and eye that have moved.
        back = -moved * self._spectacles.unit
        skin = self._at_vertices @ vertices
        skin = skin + self._spectacles.shift(skin, back)
        eye = eye + self._spectacles.shift(eye, back)
        ray = skin - eye
        depth = np.full(len(skin), self._spectacles.depth[ROWS // 2, COLUMNS // 2], np.float32)
        along = np.where(np.abs(ray[:, 2]) > 1e-6, ray[:, 2], np.float32(-1e-6))
        column = row = np.zeros_like(depth)
        for _ in range(STEPS):
            met = eye + ray * ((depth - eye[2]) / along)[:, None]
            column, row = texel_of(met[:, 0], met[:, 1])
            depth = _looked_up(
                self._spectacles.depth,
                column * np.float32((COLUMNS - 1) / (WIDTH - 1)),
                row * np.float32((ROWS - 1) / (HEIGHT - 1)),
                cv2.BORDER_REPLICATE,
            )
        found = _looked_up(self._opacity, column, row, cv2.BORDER_CONSTANT)
        # Skin in front of the front, and a front behind the eye, are not hidden.
        between = (along < 0.0) & (depth > skin[:, 2]) & (depth < eye[2])
        return np.where(between, found, np.float32(0.0))


_STRIP = 30000
"""cv2.remap takes at most 32767 places in a row."""


def _looked_up(picture: Float32, column: Float32, row: Float32, border: int) -> Float32:
    out = np.empty(len(column), np.float32)
    for start in range(0, len(column), _STRIP):
        part = slice(start, start + _STRIP)
        x, y = (np.ascontiguousarray(v[part], np.float32)[None] for v in (column, row))
        found = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=border)
        out[part] = found[0]
    return out
