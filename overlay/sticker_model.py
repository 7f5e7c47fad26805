"""Pictures at once: the stickers that a prompt speaks of, coloured and placed as it says.

Nothing is generated here: published drawings are chosen by meaning and put together, and the
label says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from overlay.backdrop import paint_backdrop, scenery_of
from overlay.image_model import ModelError, ModelStep
from overlay.named_colour import paint_of, repaint
from overlay.scene_layout import Placed, lay_out
from overlay.scene_words import Scene, Thing, read_scene
from overlay.sticker_book import STYLES, Drawing, Sticker
from overlay.sticker_picture import draw_svg
from overlay.sticker_search import StickerSearch, shipped_search
from overlay.svg_process import SvgProcess
from overlay.wish import Wish

LABEL_SHARE = 0.1
"""Of the width: this much at the lower edge is free for the renderer's label."""
_MARGIN = 0.04
_SKIN_COLOURS = ("black", "white", "brown", "beige")
"""Said of a person these mean no paint."""
_HEADWEAR = ("hat", "cap", "crown", "helmet", "glasses", "goggles")
_ID = re.compile(r'(\bid="|url\(#|href="#)')


@dataclass(frozen=True, slots=True)
class Composition:
    """A scene with the stickers that were found for it."""

    scene: Scene
    """Only the things that a sticker was found for."""
    stickers: tuple[Sticker, ...]
    """Of each thing."""
    missed: tuple[str, ...] = ()
    """Words that no sticker is near to."""


class StickerModel:
    """An ImageModel that answers within a keystroke. Raises AssetError without its files."""

    licence = "Apache-2.0 AND MIT"
    instant = True
    generates = False

    def __init__(
        self, search: StickerSearch | None = None, process: SvgProcess | None = None
    ) -> None:
        """`process` draws, where this one has more to do meanwhile; it is closed with the model."""
        self.search = search or shipped_search()
        self._process = process
        self._draw = draw_svg if process is None else process.draw
        if process is not None:
            process.start()
        self.name = "stickers 1"
        self.label = "composed of stickers"

    def steps(self, wish: Wish, cancelled: Callable[[], bool]) -> Generator[ModelStep, None, None]:
        """One step: (H, W, 4) without a background unless the words name a place or an hour.

        Raises ModelError when no sticker is near to any of the words, or the style is unknown.
        """
        style = wish.style or "noto"
        if style not in STYLES:
            raise ModelError(f"style {style!r}: expected one of {', '.join(STYLES)}")
        del cancelled  # it is over before that could be true for long
        found = self.compose(wish.prompt)
        svg = composition_svg(found, style, wish.size, wish.seed, self.search)
        yield ModelStep(1, 1, self._draw(svg, wish.size))

    def close(self) -> None:
        """End the process that draws, where there is one."""
        if self._process is not None:
            self._process.close()

    def compose(self, prompt: str) -> Composition:
        """What is shown for a prompt. Raises ModelError when that is nothing."""
        scene = read_scene(prompt, self.search)
        things: list[Thing] = []
        stickers: list[Sticker] = []
        missed: list[str] = []
        for thing in scene.things:
            sticker = self._sticker(thing)
            if sticker is None:
                missed.append(" ".join(thing.words))
            else:
                things.append(_worn(thing, sticker))
                stickers.append(sticker)
        if not things and scene.place is None and scene.hour is None:
            match = self.search.find(prompt.lower().split())
            if match is None:
                raise ModelError(
                    f"no sticker is near to {_shortened(prompt)!r}: expected English words for "
                    "things, or emoji, for example: three dogs beside an old man at sunset"
                )
            things, stickers, missed = [Thing(tuple(prompt.split()))], [match.sticker], []
        return Composition(replace(scene, things=tuple(things)), tuple(stickers), tuple(missed))

    def _sticker(self, thing: Thing) -> Sticker | None:
        emoji = self.search.by_emoji(thing.words[0]) if len(thing.words) == 1 else None
        if emoji is not None:
            return emoji
        match = self.search.find(thing.words)
        return None if match is None else match.sticker


def composition_svg(
    found: Composition, style: str, size: tuple[int, int], seed: int, search: StickerSearch
) -> str:
    """The picture as SVG of that (width, height)."""
    width, height = size
    scene = found.scene
    before = after = ""
    parts: list[str] = []
    has_backdrop = scene.place is not None or scene.hour is not None
    if has_backdrop:
        before, after = paint_backdrop(scene.place, scene.hour, size, seed)
        for number, item in enumerate(scenery_of(scene.place)):
            sticker = search.by_emoji(item.emoji)
            if sticker is not None:
                drawing = sticker.drawing(style)
                tall = item.size * height
                parts.append(
                    _element(
                        drawing,
                        drawing.svg,
                        f"b{number}",
                        _box_at(drawing, item.x * width, item.y * height, tall),
                    )
                )
    drawings = [sticker.drawing(style) for sticker in found.stickers]
    painted = [
        _painted(thing, sticker, drawing)
        for thing, sticker, drawing in zip(scene.things, found.stickers, drawings, strict=True)
    ]
    shapes = [(d.box[2] - d.box[0], d.box[3] - d.box[1]) for d in drawings]
    placed = lay_out(scene.things, shapes, seed)
    floats = scene.aloft or scene.place in ("space", "underwater", "sky")
    for number, (item, box) in enumerate(_fitted(placed, size, has_backdrop, floats)):
        if has_backdrop and not floats and item.y < 0.01:
            parts.append(_shadow(box))
        svg = painted[item.thing]
        parts.append(_element(drawings[item.thing], svg, f"s{number}", box, item.mirrored))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f"{before}{''.join(parts)}{after}</svg>"
    )


Box = tuple[float, float, float, float]
"""Left, top, width, height, pixels."""


def _fitted(
    placed: list[Placed], size: tuple[int, int], has_backdrop: bool, floats: bool
) -> list[tuple[Placed, Box]]:
    """Each sticker's place in the picture: as large as fits above the label."""
    if not placed:
        return []
    width, height = size
    left, right = min(p.left for p in placed), max(p.right for p in placed)
    bottom, top = min(p.y for p in placed), max(p.top for p in placed)
    free_width = width * (1 - 2 * _MARGIN)
    free_height = height * (1 - 2 * _MARGIN) - LABEL_SHARE * width
    scale = min(free_width / (right - left), free_height / (top - bottom))
    if has_backdrop:
        # One sticker would otherwise hide the place that it stands in.
        scale = min(scale, (0.55 if len(placed) == 1 else 0.5) * height)
    base = height * (1 - _MARGIN) - LABEL_SHARE * width
    if not has_backdrop or floats:
        base -= (free_height - (top - bottom) * scale) / 2
    offset = width / 2 - (left + right) / 2 * scale
    return [
        (
            p,
            (
                offset + p.left * scale,
                base - (p.top - bottom) * scale,
                p.width * scale,
                p.height * scale,
            ),
        )
        for p in placed
    ]


def _worn(thing: Thing, sticker: Sticker) -> Thing:
    """Clothes that somebody is in or wears go where they are worn: hats above, others below."""
    if sticker.subgroup != "clothing" or thing.relation not in ("in", "wearing", "with"):
        return thing
    is_hat = any(word in " ".join(sticker.names) for word in _HEADWEAR)
    return replace(thing, relation="wearing" if is_hat else "on")


def _painted(thing: Thing, sticker: Sticker, drawing: Drawing) -> str:
    """The drawing in the colour that was asked for."""
    if thing.colour is None:
        return drawing.svg
    is_person = sticker.group == "people-body"
    if is_person and thing.colour in _SKIN_COLOURS:
        return drawing.svg
    return repaint(drawing.svg, drawing.main, paint_of(thing.colour, thing.shade))


def _box_at(drawing: Drawing, x: float, bottom: float, tall: float) -> Box:
    """What is drawn of it, so tall, with its lower edge's middle there."""
    left, top, right, low = drawing.box
    wide = tall * (right - left) / (low - top)
    return (x - wide / 2, bottom - tall, wide, tall)


def _element(drawing: Drawing, svg: str, prefix: str, box: Box, mirrored: bool = False) -> str:
    """The drawing with what is drawn of it filling the box. The ids inside it get `prefix`, since
    an SVG document has one space of ids."""
    left, top, right, bottom = (share * drawing.side for share in drawing.box)
    x_scale, y_scale = box[2] / (right - left), box[3] / (bottom - top)
    x = box[0] - left * x_scale
    if mirrored:
        x, x_scale = box[0] + right * x_scale, -x_scale
    own = _ID.sub(rf"\g<1>{prefix}", svg)
    return (
        f'<g transform="matrix({x_scale:.4f} 0 0 {y_scale:.4f} {x:.2f} '
        f'{box[1] - top * y_scale:.2f})">{own}</g>'
    )


def _shadow(box: Box) -> str:
    x, y = box[0] + box[2] / 2, box[1] + box[3]
    return (
        f'<ellipse cx="{x:.1f}" cy="{y - 0.01 * box[3]:.1f}" rx="{0.46 * box[2]:.1f}" '
        f'ry="{0.06 * box[3]:.1f}" fill="#000" opacity=".22"/>'
    )


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
