"""Several calibrated cameras as one source: the first camera's frames, and beside each what the
others saw at that moment."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace

from capture.companion import Companion, FileCompanion, LiveCompanion, Say
from capture.frame_source import FrameSource, SourceAround
from streams.camera import Camera
from streams.frame import SIMULTANEOUS_NS, Frame

WAIT_S = 2.0 * SIMULTANEOUS_NS / 1e9
"""How long a moment of live cameras waits for those that have not come yet."""


class RigSource(SourceAround):
    """A FrameSource over several: each frame is the first one's, with the others' `beside` it.

    The first camera leads: it tells times and rate, and its end or failure is the source's. The
    others may drop frames, lag, stall or end; their pictures are missing then, and `say` is told
    once. Of each at most `companion.KEPT` pictures are held.
    """

    def __init__(self, first: FrameSource, others: Sequence[FrameSource], say: Say) -> None:
        """Takes the sources over: `close` closes them all.

        Raises ValueError for two cameras of one name, or where some are live and others are not.
        """
        sources = (first, *others)
        names = [source.camera.name for source in sources]
        if len(set(names)) != len(names):
            raise ValueError(f"RigSource: expected cameras of different names, got {names}")
        if len({source.live for source in sources}) > 1:
            raise ValueError("RigSource: expected sources that are all live, or all not")
        super().__init__(first)
        kind = LiveCompanion if first.live else FileCompanion
        self._companions: list[Companion] = [kind(other, say) for other in others]

    @property
    def cameras(self) -> tuple[Camera, ...]:
        return (self.camera, *(companion.camera for companion in self._companions))

    @property
    def damaged(self) -> int:
        return super().damaged + sum(companion.damaged for companion in self._companions)

    def __next__(self) -> Frame:
        frame = super().__next__()
        deadline_s = time.monotonic() + WAIT_S
        found = (companion.at(frame.t_ns, deadline_s) for companion in self._companions)
        return replace(frame, beside=tuple(each for each in found if each is not None))

    def close(self) -> None:
        """Close every source, the first one first."""
        with contextlib.ExitStack() as closing:
            for companion in self._companions:
                closing.callback(companion.close)
            closing.callback(super().close)
