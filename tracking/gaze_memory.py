"""Gaze over time: what lids hide now was seen a moment ago.

A Kalman filter of a gaze that wanders (a random walk), whose measurement is exact under open lids
and worth nothing under shut ones. With open eyes it passes gaze on unchanged, so that no look
arrives late; through a blink it holds the last one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tracking.gaze import Look

WANDERING = np.deg2rad(12.0)
"""Radians by which a gaze has moved after a second, standard deviation: people look around."""
HALF_HIDDEN = np.deg2rad(4.0)
"""Radians, the error of a gaze of which one half is believed: measured on the synthetic people."""
LONGEST_GAP_NS = 500_000_000
"""After this the last gaze says nothing about the new one."""


class GazeMemory:
    """Follows one person's gaze. Time comes with the looks; a gap or `forget` starts anew."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """The next look stands for itself."""
        self._look: Look | None = None
        self._t_ns = 0
        self._variance = 0.0

    def follow(self, t_ns: int, look: Look) -> Look:
        """Where the eyes look at `t_ns`, given `look` of that picture and those before it."""
        before, gap = self._look, t_ns - self._t_ns
        self._t_ns = t_ns
        error = HALF_HIDDEN**2 * (1.0 / max(look.any_believed, 1e-6) - 1.0)
        if before is None or not 0 < gap <= LONGEST_GAP_NS:
            self._look, self._variance = look, error
            return look
        variance = self._variance + WANDERING**2 * gap * 1e-9
        gain = variance / (variance + error)
        self._variance = (1.0 - gain) * variance
        self._look = replace(
            look,
            yaw=before.yaw + gain * (look.yaw - before.yaw),
            pitch=before.pitch + gain * (look.pitch - before.pitch),
            convergence=before.convergence + gain * (look.convergence - before.convergence),
        )
        return self._look
