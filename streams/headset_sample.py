"""What a headset reports at one moment: head, hands, and the views that it wants drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_array, require_finite, require_time
from streams.rigid import Rigid
from streams.view import View


@dataclass(frozen=True, slots=True, eq=False)
class HeadsetSample:
    """One sample, headset time already mapped to the host's clock."""

    t_ns: int
    world_from_head: Rigid
    """The head's own frame as `FacePose` says it, not the viewer's of WebXR or OpenXR."""
    left: npt.NDArray[np.float32] | None = None
    """(25, 3) float32 metres, world frame, in XRHand's joint order, or None when not tracked."""
    right: npt.NDArray[np.float32] | None = None
    views: tuple[View, ...] = ()
    """At the predicted display time."""
    device_ns: int | None = None
    """The same moment by the headset's own clock, nanoseconds, where it tells one."""

    def __post_init__(self) -> None:
        require_time("HeadsetSample.t_ns", self.t_ns)
        if self.device_ns is not None:
            require_time("HeadsetSample.device_ns", self.device_ns)
        for name in ("left", "right"):
            value = getattr(self, name)
            if value is not None:
                checked = require_array(f"HeadsetSample.{name}", value, np.float32, (25, 3))
                require_finite(f"HeadsetSample.{name}", checked)
                object.__setattr__(self, name, checked)
