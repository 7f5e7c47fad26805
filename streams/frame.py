"""A camera picture and when and by what it was taken."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_array, require_time
from streams.camera import Camera

SIMULTANEOUS_NS = 20_000_000
"""Nanoseconds by which pictures of one moment may differ: cameras of 30 Hz that nobody triggers are
at most 17 ms apart."""


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
    beside: tuple[Frame, ...] = ()
    """What the other cameras of a rig saw then, within SIMULTANEOUS_NS; one that saw nothing then
    is absent. Each is of a camera of its own (by name) and has none beside itself."""

    def __post_init__(self) -> None:
        require_time("Frame.t_ns", self.t_ns)
        if self.device_ns is not None:
            require_time("Frame.device_ns", self.device_ns)
        width, height = self.camera.size
        object.__setattr__(
            self, "rgb", require_array("Frame.rgb", self.rgb, np.uint8, (height, width, 3))
        )
        names = [self.camera.name, *(frame.camera.name for frame in self.beside)]
        if len(set(names)) != len(names) or any(frame.beside for frame in self.beside):
            raise ValueError(
                f"Frame.beside: expected single pictures of other cameras, got {names}"
            )

    def at(self, t_ns: int, seq: int) -> Frame:
        """The same pictures as if the first had been taken at `t_ns`."""
        later_ns = t_ns - self.t_ns
        beside = tuple(replace(each, t_ns=each.t_ns + later_ns) for each in self.beside)
        return replace(self, t_ns=t_ns, seq=seq, beside=beside)
