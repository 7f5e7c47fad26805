"""A picture, from a file or an array, as a panel."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageOps

from streams.panel import Panel
from streams.rigid import Rigid

MAX_SIDE = 2048
"""Pixels: a larger picture is made smaller, because no panel is drawn larger than this."""

FORMATS = ("PNG", "JPEG", "WEBP")


class PictureError(ValueError):
    """A picture file is absent, unreadable or of a kind that is not supported."""


def image_panel(
    panel_id: str,
    picture: str | os.PathLike[str] | npt.NDArray[np.uint8],
    anchor: str,
    anchor_from_panel: Rigid,
    height_m: float,
    generated_by: str | None = None,
) -> Panel:
    """A panel of that height, metres, and of the picture's proportions.

    `picture` is a PNG, JPEG or WebP file, or an array (H, W), (H, W, 3) or (H, W, 4) uint8 sRGB,
    row 0 on top, straight alpha. Raises PictureError for a file, ValueError for an array.
    """
    if isinstance(picture, np.ndarray):
        rgba = _from_array(panel_id, picture)
    else:
        rgba = read_picture(picture)
    height, width = rgba.shape[:2]
    size_m = (height_m * width / height, height_m)
    return Panel(panel_id, rgba, anchor, anchor_from_panel, size_m, generated_by)


def read_picture(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """A PNG, JPEG or WebP file as (H, W, 4) uint8 sRGB, turned upright as its EXIF data says."""
    name = Path(path)
    try:
        with PillowImage.open(name, formats=FORMATS) as file:
            file.draft("RGB", (MAX_SIDE, MAX_SIDE))
            upright = ImageOps.exif_transpose(file)
            return _shrink(_to_rgba(upright))
    except PillowImage.UnidentifiedImageError as error:
        raise PictureError(
            f"{name}: expected a picture ({', '.join(FORMATS)}), got something else; "
            "check the file, or save it as PNG"
        ) from error
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError) as error:
        # Pillow reports broken PNG chunks as SyntaxError.
        reason = getattr(error, "strerror", None) or str(error)
        raise PictureError(f"{name}: the picture cannot be read: {reason}") from error


def _to_rgba(picture: PillowImage.Image) -> PillowImage.Image:
    if picture.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion would clip it at 255.
        grey = np.asarray(picture, np.uint32)
        return PillowImage.fromarray((grey >> 8).clip(0, 255).astype(np.uint8)).convert("RGBA")
    return picture.convert("RGBA")


def _shrink(picture: PillowImage.Image) -> npt.NDArray[np.uint8]:
    scale = MAX_SIDE / max(picture.size)
    if scale < 1.0:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        # Pillow averages RGBA with premultiplied alpha, so that invisible colour stays out.
        picture = picture.resize(size, PillowImage.Resampling.LANCZOS)
    return np.array(picture, np.uint8)


def _from_array(panel_id: str, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    shape = picture.shape
    is_picture = len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))
    if picture.dtype != np.uint8 or not is_picture or 0 in shape:
        raise ValueError(
            f"image_panel {panel_id!r}: expected uint8 (H, W), (H, W, 3) or (H, W, 4) with at "
            f"least one pixel, got {picture.dtype} {shape}"
        )
    return _shrink(PillowImage.fromarray(np.ascontiguousarray(picture)).convert("RGBA"))
