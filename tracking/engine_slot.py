"""Keeps one engine at work: replaces a broken one and asks it again what the old one broke on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from tracking.engine import Picture
from tracking.lane import Engine, Lane

T = TypeVar("T")


class TrackingError(RuntimeError):
    """An engine failed twice on one picture, the second time freshly opened."""


class EngineSlot(Generic[T]):
    """Call `begin` and `wait` once, then `ask` and `answer` for each picture."""

    def __init__(self, name: str, open_engine: Callable[[], Engine[T]], patience_s: float) -> None:
        self._name = name
        self._open_engine = open_engine
        self._patience_s = patience_s
        self._lane: Lane[T] | None = None
        self._picture: tuple[Picture, int] | None = None

    def begin(self) -> None:
        """Open a new engine in place of the old one, without waiting for either."""
        self._drop()
        self._lane = Lane(self._name, self._open_engine, self._patience_s)

    def wait(self) -> None:
        """Wait until the engine is open; raises what opening it raised, or TimeoutError."""
        if self._lane is not None:
            try:
                self._lane.wait_open()
            except Exception:
                self._drop()
                raise

    def ask(self, rgb: Picture, t_ms: int) -> None:
        """Hand over a picture; `answer` must follow. An answer that was not taken is let go."""
        if self._picture is not None:
            try:
                self.answer()
            except TrackingError:
                pass  # Of a picture that nobody asks about any more.
        if self._lane is None:
            self.begin()
            self.wait()
        self._picture = (rgb, t_ms)
        if self._lane is not None:
            self._lane.ask(rgb, t_ms)

    def answer(self) -> T:
        """The engine's result for the last `ask`.

        Raises TrackingError when a fresh engine failed on the picture too; the next `ask` opens
        another one.
        """
        if self._lane is None or self._picture is None:
            raise RuntimeError(f"{self._name}: expected a picture to be asked first")
        picture, self._picture = self._picture, None
        try:
            return self._lane.answer()
        except Exception:  # Whatever it was: the engine's thread has ended, or hangs.
            try:
                self.begin()
                self.wait()
                self._lane.ask(*picture)
                return self._lane.answer()
            except Exception as error:
                self._drop()
                height, width = picture[0].shape[:2]
                raise TrackingError(
                    f"{self._name}: failed twice on a picture of {width} x {height} ({error}); "
                    "leave the picture out and go on with the next"
                ) from error

    def close(self) -> None:
        """End the engine and its thread within seconds. Idempotent."""
        self._drop(wait=True)

    def _drop(self, wait: bool = False) -> None:
        if self._lane is not None:
            self._lane.close(wait)
        self._lane = self._picture = None
