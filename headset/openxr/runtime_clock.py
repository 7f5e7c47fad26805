"""XrTime, the runtime's clock, as this host's monotonic time and back.

Where the runtime has XR_KHR_convert_timespec_time (every one on Linux does), it converts for us:
its timespec is CLOCK_MONOTONIC's, which `streams.clock.now_ns` reads. Elsewhere each frame tells
when it will be shown. xrWaitFrame returns some time before that, mostly a period or two, so XrTime
minus our time at its return is that much above the clocks' difference; the median of the last
frames is taken, which single late frames do not move. A time mapped so is early by that lead.
"""

from __future__ import annotations

import ctypes
from collections import deque
from typing import Any

from headset.openxr.binding import OpenXrError
from headset.openxr.runtime import TIMESPEC, Runtime, handle_value
from streams.array_contract import require_time

KEPT_FRAMES = 90


class Timespec(ctypes.Structure):
    """struct timespec."""

    _fields_ = [("seconds", ctypes.c_longlong), ("nanoseconds", ctypes.c_long)]

    def total_ns(self) -> int:
        return int(self.seconds) * 1_000_000_000 + int(self.nanoseconds)


class ConvertedClock:
    """The runtime converts. Raises OpenXrError when it refuses a time."""

    def __init__(self, runtime: Runtime) -> None:
        self._instance = handle_value(runtime.instance)
        pointer = ctypes.c_void_p
        self._from_timespec: Any = runtime.function(
            "xrConvertTimespecTimeToTimeKHR", pointer, pointer, pointer
        )
        self._to_timespec: Any = runtime.function(
            "xrConvertTimeToTimespecTimeKHR", pointer, ctypes.c_int64, pointer
        )

    def note_frame(self, display_xr: int, returned_ns: int) -> None:
        """Nothing is to be learnt."""

    def host_ns(self, xr_time: int) -> int:
        """XrTime -> monotonic nanoseconds of this host."""
        found = Timespec()
        self._check(self._to_timespec(self._instance, xr_time, ctypes.byref(found)))
        return found.total_ns()

    def xr_time(self, host_ns: int) -> int:
        """Monotonic nanoseconds of this host -> XrTime."""
        require_time("ConvertedClock.xr_time", host_ns)
        wanted = Timespec(host_ns // 1_000_000_000, host_ns % 1_000_000_000)
        found = ctypes.c_int64(0)
        self._check(self._from_timespec(self._instance, ctypes.byref(wanted), ctypes.byref(found)))
        return int(found.value)

    @staticmethod
    def _check(result: int) -> None:
        if result < 0:
            raise OpenXrError(f"OpenXR: the runtime does not convert times (result {result})")


class FrameClock:
    """Estimated from when frames are said to be shown; see the module."""

    def __init__(self) -> None:
        self._offsets: deque[int] = deque(maxlen=KEPT_FRAMES)

    def note_frame(self, display_xr: int, returned_ns: int) -> None:
        """Take in one frame: its predicted display time, and when xrWaitFrame returned."""
        require_time("FrameClock.note_frame display_xr", display_xr)
        require_time("FrameClock.note_frame returned_ns", returned_ns)
        self._offsets.append(display_xr - returned_ns)

    def host_ns(self, xr_time: int) -> int:
        """XrTime -> monotonic nanoseconds of this host. Raises OpenXrError before any frame."""
        return xr_time - self._offset()

    def xr_time(self, host_ns: int) -> int:
        """Monotonic nanoseconds of this host -> XrTime. Raises OpenXrError before any frame."""
        return host_ns + self._offset()

    def _offset(self) -> int:
        if not self._offsets:
            raise OpenXrError("OpenXR: expected a frame before a time is mapped, got none yet")
        return sorted(self._offsets)[len(self._offsets) // 2]


RuntimeClock = ConvertedClock | FrameClock


def runtime_clock(runtime: Runtime) -> RuntimeClock:
    """The best clock that the runtime allows."""
    return ConvertedClock(runtime) if TIMESPEC in runtime.extensions else FrameClock()
