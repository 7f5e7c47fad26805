"""Unrest, delay and error of tracked landmarks in motion, on pictures whose motion is known.

A still photograph is shown for two seconds with fresh noise on each picture, then moved and turned
smoothly. Landmarks at rest say how much a tracker trembles; where they are while the picture moves,
against where the motion has carried them, says how late and how wrong it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]

SETTLED_AFTER = 20
"""Frames at rest that are not counted: trackers and filters begin in them."""
MOVING_AFTER = 2
"""Frames of the motion that are not counted: its sudden beginning is no motion of a person."""
LONGEST_LAG = 6.0
"""Frames."""


@dataclass(frozen=True, slots=True)
class StillMotion:
    """How a photograph is shown and moved. The defaults are those of the project's study of
    MediaPipe: 30 Hz, sway of 40 pixels at 1 Hz, 20 at 0.7 Hz, a turn of 0.12 rad at 0.8 Hz."""

    fps: float = 30.0
    still_frames: int = 60
    moving_frames: int = 60
    size: tuple[int, int] = (640, 480)
    noise: float = 5.0
    """Standard deviation of the noise of each colour value, of 255."""
    sway: tuple[float, float] = (40.0, 20.0)
    """Pixels, right and down."""
    sway_hz: tuple[float, float] = (1.0, 0.7)
    turn: float = 0.12
    """Radians, clockwise on the screen."""
    turn_hz: float = 0.8
    seed: int = 0

    def __len__(self) -> int:
        return self.still_frames + self.moving_frames

    def moved_from_canvas(self, frame: int) -> Array:
        """(2, 3): where frame `frame` has carried the points of the canvas; identity at rest."""
        seconds = max(0, frame - self.still_frames) / self.fps
        waves = np.sin(2 * np.pi * seconds * np.array([*self.sway_hz, self.turn_hz]))
        angle = self.turn * waves[2]
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        middle = (np.array(self.size) - 1.0) / 2
        return np.column_stack([turn, middle - turn @ middle + np.array(self.sway) * waves[:2]])

    def carried(self, points: npt.ArrayLike) -> Array:
        """(N, 2) pixels of the canvas -> (frames, N, 2): where each frame shows them."""
        at_rest = np.asarray(points, np.float64)[:, :2]
        maps = np.stack([self.moved_from_canvas(k) for k in range(len(self))])
        return at_rest @ maps[:, :, :2].transpose(0, 2, 1) + maps[:, None, :, 2]

    def pictures(self, photograph: Picture) -> Iterator[Picture]:
        """Each frame, (H, W, 3) uint8 sRGB; the same ones whenever asked. The photograph, of any
        size, stands in the middle of a black canvas."""
        rng = np.random.default_rng(self.seed)
        canvas = self._canvas(photograph)
        for k in range(len(self)):
            moved = cv2.warpAffine(canvas, self.moved_from_canvas(k), self.size)
            noisy = moved + rng.normal(0.0, self.noise, moved.shape)
            yield np.clip(np.rint(noisy), 0, 255).astype(np.uint8)

    def _canvas(self, photograph: Picture) -> Picture:
        height, width = photograph.shape[:2]
        scale = min(self.size[0] / width, self.size[1] / height)
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        fitted = cv2.resize(photograph, (width, height), interpolation=interpolation)
        canvas = np.zeros((self.size[1], self.size[0], 3), np.uint8)
        left, top = (self.size[0] - width) // 2, (self.size[1] - height) // 2
        canvas[top : top + height, left : left + width] = fitted
        return canvas


@dataclass(frozen=True, slots=True)
class TemporalQuality:
    """Of one tracked photograph."""

    jitter: float
    """At rest: root of x's and y's variance over time, mean over the points, as a part of the box
    (the mean of its sides)."""
    lag_s: float
    """Delay of the points' mean behind the true motion, seconds."""
    moving_error: float
    """Mean distance from the true place while moving, as a part of the box."""


def temporal_quality(track: npt.ArrayLike, motion: StillMotion) -> TemporalQuality:
    """Of `track` (frames, N, 2) pixels. Truth is the track's own mean at rest, carried by the known
    motion: a landmark model's bias does not count.

    NaN in a frame (nothing was tracked) makes every figure it belongs to NaN.
    """
    x = np.asarray(track, np.float64)
    if x.ndim != 3 or len(x) != len(motion) or x.shape[2] != 2:
        raise ValueError(
            f"temporal_quality: expected a track of ({len(motion)}, N, 2), got {x.shape}"
        )
    begun = motion.still_frames
    at_rest = x[min(SETTLED_AFTER, begun - 1) : begun]
    box = float(np.ptp(at_rest[0], axis=0).mean())
    truth = motion.carried(at_rest.mean(axis=0))
    error = np.linalg.norm(x - truth, axis=-1)[begun + MOVING_AFTER :]
    return TemporalQuality(
        float(at_rest.std(axis=0).mean() * np.sqrt(2.0) / box),
        lag(truth[begun:].mean(axis=1), x[begun:].mean(axis=1), motion.fps),
        float(error.mean()) / box,
    )


def lag(ahead: npt.ArrayLike, behind: npt.ArrayLike, fps: float) -> float:
    """Seconds by which the signal `behind` (frames, D) follows `ahead`, 0 to LONGEST_LAG frames:
    the shift that makes them most alike, by tenths of a frame and a parabola through the best."""
    a, b = np.asarray(ahead, np.float64), np.asarray(behind, np.float64)
    if a.shape != b.shape or a.ndim != 2 or len(a) <= 2 * LONGEST_LAG:
        raise ValueError(f"lag: expected two (frames, D) of 13 or more, got {a.shape}, {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan")
    frames = np.arange(len(a))
    shifts = np.arange(0.0, LONGEST_LAG, 0.1)
    skipped = int(np.ceil(LONGEST_LAG))
    costs = np.array(
        [
            ((_delayed(a, frames, shift) - b)[skipped:] ** 2).mean() for shift in shifts
        ]
    )  # fmt: skip
    k = int(np.argmin(costs))
    best = shifts[k]
    if 0 < k < len(shifts) - 1:
        left, here, right = costs[k - 1 : k + 2]
        bend = left - 2 * here + right
        if bend > 0:
            best += 0.1 * 0.5 * (left - right) / bend
    return float(best / fps)


def _delayed(signal: Array, frames: npt.NDArray[np.int_], shift: float) -> Array:
    columns = [np.interp(frames - shift, frames, signal[:, k]) for k in range(signal.shape[1])]
    return np.stack(columns, axis=1)


def quiet_unrest(track: npt.ArrayLike, fps: float, window_s: float = 0.5) -> Array:
    """Unrest of real footage, (frames - window + 1,): distance of each frame's points from a
    straight line through the `window_s` seconds around it, mean over the points.

    (frames, N, 2) pixels in, pixels out. It holds true motion too; the quietest quarter of the
    frames says most about the tracker.
    """
    x = np.asarray(track, np.float64)
    length = max(5, round(window_s * fps) | 1)
    if x.ndim != 3 or len(x) < length:
        raise ValueError(f"quiet_unrest: expected ({length} or more, N, D), got {x.shape}")
    k = np.arange(length) - length // 2
    # What is left of the middle frame after a least-squares line through the window.
    weights = -(1.0 / length + k[length // 2] * k / float(k @ k))
    weights[length // 2] += 1.0
    windows = np.lib.stride_tricks.sliding_window_view(x, length, axis=0)
    return np.linalg.norm(windows @ weights, axis=-1).mean(axis=-1)
