"""The guided capture: a camera, a tracker, a guide, and everything on disk as it comes."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from apps.camera_take import CameraTake, TakeWriter
from apps.capture_view import CaptureView
from apps.enrolment_work import EnrolmentWork
from apps.usage import FailedError
from avatar.enrolment.coverage import Coverage
from avatar.enrolment.guide import Guide
from avatar.enrolment.liveness import LivenessCheck, draw_order
from capture.frame_source import FrameSource
from tracking.tracker import Tracker

ATTEMPTS = 3


def random_order() -> tuple[str, ...]:
    """What to ask for, that nobody can know before."""
    return draw_order(secrets.SystemRandom())


def prove_live(
    source: FrameSource,
    tracker: Tracker,
    view: CaptureView,
    order: Callable[[], tuple[str, ...]] = random_order,
) -> tuple[str, ...]:
    """Ask for things in random order until a living person has done them; what was done.

    Raises FailedError after ATTEMPTS, or when the person stops or the source ends before.
    """
    covered, why = Coverage(), "the camera gave no more pictures"
    for attempt in range(ATTEMPTS):
        check = LivenessCheck(order())
        for frame in source:
            step = check.update(frame, tracker.track(frame))
            if not view.show(frame, step, covered):
                raise FailedError("the capture was stopped before it began; nothing was recorded")
            if check.passed:
                return check.done
            if check.failed:
                why = check.failed
                break
        else:
            break
        if attempt + 1 < ATTEMPTS:
            view.say(f"{why}; once more")
    raise FailedError(
        f"no living person was recognised in front of the camera ({why}); sit in even light, rest "
        "between the requests, and try again"
    )


def capture_take(
    source: FrameSource, tracker: Tracker, guide: Guide, view: CaptureView, writer: TakeWriter
) -> bool:
    """Record until the guide is satisfied (True), or the person stops or the source ends (False).

    Raises FailedError when the disk is full, SourceError when the camera is unplugged; what was
    recorded before is kept.
    """
    with writer:
        for frame in source:
            state = tracker.track(frame)
            step = guide.update(state)
            writer.add(frame, state)
            if not view.show(frame, step, guide.coverage):
                return False
            if step.finished:
                return True
    return False


def covered_by(work: EnrolmentWork) -> Coverage:
    """What the recordings of an enrolment show so far."""
    return Coverage.of(state for take in work.takes() for state in take.states())


def unfinished(work: EnrolmentWork) -> CameraTake | None:
    """The last recording, when the guide did not come to its end in it."""
    takes = work.takes()
    return takes[-1] if takes and not takes[-1].finished else None
