"""The drawings that the generator learns from: those that ship, or five published sets."""

from __future__ import annotations

from pathlib import Path

from overlay.baking.bake_stickers import read_concepts, read_drawings
from overlay.named_colour import Paint
from overlay.sticker_book import Drawing, StickerBook
from overlay.training.concepts import Concept, everyday, number_concepts

PACKAGES = {
    "fluent": "fluent-emoji-flat",
    "noto": "noto",
    "fluent-gradient": "fluent-emoji",
    "noto-v1": "noto-v1",
    "fxemoji": "fxemoji",
}
"""Style -> package of Iconify's with its drawings: Microsoft's under the MIT licence, Google's and
Mozilla's under Apache-2.0. None is under a licence that would bind what is made with the net."""

Drawings = dict[str, dict[str, Drawing]]
"""Style -> emoji -> drawing."""


def shipped_set(style: str = "fluent") -> tuple[list[Concept], Drawings]:
    """The everyday things in one of the styles that ship (in Noto's where that has none)."""
    stickers = StickerBook.load().stickers
    return everyday(stickers), {style: {s.emoji: s.drawing(style) for s in stickers}}


def published_sets(folder: Path) -> tuple[list[Concept], Drawings]:
    """Everything that the first of PACKAGES draws, in all styles; `folder` has the unpacked
    packages, with those of names (see overlay/baking/bake_stickers.py)."""
    named = read_concepts(folder)
    drawings: Drawings = {}
    for style, package in PACKAGES.items():
        drawings[style] = {
            emoji: Drawing(entry["svg"], entry["side"], Paint(*entry["main"]), tuple(entry["box"]))
            for emoji, entry in read_drawings(folder, package, named).items()
        }
    first = drawings[next(iter(PACKAGES))]
    stickers = [s for s in StickerBook.load().stickers if s.emoji in first]
    return number_concepts(stickers), drawings
