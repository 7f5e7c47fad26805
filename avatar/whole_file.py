"""Files that are there whole or not at all: a full disk leaves what was there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

PRIVATE, SHARED = 0o600, 0o644
"""Who may read: the user alone, or everybody."""


def write_whole(path: Path, data: bytes, mode: int = SHARED) -> None:
    """Write under another name in the same folder (made if need be), then rename.

    Raises OSError when it cannot be written; nothing of it stays behind then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
