"""The texels of the planes that lie on the front of a pair of glasses: what of it a code changes.

A frame's brightness changes as the head turns and glints wander over it. So the front has planes of
its own wherever it is not air, after those of the face. A picture shows there frame and skin mixed;
by how much the mixture is off its average the frame's own colour is taken to be off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse

from avatar.head_mesh import ATLAS
from avatar.head_placement import GLASSES
from avatar.node_grid import node_count
from avatar.personal_model import CHART
from avatar.spectacles import HEIGHT, STRIP_COLUMN, STRIP_ROW, WIDTH, Spectacles, front_points
from avatar.unwrapping import (
    GRAZING,
    SQUARE_ON,
    TexelTable,
    Unwrapped,
    looked_up,
    pixels_of,
)
from streams.camera import Camera
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

STEP = ATLAS // CHART
"""Texels of the front's picture in one of the planes, both ways."""
LEAST_OPAQUE = 0.1
"""Opacity below which a texel is air."""


@dataclass(frozen=True, slots=True, eq=False)
class FrontTexels:
    """m texels of one front."""

    spectacles: Spectacles
    rows: npt.NDArray[np.intp]
    """(m,) of the planes."""
    columns: npt.NDArray[np.intp]
    """(m,)."""
    points: Float32
    """(m, STEP * STEP, 3) metres, head frame: the texels of the front's picture in each."""
    average: Float32
    """(m, 3) code values: what is seen there on average."""

    @staticmethod
    def of(spectacles: Spectacles, opacity: Float32) -> FrontTexels:
        """`opacity` (HEIGHT, WIDTH) 0..1 of the front."""
        rows, columns = np.nonzero(_blocks(opacity).max(2) > LEAST_OPAQUE)
        return FrontTexels(
            spectacles,
            rows + STRIP_ROW // STEP,
            columns + STRIP_COLUMN // STEP,
            _blocks(front_points(spectacles.depth))[rows, columns],
            _blocks(spectacles.average.astype(np.float32)).mean(2)[rows, columns],
        )

    def at(self, some: npt.NDArray[np.integer]) -> FrontTexels:
        """Some of the texels."""
        return FrontTexels(
            self.spectacles, self.rows[some], self.columns[some], self.points[some],
            self.average[some],
        )  # fmt: skip

    def after(self, face: TexelTable) -> TexelTable:
        """The table of the `face`, then these, which hang on none of its vertices."""
        count = len(self.rows)
        none = sparse.csr_array((count, node_count(face.at_vertices)), dtype=np.float32)
        return TexelTable(
            face.size,
            np.concatenate([face.rows, self.rows]),
            np.concatenate([face.columns, self.columns]),
            np.concatenate([face.regions, np.full(count, GLASSES)]),
            sparse.csr_array(sparse.vstack([face.at_vertices, none], format="csr")),
        )

    def seen_in(
        self, rgb: UInt8, camera: Camera, world_from_head: Rigid, moved: Float32, face: Unwrapped
    ) -> Unwrapped:
        """What a picture shows of the texels of `after`: the `face`, whose last m rows are not
        known yet, and these, when the glasses' numbers (NUMBERS,) are `moved`."""
        count = len(self.rows)
        if not count:
            return face
        points = self.points + self.spectacles.shift(self.points, moved * self.spectacles.unit)
        pixels = pixels_of(camera, world_from_head, points.reshape(-1, 3))
        shown = looked_up(rgb, pixels).astype(np.float32).reshape(count, -1, 3).mean(1)
        places = pixels.reshape(count, -1, 2).mean(1)
        inside = ((places >= -0.5) & (places <= np.array(rgb.shape[1::-1]) - 0.5)).all(1)
        # The front faces ahead.
        eye = world_from_head.inverse().apply(camera.world_from_camera.xyz)
        towards = eye - points.mean(1)
        facing = towards[:, 2] / np.linalg.norm(towards, axis=1)
        seen = np.clip((facing - GRAZING) / (SQUARE_ON - GRAZING), 0.0, 1.0) * inside
        colours, every = face.colours.copy(), face.seen.copy()
        disclosed, at = face.disclosed.copy(), face.places.copy()
        colours[-count:] = np.rint(shown)
        every[-count:] = disclosed[-count:] = seen
        at[-count:] = places
        return replace(face, colours=colours, seen=every, disclosed=disclosed, places=at)

    def kept(self, planes: npt.NDArray[np.int8]) -> npt.NDArray[np.bool_]:
        """(S, S) of `planes` (K, S, S, 3): these texels and those next to them, which filtering
        mixes with them."""
        mask = np.zeros(planes.shape[1:3], np.uint8)
        mask[self.rows, self.columns] = 1
        return np.asarray(cv2.dilate(mask, np.ones((3, 3), np.uint8))) > 0


def _blocks(picture: Float32) -> Float32:
    """(HEIGHT, WIDTH, ...) -> (HEIGHT / STEP, WIDTH / STEP, STEP * STEP, ...)."""
    rest = picture.shape[2:]
    parts = picture.reshape(HEIGHT // STEP, STEP, WIDTH // STEP, STEP, *rest)
    return np.moveaxis(parts, 2, 1).reshape(HEIGHT // STEP, WIDTH // STEP, STEP * STEP, *rest)
