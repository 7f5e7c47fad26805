"""One enrolment of a name at a time."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path

from apps.usage import FailedError
from streams.closing import Closing

LOCK = "lock"


class EnrolmentLock(Closing):
    """Held on a folder between `with` and its end. The system itself lets go of it when a process
    ends, however it ends, so one that was killed leaves nothing behind that has to be removed."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._handle: int | None = None

    def __enter__(self) -> EnrolmentLock:
        """Raises FailedError, which names the other process, when another one holds it."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _described(os.read(handle, 4096))
            os.close(handle)
            raise FailedError(
                f"enroll: an avatar named {self._name} is being made by {holder}; wait until it is "
                "done, stop it (then --resume goes on), or take another --name"
            ) from error
        since = time.strftime("%H:%M", time.localtime())
        note = {"process": os.getpid(), "host": socket.gethostname(), "since": since}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(note).encode(), 0)
        self._handle = handle
        return self

    def close(self) -> None:
        """Let go; may be called twice."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _described(note: bytes) -> str:
    try:
        known = json.loads(note)
        return f"process {known['process']} on {known['host']} since {known['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
