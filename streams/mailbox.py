"""A live seam: the newest value and its age. A slow reader skips, a fast writer never waits."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Generic, TypeVar

from streams.clock import now_ns

T = TypeVar("T")


class SeamClosedError(ConnectionError):
    """The other end of a seam was closed: nothing more will come, or can be sent."""


@dataclass(frozen=True, slots=True)
class Letter(Generic[T]):
    """A value taken from a mailbox."""

    value: T
    seq: int
    """Counts the values put in from 0; a gap to the last one read is values that were skipped."""
    put_ns: int
    """When it was put in, monotonic nanoseconds of this host."""

    def age_ns(self, at_ns: int | None = None) -> int:
        """How long ago it was put in (until `at_ns`, by default now)."""
        return (now_ns() if at_ns is None else at_ns) - self.put_ns


class Mailbox(Generic[T]):
    """Holds one value. One thread puts it, others read it.

    A worker that fails hands its exception to its readers here (`fail`): every read from then on
    raises it, also where a value is held, because a live seam does not show the past.
    """

    def __init__(self, name: str = "mailbox") -> None:
        self.name = name
        self._changed = threading.Condition()
        self._letter: Letter[T] | None = None
        self._count = 0
        self._failure: BaseException | None = None
        self._closed = False

    def put(self, value: T) -> None:
        """Replace what is held. Raises SeamClosedError after `close` or `fail`."""
        with self._changed:
            if self._closed:
                raise SeamClosedError(f"{self.name}: closed, nothing can be put in")
            self._letter = Letter(value, self._count, now_ns())
            self._count += 1
            self._changed.notify_all()

    def fail(self, failure: BaseException) -> None:
        """Close, and raise `failure` to every reader from now on. The first failure stays."""
        with self._changed:
            if self._failure is None and not self._closed:
                self._failure = failure
            self._closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more will come. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        with self._changed:
            return self._closed

    def newest(self) -> Letter[T] | None:
        """What is held, read or not, or None when nothing came yet. Never waits.

        Raises the worker's exception when it failed.
        """
        with self._changed:
            if self._failure is not None:
                raise self._failure
            return self._letter

    def wait(self, timeout: float, after: int = -1) -> Letter[T]:
        """The newest value whose seq is above `after`, waiting up to `timeout` seconds for it.

        Raises TimeoutError when none comes in time, SeamClosedError when none can come any more,
        and the worker's exception when it failed.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or (self._letter is not None and self._letter.seq > after),
                timeout,
            )
            if self._failure is not None:
                raise self._failure
            if self._letter is not None and self._letter.seq > after:
                return self._letter
            if self._closed:
                raise SeamClosedError(f"{self.name}: closed, nothing more will come")
            raise TimeoutError(f"{self.name}: expected a new value within {timeout:g} s, got none")
