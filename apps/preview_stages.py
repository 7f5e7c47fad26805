"""What a preview is made of, opened in order and closed in the opposite one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from apps.pipeline import Draw, Stages
from apps.preview import Preview
from apps.sources import open_any
from apps.viewpoint import default_size, fitted_view, world_from_facing
from capture.frame_source import FrameSource, SourceOptions
from overlay.image_panel import image_panel, read_picture
from overlay.placement import place_panels
from overlay.text_panel import TextStyle, text_panel
from streams.frame import Frame
from streams.mirror import mirror_camera
from streams.panel import Panel
from streams.rigid import Rigid
from streams.tracked_state import TrackedState
from streams.view import View

PANEL_DISTANCE = 0.3
"""Metres from the viewer: before the person, in the corners, where it hides no face."""


def open_source_of(preview: Preview) -> FrameSource:
    """The preview's source, opened. Raises SourceError or UsageError."""
    return open_any(
        preview.source,
        SourceOptions(
            fov_long_side=None if preview.fov_deg is None else float(np.deg2rad(preview.fov_deg)),
            mirrored=preview.mirrored,
        ),
    )


@contextlib.contextmanager
def open_stages(
    preview: Preview, source: FrameSource, draw: Draw | None = None
) -> Iterator[Stages]:
    """Tracker and avatar for `source`; `draw`, or a renderer without a window that is opened here
    and belongs to this thread."""
    # Imported one by one, here: torch and MediaPipe take seconds.
    from avatar.codec import Avatar
    from render.renderer import RenderOptions, open_renderer
    from tracking.tracker import Tracker

    # Each stage is a thread of its own; a pool inside one takes the cores from the others.
    cv2.setNumThreads(1)
    size = picture_size(preview, source)
    panels_of = _panels_of(preview, fitted_view(source.camera, size, 0))
    with contextlib.ExitStack() as opened:
        avatar = opened.enter_context(Avatar.open(preview.avatar))
        if draw is None:
            # Nothing here looks at depth, and reading it back costs as much as the colours.
            draw = opened.enter_context(open_renderer("gl", RenderOptions(depth=False))).draw
        tracker = opened.enter_context(Tracker.open())
        yield Stages(source, tracker, avatar, draw, _view_of(size), panels_of)


def picture_size(preview: Preview, source: FrameSource) -> tuple[int, int]:
    """(width, height) of what is drawn."""
    return preview.wanted_size() or default_size(source.camera)


def _view_of(size: tuple[int, int]) -> Callable[[Frame], View]:
    def view_of(frame: Frame) -> View:
        # A mirrored picture is tracked as the camera would have taken it unmirrored.
        camera = mirror_camera(frame.camera) if frame.mirrored else frame.camera
        return fitted_view(camera, size, frame.t_ns)

    return view_of


def _panels_of(preview: Preview, view: View) -> Callable[[TrackedState], tuple[Panel, ...]]:
    fixed: list[Panel] = []
    if preview.text is not None:
        fixed.append(_text_panel(preview.text, view))
    if preview.image is not None:
        fixed.append(_image_panel(preview.image, preview.generated_by, view))
    panels = tuple(fixed)

    def panels_of(state: TrackedState) -> tuple[Panel, ...]:
        world_from_head = None if state.face is None else state.face.world_from_head
        return place_panels(panels, world_from_head, state.hands)

    return panels_of


def _text_panel(text: str, view: View) -> Panel:
    """Lower left, a twenty-sixth of the picture's shorter side to a letter."""
    width, height = _plane(view)
    letter = min(width, height) / 26
    style = TextStyle(
        letter_m=letter,
        wrap_m=0.45 * width,
        margin_m=0.6 * letter,
        pixels_per_m=min(1.5 * view.size[0] / width, 4000 / (0.45 * width + 1.2 * letter)),
    )
    panel = text_panel("text", text, "world", Rigid.identity(), style)
    return _moved(panel, view, (-1.0, -1.0))


def _image_panel(path: Path, generated_by: str | None, view: View) -> Panel:
    """Upper right, a third of the picture high or wide at most."""
    width, height = _plane(view)
    picture = read_picture(path)
    tall = min(height / 3, width / 3 * picture.shape[0] / picture.shape[1])
    panel = image_panel("image", picture, "world", Rigid.identity(), tall, generated_by)
    return _moved(panel, view, (1.0, 1.0))


def _plane(view: View) -> tuple[float, float]:
    """(width, height) metres of the picture at the panels' distance."""
    left, right, up, down = np.tan(view.fov) * PANEL_DISTANCE
    return float(right - left), float(up - down)


def _moved(panel: Panel, view: View, corner: tuple[float, float]) -> Panel:
    """The panel in a corner of the picture, a thirtieth of it away from the edges."""
    inside = 1.0 - np.array(panel.size_m) / np.array(_plane(view)) - 1 / 15
    across, up = np.array(corner) * np.maximum(inside, 0.0)
    place = world_from_facing(view, float(across), float(up), PANEL_DISTANCE)
    return replace(panel, anchor_from_panel=place)
