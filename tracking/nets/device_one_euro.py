"""The One-Euro filter where the landmarks are: `tracking.one_euro.OneEuro` is its slow twin.

Many filters of equal arrays lie in one memory on the device, each in a slot. A captured graph reads
and writes those that its frame names, so that graphs of other shapes go on from the same state, and
the host sends of each filter two numbers: its slot, and the seconds since it was last used.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tracking.one_euro import OneEuroOptions


class DeviceOneEuro:
    """Called from one thread at a time. In float64, as the twin: speeds are small differences."""

    def __init__(
        self, slots: int, shape: tuple[int, ...], options: OneEuroOptions, device: torch.device
    ) -> None:
        """`slots` filters of arrays of `shape`."""
        self._options = options
        self.spare = slots
        """One more slot, for work whose answers nobody waits for, as when a graph is recorded."""
        empty = (slots + 1, *shape)
        self._value, self._came, self._speed = (
            torch.zeros(empty, dtype=torch.float64, device=device) for _ in range(3)
        )

    def begin(self, slot: int, value: npt.NDArray[np.floating]) -> None:
        """Begin anew with `value`, which was found elsewhere than on the device."""
        came = torch.from_numpy(np.array(value, np.float64))
        self._value[slot].copy_(came)
        self._came[slot].copy_(came)
        self._speed[slot].zero_()

    def filtered(self, slots: Tensor, seconds: Tensor, new: Tensor, sizes: Tensor) -> Tensor:
        """(N, *shape) float64, of `new` likewise, N at most the slots, each in a slot of its own.

        `slots` (N,) int64; `seconds` (N,) float64, 0 for one that begins anew (as
        `tracking.one_euro.bridged_seconds` says); `sizes` (N,) float64, of the moving objects. All
        on the device; asks nothing of their values.
        """
        anew, time, size = (
            each.reshape(-1, *[1] * (new.dim() - 1)) for each in (seconds == 0.0, seconds, sizes)
        )
        old, came, before = (
            state.index_select(0, slots) for state in (self._value, self._came, self._speed)
        )
        speed = (new - came) / (time * size.clamp(min=1e-9))
        a = _alpha(torch.full_like(time, self._options.speed_cutoff), time)
        speed = speed * a + (1.0 - a) * before
        b = _alpha(self._options.min_cutoff + self._options.beta * speed.abs(), time)
        value = torch.where(anew, new, new * b + (1.0 - b) * old)
        self._value.index_copy_(0, slots, value)
        self._came.index_copy_(0, slots, new)
        self._speed.index_copy_(0, slots, torch.where(anew, torch.zeros_like(speed), speed))
        return value


def _alpha(cutoff_hz: Tensor, seconds: Tensor) -> Tensor:
    turn = 2.0 * math.pi * cutoff_hz * seconds
    return turn / (turn + 1.0)
