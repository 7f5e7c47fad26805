"""What makes pictures of a wish, step by step: stickers, a local network, a server."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from overlay.wish import Wish
from streams.array_contract import require_array


class ModelError(RuntimeError):
    """A model cannot make this picture, or none at all. One readable line, for a panel."""


class NothingForItError(ModelError):
    """This model has not learned what the words say; where others make pictures, theirs stay."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelStep:
    """The picture as it is after so many steps; the last one is the result."""

    step: int
    """From 1."""
    steps: int
    """How many there will be."""
    rgba: npt.NDArray[np.uint8]
    """(H, W, 4) uint8 sRGB, straight alpha, row 0 on top."""

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "rgba", require_array("ModelStep.rgba", self.rgba, np.uint8, (None, None, 4))
        )
        if not 1 <= self.step <= self.steps:
            raise ValueError(f"ModelStep.step: expected 1 to {self.steps}, got {self.step}")

    @property
    def final(self) -> bool:
        return self.step == self.steps


class ImageModel(Protocol):
    """Used by one thread at a time, never by the one that draws."""

    @property
    def name(self) -> str:
        """Which model, with its version: part of what a cached picture is found by."""
        ...

    @property
    def label(self) -> str:
        """What the renderer writes on every picture of it, after "AI · "."""
        ...

    @property
    def licence(self) -> str:
        """SPDX expression or name of the terms of what it makes pictures with."""
        ...

    @property
    def instant(self) -> bool:
        """Whether it answers within a keystroke (50 ms): then it is asked at every one."""
        ...

    @property
    def generates(self) -> bool:
        """Whether a trained network makes the picture; else it is put together of drawings."""
        ...

    def steps(self, wish: Wish, cancelled: Callable[[], bool]) -> Generator[ModelStep, None, None]:
        """The picture, ever better. Whoever no longer wants it closes the generator between steps;
        within a long step the model looks at `cancelled` and ends early when it is true.

        Raises ModelError.
        """
        ...

    def close(self) -> None:
        """Give back what it holds; may be called twice."""
        ...


def final_step(model: ImageModel, wish: Wish) -> ModelStep:
    """The finished picture; waits for it. Raises ModelError."""
    last = None
    for step in model.steps(wish, lambda: False):
        last = step
    if last is None:
        raise ModelError(f"{model.name}: made no picture, and said no reason")
    return last
