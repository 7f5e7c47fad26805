"""A video's moments that an avatar is measured on: the last fifth, of which nothing is learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from apps.likeness_evaluation import spread_pairs
from avatar.personal_avatar import PersonalAvatar
from capture.frame_source import open_source
from streams.avatar_code import AvatarCode
from streams.frame import Frame
from streams.tracked_state import TrackedState
from tracking.tracker import Tracker, TrackerOptions

TRAINED_SHARE = 0.8


def track(video: Path) -> list[TrackedState]:
    """The face of every frame."""
    with (
        open_source(f"video:{video}") as source,
        Tracker.open(TrackerOptions(hands=0)) as tracker,
    ):
        return [tracker.track(frame) for frame in source]


def frames_of(video: Path) -> Iterator[Frame]:
    """The video from its beginning."""
    with open_source(f"video:{video}") as source:
        yield from source


def learned_from(
    video: Path, states: Sequence[TrackedState], most: int
) -> Iterator[tuple[Frame, TrackedState]]:
    """The other four fifths, thinned evenly to at most `most` moments."""
    first = int(len(states) * TRAINED_SHARE)
    pairs = zip(frames_of(video), states[:first], strict=False)
    return islice(pairs, 0, None, max(1, -(-first // most)))


def held_out(
    video: Path, states: Sequence[TrackedState], count: int
) -> Iterator[tuple[Frame, TrackedState]]:
    """Moments of the last fifth that show a face."""
    first = int(len(states) * TRAINED_SHARE)
    chosen = set(spread_pairs([k for k in range(first, len(states)) if states[k].face], count))
    for k, frame in enumerate(frames_of(video)):
        if k in chosen:
            yield frame, states[k]


def held_out_codes(
    avatar: PersonalAvatar, video: Path, states: Sequence[TrackedState], with_frames: bool
) -> list[AvatarCode]:
    """Of every held-out moment with a face."""
    first = int(len(states) * TRAINED_SHARE)
    if not with_frames:
        return [avatar.encode(state) for state in states[first:] if state.face]
    pairs = zip(states[first:], islice(frames_of(video), first, None), strict=True)
    return [avatar.encode(state, frame) for state, frame in pairs if state.face]
