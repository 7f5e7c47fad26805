"""Where each eye looks, from the place of its iris in the picture.

The ray of the camera through the middle of an iris meets the sphere on which that middle moves
about the eye ball's centre; the gaze points from the centre to there. Under a falling lid the
landmark network sees less of the iris and draws its points to where an iris usually is, so what it
says is stretched back by as much, and believed less. The two eyes are then held to what eyes do:
they share their elevation (Hering's law) and they may converge but not diverge. A closed or hidden
eye follows the other one; with neither, the eyeLook blend shapes speak, which are learned from lids
and brow too. One picture at a time: `gaze_memory` carries it through blinks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.face_shapes import SHAPE_INDEX
from tracking.canonical_face import EYE_FROM_CORNERS, EYE_RADIUS, LEFT_CORNERS, RIGHT_CORNERS
from tracking.contact import Gaps, smooth_step

Array = npt.NDArray[np.float64]

IRISES = (473, 468)
"""Landmark of the middle of the iris, left eye first."""
IRIS_RADIUS = 0.00585
"""Metres; the visible iris is 11.7 mm across in nearly every adult."""
IRIS_ORBIT = float(np.sqrt(EYE_RADIUS**2 - IRIS_RADIUS**2))
"""Metres from the eye ball's centre to the middle of the iris' disc."""

LIDS_AT = (-0.0010, 0.0000, 0.0020, 0.0060)
"""Metres between the lids, for which the next four are measured: on the four synthetic people, who
looked in seven directions under lids at seven heights (benchmarks/face_details.py)."""
SHRUNK = (0.10, 0.25, 0.60, 1.00)
"""Share of an iris' way to either side that the network still reports. (Its way up and down is lost
too, but not so regularly that stretching it would help.)"""
SUNK = (0.0022, 0.0020, 0.0014, 0.0)
"""Metres by which it reports the iris too low."""
NOSEWARDS = (0.0025, 0.0022, 0.0015, 0.0)
"""Metres by which it reports the iris too near to the nose."""
BELIEVED = (0.0, 0.06, 0.45, 1.0)
"""0..1: the say of such an eye against a wide open one."""

HIDDEN_FROM, HIDDEN_TO = np.deg2rad(45.0), np.deg2rad(70.0)
"""Between these angles of the camera off the face's front, to the eye's far side, the iris loses
its say."""
FALSE_CONVERGENCE = np.deg2rad(9.0)
"""Iris landmarks lean towards the nose: on the synthetic people, whose eyes are parallel, each eye
is seen turned in by 4.5 degrees (benchmarks/synthetic_truth.py)."""
MOST_CONVERGENCE = np.deg2rad(16.0)
"""What is left of it is believed up to here: looking at something 0.22 m away. A face whose eyes
cross by mistake disturbs more than one whose eyes do not cross on purpose."""
LOOK_YAW, LOOK_PITCH = np.deg2rad(38.0), np.deg2rad(16.0)
"""Radians of eye turn for eyeLook* = 1: slopes of iris gaze over the shapes, nine real videos."""


@dataclass(frozen=True, slots=True)
class Look:
    """Where both eyes look, in one picture. Angles in radians, head frame."""

    yaw: float
    """Of the middle between both, to the person's left; 0 looks straight ahead (+z)."""
    pitch: float
    """Of both, upwards."""
    convergence: float
    """By how much the axes cross in front of the face; 0 or more."""
    believed: tuple[float, float]
    """0..1: how much of this eye's iris is there to be believed, left first."""

    @property
    def any_believed(self) -> float:
        """0..1: of either eye."""
        return 1.0 - (1.0 - self.believed[0]) * (1.0 - self.believed[1])

    def vectors(self) -> npt.NDArray[np.float32]:
        """(2, 3) float32 unit vectors, head frame, the person's left eye first."""
        yaws = self.yaw + self.convergence * np.array([-0.5, 0.5])
        level = np.cos(self.pitch)
        rows = [np.sin(yaws) * level, np.full(2, np.sin(self.pitch)), np.cos(yaws) * level]
        return np.stack(rows, axis=-1).astype(np.float32)


def gaze_from_iris(
    landmarks: npt.NDArray[np.floating],
    blendshapes: npt.NDArray[np.floating],
    camera_in_head: Array,
    gaps: Gaps | None = None,
    seen: tuple[float, float] = (1.0, 1.0),
) -> Look:
    """Where the eyes look in this picture alone.

    `landmarks` (478, 3) metres in the head frame, on the rays of the camera that stands at
    `camera_in_head` (3,) metres; `blendshapes` (52,) 0..1 in ARKit's order; `gaps` between the
    lids, by default the landmarks' own; `seen` 0..1 how much of each eye is in the picture, left
    first: a covered eye follows the other one.
    """
    marks = np.asarray(landmarks, np.float64)
    shapes = np.asarray(blendshapes, np.float64)
    lids = (gaps or Gaps.of(marks)).lids
    # Angles: yaw grows to the person's left (+x), pitch upwards; 0 looks straight ahead (+z).
    found = [_iris_angles(marks, camera_in_head, side, lids[side]) for side in (0, 1)]
    told = [_shape_angles(shapes, side) for side in ("Left", "Right")]
    say = [_say(lids[side], camera_in_head, side) * seen[side] for side in (0, 1)]

    both = say[0] * say[1]
    # Positive when the axes cross in front of the face: then the right eye looks further left.
    apparent = found[1][0] - found[0][0]
    convergence = both * min(max(apparent - FALSE_CONVERGENCE, 0.0), MOST_CONVERGENCE)
    lean = both * min(max(apparent, 0.0), FALSE_CONVERGENCE + MOST_CONVERGENCE) / 2.0
    half = np.array([lean, -lean])
    unseen = (1.0 - say[0]) * (1.0 - say[1])
    total = say[0] + say[1] + unseen
    told_yaw, told_pitch = np.mean(told, axis=0)
    yaw = (
        say[0] * (found[0][0] + half[0]) + say[1] * (found[1][0] + half[1]) + unseen * told_yaw
    ) / total
    pitch = (say[0] * found[0][1] + say[1] * found[1][1] + unseen * told_pitch) / total
    return Look(float(yaw), float(pitch), convergence, (say[0], say[1]))


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


def _iris_angles(
    marks: Array, camera_in_head: Array, side: int, lids: float
) -> tuple[float, float]:
    centre = eye_centre(marks, camera_in_head, side)
    ray = marks[IRISES[side]] - camera_in_head
    ray = ray / np.linalg.norm(ray)
    nearest = camera_in_head + ray * (ray @ (centre - camera_in_head)) - centre
    nearest = _under_open_lids(nearest, side, lids)
    # Outside the sphere the nearest point of the ray stands for the rim.
    depth = np.sqrt(max(IRIS_ORBIT**2 - float(nearest @ nearest), 0.0))
    x, y, z = nearest - ray * depth
    return float(np.arctan2(x, z)), float(np.arctan2(y, np.hypot(x, z)))


def _under_open_lids(iris: Array, side: int, lids: float) -> Array:
    """Where the iris, (3,) metres from the ball's centre, would be reported with the eye open."""
    outwards = 1.0 if side == 0 else -1.0
    # An iris at rest is seen inwards of its ball's centre (FALSE_CONVERGENCE).
    rest = -outwards * IRIS_ORBIT * np.sin(FALSE_CONVERGENCE / 2.0)
    x = iris[0] + outwards * np.interp(lids, LIDS_AT, NOSEWARDS)
    x = rest + (x - rest) / np.interp(lids, LIDS_AT, SHRUNK)
    return np.array([x, iris[1] + np.interp(lids, LIDS_AT, SUNK), iris[2]])


def _shape_angles(shapes: Array, side: str) -> tuple[float, float]:
    def weight(name: str) -> float:
        return float(shapes[SHAPE_INDEX[f"eyeLook{name}{side}"]])

    outwards = weight("Out") - weight("In")
    yaw = LOOK_YAW * (outwards if side == "Left" else -outwards)
    return yaw, LOOK_PITCH * (weight("Up") - weight("Down"))


def _say(lids: float, camera_in_head: Array, side: int) -> float:
    """0..1: how much the iris of this eye is to be believed."""
    # Turned to the person's right, the camera stands on the face's left: the right eye hides.
    aside = float(np.arctan2(camera_in_head[0], camera_in_head[2])) * (-1.0 if side == 0 else 1.0)
    seen = float(np.interp(lids, LIDS_AT, BELIEVED))
    return seen * (1.0 - smooth_step(aside, HIDDEN_FROM, HIDDEN_TO))
