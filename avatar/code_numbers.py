"""An avatar's code as a row of integers, for the bitstream.

Every number has a unit and weighs what one unit of error costs in the picture, as a squared error
in code values. Equal cost for all is what quantisation aims at (reverse water-filling; Cover and
Thomas 2006, section 10.3.3), so a number's step is inverse to the root of its weight.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from avatar.eye_balls import STRAIGHT, gaze_angles, gaze_from_angles
from avatar.hand_rig import HandRig
from streams.avatar_code import AvatarCode
from streams.hand_skeleton import HandParts, HandShape
from streams.rigid import Rigid
from streams.tracked_state import SIDES, HandPose

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
Expected = Callable[[Rigid, Float32, Float32], Float32]

FINE = 1 << 14
"""Integers a unit."""
LARGEST = 1 << 24
"""Integers beyond are held at it."""
GROUPS = ("face", "left", "right", "appearance")
"""In the order of a packet: what the appearance is beyond needs the face."""
FORMAT = 2
"""Of the packets; both ends must have the same."""
FINEST = 0.125
"""Step at quality 0 of a number whose unit costs one squared code value, in units."""
POSE, GAZE = 7, 4
ANGLES, SIDEWAYS = 20, 10
HAND = POSE + ANGLES + SIDEWAYS + 1
SHAPE = 30
FACE_PLACE_MM2, HAND_PLACE_MM2 = (60.0, 60.0, 12.0), (60.0, 60.0, 20.0)
"""Squared code values that a square millimetre of a misplaced face or hand costs along x, y, z.
Measured on pictures of three people's avatars and of a hand: 34 to 76 across the view, 3 to 5 (10
for the hand) along it; more here because who looks from aside sees that too."""
FACE_TURN, HAND_TURN = 500.0, 2000.0
"""The same for 0.1 rad squared: of a face measured 160 to 390 for nodding and shaking, 550 to 1750
for tilting; of a hand 700 to 4100."""
FINGER_TURN, SIZE_MM2 = 50.0, 20.0
"""Of a finger's joint (measured 16 to 110, base to tip), and of a square millimetre of a bone."""
TURN, PLACE, ANGLE = 0.05, 0.010, 0.1
"""One unit of a quaternion's number (0.1 rad), of a place in metres, of an angle in radians."""
GAZE_WEIGHT = 14.0
"""Of 0.1 rad squared. In the picture it measured 0.5 (behind glasses) to 8 for each angle of each
eye; people see where another looks to a degree, which a picture's error does not tell."""


class CodedAvatar(Protocol):
    """What the bitstream needs of an avatar."""

    id: str

    def weights(self) -> tuple[Float32, Float32]:
        """(P,) and (A,): squared error, in code values, of one unit of each number."""
        ...

    def expected(self, pose: Rigid, geometry: Float32, gaze: Float32) -> Float32:
        """(A,) appearance that `world_from_head`, geometry and gaze let expect."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Numbers that come and go together."""

    name: str
    step: Int64
    """(N,) integers a level at quality 0."""
    coarsest: Int64
    """(N,) the largest step at any quality."""
    spread: Int64
    """(N,) how far the numbers typically are from zero."""
    shift: Int64
    """(N,) how far they typically move between packets."""
    bands: tuple[int, ...]
    """Where runs of numbers begin that behave alike, and the end."""


def group_of(
    name: str, parts: list[tuple[int, float, float, float]], moving: float, bands: tuple[int, ...]
) -> Group:
    """`parts`: (count, weight, coarsest step in units, spread in units)."""
    counts = [part[0] for part in parts]
    weight = np.repeat([part[1] for part in parts], counts)
    step = np.maximum(1, np.rint(FINE * FINEST / np.sqrt(np.maximum(weight, 1e-6)))).astype(
        np.int64
    )
    coarsest = np.repeat([round(FINE * part[2]) for part in parts], counts).astype(np.int64)
    spread = np.repeat([round(FINE * part[3]) for part in parts], counts).astype(np.int64)
    shift = np.maximum(1, (spread * round(moving * 64)) // 64)
    return Group(name, np.minimum(step, coarsest), coarsest, spread, shift, bands)


class CodeNumbers:
    """The layout of one avatar's code and the way to integers and back."""

    def __init__(self, avatar: CodedAvatar) -> None:
        self.avatar = avatar
        geometry, appearance = avatar.weights()
        self.geometry, self.appearance = len(geometry), len(appearance)
        pose = [
            (4, FACE_TURN, 0.4, 4.0),
            *((1, 10.0**2 * weight, 0.3, 20.0) for weight in FACE_PLACE_MM2),
            (GAZE, GAZE_WEIGHT, 0.5, 1.5),
        ]
        numbers = [(1, float(weight), 4.0, 1.0) for weight in geometry]
        start = POSE + GAZE
        middle = start + self.geometry // 3
        face = group_of(
            "face", pose + numbers, 0.2, (0, POSE, start, middle, start + self.geometry)
        )
        each = [(1, float(weight), 8.0, 1.0) for weight in appearance]
        bands = (*range(0, self.appearance, 64), self.appearance)
        appearances = group_of("appearance", each, 0.3, bands)
        hand = [
            (4, HAND_TURN, 0.6, 10.0),
            *((1, 10.0**2 * weight, 0.4, 20.0) for weight in HAND_PLACE_MM2),
            (ANGLES, FINGER_TURN, 0.8, 5.0),
            (SIDEWAYS, FINGER_TURN, 0.8, 2.0),
            (1, 64.0, 0.125, 1.0),
            (SHAPE, 10.0**2 * SIZE_MM2, 0.2, 0.5),
        ]
        hands = [group_of(side, hand, 0.1, (0, POSE, HAND, HAND + SHAPE)) for side in SIDES]
        self.groups = {group.name: group for group in (face, *hands, appearances)}
        ends = np.cumsum([0, *(len(self.groups[name].step) for name in GROUPS)]).tolist()
        self.spans = {name: slice(ends[k], ends[k + 1]) for k, name in enumerate(GROUPS)}
        """Where each group is in a row of all numbers."""
        self.starts = np.array(ends[:-1])
        """(GROUPS,) where each of them begins."""
        self.size: int = ends[-1]
        # Integers a metre, radian, ... of each number of a face and of a hand.
        self.face_scale = _scale((4, TURN), (3, PLACE), (GAZE, ANGLE), (self.geometry, 1.0))
        self.hand_scale = _scale(
            (4, TURN), (3, PLACE), (ANGLES + SIDEWAYS, ANGLE), (1, 1.0), (SHAPE, PLACE)
        )
        fixed = [self.groups[name].step for name in GROUPS]
        fixed.append(_whole(usual_sizes(*SIDES) * (FINE / PLACE)))
        layout = b"".join(numbers.astype("<i8").tobytes() for numbers in fixed)
        self.check = zlib.crc32(bytes([FORMAT]) + avatar.id.encode() + layout)
        """What both ends must have in common."""

    def face(self, code: AvatarCode) -> Int64 | None:
        """(7 + 4 + P,) or None without a face."""
        pose = code.world_from_head
        if pose is None:
            return None
        row = np.empty(len(self.face_scale))
        row[:4], row[4:POSE] = pose.wxyz, pose.xyz
        row[POSE : POSE + GAZE] = gaze_angles(code.gaze).ravel()
        row[POSE + GAZE :] = code.geometry
        return _whole(row * self.face_scale)

    def face_of(self, numbers: Int64) -> tuple[Rigid, Float32, Float32]:
        """`world_from_head`, gaze (2, 3), geometry (P,)."""
        row = numbers / self.face_scale
        angles = np.minimum(np.maximum(row[POSE : POSE + GAZE], -1.5), 1.5)
        gaze = gaze_from_angles(angles.reshape(2, 2))
        return _pose_of(row), gaze, row[POSE + GAZE :].astype(np.float32)

    def told(self, code: AvatarCode, face: Int64) -> Int64:
        """(A,): what the appearance has beyond that which the receiver, who has `face`, expects."""
        pose, gaze, geometry = self.face_of(face)
        return integers(code.appearance - self.avatar.expected(pose, geometry, gaze))

    def unexpected(self, code: AvatarCode) -> Int64:
        """(A,): size of what the appearance has beyond that which the code's own face tells."""
        pose = code.world_from_head
        if pose is None:
            return np.zeros(self.appearance, np.int64)
        expected = self.avatar.expected(pose, code.geometry, code.gaze)
        return np.abs(integers(code.appearance - expected))

    def code_of(self, row: Int64, shown: tuple[bool, ...], t_ns: int, origin: str) -> AvatarCode:
        """Of a row of all numbers; `shown` tells which of GROUPS are in it."""
        seen = dict(zip(GROUPS, shown, strict=True))
        pose, gaze = None, STRAIGHT
        if seen["face"]:
            pose, gaze, geometry = self.face_of(row[self.spans["face"]])
            appearance = self.avatar.expected(pose, geometry, gaze)
            if seen["appearance"]:
                told = row[self.spans["appearance"]].astype(np.float32)
                appearance = np.add(appearance, told / np.float32(FINE), dtype=np.float32)
        else:
            geometry = np.zeros(self.geometry, np.float32)
            appearance = np.zeros(self.appearance, np.float32)
        hands = self.hands_of(row, tuple(side for side in SIDES if seen[side]))
        return AvatarCode(t_ns, self.avatar.id, geometry, appearance, gaze, pose, hands, origin)

    def hands(self, hands: tuple[HandPose, ...]) -> dict[str, Int64]:
        """(7 + 20 + 10 + 1 + 30,) of each side that is there."""
        if not hands:
            return {}
        sides = tuple(hand.side for hand in hands)
        rows = np.empty((len(hands), len(self.hand_scale)))
        turns = np.empty((len(hands), 3, 3))
        local = np.empty((len(hands), 21, 3))
        for k, hand in enumerate(hands):
            row, pose = rows[k], hand.world_from_wrist
            row[:4], row[4:POSE] = pose.wxyz, pose.xyz
            row[POSE : POSE + ANGLES], row[HAND - 1] = hand.angles.ravel(), hand.confidence
            turns[k], local[k] = pose.rotation(), hand.joints
        local -= rows[:, None, 4:POSE]
        angles = rows[:, POSE : POSE + ANGLES]
        parts = HandParts.of(local @ turns, sides, angles)
        rows[:, POSE + ANGLES : HAND - 1] = parts.sideways.reshape(len(hands), -1)
        rows[:, HAND : HAND + 15] = parts.bases.reshape(len(hands), -1)
        rows[:, HAND + 15 :] = parts.bones.reshape(len(hands), -1)
        rows[:, HAND:] -= usual_sizes(*sides)
        return dict(zip(sides, _whole(rows * self.hand_scale), strict=True))

    def hands_of(self, row: Int64, sides: tuple[str, ...]) -> tuple[HandPose, ...]:
        """The inverse of `hands`, for a row of all numbers."""
        if not sides:
            return ()
        rows = np.array([row[self.spans[side]] for side in sides]) / self.hand_scale
        sizes = rows[:, HAND:] + usual_sizes(*sides)
        angles = rows[:, POSE : POSE + ANGLES].reshape(-1, 5, 4)
        parts = HandParts(
            sides,
            bases=sizes[:, :15].reshape(-1, 5, 3),
            bones=np.maximum(sizes[:, 15:], 1e-3).reshape(-1, 5, 3),
            angles=angles,
            sideways=rows[:, POSE + ANGLES : HAND - 1].reshape(-1, 5, 2),
        )
        poses = [_pose_of(hand) for hand in rows]
        turns = np.array([pose.rotation() for pose in poses])
        joints = parts.joints() @ turns.transpose(0, 2, 1) + rows[:, None, 4:POSE]
        joints, bent = joints.astype(np.float32), angles.astype(np.float32)
        sure = np.minimum(np.maximum(rows[:, HAND - 1], 0.0), 1.0).tolist()
        return tuple(map(HandPose, sides, joints, poses, bent, sure))


@cache
def usual_sizes(*sides: str) -> npt.NDArray[np.float64]:
    """(sides, 30) metres: base joints and bones of the hands that ship, from which others differ by
    millimetres."""
    rest = HandRig.open().rest_joints
    shapes = [HandShape.of(rest(side), side) for side in sides]
    return np.stack([np.concatenate([s.bases.ravel(), s.bones.ravel()]) for s in shapes])


def integers(units: npt.NDArray[np.floating]) -> Int64:
    """To whole FINE parts."""
    return _whole(units * np.float64(FINE))


def turned_like(numbers: Int64, before: Int64) -> Int64:
    """The first four are a quaternion: the one of its two signs that is nearer to `before`."""
    if numbers[:4].dot(before[:4]) < 0:
        numbers = numbers.copy()
        numbers[:4] *= -1
    return numbers


def _whole(parts: npt.NDArray[np.float64]) -> Int64:
    """Rounded and held in place, because these are many small arrays a packet."""
    np.rint(parts, out=parts)
    np.maximum(parts, -LARGEST, out=parts)
    return np.minimum(parts, LARGEST, out=parts).astype(np.int64)


def _scale(*parts: tuple[int, float]) -> npt.NDArray[np.float64]:
    """Integers a metre, radian, ...: (count, size of a unit) each."""
    return np.repeat([FINE / unit for _, unit in parts], [count for count, _ in parts])


def _pose_of(row: npt.NDArray[np.float64]) -> Rigid:
    wxyz = row[:4]
    length = math.sqrt(wxyz.dot(wxyz))
    if length < 0.01:  # hostile or lost: no rotation can be meant
        wxyz, length = np.array([1.0, 0.0, 0.0, 0.0]), 1.0
    return Rigid(wxyz / length, row[4:POSE].copy())
