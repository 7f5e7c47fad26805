"""Where the moments of a comparison come from: what was recorded, or two fresh replays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from apps.pipeline import Pipeline, PipelineOptions, Stages
from apps.replay_stages import Replay, ReplayOptions
from apps.session_comparison import Comparison, Tracked, compare_moments, match_times
from apps.session_moments import chosen_source
from apps.undrawn import UndrawnAvatar, draw_nothing
from apps.usage import FailedError
from sessions.reader import SessionReader
from streams.avatar_code import AvatarCode
from streams.tracked_state import TrackedState


def compare_sessions(
    a: SessionReader, b: SessionReader, seam: str | None = None, kept: int = 12
) -> Comparison:
    """Compare what was recorded, or what replays from `seam` ("frames", "state") give. Of `kept`
    moments, evenly spread, the records are kept for drawing.

    Raises FailedError when the two have nothing in common.
    """
    comparison = Comparison(a.path.name, b.path.name)
    if seam is None:
        times_a, times_b = _recorded_times(a), _recorded_times(b)
        matching = match_times(times_a, times_b)
        compare_moments(_recorded(a), _recorded(b), matching, comparison, kept)
    else:
        options = ReplayOptions(seam)
        with Replay(a, options) as mine, Replay(b, options) as yours:
            times_a, times_b = (np.array(r.times(), np.int64) for r in (mine, yours))
            matching = match_times(times_a, times_b)
            compare_moments(_replayed(mine), _replayed(yours), matching, comparison, kept)
    comparison.only_a = len(times_a) - comparison.matched
    comparison.only_b = len(times_b) - comparison.matched
    return comparison


def _recorded_times(session: SessionReader) -> npt.NDArray[np.int64]:
    if not {"state", "code"} & set(session.seams):
        raise FailedError(
            f"{session.path}: holds no states and no codes; compare --from frames tracks it first"
        )
    return np.unique(np.concatenate([session.times("state"), session.times("code")]))


def _recorded(session: SessionReader) -> Iterator[Tracked]:
    """Of several cameras or avatars the first one counts."""
    seams = [seam for seam in ("state", "code") if seam in session.seams]
    sources = {seam: chosen_source(session, seam, None) for seam in seams}
    t_ns: int | None = None
    state: TrackedState | None = None
    code: AvatarCode | None = None
    for record in session.read(seams):
        if record.t_ns != t_ns:
            if t_ns is not None:
                yield Tracked(t_ns, state, code)
            t_ns, state, code = record.t_ns, None, None
        if record.source != sources[record.seam]:
            continue
        if isinstance(record.record, TrackedState):
            state = state or record.record
        elif isinstance(record.record, AvatarCode):
            code = code or record.record
    if t_ns is not None:
        yield Tracked(t_ns, state, code)


def _replayed(replay: Replay) -> Iterator[Tracked]:
    stages: Stages = replay.stages(draw_nothing)
    undrawn = Stages(
        stages.source, stages.tracker, UndrawnAvatar(stages.avatar), draw_nothing, stages.view_of
    )
    with Pipeline(undrawn, PipelineOptions(threads=False)) as pipeline:
        for drawn in pipeline:
            yield Tracked(drawn.frame.t_ns, drawn.state, drawn.code)
