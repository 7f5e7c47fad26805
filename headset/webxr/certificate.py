"""The server's certificate: its own, self-signed and kept, or one that the user brings.

Browsers let a page use WebXR and WebCodecs in a secure context only, and there is no public
authority for a machine in a living room. So the server signs its own certificate (ECDSA P-256,
X.509) for every address and name that this machine has; the user accepts it once in each browser,
which then remembers this very certificate. It is kept for that reason, and made anew only when it
no longer fits.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import secrets
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ifaddr
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CERTIFICATE_FILE, KEY_FILE = "certificate.pem", "certificate_key.pem"
VALID_DAYS = 397
"""Apple's systems take no server certificate above 825 days, and none of an authority's above 398
(support.apple.com/103769, /102028)."""
RENEW_DAYS = 30
"""A certificate with less than this left is made anew: not in the middle of a session."""
SKEW_DAYS = 1
"""A headset's clock may be behind by this."""


class CertificateError(ValueError):
    """A certificate cannot be used. The message is one readable line."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its private key, on disk, where TLS reads them."""

    chain: Path
    """PEM: the server's certificate first."""
    key: Path
    """PEM, not encrypted."""
    fingerprint: str
    """SHA-256 of the certificate, as browsers show it: upper-case pairs with colons."""
    names: tuple[str, ...]
    """Host names that it is for, lower case; one may begin with "*."."""
    addresses: tuple[str, ...]
    """IP addresses that it is for, in their shortest form."""

    def tls(self) -> ssl.SSLContext:
        """For a server: TLS 1.2 or newer. Raises CertificateError when key and certificate do not
        belong together, or cannot be read."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])

        def no_password() -> str:
            raise CertificateError(f"{self.key}: expected a key without a password")

        try:
            context.load_cert_chain(self.chain, self.key, no_password)
        except ssl.SSLError as error:
            raise CertificateError(
                f"{self.chain} and {self.key}: expected a certificate and its own private key, "
                f"got {error.reason or error}"
            ) from error
        return context


def machine_addresses() -> tuple[str, ...]:
    """Every IP address that this machine has now, sorted, link-local IPv6 ones left out (no browser
    takes their zone)."""
    found = {"127.0.0.1", "::1"}
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            address = ipaddress.ip_address(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
            if not (address.version == 6 and address.is_link_local):
                found.add(str(address))
    return tuple(sorted(found))


def outward_address() -> str:
    """The IPv4 address at which this machine's network reaches it; loopback's where there is none.

    A UDP socket that is connected sends nothing, but gets the address that would be used.
    """
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect(("192.0.2.1", 9))  # Of documentation alone (RFC 5737).
        return str(asked.getsockname()[0])
    found = [ipaddress.ip_address(address) for address in machine_addresses()]
    four = [ip for ip in found if ip.version == 4 and not ip.is_loopback and not ip.is_link_local]
    return str(four[0]) if four else "127.0.0.1"


def machine_names() -> tuple[str, ...]:
    """Host names by which this machine may be asked for: "localhost", its own, and its own in
    .local (multicast DNS)."""
    own = socket.gethostname().lower().rstrip(".")
    names = ["localhost"]
    if own and own.isascii():
        names += [own, f"{own.partition('.')[0]}.local"]
    return tuple(dict.fromkeys(names))


def own_certificate(
    folder: Path,
    names: Sequence[str],
    addresses: Sequence[str],
    now: datetime.datetime | None = None,
) -> Certificate:
    """The certificate kept in `folder`, made anew when there is none, when it is not for all of
    `names` and `addresses`, has less than `RENEW_DAYS` left, or its key is not the user's alone.
    A new global IPv6 address is no reason: systems change theirs daily, and every new certificate
    has to be accepted anew.

    Raises OSError when it cannot be written.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    chain, key = folder / CERTIFICATE_FILE, folder / KEY_FILE
    try:
        kept, parsed = _read(chain, key)
        left = parsed.not_valid_after_utc - now
        if (
            {*names} <= {*kept.names}
            and {a for a in addresses if ":" not in a or a == "::1"} <= {*kept.addresses}
            and parsed.not_valid_before_utc <= now
            and left > datetime.timedelta(days=RENEW_DAYS)
            and not (os.name == "posix" and key.stat().st_mode & 0o077)
        ):
            kept.tls()
            return kept
    except (CertificateError, FileNotFoundError):
        pass
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    certificate, private = make_certificate(names, addresses, now, VALID_DAYS)
    # The key first: a certificate whose key is missing is made anew, and so is a mismatched pair.
    _replace(key, private)
    _replace(chain, certificate)
    return _read(chain, key)[0]


def given_certificate(chain: Path, key: Path) -> Certificate:
    """The user's own certificate, for example of mkcert or Let's Encrypt.

    Raises CertificateError when a file is missing, is none, or they do not belong together.
    """
    try:
        certificate, _ = _read(chain, key)
        certificate.tls()
    except OSError as error:
        where = error.filename or chain
        raise CertificateError(f"{where}: cannot be read ({error.strerror})") from error
    return certificate


def make_certificate(
    names: Sequence[str], addresses: Sequence[str], now: datetime.datetime, days: int
) -> tuple[bytes, bytes]:
    """(certificate, private key), PEM both: self-signed, for a server, valid `days` from `now`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Visavis on this network")])
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=False, crl_sign=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=SKEW_DAYS))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        # No authority: whoever gets hold of the key can sign nothing else with it.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _read(chain: Path, key: Path) -> tuple[Certificate, x509.Certificate]:
    try:
        certificate = x509.load_pem_x509_certificate(chain.read_bytes())
    except ValueError as error:
        raise CertificateError(f"{chain}: expected a certificate in PEM, got {error}") from error
    if not key.is_file():
        raise FileNotFoundError(2, "No such file", str(key))
    names: list[str] = []
    addresses: list[str] = []
    with contextlib.suppress(x509.ExtensionNotFound):
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [name.lower() for name in found.get_values_for_type(x509.DNSName)]
        addresses = [str(ip) for ip in found.get_values_for_type(x509.IPAddress)]
    digest = certificate.fingerprint(hashes.SHA256())
    kept = Certificate(chain, key, digest.hex(":").upper(), tuple(names), tuple(addresses))
    return kept, certificate


def _replace(path: Path, data: bytes) -> None:
    """Whole or not at all, for the user alone."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
