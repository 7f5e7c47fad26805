"""The secret of a sealed session, for every verb that makes or opens one: from a file
(`--key-file`), from the environment (VISAVIS_SECRET), or typed at a terminal. Never from the
command line itself, which every user of a machine can read.
"""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from apps.usage import FailedError, UsageError

VARIABLE = "VISAVIS_SECRET"
MOST_BYTES = 64 << 10
"""Of a key file; who names a video by mistake shall hear it."""


def given_secret(key_file: Path | None) -> bytes | None:
    """The secret of `--key-file`, or else of VISAVIS_SECRET; None where neither is given.

    A line break at the end of a file does not belong to its secret. Raises FailedError when the
    file cannot be read, is empty or is no key file.
    """
    if key_file is not None:
        return _read(key_file)
    text = os.environ.get(VARIABLE)
    return os.fsencode(text) if text else None


def secret_of(session: Path, key_file: Path | None) -> bytes | None:
    """The secret to open `session` with.

    None where none is given and the session is not sealed, or nobody sits at a terminal who could
    be asked; `SessionReader` then says what is missing.
    """
    secret = given_secret(key_file)
    if secret is not None:
        return secret
    from sessions.record_scan import is_sealed

    if not _asks() or not is_sealed(session):
        return None
    return _typed(f"Secret of {session}: ")


def new_secret(key_file: Path | None) -> bytes:
    """The secret to seal a new session with; typed twice where it is typed.

    Raises UsageError where none is given and nobody can be asked.
    """
    secret = given_secret(key_file)
    if secret is not None:
        return secret
    if not _asks():
        raise UsageError(
            f"--encrypt: expected a secret; give --key-file FILE, or set {VARIABLE}, or run it at "
            "a terminal"
        )
    secret = _typed("Secret to seal the session with (without it nobody can open it): ")
    if _typed("The same again: ") != secret:
        raise FailedError("the two secrets differ; nothing was recorded, try again")
    return secret


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise FailedError(
            f"--key-file {path}: cannot be read ({error.strerror}); expected a file that holds "
            "the secret"
        ) from error
    if len(data) > MOST_BYTES:
        raise FailedError(f"--key-file {path}: expected at most {MOST_BYTES} bytes of secret")
    secret = data.removesuffix(b"\n").removesuffix(b"\r")
    if not secret:
        raise FailedError(f"--key-file {path}: is empty; expected a file that holds the secret")
    return secret


def _asks() -> bool:
    """Whether there is a terminal with somebody at it."""
    return sys.stdin is not None and sys.stdin.isatty()


def _typed(prompt: str) -> bytes:
    try:
        return os.fsencode(getpass.getpass(prompt))
    except EOFError as error:
        raise FailedError("no secret was typed") from error
