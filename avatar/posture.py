"""How the torso stands under the head: from the head's pose alone, without memory.

A person at a desk keeps the torso upright and lets it follow the head a little; the neck shares
the rest. Beyond the neck's limits the torso is taken along.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.rigid import Rigid, multiply_wxyz

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

TORSO_SHARE = np.array([0.35, 0.10, 0.15])
"""Of the head's yaw, pitch and roll that the torso follows. Chosen by eye."""
NECK_LIMIT = np.deg2rad([70.0, 45.0, 40.0])
"""Largest yaw, pitch and roll between head and torso, radians (a healthy adult's neck)."""


def yaw_pitch_roll(rotation: Array) -> Array:
    """(3, 3) = Ry(yaw) Rx(pitch) Rz(roll) -> (3,) radians."""
    r = rotation
    pitch = np.arcsin(np.clip(-r[1, 2], -1.0, 1.0))
    # Looking straight up or down, yaw and roll turn about one axis: call it all yaw.
    if np.hypot(r[0, 2], r[2, 2]) < 1e-6:
        return np.array([np.arctan2(-r[2, 0], r[0, 0]), pitch, 0.0])
    return np.array([np.arctan2(r[0, 2], r[2, 2]), pitch, np.arctan2(r[1, 0], r[1, 1])])


def head_from_torso(world_from_head: Rigid) -> Array:
    """(3,) rotation vector, radians, head frame: the torso's turn relative to the head."""
    head = yaw_pitch_roll(world_from_head.rotation())
    relative = np.clip(head * (1.0 - TORSO_SHARE), -NECK_LIMIT, NECK_LIMIT)
    yaw, pitch, roll = head - relative
    # Half-angle quaternions: this runs for every frame.
    cy, cp, cr = np.cos(0.5 * yaw), np.cos(0.5 * pitch), np.cos(0.5 * roll)
    sy, sp, sr = np.sin(0.5 * yaw), np.sin(0.5 * pitch), np.sin(0.5 * roll)
    turn = multiply_wxyz(np.array([cy, 0.0, sy, 0.0]), np.array([cp, sp, 0.0, 0.0]))
    torso = multiply_wxyz(turn, np.array([cr, 0.0, 0.0, sr]))
    inverse = world_from_head.wxyz * np.array([1.0, -1.0, -1.0, -1.0])
    return Rigid(multiply_wxyz(inverse, torso)).rotvec()


def turn_on_neck(
    points: Float32, normals: Float32, torso_share: Float32, pivot: Float32, turn: Array
) -> tuple[Float32, Float32]:
    """Rotate each vertex about `pivot` (3,) by its `torso_share` (N,) of the turn (3,) radians.

    Head frame, metres. All turn about one axis, so Rodrigues' formula needs only each one's angle.
    """
    angle = float(np.linalg.norm(turn))
    if angle < 1e-9:
        return points, normals
    axis = (turn / angle).astype(np.float32)
    theta = torso_share * np.float32(angle)
    sine, cosine = np.sin(theta)[:, None], np.cos(theta)[:, None]
    cross = np.array(
        [[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]], np.float32
    ).T
    along = np.outer(axis, axis).astype(np.float32)

    def rotate(v: Float32) -> Float32:
        parallel = v @ along
        turned = parallel + cosine * (v - parallel) + sine * (v @ cross)
        return turned.astype(np.float32, copy=False)

    return rotate(points - pivot) + pivot, rotate(normals)


def turn_on_neck_slow(
    points: Float32, normals: Float32, torso_share: Float32, pivot: Float32, turn: Array
) -> tuple[Float32, Float32]:
    """The slow twin of `turn_on_neck`: one Rigid a vertex."""
    moved, turned = points.copy(), normals.copy()
    for i, share in enumerate(torso_share):
        rigid = Rigid.from_rotvec(turn * float(share))
        moved[i] = rigid.apply((points[i] - pivot).astype(np.float64)) + pivot
        turned[i] = rigid.rotate(normals[i].astype(np.float64))
    return moved, turned
