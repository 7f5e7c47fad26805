"""A preview written to a file: every frame of the source, in order, at its own time."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from apps.pipeline import Drawn, Pipeline, PipelineOptions, Taps
from apps.preview_options import PreviewOptions
from apps.preview_panels import board_of
from apps.preview_stages import open_source_of, open_stages, picture_size
from apps.progress_line import ProgressLine
from apps.recording import recording_of
from apps.usage import FailedError, one_line
from apps.video_writer import VideoWriter, check_writable
from apps.viewpoint import fitted_view
from capture.frame_source import FrameSource
from overlay.board import PanelBoard
from streams.clock import now_ns
from streams.mark import Mark

if TYPE_CHECKING:
    from apps.provenance import Origin


def write_preview(preview: PreviewOptions, out: Path, taps: Taps | None = None) -> str:
    """Write the whole preview; return what to tell the user.

    Raises FailedError when something is missing from the file, or from what it shows: the source
    was damaged, broke off, or showed nobody at all. What could be drawn is in the file even so.
    """
    check_writable(out)
    writer: VideoWriter | None = None
    drawn_frames = seen_frames = 0
    progress = ProgressLine()
    at_ns = 0

    def told() -> str:
        return f"{out}: {drawn_frames} pictures, {at_ns / 1e9:.1f} s"

    with open_source_of(preview) as source:
        board = board_of(preview, fitted_view(source.camera, picture_size(preview, source), 0))
        first_ns = origin = None
        try:
            with (
                recording_of(preview, source) as recorded,
                _imagined(preview, source, board, (taps or recorded).mark) as origin,
                open_stages(preview, source, board=board) as stages,
                Pipeline(stages, PipelineOptions(lossless=True), taps or recorded) as pipeline,
            ):
                for drawn in pipeline:
                    if drawn.image is None:
                        raise ValueError("write_preview: expected read-back pictures, got none")
                    if first_ns is None:
                        # A camera's clock starts anywhere, a file's at its own zero.
                        first_ns = drawn.frame.t_ns if source.live else 0
                    at_ns = drawn.frame.t_ns - first_ns
                    if preview.seconds is not None and at_ns >= preview.seconds * 1e9:
                        break
                    if writer is None:
                        sound = None if preview.seconds is not None else preview.source_file()
                        writer = VideoWriter(
                            out, drawn.image.view.size, source.fps, sound_from=sound
                        )
                    writer.write(drawn.image.rgba, at_ns)
                    drawn_frames += 1
                    seen_frames += _shows_somebody(drawn)
                    progress.tell(told)
        except KeyboardInterrupt:
            if writer is not None:
                writer.close()
                print(f"\n{out} holds the {drawn_frames} pictures until now", file=sys.stderr)
            raise
        except Exception as error:
            if writer is None or not drawn_frames:
                raise
            writer.close()
            raise FailedError(f"{one_line(error)} ({out} holds {drawn_frames} pictures)") from error
        finally:
            progress.end()
            if writer is not None:
                writer.close()
        damaged = source.damaged
    if writer is None:
        raise FailedError(f"{preview.source}: gave no picture, so {out} was not written")
    if damaged:
        raise FailedError(
            f"{preview.source}: is damaged or cut off; {out} holds the {drawn_frames} pictures "
            "that can be read. Copy or export the source again for the rest"
        )
    if not seen_frames:
        raise FailedError(
            f"no person was seen in {drawn_frames} frames, so {out} shows an empty room; "
            "is a face in the picture, upright and lit?"
        )
    if origin is not None:
        from apps.provenance import add_credentials

        add_credentials(out, origin)
    return f"wrote {out}: {drawn_frames} pictures, a person in {seen_frames} of them"


@contextlib.contextmanager
def _imagined(
    preview: PreviewOptions, source: FrameSource, board: PanelBoard, mark: Callable[[Mark], None]
) -> Iterator[Origin | None]:
    """Puts on the board what --prompt asks for; what the video's credentials then say."""
    if not preview.imagine:
        yield None
        return
    from apps.imagine_models import close_models, open_models
    from apps.imagine_panels import ImagineOptions, imagine_once
    from apps.provenance import COMPOSITE, origin_of
    from overlay.image_model import ModelError
    from overlay.wish import PromptError

    models = open_models(preview.model_options())
    view = fitted_view(source.camera, picture_size(preview, source), 0)
    options = ImagineOptions(view, preview.prompt or "", preview.seed)
    try:
        # A camera's clock runs already, a file's begins at zero.
        begins_ns = now_ns() if source.live else 0
        wish, model = imagine_once(board, models, options, begins_ns, mark)
    except (ModelError, PromptError) as error:
        raise FailedError(f"--prompt: {error}") from error
    finally:
        close_models(models)
    yield origin_of(model, wish, COMPOSITE)


def _shows_somebody(drawn: Drawn) -> bool:
    return drawn.state.face is not None or bool(drawn.state.hands)
