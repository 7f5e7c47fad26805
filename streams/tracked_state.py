"""What tracking says of a person at one moment: face, gaze, hands."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.array_contract import (
    require_array,
    require_choice,
    require_finite,
    require_time,
    require_unit_interval,
)
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]

SIDES = ("left", "right")


@dataclass(frozen=True, slots=True, eq=False)
class HandPose:
    """One hand of the person. Wrist frame as in OpenXR: -z towards the fingers, +y out of the
    back of the hand, x to the right of someone who looks along -z with y up."""

    side: str
    """"left" or "right": the person's own."""
    joints: Float32
    """(21, 3) float32 metres, world frame, MediaPipe's order (0 wrist, 1-4 thumb, 5-8 index...)."""
    world_from_wrist: Rigid
    angles: Float32
    """(5, 4) float32 radians, thumb to little finger: spread at the base (positive away from the
    middle finger), then flexion at the three joints from base to tip (0 = straight)."""
    confidence: float
    """0..1."""

    def __post_init__(self) -> None:
        require_choice("HandPose.side", self.side, SIDES)
        joints = require_array("HandPose.joints", self.joints, np.float32, (21, 3))
        angles = require_array("HandPose.angles", self.angles, np.float32, (5, 4))
        require_finite("HandPose.joints", self.joints)
        require_finite("HandPose.angles", self.angles)
        object.__setattr__(self, "joints", joints)
        object.__setattr__(self, "angles", angles)
        require_unit_interval("HandPose.confidence", self.confidence)


@dataclass(frozen=True, slots=True)
class PartConfidence:
    """How far the parts of a face are to be believed, each 0..1: lower where a part is covered,
    blurred, out of the picture, or an eye shut."""

    left_gaze: float
    right_gaze: float
    """The person's own left and right eye."""
    mouth: float
    """The blend shapes of lips and jaw."""

    def __post_init__(self) -> None:
        require_unit_interval("PartConfidence.left_gaze", self.left_gaze)
        require_unit_interval("PartConfidence.right_gaze", self.right_gaze)
        require_unit_interval("PartConfidence.mouth", self.mouth)


@dataclass(frozen=True, slots=True, eq=False)
class FacePose:
    """Face and head of the person. Head frame: x to the face's left (the viewer's right), y up,
    z out of the face, so that a head that looks straight into a webcam has the world's axes; the
    origin is the middle between the eye balls' centres."""

    blendshapes: Float32
    """(52,) float32 0..1 in the order of `streams.face_shapes.FACE_SHAPES`. A camera does not see
    `streams.face_shapes.UNTRACKED_SHAPES`: those are 0, whatever the person does."""
    landmarks: Float32
    """(478, 3) float32 metres, head frame, MediaPipe's order (468-472 right iris, 473-477 left); of
    the size that `size` tells."""
    gaze: Float32
    """(2, 3) float32 unit vectors, head frame, the person's left eye first."""
    world_from_head: Rigid
    confidence: float
    """0..1."""
    parts: PartConfidence | None = None
    """None: nobody judged them (a headset, a recording of an earlier Visavis)."""
    size: float = 1.0
    """How many times as large, and as far, this head is as one camera takes it for, which guesses
    by an average head's size. Measured by several cameras; 1 by one."""

    def __post_init__(self) -> None:
        for name, shape in (("blendshapes", (52,)), ("landmarks", (478, 3)), ("gaze", (2, 3))):
            value = require_array(f"FacePose.{name}", getattr(self, name), np.float32, shape)
            require_finite(f"FacePose.{name}", value)
            object.__setattr__(self, name, value)
        require_unit_interval("FacePose.confidence", self.confidence)
        if self.blendshapes.min() < 0.0 or self.blendshapes.max() > 1.0:
            raise ValueError(
                "FacePose.blendshapes: expected numbers from 0 to 1, got "
                f"{self.blendshapes.min():.4g} to {self.blendshapes.max():.4g}"
            )
        require_unit_vectors("FacePose.gaze", self.gaze)
        if not (math.isfinite(self.size) and self.size > 0.0):
            raise ValueError(f"FacePose.size: expected a number above 0, got {self.size!r}")


@dataclass(frozen=True, slots=True, eq=False)
class TrackedState:
    """Everything tracked in one frame. What is not seen is absent, never a stale copy."""

    t_ns: int
    """Of the observation (mid-exposure), monotonic nanoseconds."""
    source: str
    """Which camera or headset this came from."""
    face: FacePose | None = None
    hands: tuple[HandPose, ...] = ()
    """At most one a side."""

    def __post_init__(self) -> None:
        require_time("TrackedState.t_ns", self.t_ns)
        require_one_hand_a_side("TrackedState.hands", self.hands)

    def hand(self, side: str) -> HandPose | None:
        """The hand of that side, or None when it is not seen."""
        require_choice("TrackedState.hand side", side, SIDES)
        return next((hand for hand in self.hands if hand.side == side), None)


def require_one_hand_a_side(where: str, hands: tuple[HandPose, ...]) -> None:
    """Raise ValueError when `hands` is no tuple or holds two hands of the same side."""
    if not isinstance(hands, tuple):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"{where}: expected a tuple of HandPose, got {type(hands).__name__}")
    sides = [hand.side for hand in hands]
    if len(set(sides)) != len(sides):
        raise ValueError(f"{where}: expected at most one hand a side, got {sides}")


def require_unit_vectors(where: str, vectors: Float32) -> None:
    """Raise ValueError unless every row of (N, 3) has length 1 within 1e-3."""
    for x, y, z in vectors.tolist():  # there are two
        norm = math.sqrt(x * x + y * y + z * z)
        if not abs(norm - 1.0) <= 1e-3:
            raise ValueError(f"{where}: expected unit vectors, got one of length {norm:.6g}")
