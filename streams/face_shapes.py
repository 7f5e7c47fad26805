"""ARKit's 52 facial blend shapes, in the order of Apple's ARFaceAnchor.BlendShapeLocation list."""

from __future__ import annotations

import numpy as np

FACE_SHAPES: tuple[str, ...] = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft",
    "eyeSquintLeft", "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight",
    "eyeLookOutRight", "eyeLookUpRight", "eyeSquintRight", "eyeWideRight", "jawForward",
    "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft",
    "mouthRight", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft",
    "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft",
    "mouthUpperUpRight", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft",
    "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft",
    "noseSneerRight", "tongueOut",
)  # fmt: skip

SHAPE_INDEX: dict[str, int] = {name: i for i, name in enumerate(FACE_SHAPES)}

UNTRACKED_SHAPES = ("tongueOut",)
"""Shapes that no camera tracker of Visavis sees: MediaPipe's networks tell nothing usable of them
(docs/face_details.md). They are 0 in what is tracked, and mean "not available"."""


def _mirrored_name(name: str) -> str:
    if name.endswith("Left"):
        return name[:-4] + "Right"
    if name.endswith("Right"):
        return name[:-5] + "Left"
    return name


MIRRORED_SHAPES = np.array([SHAPE_INDEX[_mirrored_name(name)] for name in FACE_SHAPES])
"""(52,) int: `weights[MIRRORED_SHAPES]` are the weights of the mirrored face.

jawLeft/jawRight and mouthLeft/mouthRight swap like the paired shapes do.
"""
