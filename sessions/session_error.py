"""What goes wrong with a session file, in one readable line."""

from __future__ import annotations


class SessionError(OSError):
    """A session cannot be written or read. The message names the file and the next step."""


class CutSessionError(SessionError):
    """The file was not closed, or its index is damaged: what is in it can be repaired."""


class LockedSessionError(SessionError):
    """The file is sealed, and the secret is missing or another one."""
