"""Published recordings of hands by several cameras, with their truth, moment by moment.

Two layouts are read, one file a clip: UmeTrack's `NAME.mp4` with `NAME.json` beside it, and the
WebDataset tars of HOT3D and of the Multiview Egocentric Hand Tracking Challenge.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.frame_source import SourceError
from streams.closing import Closing
from streams.frame import Frame
from streams.rigid import Rigid

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class HandMoment:
    """What all cameras of a headset saw at one time, and where the hands were."""

    frames: tuple[Frame, ...]
    """One a camera, in the recording's world (metres; which way is up is the recording's own)."""
    truth: dict[str, Array]
    """Side -> (21, 3) float64 metres, world frame, MediaPipe's order, of the labelled hands; NaN
    for the thumb's base joint, which these recordings do not have."""


class HandClip(Closing):
    """An opened clip."""

    @abstractmethod
    def __iter__(self) -> Iterator[HandMoment]: ...


def find_clips(path: Path) -> tuple[Path, ...]:
    """The clips at `path`, a file or a folder, sorted. Raises SourceError when there is none."""
    if path.is_file():
        return (path,)
    if not path.is_dir():
        raise SourceError(f"{path}: there is no such file or folder")
    videos = [each for each in path.rglob("*.mp4") if each.with_suffix(".json").is_file()]
    clips = tuple(sorted([*videos, *path.rglob("*.tar")]))
    if not clips:
        raise SourceError(
            f"{path}: expected UmeTrack's NAME.mp4 with NAME.json, or NAME.tar of HOT3D or the "
            "hand tracking challenge, found none"
        )
    return clips


def open_clip(path: Path) -> HandClip:
    """Raises SourceError when the file is no clip of a known layout."""
    if path.suffix.lower() == ".tar":
        from capture.challenge_clip import ChallengeClip

        return ChallengeClip(path)
    elif path.suffix.lower() == ".mp4":
        from capture.umetrack_clip import UmeTrackClip

        return UmeTrackClip(path)
    else:
        raise SourceError(f"{path}: expected a clip that ends in .mp4 (UmeTrack) or .tar (HOT3D)")


def rigid_of(place: Any) -> Rigid:
    """From JSON's quaternion_wxyz and translation_xyz (metres)."""
    wxyz = np.array(place["quaternion_wxyz"], np.float64)
    return Rigid(wxyz / np.linalg.norm(wxyz), np.array(place["translation_xyz"], np.float64))
