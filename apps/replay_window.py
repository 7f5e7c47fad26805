"""A replay in a window, with a timeline to pause, step, seek and loop by."""

from __future__ import annotations

import time
from bisect import bisect_right

import numpy as np
import numpy.typing as npt

from apps.meter import Meter
from apps.pipeline import Drawn, Pipeline, PipelineOptions
from apps.replay_pace import Pace
from apps.replay_stages import Replay
from apps.timeline import Timeline
from apps.timeline_bar import bar_picture, is_on_bar, share_at
from apps.usage import FailedError
from apps.window_hud import POLL_S, Hud, NoWindowError
from render.gl_context import GlUnavailableError
from render.renderer import RenderOptions
from render.window import Window, WindowOptions


def show_replay(replay: Replay, speed: float | None = 1.0, loop: bool = False) -> None:
    """Show until Esc or the close button; without `loop`, also until the end, unless somebody has
    used the timeline.

    Raises NoWindowError when no window opens, FailedError when there is nothing to show.
    """
    times = replay.times()
    if not times:
        raise FailedError(f"{replay.session.path}: holds nothing between the times asked for")
    try:
        window = Window(
            WindowOptions(f"Visavis - {replay.session.path.name}", replay.size),
            RenderOptions(depth=False),
        )
    except GlUnavailableError as error:
        raise NoWindowError(str(error)) from error
    with window, ReplayPlayer(replay, window, Timeline(times, speed or 1.0, loop)) as player:
        if speed is None:
            player.pace = Pace(None)
        player.run()


class ReplayPlayer:
    """Shows in `window` what its timeline says. Main thread only; for a `with` block."""

    def __init__(self, replay: Replay, window: Window, timeline: Timeline) -> None:
        self.replay, self.window, self.timeline = replay, window, timeline
        self.pace = Pace(timeline.speed)
        self.shown: Drawn | None = None
        self._inset: npt.NDArray[np.uint8] | None = None
        self._meter = Meter()
        self._hud = Hud(self._meter)
        self._pipeline: Pipeline | None = None
        self._next_ns: int | None = None
        self._steered = False

    def __enter__(self) -> ReplayPlayer:
        self._open(None)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def run(self) -> None:
        """Until the window is closed or the end is reached."""
        while not self.window.closed and not (self._at_end() and not self._steered):
            self.turn()

    def turn(self) -> None:
        """One round: do what was asked, show the next picture if it is due, present."""
        self._steer()
        target = self.timeline.take_target()
        if target is not None:
            self._go(target)
        if (self.timeline.playing or self._waits_for_first()) and self._is_due():
            self._advance()
        else:
            self._present(None)
            if not self.timeline.playing:
                time.sleep(POLL_S / 3)

    def _waits_for_first(self) -> bool:
        """After going somewhere, its picture is shown even in a pause."""
        return self.shown is None or self._next_ns == self.timeline.now_ns != self.shown.frame.t_ns

    def _is_due(self) -> bool:
        return self._next_ns is None or self.pace.due_in(self._next_ns) <= 0.0

    def _advance(self) -> None:
        if self._pipeline is None:
            return
        drawn = self._pipeline.poll(POLL_S)
        if drawn is not None:
            self.shown = drawn
            self._next_ns = self._after(drawn.frame.t_ns)
            self.timeline.reached(drawn.frame.t_ns)
        elif self._pipeline.ended:
            self.timeline.ended()
        self._present(drawn)

    def _present(self, drawn: Drawn | None) -> None:
        if drawn is not None:
            # Where there are no frames, what was drawn from has a blank one.
            frame = self.replay.source.moment(drawn.frame.t_ns).frame
            self._inset = None if frame is None else frame.rgb
        bar = bar_picture(self.timeline, self.window.size[0])
        self.window.show(self._inset, self._hud.lines(drawn, live=False), bar)

    def _steer(self) -> None:
        """Hand the window's events to the timeline."""
        timeline, (width, height) = self.timeline, self.window.size
        for event in self.window.take_events():
            playing, speed = timeline.playing, timeline.speed
            x, y = event.at
            if event.kind == "key":
                self._steered |= timeline.key(event.key)
            elif event.kind == "press" and is_on_bar(y, height):
                self._steered = True
                timeline.press(share_at(x, width))
            elif event.kind == "move":
                timeline.drag(share_at(x, width))
            elif event.kind == "release":
                timeline.release()
            if timeline.speed != speed:
                self.pace = Pace(timeline.speed)
            if timeline.playing != playing:
                self.pace.begin_anew()

    def _go(self, t_ns: int) -> None:
        """Be at that time. What comes next in any case needs no new beginning."""
        self.pace.begin_anew()
        if self._next_ns != t_ns or self._pipeline is None or self._pipeline.ended:
            self._open(t_ns)

    def _open(self, t_ns: int | None) -> None:
        self._close()
        self.replay.source_at(t_ns)
        if t_ns is not None:
            # What was tracked elsewhere must have no say here.
            self.replay.begin_anew()
        stages = self.replay.stages(self.window.renderer.render)
        self._pipeline = Pipeline(stages, PipelineOptions(lossless=True), meter=self._meter)
        self._pipeline.__enter__()
        self._next_ns = self.timeline.times[0] if t_ns is None else t_ns

    def _close(self) -> None:
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.close()

    def _after(self, t_ns: int) -> int | None:
        place = bisect_right(self.timeline.times, t_ns)
        return self.timeline.times[place] if place < len(self.timeline.times) else None

    def _at_end(self) -> bool:
        timeline = self.timeline
        shown = self.shown
        return (
            not timeline.playing
            and shown is not None
            and timeline.now_ns == timeline.times[-1] == shown.frame.t_ns
        )
