"""A short piece of sound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_array, require_time


@dataclass(frozen=True, slots=True, eq=False)
class AudioBlock:
    """Samples of one microphone or sound track; blocks of one source follow one another."""

    t_ns: int
    """When the first sample was taken, monotonic nanoseconds."""
    source: str
    """Which microphone or file this came from."""
    rate: int
    """Samples a second and channel."""
    samples: npt.NDArray[np.int16]
    """(N, C) int16 linear PCM, N >= 1 moments of C >= 1 channels."""

    def __post_init__(self) -> None:
        require_time("AudioBlock.t_ns", self.t_ns)
        if type(self.rate) is not int or not 1 <= self.rate <= 1_000_000:
            raise ValueError(f"AudioBlock.rate: expected 1 to 1000000 Hz, got {self.rate!r}")
        samples = require_array("AudioBlock.samples", self.samples, np.int16, (None, None))
        if 0 in samples.shape:
            raise ValueError(f"AudioBlock.samples: expected some samples, got {samples.shape}")
        object.__setattr__(self, "samples", samples)

    @property
    def duration_ns(self) -> int:
        """How long the block lasts, nanoseconds."""
        return len(self.samples) * 1_000_000_000 // self.rate
