"""Bake the people that ship: `python -m assets.baking.bake_people [NAME ...]`.

Run bake_head and bake_hands first.

Writes, for each identity, under assets/avatars/:

  NAME.albedo.webp     (1024, 1024, 3) sRGB: the neutral face under an even white dome, front view
  NAME.surface.webp    (1024, 1024, 4) lossless: roughness, occlusion, height, opacity
                       (streams.topology.Topology.surface)
  NAME.hair.safetensors  vertices (V, 3) f32, normals (V, 3) f32, faces (F, 3) i32, uv (V, 2) f32,
                       in the identity's head frame: static, rides on the head; part "hair"
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from assets.baking.complexion import COMPLEXIONS, Complexion
from assets.baking.painting import encode_srgb, linear, soft_step
from assets.baking.person import Person
from assets.baking.skin import cloudy, reflectance
from assets.baking.template import AVATARS, SIZE

HANDS = Path(__file__).parents[1] / "hands" / "hands.safetensors"
HAND_SQUARES = {"left": (768, 512), "right": (768, 768)}
"""Top-left texel (x, y) of each hand's square of 256 texels in the atlas of 1024."""


def paint_hands(
    tone: Complexion, albedo: npt.NDArray[np.uint8], surface: npt.NDArray[np.uint8]
) -> None:
    """Give the hands' squares of an atlas the person's own skin, in place."""
    arrays = load_file(HANDS)
    maps = {
        name: arrays[f"map.{name}"].astype(np.float32) / 255.0
        for name in ("occlusion", "nails", "creases", "knuckles", "palm", "cloth")
    }
    rng = np.random.default_rng(tone.seed + 7)
    size = maps["palm"].shape[0]
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    plane = np.stack([x, y, np.zeros_like(x)], -1)
    grain = rng.normal(size=(size, size)).astype(np.float32)
    pores = cv2.GaussianBlur(grain, (0, 0), 0.7) - cv2.GaussianBlur(grain, (0, 0), 1.8)
    pores /= pores.std()
    palm, nails = maps["palm"], maps["nails"]
    melanin = np.full((size, size), tone.melanin * 1.05, np.float32)
    melanin *= (1 + 0.06 * cloudy(plane, 60.0, rng) + 0.05 * cloudy(plane, 18.0, rng)) * (
        1 + 0.04 * pores
    )
    # Palms and nails keep little melanin whatever the skin is.
    melanin = (
        melanin * (1 - 0.62 * palm) * (1 - 0.6 * nails) + 0.10 * tone.melanin * maps["knuckles"]
    )
    blood = np.full((size, size), tone.haemoglobin * 0.95, np.float32)
    blood *= 1 + 0.10 * cloudy(plane, 40.0, rng) + 0.06 * pores
    blood += 0.07 * palm + 0.08 * nails + 0.09 * maps["knuckles"]
    colour = reflectance(np.maximum(melanin, 0.01), np.maximum(blood, 0.02))
    colour *= np.exp(-0.45 * maps["creases"])[..., None]
    shade = np.clip(maps["occlusion"], 0.15, 1.0)
    colour *= shade[..., None] ** np.array([0.75, 1.05, 1.1], np.float32)
    colour = colour * 0.965 + 0.035 * shade[..., None]
    sleeve = linear(tone.cloth) * shade[..., None] * (1 + 0.05 * pores[..., None])
    cover = maps["cloth"][..., None]
    picture = encode_srgb(colour * (1 - cover) + sleeve * cover)
    rough = 0.50 - 0.24 * nails - 0.03 * palm
    rough = rough * (1 - maps["cloth"]) + 0.85 * maps["cloth"]
    height = 0.5 + 0.03 * pores - 0.12 * maps["creases"] + 0.05 * soft_step(0.2, 0.9, nails)
    material = np.stack([rough, shade, height, np.ones_like(shade)], -1)
    material8 = np.round(np.clip(material, 0, 1) * 255).astype(np.uint8)
    for x0, y0 in HAND_SQUARES.values():
        at = (slice(y0, y0 + size), slice(x0, x0 + size))
        albedo[at] = picture
        surface[at] = material8


def bake(name: str) -> None:
    """Write one person's files."""
    person = Person.open(name)
    albedo, surface = person.neutral_albedo.copy(), person.surface.copy()
    if albedo.shape != (SIZE, SIZE, 3):
        raise ValueError(f"{name}: expected an atlas of {SIZE} texels, got {albedo.shape}")
    paint_hands(person.tone, albedo, surface)
    quality = [cv2.IMWRITE_WEBP_QUALITY, 95]
    cv2.imwrite(str(AVATARS / f"{name}.albedo.webp"), albedo[..., ::-1], quality)
    # Opacity under 1 would lose the other channels' texels: lossless keeps them exactly.
    lossless = [cv2.IMWRITE_WEBP_QUALITY, 101]
    coarse = (surface & 0xF8) | (surface >> 5)  # five bits are plenty and halve the file
    coarse[..., 3] = surface[..., 3]
    bgra = coarse[..., [2, 1, 0, 3]]
    cv2.imwrite(str(AVATARS / f"{name}.surface.webp"), bgra, lossless)
    hair = person.hair
    save_file(
        {"vertices": hair.vertices, "normals": hair.normals, "faces": hair.faces, "uv": hair.uv},
        AVATARS / f"{name}.hair.safetensors",
    )
    sizes = {p.name: p.stat().st_size for p in sorted(AVATARS.glob(f"{name}.*"))}
    print(name, f"{len(hair.vertices)} hair vertices", sizes)


def main() -> None:
    for name in sys.argv[1:] or list(COMPLEXIONS):
        bake(name)


if __name__ == "__main__":
    main()
