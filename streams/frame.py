"""A camera picture and when and by what it was taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_array, require_time
from streams.camera import Camera


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of one camera."""

    t_ns: int
    """Mid-exposure, monotonic nanoseconds."""
    seq: int
    """Counts the source's frames from 0; a gap is a dropped frame."""
    camera: Camera
    rgb: npt.NDArray[np.uint8]
    """(height, width, 3) uint8 sRGB, row 0 on top, of the camera's size."""
    mirrored: bool = False
    """True when the pixels are a mirror image of what the camera saw (a "selfie" picture)."""
    device_ns: int | None = None
    """The same moment by the sensor's own clock, nanoseconds, where it tells one."""

    def __post_init__(self) -> None:
        require_time("Frame.t_ns", self.t_ns)
        if self.device_ns is not None:
            require_time("Frame.device_ns", self.device_ns)
        width, height = self.camera.size
        object.__setattr__(
            self, "rgb", require_array("Frame.rgb", self.rgb, np.uint8, (height, width, 3))
        )
