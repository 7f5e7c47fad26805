"""The promise to stay off the network, kept by Python itself."""

from __future__ import annotations

import os
import sys

_EVENTS = frozenset(
    (
        *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"),
        *("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"),
        *("socket.getnameinfo", "socket.getservbyname"),
    )
)
_forbidden = False


class OfflineError(PermissionError):
    """Something wanted the network in a process that promised to stay off it."""


def forbid_network() -> None:
    """From now on, and until the process ends, no code here opens a connection.

    Every attempt of Python code ends in OfflineError, through an audit hook (PEP 578), which
    cannot be taken away again. Sockets within this machine (Unix domain) are left alone: displays
    and worker processes use them. Libraries that download models are told so, too.
    """
    global _forbidden
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    if not _forbidden:
        _forbidden = True
        sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if event not in _EVENTS:
        return
    first = arguments[0] if arguments else None
    family = getattr(first, "family", None)
    if family is not None and getattr(family, "name", "") == "AF_UNIX":
        return
    raise OfflineError(f"--offline: refused {event}; leave --offline away to use the network")
