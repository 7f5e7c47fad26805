"""What turns speech into words while it is spoken."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

RATE = 16_000
"""Samples a second, mono: what recognisers of speech are trained with."""


class SpeechError(RuntimeError):
    """Speech cannot be recognised. The message is one readable line."""


class SpeechRecogniser(Protocol):
    """Used by one thread at a time, one utterance after the other."""

    @property
    def name(self) -> str:
        """Which recogniser, with what it knows."""
        ...

    def begin(self) -> None:
        """A new utterance; what was heard before is forgotten."""
        ...

    def hear(self, samples: npt.NDArray[np.int16]) -> str:
        """(N,) int16 at RATE, N >= 1, which follow those before. What was said so far, as far as
        that is known: later words may change earlier ones."""
        ...

    def end(self) -> str:
        """What was said in all."""
        ...
