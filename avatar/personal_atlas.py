"""The texture layout of a personal avatar: the template's, with more room for what is looked at.

Mouth, eyes and nose get about twice the texels that the template gives them, and with them more
nodes of the coefficient grid. Teeth, tongue and the inside of the mouth move to where the template
keeps its hair, which a personal avatar has in the picture of its scalp, and lashes below the jaw.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from avatar.head_mesh import HeadMesh
from avatar.head_placement import GLASSES
from avatar.landmark_map import COUNT, LandmarkMap
from avatar.lash_strips import STRIPS, LashStrips
from avatar.unwrapping import IN_MOUTH, TexelTable
from streams.face_outlines import OUTER_LIPS

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

FACE_PARTS = (
    "head", "eye-left", "eye-right", "upper-teeth", "lower-teeth", "tongue", "mouth",
)  # fmt: skip
"""Regions whose texture the code changes."""
STATIC_PARTS = ("neck", "collar", "cloth")
"""Regions whose texture is one picture."""
LEFT_OUT = (*STRIPS, "hair", "collar")
"""Regions that a personal avatar does not draw: its own hair and collar are in its texture, and so
are its lashes, unless it has a picture of them."""

_CENTRE = np.array([384.0, 450.0]) / 1024.0
_REACH, _GROWTH = 0.36, 0.32
_LENSES = (
    ((384.0, 552.0), 0.8, 0.07),  # mouth
    ((302.0, 352.0), 1.1, 0.05),  # eyes
    ((466.0, 352.0), 1.1, 0.05),
    ((384.0, 452.0), 0.5, 0.05),  # tip of the nose
)
"""Centre in texels of 1024, strength, radius. The map stays one to one (a test looks)."""
_MOVES = {
    "upper-teeth": ((0.752, 0.127, 0.121, 0.059), (0.754, 0.256, 0.242, 0.118)),
    "lower-teeth": ((0.752, 0.127, 0.121, 0.059), (0.754, 0.256, 0.242, 0.118)),
    "tongue": ((0.877, 0.127, 0.059, 0.059), (0.754, 0.378, 0.118, 0.118)),
    "mouth": ((0.939, 0.127, 0.059, 0.059), (0.878, 0.378, 0.118, 0.118)),
    # Behind the lids nobody looks, and where it lay are the glasses.
    "socket": ((0.877, 0.189, 0.122, 0.060), (0.100, 0.690, 0.115, 0.056)),
}
"""Region -> x, y, width, height before and after."""


def personal_uv(head: HeadMesh) -> Float32:
    """(T, 2) float32 for the template's vertices (hair left out)."""
    count = head.template_size
    uv = head.uv[:count].astype(np.float64)
    regions = head.regions[:count]
    for name, ((x, y, w, h), (x2, y2, w2, h2)) in _MOVES.items():
        here = regions == name
        uv[here] = (uv[here] - (x, y)) / (w, h) * (w2, h2) + (x2, y2)
    skin = regions == "head"
    grown = _grown(uv[skin])
    shift = np.zeros_like(grown)
    for centre, strength, radius in _LENSES:
        away = grown - _grown(np.array([centre]) / 1024.0)
        shift += strength * away * np.exp(-0.5 * (away**2).sum(1, keepdims=True) / radius**2)
    uv[skin] = grown + shift
    lashes = LashStrips.of(head)
    uv[lashes.vertices] = lashes.uv()
    return uv.astype(np.float32)


OUTLYING = (93, 127, 234)
"""Landmarks of the right outline that the template has over the cut of its atlas, far out."""
FACE_REACH, MOUTH_REACH = 0.012, 0.016
"""How far face and mouth reach beyond their landmarks, as a part of the atlas' side."""


def texel_strides(table: TexelTable, stride: int) -> npt.NDArray[np.intp]:
    """(n,) every how many texels both ways one is looked at: `stride` on the face, half of that in
    and about the mouth and on glasses, which are thin, twice as many elsewhere on the head."""
    mouth = _about(table, OUTER_LIPS, MOUTH_REACH) | np.isin(table.regions, (*IN_MOUTH, GLASSES))
    elsewhere = (table.regions == "head") & ~face_texels(table)
    strides = np.where(elsewhere, 2 * stride, stride)
    return np.where(mouth, max(1, stride // 2), strides).astype(np.intp)


def face_texels(table: TexelTable) -> npt.NDArray[np.bool_]:
    """(n,): skin within the outline of the landmarks or just beyond it."""
    marks = [mark for mark in range(COUNT) if mark not in OUTLYING]
    return _about(table, marks, FACE_REACH) & (table.regions == "head")


def _about(table: TexelTable, marks: Sequence[int], reach: float) -> npt.NDArray[np.bool_]:
    """(n,): within the convex hull of some landmarks, grown by `reach` of the atlas' side."""
    size = table.size
    places = LandmarkMap.open().points(personal_uv(HeadMesh.open("default")).astype(np.float64))
    corners = np.rint(places[list(marks)] * size - 0.5).astype(np.int32)
    mask = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(mask, np.asarray(cv2.convexHull(corners), np.int32), 1)
    wide = 2 * round(reach * size) + 1
    ball = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (wide, wide))
    return (np.asarray(cv2.dilate(mask, ball)) > 0)[table.rows, table.columns]


def _grown(uv: Array) -> Array:
    """The middle of the face larger, the scalp smaller."""
    away = uv - _CENTRE
    inside = np.clip(1.0 - np.linalg.norm(away, axis=1, keepdims=True) / _REACH, 0.0, 1.0)
    return _CENTRE + away * (1.0 + _GROWTH * inside**1.5)
