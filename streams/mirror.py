"""Mirror images: left becomes right in pictures, poses and expressions.

Everything is mirrored in the world's plane x = 0, in which a webcam at the origin lies; every
frame (world, camera, head, wrist) flips its own x with it, so that all stay right-handed. Hence
tracking a mirrored frame gives the mirrored tracked state. Mirroring twice gives back what was.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from streams.camera import Camera, Distortion
from streams.face_shapes import MIRRORED_SHAPES
from streams.frame import Frame
from streams.rigid import Rigid
from streams.tracked_state import FacePose, HandPose, PartConfidence, TrackedState

_FLIP_X = np.array([-1.0, 1.0, 1.0], np.float32)


def _mirrored_landmarks() -> npt.NDArray[np.intp]:
    """MediaPipe numbers the face's middle line and right half below 248 and gives the left half's
    points in the same order after them. The irises are numbered as they look in a picture:
    middle, picture's right, top, picture's left, bottom."""
    middle = {*range(3), 4, 5, 6, *range(8, 20), 94, 151, 152, 164, 168, 175, 195, 197, 199, 200}
    right = [i for i in range(248) if i not in middle]
    partner = np.arange(478)
    partner[right], partner[248:468] = np.arange(248, 468), right
    partner[468:473], partner[473:478] = [473, 476, 475, 474, 477], [468, 471, 470, 469, 472]
    return partner


MIRRORED_LANDMARKS = _mirrored_landmarks()
"""(478,) int: `landmarks[MIRRORED_LANDMARKS]`, x negated, are those of the mirrored face."""


def mirror_rigid(a_from_b: Rigid) -> Rigid:
    """The same transform between the mirrored a and the mirrored b."""
    return Rigid(
        a_from_b.wxyz * np.array([1.0, 1.0, -1.0, -1.0]), a_from_b.xyz * np.array([-1.0, 1.0, 1.0])
    )


def mirror_camera(camera: Camera) -> Camera:
    """The camera that would have taken the mirrored picture, in the mirrored world."""
    distortion = camera.distortion
    if distortion.model == "pinhole_brown":
        k1, k2, p1, p2, k3 = distortion.coefficients
        # Of Brown's terms only p2's is even in x.
        distortion = Distortion("pinhole_brown", (k1, k2, p1, -p2, k3))
    return replace(
        camera,
        centre=np.array([camera.size[0] - 1 - camera.centre[0], camera.centre[1]]),
        distortion=distortion,
        world_from_camera=mirror_rigid(camera.world_from_camera),
    )


def mirror_frame(frame: Frame) -> Frame:
    """Flips the pixels, remembers it in `mirrored`, and takes the camera along."""
    return replace(
        frame,
        camera=mirror_camera(frame.camera),
        rgb=np.ascontiguousarray(frame.rgb[:, ::-1]),
        mirrored=not frame.mirrored,
    )


def mirror_hand(hand: HandPose) -> HandPose:
    """The other hand in the mirrored place. Angles stay: spread counts away from the middle
    finger on both hands."""
    return replace(
        hand,
        side="left" if hand.side == "right" else "right",
        joints=hand.joints * _FLIP_X,
        world_from_wrist=mirror_rigid(hand.world_from_wrist),
    )


def mirror_face(face: FacePose) -> FacePose:
    """The mirrored face: paired shapes, landmarks and eyes swap."""
    return replace(
        face,
        blendshapes=face.blendshapes[MIRRORED_SHAPES],
        landmarks=face.landmarks[MIRRORED_LANDMARKS] * _FLIP_X,
        gaze=face.gaze[::-1] * _FLIP_X,
        world_from_head=mirror_rigid(face.world_from_head),
        parts=None if face.parts is None else _mirror_parts(face.parts),
    )


def _mirror_parts(parts: PartConfidence) -> PartConfidence:
    return replace(parts, left_gaze=parts.right_gaze, right_gaze=parts.left_gaze)


def mirror_state(state: TrackedState) -> TrackedState:
    """Everything that was tracked, mirrored."""
    return replace(
        state,
        face=None if state.face is None else mirror_face(state.face),
        hands=tuple(mirror_hand(hand) for hand in state.hands),
    )
