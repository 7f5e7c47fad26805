"""Where each eye looks, from the place of its iris in the picture.

The ray of the camera through the middle of an iris meets the sphere on which that middle moves
about the eye ball's centre; the gaze points from the centre to there. The two eyes are then held
to what eyes do: they share their elevation (Hering's law) and they may converge but not diverge.
A closed or hidden eye follows the other one; with neither, the eyeLook blend shapes speak, which
are learned from lids and brow too. Nothing is kept from frame to frame.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.face_shapes import SHAPE_INDEX
from tracking.canonical_face import EYE_FROM_CORNERS, EYE_RADIUS, LEFT_CORNERS, RIGHT_CORNERS

Array = npt.NDArray[np.float64]

IRISES = (473, 468)
"""Landmark of the middle of the iris, left eye first."""
IRIS_RADIUS = 0.00585
"""Metres; the visible iris is 11.7 mm across in nearly every adult."""
IRIS_ORBIT = float(np.sqrt(EYE_RADIUS**2 - IRIS_RADIUS**2))
"""Metres from the eye ball's centre to the middle of the iris' disc."""

SHUT_FROM, SHUT_TO = 0.5, 0.7
"""Between these values of eyeBlink the iris loses its say."""
HIDDEN_FROM, HIDDEN_TO = np.deg2rad(45.0), np.deg2rad(70.0)
"""Likewise between these angles of the camera off the face's front, to the eye's far side."""
FALSE_CONVERGENCE = np.deg2rad(9.0)
"""Iris landmarks lean towards the nose: on the synthetic people, whose eyes are parallel, each eye
is seen turned in by 4.5 degrees (benchmarks/synthetic_truth.py)."""
MOST_CONVERGENCE = np.deg2rad(16.0)
"""What is left of it is believed up to here: looking at something 0.22 m away. A face whose eyes
cross by mistake disturbs more than one whose eyes do not cross on purpose."""
LOOK_YAW, LOOK_PITCH = np.deg2rad(38.0), np.deg2rad(16.0)
"""Radians of eye turn for eyeLook* = 1: slopes of iris gaze over the shapes, nine real videos."""


def gaze_from_iris(
    landmarks: npt.NDArray[np.floating],
    blendshapes: npt.NDArray[np.floating],
    camera_in_head: Array,
) -> npt.NDArray[np.float32]:
    """(2, 3) float32 unit vectors, head frame, the person's left eye first.

    `landmarks` (478, 3) metres in the head frame, on the rays of the camera that stands at
    `camera_in_head` (3,) metres; `blendshapes` (52,) 0..1 in ARKit's order.
    """
    marks = np.asarray(landmarks, np.float64)
    shapes = np.asarray(blendshapes, np.float64)
    # Angles: yaw grows to the person's left (+x), pitch upwards; 0 looks straight ahead (+z).
    seen = [_iris_angles(marks, camera_in_head, side) for side in (0, 1)]
    told = [_shape_angles(shapes, side) for side in ("Left", "Right")]
    say = [_say(shapes, camera_in_head, side) for side in (0, 1)]

    both = say[0] * say[1]
    # Positive when the axes cross in front of the face: then the right eye looks further left.
    apparent = seen[1][0] - seen[0][0]
    convergence = both * min(max(apparent - FALSE_CONVERGENCE, 0.0), MOST_CONVERGENCE)
    lean = both * min(max(apparent, 0.0), FALSE_CONVERGENCE + MOST_CONVERGENCE) / 2.0
    seen_half = np.array([lean, -lean])
    half = np.array([convergence / 2.0, -convergence / 2.0])
    unseen = (1.0 - say[0]) * (1.0 - say[1])
    total = say[0] + say[1] + unseen
    told_yaw, told_pitch = np.mean(told, axis=0)
    yaw = (
        say[0] * (seen[0][0] + seen_half[0])
        + say[1] * (seen[1][0] + seen_half[1])
        + unseen * told_yaw
    ) / total
    pitch = (say[0] * seen[0][1] + say[1] * seen[1][1] + unseen * told_pitch) / total
    yaws = yaw - half
    level = np.cos(pitch)
    gaze = np.stack(
        [np.sin(yaws) * level, np.full(2, np.sin(pitch)), np.cos(yaws) * level], axis=-1
    )
    return gaze.astype(np.float32)


def eye_centre(landmarks: Array, camera_in_head: Array, side: int) -> Array:
    """(3,) metres, head frame: centre of the left (0) or right (1) eye ball of this person.

    The lid corners tell where this person's eye sits; the average face tells its depth.
    """
    corners = (LEFT_CORNERS, RIGHT_CORNERS)[side]
    offset = EYE_FROM_CORNERS * (1.0 if side == 0 else -1.0, 1.0, 1.0)
    ray = landmarks[list(corners)].mean(0) - camera_in_head
    # The eyes of the average face lie at z = 0, so the corners' middle at -offset.z.
    middle = camera_in_head + ray * ((-offset[2] - camera_in_head[2]) / ray[2])
    return middle + offset


def _iris_angles(marks: Array, camera_in_head: Array, side: int) -> tuple[float, float]:
    centre = eye_centre(marks, camera_in_head, side)
    ray = marks[IRISES[side]] - camera_in_head
    ray = ray / np.linalg.norm(ray)
    nearest = camera_in_head + ray * (ray @ (centre - camera_in_head)) - centre
    # Outside the sphere the nearest point of the ray stands for the rim.
    depth = np.sqrt(max(IRIS_ORBIT**2 - float(nearest @ nearest), 0.0))
    x, y, z = nearest - ray * depth
    return float(np.arctan2(x, z)), float(np.arctan2(y, np.hypot(x, z)))


def _shape_angles(shapes: Array, side: str) -> tuple[float, float]:
    def weight(name: str) -> float:
        return float(shapes[SHAPE_INDEX[f"eyeLook{name}{side}"]])

    outwards = weight("Out") - weight("In")
    yaw = LOOK_YAW * (outwards if side == "Left" else -outwards)
    return yaw, LOOK_PITCH * (weight("Up") - weight("Down"))


def _say(shapes: Array, camera_in_head: Array, side: int) -> float:
    """0..1: how much the iris of this eye is to be believed."""
    blink = float(shapes[SHAPE_INDEX[("eyeBlinkLeft", "eyeBlinkRight")[side]]])
    # Turned to the person's right, the camera stands on the face's left: the right eye hides.
    aside = float(np.arctan2(camera_in_head[0], camera_in_head[2])) * (-1.0 if side == 0 else 1.0)
    return (1.0 - _smooth(blink, SHUT_FROM, SHUT_TO)) * (
        1.0 - _smooth(aside, HIDDEN_FROM, HIDDEN_TO)
    )


def _smooth(value: float, low: float, high: float) -> float:
    x = min(max((value - low) / (high - low), 0.0), 1.0)
    return x * x * (3.0 - 2.0 * x)
