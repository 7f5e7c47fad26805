"""The user's own calm face: learned in a preview, kept in their folder, used with their cameras."""

from __future__ import annotations

import sys
from pathlib import Path

from apps.pipeline import Tracks
from apps.usage import FailedError
from avatar.signature import user_folder
from avatar.whole_file import PRIVATE, write_whole
from capture.frame_source import FrameSource, is_of_camera
from tracking.face_details import FaceDetails
from tracking.neutral_face import NeutralFace

FILE = "neutral_face.json"
KEY, SECONDS = "n", 3.0
"""What a preview's window learns by, and for how long."""


def neutral_path() -> Path:
    """Where it is kept."""
    return user_folder() / FILE


def neutral_for(source: FrameSource) -> NeutralFace | None:
    """The user's, for a camera; a file shows somebody else, for all that is known.

    Raises FailedError when it is damaged.
    """
    if not is_of_camera(source):
        return None
    path = neutral_path()
    try:
        return NeutralFace.from_json(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FailedError(f"{path}: {error}; or remove the file") from error


class NeutralLearning:
    """Learns the face that a tracker sees, and keeps it when it is a camera's."""

    def __init__(self, details: FaceDetails, live: bool) -> None:
        self._details, self._live = details, live
        self._kept = details.neutral

    def ask(self, seconds: float = SECONDS) -> None:
        """Begin with the next picture."""
        self._details.ask_neutral(seconds)

    def line(self) -> str:
        """How it goes, one line or nothing. What has been learned is kept by now.

        Raises FailedError when it cannot be written.
        """
        neutral = self._details.neutral
        if neutral is not None and neutral is not self._kept:
            self._kept = neutral
            if self._live:
                _keep(neutral)
        return self._details.neutral_said

    def close(self) -> None:
        """Say the last word on stderr."""
        said = self.line()
        if said:
            print(said, file=sys.stderr)


def learning_of(tracker: Tracks, live: bool) -> NeutralLearning | None:
    """Of what this tracker follows, a camera's frames or a film's; None for one that has no face to
    learn."""
    from tracking.person_tracker import PersonTracker
    from tracking.tracker import Tracker

    faced = isinstance(tracker, Tracker | PersonTracker)
    return NeutralLearning(tracker.details, live) if faced else None


def _keep(neutral: NeutralFace) -> None:
    path = neutral_path()
    try:
        write_whole(path, f"{neutral.to_json()}\n".encode(), PRIVATE)
    except OSError as error:
        raise FailedError(f"{path}: cannot be written ({error.strerror})") from error
