"""Drawn stickers that the project ships, with their names: what pictures are composed of."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import zstandard
from safetensors import safe_open

from assets.manifest import AssetError, asset_path
from overlay.named_colour import Paint

STYLES = {"noto": "Noto emoji", "fluent": "Fluent emoji"}
"""Style -> what the drawings are called, as their makers call them."""
_LARGEST = 64 << 20


@dataclass(frozen=True, slots=True)
class Drawing:
    """A sticker in one style."""

    svg: str
    """What is inside the <svg> element."""
    side: float
    """Its view box is 0 0 side side."""
    main: Paint
    """The colour that covers most of it, without skin."""
    box: tuple[float, float, float, float]
    """Left, top, right, bottom of what is drawn, as shares of the side."""


@dataclass(frozen=True, slots=True)
class Sticker:
    """A thing that can be shown."""

    emoji: str
    """The character that it is the drawing of."""
    names: tuple[str, ...]
    """What it is called: first Unicode's name, then those that people type."""
    tags: tuple[str, ...]
    """What it reminds of."""
    group: str
    """Unicode's group, for example "animals-nature"."""
    subgroup: str
    drawings: dict[str, Drawing]
    """By style; "noto" is always there."""

    def drawing(self, style: str) -> Drawing:
        """In that style, or in "noto" where that has none."""
        return self.drawings.get(style) or self.drawings["noto"]


@dataclass(frozen=True, slots=True, eq=False)
class StickerBook:
    """All stickers, and their meanings as `overlay.text_encoder` gives them."""

    stickers: tuple[Sticker, ...]
    name_vectors: npt.NDArray[np.float32]
    """(N, 384): of the names."""
    tag_vectors: npt.NDArray[np.float32]
    """(N, 384): of the tags."""

    @staticmethod
    def load() -> StickerBook:
        """The shipped one. Raises AssetError when its files are absent, damaged or not a book."""
        path = asset_path("stickers/meanings")
        try:
            with safe_open(str(path), "numpy") as file:
                entries = json.loads(file.metadata()["stickers"])
                names, tags = file.get_tensor("names"), file.get_tensor("tags")
            drawings = {style: _read_drawings(style) for style in STYLES}
            stickers = tuple(_sticker(entry, drawings) for entry in entries)
        except (OSError, ValueError, KeyError, TypeError, zstandard.ZstdError) as error:
            raise AssetError(
                f"{path.parent}: expected a book of stickers, got {error}; restore it with "
                "`git checkout -- assets`"
            ) from error
        return StickerBook(stickers, _unit(names), _unit(tags))


def _read_drawings(style: str) -> dict[str, Drawing]:
    packed = asset_path(f"stickers/{style}.json").read_bytes()
    text = zstandard.ZstdDecompressor().decompress(packed, max_output_size=_LARGEST)
    return {
        emoji: Drawing(entry["svg"], entry["side"], Paint(*entry["main"]), tuple(entry["box"]))
        for emoji, entry in json.loads(text).items()
    }


def _sticker(entry: dict[str, object], drawings: dict[str, dict[str, Drawing]]) -> Sticker:
    emoji = str(entry["emoji"])
    drawn = {style: drawn[emoji] for style, drawn in drawings.items() if emoji in drawn}
    if "noto" not in drawn:
        raise ValueError(f"no drawing of {emoji!r} in the style noto")
    return Sticker(
        emoji,
        tuple(entry["names"]),  # pyright: ignore[reportArgumentType]
        tuple(entry["tags"]),  # pyright: ignore[reportArgumentType]
        str(entry["group"]),
        str(entry["subgroup"]),
        drawn,
    )


def _unit(codes: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
    """(N, 384) int8 -> float32 rows of length 1."""
    vectors = codes.astype(np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
