"""The timeline's bar at the lower edge of a window, as a picture; and where a click on it lies."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from apps.timeline import Timeline

HEIGHT = 44
"""Pixels."""
MARGIN = 16
TRACK_TOP, TRACK_HEIGHT = 12, 6
GROUND, TRACK, PAST = (12, 13, 16, 190), (90, 96, 106, 255), (96, 165, 250, 255)
KEYS = "space  , .  a b l  [ ]  home end"
WIDE = 560
"""Pixels from which on there is room for KEYS."""
FAINT = (150, 156, 166, 255)
LOOP, HEAD, INK = (250, 204, 21, 255), (255, 255, 255, 255), (232, 236, 242, 255)


def bar_picture(timeline: Timeline, width: int) -> npt.NDArray[np.uint8]:
    """(HEIGHT, width, 4) uint8 sRGB, straight alpha."""
    picture = Image.new("RGBA", (width, HEIGHT), GROUND)
    pen = ImageDraw.Draw(picture)
    left, right = MARGIN, max(width - MARGIN, MARGIN + 1)
    top, bottom = TRACK_TOP, TRACK_TOP + TRACK_HEIGHT

    def across(share: float) -> float:
        return left + share * (right - left)

    pen.rounded_rectangle((left, top, right, bottom), 3, TRACK)
    here = across(timeline.share)
    pen.rounded_rectangle((left, top, max(here, left + 1), bottom), 3, PAST)
    if timeline.a_ns is not None or timeline.b_ns is not None:
        first, last = timeline.times[0], timeline.times[-1]
        a = across(timeline.share_of(timeline.a_ns if timeline.a_ns is not None else first))
        b = across(timeline.share_of(timeline.b_ns if timeline.b_ns is not None else last))
        pen.rectangle((a, bottom + 2, max(b, a + 1), bottom + 4), LOOP)
        font = ImageFont.load_default(11)
        for place, name, marked in ((a, "A", timeline.a_ns), (b, "B", timeline.b_ns)):
            if marked is not None:
                pen.line((place, top - 4, place, bottom + 4), LOOP, 2)
                pen.text((place, 1), name, LOOP, font, anchor="mt")
    middle = (top + bottom) / 2
    pen.ellipse((here - 6, middle - 6, here + 6, middle + 6), HEAD)
    font = ImageFont.load_default(13)
    pen.text((left, bottom + 9), timeline.line(), INK, font)
    if width >= WIDE:
        pen.text((right, bottom + 9), KEYS, FAINT, font, anchor="ra")
    return np.asarray(picture)


def share_at(x: float, width: int) -> float:
    """How far along the timeline a point lies that is `x` (0 to 1) across a window of `width`
    pixels; 0 to 1."""
    return float(np.clip((x * width - MARGIN) / max(width - 2 * MARGIN, 1), 0.0, 1.0))


def is_on_bar(y: float, height: int) -> bool:
    """Whether a point `y` (0 to 1) down a window of `height` pixels is on the bar."""
    return y * height >= height - HEIGHT
