"""What holds something open and is used in a `with` block, which lets go of it at its end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Closing(ABC):
    """`with Thing() as thing:` ends in `thing.close()`."""

    @abstractmethod
    def close(self) -> None:
        """Let go; may be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Releasing(ABC):
    """`with Thing() as thing:` ends in `thing.release()`; for owners of OpenGL objects."""

    @abstractmethod
    def release(self) -> None:
        """Delete what it owns; may be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
