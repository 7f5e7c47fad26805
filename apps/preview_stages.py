"""What a preview is made of, opened in order and closed in the opposite one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import cv2

from apps.pipeline import Codes, Draw, Stages, Tracks
from apps.preview_options import PreviewOptions
from apps.preview_panels import board_of, shown_panels
from apps.rig_choice import calibrated_camera, open_together
from apps.sources import camera_options, open_any
from apps.tracker_choice import open_tracker_of, options_for
from apps.viewpoint import default_size, fitted_view
from capture.frame_source import FrameSource, is_of_camera
from overlay.board import PanelBoard
from streams.camera import Camera
from streams.frame import Frame
from streams.mirror import mirror_camera
from streams.view import View


def open_source_of(preview: PreviewOptions) -> FrameSource:
    """The preview's source, opened; several cameras as one. Raises SourceError or UsageError."""

    def opened(spec: str, camera: Camera | None) -> FrameSource:
        return open_any(spec, camera_options(preview.fov_deg, preview.mirrored, camera))

    if preview.more_sources and preview.rig is not None:
        return open_together(preview.rig, (preview.source, *preview.more_sources), opened)
    return opened(preview.source, calibrated_camera(preview.rig, preview.source))


@contextlib.contextmanager
def open_stages(
    preview: PreviewOptions,
    source: FrameSource,
    draw: Draw | None = None,
    tracker: Tracks | None = None,
    avatar: Codes | None = None,
    board: PanelBoard | None = None,
) -> Iterator[Stages]:
    """Tracker and avatar for `source`, or those given, which their owner closes; `draw`, or a
    renderer without a window that is opened here and belongs to this thread. `board`: the panels,
    by default those that `preview` asks for."""
    # Imported one by one, here: torch and MediaPipe take seconds.
    from avatar.opening import open_avatar
    from render.renderer import RenderOptions, open_renderer

    # Each stage is a thread of its own; a pool inside one takes the cores from the others.
    cv2.setNumThreads(1)
    size = picture_size(preview, source)
    if board is None:
        board = board_of(preview, fitted_view(source.camera, size, 0))
    panels_of = shown_panels(board)
    with contextlib.ExitStack() as opened:
        if avatar is None:
            avatar = opened.enter_context(open_avatar(preview.avatar))
        if preview.predict_ms > 0.0:
            from apps.predicted_avatar import PredictedAvatar

            avatar = PredictedAvatar(avatar, preview.predict_ms / 1000.0)
        if draw is None:
            # Nothing here looks at depth, and reading it back costs as much as the colours.
            draw = opened.enter_context(open_renderer("gl", RenderOptions(depth=False))).draw
        if tracker is None:
            from apps.own_face import NeutralLearning

            wanted = options_for(source, preview.faces)
            tracker = own = opened.enter_context(open_tracker_of(source, preview.tracker, wanted))
            if preview.neutral is not None:
                learning = NeutralLearning(own.details, is_of_camera(source))
                learning.ask(preview.neutral)
                opened.callback(learning.close)
        yield Stages(source, tracker, avatar, draw, _view_of(size), panels_of)


def picture_size(preview: PreviewOptions, source: FrameSource) -> tuple[int, int]:
    """(width, height) of what is drawn."""
    return preview.wanted_size() or default_size(source.camera)


def _view_of(size: tuple[int, int]) -> Callable[[Frame], View]:
    def view_of(frame: Frame) -> View:
        # A mirrored picture is tracked as the camera would have taken it unmirrored.
        camera = mirror_camera(frame.camera) if frame.mirrored else frame.camera
        return fitted_view(camera, size, frame.t_ns)

    return view_of
