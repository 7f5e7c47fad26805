"""The hands of whoever wears a headset, on the avatar: they take the place of those tracked."""

from __future__ import annotations

from dataclasses import replace

from apps.pipeline import Tracks
from streams.frame import Frame
from streams.headset_sample import HeadsetSample
from streams.mailbox import Letter, Mailbox
from streams.tracked_state import SIDES, FacePose, HandPose, TrackedState
from tracking.headset_state import BEFORE_A_WEBCAM, hand_pose, level

FRESH_NS = 200_000_000
FRESH_SAMPLES = 3
"""A sample that is older than both, time and so many of the steps in which samples come, shows
nothing that is so now: the headset sleeps, or is hidden. A slow frame loop is no sleeping one."""
LONGEST_NS = 2_000_000_000
"""Older than this shows nothing that is so now in any case."""


class HeadsetHands:
    """A tracker around another one: its faces, and the wearer's hands."""

    def __init__(self, tracker: Tracks, samples: Mailbox[HeadsetSample]) -> None:
        self._tracker, self._samples = tracker, samples
        self._last: Letter[HeadsetSample] | None = None
        self._step_ns = 0

    def track(self, frame: Frame) -> TrackedState:
        """As the tracker does, with the newest hands of the headset, or none when it tells none."""
        state = self._tracker.track(frame)
        letter = self._samples.newest()
        if letter is None or letter.age_ns() > self._freshness_ns(letter):
            return replace(state, hands=())
        return replace(state, hands=hands_at(letter.value, state.face))

    def _freshness_ns(self, letter: Letter[HeadsetSample]) -> int:
        last = self._last
        if last is not None and letter.seq > last.seq:
            self._step_ns = (letter.put_ns - last.put_ns) // (letter.seq - last.seq)
        self._last = letter
        return min(max(FRESH_NS, FRESH_SAMPLES * self._step_ns), LONGEST_NS)


def hands_at(sample: HeadsetSample, face: FacePose | None) -> tuple[HandPose, ...]:
    """The wearer's hands, as far from the avatar's head as they are from the wearer's own.

    Both heads count as level and turned about the vertical only: hands stay where they are while
    their owner looks down at them. A hand that is no hand (all joints on a line) is absent.
    """
    avatar = level(BEFORE_A_WEBCAM if face is None else face.world_from_head)
    avatar_from_wearer = avatar @ level(sample.world_from_head).inverse()
    hands = (
        hand_pose(joints, side, avatar_from_wearer)
        for side, joints in zip(SIDES, (sample.left, sample.right), strict=True)
    )
    return tuple(hand for hand in hands if hand is not None)
