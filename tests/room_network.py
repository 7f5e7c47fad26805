"""Real relays and clients on this machine, for tests: TLS, sockets, one loop."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from headset.rooms.avatar_transfer import AvatarCache
from headset.rooms.meeting import Heard, Member
from headset.rooms.relay import Relay, RelayOptions, Trunk
from headset.rooms.relay_address import RelayAddress
from headset.rooms.room_client import RoomClient, RoomEvent, RoomOptions
from headset.rooms.room_code import RoomCode
from headset.rooms.room_message import Presence

T = TypeVar("T")
PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Certificate:
    """Self-signed, for 127.0.0.1."""

    context: ssl.SSLContext
    sha256: str


def certificate(folder: Path) -> Certificate:
    """Made anew in `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, SHA256())
    )  # fmt: skip
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, private)
    return Certificate(context, made.fingerprint(SHA256()).hex())


@dataclass
class Visitor:
    """A client, and what it heard."""

    client: RoomClient
    events: list[RoomEvent] = field(default_factory=list)

    def heard(self, kind: type[T]) -> list[T]:
        """Messages of that kind, in order."""
        return [
            e.message for e in self.events if isinstance(e, Heard) and isinstance(e.message, kind)
        ]

    def of(self, kind: type[T]) -> list[T]:
        """Events of that kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def refused(self) -> Counter[str]:
        """Frames that it left out, by reason, in this connection."""
        return Counter() if self.client.meeting is None else self.client.meeting.refused

    @property
    def members(self) -> list[Member]:
        """Whom it sees."""
        return [] if self.client.meeting is None else self.client.meeting.members


def visitor(relay: str, code: RoomCode, folder: Path, presence: Presence | None = None) -> Visitor:
    """Not running yet; `folder` is its cache."""
    events: list[RoomEvent] = []
    options = RoomOptions(code, RelayAddress.parse(relay), Ed25519PrivateKey.generate())
    client = RoomClient(options, presence or Presence("A", ""), AvatarCache(folder), events.append)
    return Visitor(client, events)


@contextlib.asynccontextmanager
async def running(*visitors: Visitor) -> AsyncIterator[None]:
    """They are in the room, and leave it at the end; what went wrong in one is raised."""
    tasks = [asyncio.create_task(one.client.run()) for one in visitors]
    try:
        yield
    finally:
        for one in visitors:
            one.client.close()
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_S)


@contextlib.asynccontextmanager
async def relay_at(
    tls: Certificate | None = None,
    port: int = 0,
    trunk: Trunk | None = None,
    options: RelayOptions | None = None,
    log: Callable[[str], None] = lambda _line: None,
) -> AsyncIterator[tuple[Relay, str]]:
    """A relay and its address."""
    options = options or RelayOptions(port=port, tls=None if tls is None else tls.context)
    async with Relay(options, trunk, log) as relay:
        if tls is None:
            yield relay, f"ws://127.0.0.1:{relay.port}"
        else:
            yield relay, f"wss://127.0.0.1:{relay.port}#sha256={tls.sha256}"


async def until(true: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for it. Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    latest = loop.time() + patience_s
    while not true():
        if loop.time() > latest:
            raise TimeoutError(f"expected {what} within {patience_s:g} s")
        await asyncio.sleep(0.01)


def run(test: Callable[[], Awaitable[None]]) -> None:
    """One test in a loop of its own, with a limit of time."""

    async def limited() -> None:
        await asyncio.wait_for(test(), 30.0)

    asyncio.run(limited())
