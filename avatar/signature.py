"""Ed25519 signatures of avatar files (RFC 8032), with a key of one's own."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_FILE = "signing_key"


def user_folder() -> Path:
    """Where this user's key and avatars lie: $VISAVIS_HOME, or visavis under $XDG_CONFIG_HOME."""
    home = os.environ.get("VISAVIS_HOME")
    if home:
        return Path(home)
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(config) / "visavis"


def own_key() -> Ed25519PrivateKey:
    """This user's key, made at first use, readable by the user alone.

    Raises ValueError when the file is damaged, OSError when it cannot be read or written.
    """
    path = user_folder() / KEY_FILE
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        key = Ed25519PrivateKey.generate()
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(key.private_bytes_raw())
        return key
    if len(raw) != 32:
        raise ValueError(f"{path}: expected a key of 32 bytes, got {len(raw)}; remove the file")
    return Ed25519PrivateKey.from_private_bytes(raw)


def fingerprint(public_key: bytes) -> str:
    """Sixteen hexadecimal digits by which people compare keys."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def is_signed_by(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is that key's of that message."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
