"""The server behind the page: one port for files, blobs and the WebSocket, for paired devices only.

It runs in a thread of its own with one asyncio loop, in which everything of the network happens. An
unpaired client gets the pairing page and nothing else; whatever breaks a rule is refused with one
line in the log (`refusals`), and disturbs nobody who is paired.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from aiohttp import hdrs, web

from headset.webxr.answers import HeadedRequest, HttpFaults, file_answer, refusal
from headset.webxr.blob_answer import answer_blob
from headset.webxr.blob_store import BlobStore
from headset.webxr.certificate import Certificate, machine_names
from headset.webxr.connections import Connection, ConnectionLimits, Connections
from headset.webxr.devices import Device, Devices, TooManyDevicesError, name_from_browser
from headset.webxr.link import Link, LinkClosedError
from headset.webxr.listening_sockets import ServerError, listening_sockets
from headset.webxr.page_files import PageFiles
from headset.webxr.pairing import Pairing, PairingOptions, RestError, WrongPinError
from headset.webxr.pairing_request import posted_secret
from headset.webxr.rate_limits import AddressBuckets, TokenBucket
from headset.webxr.refusals import Refusals, printable
from headset.webxr.request_checks import (
    host_of,
    is_own_host,
    is_own_origin,
    set_token,
    token_of,
)
from headset.webxr.socket_link import LinkLimits, SocketLink
from streams.clock import now_ns

PORT = 8443
LINK, PAIR, BLOB, ICON = "/link", "/pair", "/blob/", "/favicon.ico"
START_S, STOP_S = 10.0, 10.0
SWEEP_S = 1.0
NOTES_RATE, NOTES_BURST = 0.2, 40.0
"""Log lines about pages that come and go, a second on average and at once."""

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """HTTP requests a second on average, and at once."""

    unpaired_rate: float = 5.0
    unpaired_burst: float = 40.0
    """From one address."""
    paired_rate: float = 200.0
    paired_burst: float = 1000.0
    """Of one device."""


@dataclass(frozen=True, slots=True)
class WebXrServerOptions:
    """Where it listens, and what it lets through."""

    certificate: Certificate
    devices: Path
    """Folder of the paired devices."""
    port: int = PORT
    """0 takes a free one."""
    lan: bool = False
    """Listen on every address of this machine, not on loopback alone."""
    plain_port: int | None = None
    """Also serve without TLS on this port, on loopback only: what `adb reverse` leads to, where
    browsers trust http://localhost. 0 takes a free one."""
    pairing: PairingOptions = field(default_factory=PairingOptions)
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    requests: RequestLimits = field(default_factory=RequestLimits)
    links: LinkLimits = field(default_factory=LinkLimits)


class WebXrServer:
    """Serves from `start` to `stop`; also a context manager.

    `files` are added to those of the page, path -> (bytes, content type); `serve` runs a client's
    whole protocol in the network's loop, ValueError from it meaning that the client's message makes
    no sense. `clock` gives monotonic nanoseconds; `log` is called in the network's thread.
    """

    def __init__(
        self,
        options: WebXrServerOptions,
        files: Mapping[str, tuple[bytes, str]],
        blobs: BlobStore,
        serve: Callable[[Link], Awaitable[None]],
        *,
        clock: Callable[[], int] = now_ns,
        wall_clock: Callable[[], float] = time.time,
        log: Log | None = None,
    ) -> None:
        self.options, self.blobs, self.clock = options, blobs, clock
        log = log or logging.getLogger("visavis.stream").warning
        self.pairing = Pairing(options.pairing, clock)
        self.devices = Devices(options.devices, wall_clock)
        self._files, self._serve, self._log = PageFiles(files), serve, log
        self._refusals = Refusals(log, clock)
        limits = options.requests
        self._unpaired = AddressBuckets(limits.unpaired_rate, limits.unpaired_burst, clock)
        self._paired = AddressBuckets(limits.paired_rate, limits.paired_burst, clock)
        self._names = {*machine_names(), *options.certificate.names, *options.certificate.addresses}
        self._notes, self._unsaid = TokenBucket(NOTES_RATE, NOTES_BURST, clock), 0
        self._links: set[SocketLink] = set()
        self._serving: set[asyncio.Task[Any]] = set()
        self._ports: tuple[int, int | None] = (0, None)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started, self._failure = threading.Event(), None
        self._end: asyncio.Event | None = None
        self._connections: Connections | None = None

    def start(self) -> None:
        """Listen; returns when it does. Raises ServerError when the port cannot be had,
        CertificateError when the certificate cannot be used."""
        tls = self.options.certificate.tls()
        sockets = listening_sockets(self.options.port, self.options.lan)
        plain: list[socket.socket] = []
        try:
            if self.options.plain_port is not None:
                plain = listening_sockets(self.options.plain_port, lan=False)
        except ServerError:
            for one in sockets:
                one.close()
            raise
        self._ports = sockets[0].getsockname()[1], plain[0].getsockname()[1] if plain else None
        run = self._run(tls, sockets, plain)
        self._thread = threading.Thread(
            target=lambda: asyncio.run(run), name="visavis network", daemon=True
        )
        self._thread.start()
        if not self._started.wait(START_S):
            raise ServerError(f"stream: the server did not start within {START_S:g} s")
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Tell every client, close everything, and end the thread. May be called twice.

        Raises TimeoutError when it does not end; it dies with the process.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and self._end is not None:
            with contextlib.suppress(RuntimeError):  # The loop ended by itself.
                self._loop.call_soon_threadsafe(self._end.set)
        thread.join(STOP_S)
        if thread.is_alive():
            raise TimeoutError(f"stream: the server did not end within {STOP_S:g} s")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """Where TLS is spoken."""
        return self._ports[0]

    @property
    def plain_port(self) -> int | None:
        """Where it is not, on loopback; None as a rule."""
        return self._ports[1]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, as browsers show it."""
        return self.options.certificate.fingerprint

    @property
    def refused(self) -> int:
        """How much was refused since the start."""
        return self._refusals.count

    def url(self, host: str = "localhost") -> str:
        """Where the page is, for a browser that knows this machine as `host`."""
        shown = f"[{host}]" if ":" in host else host
        return f"https://{shown}:{self.port}/"

    def connected(self) -> tuple[str, ...]:
        """Names of the devices that have a link, sorted."""
        return tuple(sorted(link.name for link in list(self._links)))

    def submit(self, work: Callable[[], None]) -> None:
        """Have `work` called in the network's loop, soon. Does nothing when it does not run."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(work)

    async def _run(
        self, tls: ssl.SSLContext, sockets: list[socket.socket], plain: list[socket.socket]
    ) -> None:
        loop = self._loop = asyncio.get_running_loop()
        end = self._end = asyncio.Event()
        logger = logging.Logger("visavis.stream.http")
        logger.addHandler(HttpFaults(self._refusals))
        http = web.Server(
            self._answer, access_log=None, logger=logger, keepalive_timeout=30.0,
            lingering_time=1.0, max_line_size=8192, max_field_size=16384, max_headers=64,
            request_factory=self._request,
        )  # fmt: skip
        connections = self._connections = Connections(
            self.options.connections, self._refusals, cast(Any, http), self.clock
        )
        servers: list[asyncio.Server] = []
        try:
            for found, speaks in ((sockets, tls), (plain, None)):
                for one in found:
                    made = await loop.create_server(
                        connections.factory(speaks), sock=one, backlog=256
                    )
                    servers.append(made)
            self._started.set()
            while not end.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(end.wait(), SWEEP_S)
                await self._sweep(connections)
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._started.set()
            for server in servers:
                server.close()
            for link in list(self._links):
                await link.close("the server stops")
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)
            connections.drop_all()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(http.shutdown(1.0), 2.0)

    async def _sweep(self, connections: Connections) -> None:
        connections.drop_overdue()
        for link in list(self._links):
            if not self.devices.is_paired(link.device):
                await link.close("this device was revoked")
                self._log(f"disconnected {link.name}: it was revoked")

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        connections = cast(Connections, self._connections)
        connection = connections.of(request.protocol)
        if connection is None or request.transport is None:
            raise ConnectionResetError("gone")
        secure = request.transport.get_extra_info("sslcontext") is not None
        answered = await self._routed(request, connection, secure)
        connection.silent = False
        return answered

    def _request(
        self, message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]
    ) -> web.BaseRequest:
        return HeadedRequest(message, payload, protocol, writer, task, cast(Any, self._loop))

    async def _routed(
        self, request: web.BaseRequest, connection: Connection, secure: bool
    ) -> web.StreamResponse:
        address, refuse = connection.address, self._refusals.tell
        hosts = request.headers.getall(hdrs.HOST, [])
        host = host_of(hosts[0]) if len(hosts) == 1 else None
        local = str(request.transport.get_extra_info("sockname")[0]) if request.transport else ""
        if host is None or not is_own_host(host, self._names, local):
            refuse(address, "asked for another host", ", ".join(hosts) or "none")
            return refusal(421, "this is another machine")
        token = token_of(request, secure)
        device = None if token is None else self.devices.find(token)
        connection.known = device is not None
        if device is None:
            if not self._unpaired.take(address):
                refuse(address, "too many requests")
                return refusal(429, "too many requests")
            if token is not None:
                refuse(address, "an unknown or revoked token")
        else:
            if not self._paired.take(device.token_hash):
                refuse(address, "too many requests", device.name)
                return refusal(429, "too many requests")
        path = request.path
        if request.method == "POST" and path == PAIR:
            return await self._pair(request, connection, secure)
        if request.method not in ("GET", "HEAD"):
            refuse(address, "a method that is not served", request.method)
            return refusal(405, "only GET and HEAD")
        if path == ICON:
            return web.Response(status=204)  # Browsers ask, and complain about anything else.
        if path == LINK:
            return await self._link(request, connection, device)
        if device is None:
            file = self._files.for_anyone(path)
            if file is None:
                refuse(address, "asked without being paired", request.raw_path)
                return refusal(403, "pair this device first")
        elif path.startswith(BLOB):
            blob = self.blobs.get(path.removeprefix(BLOB))
            return await answer_blob(request, blob, connection, self.options.links)
        else:
            file = self._files.for_paired(path)
            if file is None:
                if "." in path.split("/") or ".." in path.split("/") or "\\" in path:
                    refuse(address, "a path that leads elsewhere", request.raw_path)
                return refusal(404, "there is no such file")
        return file_answer(file)

    def _note(self, line: str) -> None:
        """Log what a page does again and again when something is wrong with it."""
        if self._notes.take():
            self._log(line + (f" ({self._unsaid} such lines left out)" if self._unsaid else ""))
            self._unsaid = 0
        else:
            self._unsaid += 1

    async def _pair(
        self, request: web.BaseRequest, connection: Connection, secure: bool
    ) -> web.Response:
        address = connection.address
        if not is_own_origin(request):
            self._refusals.tell(
                address, "pairing from another page", request.headers.get(hdrs.ORIGIN, "none")
            )
            return refusal(403, "only from the pairing page")
        secrets = await posted_secret(request)
        if secrets is None:
            self._refusals.tell(address, "a pairing request that makes no sense")
            return refusal(400, "expected JSON with a pin or a ticket")
        try:
            if "ticket" in secrets:
                self.pairing.try_ticket(secrets["ticket"])
            else:
                self.pairing.try_pin(secrets["pin"])
            device, token = self.devices.pair(
                name_from_browser(request.headers.get(hdrs.USER_AGENT, ""))
            )
        except RestError as error:
            self._refusals.tell(address, "a PIN while none is taken")
            answer = refusal(429, f"{error}")
            answer.headers[hdrs.RETRY_AFTER] = f"{error.seconds:.0f}"
            return answer
        except WrongPinError as error:
            self._refusals.tell(address, "a wrong PIN or ticket")
            return refusal(403, f"{error}")
        except (TooManyDevicesError, OSError) as error:
            self._log(f"cannot pair a device: {error}")
            return refusal(503, "this device cannot be paired now; look at the terminal")
        self._log(f"paired {device.name} from {printable(address, 45)}")
        answer = web.json_response({"name": device.name})
        set_token(answer, token, secure)
        return answer

    async def _link(
        self, request: web.BaseRequest, connection: Connection, device: Device | None
    ) -> web.StreamResponse:
        limits, refuse = self.options.links, self._refusals.tell
        if device is None:
            refuse(connection.address, "a WebSocket without a valid token")
            return refusal(403, "pair this device first")
        if not is_own_origin(request):
            origin = request.headers.get(hdrs.ORIGIN, "none")
            refuse(connection.address, "a WebSocket of another page", origin)
            return refusal(403, "only from this server's page")
        mine = [link for link in self._links if link.device.token_hash == device.token_hash]
        if len(mine) >= limits.links_each or len(self._links) >= limits.links:
            refuse(connection.address, "too many WebSockets", device.name)
            return refusal(503, "too many pages are open")
        # Compressing H.264 and packed meshes costs time and gains nothing.
        ws = web.WebSocketResponse(
            timeout=1.0, heartbeat=limits.heartbeat_s, max_msg_size=limits.message_bytes,
            compress=False,
        )  # fmt: skip
        if not ws.can_prepare(request).ok:
            refuse(connection.address, "no WebSocket where one is served", device.name)
            return refusal(400, "expected a WebSocket")
        await ws.prepare(request)
        link = SocketLink(ws, connection, device, limits, self._refusals, self.clock)
        self._links.add(link)
        self._note(f"connected {device.name}")
        task = asyncio.current_task()
        if task is not None:
            self._serving.add(task)
        try:
            await self._serve(link)
        except LinkClosedError:
            pass
        except ValueError as error:
            refuse(connection.address, "a message that makes no sense", f"{device.name}: {error}")
            await link.refuse_message("a message that makes no sense")
        except Exception as error:
            self._note(f"serving {device.name} failed: {type(error).__name__}: {error}")
            logging.getLogger("visavis.stream").debug("serving failed", exc_info=error)
        finally:
            self._links.discard(link)
            if task is not None:
                self._serving.discard(task)
            await link.close("the end")
            self._note(f"disconnected {device.name}")
        return ws
