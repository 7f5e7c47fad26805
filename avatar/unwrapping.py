"""From a picture to the texture that a mesh wears in it, and how well each texel is seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse

from streams.camera import Camera
from streams.face_outlines import INNER_LIPS, LIDS
from streams.projection import project
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

GRAZING, SQUARE_ON = 0.1, 0.45
"""Cosines between normal and view: a texel does not count below the one, fully from the other."""
IN_MOUTH = ("upper-teeth", "lower-teeth", "tongue", "mouth")
"""Regions that are seen between the lips."""
FULLY_SEEN = 1.5
"""Visibility times this, at most 1, is a texel's weight."""
_STRIP = 30000
"""Texels that cv2.remap takes in one row (it is limited to 32767)."""


@dataclass(frozen=True, slots=True, eq=False)
class TexelTable:
    """Every texel of some regions of the atlas: where it is, and on which triangle it lies."""

    size: int
    """Texels on a side of the atlas."""
    rows: npt.NDArray[np.intp]
    """(n,)."""
    columns: npt.NDArray[np.intp]
    """(n,)."""
    regions: npt.NDArray[np.str_]
    """(n,) names of the template's regions."""
    at_vertices: sparse.csr_array
    """(n, V) float32 barycentric weights: `at_vertices @ values` interpolates over the mesh."""

    @staticmethod
    def of(
        faces: npt.NDArray[np.int32],
        uv: Float32,
        regions: npt.NDArray[np.str_],
        size: int,
        wanted: tuple[str, ...],
    ) -> TexelTable:
        """The texels whose centres lie in `faces` (F, 3) of the `wanted` regions. `uv` (V, 2) and
        `regions` (V,) by vertex."""
        owner = np.full((size, size), -1, np.int32)
        for k in np.flatnonzero(np.isin(regions[faces[:, 0]], wanted)):
            corners = np.rint((uv[faces[k]] * size - 0.5) * 256).astype(np.int32)
            cv2.fillConvexPoly(owner, corners, int(k), cv2.LINE_8, 8)
        rows, columns = np.nonzero(owner >= 0)
        triangles = faces[owner[rows, columns]]
        weights = _barycentric(
            uv[triangles].astype(np.float64) * size - 0.5, np.stack([columns, rows], axis=1)
        )
        n = len(rows)
        at = sparse.csr_array(
            (weights.astype(np.float32).ravel(), (np.repeat(np.arange(n), 3), triangles.ravel())),
            (n, len(uv)),
        )
        return TexelTable(size, rows, columns, regions[triangles[:, 0]], at)

    def at(self, rows: npt.NDArray[np.integer]) -> TexelTable:
        """Some of the texels."""
        return TexelTable(
            self.size, self.rows[rows], self.columns[rows], self.regions[rows],
            sparse.csr_array(self.at_vertices[rows]),
        )  # fmt: skip

    def picture(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """(n, ...) values -> (size, size, ...) with zeros elsewhere."""
        out = np.zeros((self.size, self.size, *values.shape[1:]), values.dtype)
        out[self.rows, self.columns] = values
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Unwrapped:
    """The texels of one picture."""

    colours: UInt8
    """(n, 3) uint8 sRGB, in the order of the table."""
    seen: Float32
    """(n,) float32 0..1: 0 where the texel is turned away, hidden or outside the picture. All of
    the mouth's inside counts: a mesh's lips lie a pixel or two beside the real ones, and what it
    shows in that gap is the inside, which has to look like the lips that really are there."""
    disclosed: Float32
    """(n,) float32 0..1: `seen`, but of the mouth's inside only what lies between the tracked lips:
    what of it the picture really says."""
    places: Float32
    """(n, 2) pixels at which the texels lie."""

    def sampled(self, picture: Float32) -> Float32:
        """(n,) of a (height, width) picture, the nearest pixel."""
        height, width = picture.shape
        index = np.clip(np.rint(self.places).astype(np.intp), 0, (width - 1, height - 1))
        return picture[index[:, 1], index[:, 0]]


def unwrap(
    table: TexelTable,
    rgb: UInt8,
    camera: Camera,
    world_from_head: Rigid,
    vertices: Float32,
    normals: Float32,
    landmarks: Float32,
) -> Unwrapped:
    """The texture of a head in a picture.

    `vertices` (V, 3) metres and `normals` (V, 3), head frame; `landmarks` (478, 3) metres, head
    frame: through the rims of lids and lips one sees eye balls and the inside of the mouth.
    """
    pixels = pixels_of(camera, world_from_head, vertices)
    eye = world_from_head.inverse().apply(camera.world_from_camera.xyz)
    towards = (eye - vertices).astype(np.float32)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    facing = (normals * towards).sum(1)
    # Four numbers a vertex in one product: sparse products cost by their rows, not their columns.
    carried = table.at_vertices @ np.concatenate([pixels, facing[:, None]], axis=1)
    places = np.ascontiguousarray(carried[:, :2], np.float32)
    colours = looked_up(rgb, places)
    seen = np.clip((carried[:, 2] - GRAZING) / (SQUARE_ON - GRAZING), 0.0, 1.0).astype(np.float32)
    marks = pixels_of(camera, world_from_head, landmarks)
    in_mouth = np.isin(table.regions, IN_MOUTH)
    openings = (
        (table.regions == "eye-left", LIDS[0]),
        (table.regions == "eye-right", LIDS[1]),
        (in_mouth, INNER_LIPS),
    )
    size = (rgb.shape[1], rgb.shape[0])
    for inside, rim in openings:
        window = _opening(marks[list(rim)], size)
        index = np.clip(np.rint(places[inside]).astype(np.intp), 0, np.array(size) - 1)
        seen[inside] = (carried[inside, 2] > 0.05) * window[index[:, 1], index[:, 0]]
    outside = ((places < -0.5) | (places > np.array(size) - 0.5)).any(1)
    disclosed = np.where(outside, np.float32(0.0), seen)
    seen = np.where(in_mouth, np.float32(1.0), seen)
    seen[outside] = 0.0
    return Unwrapped(colours, seen, disclosed, places)


def looked_up(rgb: UInt8, places: Float32) -> UInt8:
    """(N, 3) of a picture at `places` (N, 2) pixels, between them cubic."""
    colours = np.empty((len(places), 3), np.uint8)
    for start in range(0, len(places), _STRIP):
        strip = places[start : start + _STRIP]
        x, y = (np.ascontiguousarray(strip[:, k]).reshape(1, -1) for k in (0, 1))
        found = cv2.remap(rgb, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        colours[start : start + _STRIP] = found[0]
    return colours


def pixels_of(camera: Camera, world_from_head: Rigid, points: Float32) -> Float32:
    """(N, 3) metres, head frame -> (N, 2); far outside for what lies behind the camera."""
    pixels, _ = project(camera, world_from_head.apply(points.astype(np.float64)))
    return np.clip(np.nan_to_num(pixels, nan=-1e4), -1e4, 1e5).astype(np.float32)


def _opening(rim: Float32, size: tuple[int, int]) -> Float32:
    """(height, width) float32 0..1: inside a polygon of pixels, with a soft rim a little wider."""
    mask = np.zeros((size[1], size[0]), np.uint8)
    corners = np.rint(rim * 16).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, 4)
    wide = cv2.dilate(mask, np.ones((3, 3), np.uint8))
    soft = cv2.GaussianBlur(wide, (0, 0), 0.7)
    return cast("Float32", soft.astype(np.float32) / np.float32(255.0))


def _barycentric(
    corners: npt.NDArray[np.float64], points: npt.NDArray[np.intp]
) -> npt.NDArray[np.float64]:
    """Triangles (n, 3, 2) and a point of each (n, 2) -> (n, 3), clipped to the triangle."""
    one, two, to = (
        corners[:, 1] - corners[:, 0],
        corners[:, 2] - corners[:, 0],
        points - corners[:, 0],
    )
    area = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
    area = np.where(np.abs(area) < 1e-12, 1e-12, area)
    b1 = (to[:, 0] * two[:, 1] - to[:, 1] * two[:, 0]) / area
    b2 = (one[:, 0] * to[:, 1] - one[:, 1] * to[:, 0]) / area
    weights = np.clip(np.stack([1 - b1 - b2, b1, b2], axis=1), 0.0, 1.0)
    return weights / weights.sum(1, keepdims=True)


def texel_weight(seen: UInt8) -> Float32:
    """Visibility 0..255 -> weight 0..1."""
    return np.minimum(seen.astype(np.float32) * np.float32(FULLY_SEEN / 255.0), 1.0)
