"""Lids and lips that close fully when the person's do.

The blend shapes are learned from whole faces and stop short: eyeBlink ends at 0.65 to 0.9 when an
eye shuts, and jawOpen leaves a slit while lips meet for an "m". The landmarks of the rims know
better: over shut eyes and met lips they lie on each other. So how far they are apart, on the
face's own scale (the head frame's metres are those of an average face), completes the shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.face_shapes import SHAPE_INDEX

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

UPPER_LIDS = ((385, 386, 387), (158, 159, 160))
"""Landmarks of the upper lid's rim over the pupil, left eye first."""
LOWER_LIDS = ((380, 374, 373), (144, 145, 153))
UPPER_LIP, LOWER_LIP = 13, 14
"""Middle of the inner rim."""

SHUT, LIDS_APART = 0.0003, 0.0024
"""Metres between the rims of the lids at which an eye is shut, and from which on eyeBlink is
believed as it is: chosen on 92 eyes of nine real videos, judged by eye (docs/face_details.md)."""
MET, LIPS_APART = 0.0007, 0.0020
"""Likewise of the lips, from the same videos: closed lips have -0.0005 to 0.0006."""
USUAL_LIDS = 0.0090
"""Metres between open lids, for which these are made: a person's own, where known, scales them."""

_BLINK = [SHAPE_INDEX["eyeBlinkLeft"], SHAPE_INDEX["eyeBlinkRight"]]
_WIDE = [SHAPE_INDEX["eyeWideLeft"], SHAPE_INDEX["eyeWideRight"]]
_JAW_OPEN, _MOUTH_CLOSE = SHAPE_INDEX["jawOpen"], SHAPE_INDEX["mouthClose"]
_PART_LIPS = [
    SHAPE_INDEX[name]
    for name in (
        "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight",
        "mouthFunnel",
    )
]  # fmt: skip
"""Shapes that part the lips, whatever the jaw does."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """How far a face's rims are apart, metres; negative where landmarks of shut rims cross."""

    lids: tuple[float, float]
    """Upper over lower lid, left eye first."""
    lips: float

    @staticmethod
    def of(landmarks: npt.NDArray[np.floating]) -> Gaps:
        """Of (478, 3) metres, head frame."""
        height = np.asarray(landmarks, np.float64)[:, 1]
        lids = tuple(
            float(height[list(upper)].mean() - height[list(lower)].mean())
            for upper, lower in zip(UPPER_LIDS, LOWER_LIDS, strict=True)
        )
        return Gaps((lids[0], lids[1]), float(height[UPPER_LIP] - height[LOWER_LIP]))

    def against(self, calm: Gaps) -> Gaps:
        """The same as if the calm face, eyes open and lips together, were the usual one."""
        left, right = (
            gap * USUAL_LIDS / max(open_gap, 0.3 * USUAL_LIDS)
            for gap, open_gap in zip(self.lids, calm.lids, strict=True)
        )
        return Gaps((left, right), self.lips - calm.lips)


def lids_shut(gaps: Gaps) -> Array:
    """(2,) float64, 1 for a shut eye to 0, left first."""
    return np.array([1.0 - smooth_step(gap, SHUT, LIDS_APART) for gap in gaps.lids])


def lips_met(gaps: Gaps) -> float:
    """1 while lips touch, to 0."""
    return 1.0 - smooth_step(gaps.lips, MET, LIPS_APART)


def closed_shapes(blendshapes: npt.NDArray[np.floating], gaps: Gaps) -> Float32:
    """(52,) 0..1 with lids and lips as near to shut as the landmarks say.

    eyeBlink only grows. Lips that meet over an open jaw are mouthClose at jawOpen's weight (what
    ARKit defines mouthClose by), and what parts lips gives way.
    """
    shapes = np.array(blendshapes, np.float64)
    shut = lids_shut(gaps)
    shapes[_BLINK] += (1.0 - shapes[_BLINK]) * shut
    shapes[_WIDE] *= 1.0 - shut
    met = lips_met(gaps)
    shapes[_PART_LIPS] *= 1.0 - met
    wanted = max(shapes[_MOUTH_CLOSE], shapes[_JAW_OPEN])
    shapes[_MOUTH_CLOSE] += (wanted - shapes[_MOUTH_CLOSE]) * met
    return np.clip(shapes, 0.0, 1.0).astype(np.float32)


def smooth_step(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, without a corner between them."""
    x = min(max((value - low) / (high - low), 0.0), 1.0)
    return x * x * (3.0 - 2.0 * x)
