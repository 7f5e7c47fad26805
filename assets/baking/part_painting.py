"""Paint the parts that are not skin into their rectangles of the atlas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from assets.baking import atlas, painting
from assets.baking.complexion import Complexion
from assets.baking.template import SIZE, atlas_texels, open_template

Float = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """What is painted, over the whole atlas."""

    albedo: Float
    """(SIZE, SIZE, 3) linear."""
    surface: Float
    """(SIZE, SIZE, 4) 0..1: see streams.topology.Topology.surface."""
    occlusion: Float
    """(SIZE, SIZE) 0..1, read only."""


def paint_parts(layers: Layers, rest: Float, tone: Complexion, rng: np.random.Generator) -> None:
    """Paint the rectangles of all parts but skin, in place. `rest` (V, 3) metres."""
    albedo, surface, occlusion = layers.albedo, layers.surface, layers.occlusion

    def window(rectangle: atlas.Rectangle) -> tuple[slice, slice]:
        x0, y0, x1, y1 = (round(v * SIZE) for v in rectangle)
        return slice(y0, y1), slice(x0, x1)

    for rectangle in atlas.EYES:
        at = window(rectangle)
        size = at[0].stop - at[0].start
        albedo[at] = painting.eye_disc(size, tone.iris, rng)
        surface[at] = (0.06, 1.0, 0.5, 1.0)
    at = window(atlas.TEETH)
    enamel = np.array([0.80, 0.71, 0.57], np.float32)
    albedo[at] = enamel * np.clip(occlusion[at][..., None], 0.55, 1.0) ** 0.7
    surface[at] = (0.22, 1.0, 0.5, 1.0)
    for rectangle, colour, rough in (
        (atlas.TONGUE, (0.42, 0.13, 0.12), 0.34), (atlas.MOUTH, (0.30, 0.075, 0.07), 0.35),
    ):  # fmt: skip
        at = window(rectangle)
        grain = cv2.GaussianBlur(rng.normal(size=(64, 64)).astype(np.float32), (0, 0), 1.0)
        wet = np.array(colour, np.float32) * (1 + 0.12 * grain[..., None])
        albedo[at] = wet * np.clip(occlusion[at][..., None], 0.2, 1.0)
        surface[at] = (rough, 0.6, 0.5, 1.0)
    for rectangle in atlas.SOCKETS:
        at = window(rectangle)
        pink = np.array([0.42, 0.20, 0.17], np.float32) * np.exp(-0.5 * tone.melanin)
        albedo[at] = pink * occlusion[at][..., None]
        surface[at] = (0.25, 0.7, 0.5, 1.0)
    _paint_lashes(layers, rest, window(atlas.LASHES))
    at = window(atlas.HAIR)
    shade, opacity = painting.strands(at[0].stop - at[0].start, rng)
    albedo[at] = painting.linear(tone.hair) * shade[..., None]
    surface[at] = np.stack(
        [np.full_like(shade, 0.35), np.ones_like(shade), 0.5 * np.ones_like(shade), opacity], -1
    )
    at = window(atlas.CLOTH)
    cloth, height = painting.knit(
        at[0].stop - at[0].start, at[1].stop - at[1].start, tone.cloth, rng
    )
    albedo[at] = cloth * np.maximum(occlusion[at], 0.25)[..., None]
    surface[at] = np.stack(
        [np.full_like(height, 0.85), occlusion[at], height, np.ones_like(height)], -1
    )


def _paint_lashes(layers: Layers, rest: Float, at: tuple[slice, slice]) -> None:
    """Hairs along the strips; a strip's root is its edge next to the skin."""
    template, texels = open_template(), atlas_texels()
    skin = rest[template.region("head")]
    near = KDTree(skin).query(rest)[0].astype(np.float32)
    along = np.zeros(len(rest), np.float32)
    out = np.zeros(len(rest), np.float32)
    counts = {"1": (46, 0.75), "2": (70, 1.0)}
    opacity = np.zeros((SIZE, SIZE), np.float32)
    for name in template.regions:
        if "eyelashes" not in name:
            continue
        mine = template.region(name)
        x = np.abs(rest[mine, 0])
        along[mine] = (x - x.min()) / max(float(np.ptp(x)), 1e-6)
        d = near[mine]
        out[mine] = np.clip(
            (d - np.quantile(d, 0.25)) / max(float(d.max() - np.quantile(d, 0.25)), 1e-6), 0, 1
        )
        strip = np.isin(np.arange(len(rest)), np.flatnonzero(mine))
        where = texels.image(strip.astype(np.float32)) > 0.5
        count, reach = counts[name[-1]]
        hair = painting.lash_opacity(texels.image(along), texels.image(out), 0.25, count, reach)
        opacity[where] = hair[where]
    layers.albedo[at] = np.array([0.012, 0.009, 0.008], np.float32)
    layers.surface[at] = np.stack(
        [
            np.full_like(opacity[at], 0.4),
            np.ones_like(opacity[at]),
            0.5 * np.ones_like(opacity[at]),
            opacity[at],
        ],
        -1,
    )
