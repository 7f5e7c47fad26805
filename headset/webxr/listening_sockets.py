"""The sockets that a server listens on."""

from __future__ import annotations

import contextlib
import errno
import socket


class ServerError(OSError):
    """The server cannot start. The message is one readable line."""


def listening_sockets(port: int, lan: bool) -> list[socket.socket]:
    """Sockets of IPv4 and, where there is one, IPv6, on the same port, on
    loopback or, with `lan`, on every address. Port 0 takes a free one.

    Raises ServerError when it cannot be had."""
    four = _bound(socket.AF_INET, "0.0.0.0" if lan else "127.0.0.1", port)
    found = [four]
    if socket.has_ipv6:
        with contextlib.suppress(OSError):
            found.append(_bound(socket.AF_INET6, "::" if lan else "::1", four.getsockname()[1]))
    return found


def _bound(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_REUSEPORT"):  # POSIX, where this only skips TIME_WAIT
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((address, port))
    except (OSError, OverflowError) as error:
        one.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            why = "another program has it (another `visavis stream`?)"
        elif isinstance(error, OSError) and error.errno == errno.EACCES:
            why = "only the administrator may have it"
        else:
            why = f"{error}"
        raise ServerError(f"port {port}: {why}; choose another one with --port") from error
    one.setblocking(False)
    return one
