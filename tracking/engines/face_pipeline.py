"""Our own face tracking on any engine's networks: detect, cut out, place landmarks, filter."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tracking.detection import Detection, Detector
from tracking.engine import FaceMarks, Picture, require_picture
from tracking.face_landmarks import FaceFind, FaceLandmarks
from tracking.followed_faces import FollowedFaces, distinct_faces
from tracking.net import NetSource
from tracking.one_euro import OneEuroOptions
from tracking.region import Region, face_region_of_detection, overlap
from tracking.tiles import TileTurns, tiles

MOST_FACES = 6
"""Detected faces that are looked at before one of them is chosen; so many for each of several."""
FACE_BETA = 115.0
"""Of the filter. MediaPipe's 80 lags 8.7 ms and trembles by 0.034 % of the face's box; this lags
6.7 ms and trembles by 0.042 % (`benchmarks.tracking`, part motion)."""
MOST_OF_ALL = 32
"""Detected faces that `FacePipeline.look_all` looks at."""
SAME_REGION = 0.5
"""Overlap from which a detected face is one that is already followed."""


@dataclass(frozen=True, slots=True)
class FaceSettings:
    """How to track faces."""

    faces: int = 1
    """At most this many, each with a filter of its own."""
    min_detection: float = 0.3
    """0..1 of the detector. Low, because the landmark network judges what it finds."""
    min_presence: float = 0.5
    """0..1 of the landmark network, to have a face and to follow it."""
    passes: int = 2
    """Looks at a face that was just detected, each at the region of the last one's landmarks."""
    tiles: tuple[int, ...] = (1, 2, 4)
    """Levels of `tracking.tiles`."""
    largest: bool = True
    """Of too many faces, follow the largest, who are the nearest; else the surest."""
    search_every_ms: int = 160
    """Milliseconds from one search to the next while the subject is followed, and fewer faces than
    may be. While the subject is not seen, every picture is searched."""
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
    """`tracking.engine.FaceEngine`. Follows a face as long as it is seen, whoever else comes."""

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
        self._faces = FollowedFaces(self._settings.faces, self._settings.filter)
        self._searched_ms = 0

    def look(self, rgb: Picture, t_ms: int) -> tuple[FaceMarks, ...]:
        require_picture("FacePipeline.look", rgb)
        return self.take(rgb, t_ms, self._landmarks.find(rgb, self.regions()))

    def regions(self) -> list[Region]:
        """Where the faces that are followed are to be looked for in the next picture."""
        return self._faces.regions()

    def followed(self) -> list[FaceFind]:
        """The faces of the last picture, unfiltered, in the order of `regions`: of those that
        `take` was given, and new ones."""
        return self._faces.finds()

    def take(self, rgb: Picture, t_ms: int, finds: list[FaceFind]) -> tuple[FaceMarks, ...]:
        """`look`, for whom has asked the landmark network already: one find for each of
        `regions`, in their order."""
        lost = self._faces.go_on(t_ms, [f if self._believes(f) else None for f in finds])
        if self._search_is_due(t_ms, lost):
            self._searched_ms = t_ms
            self._faces.come(t_ms, self._searched(rgb))
        return tuple(
            FaceMarks(
                face.landmarks.astype(np.float32),
                self._landmarks.blendshapes(face.landmarks)
                if find.filtered is None
                else find.filtered.blendshapes,
                face.bystander,
            )
            for find, face in zip(self.followed(), self._faces.calm(t_ms), strict=True)
        )

    def look_all(self, rgb: Picture) -> tuple[FaceMarks, ...]:
        """Every face of a single picture, the largest first. None of them is followed or filtered,
        and the one that is followed stays so."""
        require_picture("FacePipeline.look_all", rgb)
        squares = tiles(rgb.shape[1], rgb.shape[0], self._settings.tiles)
        found = self._detector.detect(rgb, squares, self._settings.min_detection)
        # The surest detection of each face: presence says nothing of how well landmarks lie.
        kept = distinct_faces(self._placed(rgb, found[:MOST_OF_ALL]))
        return tuple(
            FaceMarks(
                face.landmarks.astype(np.float32), self._landmarks.blendshapes(face.landmarks)
            )
            for face in sorted(kept, key=lambda face: -face.extent())
        )

    def close(self) -> None:
        self._faces = FollowedFaces(self._settings.faces, self._settings.filter)

    def _search_is_due(self, t_ms: int, lost: int) -> bool:
        if not self._faces.sees_subject():
            return True
        elapsed = t_ms - self._searched_ms
        return self._faces.room() > 0 and (lost > 0 or elapsed >= self._settings.search_every_ms)

    def _searched(self, rgb: Picture) -> list[FaceFind]:
        """Faces that are not followed yet, the largest first; two may be of one face."""
        s = self._settings
        squares = self._turns.next(rgb.shape[1], rgb.shape[0], alone=False)
        known = self._faces.regions()
        found = [
            detection
            for detection in self._detector.detect(rgb, squares, s.min_detection)
            if all(overlap(_first_region(detection), region) < SAME_REGION for region in known)
        ]
        if s.largest:
            found = sorted(found, key=lambda detection: -detection.side())[: MOST_FACES * s.faces]
        else:
            found = found[: s.faces]
        return sorted(self._placed(rgb, found), key=lambda face: -face.extent())

    def _placed(self, rgb: Picture, found: list[Detection]) -> list[FaceFind]:
        """The faces that were detected, in order; two finds may be of one face."""
        regions = [_first_region(detection) for detection in found]
        faces: list[FaceFind] = []
        for _ in range(self._settings.passes):
            finds = self._landmarks.find(rgb, [r for r in regions if r.usable()])
            faces = [face for face in finds if self._believes(face)]
            regions = [face.region() for face in faces]
        return faces

    def _believes(self, face: FaceFind) -> bool:
        return face.presence >= self._settings.min_presence and face.is_sound()


def _first_region(detection: Detection) -> Region:
    return face_region_of_detection(detection.low, detection.high, detection.points)
