"""The synthetic person as a camera: pictures of a performance, with the truth beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from capture.performance import Performance
from streams.camera import Camera
from streams.closing import Closing
from streams.frame import Frame
from streams.tracked_state import TrackedState

Draw = Callable[[TrackedState], npt.NDArray[np.uint8]]
"""Draws a state as the camera sees it: (height, width, 3) uint8 sRGB of the camera's size."""


def _camera() -> Camera:
    return Camera.from_fov((512, 512), name="synthetic")


@dataclass(frozen=True, slots=True)
class SyntheticOptions:
    """How a performance is filmed."""

    camera: Camera = field(default_factory=_camera)
    fps: float = 30.0
    noise: float = 0.0
    """Standard deviation of the sensor's noise, in 8-bit steps."""
    seed: int = 0
    """Of the noise."""

    def __post_init__(self) -> None:
        if not 0.1 <= self.fps <= 1000.0:
            raise ValueError(f"SyntheticOptions.fps: expected 0.1 to 1000, got {self.fps}")
        if self.noise < 0.0:
            raise ValueError(f"SyntheticOptions.noise: expected 0 or more, got {self.noise}")


class SyntheticPerson(Closing):
    """A FrameSource over a performance. `draw` is called in the thread that iterates, and so is
    `release` (a renderer's clean-up) when the source is closed there."""

    live = False
    damaged = 0

    def __init__(
        self,
        performance: Performance,
        draw: Draw,
        options: SyntheticOptions | None = None,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        options = options or SyntheticOptions()
        self.performance = performance
        self.camera = options.camera
        self.fps = options.fps
        self.frame_count = round(performance.duration_s * options.fps)
        self._draw, self._release = draw, release
        self._noise, self._seed = options.noise, options.seed
        self._seq = 0
        self._closed = False

    def truth(self, seq: int) -> TrackedState:
        """What the performance does in frame `seq`."""
        return self.performance.state_at(round(seq * 1_000_000_000 / self.fps))

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        if self._closed or self._seq >= self.frame_count:
            raise StopIteration
        seq, self._seq = self._seq, self._seq + 1
        state = self.truth(seq)
        rgb = self._draw(state)
        if self._noise > 0.0:
            grain = np.random.default_rng((self._seed, seq)).normal(0.0, self._noise, rgb.shape)
            rgb = np.clip(np.rint(rgb + grain), 0, 255).astype(np.uint8)
        return Frame(state.t_ns, seq, self.camera, np.ascontiguousarray(rgb))

    def close(self) -> None:
        """End the scene and release what draws it."""
        if not self._closed:
            self._closed = True
            self._release()
