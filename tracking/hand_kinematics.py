"""Forward kinematics of hands and their derivatives, many at once, in numpy or in torch.

The skeleton and its angles are those of `streams.hand_skeleton`, whose `HandParts.joints` is the
specification. The same lines run on numpy arrays (a live hand: a call costs a fraction of torch's)
and on tensors of any device (many hands): `xp` is the module numpy or torch. Derivatives are
those of revolute joints: a point moves by axis x (point - pivot).

Degrees of freedom of a hand, in order, 28:
    0-2    a turn of the whole hand about the wrist, radians, world axes
    3-5    a shift, metres, world axes
    6-25   spread, then flexion at three joints, of each finger, thumb first (`HandPose.angles`)
    26-27  the thumb's two `sideways`: its second and third bone leave the plane that it bends in,
           as the joint at its root also turns about its own axis
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streams.hand_skeleton import finger_frames
from tracking.user_hand import UserHand

Numbers = Any
"""A float64 numpy array or torch tensor."""

FREEDOMS, ANGLES = 28, 22
FIRST_ANGLE = FREEDOMS - ANGLES

# From the 22 angles to what turns each finger's bones: flexion of the three, summed up from the
# base, then their sideways (the base's is the spread).
_TURNS = np.zeros((22, 5, 6))
for _finger in range(5):
    _TURNS[4 * _finger, _finger, 3] = 1.0
    _TURNS[4 * _finger + 1, _finger, 0] = 1.0
    _TURNS[4 * _finger + 2, _finger, 1:3] = 1.0
    _TURNS[4 * _finger + 3, _finger, 2] = 1.0
_TURNS[20, 0, 4] = _TURNS[21, 0, 5] = 1.0

# Which of a finger's four points (base to tip) each of its six angles moves: spread, three
# flexions, two sideways.
_MOVES = np.array(
    [[0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 1, 0], [1, 1, 1, 1, 1, 1]], np.float64
)


@dataclass(frozen=True, slots=True, eq=False)
class Skeletons:
    """The bones of B hands, as the kinematics read them."""

    bases: Numbers
    """(B, 5, 3) metres, wrist frame."""
    frames: Numbers
    """(B, 5, 3, 3) wrist_from_base, as `finger_frames`."""
    bones: Numbers
    """(B, 5, 3) metres."""
    offsets: Numbers
    """(B, 21, 3) metres, as `UserHand.offsets`."""
    signs: Numbers
    """(B, 5, 6): 1 for the flexions, the sign of a positive spread for what leads sideways."""
    turns: Numbers
    """(22, 30): from angles to turns, for all alike."""
    moves: Numbers
    """(4, 1, 6): which points each angle moves, for all alike."""
    own: Numbers
    """(5, 1, 1, 5, 1): 1 where a finger meets its own angles, for all alike."""

    @staticmethod
    def of(hands: Sequence[UserHand], like: Numbers) -> Skeletons:
        """Of these hands, as arrays or tensors such as `like`."""
        frames, signs = zip(*(finger_frames(h.shape.bases, h.side) for h in hands), strict=True)
        sides = np.repeat(np.stack(signs)[..., None], 3, axis=-1)
        arrays = (
            np.stack([hand.shape.bases for hand in hands]),
            np.stack(frames),
            np.stack([hand.shape.bones for hand in hands]),
            np.stack([hand.offsets for hand in hands]),
            np.concatenate([np.ones_like(sides), sides], axis=-1),
            _TURNS.reshape(22, 30),
            _MOVES[:, None],
            np.eye(5)[:, None, None, :, None],
        )
        return Skeletons(*(as_like(array, like) for array in arrays))


@dataclass(frozen=True, slots=True, eq=False)
class Hands:
    """How B hands are held."""

    rotation: Numbers
    """(B, 3, 3) world_from_wrist."""
    place: Numbers
    """(B, 3) metres: the wrist, world frame."""
    angles: Numbers
    """(B, 22) radians."""


@dataclass(frozen=True, slots=True, eq=False)
class PosedHands:
    """Where that puts them."""

    joints: Numbers
    """(B, 21, 3) metres, world frame."""
    landmarks: Numbers
    """(B, 21, 3) metres, world frame."""
    rotations: Numbers
    """(B, 5, 3, 3, 3) world_from_bone of each finger's bones from base to tip."""
    axes: Numbers
    """(B, 5, 6, 3) unit vectors, world: what each finger's six angles turn about."""


def as_like(array: np.ndarray, like: Numbers) -> Numbers:
    """A numpy array as what `like` is: itself, or a tensor of that type and device."""
    return array if isinstance(like, np.ndarray) else like.new_tensor(array)


def zeros(like: Numbers, *shape: int) -> Numbers:
    return np.zeros(shape) if isinstance(like, np.ndarray) else like.new_zeros(shape)


def posed(hands: Hands, skeletons: Skeletons, xp: Any) -> PosedHands:
    """Forward kinematics."""
    count = len(hands.place)
    turns = (hands.angles @ skeletons.turns).reshape(count, 5, 6) * skeletons.signs
    cosine, sine = xp.cos(turns), xp.sin(turns)
    cf, sf, cs, ss = cosine[..., :3], sine[..., :3], cosine[..., 3:], sine[..., 3:]
    # Led sideways about y, then bent about x; a positive angle leads -z towards x and down.
    bent = xp.stack([cs, 0.0 * cs, -ss, sf * ss, cf, sf * cs, cf * ss, -sf, cf * cs], -1).reshape(
        count, 5, 3, 3, 3
    )
    rotation = hands.rotation[:, None]
    frames = rotation @ skeletons.frames
    first = frames @ bent[:, :, 0]
    rotations = xp.concatenate([first[:, :, None], first[:, :, None] @ bent[:, :, 1:]], 2)

    points = zeros(turns, count, 21, 3)
    bases = skeletons.bases @ hands.rotation.mT
    steps = rotations[..., 2] * -skeletons.bones[..., None]
    chain = xp.concatenate([bases[:, :, None], steps], 2)
    points[:, 1:] = xp.cumsum(chain, 2).reshape(count, 20, 3)
    joints = points + hands.place[:, None]
    offsets = skeletons.offsets
    beside = zeros(turns, count, 21, 3)
    beside[:, 0] = (hands.rotation @ offsets[:, 0, :, None])[..., 0]
    of_fingers = offsets[:, 1:].reshape(count, 5, 4, 3)
    turned = xp.concatenate(
        [
            (rotation @ of_fingers[:, :, 0, :, None])[:, :, None],
            rotations @ of_fingers[:, :, 1:, :, None],
        ],
        2,
    )
    beside[:, 1:] = turned.reshape(count, 20, 3)
    hinge = first[..., 0]
    sideways = rotations[..., 1] * skeletons.signs[..., 3:, None]
    axes = xp.stack(
        [sideways[:, :, 0], frames[..., 0], hinge, hinge, sideways[:, :, 1], sideways[:, :, 2]], 2
    )
    return PosedHands(joints, joints + beside, rotations, -axes)


def landmark_moves(hands: Hands, at: PosedHands, skeletons: Skeletons, xp: Any) -> Numbers:
    """(B, 21, 3, 28): derivatives of the landmarks by the degrees of freedom; `at` is `posed`."""
    count = len(hands.place)
    moves = zeros(at.joints, count, 21, 3, FREEDOMS)
    arm = at.landmarks - hands.place[:, None]
    x, y, z = arm[..., 0], arm[..., 1], arm[..., 2]
    moves[:, :, 0, 1], moves[:, :, 0, 2] = z, -y
    moves[:, :, 1, 0], moves[:, :, 1, 2] = -z, x
    moves[:, :, 2, 0], moves[:, :, 2, 1] = y, -x
    moves[:, :, 0, 3] = moves[:, :, 1, 4] = moves[:, :, 2, 5] = 1.0

    of_fingers = at.landmarks[:, 1:].reshape(count, 5, 4, 1, 3)
    base, second, third, _ = at.joints[:, 1:].reshape(count, 5, 4, 3).swapaxes(0, 2)
    pivots = xp.stack([base, base, second, third, second, third], 2).swapaxes(0, 1)
    arms = of_fingers - pivots[:, :, None]
    # The third bone keeps its direction when the second is led sideways: it is only carried along.
    arms[:, :, 3, 4] = (third - second).swapaxes(0, 1)
    axes = at.axes[:, :, None]
    x, y, z = axes[..., 0], axes[..., 1], axes[..., 2]
    u, v, w = arms[..., 0], arms[..., 1], arms[..., 2]
    turned = xp.stack([y * w - z * v, z * u - x * w, x * v - y * u], 3) * skeletons.moves
    apart = turned[..., None, :4] * skeletons.own
    moves[:, 1:, :, FIRST_ANGLE:26] = apart.reshape(count, 20, 3, 20)
    moves[:, 1:5, :, 26:] = turned[:, 0, :, :, 4:]
    return moves


def turned_by(rotation: Numbers, turn: Numbers, xp: Any) -> Numbers:
    """`rotation` (B, 3, 3) turned by about `turn` (B, 3) radians, axes on the left: Cayley's map,
    which is a rotation to the last digit and differs from `turn` by its third power."""
    x, y, z = turn[:, 0], turn[:, 1], turn[:, 2]
    zero = 0.0 * x
    cross = xp.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    size = 1.0 + 0.25 * (x * x + y * y + z * z)
    return rotation + ((cross + 0.5 * cross @ cross) / size[:, None, None]) @ rotation
