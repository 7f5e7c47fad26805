"""What was made, one's own pictures and the stickers, in one list by what is being typed."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import PngImagePlugin

from overlay.generation_event import PictureUpdate
from overlay.image_panel import PictureError, read_picture
from overlay.sticker_book import Sticker
from overlay.sticker_picture import draw_svg, sticker_document
from overlay.sticker_search import StickerSearch

_NOTE = "visavis"
_OWN_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_MOST_FILES = 500
"""Of a folder: the name of each is read by the text encoder, 3 ms, before the window opens."""
_STICKER_SHARE = 0.85
"""Stickers are many: at equal meaning what somebody made or brought comes first."""


@dataclass(frozen=True, slots=True, eq=False)
class ShelfItem:
    """One picture of the list."""

    kind: str
    """"made", "own" or "sticker"."""
    text: str
    """What it shows: its prompt, its file's name, or its sticker's name."""
    label: str | None
    """For Panel.generated_by; None for pictures that no model made."""
    likeness: float
    """Of its text to what it was looked for by, -1 to 1."""
    source: Path | Sticker

    def picture(
        self,
        side: int = 256,
        draw: Callable[[str, tuple[int, int]], npt.NDArray[np.uint8]] = draw_svg,
    ) -> npt.NDArray[np.uint8]:
        """(H, W, 4) uint8 sRGB, straight alpha; `draw` draws what is a sticker, `side` pixels
        wide. Raises PictureError when its file is gone."""
        if isinstance(self.source, Path):
            return read_picture(self.source)
        drawing = self.source.drawing("noto")
        return draw(sticker_document(drawing.svg, drawing.side), (side, side))


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    kind: str
    text: str
    label: str | None
    path: Path
    vector: npt.NDArray[np.float32]


class Shelf:
    """A folder of made pictures, folders of one's own, and the stickers. Any thread."""

    def __init__(
        self, search: StickerSearch, made: Path | None = None, own: tuple[Path, ...] = ()
    ) -> None:
        """`made`: where what is kept is written; None keeps nothing. Files that are no pictures
        are passed over."""
        self._search, self._made = search, made
        self._lock = threading.Lock()
        self._kept: list[_Kept] = []
        for folder, kind in ((made, "made"), *((folder, "own") for folder in own)):
            if folder is not None:
                for path in _pictures(folder):
                    self._add(path, kind)

    def __len__(self) -> int:
        with self._lock:
            return len(self._kept)

    def keep(self, update: PictureUpdate) -> Path:
        """Write a made picture with what it was made from, readable by its owner alone.

        Raises PictureError when it cannot be written, ValueError without a folder for it.
        """
        if self._made is None:
            raise ValueError("Shelf.keep: expected a folder for made pictures, got none")
        note = PngImagePlugin.PngInfo()
        said = {
            "prompt": update.wish.prompt,
            "style": update.wish.style,
            "seed": update.wish.seed,
            "model": update.model,
            "label": update.label,
        }
        note.add_itxt(_NOTE, json.dumps(said, ensure_ascii=False))
        path = self._made / f"{update.wish.content_hash(update.model)[:24]}.png"
        known = path.exists()
        part = path.with_suffix(".part")
        try:
            self._made.mkdir(parents=True, exist_ok=True)
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                PillowImage.fromarray(update.rgba).save(file, "PNG", pnginfo=note)
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise PictureError(f"{path}: cannot be written: {error.strerror}") from error
        if not known:
            self._add(path, "made")
        return path

    def ranked(self, text: str, count: int = 4) -> list[ShelfItem]:
        """The nearest to the text in meaning, best first; each text once."""
        vector = self._search.encoder.encode(text)
        with self._lock:
            kept = list(self._kept)
        items = [ShelfItem(k.kind, k.text, k.label, float(k.vector @ vector), k.path) for k in kept]
        for match in self._search.ranked(text, count):
            name = match.sticker.names[0]
            likeness = _STICKER_SHARE * match.score
            items.append(ShelfItem("sticker", name, None, likeness, match.sticker))
        items.sort(key=lambda item: -item.likeness)
        once = {item.text: item for item in reversed(items)}
        return sorted(once.values(), key=lambda item: -item.likeness)[:count]

    def _add(self, path: Path, kind: str) -> None:
        said = _note_in(path) if path.suffix.lower() == ".png" else {}
        if said is None:
            return
        text = said.get("prompt") or " ".join(path.stem.replace("_", " ").replace("-", " ").split())
        # What a model made says so wherever its file was put.
        label = said.get("label") or (None if kind == "own" else "an unknown model")
        with self._lock:
            self._kept.append(_Kept(kind, text, label, path, self._search.encoder.encode(text)))


def _pictures(folder: Path) -> Iterator[Path]:
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in _OWN_SUFFIXES)
    except OSError:
        # It is made when the first picture is kept.
        return
    yield from found[:_MOST_FILES]


def _note_in(path: Path) -> dict[str, str] | None:
    """What `keep` wrote into a picture; None when the file is no picture."""
    try:
        with PillowImage.open(path, formats=("PNG",)) as file:
            said = json.loads(file.info.get(_NOTE, "{}"))
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError):
        return None
    if not isinstance(said, dict):
        return {}
    return {key: value for key, value in said.items() if isinstance(value, str)}
