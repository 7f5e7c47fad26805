"""Text as a panel: wrapped, on a rounded translucent background."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from streams.panel import Panel
from streams.rigid import Rigid

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Rgba = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class TextStyle:
    """How a text panel looks. Sizes are in metres on the panel, as they will be seen."""

    letter_m: float = 0.014
    """Height of the font's em square, metres. A text is easy to read from about 50 times that."""
    wrap_m: float = 0.24
    """Widest line, metres, before it wraps."""
    margin_m: float = 0.010
    """Between text and the background's edge, metres; also the radius of the corners."""
    pixels_per_m: float = 3000.0
    """Resolution: 3000 keeps a 14 mm letter crisp at arm's length on a 25 px/degree display."""
    colour: Rgba = (255, 255, 255, 255)
    """RGBA 0..255 sRGB, straight alpha."""
    background: Rgba = (18, 22, 30, 190)
    """RGBA 0..255 sRGB, straight alpha."""
    max_lines: int = 12
    """What is longer is cut and ends in an ellipsis."""
    font: Path | None = None
    """A TrueType or OpenType file. None is Pillow's own font, and where that lacks a letter (it
    has no accents) DejaVu Sans, for Latin, Greek and Cyrillic; other scripts need a file."""

    def __post_init__(self) -> None:
        for name in ("letter_m", "wrap_m", "margin_m", "pixels_per_m", "max_lines"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(
                    f"TextStyle.{name}: expected a positive number, got {getattr(self, name)}"
                )
        for name in ("colour", "background"):
            value = getattr(self, name)
            if len(value) != 4 or not all(0 <= channel <= 255 for channel in value):
                raise ValueError(f"TextStyle.{name}: expected RGBA from 0 to 255, got {value}")
        if (self.wrap_m + 2 * self.margin_m) * self.pixels_per_m > 4096:
            raise ValueError(
                "TextStyle: expected at most 4096 pixels across, got "
                f"({self.wrap_m} + 2 x {self.margin_m}) m x {self.pixels_per_m} pixels/m"
            )


def text_panel(
    panel_id: str,
    text: str,
    anchor: str,
    anchor_from_panel: Rigid,
    style: TextStyle | None = None,
    generated_by: str | None = None,
) -> Panel:
    """A panel just as large as its text needs, its middle at `anchor_from_panel`.

    Line breaks in `text` are kept. Raises ValueError when there is nothing to show, or the font
    cannot be read.
    """
    style = style or TextStyle()
    if not text.strip():
        raise ValueError(f"text_panel {panel_id!r}: expected some text, got {text!r}")
    rgba = _draw_text(text, style)
    height, width = rgba.shape[:2]
    size_m = (width / style.pixels_per_m, height / style.pixels_per_m)
    return Panel(panel_id, rgba, anchor, anchor_from_panel, size_m, generated_by)


def _draw_text(text: str, style: TextStyle) -> npt.NDArray[np.uint8]:
    scale = style.pixels_per_m
    font = _load_font(style.font, text, style.letter_m * scale)
    lines = _wrap(text, font, style.wrap_m * scale, style.max_lines)
    margin = round(style.margin_m * scale)
    ascent, descent = _vertical_extent(font, style.letter_m * scale)
    step = round(1.15 * (ascent + descent))
    width = max(1, int(np.ceil(max(font.getlength(line) for line in lines)))) + 2 * margin
    height = step * (len(lines) - 1) + ascent + descent + 2 * margin
    coverage = PillowImage.new("L", (width, height))
    pen = ImageDraw.Draw(coverage)
    for number, line in enumerate(lines):
        pen.text((margin, margin + number * step), line, fill=255, font=font)
    ink = np.asarray(coverage, np.float64) / 255.0
    return _over(ink, style.colour, _rounded_box(width, height, margin), style.background)


def _over(
    ink: npt.NDArray[np.float64],
    colour: Rgba,
    paper: npt.NDArray[np.float64],
    background: Rgba,
) -> npt.NDArray[np.uint8]:
    """Porter and Duff's over with straight alpha: coverages (H, W) 0..1 -> (H, W, 4) uint8."""
    front = (ink * colour[3] / 255.0)[..., None]
    back = (paper * background[3] / 255.0)[..., None] * (1.0 - front)
    alpha = front + back
    rgb = np.array(colour[:3]) * front + np.array(background[:3]) * back
    # Where nothing covers, the background's colour: filtering there must not pull in black.
    rgb = np.where(alpha > 0, rgb / np.maximum(alpha, 1e-9), np.array(background[:3]))
    return np.rint(np.concatenate([rgb, alpha * 255.0], axis=-1)).astype(np.uint8)


def _rounded_box(width: int, height: int, radius: int) -> npt.NDArray[np.float64]:
    """(height, width) coverage 0..1 of a box with round corners that fills the picture."""
    x = np.abs(np.arange(width) - (width - 1) / 2.0) - (width / 2.0 - radius)
    y = np.abs(np.arange(height) - (height - 1) / 2.0) - (height / 2.0 - radius)
    outside = np.hypot(np.maximum(x, 0.0)[None, :], np.maximum(y, 0.0)[:, None])
    return np.clip(radius - outside + 0.5, 0.0, 1.0)


def _wrap(text: str, font: Font, width: float, max_lines: int) -> list[str]:
    """Lines no wider than `width` pixels; a word that is too long by itself is broken."""
    lines: list[str] = []
    for paragraph in text.strip("\n").expandtabs(4).splitlines():
        line = ""
        for word in paragraph.split():
            wider = f"{line} {word}" if line else word
            if font.getlength(wider) <= width:
                line = wider
                continue
            if line:
                lines.append(line)
            pieces = _break_word(word, font, width)
            lines.extend(pieces[:-1])
            line = pieces[-1]
        lines.append(line)
    if len(lines) > max_lines:
        last = lines[max_lines - 1]
        while last and font.getlength(last + "…") > width:
            last = last[:-1]
        lines = [*lines[: max_lines - 1], last.rstrip() + "…"]
    return lines


def _break_word(word: str, font: Font, width: float) -> list[str]:
    pieces = [""]
    for letter in word:
        if pieces[-1] and font.getlength(pieces[-1] + letter) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _load_font(path: Path | None, text: str, size: float) -> Font:
    if path is None:
        font = ImageFont.load_default(size)
        if not _lacks_letters(font, text):
            return font
        path = _dejavu_sans()
        if path is None:
            return font
    try:
        return ImageFont.truetype(str(path), size)
    except OSError as error:
        raise ValueError(f"TextStyle.font: expected a font file, got {path}: {error}") from error


def _lacks_letters(font: Font, text: str) -> bool:
    """Whether a letter of `text` is drawn as the font's box for what it does not have."""
    box = _picture_of(font, "\U0010ffff")
    return any(_picture_of(font, letter) == box for letter in set(text) if letter.isprintable())


def _picture_of(font: Font, letter: str) -> bytes:
    return bytes(font.getmask(letter))  # pyright: ignore[reportArgumentType]


def _dejavu_sans() -> Path | None:
    """The font inside matplotlib, found without importing that."""
    found = importlib.util.find_spec("matplotlib")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return path if path.is_file() else None


def _vertical_extent(font: Font, size: float) -> tuple[int, int]:
    if isinstance(font, ImageFont.FreeTypeFont):
        ascent, descent = font.getmetrics()
        return ascent, descent
    return round(size), 0
