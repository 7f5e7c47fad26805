"""A preview in a window: the newest picture, the source in a corner, what each stage costs."""

from __future__ import annotations

import time
from pathlib import Path

from apps.meter import Meter
from apps.pacing import PacedSource
from apps.pipeline import Drawn, Pipeline
from apps.preview_options import PreviewOptions
from apps.preview_panels import board_of, shown_panels
from apps.preview_stages import open_source_of, open_stages, picture_size
from apps.recording import recording_of
from apps.usage import FailedError, UsageError
from apps.viewpoint import fitted_view
from capture.frame_source import FrameSource
from render.gl_context import GlUnavailableError
from render.renderer import RenderOptions
from render.window import Window, WindowOptions

POLL_S = 0.03
"""Keys are looked at so often even while no picture comes."""
HUD_S = 0.5
HUD_FRAMES = 60


class NoWindowError(RuntimeError):
    """There is no display, or no OpenGL in it. The message is one readable line."""


def show_preview(preview: PreviewOptions, loop: bool = False) -> None:
    """Show until Esc, the close button, the end of the source or `preview.seconds`.

    With `loop` a file starts over at its end. Raises NoWindowError when no window opens,
    FailedError when a file turns out to be damaged. A session is shown with a timeline.
    """
    if preview.source.startswith("session:") and preview.record is None:
        _show_session(preview, loop)
        return
    with open_source_of(preview) as opened:
        source = opened if opened.live else _paced(preview, opened, loop)
        size = picture_size(preview, source)
        try:
            window = Window(
                WindowOptions(f"Visavis - {preview.source}", size), RenderOptions(depth=False)
            )
        except GlUnavailableError as error:
            raise NoWindowError(str(error)) from error
        meter = Meter()
        with (
            window,
            source,
            recording_of(preview, source) as taps,
            open_stages(preview, source, window.renderer.render) as stages,
            Pipeline(stages, taps=taps, meter=meter) as pipeline,
        ):
            _show(window, pipeline, meter, preview.seconds)
        if source.damaged and not loop:
            raise FailedError(
                f"{preview.source}: is damaged or cut off; what can be read of it was shown. "
                "Copy or export it again for the rest"
            )


def _show_session(preview: PreviewOptions, loop: bool) -> None:
    from apps.replay_stages import Replay, ReplayOptions
    from apps.replay_window import show_replay
    from apps.session_source import open_session

    if preview.fov_deg is not None or preview.mirrored:
        raise UsageError(
            f"{preview.source}: its calibration was recorded with it; leave --fov-deg and "
            "--mirrored away"
        )
    options = ReplayOptions(
        "frames", avatar=preview.avatar, size=preview.wanted_size(), seconds=preview.seconds
    )
    path = Path(preview.source.partition(":")[2])
    with open_session(path) as session, Replay(session, options) as replay:
        view = fitted_view(replay.source.camera, replay.size, 0)
        replay.board = shown_panels(board_of(preview, view))
        show_replay(replay, loop=loop)


def _paced(preview: PreviewOptions, source: FrameSource, loop: bool) -> FrameSource:
    return PacedSource(source, (lambda: open_source_of(preview)) if loop else None)


def _show(window: Window, pipeline: Pipeline, meter: Meter, seconds: float | None) -> None:
    begun = time.monotonic()
    hud = Hud(meter)
    shown: Drawn | None = None
    while not window.closed and not pipeline.ended:
        drawn = pipeline.poll(POLL_S)
        shown = drawn or shown
        # Without a new picture the old one is shown again, so that the window answers its user.
        window.show(None if shown is None else shown.frame.rgb, hud.lines(drawn))
        if seconds is not None and time.monotonic() - begun >= seconds:
            return


class Hud:
    """The lines in the window's corner, made anew twice a second."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._since = time.monotonic()
        self._pictures = 0
        self._lines: tuple[str, ...] = ("loading ...",)

    def lines(self, drawn: Drawn | None, live: bool = True) -> tuple[str, ...]:
        """What to show now; how old a picture is means something for live sources only."""
        now = time.monotonic()
        self._pictures += drawn is not None
        if drawn is not None and now - self._since >= HUD_S:
            rate = self._pictures / (now - self._since)
            self._since, self._pictures = now, 0
            costs = self._meter.costs(HUD_FRAMES)
            self._lines = (
                f"{rate:.0f} pictures/s" + (f", {drawn.age_ms:.0f} ms old" if live else ""),
                *(f"{cost.stage} {cost.wall_median:.1f} ms" for cost in costs),
                "Esc quits",
            )
        return self._lines
