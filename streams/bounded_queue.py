"""A recorded seam: every value arrives, in order; a full queue makes the writer wait."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from streams.mailbox import SeamClosedError

T = TypeVar("T")


class BoundedQueue(Generic[T]):
    """A lossless hand-over between threads, at most `capacity` values long.

    The writer ends with `close`; the reader then still gets what is queued, and after it the end.
    A worker that fails calls `fail`: its reader gets what is queued, and after it the exception.
    A reader that gives up calls `abandon`: the writer's next `put` raises SeamClosedError.
    """

    def __init__(self, capacity: int, name: str = "queue") -> None:
        if capacity < 1:
            raise ValueError(f"BoundedQueue.capacity: expected at least 1, got {capacity}")
        self.name = name
        self.capacity = capacity
        self._changed = threading.Condition()
        self._values: deque[T] = deque()
        self._failure: BaseException | None = None
        self._closed = False

    def put(self, value: T, timeout: float) -> None:
        """Append, waiting up to `timeout` seconds for room.

        Raises TimeoutError when there is still no room, SeamClosedError after `close`, `fail` or
        `abandon`.
        """
        with self._changed:
            room = self._changed.wait_for(
                lambda: self._closed or len(self._values) < self.capacity, timeout
            )
            if self._closed:
                raise SeamClosedError(f"{self.name}: closed, nothing can be put in")
            if not room:
                raise TimeoutError(
                    f"{self.name}: expected room within {timeout:g} s, "
                    f"got {self.capacity} values that nobody takes"
                )
            self._values.append(value)
            self._changed.notify_all()

    def get(self, timeout: float) -> T:
        """The oldest value, waiting up to `timeout` seconds for it.

        Raises TimeoutError when none comes in time. When the queue is empty and closed, raises the
        writer's exception if it failed, else SeamClosedError.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._values), timeout)
            if self._values:
                value = self._values.popleft()
                self._changed.notify_all()
                return value
            if self._failure is not None:
                raise self._failure
            if self._closed:
                raise SeamClosedError(f"{self.name}: closed and empty")
            raise TimeoutError(f"{self.name}: expected a value within {timeout:g} s, got none")

    def drain(self, timeout: float) -> Iterator[T]:
        """Every value up to the end, waiting up to `timeout` seconds for each.

        Ends when the writer closed; raises what `get` raises otherwise.
        """
        while True:
            try:
                value = self.get(timeout)
            except SeamClosedError:
                return
            yield value

    def close(self) -> None:
        """The writer is done; what is queued stays readable. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def fail(self, failure: BaseException) -> None:
        """Close, and raise `failure` to the reader after what is queued. The first one stays."""
        with self._changed:
            if self._failure is None and not self._closed:
                self._failure = failure
            self._closed = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """The reader is done: drop what is queued; the writer's next `put` raises
        SeamClosedError."""
        with self._changed:
            self._values.clear()
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        with self._changed:
            return self._closed

    def __len__(self) -> int:
        with self._changed:
            return len(self._values)
