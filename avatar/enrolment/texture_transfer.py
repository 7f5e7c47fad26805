"""The texture of a scan on the head that was fitted to it, in the layout of a personal avatar."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from avatar.enrolment.surface_fit import nearest_on_mesh
from avatar.head_mesh import ATLAS, HeadMesh
from avatar.personal_atlas import FACE_PARTS, STATIC_PARTS, personal_uv
from avatar.picture_encoder import template_faces
from avatar.unwrapping import TexelTable

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

FROM_SCAN = ("head", "neck")
"""Regions that a scan shows; eyes, mouth and clothes keep the template's own colours."""
REACH_M = 0.006
"""Skin further from the scan takes the colour of the nearest skin that is not."""


@dataclass(frozen=True, slots=True, eq=False)
class TexturedScan:
    """A mesh with one texture coordinate a vertex."""

    vertices: npt.NDArray[np.floating]
    """(V, 3) metres, in the frame of the head that was fitted to it."""
    faces: npt.NDArray[np.int32]
    """(F, 3)."""
    uv: Float32
    """(V, 2), (0, 0) = the texture's top-left."""
    texture: UInt8
    """(H, W, 3) sRGB; black = unknown."""


def transferred_texture(head: HeadMesh, rest: Float32, scan: TexturedScan) -> UInt8:
    """(ATLAS, ATLAS, 3) sRGB for the template's vertices at `rest` (T, 3) metres."""
    regions = head.regions[: head.template_size]
    uv = personal_uv(head)
    table = TexelTable.of(template_faces(head), uv, regions, ATLAS, FACE_PARTS + STATIC_PARTS)
    colours = _sampled(head.albedo, table.at_vertices @ head.uv[: head.template_size])
    skin = np.flatnonzero(np.isin(table.regions, FROM_SCAN))
    places = (table.at_vertices @ rest)[skin]
    near, triangle, share = nearest_on_mesh(scan.vertices, scan.faces, places)
    at = np.einsum("kc,kcd->kd", share, scan.uv[scan.faces[triangle]])
    own = _sampled(scan.texture, at.astype(np.float32))
    known = (np.linalg.norm(near - places, axis=1) < REACH_M) & own.any(1)
    colours[skin[known]] = own[known]
    if known.any():
        rows, columns = _nearest_of(table, skin[known])
        unknown = skin[~known]
        place = table.rows[unknown], table.columns[unknown]
        picture = np.asarray(table.picture(colours), np.uint8)
        colours[unknown] = picture[rows[place], columns[place]]
    # Texels beyond the charts take their neighbours' colours, so that filtering finds no seam.
    rows, columns = _nearest_of(table, np.arange(len(table.rows)))
    return np.asarray(table.picture(colours), np.uint8)[rows, columns]


def _nearest_of(table: TexelTable, some: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """(2, ATLAS, ATLAS) row and column of the nearest of some of the table's texels."""
    empty = np.ones((table.size, table.size), bool)
    empty[table.rows[some], table.columns[some]] = False
    return np.asarray(distance_transform_edt(empty, return_distances=False, return_indices=True))


def _sampled(texture: UInt8, uv: Float32) -> UInt8:
    """(n, 2) -> (n, 3), bilinear."""
    height, width = texture.shape[:2]
    places = np.ascontiguousarray(uv * (width, height) - 0.5, np.float32)
    out = np.empty((len(uv), 3), np.uint8)
    for start in range(0, len(uv), 30000):  # cv2.remap takes 32767 in a row
        x, y = (places[start : start + 30000, k].reshape(1, -1).copy() for k in (0, 1))
        found = cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        out[start : start + 30000] = found[0]
    return out
