"""Large things that never change (topologies, basis planes, avatars), by their SHA-256.

What has the same name has the same bytes, so a browser may keep it for ever, a broken download goes
on where it stopped, and whoever fetches it can check it.
"""

from __future__ import annotations

import hashlib
import threading

LARGEST = 1 << 30
"""Bytes that a store holds in all."""


class BlobStore:
    """Thread-safe. Nothing is ever removed: a session shows a few avatars."""

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        self._blobs: dict[str, bytes] = {}
        self._size = 0
        self._lock = threading.Lock()

    def add(self, data: bytes) -> str:
        """Keep `data`; return its name, 64 lower-case hexadecimal digits.

        Raises ValueError when there is no room.
        """
        name = hashlib.sha256(data).hexdigest()
        with self._lock:
            if name not in self._blobs:
                if self._size + len(data) > self._largest:
                    raise ValueError(
                        f"BlobStore.add: expected at most {self._largest} bytes in all, got "
                        f"{len(data)} more than the {self._size} held; start the stream anew"
                    )
                self._blobs[name] = bytes(data)
                self._size += len(data)
        return name

    def get(self, sha256: str) -> bytes | None:
        """The bytes of that name, or None."""
        with self._lock:
            return self._blobs.get(sha256)
