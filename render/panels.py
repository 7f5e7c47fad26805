"""Panels as pictures: the label that no setting removes, alpha, drawing order, place in space."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from render.text_picture import text_line
from streams.panel import Panel
from streams.view import View

_LABEL_INK = (255, 255, 255)
_LABEL_GROUND = (24, 26, 32, 255)
_LABEL_HEIGHT_PX = 34
_SMALLEST_WIDTH_PX = 384
_LARGE_M = 0.6
"""Metres: as high as a head and shoulders."""


def panel_picture(panel: Panel) -> npt.NDArray[np.uint8]:
    """(H, W, 4) uint8 sRGB, premultiplied (in sRGB code values, as screens blend), row 0 on top:
    `labelled_picture` for our own shaders."""
    return premultiplied(labelled_picture(panel))


def premultiplied(rgba: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(H, W, 4) straight alpha -> colours times alpha, rounded: (colour * alpha + 127) // 255.

    By OpenCV, five times as quick as by NumPy: it runs between two frames while somebody types.
    """
    alpha = cv2.extractChannel(rgba, 3)
    factors = cv2.merge([alpha, alpha, alpha, np.full_like(alpha, 255)])
    return np.asarray(cv2.multiply(rgba, factors, scale=1.0 / 255.0), np.uint8)


def labelled_picture(panel: Panel) -> npt.NDArray[np.uint8]:
    """(H, W, 4) uint8 sRGB, straight alpha, row 0 on top.

    A panel with `generated_by` has an opaque strip "AI · <generated_by>" along its lower edge,
    over its own picture, so that what is generated always says so; a panel of _LARGE_M and more,
    before which somebody may stand, along its upper edge, too.
    """
    if panel.generated_by is None:
        return panel.rgba
    return _with_label(panel, f"AI · {' '.join(panel.generated_by.split())}")


def panel_matrix(panel: Panel) -> npt.NDArray[np.float64]:
    """(4, 4) float64: the unit square (-0.5..0.5, z = 0) to the world, metres."""
    scale = np.diag([panel.size_m[0], panel.size_m[1], 1.0, 1.0])
    return panel.anchor_from_panel.matrix() @ scale


def back_to_front(panels: Sequence[Panel], view: View) -> list[Panel]:
    """The order that blends correctly: farthest from the eye first, equals in the given order."""
    eye = view.world_from_eye.xyz
    return sorted(panels, key=lambda p: -float(np.linalg.norm(p.anchor_from_panel.xyz - eye)))


def _with_label(panel: Panel, text: str) -> npt.NDArray[np.uint8]:
    """The panel's picture, enlarged until a label is legible, with the strip at its lower edge."""
    aspect = panel.size_m[1] / panel.size_m[0]
    width = max(panel.rgba.shape[1], _SMALLEST_WIDTH_PX)
    height = max(panel.rgba.shape[0], round(width * aspect), 1)
    picture = np.array(panel.rgba)
    if (height, width) != picture.shape[:2]:
        picture = np.asarray(cv2.resize(picture, (width, height)), np.uint8)
    # As tall as its text needs on the panel's shape, at most half of a very flat panel.
    strip = min(max(round(_LABEL_HEIGHT_PX * width / _SMALLEST_WIDTH_PX), 1), (height + 1) // 2)
    ground = _label(text, strip, width)
    picture[height - strip :] = ground
    if panel.size_m[1] >= _LARGE_M:
        picture[:strip] = ground
    return picture


@functools.lru_cache(maxsize=32)
def _label(text: str, height: int, width: int) -> npt.NDArray[np.uint8]:
    """(height, width, 4) uint8, opaque: the words on their ground. Remembered, read-only."""
    line = text_line(text, height, width, _LABEL_INK)
    ground = np.empty((height, width, 4), np.uint8)
    ground[:] = _LABEL_GROUND
    share = line[..., 3:].astype(np.float32) / 255.0
    ground[..., :3] = np.rint(line[..., :3] * share + ground[..., :3] * (1 - share))
    ground.flags.writeable = False
    return ground
