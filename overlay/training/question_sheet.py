"""A sheet of pictures with what was asked for under each."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

_LINE = 13


def draw_sheet(
    shown: Sequence[tuple[str, npt.NDArray[np.uint8]]], columns: int
) -> PillowImage.Image:
    """Rows of (S, S, 4) pictures on white, with their captions in one or two lines."""
    side = shown[0][1].shape[0]
    font = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", 10)
    tall = side + 2 * _LINE + 6
    rows = -(-len(shown) // columns)
    sheet = PillowImage.new("RGB", (columns * (side + 8), rows * tall), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (caption, rgba) in enumerate(shown):
        x, y = place % columns * (side + 8) + 4, place // columns * tall
        picture = PillowImage.fromarray(rgba)
        sheet.paste(picture, (x, y), picture)
        words, line = caption.split(), ""
        lines: list[str] = []
        for word in words:
            longer = f"{line} {word}".strip()
            if pen.textlength(longer, font) > side and line:
                lines.append(line)
                line = word
            else:
                line = longer
        for number, text in enumerate([*lines, line][:2]):
            pen.text((x, y + side + number * _LINE), text, "black", font)
    return sheet
