"""The head template as one real person."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from avatar.head_mesh import HeadMesh
from avatar.head_placement import GLASSES
from avatar.landmark_map import LandmarkMap
from avatar.lash_strips import STRIPS
from avatar.personal_atlas import LEFT_OUT, personal_uv
from avatar.personal_model import PersonalModel
from avatar.spectacles import Spectacles, spectacle_faces, spectacle_uv
from avatar.unwrapping import TexelTable
from streams.topology import PARTS

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]
Float = npt.NDArray[np.floating]

BEYOND_HAIRLINE_M = 0.022
"""Metres, on the template: hair is what lies so far from every landmark of the face ..."""
ABOVE_EARS_M, BEHIND_EARS_M = 0.035, -0.118
"""... and above y or behind z of its head frame, where there are no ears."""
LEAST_TRUST = 0.01
HAIRLINE_M, ABOVE_M = (0.012, 0.030), (0.008, 0.030)
BEHIND_M, NAPE_M = (0.100, 0.120), (-0.075, -0.045)
"""The same with soft edges, for texels: distances from the landmarks, y, -z, and y at the nape."""


def personal_head(template: HeadMesh, model: PersonalModel) -> HeadMesh:
    """With the person's texture, and materials that only say how opaque a texel is.

    Raises ValueError when the model is of another template.
    """
    if len(model.rest) != template.template_size:
        raise ValueError(
            f"personal_head: expected {template.template_size} vertices, got {len(model.rest)}"
        )
    surface = np.zeros((*model.opacity.shape, 4), np.uint8)
    surface[..., 0], surface[..., 1], surface[..., 2] = 255, 255, 128
    surface[..., 3] = model.opacity
    head = template_as(template, model.rest, model.eyes, model.neck_pivot, model.has_lashes)
    if model.glasses is not None:
        head = _with_glasses(head, model.glasses)
    return replace(head, eye_radius=float(model.eye_radius[0]), albedo=model.mean, surface=surface)


def template_as(
    template: HeadMesh, rest: Float32, eyes: Float32, neck_pivot: Float32, lashes: bool = False
) -> HeadMesh:
    """The template with a person's vertices (T, 3), eye centres (2, 3) and pivot (3,), in the
    personal layout of the texture, without hair cards (they are in the texture) and, unless they
    are wanted, without `lashes`."""
    left_out = [region for region in LEFT_OUT if not (lashes and region in STRIPS)]
    count = template.template_size
    faces = template.faces[(template.faces < count).all(1)]
    return replace(
        template,
        name="personal",
        vertices=rest,
        faces=faces[~np.isin(template.regions[faces[:, 0]], left_out)],
        uv=personal_uv(template),
        parts=_parts(template),
        regions=template.regions[:count],
        weld=template.weld[:count],
        neck=template.neck[:count],
        eyes=eyes,
        neck_pivot=neck_pivot,
        hair_normals=np.zeros((0, 3), np.float32),
    )


def _with_glasses(head: HeadMesh, glasses: Spectacles) -> HeadMesh:
    """The same with glasses after the template's vertices, as an avatar that ships has its hair."""
    vertices, start, points = glasses.vertices(), len(head.vertices), int(head.weld.max()) + 1
    count = len(vertices)
    ahead = np.tile(np.array([[0.0, 0.0, 1.0]], np.float32), (count, 1))
    return replace(
        head,
        vertices=np.concatenate([head.vertices, vertices]),
        faces=np.concatenate([head.faces, spectacle_faces() + np.int32(start)]),
        uv=np.concatenate([head.uv, spectacle_uv()]),
        parts=np.concatenate([head.parts, np.full(count, PARTS.index("glasses"), np.uint8)]),
        regions=np.concatenate([head.regions, np.full(count, GLASSES)]),
        weld=np.concatenate([head.weld, np.arange(points, points + count, dtype=np.int32)]),
        neck=np.concatenate([head.neck, np.ones(count, np.float32)]),
        hair_normals=ahead,
    )


def _parts(template: HeadMesh) -> npt.NDArray[np.uint8]:
    """(T,) the template's, with the scalp as hair: its outline is soft."""
    count = template.template_size
    rest, parts = template.vertices[:count], template.parts[:count].copy()
    away = beyond_face(rest, rest)
    beyond = (rest[:, 1] > ABOVE_EARS_M) | (rest[:, 2] < BEHIND_EARS_M)
    hair = (template.regions[:count] == "head") & (away > BEYOND_HAIRLINE_M) & beyond
    parts[hair] = PARTS.index("hair")
    return parts


def hair_share(template: HeadMesh, table: TexelTable) -> Float32:
    """(n,) 0..1: how likely each texel of the template's head is hair."""
    rest = template.vertices[: template.template_size].astype(np.float64)
    place = table.at_vertices @ rest
    away = beyond_face(rest, place)
    behind = smoothstep(-place[:, 2], BEHIND_M) * smoothstep(place[:, 1], NAPE_M)
    share = smoothstep(away, HAIRLINE_M) * np.maximum(smoothstep(place[:, 1], ABOVE_M), behind)
    return np.where(table.regions == "head", share, 0.0).astype(np.float32)


def beyond_face(rest: Float, places: Float) -> Array:
    """(n,) metres from `places` (n, 3) to the nearest landmark on the template's `rest` (T, 3)."""
    marks = LandmarkMap.open()
    # A landmark that is found anywhere but at its place says nothing of where the face ends.
    trusted = marks.points(rest)[marks.trust > LEAST_TRUST]
    return np.asarray(KDTree(trusted).query(places)[0])


def smoothstep(x: Float, between: tuple[float, float]) -> Array:
    """0 below the one, 1 above the other, without a corner."""
    t = np.clip((x - between[0]) / (between[1] - between[0]), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)
