"""The picture that engines look at, and what they say of it in pixels of the camera's own."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from streams.frame import Frame
from tracking.engine import SMALLEST_SIDE, FaceMarks, HandMarks, Picture

LONGEST_SIDE = 2048
"""Pixels; larger pictures are shrunk before the engines, whose models see 256 pixels at most."""


def unmirrored(frame: Frame) -> Picture:
    """(H, W, 3) uint8: the frame's pixels as its camera saw them, contiguous."""
    return np.ascontiguousarray(frame.rgb[:, ::-1] if frame.mirrored else frame.rgb)


def engine_picture(frame: Frame) -> Picture:
    """The frame's pixels as an engine takes them: not mirrored, not huge, contiguous."""
    rgb = unmirrored(frame)
    height, width = rgb.shape[:2]
    longest = max(height, width)
    if longest > LONGEST_SIDE:
        size = (
            max(round(width * LONGEST_SIDE / longest), SMALLEST_SIDE),
            max(round(height * LONGEST_SIDE / longest), SMALLEST_SIDE),
        )
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    return rgb


def enlarged_face(marks: FaceMarks, scale: tuple[float, float]) -> FaceMarks:
    """Pixels of a shrunk picture -> pixels of the whole one."""
    if scale == (1.0, 1.0):
        return marks
    to = np.array([scale[0], scale[1], scale[0]], np.float32)
    half = np.array([0.5, 0.5, 0.0], np.float32)
    return replace(marks, landmarks=(marks.landmarks + half) * to - half)


def enlarged_hand(marks: HandMarks, scale: tuple[float, float]) -> HandMarks:
    """Likewise."""
    if scale == (1.0, 1.0):
        return marks
    to, half = np.array(scale, np.float32), np.float32(0.5)
    return replace(marks, landmarks=(marks.landmarks + half) * to - half)
