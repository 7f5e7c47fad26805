"""Whose hands these are: those that the subject's face can reach, not a bystander's.

Sizes in the picture tell distances: a hand's pixels a metre against the face's say whether it is
about as far away, and then how many metres lie between the two. Of two faces that can reach a hand
the nearer one has it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.camera import Camera
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
FORWARD = 0.5
"""Metres before the face within which its hands are as likely as beside it."""
FARTHER = 0.6
"""A hand that looks smaller than this part of what it would beside the face is of someone behind:
hands reach back a quarter of a metre, and small ones look like two thirds of average ones."""
LEEWAY = 1.2
"""A hand that is followed is given up only this much beyond both, or when its own face is this much
farther from it than a bystander's."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is in the picture, and how near."""

    x: float
    """Pixels."""
    y: float
    scale: float
    """Pixels a metre at its distance."""


@dataclass(frozen=True, slots=True)
class Company:
    """Who is in the picture."""

    subject: Place | None = None
    """The face of whom the tracker follows."""
    bystanders: tuple[Place, ...] = ()
    """Other faces that were found."""
    camera: Camera | None = None
    """Which the picture is of, at the picture's size; without it bystanders have no say."""
    leeway: float = 1.0
    """For hands that are followed already. None for those that were found when no subject was
    known, which may be anybody's."""

    def may_have(self, hand: Place, followed: bool = False) -> bool:
        """Whether this hand may be the subject's; any may where no subject is known."""
        if self.subject is None:
            return True
        leeway = self.leeway if followed else 1.0
        if not can_reach(self.subject, hand, leeway):
            return False
        if self.camera is None:
            return True
        own = metres_to_body(hand, self.subject, self.camera)
        return not any(
            can_reach(other, hand) and leeway * metres_to_body(hand, other, self.camera) < own
            for other in self.bystanders
        )


class Subject:
    """Whom the tracker follows, known to the hands' engine: written between two looks, by another
    thread than the one that reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._company = Company()

    @property
    def company(self) -> Company:
        """Who was in the last picture."""
        with self._lock:
            return self._company

    def follow(
        self,
        face: FaceMarks | None,
        bystanders: Sequence[FaceMarks] = (),
        camera: Camera | None = None,
    ) -> None:
        """The faces that were found in the last picture; `camera` as of `Company`.

        While bystanders are seen and the subject is not, its last place stands: the face is hidden,
        not gone.
        """
        others = tuple(face_place(other.landmarks) for other in bystanders)
        with self._lock:
            before = self._company.subject
            place = before if others else None
            if face is not None:
                place = face_place(face.landmarks)
            self._company = Company(place, others, camera, LEEWAY if before is not None else 1.0)


def face_place(landmarks: npt.NDArray[np.floating]) -> Place:
    """Of (478, 3) pixels. Depth counts: a face turned by 50 degrees is half as wide in the picture
    and no farther away."""
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


def metres_to_body(hand: Place, face: Place, camera: Camera) -> float:
    """In space, each at the distance that its scale tells, from a hand to where this face's hands
    are: beside it or as far before it as they are held."""
    (x, y), focal = camera.centre, float(camera.focal.mean())
    near, far = max(hand.scale, 1e-9), max(face.scale, 1e-9)
    right = (hand.x - x) / near - (face.x - x) / far
    down = (hand.y - y) / near - (face.y - y) / far
    before = focal / far - focal / near
    return float(np.linalg.norm((right, down, before - np.clip(before, 0.0, FORWARD))))


def can_reach(face: Place, hand: Place, leeway: float = 1.0) -> bool:
    """Whether this hand may be that of the person with this face."""
    near = hand.scale * leeway >= FARTHER * face.scale
    return near and metres_between(hand, face) <= REACH * leeway
