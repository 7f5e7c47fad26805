"""The tracker that `--tracker` names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from apps.pipeline import Tracks
from apps.usage import FailedError, UsageError

if TYPE_CHECKING:
    from sessions.reader import SessionReader


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


def open_tracker(name: str) -> ClosingTracker:
    """The shipped tracker with this engine.

    Raises UsageError for an unknown one, FailedError where this machine cannot run it.
    """
    from tracking.tracker import Tracker, TrackerOptions

    engine = tracker_engine(name)
    try:
        return Tracker.open(TrackerOptions(engine=engine))
    except (ImportError, RuntimeError) as error:
        raise FailedError(f"--tracker {engine}: {error}, or --tracker litert") from error
