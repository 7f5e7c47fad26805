"""A hand's movement as BVH (Biovision Hierarchy), which animation programs read.

One file holds one hand: a wrist with six channels and three joints a finger with three. All zero is
the flat hand, fingers straight, in the wrist frame (`streams.hand_skeleton`). BVH's bones never
change their length, tracked ones do by some millimetres: the bones have their median lengths, the
palm is laid over its five joints, and each bone aims from where it begins at the joint where it
should end, so that errors do not add up to the tip.

BVH has one rate, and nothing that says "not seen": times are evened out by straight lines between
neighbours, and a hand that is not seen stays where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from sessions.state_table import FINGER_JOINT_NAMES, THUMB_JOINTS
from streams.array_contract import require_choice
from streams.hand_skeleton import (
    FINGER_JOINTS,
    FINGERS,
    PALM_JOINTS,
    HandParts,
    HandShape,
    wrist_frame,
)
from streams.tracked_state import SIDES, HandPose

Array = npt.NDArray[np.float64]

LONGEST_GAP_NS = 250_000_000
"""Between two sights of a hand that are further apart it stays where it was."""
USUAL_STEP_NS = 33_333_333
ORDER = "ZYX"
"""Rz Ry Rx, as the channels name them: x, which fingers bend about, may go all the way round."""


@dataclass(frozen=True, slots=True)
class HandTake:
    """What was written."""

    frames: int
    seen: int
    """In so many of them the hand was seen."""
    error_mm: float
    """Mean distance of the written joints to the tracked ones, of frames in which it was seen."""


@dataclass(frozen=True, slots=True)
class BvhOptions:
    """How movement is written."""

    fps: float | None = None
    """Frames a second; None: what the median of the recorded intervals is."""

    def __post_init__(self) -> None:
        if self.fps is not None and not 1.0 <= self.fps <= 1000.0:
            raise ValueError(f"BvhOptions.fps: expected 1 to 1000, got {self.fps}")


def write_hand_bvh(
    moments: Sequence[tuple[int, HandPose | None]],
    side: str,
    path: Path,
    options: BvhOptions | None = None,
) -> HandTake:
    """Write one hand; `moments` are rising times, ns, with that hand or None where it is not seen.

    Lengths are metres, angles degrees. Raises ValueError when the hand is never seen, OSError when
    the file cannot be written.
    """
    require_choice("write_hand_bvh side", side, SIDES)
    times, tracked, seen, step_ns = _even_frames(moments, side, options or BvhOptions())
    shape = _usual_shape(tracked[seen], side)
    turns, places, world_joints = _pose(tracked, shape)
    text = [*_hierarchy(shape), "MOTION", f"Frames: {len(times)}"]
    text.append(f"Frame Time: {step_ns / 1e9:.9f}")
    degrees = np.rad2deg(np.unwrap(_euler(turns), axis=0)).reshape(len(times), -1)
    rows = np.concatenate([places, degrees], axis=1)
    text += [" ".join(f"{number:.6f}" for number in row) for row in rows]
    path.write_text("\n".join(text) + "\n", encoding="ascii")
    apart = np.linalg.norm(world_joints - tracked, axis=-1)[seen]
    return HandTake(len(times), int(seen.sum()), float(apart.mean()) * 1e3)


def _even_frames(
    moments: Sequence[tuple[int, HandPose | None]], side: str, options: BvhOptions
) -> tuple[npt.NDArray[np.int64], Array, npt.NDArray[np.bool_], int]:
    """Even times (T,), joints (T, 21, 3), where they are seen (T,), and the step in ns."""
    hands = [(t_ns, hand) for t_ns, hand in moments if hand is not None]
    if not hands:
        raise ValueError(f"write_hand_bvh: the {side} hand is never seen")
    if any(hand.side != side for _, hand in hands):
        raise ValueError(f"write_hand_bvh: expected {side} hands only")
    every = np.array([t_ns for t_ns, _ in moments], np.int64)
    if (np.diff(every) <= 0).any():
        raise ValueError("write_hand_bvh: expected times that rise")
    if options.fps is not None:
        step_ns = round(1e9 / options.fps)
    else:
        step_ns = int(np.median(np.diff(every))) if len(every) > 1 else USUAL_STEP_NS
    count = round((every[-1] - every[0]) / step_ns) + 1
    times = every[0] + np.arange(count, dtype=np.int64) * step_ns
    at = np.array([t_ns for t_ns, _ in hands], np.int64)
    joints = np.stack([hand.joints for _, hand in hands]).astype(np.float64)
    after = np.searchsorted(at, times)
    before = np.clip(after - 1, 0, len(at) - 1)
    after = np.clip(after, 0, len(at) - 1)
    gap = np.maximum(at[after] - at[before], 1)
    near = gap <= LONGEST_GAP_NS
    share = np.where(near, np.clip((times - at[before]) / gap, 0.0, 1.0), 0.0)
    # A tick that meets a sight is that sight, whatever came before it.
    nearest = np.where(np.abs(at[after] - times) < np.abs(at[before] - times), after, before)
    meets = np.abs(at[nearest] - times) * 2 <= step_ns
    share = np.where(~near & meets & (nearest == after), 1.0, share)
    mixed = joints[before] + share[:, None, None] * (joints[after] - joints[before])
    between = near & (times >= at[0]) & (times <= at[-1])
    return times, mixed, meets | between, step_ns


def _usual_shape(joints: Array, side: str) -> HandShape:
    """The median of the hands (N, 21, 3) as they are seen."""
    local = [wrist_frame(each, side).inverse().apply(each) for each in joints]
    parts = HandParts.of(np.asarray(local, np.float64), (side,) * len(local))
    return HandShape(side, np.median(parts.bases, 0), np.median(parts.bones, 0))


def _pose(tracked: Array, shape: HandShape) -> tuple[Array, Array, Array]:
    """(T, 16, 3, 3) turns of the joints in the file's order, (T, 3) places of the wrist, metres,
    and (T, 21, 3) the joints that they give."""
    count, sides = len(tracked), (shape.side,) * len(tracked)
    rest = np.concatenate([np.zeros((1, 3)), shape.bases[1:]])
    wrist, place = _laid_over(rest, tracked[:, PALM_JOINTS])
    local = np.einsum("tji,tkj->tki", wrist, tracked - place[:, None])
    bases = np.broadcast_to(shape.bases, (count, 5, 3))
    joints = np.zeros((count, 21, 3))
    joints[:, FINGER_JOINTS[:, 0]] = bases
    for bone in range(3):
        start, end = FINGER_JOINTS[:, bone], FINGER_JOINTS[:, bone + 1]
        ahead = local[:, end] - joints[:, start]
        length = np.maximum(np.linalg.norm(ahead, axis=-1, keepdims=True), 1e-9)
        joints[:, end] = joints[:, start] + ahead * (shape.bones[:, bone, None] / length)
    bones = HandParts.of(joints, sides).rotations()
    straight = _straight(shape)
    # In the file a joint's axes are the wrist's when all is zero.
    turned = bones @ straight.transpose(0, 2, 1)[:, None]
    turns = np.empty((count, 5, 3, 3, 3))
    turns[:, :, 0] = turned[:, :, 0]
    turns[:, :, 1:] = turned[:, :, :-1].swapaxes(-1, -2) @ turned[:, :, 1:]
    every = np.concatenate([wrist[:, None], turns.reshape(count, 15, 3, 3)], axis=1)
    world = np.einsum("tij,tkj->tki", wrist, joints) + place[:, None]
    return every, place, world


def _straight(shape: HandShape) -> Array:
    """(5, 3, 3) wrist_from_bone of the flat hand's fingers."""
    none = np.zeros((1, 5, 4)), np.zeros((1, 5, 2))
    flat = HandParts((shape.side,), shape.bases[None], shape.bones[None], *none)
    return flat.rotations()[0, :, 0]


def _laid_over(rest: Array, seen: Array) -> tuple[Array, Array]:
    """Rotations (T, 3, 3) and places (T, 3) that bring points (N, 3) closest to (T, N, 3)
    (Kabsch 1976)."""
    middle, middles = rest.mean(0), seen.mean(1)
    u, _, vt = np.linalg.svd(np.einsum("tni,nj->tij", seen - middles[:, None], rest - middle))
    flip = np.ones((len(seen), 3))
    flip[:, 2] = np.sign(np.linalg.det(u @ vt))
    turn = (u * flip[:, None]) @ vt
    return turn, middles - turn @ middle


def _euler(turns: Array) -> Array:
    """(T, J, 3, 3) -> (T, J, 3) radians in the channels' order."""
    angles = Rotation.from_matrix(turns.reshape(-1, 3, 3)).as_euler(ORDER)
    return angles.reshape(*turns.shape[:2], 3)


def _hierarchy(shape: HandShape) -> list[str]:
    turns = "Zrotation Yrotation Xrotation"
    lines = [
        "HIERARCHY", f"ROOT {shape.side}_wrist", "{", "  OFFSET 0.000000 0.000000 0.000000",
        f"  CHANNELS 6 Xposition Yposition Zposition {turns}",
    ]  # fmt: skip
    straight = _straight(shape)
    for finger, name in enumerate(FINGERS):
        joints = THUMB_JOINTS if name == "thumb" else FINGER_JOINT_NAMES
        offset = shape.bases[finger]
        for bone in range(3):
            pad = "  " * (bone + 1)
            lines += [
                f"{pad}JOINT {shape.side}_{name}_{joints[bone]}", f"{pad}{{",
                f"{pad}  OFFSET {_written(offset)}", f"{pad}  CHANNELS 3 {turns}",
            ]  # fmt: skip
            offset = straight[finger] @ [0.0, 0.0, -shape.bones[finger, bone]]
        lines += ["        End Site", "        {", f"          OFFSET {_written(offset)}"]
        lines += ["        }", "      }", "    }", "  }"]
    return [*lines, "}"]


def _written(vector: Array) -> str:
    return " ".join(f"{number:.6f}" for number in vector)
