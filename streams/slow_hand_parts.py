"""What a hand's joints are made of, one finger and one bone after the other: the specification of
`hand_skeleton.HandParts` and the tests' oracle."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from streams.hand_skeleton import FINGER_JOINTS, THUMB_ROLL

Array = npt.NDArray[np.float64]

SPREADS = (-1.0, -1.0, -1.0, 1.0, 1.0)
"""Of a right hand's fingers, thumb first: the side to which a positive spread leads."""


def slow_bends(joints: Array, side: str) -> tuple[Array, Array]:
    """(21, 3) metres, wrist frame -> (5, 4) angles as `HandPose.angles` and (5, 2) radians as
    `HandParts.sideways`."""
    angles, sideways = np.zeros((5, 4)), np.zeros((5, 2))
    for finger, places in enumerate(joints[FINGER_JOINTS]):
        sign = SPREADS[finger] * (1.0 if side == "right" else -1.0)
        bones = np.diff(places, axis=0)
        directions = bones / np.linalg.norm(bones, axis=1, keepdims=True)
        frame = _base_frame(places[0], finger, side)
        right, up, forward = (float(axis @ directions[0]) for axis in frame)
        spread, flexion = math.asin(right), math.atan2(-up, forward)
        angles[finger, :2] = spread * sign, flexion
        frame = _turned(frame, spread, flexion)
        before = 0.0
        for k in (1, 2):
            right, up, forward = (float(axis @ directions[k]) for axis in frame)
            turned = math.atan2(-up, forward)
            angles[finger, k + 1] = math.remainder(turned - before, 2.0 * math.pi)
            sideways[finger, k - 1] = math.asin(right) * sign
            before = turned
    return angles, sideways


def slow_joints(bases: Array, bones: Array, angles: Array, sideways: Array, side: str) -> Array:
    """The inverse: (5, 3) base joints and (5, 3) lengths in metres -> (21, 3) metres."""
    joints = np.zeros((21, 3))
    for finger, places in enumerate(FINGER_JOINTS):
        sign = SPREADS[finger] * (1.0 if side == "right" else -1.0)
        frame = _base_frame(bases[finger], finger, side)
        frame = _turned(frame, angles[finger, 0] * sign, angles[finger, 1])
        joints[places[0]] = bases[finger]
        turned, aside = 0.0, 0.0
        for k in range(3):
            if k:
                turned, aside = turned + angles[finger, k + 1], sideways[finger, k - 1] * sign
            direction = _turned(frame, aside, turned)[2]
            joints[places[k + 1]] = joints[places[k]] + bones[finger, k] * direction
    return joints


def _base_frame(base: Array, finger: int, side: str) -> Array:
    """(3, 3) rows: right, up and forward of the finger whose base joint is there."""
    roll = -THUMB_ROLL if finger == 0 else 0.0
    back = np.array([math.sin(roll) * (1.0 if side == "right" else -1.0), math.cos(roll), 0.0])
    forward = base / np.linalg.norm(base)
    right = np.cross(forward, back)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(right, forward), forward])


def _turned(frame: Array, spread: float, flexion: float) -> Array:
    """By `flexion` radians about its right, forward to down, then by `spread` about what is up
    then, forward to right."""
    right, up, forward = frame
    ahead = math.cos(flexion) * forward - math.sin(flexion) * up
    above = math.sin(flexion) * forward + math.cos(flexion) * up
    return np.stack(
        [
            math.cos(spread) * right - math.sin(spread) * ahead,
            above,
            math.sin(spread) * right + math.cos(spread) * ahead,
        ]
    )
