"""Jitter, lag and error in motion: the temporal part of `benchmarks.tracking`.

On photographs whose motion is known (`tracking.temporal_quality`), and on real films, where unrest
holds true motion too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.compared_trackers import PhotographFinder
from benchmarks.tracking_accuracy import photograph
from tracking.engine import FaceEngine, HandEngine, HandMarks, Picture
from tracking.temporal_quality import StillMotion, lag, quiet_unrest, temporal_quality

Array = npt.NDArray[np.float64]

HAND_ROOM = 2.6
"""Side of the square cut out round a hand that is small in its photograph, in hand boxes."""
CUT_SIDE = 480
QUIETEST = 0.25
"""Part of a film's frames whose unrest is counted."""


@dataclass(frozen=True, slots=True)
class Motion:
    """Of one tracker on photographs in known motion, means over them."""

    tracker: str
    what: str
    """face or hand."""
    photographs: int
    jitter_percent: float
    """At rest, of the box."""
    lag_ms: float
    moving_error_percent: float
    """Of the box."""


@dataclass(frozen=True, slots=True)
class FilmUnrest:
    """Of one tracker on real films, means over them."""

    tracker: str
    what: str
    films: int
    unrest_percent: float
    """Distance from a straight line in the quietest quarter of the frames, of the box."""
    lag_ms: float
    """Behind our own landmarks without a filter."""


Track = Callable[[Sequence[Picture]], "Array | None"]
"""Frames at 30 Hz -> (frames, N, 2) pixels, or None when it was lost in one of them."""


def face_track(open_engine: Callable[[], FaceEngine], fps: float = 30.0) -> Track:
    """By a new engine each time."""

    def track(pictures: Sequence[Picture]) -> Array | None:
        engine = open_engine()
        try:
            found = [engine.look(rgb, _ms(k, fps)) for k, rgb in enumerate(pictures)]
        finally:
            engine.close()
        if not all(found):
            return None
        return np.array([faces[0].landmarks[:, :2] for faces in found], np.float64)

    return track


def hand_track(open_engine: Callable[[], HandEngine], fps: float = 30.0) -> Track:
    """As `face_track`, of the first hand."""

    def track(pictures: Sequence[Picture]) -> Array | None:
        engine = open_engine()
        try:
            found: list[tuple[HandMarks, ...]] = [
                engine.look(rgb, _ms(k, fps)) for k, rgb in enumerate(pictures)
            ]
        finally:
            engine.close()
        if not all(found):
            return None
        return np.array([hands[0].landmarks for hands in found], np.float64)

    return track


def motion_table(
    what: str, photographs: Sequence[Picture], trackers: Mapping[str, Track]
) -> list[Motion]:
    """One row a tracker; photographs that one of them loses count for none."""
    motion = StillMotion()
    each: dict[str, list[tuple[float, float, float]]] = {name: [] for name in trackers}
    for still in photographs:
        pictures = list(motion.pictures(still))
        tracks = {name: track(pictures) for name, track in trackers.items()}
        for name, points in tracks.items():
            if points is not None and all(other is not None for other in tracks.values()):
                q = temporal_quality(points, motion)
                each[name].append((100 * q.jitter, 1000 * q.lag_s, 100 * q.moving_error))
    return [
        Motion(name, what, len(rows), *_means(rows, 3)) for name, rows in each.items()
    ]  # fmt: skip


def film_table(
    what: str,
    films: Sequence[tuple[Sequence[Picture], float]],
    trackers: Mapping[str, Callable[[float], Track]],
    unfiltered: str,
) -> list[FilmUnrest]:
    """`films`: frames and their rate; `trackers` by rate; `unfiltered` names the one that others'
    lag is counted from."""
    each: dict[str, list[tuple[float, float]]] = {name: [] for name in trackers}
    for pictures, fps in films:
        tracks = {name: track(fps)(pictures) for name, track in trackers.items()}
        ahead = tracks[unfiltered]
        if ahead is None:
            continue
        box = float(np.ptp(ahead, axis=1).mean())
        for name, points in tracks.items():
            if points is None:
                continue
            unrest = np.sort(quiet_unrest(points, fps))
            quiet = unrest[: max(1, round(QUIETEST * len(unrest)))]
            behind = lag(_columns(ahead), _columns(points), fps)
            each[name].append((100 * float(quiet.mean()) / box, 1000 * behind))
    return [FilmUnrest(name, what, len(rows), *_means(rows, 2)) for name, rows in each.items()]


def face_stills(folders: Sequence[Path]) -> list[Picture]:
    """Photographs of one large face each, as far as they are at hand."""
    names = ("indoor_020.png", "10773046825_0.jpg", "001805.jpg", "image22568.jpg")
    return [photograph(path) for name in names if (path := _find(folders, name))]


def hand_stills(folders: Sequence[Path], finder: PhotographFinder) -> list[Picture]:
    """Photographs of one hand each; those that show a person are cut down to the hand."""
    found = [photograph(path) for name in ("33.jpg", "784.jpg") if (path := _find(folders, name))]
    for gesture, count in (("four", 6), ("rock", 3)):
        for folder in folders:
            for path in sorted((folder / "hands" / "gestures" / gesture).glob("*.jpg"))[:count]:
                cut = cut_to_hand(photograph(path), finder)
                if cut is not None:
                    found.append(cut)
    return found


def cut_to_hand(rgb: Picture, finder: PhotographFinder) -> Picture | None:
    """A square of CUT_SIDE pixels round the first hand; None where none is found."""
    hands = finder.hands(rgb)
    if not hands:
        return None
    low, high = hands[0].landmarks.min(axis=0), hands[0].landmarks.max(axis=0)
    scale = CUT_SIDE / (HAND_ROOM * float((high - low).max()))
    shift = (CUT_SIDE - 1) / 2 - scale * (low + high) / 2
    to_cut = np.column_stack([np.eye(2) * scale, shift])
    return np.asarray(
        cv2.warpAffine(rgb, to_cut, (CUT_SIDE, CUT_SIDE), borderMode=cv2.BORDER_REPLICATE),
        np.uint8,
    )


def _find(folders: Sequence[Path], name: str) -> Path | None:
    for folder in folders:
        for path in sorted(folder.rglob(name)):
            return path
    return None


def _ms(frame: int, fps: float) -> int:
    return 1 + round(frame * 1000 / fps)


def _columns(track: Array) -> Array:
    """The points' mean and a few of them, each coordinate a column."""
    some = track[:, :: max(1, track.shape[1] // 20)]
    return some.reshape(len(track), -1)


def _means(rows: Sequence[tuple[float, ...]], count: int) -> tuple[float, ...]:
    return tuple(np.mean(rows, axis=0).tolist()) if rows else (float("nan"),) * count
