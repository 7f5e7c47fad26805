"""Finished pictures by what they were made from; the least recently used ones are forgotten."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
import numpy.typing as npt


class PictureCache:
    """At most `max_bytes` of pictures by content hash. Any thread."""

    def __init__(self, max_bytes: int = 64 << 20) -> None:
        if max_bytes <= 0:
            raise ValueError(f"PictureCache.max_bytes: expected more than 0, got {max_bytes}")
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[str, npt.NDArray[np.uint8]] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> npt.NDArray[np.uint8] | None:
        """The picture of that content hash, read-only, or None."""
        with self._lock:
            picture = self._held.get(key)
            if picture is not None:
                self._held.move_to_end(key)
            return picture

    def put(self, key: str, picture: npt.NDArray[np.uint8]) -> None:
        """Remember a copy; one that is larger than the whole cache is not remembered."""
        if picture.nbytes > self.max_bytes:
            return
        kept = np.array(picture)
        kept.flags.writeable = False
        with self._lock:
            old = self._held.pop(key, None)
            self._bytes += kept.nbytes - (0 if old is None else old.nbytes)
            self._held[key] = kept
            while self._bytes > self.max_bytes:
                self._bytes -= self._held.popitem(last=False)[1].nbytes

    @property
    def bytes_held(self) -> int:
        with self._lock:
            return self._bytes

    def __len__(self) -> int:
        with self._lock:
            return len(self._held)
