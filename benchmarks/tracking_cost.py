"""What tracking costs, by turns with MediaPipe: the time part of `benchmarks.tracking`.

All trackers look at the same frames of the same films, a run of frames each in turn, so that a busy
machine is busy for all of them. Ratios are taken turn by turn. CPU time is the whole process's, of
all threads; wall time on a busy machine is worth less.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.film_frames import to_and_fro
from tracking.engine import Picture

Look = Callable[[Picture, int], object]

FRAMES_A_TURN = 12
UNCOUNTED = 2
"""First frames of a turn: the other's threads are still spinning, and caches are cold."""
FRAME_MS = 33


@dataclass(frozen=True, slots=True)
class Cost:
    """One tracker on one film."""

    scene: str
    tracker: str
    turns: int
    wall_ms: float
    """A frame: median over the turns of the turn's mean."""
    cpu_ms: float
    wall_ratio: tuple[float, float, float]
    """The first tracker's time over this one's, turn by turn: tenth, median, ninetieth of 100."""
    cpu_ratio: tuple[float, float, float]


def by_turns(
    scene: str, film: Sequence[Picture], trackers: Mapping[str, Look], turns: int
) -> list[Cost]:
    """One row a tracker; the first is what the others are compared with."""
    names = list(trackers)
    wall: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    shown = to_and_fro(film)
    frame = 0
    for turn in range(turns + 1):
        run = [next(shown) for _ in range(FRAMES_A_TURN)]
        # Whoever begins one turn is the last of the next.
        for name in names if turn % 2 else names[::-1]:
            took = _timed(trackers[name], run, frame)
            if turn:  # The first turn opens, detects and warms.
                wall[name].append(took[0])
                cpu[name].append(took[1])
        frame += FRAMES_A_TURN
    first = names[0]
    return [
        Cost(
            scene,
            name,
            turns,
            1000 * float(np.median(wall[name])),
            1000 * float(np.median(cpu[name])),
            _ratios(wall[first], wall[name]),
            _ratios(cpu[first], cpu[name]),
        )
        for name in names
    ]


def _timed(look: Look, run: Sequence[Picture], first: int) -> tuple[float, float]:
    """Mean seconds a frame, wall and CPU."""
    begun = (0.0, 0.0)
    for k, rgb in enumerate(run):
        if k == UNCOUNTED:
            begun = (time.perf_counter(), time.process_time())
        look(rgb, (first + k + 1) * FRAME_MS)
    count = len(run) - UNCOUNTED
    return (time.perf_counter() - begun[0]) / count, (time.process_time() - begun[1]) / count


def _ratios(first: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    low, middle, high = np.percentile(np.array(first) / np.array(other), (10, 50, 90)).tolist()
    return low, middle, high
