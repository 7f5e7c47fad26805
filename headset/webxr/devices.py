"""The headsets that were paired, one small file each, and the tokens that they show.

The file is named by the token's SHA-256: who reads the folder learns no token. A token has 256
random bits, so a plain hash hides it as well as a slow one. A device is revoked by removing its
file, from any process, with no lock: a server asks for the file each time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MOST = 64
"""Devices; more is a fault or an attack."""
LONGEST_NAME = 40
_HASH = re.compile("[0-9a-f]{64}")
# The first that occurs in a browser's own description names the device.
_KINDS = (
    ("Quest 3S", "Quest 3S"), ("Quest 3", "Quest 3"), ("Quest 2", "Quest 2"),
    ("Quest Pro", "Quest Pro"), ("OculusBrowser", "Quest"), ("Pico", "Pico"),
    ("Vision", "Vision Pro"), ("Wolvic", "Wolvic"), ("iPhone", "iPhone"), ("iPad", "iPad"),
    ("Android", "Android"), ("Macintosh", "Mac"), ("Windows", "Windows"), ("Linux", "Linux"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Device:
    """One paired browser."""

    name: str
    """Unique, printable ASCII."""
    token_hash: str
    """SHA-256 of its token, 64 hexadecimal digits."""
    paired_s: float
    """When it was paired, Unix seconds."""
    seen_s: float
    """When it last showed its token, Unix seconds."""


class TooManyDevicesError(RuntimeError):
    """No more can be paired before some are revoked."""


class Devices:
    """All that are paired, in `folder`. `clock` gives Unix seconds, which people read."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._clock = folder, clock

    def pair(self, name: str) -> tuple[Device, str]:
        """A new device, and its token, which is nowhere else. A name that is taken gets a number.

        Raises TooManyDevicesError, or OSError when its file cannot be written.
        """
        known = self.all()
        if len(known) >= MOST:
            raise TooManyDevicesError(
                f"{MOST} devices are paired, which is all that can be; revoke some with "
                "`visavis stream --revoke NAME`"
            )
        plain, taken = printable_name(name), {device.name for device in known}
        name = plain
        for number in range(2, MOST + 2):
            if name not in taken:
                break
            name = f"{plain} {number}"
        token = secrets.token_urlsafe(32)
        now = self._clock()
        device = Device(name, _hash_of(token), now, now)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self._folder / f".{secrets.token_hex(8)}"
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"name": name, "paired_s": now}, file)
        os.utime(new, (now, now))
        new.replace(self._path(device.token_hash))
        return device, token

    def find(self, token: str) -> Device | None:
        """Whose token that is, and remember that it was seen; None for nobody's.

        What is looked up is a hash, so how long it takes says nothing about other tokens.
        """
        path = self._path(_hash_of(token))
        device = _read(path)
        if device is not None:
            now = self._clock()
            try:
                os.utime(path, (now, now))
            except FileNotFoundError:
                return None  # Revoked in this very moment.
        return device

    def is_paired(self, device: Device) -> bool:
        """Whether it was not revoked since."""
        return self._path(device.token_hash).exists()

    def all(self) -> list[Device]:
        """In the order in which they were paired."""
        if not self._folder.is_dir():
            return []
        found = [_read(path) for path in self._folder.iterdir() if _HASH.fullmatch(path.name)]
        return sorted((d for d in found if d is not None), key=lambda d: (d.paired_s, d.name))

    def revoke(self, name: str) -> bool:
        """Forget the device of that name; whether there was one."""
        found = [device for device in self.all() if device.name == name]
        for device in found:
            self._path(device.token_hash).unlink(missing_ok=True)
        return bool(found)

    def _path(self, token_hash: str) -> Path:
        return self._folder / token_hash


def name_from_browser(user_agent: str) -> str:
    """What to call a device by its browser's User-Agent."""
    return next((name for part, name in _KINDS if part in user_agent), "browser")


def printable_name(text: str) -> str:
    """`text` as a name that a terminal can show: letters, digits, little more, not long."""
    plain = re.sub(r"[^A-Za-z0-9 ._-]+", " ", text)
    return " ".join(plain.split())[:LONGEST_NAME].strip() or "browser"


def _hash_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> Device | None:
    try:
        seen = path.stat().st_mtime
        fields = json.loads(path.read_text("utf-8"))
        return Device(
            printable_name(str(fields["name"])), path.name, float(fields["paired_s"]), seen
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None  # Revoked meanwhile, or damaged: nobody's either way.
