"""A flat picture in space: text, an image, generated content."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_array, require_choice
from streams.rigid import Rigid

ANCHORS = ("world", "head", "left wrist", "right wrist")


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """The panel's frame: x right, y up, z out of its front; the origin is its middle."""

    id: str
    rgba: npt.NDArray[np.uint8]
    """(H, W, 4) uint8 sRGB with straight (not premultiplied) alpha, row 0 on top."""
    anchor: str
    """"world", "head", "left wrist" or "right wrist"; while the anchor is not seen, the panel is
    not drawn."""
    anchor_from_panel: Rigid
    size_m: tuple[float, float]
    """(width, height) metres."""
    generated_by: str | None = None
    """None, or the model and prompt hash that made it: always shown as a label."""

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "rgba", require_array("Panel.rgba", self.rgba, np.uint8, (None, None, 4))
        )
        if 0 in self.rgba.shape:
            raise ValueError(f"Panel.rgba: expected at least one pixel, got {self.rgba.shape}")
        require_choice("Panel.anchor", self.anchor, ANCHORS)
        if len(self.size_m) != 2 or not all(np.isfinite(s) and s > 0 for s in self.size_m):
            raise ValueError(f"Panel.size_m: expected positive metres (w, h), got {self.size_m}")
        if self.generated_by is not None and not self.generated_by.strip():
            raise ValueError("Panel.generated_by: expected None or a model's name, got empty text")
