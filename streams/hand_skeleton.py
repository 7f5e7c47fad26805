"""One hand's skeleton in three layouts: MediaPipe's 21, OpenXR's 26 and WebXR's 25 joints.

The wrist frame is OpenXR's: origin at the wrist, -z towards the knuckle of the middle finger, +y
out of the back of the hand, x to the right of someone who looks along -z with y up. The thumb is
thus on the -x side of a right hand and on the +x side of a left one.

Each finger has a *base frame* in which its angles are counted. Forward continues the line from
the wrist to the finger's base joint. Up is the back of the hand; the thumb's is turned from there
by `THUMB_ROLL` towards the thumb's side, because its nail faces that way. A bone's direction is
first spread out of the finger's plane of bending, then flexed in it; the joints after the base
only flex. This order has no singularity in reach of a human hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_array, require_choice, require_finite
from streams.rigid import Rigid, wxyz_from_exact_rotations
from streams.tracked_state import SIDES

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]
Float32 = npt.NDArray[np.float32]

FINGERS = ("thumb", "index", "middle", "ring", "little")

FINGER_JOINTS = np.arange(1, 21).reshape(5, 4)
"""(5, 4) int: MediaPipe's joints of each finger from base to tip. The thumb's are CMC, MCP, IP,
tip; the others' MCP (knuckle), PIP, DIP, tip."""

PALM_JOINTS = np.array([0, 5, 9, 13, 17])
"""(5,) int: MediaPipe's joints that span the palm: the wrist and the four knuckles, which keep
their distances when fingers move."""

WEBXR_JOINTS: tuple[str, ...] = (
    "wrist",
    "thumb-metacarpal", "thumb-phalanx-proximal", "thumb-phalanx-distal", "thumb-tip",
    "index-finger-metacarpal", "index-finger-phalanx-proximal",
    "index-finger-phalanx-intermediate", "index-finger-phalanx-distal", "index-finger-tip",
    "middle-finger-metacarpal", "middle-finger-phalanx-proximal",
    "middle-finger-phalanx-intermediate", "middle-finger-phalanx-distal", "middle-finger-tip",
    "ring-finger-metacarpal", "ring-finger-phalanx-proximal",
    "ring-finger-phalanx-intermediate", "ring-finger-phalanx-distal", "ring-finger-tip",
    "pinky-finger-metacarpal", "pinky-finger-phalanx-proximal",
    "pinky-finger-phalanx-intermediate", "pinky-finger-phalanx-distal", "pinky-finger-tip",
)  # fmt: skip
"""XRHand's 25 joints in its order."""

OPENXR_JOINTS: tuple[str, ...] = ("palm", *WEBXR_JOINTS)
"""The 26 joints of XR_EXT_hand_tracking in its order (WebXR's names, palm first)."""

OPENXR_FROM_MEDIAPIPE = np.array(
    [1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 14, 15, 17, 18, 19, 20, 22, 23, 24, 25]
)
"""(21,) int: where each of MediaPipe's joints is among OpenXR's. The five others, the palm and the
near ends of the four metacarpal bones, MediaPipe does not see; they are placed by proportion."""

THUMB_ROLL = float(np.deg2rad(60.0))
"""How far the thumb's nail is turned from the back of the hand, radians."""

METACARPAL_BASE = np.array([0.6, 0.5, 0.36])
"""Where a metacarpal bone begins, as a part of its knuckle's x, y, z in the wrist frame: the bones
fan out from the carpus, closer together and about a third of the way."""

PALM_LENGTH = 0.095
"""Wrist to middle knuckle of the hand whose radii `OPENXR_RADII` are, metres."""

OPENXR_RADII = np.array(
    [0.020, 0.026,
     0.019, 0.0125, 0.0105, 0.0085,
     0.021, 0.0110, 0.0090, 0.0080, 0.0065,
     0.021, 0.0110, 0.0090, 0.0080, 0.0065,
     0.020, 0.0105, 0.0085, 0.0075, 0.0062,
     0.018, 0.0095, 0.0075, 0.0068, 0.0056]
)  # fmt: skip
"""(26,) float64 metres from joint to skin of an adult hand of `PALM_LENGTH`."""

_YZX, _ZXY = np.array([1, 2, 0]), np.array([2, 0, 1])
_METACARPALS = np.array([6, 11, 16, 21])
_FINGERS = OPENXR_FROM_MEDIAPIPE[FINGER_JOINTS]

# Positive spread leads away from the middle finger: towards the thumb's side for the first three
# (the middle finger's own sign is that of the index), to the other side for ring and little.
_SPREAD_SIGN_RIGHT = np.array([-1.0, -1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, slots=True, eq=False)
class HandShape:
    """What of a hand does not change when it moves."""

    side: str
    """"left" or "right": the person's own."""
    bases: Array
    """(5, 3) float64 metres, wrist frame: the thumb's CMC joint and the four knuckles."""
    bones: Array
    """(5, 3) float64 metres: lengths of each finger's bones from base to tip, thumb first."""

    def __post_init__(self) -> None:
        require_choice("HandShape.side", self.side, SIDES)
        for name in ("bases", "bones"):
            value = require_array(f"HandShape.{name}", getattr(self, name), np.float64, (5, 3))
            require_finite(f"HandShape.{name}", value)
            object.__setattr__(self, name, value)
        if not (self.bones > 0).all():
            raise ValueError(f"HandShape.bones: expected positive metres, got {self.bones.min()}")

    @staticmethod
    def of(joints: npt.ArrayLike, side: str) -> HandShape:
        """Measured on (21, 3) joints, metres, MediaPipe's order, any frame."""
        parts = HandParts.of(_in_wrist("HandShape.of", joints, side)[None], (side,))
        return HandShape(side, parts.bases[0], parts.bones[0])


@dataclass(frozen=True, slots=True, eq=False)
class HandParts:
    """All that the joints of H hands, each in its wrist frame, are made of. Several at once,
    because numpy takes as long for one."""

    sides: tuple[str, ...]
    bases: Array
    """(H, 5, 3) float64 metres, as `HandShape.bases`."""
    bones: Array
    """(H, 5, 3) float64 metres, as `HandShape.bones`."""
    angles: Array
    """(H, 5, 4) float64 radians, as `HandPose.angles`."""
    sideways: Array
    """(H, 5, 2) float64 radians, what these leave out: how far the second and the third bone of a
    finger lead out of the plane in which it bends, positive as the spread."""

    @staticmethod
    def of(joints: Array, sides: tuple[str, ...], angles: Array | None = None) -> HandParts:
        """Measured on (H, 21, 3) float64 joints, metres, MediaPipe's order, wrist frames; with the
        `angles` that the joints are known to have, which is quicker."""
        count = len(sides)
        if joints.shape != (count, 21, 3):
            raise ValueError(f"HandParts.of joints: expected ({count}, 21, 3), got {joints.shape}")
        require_finite("HandParts.of joints", joints)
        # All fingers of all hands in one row: the way to the base joint, then the bones.
        fingers = joints[:, 1:].reshape(-1, 4, 3)
        ways = fingers.copy()
        ways[:, 1:] -= fingers[:, :-1]
        lengths, sign = _length(ways), _spread_sign(*sides)
        ways /= np.maximum(lengths, 1e-12)[..., None]
        found = ways[:, 1:] @ _base_axes(ways[:, 0], *sides).transpose(0, 2, 1)
        beside, ahead = found[..., 0], _complex(found)[..., 1]
        base = np.empty((2, len(fingers)))
        if angles is None:
            np.arcsin(_held_to_one(beside[:, 0]), out=base[0])
            np.arctan2(found[:, 0, 3], found[:, 0, 2], out=base[1])
        else:
            known = angles.reshape(-1, 4)
            base[0], base[1] = known[:, 0] * sign, known[:, 1]
        # Only the base joint spreads: the other bones bend in the plane that it leads to.
        back = _unit_complex(-base)[..., None]
        unflexed = ahead[:, 1:] * back[1]
        unspread = np.empty_like(unflexed)
        unspread.real, unspread.imag = unflexed.real, beside[:, 1:]
        unspread *= back[0]
        if angles is None:
            turned = np.arctan2(unflexed.imag, unspread.real)
            last = turned[:, 1] - turned[:, 0]
            last -= 2.0 * np.pi * np.rint(last / (2.0 * np.pi))
            angles = np.stack([base[0] * sign, base[1], turned[:, 0], last], axis=-1)
        sideways = np.arcsin(_held_to_one(unspread.imag)) * sign[:, None]
        return HandParts(
            sides, fingers[:, 0].reshape(-1, 5, 3), lengths[:, 1:].reshape(-1, 5, 3),
            angles.reshape(-1, 5, 4), sideways.reshape(-1, 5, 2),
        )  # fmt: skip

    def joints(self) -> Array:
        """Forward kinematics: (H, 21, 3) float64 metres, wrist frames."""
        bases, angles = self.bases.reshape(-1, 3), self.angles.reshape(-1, 4)
        count, sign = len(bases), _spread_sign(*self.sides)
        # Angles of every bone in its finger's plane and out of it, then of the plane at the base.
        turns = np.zeros((count, 8))
        np.add.accumulate(angles[:, 2:], axis=1, out=turns[:, 1:3])
        turns[:, 4:6], turns[:, 6] = self.sideways.reshape(-1, 2), angles[:, 0]
        turns[:, 4:7] *= sign[:, None]
        turns[:, 7] = angles[:, 1]
        unit = _unit_complex(turns)
        bent = unit[:, 0:3] * unit.real[:, 3:6]
        level = np.empty_like(bent)
        level.real, level.imag = bent.real, unit.imag[:, 3:6]
        level *= unit[:, 6:7]
        found = np.zeros((count, 3, 4))
        found[..., 0], level.imag = level.imag, bent.imag
        np.multiply(level, unit[:, 7:8], out=_complex(found)[..., 1])
        directions = found @ _base_axes(_unit(bases), *self.sides)
        directions *= self.bones.reshape(-1, 3, 1)
        ways = np.empty((count, 4, 3))
        ways[:, 0], ways[:, 1:] = bases, directions
        joints = np.zeros((len(self.sides), 21, 3))
        fingers = joints[:, 1:].reshape(-1, 5, 4, 3)
        np.add.accumulate(ways.reshape(fingers.shape), axis=2, out=fingers)
        return joints

    def rotations(self) -> Array:
        """(H, 5, 3, 3, 3) float64 wrist_from_bone of each finger's bones from base to tip: -z along
        the bone, +y out of the back of the finger, x the hinge that it bends about."""
        bases, angles = self.bases.reshape(-1, 3), self.angles.reshape(-1, 4)
        sign = _spread_sign(*self.sides)
        right, up, forward = _base_frames(bases, *self.sides)
        right, up, forward = _spread_and_flex(right, up, forward, angles[:, 0] * sign, angles[:, 1])
        bones = [np.stack([right, up, -forward], axis=-1)]
        aside = self.sideways.reshape(-1, 2) * sign[:, None]
        for bone, turned in enumerate(np.cumsum(angles[:, 2:], axis=1).T):
            # Bent about the hinge, then led out of the plane: the other way round than the base.
            ct, st = np.cos(turned)[:, None], np.sin(turned)[:, None]
            ahead, above = ct * forward - st * up, st * forward + ct * up
            ca, sa = np.cos(aside[:, bone, None]), np.sin(aside[:, bone, None])
            out, hinge = sa * right + ca * ahead, ca * right - sa * ahead
            bones.append(np.stack([hinge, above, -out], axis=-1))
        return np.stack(bones, axis=1).reshape(-1, 5, 3, 3, 3)


@dataclass(frozen=True, slots=True, eq=False)
class OpenXRHand:
    """The joints of XR_EXT_hand_tracking, in its order (`OPENXR_JOINTS`)."""

    positions: Float32
    """(26, 3) float32 metres, in the frame that the 21 joints were given in."""
    wxyz: Float32
    """(26, 4) float32 unit quaternions, scalar first: -z along the bone to the tip, +y out of the
    back of the finger (a tip has its last bone's)."""
    radii: Float32
    """(26,) float32 metres from joint to skin."""

    def __post_init__(self) -> None:
        for name, shape in (("positions", (26, 3)), ("wxyz", (26, 4)), ("radii", (26,))):
            value = require_array(f"OpenXRHand.{name}", getattr(self, name), np.float32, shape)
            require_finite(f"OpenXRHand.{name}", value)
            object.__setattr__(self, name, value)


def wrist_frame(joints: npt.ArrayLike, side: str) -> Rigid:
    """`world_from_wrist` of (21, 3) joints, metres, world frame, MediaPipe's order.

    Raises ValueError when wrist and knuckles are on a line, which gives no back of the hand.
    """
    p = _joints("wrist_frame", joints, 21)
    require_choice("wrist_frame side", side, SIDES)
    z = p[0] - p[9]
    across = (p[17] - p[5]) * _right(side)
    length = float(np.linalg.norm(z))
    if length > 1e-6:
        z = z / length
        across = across - (across @ z) * z
    width = float(np.linalg.norm(across))
    if length <= 1e-6 or width <= 1e-3 * length:
        raise ValueError(
            "wrist_frame joints: expected a hand's wrist and knuckles, got points on a line"
        )
    x = across / width
    return Rigid.from_rotation(np.stack([x, _cross(z, x), z], axis=1), p[0])


def joint_angles(joints: npt.ArrayLike, side: str) -> Float32:
    """Angles (5, 4) float32 radians, as `HandPose.angles` says, of (21, 3) joints of any frame.

    The thumb's spread is out of the palm (palmar abduction), its base flexion towards the little
    finger. What a finger does sideways after its base joint is not in these angles but in
    `HandParts.sideways`.
    """
    local = _in_wrist("joint_angles", joints, side)
    return HandParts.of(local[None], (side,)).angles[0].astype(np.float32)


def joints_from_angles(
    angles: npt.ArrayLike,
    shape: HandShape,
    world_from_wrist: Rigid,
    sideways: npt.ArrayLike | None = None,
) -> Float32:
    """Forward kinematics: angles (5, 4) radians -> joints (21, 3) float32 metres, world frame.

    `joint_angles` of the result gives the angles back, and `HandShape.of` gives the shape back.
    `sideways` (5, 2) as `HandParts.sideways`; 0 when left out.
    """
    a = np.asarray(angles, np.float64)
    aside = np.zeros((5, 2)) if sideways is None else np.asarray(sideways, np.float64)
    if a.shape != (5, 4):
        raise ValueError(f"joints_from_angles angles: expected (5, 4), got {a.shape}")
    if aside.shape != (5, 2):
        raise ValueError(f"joints_from_angles sideways: expected (5, 2), got {aside.shape}")
    require_finite("joints_from_angles angles", a)
    require_finite("joints_from_angles sideways", aside)
    parts = HandParts((shape.side,), shape.bases[None], shape.bones[None], a[None], aside[None])
    return np.asarray(world_from_wrist.apply(parts.joints()[0])).astype(np.float32)


def openxr_hand(joints: npt.ArrayLike, side: str) -> OpenXRHand:
    """The 26 joints with orientations and radii of (21, 3) joints of MediaPipe's order.

    The 21 tracked joints keep their places, hence every tracked bone its length.
    """
    p = _joints("openxr_hand", joints, 21)
    frame_from_wrist = wrist_frame(p, side)
    local = np.asarray(frame_from_wrist.inverse().apply(p), np.float64)
    fingers = local[FINGER_JOINTS]
    positions = np.zeros((26, 3))
    positions[OPENXR_FROM_MEDIAPIPE] = local
    positions[_METACARPALS] = fingers[1:, 0] * METACARPAL_BASE
    positions[0] = (positions[11] + positions[12]) / 2.0

    right, up, forward = _base_frames(fingers[:, 0], side)
    directions = _unit(np.diff(fingers, axis=1))
    sideways = np.arcsin(np.clip(_dot(directions[:, 0], right), -1.0, 1.0))
    flexion = np.arctan2(-_dot(directions[:, 0], up), _dot(directions[:, 0], forward))
    hinge, _, _ = _spread_and_flex(right, up, forward, sideways, flexion)
    ahead, beside = np.empty((26, 3)), np.empty((26, 3))
    ahead[0], beside[0] = positions[12] - positions[11], (1.0, 0.0, 0.0)
    ahead[1], beside[1] = (0.0, 0.0, -1.0), (1.0, 0.0, 0.0)
    ahead[_METACARPALS] = positions[_METACARPALS + 1] - positions[_METACARPALS]
    beside[_METACARPALS] = right[1:]
    ahead[_FINGERS] = directions[:, [0, 1, 2, 2]]
    beside[_FINGERS] = hinge[:, None]

    rotations = frame_from_wrist.rotation() @ _facing(ahead, beside)
    wxyz = wxyz_from_exact_rotations(rotations)
    scale = float(np.linalg.norm(p[9] - p[0])) / PALM_LENGTH
    placed = np.asarray(frame_from_wrist.apply(positions))
    placed[OPENXR_FROM_MEDIAPIPE] = p
    return OpenXRHand(
        placed.astype(np.float32),
        wxyz.astype(np.float32),
        (OPENXR_RADII * scale).astype(np.float32),
    )


def webxr_joints(joints: npt.ArrayLike, side: str) -> Float32:
    """(21, 3) joints of MediaPipe's order -> (25, 3) float32 of XRHand's order, same frame."""
    return openxr_hand(joints, side).positions[1:]


def mediapipe_joints(joints_webxr: npt.ArrayLike) -> Float32:
    """(25, 3) joints of XRHand's order -> (21, 3) float32 of MediaPipe's order, same frame."""
    p = _joints("mediapipe_joints", joints_webxr, 25)
    return p[OPENXR_FROM_MEDIAPIPE - 1].astype(np.float32)


def finger_frames(bases: npt.ArrayLike, side: str) -> tuple[Array, Array]:
    """wrist_from_base (5, 3, 3) of the fingers whose base joints are `bases` (5, 3) metres, wrist
    frame: x right, y out of the finger's back, -z ahead; and (5,) the sign in it of a positive
    spread, which turns ahead towards x (+1) or away from it (-1)."""
    require_choice("finger_frames side", side, SIDES)
    right, up, forward = _base_frames(np.asarray(bases, np.float64), side)
    return np.stack([right, up, -forward], axis=-1), _spread_sign(side)


def _joints(where: str, joints: npt.ArrayLike, count: int) -> Array:
    p = np.asarray(joints, np.float64)
    if p.shape != (count, 3):
        raise ValueError(f"{where} joints: expected ({count}, 3), got {p.shape}")
    require_finite(f"{where} joints", p)
    return p


def _in_wrist(where: str, joints: npt.ArrayLike, side: str) -> Array:
    p = _joints(where, joints, 21)
    return np.asarray(wrist_frame(p, side).inverse().apply(p), np.float64)


def _right(side: str) -> float:
    return 1.0 if side == "right" else -1.0


@cache
def _spread_sign(*sides: str) -> Array:
    """(5 a side,)."""
    return np.concatenate([_SPREAD_SIGN_RIGHT * _right(side) for side in sides])


@cache
def _backs(*sides: str) -> Array:
    """(5 a side, 3): where each finger's back is, wrist frame."""
    up = np.zeros((len(sides), 5, 3))
    up[:, 1:, 1] = 1.0
    for hand, side in enumerate(sides):
        up[hand, 0] = [-np.sin(THUMB_ROLL) * _right(side), np.cos(THUMB_ROLL), 0.0]
    return up.reshape(-1, 3)


def _base_frames(bases: Array, *sides: str) -> tuple[Array, Array, Array]:
    """Right, up, forward (5 a side, 3) each, wrist frame, of the fingers whose base joints are
    `bases` (5 a side, 3)."""
    forward = _unit(bases)
    right = _unit(_cross(forward, _backs(*sides)))
    return right, _cross(right, forward), forward


def _base_axes(forward: Array, *sides: str) -> Array:
    """(5 a side, 4, 3) of the fingers to whose base joints `forward` (5 a side, 3) leads, unit
    vectors in the wrist frame: right and nothing, forward and down in each finger's base frame. A
    direction in it is thus two complex numbers, and turns in a plane are products of such, which
    take a fraction of numpy's calls."""
    axes = np.zeros((len(forward), 4, 3))
    right = _cross(forward, _backs(*sides))
    right /= np.maximum(_length(right), 1e-12)[..., None]
    axes[:, 0], axes[:, 2], axes[:, 3] = right, forward, _cross(forward, right)
    return axes


def _complex(pairs: Array) -> Complex:
    return pairs.view(np.complex128)


def _unit_complex(angles: Array) -> Complex:
    """exp(1j * angles), sooner."""
    unit = np.empty(angles.shape, np.complex128)
    np.cos(angles, out=unit.real)
    np.sin(angles, out=unit.imag)
    return unit


def _spread_and_flex(
    right: Array, up: Array, forward: Array, spread: Array, flexion: Array
) -> tuple[Array, Array, Array]:
    """Turn frames (F, 3): by `spread` (F,) radians forward -> right about up, then by `flexion`
    (F,) radians forward -> down about the frame's right as it was before."""
    cs, ss = np.cos(spread)[:, None], np.sin(spread)[:, None]
    cf, sf = np.cos(flexion)[:, None], np.sin(flexion)[:, None]
    ahead = cf * forward - sf * up
    above = sf * forward + cf * up
    return cs * right - ss * ahead, above, ss * right + cs * ahead


def _facing(directions: Array, rights: Array) -> Array:
    """(N, 3, 3) rotations whose -z are `directions` and whose x are as close to `rights` as can
    be, (N, 3) each."""
    z = -_unit(directions)
    x = _unit(rights - _dot(rights, z)[:, None] * z)
    return np.stack([x, _cross(z, x), z], axis=-1)


def _dot(a: Array, b: Array) -> Array:
    return np.vecdot(a, b)


def _cross(a: Array, b: Array) -> Array:
    """np.cross for three dimensions, which it is several times slower at than this."""
    return a.take(_YZX, -1) * b.take(_ZXY, -1) - a.take(_ZXY, -1) * b.take(_YZX, -1)


def _unit(v: Array) -> Array:
    """Rows (..., 3) scaled to length 1; a zero row stays zero."""
    return v / np.maximum(_length(v), 1e-12)[..., None]


def _length(v: Array) -> Array:
    """(..., 3) -> (...); np.linalg.norm is slow at so few."""
    return np.sqrt(_dot(v, v))


def _held_to_one(sine: Array) -> Array:
    return np.minimum(np.maximum(sine, -1.0), 1.0)
