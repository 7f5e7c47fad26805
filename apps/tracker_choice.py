"""The tracker that `--tracker` names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from apps.pipeline import Tracks
from apps.usage import FailedError, UsageError
from capture.frame_source import FrameSource, cameras_of

if TYPE_CHECKING:
    from sessions.reader import SessionReader
    from streams.camera import Camera
    from tracking.person_tracker import PersonTracker
    from tracking.tracker import Tracker, TrackerOptions


FACES_NOTE = "faces"
"""Under which a session's header keeps how many were followed, where that is not one."""


class ClosingTracker(Tracks, Protocol):
    """A tracker that can forget what it saw."""

    def begin_anew(self) -> None: ...

    def close(self) -> None: ...


def tracker_engine(name: str) -> str:
    """The engine of this name; of "auto", the one that this machine has.

    Raises UsageError for an unknown one.
    """
    from tracking.engine_choice import ENGINES, chosen_engine

    if name not in ("auto", *ENGINES):
        raise UsageError(f"--tracker {name}: expected auto, {', '.join(ENGINES)}")
    return chosen_engine(name)


def recorded_engine(session: SessionReader) -> str:
    """Which engine tracked what a session holds; "" where it does not say."""
    return session.header.notes.get("tracker", "")


def check_faces(faces: int, tracker: str, together: bool = False) -> None:
    """Raise UsageError for a number of faces that this tracker does not follow; `together`: in
    several cameras."""
    if faces == 1:
        return
    from tracking.tracker import MOST_FACES

    if not 1 <= faces <= MOST_FACES:
        raise UsageError(f"--faces {faces}: expected 1 to {MOST_FACES}")
    if tracker == "mediapipe":
        raise UsageError(
            f"--faces {faces}: expected 1 with --tracker mediapipe, which filters no face where it "
            "may find several"
        )
    if together:
        raise UsageError(
            f"--faces {faces}: expected 1 with several cameras, which tell by the hands' distance "
            "from the head whose they are"
        )


def options_for(source: FrameSource, faces: int = 1) -> TrackerOptions:
    """How what `source` shows is tracked, the engine left out: with this user's own hands and calm
    face where it is a camera; a file shows somebody else, for all that is known.

    Raises FailedError when the user's own cannot be read.
    """
    from apps import own_face, own_hands
    from tracking.tracker import TrackerOptions

    return TrackerOptions(
        faces=faces,
        own_hands=own_hands.hands_for(source),
        neutral=own_face.neutral_for(source),
    )


def notes_on_tracking(options: TrackerOptions) -> dict[str, str]:
    """For a session's header, what `recorded_options` reads: how many faces are followed, the bones
    that hands are tracked with, and the calm face that expressions are measured from."""
    from sessions.session_header import CALM_FACE_NOTE, HANDS_NOTE
    from tracking.user_hand import hands_to_json

    neutral = options.neutral
    return {
        **({} if options.faces == 1 else {FACES_NOTE: str(options.faces)}),
        HANDS_NOTE: hands_to_json(options.own_hands),
        **({} if neutral is None else {CALM_FACE_NOTE: neutral.to_json()}),
    }


def recorded_options(session: SessionReader) -> TrackerOptions:
    """How the tracker was set up whose states a session holds, its engine left out: with the user's
    own hands and calm face, where it had them.

    Sessions that hold states and say nothing of hands are from when hands were not fitted.
    Raises FailedError when what is kept makes no sense.
    """
    from sessions.session_header import CALM_FACE_NOTE, HANDS_NOTE
    from tracking.neutral_face import NeutralFace
    from tracking.tracker import TrackerOptions
    from tracking.user_hand import hands_from_json

    notes = session.header.notes
    hands, neutral = notes.get(HANDS_NOTE), notes.get(CALM_FACE_NOTE)
    try:
        return TrackerOptions(
            faces=int(notes.get(FACES_NOTE, "1")),
            hand_fit=hands is not None or "state" not in session.seams,
            own_hands=() if hands is None else hands_from_json(hands),
            neutral=None if neutral is None else NeutralFace.from_json(neutral),
        )
    except ValueError as error:
        raise FailedError(f"{session.path}: in its header, {error}") from error


def open_tracker(name: str, options: TrackerOptions | None = None) -> Tracker:
    """The shipped tracker with this engine, and `options` else.

    Raises UsageError for an unknown one, FailedError where this machine cannot run it.
    """
    from tracking.tracker import Tracker, TrackerOptions

    engine = tracker_engine(name)
    with _failing_of(engine):
        return Tracker.open(replace(options or TrackerOptions(), engine=engine))


def open_person_tracker(
    name: str, options: TrackerOptions, cameras: Sequence[Camera]
) -> PersonTracker:
    """As `open_tracker`, for the frames of several calibrated cameras together."""
    from tracking.person_tracker import PersonTracker

    engine = tracker_engine(name)
    check_faces(options.faces, engine, together=True)
    with _failing_of(engine):
        return PersonTracker.open(replace(options, engine=engine), cameras)


def open_tracker_of(
    source: FrameSource, name: str, options: TrackerOptions
) -> Tracker | PersonTracker:
    """What tracks the frames of `source`: of one camera, or of several together."""
    cameras = cameras_of(source)
    if len(cameras) > 1:
        return open_person_tracker(name, options, cameras)
    return open_tracker(name, options)


@contextlib.contextmanager
def _failing_of(engine: str) -> Iterator[None]:
    try:
        yield
    except (ImportError, RuntimeError) as error:
        raise FailedError(f"--tracker {engine}: {error}, or --tracker litert") from error
