"""`visavis relay`: forwards what people in rooms send one another, and cannot read it."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from apps.usage import FailedError, UsageError

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True, slots=True)
class Relay:
    """Forward what people in rooms send one another. It reads none of it (docs/rooms.md)."""

    port: int = 8444
    """Where it listens."""
    lan: bool = False
    """Listen on every address of this machine, with TLS, not on this machine alone."""
    cert: Path | None = None
    """Certificate in PEM; by default one is made and kept, and the printed address tells clients
    which."""
    key: Path | None = None
    """Its private key in PEM."""
    plain: bool = False
    """Without TLS: behind a proxy that has it. Rooms are encrypted even so."""
    nats: str | None = None
    """Share rooms with other relays through this NATS broker, for example nats://broker:4222."""
    most: int = 200
    """Refuse more clients than that."""

    def run(self) -> int:
        """0 after Ctrl-C; raises what went wrong otherwise."""
        if not 0 <= self.port <= 65535:
            raise UsageError(f"--port {self.port}: expected 0 to 65535")
        if (self.cert is None) != (self.key is None):
            raise UsageError("--cert and --key go together; give both or neither")
        if self.plain and self.cert is not None:
            raise UsageError("--plain: means without a certificate; leave --cert and --key away")
        if not 2 <= self.most <= 10_000:
            raise UsageError(f"--most {self.most}: expected 2 to 10000 clients")
        import asyncio  # here: it takes as long to import as all verbs' options

        asyncio.run(self._serve())
        return 0

    async def _serve(self) -> None:
        import asyncio
        import signal
        from contextlib import AsyncExitStack

        from headset.rooms.nats_transport import NatsError, NatsTransport
        from headset.rooms.relay import Relay as RoomRelay
        from headset.rooms.relay import RelayError, RelayOptions

        tls, addresses = self._tls()
        options = RelayOptions(
            host="0.0.0.0" if self.lan else "127.0.0.1", port=self.port, tls=tls,
            most_clients=self.most,
        )  # fmt: skip
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread() and sys.platform != "win32":
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stopped.set)
        try:
            async with AsyncExitStack() as opened:
                trunk = None
                if self.nats is not None:
                    trunk = await opened.enter_async_context(
                        await NatsTransport.open(self.nats, _log)
                    )
                relay = await opened.enter_async_context(RoomRelay(options, trunk, _log))
                for address in addresses:
                    print(f"relay at {address.replace('PORT', str(relay.port))}", flush=True)
                await stopped.wait()
                print("relay stopped", flush=True)
        except (NatsError, RelayError) as error:
            raise FailedError(str(error)) from error

    def _tls(self) -> tuple[ssl.SSLContext | None, list[str]]:
        """What to serve with, and the addresses that clients use."""
        from avatar.signature import user_folder
        from headset.webxr.certificate import (
            CertificateError,
            given_certificate,
            machine_addresses,
            machine_names,
            own_certificate,
        )

        hosts = ["127.0.0.1"]
        if self.lan:
            hosts = [a for a in machine_addresses() if "." in a and not a.startswith("127.")]
        if self.plain:
            return None, [f"ws://{host}:PORT" for host in hosts]
        try:
            if self.cert is not None and self.key is not None:
                certificate = given_certificate(self.cert, self.key)
                hosts = [name for name in certificate.names if "*" not in name] or hosts
            else:
                names, addresses = machine_names(), machine_addresses()
                certificate = own_certificate(user_folder() / "relay", names, addresses)
            tls = certificate.tls()
        except CertificateError as error:
            raise FailedError(str(error)) from error
        pinned = certificate.fingerprint.replace(":", "").lower()
        return tls, [f"wss://{host}:PORT#sha256={pinned}" for host in hosts]


def _log(line: str) -> None:
    print(f"relay: {line}", file=sys.stderr, flush=True)
