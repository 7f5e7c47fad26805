"""Hands of which everything is known, as cameras would see them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capture.hand_shapes import HAND_SHAPES
from streams.camera import WORLD_FROM_WEBCAM, Camera
from streams.projection import project
from streams.rigid import Rigid
from tracking.hand_kinematics import Hands, Skeletons, posed
from tracking.hand_limits import HIGHEST, LOWEST
from tracking.hand_view import HandView
from tracking.pose_fit import facing_along
from tracking.user_hand import UserHand

Array = npt.NDArray[np.float64]

# Where the cameras of each rig are, metres; all look along -z.
RIGS = {
    "mono": ((0.0, 0.0),),
    "stereo": ((-0.05, 0.0), (0.05, 0.0)),
    "four": ((-0.085, 0.06), (0.085, 0.06), (-0.06, -0.06), (0.06, -0.06)),
}
SIZE = (640, 480)


@dataclass(frozen=True)
class SeenHand:
    """The truth and its views."""

    joints: Array
    landmarks: Array
    angles: Array
    views: list[HandView]


def rig(name: str) -> list[Camera]:
    return [
        Camera.from_fov(
            SIZE,
            name=f"{name}{index}",
            world_from_camera=Rigid(WORLD_FROM_WEBCAM.wxyz, np.array([x, y, 0.0])),
        )
        for index, (x, y) in enumerate(RIGS[name])
    ]


def user_hand(random: np.random.Generator, side: str, offset: float = 0.004) -> UserHand:
    """An adult's, with landmarks that lie about 1.7 `offset` metres beside the joints."""
    return UserHand(UserHand.average(side).shape, random.normal(0.0, offset, (21, 3)))


def seen_hand(
    random: np.random.Generator,
    user: UserHand,
    cameras: list[Camera],
    noise: float = 1.0,
    with_shape: bool = True,
) -> SeenHand:
    """One of the shapes that hands make, varied, before the cameras; `noise` in pixels.

    The net's own shape is the truth with 10 mm of error along the view and 3 mm across, 1.1 times
    as large.
    """
    shapes = list(HAND_SHAPES.values())
    angles = np.append(shapes[random.integers(len(shapes))].ravel(), [0.0, 0.0])
    angles = np.clip(angles + random.normal(0.0, 0.1, 22), LOWEST + 0.01, HIGHEST - 0.01)
    upright = Rigid.from_rotvec([np.pi / 2.0, 0.0, 0.0])
    flipped = Rigid.from_rotvec([0.0, np.pi * random.integers(2), 0.0])
    wrist = Rigid.from_rotvec(random.normal(0.0, 0.5, 3)) @ flipped @ upright
    place = np.array([0.0, -0.08, -0.45]) + random.normal(0.0, 0.05, 3)
    hands = Hands(wrist.rotation()[None], place[None], angles[None])
    at = posed(hands, Skeletons.of([user], np.zeros(0)), np)
    landmarks = at.landmarks[0]
    views: list[HandView] = []
    for camera in cameras:
        pixels = project(camera, landmarks)[0] + random.normal(0.0, noise, (21, 2))
        in_camera = np.asarray(camera.world_from_camera.inverse().apply(landmarks))
        middle = in_camera.mean(0)
        shape = (in_camera - middle) @ facing_along(middle / middle[2]) * 1.1
        shape += random.normal(0.0, 1.0, (21, 3)) * [0.003, 0.003, 0.01]
        views.append(HandView(camera, pixels, np.ones(21), shape if with_shape else None))
    return SeenHand(at.joints[0], landmarks, angles, views)


def joint_error_mm(found: Array, truth: Array) -> float:
    """MPJPE."""
    return float(np.linalg.norm(found - truth, axis=-1).mean()) * 1e3
