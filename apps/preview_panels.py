"""The panels of a preview: its text and its picture, in the world, at the head or at a wrist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from apps.preview_options import PreviewOptions
from apps.viewpoint import world_from_facing
from overlay.board import PanelBoard
from overlay.image_panel import image_panel, read_picture
from overlay.placement import place_panels
from overlay.text_panel import TextStyle, text_panel
from streams.panel import Panel
from streams.rigid import Rigid
from streams.tracked_state import TrackedState
from streams.view import View

PANEL_DISTANCE = 0.3
"""Metres from the viewer: before the person, in the corners, where it hides no face."""
WORN_TALL = 0.09
"""Metres: height of a picture that somebody wears."""
WORN_STYLE = TextStyle(letter_m=0.014, wrap_m=0.22, margin_m=0.009, pixels_per_m=2400.0)
HEAD_FROM_PANEL = {
    "text": Rigid.from_translation((0.0, 0.19, 0.03)),
    "image": Rigid.from_translation((0.19, 0.03, 0.0)),
}
"""Above the hair; beside the person's left cheek."""
_PALM_UP = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, -1.0, 0.0]])
WRIST_FROM_PANEL = {
    "text": Rigid.from_rotation(_PALM_UP, (0.0, -0.03, -0.215)),
    "image": Rigid.from_rotation(_PALM_UP, (0.0, -0.03, -0.31)),
}
"""Over the finger tips, facing whoever sees the palm, upright when the hand is."""


def board_of(preview: PreviewOptions, view: View, distance: float = PANEL_DISTANCE) -> PanelBoard:
    """What `preview` asks for, what is in the world at `distance` metres. Whoever holds the board
    may change it while it is shown."""
    board = PanelBoard()
    anchor, plane = preview.anchor_name(), _Plane(view, distance)
    if preview.text is not None:
        board.put(_text_panel(preview.text, anchor, plane))
    if preview.image is not None:
        board.put(_image_panel(preview.image, preview.generated_by, anchor, plane))
    return board


def shown_panels(board: PanelBoard) -> Callable[[TrackedState], tuple[Panel, ...]]:
    """The board's panels of a moment, where the person is then."""

    def panels_of(state: TrackedState) -> tuple[Panel, ...]:
        world_from_head = None if state.face is None else state.face.world_from_head
        return place_panels(board.panels(state.t_ns), world_from_head, state.hands)

    return panels_of


@dataclass(frozen=True, slots=True, eq=False)
class _Plane:
    """What a viewer sees of the plane that panels in the world stand in."""

    view: View
    distance: float

    @property
    def size(self) -> tuple[float, float]:
        """(width, height) metres of the picture there."""
        left, right, up, down = np.tan(self.view.fov) * self.distance
        return float(right - left), float(up - down)


def _text_panel(text: str, anchor: str, plane: _Plane) -> Panel:
    """In the world: lower left, a twenty-sixth of the picture's shorter side to a letter."""
    if anchor != "world":
        return text_panel("text", text, anchor, _worn(anchor)["text"], WORN_STYLE)
    width, height = plane.size
    letter = min(width, height) / 26
    style = TextStyle(
        letter_m=letter,
        wrap_m=0.45 * width,
        margin_m=0.6 * letter,
        pixels_per_m=min(1.5 * plane.view.size[0] / width, 4000 / (0.45 * width + 1.2 * letter)),
    )
    panel = text_panel("text", text, "world", Rigid.identity(), style)
    return _moved(panel, plane, (-1.0, -1.0))


def _image_panel(path: Path, generated_by: str | None, anchor: str, plane: _Plane) -> Panel:
    """In the world: upper right, a third of the picture high or wide at most."""
    picture = read_picture(path)
    if anchor != "world":
        place = _worn(anchor)["image"]
        return image_panel("image", picture, anchor, place, WORN_TALL, generated_by)
    width, height = plane.size
    tall = min(height / 3, width / 3 * picture.shape[0] / picture.shape[1])
    panel = image_panel("image", picture, "world", Rigid.identity(), tall, generated_by)
    return _moved(panel, plane, (1.0, 1.0))


def _worn(anchor: str) -> dict[str, Rigid]:
    return HEAD_FROM_PANEL if anchor == "head" else WRIST_FROM_PANEL


def _moved(panel: Panel, plane: _Plane, corner: tuple[float, float]) -> Panel:
    """The panel in a corner of the picture, a thirtieth of it away from the edges."""
    inside = 1.0 - np.array(panel.size_m) / np.array(plane.size) - 1 / 15
    across, up = np.array(corner) * np.maximum(inside, 0.0)
    place = world_from_facing(plane.view, float(across), float(up), plane.distance)
    return replace(panel, anchor_from_panel=place)
