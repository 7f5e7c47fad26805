"""A small unreliable lane beside a page's socket: WebTransport datagrams (the extra "quic").

On a link that loses packets a WebSocket holds everything up until what was lost has come again. A
sample or a code is worth less than the next one, so these go as datagrams where the browser has
WebTransport: each is one message of the wire format, of at most `MOST_BYTES`, and may be lost or
late. The lane has the socket's port number (UDP), so that the page's content policy allows it, and
a certificate of its own, whose hash the page is told through its socket: browsers accept that for
keys on P-256 and lifetimes of two weeks at most. A ticket from the socket says whose lane it is.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headset.webxr.rate_limits import TokenBucket
from streams.clock import now_ns

MOST_BYTES = 1100
"""Fits one packet on every path that QUIC runs over (RFC 9000, section 14: 1200 with headers)."""
LIFETIME = datetime.timedelta(days=13)
TICKET_BYTES = 32
TICKET_S = 30.0
PATH = "/lane/"
MOST_LANES = 64
RATE, BURST = 500.0, 1000.0
"""Datagrams a second that a page may send."""


class DatagramLaneError(RuntimeError):
    """Lanes cannot be served."""


@dataclass(frozen=True, slots=True)
class LaneOffer:
    """What a page must know to open its lane."""

    port: int
    certificate_sha256: bytes
    ticket: bytes


class Lane:
    """One page's, open or not yet."""

    def __init__(self, receive: Callable[[bytes], None], expires_ns: int) -> None:
        self.receive, self.expires_ns = receive, expires_ns
        self.sent = self.received = 0
        self._write: Callable[[bytes], None] | None = None
        self._bucket = TokenBucket(RATE, BURST, now_ns)

    @property
    def is_open(self) -> bool:
        return self._write is not None

    def send(self, message: bytes) -> bool:
        """Whether it went out; False where the lane is not open, or the message too long."""
        if self._write is None or len(message) > MOST_BYTES:
            return False
        self._write(message)
        self.sent += 1
        return True

    def opened(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def take(self, datagram: bytes) -> None:
        """One of the page's; what comes too fast is lost."""
        if len(datagram) <= MOST_BYTES and self._bucket.take():
            self.received += 1
            self.receive(datagram)

    def close(self) -> None:
        """Nothing goes out or comes in any more."""
        self._write, self.receive = None, lambda _datagram: None


class DatagramLanes:
    """Serves lanes in the network's loop. Raises DatagramLaneError where aioquic is missing."""

    def __init__(self, port: Callable[[], int], lan: bool = False) -> None:
        """`port` is the server's, asked when the first lane is offered; `lan` as the server's."""
        try:
            import aioquic.h3.connection as _h3  # noqa: F401
        except ImportError as error:
            raise DatagramLaneError(
                "the datagram lane needs aioquic; install it with: pip install 'visavis[quic]'"
            ) from error
        self._port, self._lan = port, lan
        self._certificate, self._key = _short_lived_certificate()
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        self.certificate_sha256 = hashlib.sha256(der).digest()
        self._lanes: dict[bytes, Lane] = {}
        self._servers: list[Any] = []
        self._starting: asyncio.Lock = asyncio.Lock()

    async def offer(self, receive: Callable[[bytes], None]) -> tuple[Lane, LaneOffer]:
        """A lane that the page may open once, within `TICKET_S`. `receive` is given each datagram.

        Raises DatagramLaneError when the port cannot be had.
        """
        async with self._starting:
            if not self._servers:
                await self._start()
        now = now_ns()
        for key in [k for k, lane in self._lanes.items() if lane.expires_ns < now]:
            del self._lanes[key]
        if len(self._lanes) >= MOST_LANES:
            raise DatagramLaneError(f"datagram lanes: expected at most {MOST_LANES} to be opened")
        ticket = secrets.token_bytes(TICKET_BYTES)
        lane = Lane(receive, now + round(TICKET_S * 1e9))
        self._lanes[hashlib.sha256(ticket).digest()] = lane
        return lane, LaneOffer(self._port(), self.certificate_sha256, ticket)

    def redeem(self, path: str) -> Lane | None:
        """The lane of a ticket that was not used yet."""
        try:
            ticket = bytes.fromhex(path.removeprefix(PATH)) if path.startswith(PATH) else b""
        except ValueError:
            return None
        # By the ticket's hash, so that how long the look-up takes tells nothing of a ticket.
        lane = self._lanes.pop(hashlib.sha256(ticket).digest(), None)
        return lane if lane is not None and lane.expires_ns >= now_ns() else None

    def close(self) -> None:
        """Close the port. In the network's loop; may be called twice."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def _start(self) -> None:
        from aioquic.asyncio.server import serve
        from aioquic.h3.connection import H3_ALPN
        from aioquic.quic.configuration import QuicConfiguration

        configuration = QuicConfiguration(
            is_client=False, alpn_protocols=H3_ALPN, max_datagram_frame_size=65_536,
            idle_timeout=30.0,
        )  # fmt: skip
        configuration.certificate, configuration.private_key = self._certificate, self._key
        hosts = ("0.0.0.0", "::") if self._lan else ("127.0.0.1", "::1")
        failures: list[OSError] = []
        for host in hosts:
            try:
                self._servers.append(
                    await serve(
                        host, self._port(), configuration=configuration,
                        create_protocol=_protocol_of(self), retry=self._lan,
                    )
                )  # fmt: skip
            except OSError as error:  # also a system without IPv6, or with one socket for both
                failures.append(error)
        if not self._servers:
            raise DatagramLaneError(f"datagram lanes: UDP port {self._port()}: {failures[0]}")


def _protocol_of(lanes: DatagramLanes) -> Callable[..., Any]:
    """HTTP/3 with WebTransport and nothing else: a connection is one lane, or refused."""
    from aioquic.asyncio.protocol import QuicConnectionProtocol
    from aioquic.h3.connection import H3Connection
    from aioquic.h3.events import DatagramReceived, HeadersReceived
    from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated

    class LaneProtocol(QuicConnectionProtocol):
        http: Any = None
        lane: Lane | None = None
        session: int | None = None

        def quic_event_received(self, event: Any) -> None:
            if isinstance(event, ProtocolNegotiated):
                self.http = H3Connection(self._quic, enable_webtransport=True)
            if isinstance(event, ConnectionTerminated) and self.lane is not None:
                self.lane.close()
            if self.http is not None:
                for h3_event in self.http.handle_event(event):
                    if isinstance(h3_event, HeadersReceived):
                        self._begin(h3_event.stream_id, dict(h3_event.headers))
                    elif isinstance(h3_event, DatagramReceived):
                        self._take(h3_event)

        def _begin(self, stream: int, headers: dict[bytes, bytes]) -> None:
            asked = headers.get(b":method"), headers.get(b":protocol")
            lane = None
            if self.session is None and asked == (b"CONNECT", b"webtransport"):
                lane = lanes.redeem(headers.get(b":path", b"").decode("ascii", "replace"))
            status = b"403" if lane is None else b"200"
            self.http.send_headers(stream, [(b":status", status)], end_stream=lane is None)
            if lane is not None:
                self.session, self.lane = stream, lane
                lane.opened(self._send)
            self.transmit()

        def _take(self, event: Any) -> None:
            if self.lane is not None and event.stream_id == self.session:
                self.lane.take(event.data)

        def _send(self, message: bytes) -> None:
            self.http.send_datagram(self.session, message)
            self.transmit()

    return LaneProtocol


def _short_lived_certificate() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "visavis lane")])
    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key
