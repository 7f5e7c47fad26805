"""One HTTP exchange with a server that is not trusted: every wait ends, every answer is small.

The standard library's client, because its parts can be held on to: a time-out there is for each
piece of an answer, and a server that sends a byte a second would never run into it.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from overlay.image_model import ModelError

LARGEST_ANSWER = 32 << 20
"""Bytes: a 2048 x 2048 PNG of noise is 17 MB, in base64 23 MB."""
_CHUNK = 1 << 16
_TICK_S = 0.1
"""So often a wait for the server looks whether its answer is still wanted."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole."""

    status: int
    body: bytes
    retry_after_s: float | None


class RetryError(Exception):
    """This attempt failed in a way that another may not."""

    def __init__(self, text: str, wait_s: float | None = None) -> None:
        super().__init__(text)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Span:
    """How long may be waited."""

    connect_s: float
    ends: float
    clock: Callable[[], float]

    def left_s(self) -> float:
        left = self.ends - self.clock()
        if left <= 0:
            raise RetryError("no complete answer in time")
        return left


def exchange(
    method: str,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    span: Span,
    cancelled: Callable[[], bool],
) -> Answer | None:
    """One request and its answer, at most LARGEST_ANSWER long; None when it is no longer wanted.

    Redirections are not followed: they would carry the key elsewhere.
    """
    parts = urllib.parse.urlsplit(url)
    host, port = parts.hostname or "", parts.port
    timeout = min(span.connect_s, span.left_s())
    if parts.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=timeout, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        connection.connect()
        connection.sock.settimeout(_TICK_S)
        _send(connection, method, target or "/", body, headers, span)
        return _receive(connection, span, cancelled)
    except RetryError:
        raise
    except ssl.SSLCertVerificationError as error:
        raise ModelError(f"{host}: its certificate is not valid: {error.verify_message}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise RetryError(f"cannot be reached or broke off: {reason}") from error
    finally:
        connection.close()


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes,
    headers: Mapping[str, str],
    span: Span,
) -> None:
    connection.sock.settimeout(span.left_s())
    connection.request(method, target, body or None, dict(headers))


def _receive(
    connection: http.client.HTTPConnection, span: Span, cancelled: Callable[[], bool]
) -> Answer | None:
    """Reads in small waits: the time-out of a socket is for each piece, and a server that sends a
    byte a second would never run into it."""
    source = _TickingSocket(connection.sock, span, cancelled)
    response = http.client.HTTPResponse(source, method=connection._method)  # pyright: ignore
    try:
        response.begin()
        length = response.length
        if length is not None and length > LARGEST_ANSWER:
            raise ModelError(
                f"{connection.host}: would send {length / 1e6:.0f} MB; expected at most "
                f"{LARGEST_ANSWER / 1e6:.0f} MB"
            )
        pieces: list[bytes] = []
        held = 0
        while piece := response.read1(_CHUNK):
            held += len(piece)
            if held > LARGEST_ANSWER:
                raise ModelError(f"{connection.host}: sent more than {LARGEST_ANSWER / 1e6:.0f} MB")
            pieces.append(piece)
        if length is not None and held < length:
            raise RetryError(f"broke off after {held} of {length} bytes")
        return Answer(response.status, b"".join(pieces), _retry_after(response))
    except _UnwantedError:
        return None
    finally:
        response.close()


class _UnwantedError(Exception):
    """A newer wish came while the server was at work."""


class _TickingSocket(io.RawIOBase):
    """A socket as a file whose reads end with the time that is left, or with the interest."""

    def __init__(self, sock: socket.socket, span: Span, cancelled: Callable[[], bool]) -> None:
        self._sock, self._span, self._cancelled = sock, span, cancelled

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What http.client asks of a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        while True:
            if self._cancelled():
                raise _UnwantedError
            self._sock.settimeout(min(_TICK_S, self._span.left_s()))
            try:
                return self._sock.recv_into(buffer)  # pyright: ignore[reportArgumentType]
            except TimeoutError:
                continue


def _retry_after(response: http.client.HTTPResponse) -> float | None:
    """Seconds, where the server says so in that form; nobody is kept waiting beyond a minute."""
    text = (response.getheader("Retry-After") or "").strip()
    return min(float(text), 60.0) if text.isdecimal() and len(text) < 6 else None


def shortened(data: bytes) -> str:
    """The beginning of what a server sent, fit to be shown on one line."""
    text = " ".join(data[:200].decode("utf-8", "replace").split())
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return printable[:80] + ("…" if len(data) > 80 else "")
