"""Our own face tracking on any engine's networks: detect, cut out, place landmarks, filter."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from tracking.detection import Detection, Detector
from tracking.engine import FaceMarks, Picture, require_picture
from tracking.face_landmarks import FaceFind, FaceLandmarks
from tracking.net import NetSource
from tracking.one_euro import OneEuro, OneEuroOptions
from tracking.region import Region, face_region_of_detection
from tracking.tiles import TileTurns, tiles

MOST_FACES = 6
"""Detected faces that are looked at before one of them is chosen."""
FACE_BETA = 115.0
"""Of the filter. MediaPipe's 80 lags 8.7 ms and trembles by 0.034 % of the face's box; this lags
6.7 ms and trembles by 0.042 % (`benchmarks.tracking`, part motion)."""
MOST_OF_ALL = 32
"""Detected faces that `FacePipeline.look_all` looks at."""
SAME_FACE = 0.5
"""Distance of two faces' middles, in extents of the larger one, below which they are one face."""


@dataclass(frozen=True, slots=True)
class FaceSettings:
    """How to track a face."""

    min_detection: float = 0.3
    """0..1 of the detector. Low, because the landmark network judges what it finds."""
    min_presence: float = 0.5
    """0..1 of the landmark network, to have a face and to follow it."""
    passes: int = 2
    """Looks at a face that was just detected, each at the region of the last one's landmarks."""
    tiles: tuple[int, ...] = (1, 2, 4)
    """Levels of `tracking.tiles`."""
    largest: bool = True
    """Of several faces, follow the largest, who is the nearest; else the surest."""
    looks: int = 1
    """Slightly different regions whose landmarks are averaged, 1 to 5."""
    mediapipe_crops: bool = False
    """Whether pictures are cut out as MediaPipe does, half a pixel off."""
    filter: OneEuroOptions | None = field(default_factory=lambda: OneEuroOptions(beta=FACE_BETA))
    """Quiets the landmarks; None: not at all."""


MEDIAPIPE_FACE = FaceSettings(
    min_detection=0.5,
    passes=1,
    tiles=(1,),
    largest=False,
    mediapipe_crops=True,
    filter=OneEuroOptions(),
)
"""What MediaPipe's face landmarker does for one face."""


class FacePipeline:
    """`tracking.engine.FaceEngine`. Follows one face as long as it is seen, whoever else comes."""

    def __init__(self, nets: NetSource, settings: FaceSettings | None = None) -> None:
        """Raises ValueError when a model is damaged, RuntimeError when the engine refuses it."""
        self._settings = settings or FaceSettings()
        self._detector = Detector(nets.open("face_detector"), self._settings.mediapipe_crops)
        self._landmarks = FaceLandmarks(
            nets.open("face_landmarks"),
            nets.open("face_blendshapes"),
            self._settings.looks,
            self._settings.mediapipe_crops,
        )
        self._turns = TileTurns(self._settings.tiles)
        self._filter = None if self._settings.filter is None else OneEuro(self._settings.filter)
        self._region: Region | None = None

    def look(self, rgb: Picture, t_ms: int) -> tuple[FaceMarks, ...]:
        require_picture("FacePipeline.look", rgb)
        return self.take(rgb, t_ms, self._landmarks.find(rgb, self.regions()))

    def regions(self) -> list[Region]:
        """Where the faces that are followed are to be looked for in the next picture."""
        return [] if self._region is None else [self._region]

    def take(self, rgb: Picture, t_ms: int, finds: list[FaceFind]) -> tuple[FaceMarks, ...]:
        """`look`, for whom has asked the landmark network already: one find for each of
        `regions`, in their order."""
        believed = self._believed(finds)
        face = believed[0] if believed else self._detected(rgb)
        if face is None:
            self._region = None
            if self._filter is not None:
                self._filter.reset()
            return ()
        self._region = face.region()
        landmarks = face.landmarks
        if self._filter is not None:
            landmarks = self._filter.filter(t_ms * 1_000_000, landmarks, face.extent())
        return (FaceMarks(landmarks.astype(np.float32), self._landmarks.blendshapes(landmarks)),)

    def look_all(self, rgb: Picture) -> tuple[FaceMarks, ...]:
        """Every face of a single picture, the largest first. None of them is followed or filtered,
        and the one that is followed stays so."""
        require_picture("FacePipeline.look_all", rgb)
        squares = tiles(rgb.shape[1], rgb.shape[0], self._settings.tiles)
        found = self._detector.detect(rgb, squares, self._settings.min_detection)
        kept: list[FaceFind] = []
        # The surest detection of each face: presence says nothing of how well landmarks lie.
        for face in self._placed(rgb, found[:MOST_OF_ALL]):
            if all(_apart(face, other) >= SAME_FACE for other in kept):
                kept.append(face)
        return tuple(
            FaceMarks(
                face.landmarks.astype(np.float32), self._landmarks.blendshapes(face.landmarks)
            )
            for face in sorted(kept, key=lambda face: -face.extent())
        )

    def close(self) -> None:
        self._region = None

    def _detected(self, rgb: Picture) -> FaceFind | None:
        if self._filter is not None:
            self._filter.reset()
        squares = self._turns.next(rgb.shape[1], rgb.shape[0], alone=False)
        found = self._detector.detect(rgb, squares, self._settings.min_detection)
        if self._settings.largest:
            found = sorted(found, key=lambda detection: -detection.side())[:MOST_FACES]
        else:
            found = found[:1]
        return max(self._placed(rgb, found), key=FaceFind.extent, default=None)

    def _placed(self, rgb: Picture, found: list[Detection]) -> list[FaceFind]:
        """The faces that were detected, in order; two finds may be of one face."""
        regions = [face_region_of_detection(d.low, d.high, d.points) for d in found]
        faces: list[FaceFind] = []
        for _ in range(self._settings.passes):
            faces = self._believed(self._landmarks.find(rgb, [r for r in regions if r.usable()]))
            regions = [face.region() for face in faces]
        return faces

    def _believed(self, faces: list[FaceFind]) -> list[FaceFind]:
        return [
            face
            for face in faces
            if face.presence >= self._settings.min_presence and face.region().usable()
        ]


def _apart(a: FaceFind, b: FaceFind) -> float:
    """Distance of the faces' middles, as a part of the larger one's extent."""
    one, other = a.region(), b.region()
    distance = math.hypot(one.x - other.x, one.y - other.y)
    return distance / max(a.extent(), b.extent(), 1e-9)
