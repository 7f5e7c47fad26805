"""A file that appears under its name only when it is whole."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from sessions.session_error import SessionError
from streams.closing import Closing


class NewFile(Closing):
    """A hidden name beside `out` to write to, which `finish` turns into `out`.

    `out` must not exist, unless it is `source`, which is then replaced. Raises SessionError.
    """

    def __init__(self, out: Path, source: Path) -> None:
        self.out = out
        if out.exists() and not (source.exists() and out.samefile(source)):
            raise SessionError(f"{out}: exists already; choose another name")
        if not out.parent.is_dir():
            raise SessionError(f"{out}: there is no folder {out.parent}; make it first")
        self.path = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")

    def finish(self) -> None:
        """Give the written file its name."""
        try:
            os.replace(self.path, self.out)
        except OSError as error:
            raise self.refused(error) from error

    def refused(self, error: OSError) -> SessionError:
        """The words for a file that could not be written."""
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
        return SessionError(
            f"{self.out}: could not be written ({cause.strerror or cause}), and is not there; make "
            "room or choose another folder. What it was to be made of is as it was"
        )

    def close(self) -> None:
        """Remove what was not finished."""
        with contextlib.suppress(OSError):
            self.path.unlink()
