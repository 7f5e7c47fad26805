"""A preview in a window: the newest picture, the source in a corner, what each stage costs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from apps.meter import Meter
from apps.own_face import KEY, NeutralLearning, learning_of
from apps.pacing import PacedSource
from apps.pipeline import Draw, Drawn, Pipeline, Taps
from apps.preview_options import PreviewOptions
from apps.preview_panels import board_of, shown_panels
from apps.preview_stages import open_source_of, open_stages, picture_size
from apps.recording import recording_of
from apps.usage import FailedError, UsageError
from apps.viewpoint import fitted_view
from apps.window_hud import POLL_S, Hud, NoWindowError
from capture.frame_source import FrameSource, is_of_camera
from overlay.board import PanelBoard
from render.gl_context import GlUnavailableError
from render.renderer import RenderOptions
from render.window import Window, WindowOptions
from streams.view import View

if TYPE_CHECKING:
    from apps.imagining import Imagining


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
        view = fitted_view(source.camera, size, 0)
        board = board_of(preview, view)
        with (
            window,
            source,
            recording_of(preview, source) as taps,
            _imagining(preview, board, view, taps) as imagined,
            open_stages(preview, source, _drawing(window, imagined), board=board) as stages,
            Pipeline(stages, taps=taps, meter=meter) as pipeline,
        ):
            learning = None
            if preview.record is None:
                learning = learning_of(stages.tracker, is_of_camera(source))
            _show(window, pipeline, Hud(meter), preview.seconds, imagined, learning)
        if source.damaged and not loop:
            raise FailedError(
                f"{preview.source}: is damaged or cut off; what can be read of it was shown. "
                "Copy or export it again for the rest"
            )


def _show_session(preview: PreviewOptions, loop: bool) -> None:
    from apps.replay_stages import Replay, ReplayOptions
    from apps.replay_window import show_replay
    from apps.session_source import open_session

    if preview.fov_deg is not None or preview.rig is not None or preview.mirrored:
        raise UsageError(
            f"{preview.source}: its calibration was recorded with it; leave --fov-deg, --rig and "
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


@contextlib.contextmanager
def _imagining(
    preview: PreviewOptions, board: PanelBoard, view: View, taps: Taps
) -> Iterator[Imagining | None]:
    """What follows the typed words, where that was asked for."""
    if not preview.imagine:
        yield None
        return
    from apps.imagining import imagining

    with imagining(preview, board, view, taps.mark) as imagined:
        yield imagined


def _drawing(window: Window, imagined: Imagining | None) -> Draw:
    draw = window.renderer.render
    followed = None if imagined is None else imagined.followed
    return draw if followed is None else followed.drawing(draw)


def _show(
    window: Window,
    pipeline: Pipeline,
    hud: Hud,
    seconds: float | None,
    imagining: Imagining | None,
    learning: NeutralLearning | None,
) -> None:
    imagined = None if imagining is None else imagining.panels
    followed = None if imagining is None else imagining.followed
    begun = time.monotonic()
    shown: Drawn | None = None
    while not window.closed and not pipeline.ended:
        drawn = pipeline.poll(POLL_S)
        shown = drawn or shown
        lines = hud.lines(drawn)
        if followed is not None and drawn is not None:
            followed.show(drawn)
        if imagined is not None:
            if drawn is not None:
                imagined.follow(drawn.state)
            imagined.take(window.take_events())
            if shown is not None:
                imagined.refresh(shown.frame.t_ns)
            lines = (*lines, *imagined.lines())
        elif learning is not None:
            keys = [event.key for event in window.take_events() if event.kind == "key"]
            if KEY in keys:
                learning.ask()
            lines = (*lines, learning.line() or "N learns your calm face")
        # Without a new picture the old one is shown again, so that the window answers its user.
        window.show(None if shown is None else shown.frame.rgb, lines)
        if seconds is not None and time.monotonic() - begun >= seconds:
            return
