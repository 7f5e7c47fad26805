"""A headset's sample in less than 700 bytes (docs/wire_format.md, "Sample").

Positions are in steps of 10 micrometres: of head, eyes and wrists 32 bits in the world, of a hand's
other joints 16 bits from its wrist. A rotation is the three smaller components of its quaternion
and which one is left out. What is read is within `POSITION_ERROR_M` and `ROTATION_ERROR` of what
was written.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headset.webxr.messages import (
    Message,
    MessageError,
    MessageKind,
    Section,
    SectionKind,
    unpack_exactly,
)
from streams.headset_sample import HeadsetSample
from streams.rigid import Rigid
from streams.view import EYES, View

Float32 = npt.NDArray[np.float32]

STEP_M = 1e-5
POSITION_ERROR_M = 0.51 * STEP_M
"""A coordinate, besides what float32 rounds: 0.2 micrometres three metres away."""
ROTATION_ERROR = 1e-4
"""Radians."""
FOV_ERROR = 2.5e-5
"""Radians."""
HEAD = struct.Struct("<3i3hH")
WRIST = struct.Struct("<3i")
JOINTS = np.dtype("<i2")
HAND_BYTES = WRIST.size + 2 * 3 * 24
VIEW = struct.Struct("<BBHHH3i3h4h")
COMPONENT = 32767.0 * np.sqrt(2.0)
"""The three smaller components of a unit quaternion are within 1 / sqrt(2)."""
ANGLE = 32767.0 / (np.pi / 2.0)
EYE_FROM_VIEW = Rigid(np.array([0.0, 1.0, 0.0, 0.0]))
"""Half a turn about x: WebXR looks along -z with y up, our eyes along z with y down."""


@dataclass(frozen=True, slots=True, eq=False)
class DeviceSample:
    """A sample by the headset's own clock: what `HeadsetSample` becomes of once it is mapped."""

    device_ns: int
    world_from_head: Rigid
    left: Float32 | None = None
    """(25, 3) float32 metres, world frame, XRHand's order."""
    right: Float32 | None = None
    views: tuple[View, ...] = ()

    def at(self, t_ns: int) -> HeadsetSample:
        """The same by the host's clock, which shows `t_ns` then."""
        shift = t_ns - self.device_ns
        views = tuple(
            View(v.t_ns + shift, v.eye, v.world_from_eye, v.fov, v.size) for v in self.views
        )
        return HeadsetSample(
            t_ns, self.world_from_head, self.left, self.right, views, self.device_ns
        )


def pack_sample(sample: DeviceSample) -> Message:
    """Raises ValueError for what is more than 21 km away, or hands larger than 0.32 m."""
    head = sample.world_from_head
    largest, small = _small_three(head)
    parts = [Section(SectionKind.HEAD, HEAD.pack(*_steps(head.xyz), *small, largest))]
    hands = ((SectionKind.LEFT_HAND, sample.left), (SectionKind.RIGHT_HAND, sample.right))
    parts += [Section(kind, _pack_hand(hand)) for kind, hand in hands if hand is not None]
    parts += [Section(SectionKind.VIEW, pack_view(view)) for view in sample.views]
    return Message(MessageKind.SAMPLE, tuple(parts), t_ns=sample.device_ns)


def parse_sample(message: Message) -> DeviceSample:
    """Raises MessageError for what is no sample."""
    *rest, largest = unpack_exactly("sample", HEAD, message.need(SectionKind.HEAD).data)
    numbers = np.array(rest, np.float64)
    head = _rigid("sample", numbers[:3], numbers[3:], largest)
    left, right = (
        _parse_hand(part.data) if part is not None else None
        for part in map(message.find, (SectionKind.LEFT_HAND, SectionKind.RIGHT_HAND))
    )
    views = tuple(
        parse_view(part.data, message.t_ns)
        for part in message.sections
        if part.kind == SectionKind.VIEW
    )
    if len(views) > len(EYES):
        raise MessageError(f"sample: expected at most {len(EYES)} views, got {len(views)}")
    return DeviceSample(message.t_ns, head, left, right, views)


def pack_view(view: View) -> bytes:
    """An eye's place (in WebXR's axes), field of view and size."""
    place = view.world_from_eye @ EYE_FROM_VIEW
    largest, small = _small_three(place)
    angles = np.rint(view.fov * ANGLE).astype(int).tolist()
    return VIEW.pack(
        EYES.index(view.eye), largest, *view.size, 0, *_steps(place.xyz), *small, *angles
    )


def parse_view(data: bytes, t_ns: int) -> View:
    """Raises MessageError."""
    eye, largest, width, height, reserved, *rest = unpack_exactly("view", VIEW, data)
    if eye >= len(EYES) or reserved:
        raise MessageError(f"view: expected eye 0, 1 or 2, got {eye}")
    numbers = np.array(rest, np.float64)
    place = _rigid("view", numbers[:3], numbers[3:6], largest)
    try:
        return View(
            t_ns, EYES[eye], place @ EYE_FROM_VIEW.inverse(), numbers[6:] / ANGLE, (width, height)
        )
    except ValueError as error:
        raise MessageError(f"view: {error}") from None


def _steps(xyz: npt.NDArray[np.floating]) -> list[int]:
    steps = np.rint(np.asarray(xyz, np.float64) / STEP_M)
    if not np.abs(steps).max() < 2**31:
        raise ValueError("sample: expected positions within 21 km")
    return steps.astype(np.int64).tolist()


def _small_three(place: Rigid) -> tuple[int, list[int]]:
    """Index of the largest component, and the others made so that it is positive, in steps."""
    wxyz = place.wxyz
    largest = int(np.abs(wxyz).argmax())
    small = np.delete(wxyz if wxyz[largest] >= 0 else -wxyz, largest)
    return largest, np.rint(small * COMPONENT).astype(int).tolist()


def _rigid(
    name: str, steps: npt.NDArray[np.float64], small: npt.NDArray[np.float64], largest: int
) -> Rigid:
    three = small / COMPONENT
    left = 1.0 - three @ three
    if not (largest < 4 and left > 0.0):
        raise MessageError(f"{name}: expected a rotation")
    wxyz = np.insert(three, largest, np.sqrt(left))
    return Rigid(wxyz / np.linalg.norm(wxyz), steps * STEP_M)


def _pack_hand(joints: Float32) -> bytes:
    steps = np.rint(joints.astype(np.float64) / STEP_M)
    others = steps[1:] - steps[0]
    if not (np.abs(steps[0]).max() < 2**31 and np.abs(others).max() <= 32767):
        raise ValueError("sample: expected joints within 0.32 m of their wrist")
    return WRIST.pack(*steps[0].astype(np.int64).tolist()) + others.astype(JOINTS).tobytes()


def _parse_hand(data: bytes) -> Float32:
    if len(data) != HAND_BYTES:
        raise MessageError(f"hand: expected {HAND_BYTES} bytes, got {len(data)}")
    wrist = np.array(WRIST.unpack_from(data), np.float64)
    others = np.frombuffer(data, JOINTS, offset=WRIST.size).reshape(24, 3)
    return (np.vstack([wrist, wrist + others]) * STEP_M).astype(np.float32)
