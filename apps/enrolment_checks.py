"""Whether a video can become an avatar, before minutes are spent on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from apps.likeness_evaluation import spread
from apps.usage import FailedError
from assets.manifest import asset_path
from streams.frame import Frame
from streams.projection import project
from streams.tracked_state import FacePose, TrackedState

LEAST_FRAMES = 75
SMALLEST_FACE_PX = 56
"""Between the temples; a 160-pixel video of a head and shoulders has about 60."""
LEAST_MOTION_MM = 0.25
"""RMS of the landmarks about their average: a photograph's are still but for noise (0.05 mm)."""
LEAST_DETAIL = 0.045
"""RMS of what a blur of 2 % of the face's width takes away, of the face's own contrast: sharp
videos have 0.2 to 0.4, a face of 230 pixels that is blurred by 12 has 0.045."""
CROWDED_SHARE = 0.34
MOST_SAMPLES = 90
LEAP_M = 0.15
"""The head's way from one sight of it to the next beyond which it is another head."""


def check_tracked(states: Sequence[TrackedState]) -> None:
    """Raises FailedError when too little of a living face was seen."""
    faces = [state.face for state in states if state.face is not None]
    if not faces:
        raise FailedError("no face was found in the video; film one from the front, upright, lit")
    if len(faces) < LEAST_FRAMES:
        unseen = len(faces) < 0.7 * len(states)
        why = "; is it blurred, dark, or seen from the side?" if unseen else ""
        raise FailedError(
            f"a face was found in {len(faces)} of {len(states)} frames; expected at least "
            f"{LEAST_FRAMES} (three seconds; a minute makes a good avatar){why}"
        )
    marks = np.stack([face.landmarks[:468] for face in faces[:: max(1, len(faces) // 200)]])
    moved = 1e3 * np.sqrt(((marks - np.median(marks, axis=0)) ** 2).sum(2).mean())
    if moved < LEAST_MOTION_MM:
        raise FailedError(
            f"the face does not move ({moved:.2f} mm): is this a photograph? Film somebody talking"
        )


def check_pictures(samples: Iterable[tuple[int, Frame, FacePose]]) -> list[int]:
    """Look closely at some frames (row, frame, face). The rows at which somebody else is in the
    picture too. Raises FailedError for small, blurred or several faces."""
    from tracking.engines.mediapipe_tasks import FaceCounter

    widths, details, crowded = [], [], []
    with contextlib.closing(FaceCounter(asset_path("models/face_landmarker.task"))) as counter:
        for row, frame, face in samples:
            width, detail = _face_detail(frame, face)
            widths.append(width)
            details.append(detail)
            if counter.count(frame.rgb) > 1:
                crowded.append(row)
    if not widths:
        raise FailedError("no face was found in the video; film one from the front, upright, lit")
    if np.median(widths) < SMALLEST_FACE_PX:
        raise FailedError(
            f"the face is {np.median(widths):.0f} pixels wide; expected at least "
            f"{SMALLEST_FACE_PX}: come closer or film in a higher resolution"
        )
    if len(crowded) > CROWDED_SHARE * len(widths):
        raise FailedError("more than one face is in the picture; film one person alone")
    if np.median(details) < LEAST_DETAIL:
        raise FailedError("the face is too blurred to learn from; focus the camera, add light")
    return crowded


def sampled_rows(states: Sequence[TrackedState]) -> list[int]:
    """With a face, about one a second."""
    rows = [k for k, state in enumerate(states) if state.face is not None]
    seconds = sum(
        min(max(after.t_ns - before.t_ns, 0), 1_000_000_000)
        for before, after in pairwise(states)
    ) / 1e9  # fmt: skip
    return spread(rows, max(9, min(MOST_SAMPLES, round(seconds))))


def without_company(
    states: Sequence[TrackedState], looked: Sequence[int], crowded: Sequence[int]
) -> list[TrackedState]:
    """The states without their face around the `crowded` ones of the rows that were `looked` at,
    from the last look at one face to the next.

    Raises FailedError when tracking leapt to another head meanwhile: whose face the rest is of,
    nobody knows.
    """
    alone = list(states)
    where = sorted(looked)
    for row in crowded:
        at = where.index(row)
        first = where[at - 1] + 1 if at > 0 else 0
        last = where[at + 1] if at + 1 < len(where) else len(states)
        before = None
        for k in range(first, last):
            face = states[k].face
            if face is None:
                continue
            here = face.world_from_head.xyz
            if before is not None and float(np.linalg.norm(here - before)) > LEAP_M:
                raise FailedError(
                    f"a second person is in the picture at {states[k].t_ns / 1e9:.1f} s and "
                    "tracking goes over to them; cut the video there and film one person alone"
                )
            before, alone[k] = here, replace(states[k], face=None)
    return alone


def _face_detail(frame: Frame, face: FacePose) -> tuple[float, float]:
    """Width of the face in pixels, and its fine contrast against its contrast."""
    points = face.world_from_head.apply(face.landmarks[:468].astype(np.float64))
    marks, _ = project(frame.camera, points)
    low, high = np.floor(marks.min(0)).astype(int), np.ceil(marks.max(0)).astype(int)
    crop = frame.rgb[max(0, low[1]) : max(0, high[1]), max(0, low[0]) : max(0, high[0])]
    width = float(high[0] - low[0])
    if min(crop.shape[:2]) < 8:
        return width, 0.0
    scale = 256.0 / crop.shape[1]
    small: npt.NDArray[np.floating] = cv2.resize(
        cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), None, fx=scale, fy=scale,
        interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC,
    ).astype(np.float32)  # fmt: skip
    fine = small - cv2.GaussianBlur(small, (0, 0), 5.0)
    contrast = float(small.std())
    return width, float(fine.std()) / max(contrast, 1.0)
