"""A replay in a window."""

from __future__ import annotations

from apps.pipeline import Pipeline, PipelineOptions
from apps.preview_window import NoWindowError
from apps.replay_pace import Pace
from apps.replay_stages import Replay
from render.gl_context import GlUnavailableError
from render.renderer import RenderOptions
from render.window import Window, WindowOptions


def show_replay(replay: Replay, speed: float | None = 1.0, loop: bool = False) -> None:
    """Show every moment, until the end, Esc or the close button.

    Raises NoWindowError when no window opens.
    """
    try:
        window = Window(
            WindowOptions(f"Visavis - {replay.session.path.name}", replay.size),
            RenderOptions(depth=False),
        )
    except GlUnavailableError as error:
        raise NoWindowError(str(error)) from error
    pace = Pace(speed)
    with window:
        while not window.closed:
            stages = replay.stages(window.renderer.render)
            with Pipeline(stages, PipelineOptions(lossless=True)) as pipeline:
                for drawn in pipeline:
                    pace.wait(drawn.frame.t_ns)
                    window.show(drawn.frame.rgb, ())
                    if window.closed:
                        return
            if not loop:
                return
            replay.source_at(None)
            replay.begin_anew()
