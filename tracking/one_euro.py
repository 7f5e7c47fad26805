"""The One-Euro filter (Casiez, Roussel and Vogel 2012): still when slow, quick when fast.

The speed is that of the values that come in, as in MediaPipe, not of those that went out, as in the
paper: those lag, and what lags looks slow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OneEuroOptions:
    """The defaults are MediaPipe's own for faces; on hands they halve the jitter and lag 6 ms."""

    min_cutoff: float = 0.05
    """Hertz: the low-pass of a value at rest."""
    beta: float = 80.0
    """Hertz for each object size a second of speed."""
    speed_cutoff: float = 1.0
    """Hertz: the low-pass of the speed itself."""


LONGEST_GAP_NS = 500_000_000
"""After this the old value says nothing about the new one."""


def bridged_seconds(before_ns: int, t_ns: int) -> float:
    """From one use of a filter to the next; 0 where it has to start anew: after a long gap, or at
    a time that is not later."""
    gap = t_ns - before_ns
    return gap * 1e-9 if 0 < gap <= LONGEST_GAP_NS else 0.0


class OneEuro:
    """Filters one array over time; time comes with the values, a gap or `reset` starts anew."""

    def __init__(self, options: OneEuroOptions | None = None) -> None:
        self._options = options or OneEuroOptions()
        self._t_ns = 0
        self._value: Array | None = None
        self._came: Array = np.zeros(0)
        self._speed: Array = np.zeros(0)

    def reset(self) -> None:
        """Forget: the next value passes unchanged."""
        self._value = None

    def filter(self, t_ns: int, value: npt.ArrayLike, size: float) -> Array:
        """The filtered `value` at `t_ns`; `size` (of value's unit) is the moving object's size.

        A time that is not later than the last one starts anew.
        """
        new = np.array(value, np.float64)
        seconds = bridged_seconds(self._t_ns, t_ns)
        self._t_ns = t_ns
        old = self._value
        if old is None or old.shape != new.shape or seconds == 0.0:
            self._value, self._came, self._speed = new, new, np.zeros_like(new)
            return new.copy()
        speed = (new - self._came) / (seconds * max(size, 1e-9))
        self._came = new
        a = _alpha(np.array(self._options.speed_cutoff), seconds)
        self._speed = speed * a + (1.0 - a) * self._speed
        cutoff = self._options.min_cutoff + self._options.beta * np.abs(self._speed)
        b = _alpha(cutoff, seconds)
        self._value = new * b + (1.0 - b) * old
        return self._value.copy()


def _alpha(cutoff_hz: Array, seconds: float) -> Array:
    turn = 2.0 * np.pi * cutoff_hz * seconds
    return turn / (turn + 1.0)
