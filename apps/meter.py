"""What each stage costs: wall-clock and CPU milliseconds a frame."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

STAGES = ("source", "tracking", "encode", "decode", "render")
KEPT = 4096
"""Samples a stage; older ones are dropped, so that a day's preview takes no more memory."""


@dataclass(frozen=True, slots=True)
class StageCost:
    """One stage's milliseconds a frame."""

    stage: str
    frames: int
    wall_median: float
    wall_p95: float
    cpu_median: float
    cpu_p95: float
    cpu_mean: float


class Meter:
    """Collects the cost of stages from several threads.

    `cpu_clock` counts the CPU seconds that a stage is charged with: `time.thread_time` where
    stages run at the same time (work that a library does in threads of its own is then missed),
    `time.process_time` where they run one after the other.
    """

    def __init__(self, cpu_clock: Callable[[], float] = time.thread_time) -> None:
        self._cpu_clock = cpu_clock
        self._lock = threading.Lock()
        self._samples = {stage: deque[tuple[float, float]](maxlen=KEPT) for stage in STAGES}

    @contextlib.contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Charge what happens inside to `stage`; nothing when it raises."""
        wall, cpu = time.perf_counter(), self._cpu_clock()
        yield
        sample = ((time.perf_counter() - wall) * 1e3, (self._cpu_clock() - cpu) * 1e3)
        with self._lock:
            self._samples[stage].append(sample)

    def clear(self) -> None:
        """Forget everything, for example what warming up cost."""
        with self._lock:
            for samples in self._samples.values():
                samples.clear()

    def costs(self, newest: int = KEPT) -> tuple[StageCost, ...]:
        """Of each stage that ran, over its `newest` frames."""
        with self._lock:
            held = {stage: list(samples)[-newest:] for stage, samples in self._samples.items()}
        return tuple(_cost(stage, samples) for stage, samples in held.items() if samples)


def _cost(stage: str, samples: list[tuple[float, float]]) -> StageCost:
    wall, cpu = np.array(samples).T
    return StageCost(
        stage,
        len(samples),
        float(np.median(wall)),
        float(np.percentile(wall, 95)),
        float(np.median(cpu)),
        float(np.percentile(cpu, 95)),
        float(cpu.mean()),
    )
