"""Colours that English has plain words for, in OKLCH, and drawings painted over in them.

OKLCH is the polar form of Oklab (Ottosson 2020, "A perceptual color space for image processing"):
lightness 0 to 1, chroma from 0, hue in radians. At equal lightness hues look equally bright there,
so that a drawing keeps its light and shade when its hue is changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.colour import linear_from_srgb, srgb_from_linear

COLOURS: dict[str, str] = {
    "red": "#e0342c",
    "crimson": "#c2183c",
    "scarlet": "#e62e1f",
    "maroon": "#7b1f2b",
    "orange": "#f58a1f",
    "yellow": "#fbd02f",
    "gold": "#dfa62a",
    "golden": "#e5ad2e",
    "lime": "#9ad32f",
    "green": "#3fa648",
    "olive": "#83862c",
    "teal": "#17918c",
    "turquoise": "#2bc4b8",
    "cyan": "#22c3e0",
    "blue": "#2b78e4",
    "navy": "#20397f",
    "indigo": "#4b3fae",
    "violet": "#8455d6",
    "purple": "#8d3fb3",
    "magenta": "#d62ea6",
    "pink": "#f27bb2",
    "brown": "#8d5a34",
    "beige": "#e3d0a8",
    "black": "#2a2a2e",
    "white": "#f6f6f6",
    "grey": "#8f949a",
    "gray": "#8f949a",
    "silver": "#b8bec6",
}
"""Word -> sRGB."""

SHADES = {"light": 0.12, "pale": 0.12, "bright": 0.05, "dark": -0.16, "deep": -0.12}
"""Word before a colour -> what it adds to the lightness."""

HUE_REACH = float(np.deg2rad(50.0))
"""Colours no farther than this from a drawing's main hue are painted over with it."""
NEUTRAL = 0.045
"""Chroma below which a colour has no hue that one would name."""

_HEX = re.compile(r"(?<!\()(?<!href=\")#([0-9a-fA-F]{6}|[0-9a-fA-F]{3})\b")
_LMS_FROM_RGB = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LAB_FROM_LMS = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


@dataclass(frozen=True, slots=True)
class Paint:
    """A colour in OKLCH."""

    lightness: float
    chroma: float
    hue: float

    @property
    def neutral(self) -> bool:
        return self.chroma < NEUTRAL


def paint_of(word: str, shade: str | None = None) -> Paint:
    """The colour of a word in COLOURS, made lighter or darker by a word in SHADES."""
    paint = paint_from_hex(COLOURS[word])
    added = 0.0 if shade is None else SHADES[shade]
    return Paint(min(max(paint.lightness + added, 0.0), 1.0), paint.chroma, paint.hue)


def paint_from_hex(text: str) -> Paint:
    """ "#rgb" or "#rrggbb" sRGB -> OKLCH."""
    digits = text.lstrip("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    rgb = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)], np.float64) / 255.0
    lightness, chroma, hue = oklch_from_srgb(rgb)
    return Paint(float(lightness), float(chroma), float(hue))


def oklch_from_srgb(rgb: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(..., 3) sRGB 0..1 -> (..., 3) lightness, chroma, hue in radians."""
    lab = np.cbrt(linear_from_srgb(rgb) @ _LMS_FROM_RGB.T) @ _LAB_FROM_LMS.T
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    return np.stack([lab[..., 0], chroma, np.arctan2(lab[..., 2], lab[..., 1])], axis=-1)


def hex_from_paint(paint: Paint) -> str:
    """OKLCH -> "#rrggbb"; what sRGB cannot show loses chroma until it can."""
    chroma = paint.chroma
    for _ in range(12):
        rgb = _linear_from_oklch(paint.lightness, chroma, paint.hue)
        if rgb.min() > -1e-4 and rgb.max() < 1.0 + 1e-4:
            break
        chroma *= 0.85
    else:
        rgb = _linear_from_oklch(paint.lightness, 0.0, 0.0)
    srgb = srgb_from_linear(np.clip(rgb, 0.0, 1.0))
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in srgb.tolist())


def _linear_from_oklch(lightness: float, chroma: float, hue: float) -> npt.NDArray[np.float64]:
    lab = np.array([lightness, chroma * np.cos(hue), chroma * np.sin(hue)])
    return _RGB_FROM_LMS @ (_LMS_FROM_LAB @ lab) ** 3


_RGB_FROM_LMS = np.linalg.inv(_LMS_FROM_RGB)
_LMS_FROM_LAB = np.linalg.inv(_LAB_FROM_LMS)


def repaint(svg: str, main: Paint, wanted: Paint) -> str:
    """The drawing with the colours around its `main` one turned into those around `wanted`.

    Only "#rgb" and "#rrggbb" are found, as the sticker files write every colour.
    """
    done: dict[str, str] = {}

    def replaced(match: re.Match[str]) -> str:
        text = match.group(0)
        if text not in done:
            paint = _repainted(paint_from_hex(text), main, wanted)
            done[text] = text if paint is None else hex_from_paint(paint)
        return done[text]

    return _HEX.sub(replaced, svg)


def _repainted(paint: Paint, main: Paint, wanted: Paint) -> Paint | None:
    """None where the colour is not one of those that the drawing is mainly painted in."""
    if main.neutral:
        # Outlines, eyes and highlights of a grey or white drawing keep their far lightness.
        if paint.chroma > 0.08 or abs(paint.lightness - main.lightness) > 0.3:
            return None
        strength = 1.0
    else:
        apart = abs((paint.hue - main.hue + np.pi) % (2 * np.pi) - np.pi)
        if paint.chroma < 0.03 or apart > HUE_REACH:
            return None
        strength = min(max(paint.chroma / main.chroma, 0.35), 1.25)
    # Where the wanted colour is nearly black or white, there is less room for light and shade.
    room = 0.55 if wanted.lightness < 0.35 or wanted.lightness > 0.9 else 0.85
    lightness = wanted.lightness + room * (paint.lightness - main.lightness)
    return Paint(min(max(lightness, 0.08), 0.99), wanted.chroma * strength, wanted.hue)
