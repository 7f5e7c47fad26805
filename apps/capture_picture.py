"""The picture that a guided capture shows: the camera as a mirror, the request, the meter."""

from __future__ import annotations

import functools
import textwrap

import cv2
import numpy as np
import numpy.typing as npt

from avatar.enrolment.coverage import SHOWINGS, Coverage
from avatar.enrolment.guide import GuideStep
from render.text_picture import text_block
from streams.frame import Frame

UInt8 = npt.NDArray[np.uint8]

WIDTH = 960
"""Of the whole picture, of which the meter takes METER."""
METER = 260
INK, HINT = (236, 240, 245), (255, 196, 90)
DONE, OPEN, GROUND = (88, 200, 120), (74, 80, 90), (12, 13, 16)
TITLES = {"head": "Head", "eyes": "Eyes", "brows": "Brows", "mouth": "Mouth"}
NAMES = {
    "front": "at rest", "turn_left": "left", "turn_right": "right", "nod_up": "up",
    "nod_down": "down", "tilt_left": "lean left", "tilt_right": "lean right",
    "look_left": "left", "look_right": "right", "look_up": "up", "look_down": "down",
    "eyes_closed": "closed", "blinks": "blinks", "brows_up": "raised", "brows_down": "frown",
    "mouth_wide": "wide open", "smile": "smile", "pucker": "pursed", "press": "pressed",
    "speech": "talking",
}  # fmt: skip
"""Of the showings, under their group's title."""


def capture_picture(frame: Frame, step: GuideStep, coverage: Coverage) -> UInt8:
    """(height, WIDTH, 3) uint8 sRGB."""
    seen = mirrored_view(frame, WIDTH - METER)
    height = max(seen.shape[0], 560)
    canvas = np.full((height, WIDTH, 3), GROUND, np.uint8)
    canvas[: seen.shape[0], : seen.shape[1]] = seen
    shares = tuple(int(50 * coverage.share(one.key)) / 50 for one in SHOWINGS)
    canvas[:, WIDTH - METER :] = _meter(height, shares, int(100 * coverage.total()))
    _request(canvas[:, : WIDTH - METER], step)
    return canvas


def mirrored_view(frame: Frame, width: int) -> UInt8:
    """The camera's picture as a mirror would show it, `width` pixels wide: who moves left sees
    themselves move left."""
    height = max(1, round(frame.rgb.shape[0] * width / frame.rgb.shape[1]))
    shrinks = width < frame.rgb.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(frame.rgb, (width, height), interpolation=way), np.uint8)
    return small if frame.mirrored else small[:, ::-1]


def _request(canvas: UInt8, step: GuideStep) -> None:
    width = canvas.shape[1]
    text = "Good!" if step.fulfilled else step.text
    lines = textwrap.wrap(text, 52)
    size = 24
    while size > 15 and len(lines) * size > 90:
        size -= 3
        lines = textwrap.wrap(text, 52 * 24 // size)
    block = _words(tuple(lines), size, DONE if step.fulfilled else INK)
    top = canvas.shape[0] - block.shape[0] - 26
    _paste(canvas, block, ((width - block.shape[1]) // 2, top))
    left, right, y = 24, width - 24, canvas.shape[0] - 14
    cv2.rectangle(canvas, (left, y - 4), (right, y + 4), OPEN, -1)
    reach = left + round((right - left) * min(max(step.share, 0.0), 1.0))
    cv2.rectangle(canvas, (left, y - 4), (reach, y + 4), DONE, -1)
    if step.hint:
        block = _words(tuple(textwrap.wrap(step.hint, 56)), 20, HINT)
        _paste(canvas, block, ((width - block.shape[1]) // 2, 12))


@functools.lru_cache(maxsize=4)
def _meter(height: int, shares: tuple[float, ...], percent: int) -> UInt8:
    """(height, METER, 3), drawn anew only when a share has changed by a fiftieth."""
    canvas = np.full((height, METER, 3), GROUND, np.uint8)
    left, y = 16, 10
    step = max(14, (height - 40) // (len(SHOWINGS) + len(TITLES) + 2))
    _paste(canvas, _words((f"Covered: {percent} %",), min(20, step), INK), (left - 10, y))
    y += round(step * 1.7)
    for group, name in TITLES.items():
        _paste(canvas, _words((name,), min(15, step - 3), INK), (left - 10, y - 4))
        y += step
        for showing, share in zip(SHOWINGS, shares, strict=True):
            if showing.group != group:
                continue
            ink = DONE if share >= 1.0 else INK
            _paste(canvas, _words((NAMES[showing.key],), min(13, step - 4), ink), (left, y - 4))
            bar, middle = (left + 110, METER - 20), y + step // 2 - 2
            cv2.rectangle(canvas, (bar[0], middle - 3), (bar[1], middle + 3), OPEN, -1)
            if share > 0.0:
                reach = bar[0] + round((bar[1] - bar[0]) * share)
                cv2.rectangle(canvas, (bar[0], middle - 3), (reach, middle + 3), DONE, -1)
            y += step
    return canvas


@functools.lru_cache(maxsize=256)
def _words(lines: tuple[str, ...], size: int, ink: tuple[int, int, int]) -> UInt8:
    """Drawn once: most words stay the same for seconds."""
    return text_block(lines, size, ink)


def _paste(canvas: UInt8, rgba: UInt8, corner: tuple[int, int]) -> None:
    """Lay (h, w, 4) straight alpha over the canvas, cut to fit."""
    x, y = max(0, corner[0]), max(0, corner[1])
    part = canvas[y : y + rgba.shape[0], x : x + rgba.shape[1]]
    block = rgba[: part.shape[0], : part.shape[1]].astype(np.float32)
    share = block[..., 3:] / 255.0
    part[:] = np.rint(part * (1.0 - share) + block[..., :3] * share).astype(np.uint8)
