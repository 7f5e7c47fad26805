"""A session's records brought together by their time, as the stages of a replay take them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from apps.usage import FailedError
from sessions.reader import SessionReader, SessionRecord
from streams.avatar_code import AvatarCode
from streams.frame import Frame
from streams.panel import Panel
from streams.shown_panels import ShownPanels
from streams.tracked_state import TrackedState
from streams.view import View

SEAMS = ("frames", "state", "code")
"""Where a replay can begin, in the order of the flow."""


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What a session holds of one moment; what it does not hold is None."""

    t_ns: int
    frame: Frame | None = None
    state: TrackedState | None = None
    code: AvatarCode | None = None
    view: View | None = None
    """The newest one at or before this moment."""
    panels: tuple[Panel, ...] | None = None
    """Those of the newest record at or before this moment, anchored as they were recorded."""


@dataclass(frozen=True, slots=True)
class MomentOptions:
    """Which moments."""

    seam: str = "frames"
    """Each record of this seam makes one: "frames", "state" or "code"."""
    camera: str | None = None
    """Which camera's frames and states; None: the first that the session holds."""
    start_ns: int | None = None
    end_ns: int | None = None
    """Up to and without this time."""
    pictures: bool = True
    """Whether frames are decoded where another seam makes the moments."""


def first_seam(session: SessionReader, wanted: str | None = None) -> str:
    """From where a session is replayed: `wanted`, or the earliest seam in the flow that it holds.

    Raises FailedError when it holds nothing of it.
    """
    held = [seam for seam in SEAMS if seam in session.seams]
    if not held:
        raise FailedError(
            f"{session.path}: holds neither frames nor tracked states nor codes, so there is "
            f"nothing to replay (it holds: {', '.join(session.seams) or 'nothing'})"
        )
    if wanted is not None and wanted not in held:
        raise FailedError(
            f"{session.path}: holds no {wanted}, which were asked for; it can be replayed from "
            f"{' or '.join(held)}"
        )
    return wanted or held[0]


def chosen_source(session: SessionReader, seam: str, camera: str | None) -> str:
    """The source of the moments at `seam`: of `camera`, or the first one.

    Raises FailedError when the session does not know that camera.
    """
    sources = [
        channel.source for channel in session.channels if channel.seam == seam and channel.count
    ]
    if seam == "code" or camera is None:
        return sources[0]
    if camera not in sources:
        raise FailedError(
            f"--camera {camera}: {session.path} has {seam} of {', '.join(dict.fromkeys(sources))}"
        )
    return camera


def read_moments(session: SessionReader, options: MomentOptions) -> Iterator[Moment]:
    """The moments in the order of their times, which rise strictly: of two records of one seam at
    the same time the first counts. Raises SessionError when the file is damaged.
    """
    main = options.seam
    source = chosen_source(session, main, options.camera)
    wanted = {main: source, "panels": None, "views": None}
    if main != "frames" and options.pictures and "frames" in session.seams:
        camera = options.camera or (source if main == "state" else None)
        cameras = session.sources("frames")
        wanted["frames"] = camera if camera in cameras else cameras[0]
    if main != "state" and "state" in session.seams:
        wanted["state"] = source if main == "frames" else None
    if main != "code" and "code" in session.seams:
        wanted["code"] = None
    gathered = _Gathering(main, wanted, session, options.start_ns)
    for record in session.read(tuple(wanted), options.start_ns, options.end_ns):
        moment = gathered.add(record)
        if moment is not None:
            yield moment
    moment = gathered.end()
    if moment is not None:
        yield moment


class _Gathering:
    """Collects the records of one time until a later one comes."""

    def __init__(
        self,
        main: str,
        wanted: dict[str, str | None],
        session: SessionReader,
        start_ns: int | None,
    ) -> None:
        self._main, self._wanted = main, wanted
        self._now: Moment | None = None
        self._whole = False
        self._last_ns = -1
        self._view: View | None = None
        self._panels: tuple[Panel, ...] | None = None
        self._eye: str | None = None
        if start_ns is not None:
            for seam in ("views", "panels"):
                found = session.at(seam, start_ns)
                if found is not None:
                    self._keep(found)

    def add(self, record: SessionRecord) -> Moment | None:
        """The moment before, when this record begins another one."""
        source = self._wanted.get(record.seam)
        if source is not None and record.source != source:
            return None
        done = None
        if self._now is None or record.t_ns != self._now.t_ns:
            done = self.end()
            self._now, self._whole = Moment(record.t_ns), False
        self._keep(record)
        return done

    def end(self) -> Moment | None:
        """The moment that was being collected, when it is one."""
        now, self._now = self._now, None
        if now is None or not self._whole or now.t_ns <= self._last_ns:
            return None
        self._last_ns = now.t_ns
        return replace(now, view=self._view, panels=self._panels)

    def _keep(self, record: SessionRecord) -> None:
        value, now = record.record, self._now
        if isinstance(value, View):
            if self._eye in (None, value.eye):  # of two eyes the first one is shown
                self._eye, self._view = value.eye, value
        elif isinstance(value, ShownPanels):
            self._panels = value.panels
        elif now is None:
            return
        elif isinstance(value, Frame):
            self._now = now if now.frame is not None else replace(now, frame=value)
        elif isinstance(value, TrackedState):
            self._now = now if now.state is not None else replace(now, state=value)
        elif isinstance(value, AvatarCode):
            self._now = now if now.code is not None else replace(now, code=value)
        self._whole = self._whole or record.seam == self._main
