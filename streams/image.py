"""A drawn picture, with the time of what it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_array, require_time
from streams.view import View


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """What a renderer made of a mesh and panels for one view."""

    t_ns: int
    """Of the observation that was drawn, so the picture's age is now - t_ns."""
    view: View
    rgba: npt.NDArray[np.uint8]
    """(height, width, 4) uint8 sRGB, row 0 on top, alpha 255 where the background is drawn too."""
    depth: npt.NDArray[np.float32]
    """(height, width) float32 metres along the eye's +z; 0 where there is nothing."""

    def __post_init__(self) -> None:
        require_time("Image.t_ns", self.t_ns)
        width, height = self.view.size
        put = object.__setattr__
        put(self, "rgba", require_array("Image.rgba", self.rgba, np.uint8, (height, width, 4)))
        put(self, "depth", require_array("Image.depth", self.depth, np.float32, (height, width)))
