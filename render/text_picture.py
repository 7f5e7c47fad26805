"""Words as pixels, with the typeface that Pillow brings along, so they look alike everywhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Rgb = tuple[int, int, int]


def text_line(text: str, height: int, width: int, ink: Rgb) -> npt.NDArray[np.uint8]:
    """(height, width, 4) uint8 straight alpha: one centred line, shrunk, then cut to fit."""
    margin = max(height // 6, 1)
    size = max(height - 2 * margin, 4)
    words = text
    for _ in range(2):
        font = ImageFont.load_default(size)
        length = font.getlength(words)
        room = max(width - 4 * margin, 1)
        if length <= room or size <= 6:
            break
        size = max(int(size * max(room / length, 0.6)), 6)
    font = ImageFont.load_default(size)
    while len(words) > 4 and font.getlength(words) > max(width - 4 * margin, 1):
        words = words[:-2].rstrip(" …") + "…"
    mask = Image.new("L", (width, height), 0)
    ImageDraw.Draw(mask).text((width / 2, height / 2), words, fill=255, font=font, anchor="mm")
    return _inked(np.asarray(mask), ink)


def text_block(lines: Sequence[str], size: int, ink: Rgb) -> npt.NDArray[np.uint8]:
    """(H, W, 4) uint8 straight alpha: left-aligned lines on a dark, half clear ground."""
    font = ImageFont.load_default(size)
    step = round(size * 1.35)
    width = int(max((font.getlength(line) for line in lines), default=0.0)) + 2 * size
    mask = Image.new("L", (width, step * len(lines) + size), 0)
    pen = ImageDraw.Draw(mask)
    for i, line in enumerate(lines):
        pen.text((size, size // 2 + i * step), line, fill=255, font=font)
    coverage = np.asarray(mask)
    picture = np.empty((*coverage.shape, 4), np.uint8)
    share = coverage[..., None].astype(np.float32) / 255.0
    ground = np.array([12.0, 13.0, 16.0])
    picture[..., :3] = np.rint(ground + share * (np.array(ink, np.float32) - ground))
    picture[..., 3] = np.maximum(coverage, 150)
    return picture


def _inked(coverage: npt.NDArray[np.uint8], ink: Rgb) -> npt.NDArray[np.uint8]:
    picture = np.empty((*coverage.shape, 4), np.uint8)
    picture[..., :3] = ink
    picture[..., 3] = coverage
    return picture
