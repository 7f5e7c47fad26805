"""Simple painted places to stand in: sky by the hour, ground by the place, as SVG.

Everything is in a frame of the picture's own pixels, y down.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

HORIZON = 0.62
"""Of the picture's height: where the ground begins."""

_SKIES = {
    "day": ("#6db9f2", "#d9effc"),
    "sunset": ("#5b3f86", "#f7934c"),
    "sunrise": ("#7fa8e0", "#fbc9a0"),
    "night": ("#0b1533", "#2b3f73"),
    "rain": ("#7b8794", "#b9c3cc"),
    "space": ("#05060f", "#1b1440"),
    "underwater": ("#0f9bd0", "#06366f"),
    "snow": ("#a9c4dd", "#eef5fb"),
}
_GROUNDS = {
    "meadow": ("#7fbf55", "#4c9141"),
    "forest": ("#5d9950", "#32653a"),
    "beach": ("#f2dda4", "#d9b871"),
    "sea": ("#3f93d3", "#14558f"),
    "underwater": ("#c9b582", "#8c7a52"),
    "desert": ("#eabf76", "#c78f45"),
    "mountains": ("#7ea35c", "#4f7a45"),
    "city": ("#8d939c", "#5f656e"),
    "snow": ("#ffffff", "#d5e3f0"),
    "moon": ("#b9bcc6", "#7d818d"),
    "rain": ("#7fa06c", "#54734a"),
    None: ("#86b573", "#557f4d"),
}
_GROUNDLESS = ("space", "sky")
_DARKENING = {"night": 0.55, "sunset": 0.25, "sunrise": 0.08}


@dataclass(frozen=True, slots=True)
class Scenery:
    """A sticker that belongs to the place."""

    emoji: str
    x: float
    """Of its middle, as a share of the width."""
    y: float
    """Of its lower edge, as a share of the height from the top."""
    size: float
    """As a share of the height."""


_SCENERY: dict[str, tuple[Scenery, ...]] = {
    "forest": (
        *(Scenery("🌲", x, 0.66, 0.3) for x in (0.04, 0.22, 0.42, 0.6, 0.8, 0.97)),
        *(Scenery("🌳", x, 0.71, 0.32) for x in (0.12, 0.88)),
    ),
    "beach": (Scenery("🌴", 0.08, 0.7, 0.44),),
    "desert": (Scenery("🌵", 0.1, 0.7, 0.24), Scenery("🌵", 0.92, 0.68, 0.17)),
    "city": tuple(
        Scenery(emoji, x, 0.66, 0.3)
        for emoji, x in (("🏢", 0.1), ("🏬", 0.34), ("🏢", 0.58), ("🏨", 0.82), ("🏢", 1.02))
    ),
    "snow": (Scenery("🌲", 0.07, 0.68, 0.26), Scenery("🌲", 0.95, 0.67, 0.22)),
    "underwater": (Scenery("🪸", 0.08, 0.92, 0.16), Scenery("🪸", 0.93, 0.9, 0.13)),
    "meadow": tuple(
        Scenery("🌼", x, y, 0.05) for x, y in ((0.06, 0.78), (0.93, 0.74), (0.8, 0.87))
    ),
    "sky": (Scenery("☁️", 0.14, 0.3, 0.2), Scenery("☁️", 0.85, 0.84, 0.24)),
}


def scenery_of(place: str | None) -> tuple[Scenery, ...]:
    """What stands around in that place, farthest first."""
    return _SCENERY.get(place or "", ())


def paint_backdrop(
    place: str | None, hour: str | None, size: tuple[int, int], seed: int
) -> tuple[str, str]:
    """SVG that goes behind everything, and SVG (weather) that goes before it."""
    width, height = size
    sky = _sky_of(place, hour)
    parts = [
        _gradient("sky", *_SKIES[sky]),
        f'<rect width="{width}" height="{height}" fill="url(#sky)"/>',
    ]
    horizon = HORIZON * height
    if sky in ("night", "space") or place == "moon":
        sky = width, horizon if place not in _GROUNDLESS else height
        parts.append(_dots("star", 70, sky, seed, width / 1024))
    parts.append(_light(place, hour, size))
    if place == "mountains":
        parts.append(_mountains(size))
    if place in ("beach", "desert"):
        parts.append(_far_band(place, size))
    if place not in _GROUNDLESS:
        near, far = _GROUNDS[place][1], _GROUNDS[place][0]
        parts.append(_gradient("ground", far, near))
        top = horizon if place != "underwater" else 0.82 * height
        curve = 0.0 if place in ("sea", "city") else 0.035 * height
        parts.append(
            f'<path d="M0 {top:.1f} Q{width / 2:.1f} {top - 2 * curve:.1f} {width} {top:.1f} '
            f'V{height} H0Z" fill="url(#ground)"/>'
        )
        if place in ("sea", "moon"):
            parts.append(_marks(place, size, seed))
        dark = 0.0 if place == "underwater" else _DARKENING.get(hour or "", 0.0)
        if dark:
            parts.append(
                f'<rect y="{top - curve:.1f}" width="{width}" height="{height}" '
                f'fill="#10142e" opacity="{dark}"/>'
            )
    weather = {"rain": _rain, "snow": _snowfall, "underwater": _bubbles}.get(place or "")
    return "".join(parts), "" if weather is None else weather(size, seed)


def _sky_of(place: str | None, hour: str | None) -> str:
    if place in ("space", "underwater", "rain"):
        return place
    if place == "moon":
        return "space"
    if place == "snow" and hour is None:
        return "snow"
    return hour or "day"


def _gradient(name: str, upper: str, lower: str) -> str:
    return (
        f'<linearGradient id="{name}" x1="0" y1="0" x2="0" y2="1"><stop stop-color="{upper}"/>'
        f'<stop offset="1" stop-color="{lower}"/></linearGradient>'
    )


def _light(place: str | None, hour: str | None, size: tuple[int, int]) -> str:
    """Sun or moon."""
    width, height = size
    if place in ("space", "underwater", "rain", "moon"):
        return ""
    x, y, radius, colour = 0.8 * width, 0.16 * height, 0.07 * height, "#ffe27a"
    if hour == "night":
        colour = "#f3f0d8"
    elif hour in ("sunset", "sunrise"):
        x = (0.5 if hour == "sunset" else 0.25) * width
        y, radius = (HORIZON - 0.07) * height, 0.15 * height
        colour = "#ffcf5c" if hour == "sunset" else "#fff0bd"
    glow = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{1.6 * radius:.1f}" fill="{colour}" opacity=".25"/>'
    )
    return f'{glow}<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}"/>'


def _mountains(size: tuple[int, int]) -> str:
    width, height = size
    base = HORIZON * height + 2
    parts: list[str] = []
    for middle, half, tall, colour in (
        (0.2, 0.32, 0.36, "#7b8aa3"),
        (0.78, 0.36, 0.42, "#6c7b95"),
        (0.5, 0.26, 0.28, "#8b99b0"),
    ):
        x, top = middle * width, base - tall * height
        left, right = x - half * width, x + half * width
        share = 0.3
        cap = [
            (x - share * half * width, top + share * tall * height),
            (x - 0.08 * half * width, top + 0.24 * tall * height),
            (x + 0.1 * half * width, top + 0.34 * tall * height),
            (x + share * half * width, top + share * tall * height),
        ]
        line = " ".join(f"{px:.1f} {py:.1f}" for px, py in cap)
        parts.append(
            f'<path d="M{left:.1f} {base:.1f}L{x:.1f} {top:.1f}L{right:.1f} {base:.1f}Z" '
            f'fill="{colour}"/><path d="M{x:.1f} {top:.1f}L{line}Z" fill="#fff"/>'
        )
    return "".join(parts)


def _far_band(place: str, size: tuple[int, int]) -> str:
    """The sea behind a beach, the dunes behind a desert."""
    width, height = size
    top = 0.5 * height
    if place == "beach":
        return f'<rect y="{top:.1f}" width="{width}" height="{0.2 * height:.1f}" fill="#3f9fd6"/>'
    return (
        f'<path d="M0 {0.62 * height:.1f}Q{0.25 * width:.1f} {0.46 * height:.1f} '
        f"{0.55 * width:.1f} {0.6 * height:.1f}T{width} {0.55 * height:.1f}V{0.7 * height:.1f}"
        f'H0Z" fill="#d9a75e"/>'
    )


def _spread(seed: int, what: str, count: int) -> list[tuple[float, float, float]]:
    """`count` times three numbers 0 to 1, the same every time."""
    numbers: list[tuple[float, float, float]] = []
    for k in range(count):
        digest = hashlib.sha256(f"{seed} {what} {k}".encode()).digest()
        x, y, z = (int.from_bytes(digest[4 * i : 4 * i + 4], "little") / 2**32 for i in range(3))
        numbers.append((x, y, z))
    return numbers


def _dots(what: str, count: int, size: tuple[float, float], seed: int, unit: float) -> str:
    """White ones of 1 to 4 units: stars, snow."""
    width, height = size
    circles = (
        f'<circle cx="{x * width:.1f}" cy="{y * height:.1f}" r="{(1 + 3 * z) * unit:.2f}"/>'
        for x, y, z in _spread(seed, what, count)
    )
    return f'<g fill="#fff" opacity=".9">{"".join(circles)}</g>'


def _marks(place: str, size: tuple[int, int], seed: int) -> str:
    """Waves of the sea, craters of the moon."""
    width, height = size
    parts: list[str] = []
    for x, y, z in _spread(seed, "mark", 14):
        cy = height * (HORIZON + 0.03 + (0.97 - HORIZON) * y)
        rx = width * (0.02 + 0.05 * z) * (0.4 + y)
        ry = rx * (0.08 if place == "sea" else 0.35)
        parts.append(f'<ellipse cx="{x * width:.1f}" cy="{cy:.1f}" rx="{rx:.1f}" ry="{ry:.1f}"/>')
    colour = "#bfe3fa" if place == "sea" else "#6c707c"
    return f'<g fill="{colour}" opacity=".5">{"".join(parts)}</g>'


def _rain(size: tuple[int, int], seed: int) -> str:
    width, height = size
    lines = (
        f'<path d="M{x * width:.1f} {y * height:.1f}l{-0.012 * width:.1f} {0.05 * height:.1f}"/>'
        for x, y, _ in _spread(seed, "rain", 70)
    )
    return f'<g stroke="#dcebf7" stroke-width="{width / 320:.2f}" opacity=".7">{"".join(lines)}</g>'


def _snowfall(size: tuple[int, int], seed: int) -> str:
    return _dots("snow", 60, size, seed, size[0] / 512)


def _bubbles(size: tuple[int, int], seed: int) -> str:
    width, height = size
    rings = (
        f'<circle cx="{x * width:.1f}" cy="{y * height:.1f}" r="{(2 + 6 * z) * width / 512:.2f}"/>'
        for x, y, z in _spread(seed, "bubble", 26)
    )
    return (
        f'<g fill="#fff" fill-opacity=".2" stroke="#fff" stroke-width="{width / 512:.2f}" '
        f'opacity=".6">{"".join(rings)}</g>'
    )
