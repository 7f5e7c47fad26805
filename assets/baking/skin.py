"""Skin colour from two chromophores over the face, and how expression changes it.

Reflectance is R = B * exp(-(m * M + h * H)) per colour channel: melanin m and haemoglobin h are
optical depths, M and H their absorption in linear sRGB's bands (fitted by eye to the range of
published skin-colour atlases; the two-parameter model is Tsumura et al., SIGGRAPH 2003).
All positions are canonical: millimetres in the head frame of the first identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from assets.baking.complexion import Complexion
from streams.face_shapes import SHAPE_INDEX

Float = npt.NDArray[Any]

BASE = np.array([0.93, 0.81, 0.69], np.float32)
MELANIN = np.array([1.10, 1.55, 1.95], np.float32)
HAEMOGLOBIN = np.array([0.26, 1.55, 1.28], np.float32)


def reflectance(melanin: Float, haemoglobin: Float) -> Float:
    """(...,) optical depths -> (..., 3) linear sRGB reflectance."""
    depth = melanin[..., None] * MELANIN + haemoglobin[..., None] * HAEMOGLOBIN
    return BASE * np.exp(-depth)


def blob(points: Float, centre: tuple[float, float, float], radius: float) -> Float:
    """(...,) Gaussian of `radius` mm around a canonical point and its mirror image."""
    mirrored = points * np.array([np.sign(centre[0]) if centre[0] else 1.0, 1, 1], np.float32)
    d2 = ((points - np.array(centre, np.float32)) ** 2).sum(-1)
    if centre[0]:
        mirrored = points * np.array([-1.0, 1.0, 1.0], np.float32)
        d2 = np.minimum(d2, ((mirrored - np.array(centre, np.float32)) ** 2).sum(-1))
    return np.exp(-0.5 * d2 / radius**2).astype(np.float32)


def blob_sum(
    points: Float, centres: tuple[tuple[float, float, float], ...], radius: float
) -> Float:
    """(...,) sum of symmetric Gaussians."""
    return sum((blob(points, c, radius) for c in centres), np.zeros(points.shape[:-1], np.float32))


def cloudy(points: Float, wavelength_mm: float, rng: np.random.Generator) -> Float:
    """(...,) smooth noise, about N(0, 1), continuous in space (random Fourier features)."""
    out = np.zeros(points.shape[:-1], np.float32)
    count = 24
    for _ in range(count):
        k = rng.normal(size=3) * (2 * np.pi / wavelength_mm) / np.sqrt(3.0)
        out += np.sin(points @ k.astype(np.float32) + np.float32(rng.uniform(0, 2 * np.pi)))
    return out * np.float32(np.sqrt(2.0 / count))


@dataclass(frozen=True, slots=True, eq=False)
class FaceCanvas:
    """Draws strokes given in canonical frontal millimetres (x to the person's left, y up)."""

    size: int
    tree: KDTree
    texel_xy: npt.NDArray[np.int64]

    @staticmethod
    def of(canonical: Float, covered: npt.NDArray[Any], region: npt.NDArray[Any]) -> FaceCanvas:
        """`canonical` (S, S, 3) mm; strokes land on texels of `region` that face forward."""
        usable = covered & region & (canonical[..., 2] > -45.0)
        ys, xs = np.nonzero(usable)
        return FaceCanvas(
            canonical.shape[0], KDTree(canonical[usable][:, :2]), np.stack([xs, ys], 1)
        )

    def place(self, points_mm: npt.ArrayLike) -> Float:
        """(N, 2) frontal mm -> (N, 2) texel coordinates (mean of the nearest four texels)."""
        _, nearest = self.tree.query(np.asarray(points_mm, np.float64), k=4)
        return self.texel_xy[nearest].mean(1).astype(np.float32)

    def strokes(
        self, lines_mm: list[npt.NDArray[np.float64]], width: float, scale: int = 3
    ) -> Float:
        """(S, S) 0..1 coverage of polylines, drawn `scale` times larger and averaged down."""
        big = np.zeros((self.size * scale, self.size * scale), np.uint8)
        for line in lines_mm:
            pts = (self.place(line) + 0.5) * scale
            cv2.polylines(
                big, [np.round(pts * 16).astype(np.int32)], False, 255,
                max(1, round(width * scale)), cv2.LINE_AA, 4,
            )  # fmt: skip
        small = cv2.resize(big, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return small.astype(np.float32) / 255.0


def curve(points: list[tuple[float, float]], count: int = 24) -> npt.NDArray[np.float64]:
    """(count, 2) smooth line through a few points (Catmull-Rom by arc parameter)."""
    p = np.array(points, np.float64)
    t = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(p, axis=0), axis=1))])
    from scipy.interpolate import PchipInterpolator

    return PchipInterpolator(t, p)(np.linspace(0, t[-1], count))


def mirrored(line: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The same line on the other side of the face."""
    return line * np.array([-1.0, 1.0])


WRINKLES: dict[str, list[list[tuple[float, float]]]] = {
    "forehead": [
        [(4, 36), (18, 39), (34, 38), (46, 33)], [(3, 45), (20, 48), (38, 46), (50, 40)],
        [(3, 54), (20, 57), (40, 54)], [(5, 63), (18, 65), (34, 63)],
    ],
    "glabella": [[(5, 3), (6.5, 12), (6, 24)], [(9.5, 8), (10.5, 15), (9.5, 22)]],
    "crow": [
        [(50, 3), (56, 6), (63, 11)], [(50.5, -1), (57, -1), (65, 1)],
        [(49, -5), (55, -8), (62, -10)],
    ],
    "under_eye": [
        [(18, -12), (26, -16), (36, -16), (45, -11)], [(17, -15), (26, -21), (37, -21), (47, -15)],
    ],
    "nasolabial": [[(17, -42), (23, -50), (30, -61), (34, -72), (33, -80)]],
    "dimple": [[(35, -62), (38, -70), (37, -78)]],
    "bunny": [[(6, -6), (9, -12), (14, -18)], [(5, -12), (9, -19), (14, -25)]],
    "chin": [[(-12, -93), (-4, -90), (4, -90), (12, -93)]],
    "lip_corner": [[(26, -76), (28, -82), (28, -90)]],
}  # fmt: skip
"""Valleys by group, on the person's left (drawn on both sides), frontal mm."""

WRINKLE_WIDTH_MM: dict[str, float] = {"nasolabial": 3.2, "under_eye": 2.4, "chin": 3.0}
AT_REST: dict[str, float] = {
    "forehead": 0.35, "glabella": 0.3, "crow": 0.35, "under_eye": 0.55, "nasolabial": 0.6,
    "dimple": 0.0, "bunny": 0.0, "chin": 0.25, "lip_corner": 0.35,
}  # fmt: skip
"""Depth at rest of a face of age 1, as a share of the fully expressed wrinkle."""


def wrinkle_drive(weights: npt.NDArray[Any]) -> dict[str, tuple[float, float]]:
    """Expression (52,) -> depth 0..1 of each group on the person's (left, right) side."""

    def pair(*terms: tuple[str, float]) -> tuple[float, float]:
        total = [0.0, 0.0]
        for name, gain in terms:
            for side, suffix in enumerate(("Left", "Right")):
                key = name if name in SHAPE_INDEX else name + suffix
                total[side] += gain * float(weights[SHAPE_INDEX[key]])
        return min(total[0], 1.3), min(total[1], 1.3)

    return {
        "forehead": pair(("browInnerUp", 0.75), ("browOuterUp", 0.55)),
        "glabella": pair(("browDown", 1.0), ("noseSneer", 0.2)),
        "crow": pair(
            ("mouthSmile", 0.45), ("eyeSquint", 0.5), ("cheekSquint", 0.5), ("eyeBlink", 0.1),
        ),
        "under_eye": pair(("eyeSquint", 0.6), ("cheekSquint", 0.45), ("mouthSmile", 0.3)),
        "nasolabial": pair(
            ("mouthSmile", 0.75), ("cheekSquint", 0.3), ("noseSneer", 0.5), ("mouthUpperUp", 0.35),
            ("mouthStretch", 0.3), ("mouthDimple", 0.3),
        ),
        "dimple": pair(("mouthSmile", 0.5), ("mouthDimple", 0.7)),
        "bunny": pair(("noseSneer", 1.0), ("cheekSquint", 0.2)),
        "chin": pair(("mouthShrugLower", 1.0), ("mouthPress", 0.3)),
        "lip_corner": pair(("mouthFrown", 0.9), ("mouthStretch", 0.4), ("jawOpen", 0.1)),
    }  # fmt: skip


def blood_flow(canonical: Float, lips: Float, weights: npt.NDArray[Any]) -> Float:
    """(...,) change of haemoglobin with expression: cheeks flush in a smile, pressed skin pales.

    The signs follow Jimenez et al. 2010 ("A practical appearance model for dynamic facial
    color"); the sizes were chosen by eye.
    """

    def w(name: str) -> float:
        return float(weights[SHAPE_INDEX[name]])

    smile = 0.5 * (w("mouthSmileLeft") + w("mouthSmileRight"))
    brows = w("browInnerUp") + 0.5 * (w("browOuterUpLeft") + w("browOuterUpRight"))
    frown = 0.5 * (w("browDownLeft") + w("browDownRight"))
    press = 0.5 * (w("mouthPressLeft") + w("mouthPressRight")) + 0.5 * w("mouthRollLower")
    pucker = w("mouthPucker") + w("mouthFunnel")
    change = 0.10 * smile * blob(canonical, (44.0, -36.0, 10.0), 18.0)
    change -= 0.05 * smile * blob(canonical, (20.0, -60.0, 22.0), 10.0)
    change -= 0.05 * brows * blob(canonical, (0.0, 50.0, 22.0), 28.0)
    change += 0.06 * frown * blob(canonical, (0.0, 14.0, 26.0), 14.0)
    change += 0.05 * w("cheekPuff") * blob(canonical, (45.0, -55.0, 5.0), 20.0)
    change += lips * (0.10 * pucker - 0.22 * press - 0.08 * w("jawOpen") - 0.08 * smile)
    return change.astype(np.float32)


def chromophores(
    canonical: Float, lips: Float, tone: Complexion, rng: np.random.Generator
) -> tuple[Float, Float]:
    """(...,) melanin and haemoglobin of a face at rest."""
    c = canonical
    h = np.full(c.shape[:-1], tone.haemoglobin, np.float32)
    red = 0.5 + 0.5 * np.exp(-1.2 * tone.melanin)  # blood shows less under melanin
    for centre, radius, amount in (
        ((42.0, -38.0, 10.0), 20.0, 0.11), ((0.0, -44.0, 42.0), 12.0, 0.13),
        ((14.0, -47.0, 28.0), 7.0, 0.10), ((76.0, -20.0, -75.0), 24.0, 0.13),
        ((34.0, 3.0, 16.0), 13.0, 0.07), ((30.0, -17.0, 14.0), 10.0, 0.07),
        ((0.0, -105.0, 14.0), 16.0, 0.06), ((0.0, 50.0, 20.0), 28.0, -0.03),
    ):  # fmt: skip
        h += red * amount * blob(c, centre, radius)
    h *= 1.0 + 0.10 * cloudy(c, 26.0, rng) + 0.07 * cloudy(c, 8.0, rng)
    m = np.full(c.shape[:-1], tone.melanin, np.float32)
    m *= 1.0 + 0.05 * cloudy(c, 50.0, rng) + 0.04 * cloudy(c, 14.0, rng)
    m += (0.05 + 0.08 * tone.melanin) * blob(c, (32.0, -15.0, 14.0), 10.0)  # under the eyes
    m += (0.04 + 0.06 * tone.melanin) * blob(c, (33.0, 6.0, 14.0), 11.0)
    m += 0.05 * tone.melanin * blob(c, (0.0, 60.0, 15.0), 35.0)
    # The lips have little melanin of their own in pale skin and keep some in dark skin.
    m = m * (1.0 - 0.35 * lips)
    h = h + lips * tone.lips * (0.75 + 0.25 * red)
    return np.maximum(m, 0.01), np.maximum(h, 0.02)
