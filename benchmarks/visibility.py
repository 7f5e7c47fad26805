"""Do confidences fall when a clip is spoiled on purpose, and where tracking errs?

    python -m benchmarks.visibility VIDEO ... [--frames 40]

Each video is tracked as it is, blurred, with cards before eye and mouth, and moved out of the
picture. Errors are against the video as it is; the rank is Spearman's, of confidence and error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import tyro
from scipy.stats import spearmanr

from capture.frame_source import open_source
from streams.face_outlines import LIDS, OUTER_LIPS
from streams.frame import Frame
from streams.projection import project
from streams.tracked_state import FacePose, TrackedState
from tracking.tracker import Tracker, TrackerOptions

Array = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

SPOILED = (
    ("as it is", 0.0), ("blur", 0.02), ("blur", 0.04), ("blur", 0.08), ("left eye", 0.5),
    ("left eye", 1.0), ("mouth", 0.25), ("mouth", 0.5), ("mouth", 1.0), ("moved", 0.2),
)  # fmt: skip
"""What is done, and how much: widths between the eyes' corners, or shares of the part or face."""
CLEAR = 6
"""Frames that are left alone, so that the face has been found."""
LIPS = (13, 14, 61, 291, 0, 17)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One face of a spoiled picture against the same of the clear one."""

    gaze_confidence: float
    gaze_deg: float
    mouth_confidence: float
    mouth_mm: float
    face_confidence: float


def pixels_of(frame: Frame, face: FacePose) -> Array:
    """(478, 2) where its landmarks lie in the picture."""
    world = face.world_from_head.apply(face.landmarks)
    return np.asarray(project(frame.camera, world)[0], np.float64)


def spoiled(frame: Frame, marks: Array, what: str, much: float) -> Pixels:
    """The frame's picture after it was done."""
    rgb = frame.rgb.copy()
    if what == "blur":
        apart = float(np.linalg.norm(marks[263] - marks[33]))
        return np.asarray(cv2.GaussianBlur(rgb, (0, 0), much * apart), np.uint8)
    if what == "moved":
        width = np.ptp(marks[:, 0])
        by = int(max(rgb.shape[1] - marks[:, 0].max() + much * width, 0))
        moved = np.full_like(rgb, 110)
        moved[:, by:] = rgb[:, : rgb.shape[1] - by]
        return moved
    if what in ("left eye", "mouth"):
        part = marks[list(LIDS[0] if what == "left eye" else OUTER_LIPS)]
        low, high = part.min(0), part.max(0)
        low, high = low - 0.4 * (high - low), high + 0.4 * (high - low)
        bottom = low[1] + much * (high[1] - low[1])
        left, top, right, below = (int(max(n, 0)) for n in (low[0], low[1], high[0], bottom))
        grain = np.random.default_rng(1).normal(0, 12, rgb[top:below, left:right].shape)
        rgb[top:below, left:right] = np.clip(grain + [70, 90, 140], 0, 255)
    return rgb


def judge(found: TrackedState, clear: TrackedState) -> Judged | None:
    """None where either face is missing."""
    a, b = found.face, clear.face
    if a is None or b is None or a.parts is None:
        return None
    cosine = np.clip((a.gaze[0] * b.gaze[0]).sum(), -1.0, 1.0)
    lips = list(LIPS)
    away = np.linalg.norm((a.landmarks - b.landmarks)[lips, :2], axis=1).mean()
    return Judged(
        a.parts.left_gaze,
        float(np.degrees(np.arccos(cosine))),
        a.parts.mouth,
        1e3 * float(away),
        a.confidence,
    )


def ranks(confidence: Array, error: Array) -> float:
    """Spearman's correlation of confidence and less error."""
    return float(np.asarray(spearmanr(confidence, -error))[0])


def main(videos: tyro.conf.Positional[tuple[Path, ...]], frames: int = 40) -> None:
    """Print one line for each way of spoiling, and the ranks over all of them."""
    judged: dict[tuple[str, float], list[Judged]] = {way: [] for way in SPOILED}
    lost: dict[tuple[str, float], int] = dict.fromkeys(SPOILED, 0)
    for path in videos:
        with open_source(f"video:{path}") as source:
            taken = list(islice(source, frames))
        with Tracker.open(TrackerOptions(hands=0)) as tracker:
            clear = [tracker.track(frame) for frame in taken]
        for way in SPOILED:
            with Tracker.open(TrackerOptions(hands=0)) as tracker:
                for k, (frame, known) in enumerate(zip(taken, clear, strict=True)):
                    rgb = frame.rgb
                    if known.face is not None and k >= CLEAR:
                        rgb = spoiled(frame, pixels_of(frame, known.face), *way)
                    one = judge(tracker.track(replace(frame, rgb=rgb)), known)
                    if k >= 2 * CLEAR and one is not None:
                        judged[way].append(one)
                    lost[way] += k >= 2 * CLEAR and one is None
    for (what, much), ones in judged.items():
        if not ones:
            print(f"{what:9} {much:4.2f}: the face is lost")
            continue
        table = np.array(
            [
                [o.gaze_confidence, o.gaze_deg, o.mouth_confidence, o.mouth_mm, o.face_confidence]
                for o in ones
            ]
        )
        gaze, degrees, mouth, mm, face = table.mean(0)
        print(
            f"{what:9} {much:4.2f}: left gaze {gaze:.2f} ({degrees:.1f} deg off), mouth "
            f"{mouth:.2f} ({mm:.1f} mm off), face {face:.2f}; lost {lost[what, much]}"
        )
    every = [one for way, ones in judged.items() if way[0] != "as it is" for one in ones]
    gaze = ranks(
        np.array([o.gaze_confidence for o in every]), np.array([o.gaze_deg for o in every])
    )
    mouth = ranks(
        np.array([o.mouth_confidence for o in every]), np.array([o.mouth_mm for o in every])
    )
    print(f"rank of confidence and error: gaze {gaze:.2f}, mouth {mouth:.2f}")


if __name__ == "__main__":
    tyro.cli(main)
