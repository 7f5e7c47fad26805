"""Keys of a room: the relay between its members reads nothing and can change nothing unnoticed.

From the room's secret come, by HKDF-SHA-256 (RFC 5869), the room id that a relay is told and keys
for greetings. A greeting (`Greeting`) carries a member's X25519 key of this session (RFC 7748),
signed by its long-lived Ed25519 key (RFC 8032). From both session keys *and* the room's secret two
members derive keys for one another (`PairKeys`), one for each direction, bound to both greetings.
Under these each member hands its own key of the moment (`SenderKey`) to every other; what goes to
all is enciphered once, by ChaCha20-Poly1305 (RFC 8439).

- No nonce comes twice under a key: every key has one writer, who counts. A greeting has a random
  salt of 32 bytes and so a key of its own.
- Session keys live in memory alone: who learns a room's code, or a signing key, later cannot read
  what was recorded before.
- A greeting that is played again leads nowhere: its session key's secret half is gone.
- Members have one another's sender keys, so a member *together with* the relay could speak in
  another member's name; a relay alone, or a member alone, cannot.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from headset.rooms.replay_window import ReplayWindow
from headset.rooms.room_code import RoomCode

VERSION = 1
KEY_BYTES, TAG_BYTES, SALT_BYTES = 32, 16, 32
SEALED_HEADER = struct.Struct("<BxHI")
"""Kind, epoch, number: as associated data these are not secret, but cannot be changed."""
OVERHEAD = SEALED_HEADER.size + TAG_BYTES
PAIR_EPOCH = 0
"""Of the keys between two members, which last as long as both are there."""
LAST_NUMBER = (1 << 32) - 1
"""At a hundred messages a second a key lasts 497 days."""
_HELLO = struct.Struct("<B32s32s64s")
_ZERO_NONCE = bytes(12)


class RoomKeyError(ValueError):
    """A message that is not what a member of this room wrote, or comes a second time."""


def room_id(code: RoomCode) -> str:
    """What a relay knows of a room: 64 hexadecimal digits that tell nothing of the secret."""
    return _derived(code.secret, b"", b"visavis room id").hex()


def _derived(secret: bytes, salt: bytes, what: bytes, length: int = KEY_BYTES) -> bytes:
    return HKDF(SHA256(), length, salt or None, what).derive(secret)


def _digest(*parts: bytes) -> bytes:
    state = Hash(SHA256())
    for part in parts:
        state.update(len(part).to_bytes(4, "little") + part)
    return state.finalize()


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a member says first: who it is in this session."""

    session: bytes
    """32 bytes, X25519 public key of this session."""
    identity: bytes
    """32 bytes, Ed25519 public key that the user keeps."""
    digest: bytes
    """SHA-256 of the greeting's content."""


class Session:
    """One member's keys from joining to leaving. Not shared between threads."""

    def __init__(self, code: RoomCode, identity: Ed25519PrivateKey) -> None:
        self.room_id = room_id(code)
        self._secret = code.secret
        self._key = X25519PrivateKey.generate()
        session = self._key.public_key().public_bytes_raw()
        own = identity.public_key().public_bytes_raw()
        signature = identity.sign(_signed(self.room_id, session))
        self._content = _HELLO.pack(VERSION, session, own, signature)
        self.greeting = Greeting(session, own, _digest(self._content))

    def sealed_greeting(self) -> bytes:
        """The greeting, enciphered for whoever has the room's code; each time anew."""
        salt = os.urandom(SALT_BYTES)
        return salt + self._greeting_cipher(salt).encrypt(_ZERO_NONCE, self._content, b"")

    def open_greeting(self, sealed: bytes) -> Greeting:
        """Another member's greeting. Raises RoomKeyError."""
        if len(sealed) != SALT_BYTES + _HELLO.size + TAG_BYTES:
            raise RoomKeyError(f"greeting: expected another length than {len(sealed)} bytes")
        salt = sealed[:SALT_BYTES]
        try:
            content = self._greeting_cipher(salt).decrypt(_ZERO_NONCE, sealed[SALT_BYTES:], b"")
        except InvalidTag:
            raise RoomKeyError("greeting: not of this room, or changed on its way") from None
        version, session, identity, signature = _HELLO.unpack(content)
        if version != VERSION:
            raise RoomKeyError(
                f"greeting: expected version {VERSION}, got {version}; one of the two programs "
                "needs an update"
            )
        try:
            Ed25519PublicKey.from_public_bytes(identity).verify(
                signature, _signed(self.room_id, session)
            )
        except (InvalidSignature, ValueError):
            raise RoomKeyError("greeting: its signature does not fit") from None
        if session == self.greeting.session:
            raise RoomKeyError("greeting: this is our own, sent back")
        return Greeting(session, identity, _digest(content))

    def pair(self, other: Greeting) -> PairKeys:
        """Keys between us and the member of that greeting. To be called once for each session key:
        a second pair would count its nonces from the beginning again."""
        try:
            shared = self._key.exchange(X25519PublicKey.from_public_bytes(other.session))
        except ValueError:  # a point of low order
            raise RoomKeyError("greeting: its session key is not a usable one") from None
        own = self.greeting
        ordered = sorted([(own.session, own.digest), (other.session, other.digest)])
        salt = _digest(self.room_id.encode(), ordered[0][1], ordered[1][1])
        keys = _derived(self._secret + shared, salt, b"visavis room pair", 2 * KEY_BYTES)
        first, second = keys[:KEY_BYTES], keys[KEY_BYTES:]
        # The member whose session key sorts first writes under the first key.
        own_first = own.session < other.session
        return PairKeys(
            Sealer(first if own_first else second), Opener(second if own_first else first)
        )

    def _greeting_cipher(self, salt: bytes) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(_derived(self._secret, salt, b"visavis room greeting"))


def _signed(room: str, session: bytes) -> bytes:
    return b"visavis room greeting 1\0" + room.encode() + session


class Sealer:
    """Enciphers under one key that nobody else writes under."""

    def __init__(self, key: bytes, epoch: int = PAIR_EPOCH) -> None:
        self.epoch = epoch
        self._cipher = ChaCha20Poly1305(key)
        self._next = 0

    def seal(self, kind: int, plain: bytes) -> bytes:
        """`kind` (0..255) stays readable for the relay, which handles kinds differently."""
        number = self._next
        if number > LAST_NUMBER:
            raise RoomKeyError("room: this session has sent all that its key allows; join again")
        self._next += 1
        header = SEALED_HEADER.pack(kind, self.epoch, number)
        return header + self._cipher.encrypt(_nonce(number), plain, header)


class Opener:
    """Deciphers what one other member's `Sealer` wrote, every message once."""

    def __init__(self, key: bytes, epoch: int = PAIR_EPOCH) -> None:
        self.epoch = epoch
        self._cipher = ChaCha20Poly1305(key)
        self._window = ReplayWindow()

    def open(self, kind: int, sealed: bytes) -> bytes:
        """The plain text. Raises RoomKeyError for what is not this sender's, was changed, is said
        to be of another kind, or came before."""
        if len(sealed) < OVERHEAD:
            raise RoomKeyError(f"message: expected {OVERHEAD} bytes and more, got {len(sealed)}")
        header = sealed[: SEALED_HEADER.size]
        said, epoch, number = SEALED_HEADER.unpack(header)
        if said != kind or epoch != self.epoch or header[1]:
            raise RoomKeyError("message: its header does not fit")
        if not self._window.is_new(number):
            raise ReplayedError("message: came before, or far too late")
        try:
            plain = self._cipher.decrypt(_nonce(number), sealed[SEALED_HEADER.size :], header)
        except InvalidTag:
            raise RoomKeyError("message: not its sender's, or changed on its way") from None
        self._window.take(number)
        return plain


class ReplayedError(RoomKeyError):
    """A message that came before."""


@dataclass(frozen=True, slots=True)
class PairKeys:
    """Between two members."""

    sealer: Sealer
    opener: Opener


def epoch_of(sealed: bytes) -> int:
    """Which of its sender's keys a message needs. Raises RoomKeyError."""
    if len(sealed) < OVERHEAD:
        raise RoomKeyError(f"message: expected {OVERHEAD} bytes and more, got {len(sealed)}")
    return SEALED_HEADER.unpack_from(sealed)[1]


@dataclass(frozen=True, slots=True)
class SenderKey:
    """The key under which a member writes to all."""

    epoch: int
    """1..65535 in turns; another one after every change of who is in the room."""
    key: bytes

    @staticmethod
    def new(epoch: int = 1) -> SenderKey:
        """From the system's random numbers."""
        return SenderKey(epoch, os.urandom(KEY_BYTES))

    def following(self) -> SenderKey:
        """The next one, which this one tells nothing of."""
        return SenderKey.new(self.epoch % 0xFFFF + 1)


def _nonce(number: int) -> bytes:
    return bytes(4) + number.to_bytes(8, "little")
