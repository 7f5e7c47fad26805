"""What a headset reports as what tracking says: head and hands, without any camera.

A headset knows where head and hands are and nothing of the face, so the face is calm and looks
ahead, and its landmarks are zeros: nobody's, as of a synthetic person (`FacePose.landmarks` tell
whose face it is). The person is seated where a webcam would see them, because that is where
everything that shows an avatar expects one; from then on they move as they do in their room.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.hand_skeleton import joint_angles, mediapipe_joints, wrist_frame
from streams.headset_sample import HeadsetSample
from streams.rigid import Rigid
from streams.tracked_state import SIDES, FacePose, HandPose, TrackedState

SOURCE = "headset"
_UP = np.array([0.0, 1.0, 0.0])
_AHEAD = np.tile(np.array([0.0, 0.0, 1.0], np.float32), (2, 1))
BEFORE_A_WEBCAM = Rigid.from_translation((0.0, 0.0, -0.6))
"""`world_from_head` of who sits 0.6 m before the world's origin and faces it."""


@dataclass(frozen=True, slots=True)
class HeadsetStateOptions:
    """Where the person is put."""

    world_from_seat: Rigid | None = None
    """Where the first sample's head goes, upright, facing along z; None is before a webcam, 0.6 m
    from it."""
    in_place: bool = False
    """True: the headset's world is the world, nobody is seated."""


class HeadsetState:
    """Turns samples into states. Remembers where the person was seated; reads no clock."""

    def __init__(self, options: HeadsetStateOptions | None = None) -> None:
        self.options = options or HeadsetStateOptions()
        self._world_from_room: Rigid | None = Rigid() if self.options.in_place else None

    def begin_anew(self) -> None:
        """The next sample's head is seated again: another person, or they asked for it."""
        if not self.options.in_place:
            self._world_from_room = None

    def state(self, sample: HeadsetSample) -> TrackedState:
        """The state at the sample's time; a hand that is none (points on a line) is absent."""
        if self._world_from_room is None:
            seat = self.options.world_from_seat or BEFORE_A_WEBCAM
            self._world_from_room = seat @ level(sample.world_from_head).inverse()
        world_from_room = self._world_from_room
        face = FacePose(
            np.zeros(52, np.float32),
            np.zeros((478, 3), np.float32),
            _AHEAD,
            world_from_room @ sample.world_from_head,
            1.0,
        )
        hands = (
            hand_pose(joints, side, world_from_room)
            for side, joints in zip(SIDES, (sample.left, sample.right), strict=True)
        )
        return TrackedState(
            sample.t_ns, SOURCE, face, tuple(hand for hand in hands if hand is not None)
        )


def hand_pose(
    joints: npt.NDArray[np.float32] | None, side: str, world_from_room: Rigid
) -> HandPose | None:
    """XRHand's (25, 3) joints, metres, room -> the hand in the world, or None where there is none.

    The 21 joints are 21 of the 25 as they are; `streams.hand_skeleton.webxr_joints` gives those
    back exactly, and places the ends of the metacarpal bones, which are left out, by proportion.
    """
    if joints is None:
        return None
    world = np.ascontiguousarray(world_from_room.apply(mediapipe_joints(joints)), np.float32)
    try:
        return HandPose(side, world, wrist_frame(world, side), joint_angles(world, side), 1.0)
    except ValueError:
        # A headset that loses a hand may put all its joints in one place for a moment.
        return None


def level(room_from_head: Rigid) -> Rigid:
    """The same place and direction with the head held upright: z level, y up."""
    rotation = room_from_head.rotation()
    ahead = rotation[:, 2]
    if abs(ahead[1]) > 0.99:
        # Whoever looks straight up or down still has a left and a right.
        ahead = np.cross(rotation[:, 0], _UP)
    z = np.array([ahead[0], 0.0, ahead[2]])
    z /= np.linalg.norm(z)
    return Rigid.from_rotation(np.stack([np.cross(_UP, z), _UP, z], axis=1), room_from_head.xyz)
