"""Who made a picture or video and how, written into the file as C2PA content credentials.

C2PA Technical Specification 2.x: a signed manifest inside the file says that an algorithm made it,
which one, and from what; whoever changes the file breaks the signature. The signature is one's own
(the key that also signs avatars) and vouched for by nobody: a reader says "valid, signer unknown".
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.usage import FailedError
from avatar.signature import fingerprint, own_key, user_folder
from overlay.image_model import ImageModel
from overlay.wish import Wish

EXTRA = "pip install 'visavis[provenance]'"
CHAIN_FILE = "provenance_chain.pem"
ASSERTION = "org.visavis.imagined"
_SOURCES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
COMPOSED = f"{_SOURCES}algorithmicMedia"
"""IPTC's word for what an algorithm made that learned nothing: drawings put together."""
GENERATED = f"{_SOURCES}trainedAlgorithmicMedia"
COMPOSITE = f"{_SOURCES}compositeWithTrainedAlgorithmicMedia"
"""A video of an avatar with such a picture beside it."""
_YEARS = 10


@dataclass(frozen=True, slots=True)
class Origin:
    """What the credentials say. The prompt itself stays out of the file: only its hash is in it."""

    source_type: str
    """COMPOSED, GENERATED or COMPOSITE."""
    model: str
    licence: str
    prompt_hash: str
    """SHA-256 in hex of the prompt, shortened as Wish.prompt_hash does."""
    seed: int


def origin_of(model: ImageModel, wish: Wish, source_type: str | None = None) -> Origin:
    """Of a picture that `model` made; `source_type` where the picture is only a part."""
    kind = source_type or (GENERATED if model.generates else COMPOSED)
    return Origin(kind, model.name, model.licence, wish.prompt_hash(), wish.seed)


def is_available() -> bool:
    """Whether the extra is installed."""
    import importlib.util

    return importlib.util.find_spec("c2pa") is not None


@contextlib.contextmanager
def credentials(out: Path, origin: Origin) -> Iterator[Path]:
    """Gives the path to write the file to, and puts it at `out` with its credentials.

    Without the extra that is `out` itself, and there are none: see `is_available`. Raises
    FailedError when the file cannot be signed; nothing is at `out` then.
    """
    if not is_available():
        yield out
        return
    handle, name = tempfile.mkstemp(out.suffix.lower(), f".{out.stem}-", out.parent)
    os.close(handle)
    plain = Path(name)
    try:
        yield plain
        _sign(plain, out, origin)
    finally:
        plain.unlink(missing_ok=True)


def add_credentials(path: Path, origin: Origin) -> None:
    """The same for a file that is there already; without the extra nothing is done."""
    if is_available():
        _sign(path, path, origin)


def read_credentials(path: Path) -> dict[str, Any]:
    """{"state": "Valid" or "Trusted" or "Invalid", "origin": what ASSERTION says, "issuer": ...}.

    Raises FailedError when the file has none.
    """
    import c2pa

    try:
        with c2pa.Reader(str(path)) as reader:
            state = reader.get_validation_state()
            manifest = reader.get_active_manifest() or {}
    except c2pa.C2paError as error:
        raise FailedError(f"{path}: has no content credentials: {error}") from error
    found = [a["data"] for a in manifest.get("assertions", []) if a.get("label") == ASSERTION]
    return {
        "state": state,
        "origin": found[0] if found else None,
        "issuer": manifest.get("signature_info", {}).get("issuer"),
        "actions": [
            action
            for assertion in manifest.get("assertions", [])
            if assertion.get("label", "").startswith("c2pa.actions")
            for action in assertion["data"]["actions"]
        ],
    }


def _sign(plain: Path, out: Path, origin: Origin) -> None:
    import c2pa

    from apps.recording import software

    name, _, version = software().partition(" ")
    agent = {"name": name, "version": version or "0"}
    created = {
        "action": "c2pa.created",
        "digitalSourceType": origin.source_type,
        "softwareAgent": agent,
    }
    said = {
        "model": origin.model,
        "licence": origin.licence,
        "prompt_sha256_12": origin.prompt_hash,
        "seed": origin.seed,
    }
    manifest = {
        "claim_generator_info": [agent],
        "title": out.name,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
            {"label": ASSERTION, "data": said},
        ],
    }
    chain, key = _chain_and_key()
    signed = plain.with_name(f"{plain.name}.signed{plain.suffix}")
    try:
        info = c2pa.C2paSignerInfo(b"ed25519", chain, key, None)
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(json.dumps(manifest)) as builder:
            builder.sign_file(str(plain), str(signed), signer)
        signed.replace(out)
    except (c2pa.C2paError, OSError) as error:
        raise FailedError(f"{out}: its content credentials cannot be written: {error}") from error
    finally:
        signed.unlink(missing_ok=True)


def _chain_and_key() -> tuple[bytes, bytes]:
    """PEM of the certificates, one's own first, and of the key."""
    from cryptography.hazmat.primitives import serialization

    key = own_key()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = user_folder() / CHAIN_FILE
    if path.is_file():
        chain = path.read_bytes()
        if _belongs(chain, key):
            return chain, pem
    chain = _new_chain(key)
    path.write_bytes(chain)
    return chain, pem


def _belongs(chain: bytes, key: Any) -> bool:
    """Whether the first certificate is of that key and still good for a month."""
    from cryptography import x509

    try:
        own = x509.load_pem_x509_certificates(chain)[0]
    except (ValueError, IndexError):
        return False
    month = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=30)
    return own.public_key() == key.public_key() and own.not_valid_after_utc > month


def _new_chain(key: Any) -> bytes:
    """One's own certificate under a root that is made here, signs this one and is forgotten: C2PA
    accepts no certificate that signs itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    public = key.public_key()
    mark = fingerprint(public.public_bytes_raw())
    root_key = Ed25519PrivateKey.generate()
    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)
    until = now + datetime.timedelta(days=365 * _YEARS)

    def name(common: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Visavis user, self-signed"),
                x509.NameAttribute(NameOID.COMMON_NAME, common),
            ]
        )

    def usage(signs_certificates: bool) -> x509.KeyUsage:
        return x509.KeyUsage(
            digital_signature=not signs_certificates,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=signs_certificates,
            crl_sign=signs_certificates,
            encipher_only=False,
            decipher_only=False,
        )

    def begun(subject: x509.Name, of: Any) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name(f"root of {mark}"))
            .public_key(of)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(until)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(of), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()),
                critical=False,
            )
        )

    root = (
        begun(name(f"root of {mark}"), root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(True), critical=True)
        .sign(root_key, None)
    )
    own = (
        begun(name(mark), public)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
        )
        .sign(root_key, None)
    )
    encoding = serialization.Encoding.PEM
    return own.public_bytes(encoding) + root.public_bytes(encoding)
