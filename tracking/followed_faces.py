"""Which face is whose from one picture to the next, and which of them is the subject's.

Each face that is followed has a place, and a filter of its own, until it is lost. The subject is
the largest face of those that came first, and stays so whoever else comes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracking.face_landmarks import FaceFind
from tracking.one_euro import OneEuro, OneEuroOptions
from tracking.region import Region

Array = npt.NDArray[np.float64]

SAME_FACE = 0.5
"""Distance of two faces' middles, in extents of the larger one, below which they are one face."""
HIDDEN_MS = 2000
"""Milliseconds for which a subject who is not seen is waited for while bystanders are: as long as a
hand before the face, or somebody who walks by."""
NEAR = 2.0
"""Distance likewise from where the subject's face was lost, below which one that comes is it."""
ALIKE = 0.6
"""Its size as a part of the lost one's, or the other way round: less is someone farther behind."""


def faces_apart(a: FaceFind, b: FaceFind) -> float:
    """Distance of the faces' middles, as a part of the larger one's extent."""
    one, other = a.region(), b.region()
    distance = math.hypot(one.x - other.x, one.y - other.y)
    return distance / max(a.extent(), b.extent(), 1e-9)


def distinct_faces(found: Sequence[FaceFind], known: Sequence[FaceFind] = ()) -> list[FaceFind]:
    """In their order, the first find of each face that is none of the known ones."""
    kept: list[FaceFind] = []
    for face in found:
        if all(faces_apart(face, other) >= SAME_FACE for other in (*known, *kept)):
            kept.append(face)
    return kept


@dataclass(frozen=True, slots=True, eq=False)
class CalmFace:
    """A followed face as it is to be shown."""

    landmarks: Array
    """(478, 3) float64 as of `FaceFind`, filtered."""
    bystander: bool


@dataclass(slots=True, eq=False)
class _Followed:
    find: FaceFind
    """Of the last picture, as the network said it."""
    filter: OneEuro | None

    def calm(self, t_ms: int) -> Array:
        if self.find.filtered is not None:
            return self.find.filtered.landmarks
        if self.filter is None:
            return self.find.landmarks
        return self.filter.filter(t_ms * 1_000_000, self.find.landmarks, self.find.extent())


@dataclass(frozen=True, slots=True, eq=False)
class _Hidden:
    """A subject who is waited for."""

    find: FaceFind
    since_ms: int

    def is_it(self, face: FaceFind) -> bool:
        sizes = sorted((face.extent(), self.find.extent()))
        return faces_apart(face, self.find) < NEAR and sizes[0] >= ALIKE * sizes[1]


class FollowedFaces:
    """At most `most` faces. For each picture call `go_on`, `come` when it was searched, `calm`."""

    def __init__(self, most: int, options: OneEuroOptions | None) -> None:
        """`options` of each face's filter; None: none has one."""
        self._most = most
        self._options = options
        self._faces: list[_Followed] = []  # The subject's first, unless it is hidden.
        self._hidden: _Hidden | None = None

    def finds(self) -> list[FaceFind]:
        """Of the last picture: the subject's first, then the bystanders' in the order they came."""
        return [face.find for face in self._faces]

    def regions(self) -> list[Region]:
        """Where these are to be looked for in the next picture."""
        return [face.find.region() for face in self._faces]

    def sees_subject(self) -> bool:
        return bool(self._faces) and self._hidden is None

    def room(self) -> int:
        """For so many more; the hidden subject's place is kept for it."""
        return self._most - len(self._faces) - (self._hidden is not None)

    def go_on(self, t_ms: int, finds: Sequence[FaceFind | None]) -> int:
        """What the regions of `regions`, in their order, show in the next picture; None: no face.
        Returns how many are lost.

        When one face hides another, both regions come to show it. It is the one that was there:
        the other has moved farther to it.
        """
        if len(finds) != len(self._faces):
            raise ValueError(
                f"FollowedFaces.go_on: expected a find for each of {len(self._faces)} regions, "
                f"got {len(finds)}"
            )
        seen = [(k, find) for k, find in enumerate(finds) if find is not None]
        seen.sort(key=lambda pair: _moved(self._faces[pair[0]].find, pair[1]))
        stay: dict[int, FaceFind] = {}
        for k, find in seen:
            if distinct_faces([find], list(stay.values())):
                stay[k] = find
        before, saw_subject = self._faces, self.sees_subject()
        self._faces = [_Followed(stay[k], before[k].filter) for k in sorted(stay)]
        if saw_subject and 0 not in stay and len(before) > 1:
            self._hidden = _Hidden(before[0].find, t_ms)
        return len(before) - len(self._faces)

    def come(self, t_ms: int, found: Sequence[FaceFind]) -> None:
        """What a search of the same picture found, the largest first."""
        new = distinct_faces(found, self.finds())
        hidden = self._hidden
        if hidden is not None:
            back = min(
                filter(hidden.is_it, new),
                key=lambda face: faces_apart(face, hidden.find),
                default=None,
            )
            if back is not None:
                self._hidden = None
                self._faces.insert(0, self._newcomer(back))
                new = [face for face in new if face is not back]
        self._faces += [self._newcomer(face) for face in new[: self.room()]]
        if self._hidden is not None and t_ms - self._hidden.since_ms >= HIDDEN_MS:
            self._hidden = None
            self._faces.sort(key=lambda face: -face.find.extent())

    def calm(self, t_ms: int) -> list[CalmFace]:
        """The followed faces in the order of `finds`; once a picture."""
        return [
            CalmFace(face.calm(t_ms), bystander=k > 0 or self._hidden is not None)
            for k, face in enumerate(self._faces)
        ]

    def _newcomer(self, find: FaceFind) -> _Followed:
        return _Followed(find, None if self._options is None else OneEuro(self._options))


def _moved(before: FaceFind, after: FaceFind) -> float:
    """Mean distance of the landmarks, as a part of the face's extent."""
    distance = np.linalg.norm((after.landmarks - before.landmarks)[:, :2], axis=1).mean()
    return float(distance) / max(before.extent(), 1e-9)
