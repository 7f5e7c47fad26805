"""The guided capture: a camera, a tracker, a guide, and everything on disk as it comes."""

from __future__ import annotations

from apps.camera_take import CameraTake, TakeWriter
from apps.capture_view import CaptureView
from apps.enrolment_work import EnrolmentWork
from avatar.enrolment.coverage import Coverage
from avatar.enrolment.guide import Guide
from capture.frame_source import FrameSource
from tracking.tracker import Tracker


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
