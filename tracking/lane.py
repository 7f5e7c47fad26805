"""One engine in one thread of its own, asked for one picture at a time, never waited for in vain.

A native engine can raise, die or hang, even in its own close. It therefore lives and ends in a
daemon thread: whoever waits for it waits a bounded time, and a hung thread is left behind.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from tracking.engine import Picture

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Engine(Protocol[T_co]):
    """What face and hand engines have in common."""

    def look(self, rgb: Picture, t_ms: int) -> T_co: ...

    def close(self) -> None: ...


class Lane(Generic[T]):
    """Call `ask`, then `answer`. After an exception from `answer` the lane is of no more use."""

    IDLE_S = 1.0
    CLOSE_S = 3.0

    def __init__(self, name: str, open_engine: Callable[[], Engine[T]], patience_s: float) -> None:
        """Opens the engine in the lane's thread; `wait_open` tells whether that went well.

        `patience_s` bounds the wait for an opened engine and for each answer.
        """
        self._name = name
        self._open_engine = open_engine
        self._patience_s = patience_s
        self._stop = threading.Event()
        self._asked: queue.Queue[tuple[Picture, int] | None] = queue.Queue(maxsize=2)
        self._answers: queue.Queue[T | Exception] = queue.Queue(maxsize=2)
        self._opened: queue.Queue[Exception | None] = queue.Queue(maxsize=1)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wait_open(self) -> None:
        """Wait for the engine; raises what opening it raised, or TimeoutError."""
        try:
            error = self._opened.get(timeout=self._patience_s)
        except queue.Empty:
            raise TimeoutError(
                f"{self._name}: the engine did not open within {self._patience_s:g} s"
            ) from None
        if error is not None:
            raise error

    def ask(self, rgb: Picture, t_ms: int) -> None:
        """Hand over a picture; `answer` must follow before the next `ask`."""
        self._asked.put((rgb, t_ms), timeout=self._patience_s)

    def answer(self) -> T:
        """The result of the last `ask`; raises what the engine raised, or TimeoutError."""
        try:
            result = self._answers.get(timeout=self._patience_s)
        except queue.Empty:
            raise TimeoutError(
                f"{self._name}: no answer from the engine within {self._patience_s:g} s"
            ) from None
        if isinstance(result, Exception):
            raise result
        return result

    def close(self, wait: bool = True) -> None:
        """End the thread and its engine; waits a bounded time. Idempotent."""
        self._stop.set()
        try:
            self._asked.put_nowait(None)
        except queue.Full:
            pass  # The thread sees the flag after what it is doing.
        if wait:
            self._thread.join(self.CLOSE_S)

    def _run(self) -> None:
        try:
            engine = self._open_engine()
        except Exception as error:
            self._opened.put(error)
            return
        self._opened.put(None)
        while not self._stop.is_set():
            try:
                asked = self._asked.get(timeout=self.IDLE_S)
            except queue.Empty:
                continue
            if asked is None:
                break
            try:
                self._answers.put(engine.look(*asked), timeout=self.IDLE_S)
            except queue.Full:
                break  # Whoever asked has given up.
            except Exception as error:
                self._answers.put(error, timeout=self.IDLE_S)
                break
        try:
            engine.close()
        except RuntimeError:
            pass  # A dead MediaPipe graph refuses to close; the thread's end frees it.
