"""What is drawn on skin: wrinkles, brows, a shaved beard, the hairline, the lids' margins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from assets.baking import atlas, painting
from assets.baking.complexion import Complexion
from assets.baking.hair import Groom, scalp_height
from assets.baking.skin import (
    WRINKLE_WIDTH_MM,
    WRINKLES,
    FaceCanvas,
    blob_sum,
    curve,
    mirrored,
)
from assets.baking.template import SIZE

Float = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """The atlas of one face, ready to be drawn on; every layer is (SIZE, SIZE)."""

    canonical: Float
    """(SIZE, SIZE, 3) mm: the point of the first identity that each texel shows."""
    covered: npt.NDArray[Any]
    head: npt.NDArray[Any]
    """True on the head's skin."""
    lips: Float
    lids: Float
    ears: Float
    """Masks, 0..1."""
    tone: Complexion


def wrinkle_valleys(sheet: Sheet) -> dict[str, tuple[Float, Float]]:
    """Valley profiles (S, S) per group on the person's left and right."""
    canvas = FaceCanvas.of(sheet.canonical, sheet.covered, sheet.head)
    drawn: dict[str, tuple[Float, Float]] = {}
    rng = np.random.default_rng(5)
    for group, lines in WRINKLES.items():
        sides = []
        for flip in (False, True):
            curves = [curve(line) for line in lines]
            curves = [c + rng.normal(0, 0.35, (1, 2)) for c in curves]
            layer = np.zeros((SIZE, SIZE), np.float32)
            for c in curves:
                c = mirrored(c) if flip else c
                line = canvas.strokes([c], 1.2)
                width = WRINKLE_WIDTH_MM.get(group, 1.6) * 2.2  # texels a mm, about
                core = cv2.GaussianBlur(line, (0, 0), width * 0.38)
                wide = cv2.GaussianBlur(line, (0, 0), width * 1.3)
                layer += core / max(core.max(), 1e-6) - 0.45 * wide / max(wide.max(), 1e-6)
            fade = cv2.GaussianBlur(layer, (0, 0), 1.0)
            sides.append(fade * sheet.head)
        drawn[group] = (sides[0], sides[1])
    return drawn


def brow_hairs(sheet: Sheet) -> Float:
    """(S, S) coverage of brow hairs."""
    tone, rng = sheet.tone, np.random.default_rng(sheet.tone.seed + 1)
    canvas = FaceCanvas.of(sheet.canonical, sheet.covered, sheet.head)
    spine = curve([(11.5, 14.0), (20, 16.5), (33, 18.5), (44, 17.0), (54, 11.0)], 60)
    lines = []
    count = int(330 * tone.brow_density)
    for flip in (False, True):
        for _ in range(count):
            t = rng.beta(1.05, 1.25)
            i = min(int(t * 59), 58)
            tangent = spine[i + 1] - spine[i]
            tangent /= np.linalg.norm(tangent)
            normal = np.array([-tangent[1], tangent[0]])
            thick = (
                tone.brow_thickness_mm
                * (0.55 + 0.75 * np.sin(np.pi * min(t + 0.22, 1.0)) ** 0.7)
                / 2
            )
            across = np.clip(rng.normal(0, 0.45), -1, 1)
            root = spine[i] + normal * thick * across
            lift = np.deg2rad(62 - 78 * t - 22 * across + rng.normal(0, 9))
            along = (
                np.array([[np.cos(lift), -np.sin(lift)], [np.sin(lift), np.cos(lift)]]) @ tangent
            )
            length = rng.uniform(4.5, 8.5) * (0.85 if t > 0.8 else 1.0)
            droop = -normal * length * 0.18 * (1 if across > 0 else 0.4)
            s = np.linspace(0, 1, 6)[:, None]
            line = root + along * length * s + droop * s * s
            lines.append(mirrored(line) if flip else line)
    dense = canvas.strokes(lines, 0.45)
    under = cv2.GaussianBlur(dense, (0, 0), 2.5)
    return np.clip(0.85 * dense + 0.45 * under, 0, 0.92) * sheet.head


def scalp_cover(sheet: Sheet, groom: Groom) -> Float:
    """(S, S) coverage of the scalp by the roots of its hair: soft and noisy at the hairline."""
    rng = np.random.default_rng(groom.seed + 100)
    noise = cv2.GaussianBlur(rng.normal(size=(SIZE, SIZE)).astype(np.float32), (0, 0), 1.0)
    height = scalp_height(sheet.canonical, groom.hairline) + 4.0 * noise / noise.std() * 0.6
    cover = painting.soft_step(-3.0, 9.0, height.astype(np.float32)) * (1 - sheet.ears)
    if groom.thin_top:
        x, y, z = np.moveaxis(sheet.canonical, -1, 0)
        crown = np.exp(-((x / 42) ** 2 + ((z + 62) / 62) ** 2)) * np.clip((y - 60) / 30, 0, 1)
        cover = cover * (1 - groom.thin_top * 1.3 * crown)
    return np.clip(cover, 0, 1) * 0.97 * sheet.head


def stubble(sheet: Sheet) -> Float:
    """(S, S) coverage of a shaved beard."""
    if not sheet.tone.stubble:
        return np.zeros((SIZE, SIZE), np.float32)
    c, rng = sheet.canonical, np.random.default_rng(sheet.tone.seed + 2)
    lip = blob_sum(c, ((8, -55, 30), (20, -58, 24)), 7.5) + 0.8 * blob_sum(c, ((26, -75, 18),), 8.0)
    area = np.clip(
        blob_sum(
            c,
            (
                (0, -105, 8),
                (18, -103, 6),
                (34, -92, -4),
                (46, -78, -18),
                (56, -60, -38),
                (62, -40, -52),
            ),
            13.0,
        )
        + lip,
        0,
        1,
    )
    area *= 1 - sheet.lips
    dots = rng.normal(size=(SIZE, SIZE)).astype(np.float32)
    dots = cv2.GaussianBlur(dots, (0, 0), 0.7)
    dots = painting.soft_step(0.4, 1.8, dots / dots.std())
    return sheet.tone.stubble * area * (0.22 + 0.40 * dots) * sheet.head


def lid_margins(sheet: Sheet) -> Float:
    """(S, S): the wet, darker margin of the lids, next to the opening in the chart."""
    side = round(atlas.HEAD[2] * SIZE)
    hole = (~sheet.covered[:side, :side]).astype(np.uint8)
    near = np.zeros((SIZE, SIZE), np.float32)
    distance = cv2.distanceTransform(1 - hole, cv2.DIST_L2, 5)
    near[:side, :side] = 1.0 - painting.soft_step(1.0, 4.5, distance)
    return near * (sheet.lids > 0.3)
