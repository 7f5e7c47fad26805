"""Chunks that are useless without a secret.

Each chunk's records, compressed, are sealed by XChaCha20-Poly1305 (libsodium, through PyNaCl) with
a key that Argon2id makes of the secret. What a reader may trust: nobody without the secret wrote a
chunk, moved one from another file, or changed their order; chunks at the end may be missing. What
stays in the clear: how many records of how many numbered channels there are, their times and the
sizes of chunks; no name, no calibration, no content.

Each file has its own random salt, so that its key seals nothing else; nonces are random, 192 bits.
"""

from __future__ import annotations

import secrets
import struct
from typing import Any

from sessions.session_error import LockedSessionError, SessionError

COMPRESSION = "visavis.sealed.1"
"""The name of this in a chunk's field of compression."""
METADATA = "visavis.seal"
NONCE_BYTES, SALT_BYTES, TAG_BYTES = 24, 16, 16
OVERHEAD = 8 + NONCE_BYTES + TAG_BYTES
LEAST_SECRET_BYTES = 8
# Argon2id as libsodium's "interactive", twice over: 128 MiB, about 0.3 s. A file may ask for more,
# within limits: its numbers are not trusted.
OPS, MEMORY = 3, 128 << 20
MOST_OPS, MOST_MEMORY = 8, 512 << 20
_CHECK = b"visavis session"


class Seal:
    """Seals and opens the chunks of one file."""

    def __init__(self, key: bytes, file_id: bytes) -> None:
        self._bindings = _nacl().bindings
        self._key, self._file_id = key, file_id

    @staticmethod
    def made(secret: bytes) -> tuple[Seal, dict[str, str]]:
        """A new file's seal and the metadata that says how to open it with the same secret.

        Raises SessionError for a secret of fewer than 8 bytes.
        """
        if len(secret) < LEAST_SECRET_BYTES:
            raise SessionError(
                f"the secret has {len(secret)} bytes; expected at least {LEAST_SECRET_BYTES}"
            )
        salt = secrets.token_bytes(SALT_BYTES)
        seal = Seal(_key_of(secret, salt, OPS, MEMORY), salt)
        return seal, {
            "version": "1",
            "cipher": "xchacha20poly1305-ietf",
            "key": "argon2id",
            "salt": salt.hex(),
            "ops": str(OPS),
            "memory": str(MEMORY),
            "check": seal.sealed(_CHECK, 0).hex(),
        }

    @staticmethod
    def opened(where: str, metadata: dict[str, str], secret: bytes | None) -> Seal:
        """The seal of an existing file. Raises LockedSessionError without the right secret."""
        if secret is None:
            raise LockedSessionError(
                f"{where}: is sealed; give its secret (--key-file FILE, or VISAVIS_SECRET)"
            )
        try:
            salt = bytes.fromhex(metadata["salt"])
            ops, memory = int(metadata["ops"]), int(metadata["memory"])
            check = bytes.fromhex(metadata["check"])
            known = (metadata["version"], metadata["cipher"], metadata["key"])
        except (KeyError, ValueError) as error:
            raise SessionError(f"{where}: its seal's parameters are damaged ({error})") from error
        if known != ("1", "xchacha20poly1305-ietf", "argon2id"):
            raise SessionError(f"{where}: sealed in a way that this version does not know: {known}")
        if len(salt) != SALT_BYTES or not (
            1 <= ops <= MOST_OPS and 8 << 10 <= memory <= MOST_MEMORY
        ):
            raise SessionError(
                f"{where}: its seal asks for {ops} rounds of {memory} bytes: refused"
            )
        seal = Seal(_key_of(secret, salt, ops, memory), salt)
        try:
            text = seal.opened_chunk(check)[1]
        except ValueError:
            text = b""
        if text != _CHECK:
            raise LockedSessionError(f"{where}: the secret does not open it")
        return seal

    def sealed(self, data: bytes, number: int) -> bytes:
        """`data` sealed as the file's chunk of that number (0 is the check)."""
        order = struct.pack("<Q", number)
        nonce = secrets.token_bytes(NONCE_BYTES)
        text = self._bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
            data, self._file_id + order, nonce, self._key
        )
        return order + nonce + text

    def opened_chunk(self, data: bytes) -> tuple[int, bytes]:
        """The chunk's number and its content. Raises ValueError when it is not what was sealed."""
        from nacl.exceptions import CryptoError

        if len(data) < OVERHEAD:
            raise ValueError(f"sealed chunk: expected at least {OVERHEAD} bytes, got {len(data)}")
        order, nonce, text = data[:8], data[8 : 8 + NONCE_BYTES], data[8 + NONCE_BYTES :]
        try:
            opened = self._bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
                text, self._file_id + order, nonce, self._key
            )
        except CryptoError as error:
            raise ValueError("sealed chunk: was changed, or sealed by another secret") from error
        return struct.unpack("<Q", order)[0], bytes(opened)


def number_of(data: bytes) -> int:
    """The number that a sealed chunk says it has, which its seal proves; 0 for too few bytes."""
    return struct.unpack_from("<Q", data)[0] if len(data) >= OVERHEAD else 0


def _key_of(secret: bytes, salt: bytes, ops: int, memory: int) -> bytes:
    nacl = _nacl()
    try:
        return nacl.pwhash.argon2id.kdf(32, secret, salt, opslimit=ops, memlimit=memory)
    except (RuntimeError, MemoryError, ValueError, TypeError) as error:
        raise SessionError(
            f"no key could be made of the secret ({error}); that takes {memory >> 20} MiB of memory"
        ) from error


def _nacl() -> Any:
    try:
        import nacl.bindings
        import nacl.pwhash
    except ImportError as error:
        raise SessionError(
            "a sealed session needs the package PyNaCl: pip install 'visavis[seal]'"
        ) from error
    return nacl
