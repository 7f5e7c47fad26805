"""What is learned, kept stage by stage, so that learning goes on where it was killed.

stages = LearningStages.kept(folder, key)
basis = stages.once("basis", fit_basis)(table, colours, ...)   # from the file, if there is one

A stage's value is written when it is made, and read back, so that a run that was interrupted goes
on with the very same bytes, memory layout included, as one that was not.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from avatar.enrolment.stored_tree import StoredTreeError, read_tree, write_tree

P = ParamSpec("P")
T = TypeVar("T")

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
SUFFIX = ".npz"


@dataclass(frozen=True, slots=True)
class LearningStages:
    """Of one learning, or of a part of it."""

    folder: Path | None = None
    """None: nothing is kept."""
    within: str = ""
    """The names of all stages begin with it."""
    remark: Callable[[str], None] = lambda _line: None
    """Is told when there is no room to keep a stage."""

    @staticmethod
    def kept(
        folder: Path, key: str, remark: Callable[[str], None] = lambda _line: None
    ) -> LearningStages:
        """In `folder`, of what `key` stands for alone: what was learned from anything else goes."""
        own = folder / key
        if folder.is_dir():
            for other in folder.iterdir():
                if other != own:
                    shutil.rmtree(other, ignore_errors=True)
        own.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in own.glob(".*.tmp"):  # by one who was killed in writing
            left.unlink(missing_ok=True)
        return LearningStages(own, remark=remark)

    def part(self, name: str) -> LearningStages:
        """The stages of which the stage `name` consists; once that is made, they go."""
        return LearningStages(self.folder, f"{self.within}{name}.", self.remark)

    def once(self, name: str, make: Callable[P, T]) -> Callable[P, T]:
        """`make`, unless its value is there already. Same name, same arguments."""

        def stage(*args: P.args, **kwargs: P.kwargs) -> T:
            if self.folder is None:
                return make(*args, **kwargs)
            path = self.folder / f"{self.within}{name}{SUFFIX}"
            try:
                return read_tree(path)
            except FileNotFoundError:
                pass
            except StoredTreeError:
                path.unlink(missing_ok=True)  # cut by a crash of the machine: made again
            value = make(*args, **kwargs)
            try:
                write_tree(path, value)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                self.remark(
                    f"{self.folder}: no room to keep what was learned so far ({error.strerror}); "
                    "an interruption would begin this stage again"
                )
                return value
            for part in self.folder.glob(f"{self.within}{name}.*{SUFFIX}"):
                if part != path:
                    part.unlink(missing_ok=True)
            del value
            return read_tree(path)

        return stage

    def clear(self) -> None:
        """Remove all of it: the learning is done."""
        if self.folder is not None:
            shutil.rmtree(self.folder.parent, ignore_errors=True)
