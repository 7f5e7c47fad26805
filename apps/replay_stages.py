"""What a replay is made of: the usual stages, with what was recorded in the place of some."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import cv2

from apps.pipeline import Draw, Stages
from apps.recorded_stages import RecordedStates, ReplayedAvatar, ReplayParts
from apps.session_moments import Moment, MomentOptions, chosen_source, first_seam
from apps.session_source import SessionSource, beside, rig_of
from apps.tracker_choice import ClosingTracker, recorded_engine, recorded_options, tracker_engine
from apps.usage import FailedError, UsageError
from apps.viewpoint import default_size, fitted_view
from overlay.placement import place_panels
from sessions.reader import SessionReader
from streams.camera import Camera
from streams.closing import Closing
from streams.frame import Frame
from streams.mirror import mirror_camera
from streams.panel import Panel
from streams.tracked_state import TrackedState
from streams.view import View


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What is replayed, and by what."""

    seam: str | None = None
    """"frames", "state" or "code"; None: the first of these that the session holds."""
    tracker: str = "auto"
    """One of `tracking.engine_choice.ENGINES`, or "auto": the one that was recorded, else this
    machine's."""
    avatar: str | None = None
    """None: the one that was recorded, or "default"."""
    camera: str | None = None
    """Which camera alone; None: the first, or from frames all of a calibrated rig together."""
    size: tuple[int, int] | None = None
    """(width, height) of the picture; None: the recorded view's, or the camera's."""
    start_s: float = 0.0
    """Seconds after the session's first record."""
    seconds: float | None = None
    """None: to the end."""


class Replay(Closing):
    """One session ready to be replayed: its source, and what draws from it.

    Opens the avatar and, from frames, the tracker: fresh ones, so that two replays have nothing in
    common. Raises FailedError for what the session does not hold.
    """

    def __init__(
        self,
        session: SessionReader,
        options: ReplayOptions | None = None,
        parts: ReplayParts | None = None,
    ) -> None:
        self.session, self.options = session, options or ReplayOptions()
        self._parts = parts or ReplayParts()
        self.seam = first_seam(session, self.options.seam)
        self.avatar_id = avatar_of(session, self.options)
        self.board: Callable[[TrackedState], tuple[Panel, ...]] = lambda _state: ()
        """Panels that are shown beside the recorded ones."""
        self._opened = contextlib.ExitStack()
        # Each stage is a thread of its own; a pool inside one takes the cores from the others.
        cv2.setNumThreads(1)
        try:
            self.cameras = self._rig()
            """Those whose frames are tracked together; none where it is one."""
            self.source = self.source_at(None)
            self.size = self.options.size or self._recorded_size()
            self.tracker = self._open_tracker()
            self.avatar = self._open_avatar()
        except BaseException:
            self._opened.close()
            raise

    def source_at(self, t_ns: int | None) -> SessionSource:
        """The session's moments from `t_ns` on; None: from where the options say."""
        start_ns, end_ns = span_of(self.session, self.options)
        start_ns = start_ns if t_ns is None else t_ns
        first = self.session.start_ns
        moments = MomentOptions(
            self.seam,
            self.options.camera,
            start_ns if start_ns > first else None,
            end_ns,
            pictures=self.seam != "code",
        )
        self.source = SessionSource(self.session, moments)
        return self.source

    @property
    def source_name(self) -> str:
        """Of which camera (or avatar, from codes) the moments are."""
        return chosen_source(self.session, self.seam, self.options.camera)

    @property
    def tracker_name(self) -> str:
        """The engine that tracks frames: the one that is asked for, or for "auto" the one that
        tracked when the session was recorded."""
        if self.options.tracker != "auto":
            return self.options.tracker
        return recorded_engine(self.session) or tracker_engine("auto")

    @property
    def start_ns(self) -> int:
        """Where it begins, nanoseconds."""
        return span_of(self.session, self.options)[0]

    def stages(self, draw: Draw) -> Stages:
        """For one run of the pipeline, over the newest source."""
        source = beside(self.session, self.source) if self.cameras else self.source
        return Stages(source, self.tracker, self.avatar, draw, self._view_of, self._panels_of)

    def times(self) -> list[int]:
        """The moments' times, nanoseconds, rising."""
        start_ns, end_ns = span_of(self.session, self.options)
        times = self.session.times(self.seam, self.source_name)
        kept = (times >= start_ns) & (times < (end_ns if end_ns is not None else 2**63 - 1))
        return sorted({int(t) for t in times[kept]})

    def begin_anew(self) -> None:
        """Forget what was seen before: the next frame is elsewhere in the session."""
        self.tracker.begin_anew()
        self.avatar.begin_anew()

    def close(self) -> None:
        """Close tracker and avatar; the session stays open."""
        self._opened.close()

    def _rig(self) -> tuple[Camera, ...]:
        if self.seam != "frames" or self.options.camera is not None:
            return ()
        return rig_of(self.session)

    def _open_tracker(self) -> ClosingTracker:
        if self.seam != "frames":
            return RecordedStates(self._moment)
        options = recorded_options(self.session)
        if options.faces > 1 and self.tracker_name == "mediapipe":
            raise UsageError(
                f"--tracker mediapipe: follows one face, but {self.session.path} was recorded with "
                f"--faces {options.faces}; choose another"
            )
        if self.cameras:
            tracker = self._parts.open_person_tracker(self.tracker_name, options, self.cameras)
        else:
            tracker = self._parts.open_tracker(self.tracker_name, options)
        self._opened.callback(tracker.close)
        return tracker

    def _open_avatar(self) -> ReplayedAvatar:
        avatar = ReplayedAvatar(self._parts.open_avatar(self.avatar_id), self._moment, self.seam)
        self._opened.enter_context(avatar)
        if self.seam == "code":
            recorded = self.session.sources("code")[0]
            if recorded != avatar.id:
                raise UsageError(
                    f"--avatar {self.avatar_id}: these codes are of {recorded!r}, whose decoder "
                    "alone reads them; replay --from state for another avatar"
                )
        return avatar

    def _moment(self, t_ns: int) -> Moment:
        return self.source.moment(t_ns)

    def _recorded_size(self) -> tuple[int, int]:
        view = self.session.at("views", 2**62) if "views" in self.session.seams else None
        if view is not None and isinstance(view.record, View):
            return view.record.size
        return default_size(self.source.camera)

    def _view_of(self, frame: Frame) -> View:
        view = self._moment(frame.t_ns).view
        if view is not None:
            if view.size == self.size:
                return view
            return fitted_view(view.camera(), self.size, frame.t_ns)
        camera = mirror_camera(frame.camera) if frame.mirrored else frame.camera
        return fitted_view(camera, self.size, frame.t_ns)

    def _panels_of(self, state: TrackedState) -> tuple[Panel, ...]:
        moment, shown = self._moment(state.t_ns), self.board(state)
        if not moment.panels:
            return shown
        world_from_head, hands = None, state.hands
        if state.face is not None:
            world_from_head = state.face.world_from_head
        elif self.seam == "code" and moment.code is not None:
            world_from_head = moment.code.world_from_head
        return (*place_panels(moment.panels, world_from_head, hands), *shown)


def avatar_of(session: SessionReader, options: ReplayOptions) -> str:
    """Which avatar is drawn."""
    if options.avatar is not None:
        return options.avatar
    codes = session.sources("code")
    recorded = codes[0] if codes else session.header.avatar
    return recorded.removeprefix("avatars/") or "default"


def span_of(session: SessionReader, options: ReplayOptions) -> tuple[int, int | None]:
    """First time and the time before which a replay ends, nanoseconds; None: at the end.

    Raises FailedError when it would begin after the session's end.
    """
    start_ns = session.start_ns + round(options.start_s * 1e9)
    if start_ns > session.end_ns:
        raise FailedError(
            f"--start {options.start_s:g}: {session.path} ends after "
            f"{(session.end_ns - session.start_ns) / 1e9:.3f} s"
        )
    if options.seconds is None:
        return start_ns, None
    return start_ns, start_ns + round(options.seconds * 1e9)
