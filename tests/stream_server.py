"""A real server with a clock that tests set, and clients that speak TLS to it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

from headset.webxr.blob_store import BlobStore
from headset.webxr.certificate import machine_addresses, machine_names, own_certificate
from headset.webxr.link import Link
from headset.webxr.server import WebXrServer, WebXrServerOptions
from streams.clock import now_ns

FRONT = b"<!DOCTYPE html><title>the front page</title>"


class SetClock:
    """The system's clock, and what a test adds to it."""

    def __init__(self) -> None:
        self.added_ns = 0

    def __call__(self) -> int:
        return now_ns() + self.added_ns

    def add(self, seconds: float) -> None:
        self.added_ns += round(seconds * 1e9)


class Echoing:
    """Serves a link by sending back what comes, and remembers links and messages."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.received: list[bytes] = []

    async def __call__(self, link: Link) -> None:
        self.links.append(link)
        while (message := await link.receive()) is not None:
            self.received.append(message)
            if message == b"nonsense":
                raise ValueError("message: expected sense, got none")
            if message == b"fault":
                raise KeyError("a fault of ours")
            await link.send(message)


@contextlib.contextmanager
def serving(folder: Path, serve: Any = None, **changed: Any) -> Iterator[Any]:
    """A started server with the extra attributes `lines` (its log), `time` (its clock) and
    `serve`."""
    clock, lines = SetClock(), []
    certificate = own_certificate(folder, machine_names(), machine_addresses())
    options = WebXrServerOptions(certificate, folder / "devices", port=0, **changed)
    blobs, serve = BlobStore(), serve or Echoing()
    files = {"/index.html": (FRONT, "text/html"), "shaders/a.glsl": (b"// a", "text/plain")}
    server: Any = WebXrServer(options, files, blobs, serve, clock=clock, log=lines.append)
    server.lines, server.time, server.serve = lines, clock, serve
    with server:
        yield server


def trusting(server: WebXrServer) -> ssl.SSLContext:
    """A client's TLS that trusts this server's certificate alone, and checks the host."""
    return ssl.create_default_context(cafile=str(server.options.certificate.chain))


@contextlib.asynccontextmanager
async def client(
    server: WebXrServer, token: str | None = None, **more: Any
) -> AsyncIterator[aiohttp.ClientSession]:
    """Speaks to the server as a browser that has this token, or none."""
    headers = {"Origin": f"https://localhost:{server.port}"}
    if token is not None:
        headers["Cookie"] = f"__Host-visavis={token}"
    async with aiohttp.ClientSession(
        f"https://localhost:{server.port}",
        connector=aiohttp.TCPConnector(ssl=trusting(server), limit=0),
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=10.0),
        **more,
    ) as session:
        yield session


def paired(server: WebXrServer, name: str = "Quest 3") -> str:
    """A token of a device that is paired now."""
    return server.devices.pair(name)[1]


def refusals(server: Any) -> list[str]:
    """The lines about what was refused."""
    return [line for line in server.lines if line.startswith("refused")]


async def until(condition: Any, seconds: float = 5.0) -> None:
    """Wait for something that happens in the server's thread."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


__all__ = ["Echoing", "client", "paired", "refusals", "replace", "serving", "trusting", "until"]
