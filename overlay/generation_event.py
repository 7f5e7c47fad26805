"""What happens while pictures are made as somebody types."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from overlay.image_panel import image_panel
from overlay.wish import Wish
from streams.panel import Panel
from streams.rigid import Rigid


@dataclass(frozen=True, slots=True, eq=False)
class PictureUpdate:
    """A new picture for a wish."""

    generation: int
    """Which wish, counted from 1; a larger one is newer."""
    t_ns: int
    """When it was ready, monotonic nanoseconds."""
    wish: Wish
    model: str
    label: str
    """For Panel.generated_by."""
    stage: int
    """Which of the models, in their order from 0: a later one makes the better picture."""
    step: int
    steps: int
    rgba: npt.NDArray[np.uint8]
    """(H, W, 4) uint8 sRGB, straight alpha."""
    cached: bool = False
    """Whether it was made before and only looked up."""

    @property
    def order(self) -> tuple[int, int, int]:
        """What is larger is shown in place of what is smaller, in whichever order they come."""
        return (self.generation, self.stage, self.step)

    def panel(self, panel_id: str, anchor: str, anchor_from_panel: Rigid, height_m: float) -> Panel:
        """The picture as a panel of that height, metres; it always says what made it."""
        return image_panel(panel_id, self.rgba, anchor, anchor_from_panel, height_m, self.label)


@dataclass(frozen=True, slots=True, eq=False)
class GenerationFailed:
    """A model made no picture of a wish; others may still."""

    generation: int
    t_ns: int
    wish: Wish
    model: str
    message: str
    """One readable line."""


@dataclass(frozen=True, slots=True, eq=False)
class GenerationCancelled:
    """A newer wish came, or none is wanted any more, before this one's model was done."""

    generation: int
    t_ns: int
    wish: Wish
    model: str
    steps_done: int


@dataclass(frozen=True, slots=True, eq=False)
class GenerationFinished:
    """A model's last picture of a wish is out (its update came before)."""

    generation: int
    t_ns: int
    wish: Wish
    model: str


GenerationEvent = PictureUpdate | GenerationFailed | GenerationCancelled | GenerationFinished
