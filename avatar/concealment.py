"""What is shown while packets are missing, and between those that came.

Heads and wrists go on as they moved and come to rest; gaze and fingers stand still; the shape of
the face and what a picture told beyond the expectation settle towards what is likely when nothing
is known. All in whole numbers, so that it is the same on every machine. The constants are near the
least-squares predictors of three talking people over 33 to 500 ms (docs/bitstream.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avatar.code_numbers import GAZE, GROUPS, LARGEST, POSE, CodeNumbers, turned_like
from streams.tracked_state import SIDES

Int64 = npt.NDArray[np.int64]
Indices = npt.NDArray[np.intp]

REST_MS = 40
"""A head goes on for so many ms' worth of its speed; after three times this it stands."""
SURE_MS = 50
"""A speed that was measured over longer counts less, by the inverse of how long."""
SHAPE_MS, SHAPE_KEPT = 130, 0.25
TOLD_MS, TOLD_KEPT = 110, 0.28
"""How fast a face's shape and what was told settle, and to which part of what they were."""
HORIZON_MS = 1000
"""After which nothing changes any more."""
ONE = 1 << 20


def _falling(rest_ms: int) -> Int64:
    """(HORIZON_MS + 1,): exp(-t / rest_ms) of ONE, by whole numbers alone."""
    shares = [ONE]
    for _ in range(HORIZON_MS):
        shares.append(shares[-1] * (2 * rest_ms - 1) // (2 * rest_ms + 1))
    return np.array(shares, np.int64)


REACH = REST_MS * (ONE - _falling(REST_MS))
"""(HORIZON_MS + 1,) ms * ONE: how far a speed still leads."""
SHAPE = round(SHAPE_KEPT * ONE) + round((1 - SHAPE_KEPT) * ONE) * SHAPE_MS**2 // (
    SHAPE_MS**2 + np.arange(HORIZON_MS + 1) ** 2
)
"""A face moves smoothly, so its shape at first hardly settles."""
TOLD = round(TOLD_KEPT * ONE) + (round((1 - TOLD_KEPT) * ONE) * _falling(TOLD_MS)) // ONE
SPEED = 1 << 8
"""Parts of an integer a ms that speeds are counted in."""


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What a packet told."""

    t_ms: int
    row: Int64
    """All numbers."""
    speed: Int64
    """(N,) SPEED parts of an integer a ms."""
    known: tuple[bool, ...]
    """Of each of GROUPS: present, and all its numbers have come."""
    origin: str


class Concealment:
    """Rows of numbers at moments that have no packet."""

    def __init__(self, numbers: CodeNumbers) -> None:
        face, appearance = numbers.spans["face"], numbers.spans["appearance"]
        self._shape = slice(face.start + POSE + GAZE, face.stop)
        self._told, self._spans = appearance, numbers.spans
        starts = [numbers.spans[name].start for name in ("face", *SIDES)]
        self._moving = np.concatenate([np.arange(start, start + POSE) for start in starts])

    def speed(self, before: Int64, after: Int64, passed_ms: int, jumped: Indices) -> Int64:
        """(N,) of what moved from `before` to `after`; numbers `jumped` were not known before."""
        if not 0 < passed_ms <= HORIZON_MS:
            return np.zeros_like(after)
        speed, moving = np.zeros(len(after), np.int64), self._moving
        moved = after.take(moving) - before.take(moving)
        speed[moving] = moved * (SPEED * min(passed_ms, SURE_MS)) // passed_ms**2
        speed[jumped] = 0
        return speed

    def carried(self, row: Int64, speed: Int64, passed_ms: int) -> Int64:
        """(N,) what `row` is likely to have become."""
        ms = min(max(passed_ms, 0), HORIZON_MS)
        later = row + speed * REACH[ms] // (SPEED * ONE)
        for part, kept in ((self._shape, SHAPE[ms]), (self._told, TOLD[ms])):
            later[part] = (later[part] * kept) // ONE
        return np.minimum(np.maximum(later, -LARGEST), LARGEST)

    def between(self, before: Moment, after: Moment, t_ms: int) -> Int64:
        """(N,) on the way from one to the other; groups that are not in both stand as before."""
        whole_ms = after.t_ms - before.t_ms
        passed_ms = min(max(t_ms - before.t_ms, 0), whole_ms)
        row = before.row.copy()
        for name, one, other in zip(GROUPS, before.known, after.known, strict=True):
            if one and other:
                span = self._spans[name]
                target = after.row[span]
                if name != "appearance":
                    target = turned_like(target, row[span])
                row[span] += (target - row[span]) * passed_ms // whole_ms
        return row
