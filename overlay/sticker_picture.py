"""SVG as a picture."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage


def draw_svg(svg: str, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(H, W, 4) uint8 sRGB with straight alpha of that (width, height), through resvg.

    Raises ValueError for what is no SVG.
    """
    import resvg_py

    png = resvg_py.svg_to_bytes(
        svg_string=svg, width=size[0], height=size[1], skip_system_fonts=True
    )
    with PillowImage.open(io.BytesIO(bytes(png)), formats=("PNG",)) as picture:
        rgba = np.asarray(picture.convert("RGBA"), np.uint8)
    if rgba.shape[:2] != (size[1], size[0]):
        raise ValueError(f"draw_svg: expected a drawing of the shape {size}, got {rgba.shape}")
    return rgba


def sticker_document(body: str, side: float) -> str:
    """A sticker's drawing, `side` units wide and high, as an SVG of its own."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {side:g} {side:g}">{body}</svg>'
    )
