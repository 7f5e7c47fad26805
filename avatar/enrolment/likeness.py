"""A person's resting head: the template bent to the person's average landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from avatar.enrolment.face_deformation import FaceDeformation
from avatar.enrolment.neck_seam import NeckSeam, clothed
from avatar.head_mesh import HeadMesh
from avatar.landmark_map import LandmarkMap
from avatar.lash_strips import LashStrips
from avatar.similarity import similarity
from streams.face_outlines import LIDS

Array = npt.NDArray[np.float64]

NEIGHBOURS = 24
BEHIND_LIPS, BEHIND_M = ("upper-teeth", "lower-teeth", "tongue"), 0.004
"""Landmarks lie on the lips' surface and say nothing of their thickness: teeth stand further in."""
LID_REACH_M, LID_CLEARANCE_M = 0.011, 0.001
"""How far from an eye's axis the lids are looked at, and how far behind them the ball ends."""


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """One person at rest, head frame."""

    vertices: Array
    """(T, 3) float64 metres."""
    eyes: Array
    """(2, 3) float64 metres: centres of the eye balls, left first."""
    eye_radius: float
    scale: float
    """Size against the template."""
    neck_pivot: Array
    """(3,) float64 metres."""

    @staticmethod
    def fit(head: HeadMesh, landmarks: LandmarkMap, average: Array) -> Likeness:
        """`average` (468, 3) metres, head frame: the person's landmarks with a calm face."""
        rest = head.vertices[: head.template_size].astype(np.float64)
        scale, turn, offset = similarity(landmarks.points(rest), average, landmarks.trust)
        moved = scale * rest @ turn.T + offset
        at = landmarks.points(moved)
        deformation = FaceDeformation(head, landmarks, moved, held=False)
        shift = deformation.smooth(average - at)
        rims = np.array(LIDS)
        return Likeness.carried(
            head, deformation.on_surface, Placement(scale, turn, offset), moved + shift,
            _trusted_mean((average - at)[rims], landmarks.trust[rims]),
        )  # fmt: skip

    @staticmethod
    def carried(
        head: HeadMesh,
        on_skin: npt.NDArray[np.bool_],
        placement: Placement,
        skin: Array,
        lids_moved: Array,
    ) -> Likeness:
        """Everything that hangs on the skin, carried with it. `skin` (T, 3) metres, of which only
        the rows `on_skin` (T,) count; `lids_moved` (2, 3) metres: how far the rims of the lids went
        beyond the `placement` of the template, left first."""
        rest = head.vertices[: head.template_size].astype(np.float64)
        scale, turn, offset = placement.scale, placement.turn, placement.offset
        moved = scale * rest @ turn.T + offset
        vertices = np.where(on_skin[:, None], skin, moved)
        shift = (skin - moved)[on_skin]
        # Teeth, tongue, neck and torso hang together with the skin only in space.
        away, near = KDTree(moved[on_skin]).query(moved[~on_skin], k=NEIGHBOURS)
        weight = 1.0 / (away + 0.01) ** 2
        weight /= weight.sum(1, keepdims=True)
        vertices[~on_skin] += (shift[near] * weight[:, :, None]).sum(1)
        lashes = LashStrips.of(head)
        vertices[lashes.vertices] = moved[lashes.vertices] + (skin - moved)[lashes.roots(head)]
        vertices = clothed(head, NeckSeam.of(head).closed(vertices))
        regions = head.regions[: head.template_size]
        vertices[np.isin(regions, BEHIND_LIPS), 2] -= scale * BEHIND_M
        radius, eyes = scale * head.eye_radius, np.zeros((2, 3))
        for eye, name in enumerate(("eye-left", "eye-right")):
            ball = regions == name
            centre = scale * turn @ head.eyes[eye] + offset + lids_moved[eye]
            centre[2] = _behind_lids(vertices[regions == "head"], centre, radius)
            vertices[ball] = centre + scale * (rest[ball] - head.eyes[eye])
            eyes[eye] = centre
        pivot = scale * turn @ head.neck_pivot.astype(np.float64) + offset
        return Likeness(vertices, eyes, radius, scale, pivot)


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """A similarity: scale * turn @ p + offset."""

    scale: float
    turn: Array
    """(3, 3) rotation."""
    offset: Array
    """(3,) metres."""


def _trusted_mean(moved: Array, trust: Array) -> Array:
    """(2, k, 3) and (2, k) -> (2, 3)."""
    return (moved * trust[:, :, None]).sum(1) / trust.sum(1, keepdims=True)


def _behind_lids(skin: Array, centre: Array, radius: float) -> float:
    """The depth at which a ball about `centre` just lies behind the skin before it."""
    near = skin[np.linalg.norm(skin - centre - (0.0, 0.0, radius), axis=1) < 1.4 * radius]
    aside = ((near[:, :2] - centre[:2]) ** 2).sum(1)
    near, aside = near[aside < LID_REACH_M**2], aside[aside < LID_REACH_M**2]
    if not len(near):
        return float(centre[2])
    depth = near[:, 2] - np.sqrt(np.maximum(radius**2 - aside, 0.0))
    return float(np.percentile(depth, 15) - LID_CLEARANCE_M)
