"""Two replays of one session side by side: is every record the same, bit for bit?"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from apps.pipeline import Draw, Pipeline, PipelineOptions, Taps
from apps.record_fields import Difference, Digest, first_difference
from apps.recorded_stages import ReplayParts
from apps.recording import CAMERAS_NOTE, software
from apps.replay_pace import Pace
from apps.replay_stages import Replay, ReplayOptions
from apps.session_moments import Moment
from apps.tracker_choice import recorded_engine
from apps.usage import FailedError
from sessions.reader import SessionReader
from streams.avatar_code import AvatarCode

SEAMS = ("state", "code", "mesh", "image")
"""In the order of the flow: the first seam that differs is where it begins."""
ONE_THREAD = PipelineOptions(threads=False)
MANY_THREADS = PipelineOptions(lossless=True)


@dataclass(frozen=True, slots=True)
class FirstDifference:
    """The first record that is not the same, and what in it."""

    what: str
    """What is compared: "two replays" or "the recorded state and a replay"."""
    seam: str
    t_ns: int
    difference: Difference

    def text(self) -> str:
        """In one line."""
        return (
            f"{self.what} differ first at {self.t_ns / 1e9:.6f} s in {self.seam}, "
            f"{self.difference.field}: {self.difference.how}"
        )


@dataclass(slots=True)
class VerificationReport:
    """What came of it."""

    seam: str
    """Where the replays began."""
    moments: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 over all records of each seam, to compare runs on other days and machines."""
    first: FirstDifference | None = None
    recorded: dict[str, int] = field(default_factory=dict)
    """How many recorded states and codes were compared with a replay's."""
    not_compared: str = ""
    """Why recorded states and codes were not compared."""

    @property
    def same(self) -> bool:
        """Whether no difference was found."""
        return self.first is None

    def text(self) -> str:
        """In a few lines."""
        if self.first is not None:
            return f"DIFFERENT after {self.moments} moments: {self.first.text()}"
        lines = [
            f"the same: {self.moments} moments replayed from {self.seam}, in one thread and in "
            "several, with everything opened anew"
        ]
        lines += [f"  {seam:6} sha256 {digest}" for seam, digest in self.digests.items()]
        if self.recorded:
            counts = " and ".join(f"{n} {seam}s" for seam, n in self.recorded.items())
            lines.append(f"  and the same as the {counts} that were recorded")
        elif self.not_compared:
            lines.append(f"  not compared with what was recorded: {self.not_compared}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens the parts of one of the two replays."""

    parts: ReplayParts = field(default_factory=ReplayParts)
    draw: Callable[[], contextlib.AbstractContextManager[Draw]] | None = None
    """None: the OpenGL renderer without a window."""


def verify_replay(
    session: SessionReader,
    options: ReplayOptions | None = None,
    openings: tuple[Opening, Opening] | None = None,
    speed: float | None = None,
) -> VerificationReport:
    """Replay `session` twice at the same time, each with a tracker, avatar and renderer of its own:
    once in one thread, once in several, the second at `speed` (None: as fast as can be). Stops at
    the first difference.

    Raises FailedError when there is nothing to replay.
    """
    first, second = openings or (Opening(), Opening())
    with contextlib.ExitStack() as opened:
        # Readers of their own: decoders remember too.
        again = opened.enter_context(session.opened_again())
        one = opened.enter_context(_Run(session, options, ONE_THREAD, first))
        many = opened.enter_context(_Run(again, options, MANY_THREADS, second))
        pace = Pace(speed)
        report = VerificationReport(one.replay.seam)
        digests = {seam: Digest() for seam in SEAMS}
        expected = _Recorded(one.replay)
        for mine, yours in itertools.zip_longest(one.moments(), many.moments()):
            report.first = _compared(mine, yours) or expected.compared(mine)
            if report.first is not None:
                return report
            for seam in SEAMS:
                digests[seam].add(mine[seam])
            report.moments += 1
            pace.wait(mine["state"].t_ns)
        if not report.moments:
            raise FailedError(f"{session.path}: holds nothing to replay between these times")
        report.digests = {seam: digest.text for seam, digest in digests.items()}
        report.recorded, report.not_compared = expected.counts, expected.why_not
    return report


Records = dict[str, Any]


class _Run(contextlib.AbstractContextManager["_Run"]):
    """One of the replays."""

    def __init__(
        self,
        session: SessionReader,
        options: ReplayOptions | None,
        how: PipelineOptions,
        opening: Opening,
    ) -> None:
        self._opened = contextlib.ExitStack()
        try:
            self.replay = self._opened.enter_context(Replay(session, options, opening.parts))
            draw = self._opened.enter_context((opening.draw or open_gl_draw)())
            self._meshes: dict[int, Any] = {}
            self._lock = threading.Lock()
            taps = Taps(mesh=self._keep_mesh)
            self._pipeline = Pipeline(self.replay.stages(draw), how, taps)
            self._opened.enter_context(self._pipeline)
        except BaseException:
            self._opened.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def moments(self) -> Iterator[Records]:
        """The records at every seam, moment by moment."""
        for drawn in self._pipeline:
            with self._lock:
                mesh = self._meshes.pop(drawn.code.t_ns, None)
            moment = self.replay.source.moment(drawn.frame.t_ns)
            yield {
                "state": drawn.state, "code": drawn.code, "mesh": mesh, "image": drawn.image,
                "recorded": moment,
            }  # fmt: skip

    def _keep_mesh(self, mesh: Any) -> None:
        with self._lock:
            self._meshes[mesh.t_ns] = mesh


class _Recorded:
    """The recorded states and codes, where a replay must give the very same ones: its frames were
    recorded bit for bit, and the recorder tracked every one of them."""

    def __init__(self, replay: Replay) -> None:
        self.counts: dict[str, int] = {}
        self.why_not = _why_not_comparable(replay)
        self._avatar = replay.avatar.id
        self._seams = ("state", "code")
        if replay.seam == "state":
            self._seams = ("code",)

    def compared(self, records: Records) -> FirstDifference | None:
        """The first difference of a replay's moment to the recorded one."""
        if self.why_not:
            return None
        moment: Moment = records["recorded"]
        for seam in self._seams:
            recorded = moment.state if seam == "state" else moment.code
            if recorded is None:
                continue
            if isinstance(recorded, AvatarCode) and recorded.avatar != self._avatar:
                continue
            difference = first_difference(recorded, records[seam])
            if difference is not None:
                what = f"the recorded {seam} and a replay's"
                return FirstDifference(what, seam, moment.t_ns, difference)
            self.counts[seam] = self.counts.get(seam, 0) + 1
        return None


def _why_not_comparable(replay: Replay) -> str:
    session, source = replay.session, replay.source_name
    if replay.seam == "code":
        return "it was replayed from the recorded codes themselves"
    if not {"state", "code"} & set(session.seams):
        return "it holds no states or codes"
    if session.header.software not in ("", software()):
        return f"it was recorded by {session.header.software}, this is {software()}"
    changed = _changed_models(session)
    if changed:
        return f"it was recorded with another {changed} than this one"
    if replay.seam == "state":
        # Enrolled avatars also look at the pictures; those that ship do not.
        seen = not replay.avatar.id.startswith("avatars/")
        return "its avatar may have seen other pictures" if seen else ""
    engine = recorded_engine(session)
    if engine not in ("", replay.tracker_name):
        return f"it was tracked by {engine}, this is {replay.tracker_name}"
    cameras = str(len(replay.cameras) or 1)
    tracked = session.header.notes.get(CAMERAS_NOTE, "1")
    if tracked != cameras:
        return f"it was tracked with {tracked} of its cameras, this is with {cameras}"
    if replay.cameras and session.lost.get("frames"):
        return "the recorder had no time for some of its frames"
    if replay.options.start_s > 0:
        return "a tracker that begins in the middle does not know what came before"
    seen = [camera.name for camera in replay.cameras] or [source]
    if not all(session.lossless(name) for name in seen):
        return "its frames were not recorded losslessly, so the recorder saw other pictures"
    frames, states = session.times("frames", source), session.times("state", source)
    if len(states) and (len(frames) != len(states) or (frames != states).any()):
        return (
            f"the recorder tracked {len(states)} of {len(frames)} frames, and what a tracker says "
            "depends on the frames before"
        )
    return ""


def _changed_models(session: SessionReader) -> str:
    """The id of a shipped file that is another one now; "" when none is."""
    from assets.manifest import load_manifest

    manifest = load_manifest()
    for name, sha256 in session.header.models.items():
        if name in manifest and manifest[name].sha256 != sha256:
            return name
    return ""


def _compared(mine: Records | None, yours: Records | None) -> FirstDifference | None:
    what = "two replays"
    if mine is None or yours is None:
        only = mine or yours or {}
        difference = Difference("(all)", "one of the replays ended before")
        return FirstDifference(what, "state", only["state"].t_ns, difference)
    for seam in SEAMS:
        difference = first_difference(mine[seam], yours[seam])
        if difference is not None:
            return FirstDifference(what, seam, mine["state"].t_ns, difference)
    return None


@contextlib.contextmanager
def open_gl_draw() -> Iterator[Draw]:
    """An OpenGL renderer without a window."""
    from render.renderer import RenderOptions, open_renderer

    with open_renderer("gl", RenderOptions()) as renderer:
        yield renderer.draw
