"""Frames of films for `benchmarks.tracking`: real ones where they are at hand, else the shipped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from tracking.engine import Picture

STAGE = (1280, 720)
"""Of `side_by_side`."""


def frames(film: Path, count: int, first: int = 0) -> list[Picture]:
    """(H, W, 3) uint8 sRGB each; fewer than `count` when the film ends."""
    with av.open(str(film)) as container:
        decoded = islice(container.decode(video=0), first, first + count)
        return [np.ascontiguousarray(f.to_ndarray(format="rgb24"), np.uint8) for f in decoded]


def side_by_side(face: Sequence[Picture], hand: Sequence[Picture]) -> list[Picture]:
    """1280 x 720: a real face in the middle, a real hand on one side and its mirror image on the
    other. No real film of a person with both hands up is at hand."""
    return [_staged(a, b) for a, b in zip(face, hand, strict=False)]


def to_and_fro(film: Sequence[Picture]) -> Iterator[Picture]:
    """Without end and without a cut."""
    if not film:
        raise ValueError("to_and_fro: expected frames, got none")
    while True:
        yield from film
        yield from reversed(film[1:-1])


def _staged(face: Picture, hand: Picture) -> Picture:
    width, height = STAGE
    stage = np.zeros((height, width, 3), np.uint8)
    side = round(hand.shape[1] * height / hand.shape[0])
    beside = cv2.resize(hand, (side, height), interpolation=cv2.INTER_AREA)
    stage[:, :side], stage[:, width - side :] = beside, beside[:, ::-1]
    room = width - 2 * side
    scale = min(room / face.shape[1], height / face.shape[0])
    size = round(face.shape[1] * scale), round(face.shape[0] * scale)
    middle = cv2.resize(face, size, interpolation=cv2.INTER_AREA)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    stage[top : top + size[1], left : left + size[0]] = middle
    return stage
