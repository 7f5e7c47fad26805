"""MediaPipe Tasks (face and hand landmarkers, VIDEO mode, CPU): all that is MediaPipe's own.

Its normalised coordinates span the picture from edge to edge; here they become pixels whose
(0, 0) is a pixel's centre. Importing MediaPipe takes seconds, so it happens when an engine opens.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.face_shapes import FACE_SHAPES
from tracking.engine import FaceMarks, HandMarks, Picture, require_picture
from tracking.nets.bundle import require_bundle

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Confidences:
    """MediaPipe's thresholds, 0..1 each."""

    detection: float = 0.5
    """Of the detector, to begin with a face or hand."""
    presence: float = 0.5
    """Of the landmark model, that there is one."""
    tracking: float = 0.5
    """To follow it into the next frame without the detector."""


FACE_NETWORKS = ("face_detector.tflite", "face_landmarks_detector.tflite")
HAND_NETWORKS = ("hand_detector.tflite", "hand_landmarks_detector.tflite")
"""Members of the two bundles."""


class MediaPipeFace:
    """`tracking.engine.FaceEngine`; one face, whose landmarks MediaPipe filters over time."""

    def __init__(self, bundle: Path, confidences: Confidences) -> None:
        """Raises ValueError when the bundle is damaged, RuntimeError when MediaPipe refuses it."""
        require_bundle(bundle, FACE_NETWORKS)
        from mediapipe.tasks.python import BaseOptions, vision

        # More than one face would switch MediaPipe's filter off.
        self._landmarker = vision.FaceLandmarker.create_from_options(
            vision.FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=str(bundle)),
                running_mode=vision.RunningMode.VIDEO,
                num_faces=1,
                min_face_detection_confidence=confidences.detection,
                min_face_presence_confidence=confidences.presence,
                min_tracking_confidence=confidences.tracking,
                output_face_blendshapes=True,
            )
        )

    def look(self, rgb: Picture, t_ms: int) -> tuple[FaceMarks, ...]:
        result = self._landmarker.detect_for_video(_image(rgb), t_ms)
        if not result.face_landmarks or not result.face_blendshapes:
            return ()
        landmarks = _pixels(result.face_landmarks[0], rgb)
        scores = {shape.category_name: shape.score for shape in result.face_blendshapes[0]}
        # MediaPipe has "_neutral" in the place of tongueOut, which it does not see.
        blendshapes = np.array([scores.get(name, 0.0) for name in FACE_SHAPES], np.float32)
        if not np.isfinite(landmarks).all():
            return ()
        return (FaceMarks(landmarks, np.clip(np.nan_to_num(blendshapes), 0.0, 1.0)),)

    def close(self) -> None:
        self._landmarker.close()


class FaceCounter:
    """How many faces single pictures show, each looked at afresh."""

    def __init__(self, bundle: Path, most: int = 2) -> None:
        """Counts to `most`. Raises ValueError when the bundle is damaged."""
        require_bundle(bundle, FACE_NETWORKS)
        from mediapipe.tasks.python import BaseOptions, vision

        self._landmarker = vision.FaceLandmarker.create_from_options(
            vision.FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=str(bundle)), num_faces=most
            )
        )

    def count(self, rgb: Picture) -> int:
        """(H, W, 3) uint8 sRGB -> 0 ... `most`."""
        return len(self._landmarker.detect(_image(rgb)).face_landmarks)

    def close(self) -> None:
        self._landmarker.close()


class MediaPipeHands:
    """`tracking.engine.HandEngine`; MediaPipe does not filter hands.

    A landmarker runs its palm detector, which costs more than a face, in every frame in which it
    follows fewer hands than it may. So while no hand is seen this engine looks from time to time
    only, and while one of two is seen it follows that one with a landmarker for one hand, and the
    landmarker for two looks from time to time whether the other has come.
    """

    def __init__(
        self, bundle: Path, confidences: Confidences, hands: int, search_every_ms: int
    ) -> None:
        """Raises ValueError when the bundle is damaged, RuntimeError when MediaPipe refuses it."""
        require_bundle(bundle, HAND_NETWORKS)
        self._all = _hand_landmarker(bundle, confidences, hands)
        self._one = _hand_landmarker(bundle, confidences, 1) if hands > 1 else self._all
        self._hands = hands
        self._search_every_ms = search_every_ms
        self._seen = 0
        self._searched_ms: int | None = None

    def look(self, rgb: Picture, t_ms: int) -> tuple[HandMarks, ...]:
        require_picture("MediaPipeHands.look", rgb)
        search = (
            self._seen == self._hands
            or self._searched_ms is None
            or t_ms - self._searched_ms >= self._search_every_ms
        )
        if not search and self._seen == 0:
            return ()
        found = _hands(self._all if search else self._one, rgb, t_ms)
        if not found and not search:
            # The one hand was lost, or the landmarker for one has not seen it yet.
            search = True
            found = _hands(self._all, rgb, t_ms)
        if search:
            self._searched_ms = t_ms
        self._seen = len(found)
        return found

    def close(self) -> None:
        self._all.close()
        if self._one is not self._all:
            self._one.close()


def _hand_landmarker(bundle: Path, confidences: Confidences, hands: int) -> Any:
    from mediapipe.tasks.python import BaseOptions, vision

    return vision.HandLandmarker.create_from_options(
        vision.HandLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(bundle)),
            running_mode=vision.RunningMode.VIDEO,
            num_hands=hands,
            min_hand_detection_confidence=confidences.detection,
            min_hand_presence_confidence=confidences.presence,
            min_tracking_confidence=confidences.tracking,
        )
    )


def _hands(landmarker: Any, rgb: Picture, t_ms: int) -> tuple[HandMarks, ...]:
    result = landmarker.detect_for_video(_image(rgb), t_ms)
    hands: list[HandMarks] = []
    for marks, world, sides in zip(
        result.hand_landmarks, result.hand_world_landmarks, result.handedness, strict=True
    ):
        landmarks = _pixels(marks, rgb)
        shape = np.array([(p.x, p.y, p.z) for p in world], np.float32)
        if np.isfinite(landmarks).all() and np.isfinite(shape).all():
            # The label is the person's own side in a picture that is not mirrored.
            side = "left" if sides[0].category_name == "Left" else "right"
            score = min(max(float(sides[0].score), 0.0), 1.0)
            hands.append(HandMarks(np.ascontiguousarray(landmarks[:, :2]), shape, side, score))
    return tuple(hands)


def _image(rgb: Picture) -> Any:
    import mediapipe

    require_picture("MediaPipe picture", rgb)
    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=rgb)


def _pixels(landmarks: Any, rgb: Picture) -> Float32:
    """(N, 3) float32 pixels, z on the scale of x."""
    height, width = rgb.shape[:2]
    normalised = np.array([(p.x, p.y, p.z) for p in landmarks], np.float64)
    scaled = normalised * (width, height, width) - (0.5, 0.5, 0.0)
    return scaled.astype(np.float32)
