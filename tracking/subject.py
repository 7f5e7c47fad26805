"""Whose hands these are: those that the followed face can reach, not a bystander's.

Sizes in the picture tell distances: a hand's pixels a metre against the face's say whether it is
about as far away, and then how many metres lie between the two.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.hand_skeleton import PALM_JOINTS
from tracking.engine import FaceMarks
from tracking.hand_placement import inverse_distance
from tracking.landmark_flow import LEFT_SIDE, RIGHT_SIDE

FACE_WIDTH = 0.154
"""Metres between FACE_SIDES on MediaPipe's average face."""
FACE_SIDES = (RIGHT_SIDE, LEFT_SIDE)
"""Landmarks of the outline beside the right and the left ear."""
REACH = 1.0
"""Metres from the middle of a face to the middle of its hands, arms stretched aside."""
FARTHER = 0.6
"""A hand that looks smaller than this part of what it would beside the face is of someone behind:
hands reach back a quarter of a metre, and small ones look like two thirds of average ones."""
LEEWAY = 1.2
"""A hand that is followed is given up only this much beyond both."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is in the picture, and how near."""

    x: float
    """Pixels."""
    y: float
    scale: float
    """Pixels a metre at its distance."""


class Subject:
    """Whom the tracker follows, known to the hands' engine: written between two looks, by another
    thread than the one that reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._face: Place | None = None

    @property
    def face(self) -> Place | None:
        """The face of the last picture, or None when it showed none."""
        with self._lock:
            return self._face

    def follow(self, face: FaceMarks | None) -> None:
        """The face that was found in the last picture."""
        place = None if face is None else face_place(face.landmarks)
        with self._lock:
            self._face = place


def face_place(landmarks: npt.NDArray[np.floating]) -> Place:
    """Of (478, 3) pixels."""
    right, left = landmarks[FACE_SIDES[0]], landmarks[FACE_SIDES[1]]
    x, y = (right[:2] + left[:2]) / 2.0
    return Place(float(x), float(y), float(np.linalg.norm(left - right)) / FACE_WIDTH)


def hand_place(landmarks: npt.NDArray[np.floating], shape: npt.NDArray[np.floating]) -> Place:
    """Of (21, 2) pixels and the same hand's (21, 3) metres, along the axes of the picture."""
    x, y = landmarks[PALM_JOINTS].mean(0)
    return Place(float(x), float(y), inverse_distance(shape, landmarks))


def metres_between(hand: Place, face: Place) -> float:
    """Across the picture, as if both were at the nearer one's distance."""
    return float(np.hypot(hand.x - face.x, hand.y - face.y)) / max(hand.scale, face.scale, 1e-9)


def can_reach(face: Place, hand: Place, leeway: float = 1.0) -> bool:
    """Whether this hand may be that of the person with this face."""
    near = hand.scale * leeway >= FARTHER * face.scale
    return near and metres_between(hand, face) <= REACH * leeway
