"""Where a relay is, as users write it, and how its TLS certificate is checked."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import Fingerprint

PORT, PATH = 8444, "/room/"


class RelayAddressError(ValueError):
    """Not an address of a relay; says what one looks like."""


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """`wss://host:port`, or with the certificate that it must have
    `wss://host:port#sha256=HEX` (as `visavis relay` prints it), or `ws://host:port`."""

    url: str
    """Without the fingerprint and without a slash at its end."""
    fingerprint: bytes | None = None
    """SHA-256 of the relay's certificate; None: as the system's authorities say."""

    @staticmethod
    def parse(text: str) -> RelayAddress:
        """Raises RelayAddressError."""
        try:
            parts = urlsplit(text if "://" in text else f"wss://{text}")
            port = parts.port or PORT
        except ValueError as error:
            raise RelayAddressError(f"relay {text}: {error}") from None
        if parts.scheme not in ("wss", "ws") or not parts.hostname or parts.query or parts.username:
            raise RelayAddressError(
                f"relay {text}: expected an address such as wss://relay.example:{PORT}"
            )
        fingerprint = None
        if parts.fragment:
            found = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", parts.fragment.replace(":", ""))
            if found is None or parts.scheme == "ws":
                raise RelayAddressError(
                    f"relay {text}: expected #sha256= and 64 hexadecimal digits after wss://..."
                )
            fingerprint = bytes.fromhex(found[1])
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return RelayAddress(f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}", fingerprint)

    @property
    def ssl(self) -> Fingerprint | ssl.SSLContext | bool:
        """For aiohttp."""
        return True if self.fingerprint is None else Fingerprint(self.fingerprint)
