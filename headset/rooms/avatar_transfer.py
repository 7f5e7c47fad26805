"""The file of an avatar, from who is shown to who sees it: once, in pieces, checked by its hash.

Who receives asks for pieces, a few at a time, and asks again for what does not come; who sends only
answers, so nothing queues anywhere. A cut costs nothing: the pieces lie in the cache folder, and
asking goes on where it stopped, from whoever has the file. What is whole and has the right hash
stays in the cache under that hash. It is *not* opened here: it may be anything
(`avatar.avatar_file.read_avatar_file` is for that, and `apps.room` calls it).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from headset.rooms.room_message import CHUNK_BYTES, LARGEST_AVATAR, MOST_WISHED, Chunk, ChunkWish

LARGEST_CACHE = 500 * 1024 * 1024
"""Bytes; beyond, what was not used for longest goes."""
FIRST_WINDOW, LEAST_WINDOW, LARGEST_WINDOW = 4, 1, 32
"""Pieces that are under way at once: one more for each that comes, half after one that does not
(as TCP does, RFC 5681)."""
PATIENCE_NS = 1_000_000_000
"""At least so long a piece is waited for, and four usual round trips more."""
AT_ONCE = 2
"""Files that are fetched at the same time; others wait."""


class AvatarTransferError(ValueError):
    """A file that cannot be sent or was not what was offered."""


class AvatarCache:
    """A folder of files by hash, readable by the user alone."""

    def __init__(self, folder: Path, largest: int = LARGEST_CACHE) -> None:
        self.folder, self._largest = folder, largest

    def find(self, sha256: bytes) -> Path | None:
        """The whole file, if it is here. Counts as used now."""
        path = self._path(sha256)
        try:
            os.utime(path)
        except FileNotFoundError:
            return None
        return path

    def part(self, sha256: bytes) -> Path:
        """Where pieces are collected."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.folder / f"{sha256.hex()}.part"

    def keep(self, sha256: bytes) -> Path:
        """The part is whole: give it its name, and make room."""
        path = self._path(sha256)
        os.replace(self.part(sha256), path)
        self._make_room(path)
        return path

    def _path(self, sha256: bytes) -> Path:
        return self.folder / f"{sha256.hex()}.visavis"

    def _make_room(self, newest: Path) -> None:
        files = [(path.stat().st_mtime, path) for path in self.folder.iterdir() if path != newest]
        size = newest.stat().st_size
        for _, path in sorted(files, reverse=True):
            size += path.stat().st_size
            if size > self._largest:
                path.unlink(missing_ok=True)


class AvatarDownload:
    """One file on its way. Pieces may come in any order, twice or never."""

    def __init__(self, cache: AvatarCache, sha256: bytes, size: int) -> None:
        if not 0 < size <= LARGEST_AVATAR:
            raise AvatarTransferError(f"avatar: expected 1 byte to 20 MiB, got {size}")
        self.sha256, self.size = sha256, size
        self.chunks = -(-size // CHUNK_BYTES)
        self._cache, self._hash = cache, hashlib.sha256()
        self._next = 0
        """The first piece that is not in the file yet."""
        self._early: dict[int, bytes] = {}
        self._asked: dict[int, int] = {}
        self._window, self._round_trip_ns = FIRST_WINDOW, 0
        self._open_part()

    @property
    def done(self) -> float:
        """0..1."""
        return (self._next + len(self._early)) / self.chunks

    @property
    def whole(self) -> bool:
        """Whether every piece is here."""
        return self._next == self.chunks

    def wishes(self, now_ns: int) -> list[ChunkWish]:
        """What to ask for now."""
        patience = PATIENCE_NS + 4 * self._round_trip_ns
        for index in [i for i, asked in self._asked.items() if now_ns - asked > patience]:
            del self._asked[index]
            self._window = max(LEAST_WINDOW, self._window // 2)
        wanted: list[int] = []
        index = self._next
        while len(self._asked) < self._window and index < self.chunks:
            # Pieces far ahead would wait in memory for the first missing one.
            if index >= self._next + 2 * LARGEST_WINDOW:
                break
            if index not in self._asked and index not in self._early:
                self._asked[index] = now_ns
                wanted.append(index)
            index += 1
        return [ChunkWish(self.sha256, first, count) for first, count in _runs(wanted)]

    def asked_anew(self) -> None:
        """Who was asked is gone: ask for everything again."""
        self._asked.clear()
        self._window = FIRST_WINDOW

    def take(self, chunk: Chunk, now_ns: int) -> None:
        """One piece. Raises AvatarTransferError when it cannot be of this file, and when the whole
        file has another hash: then what was collected is thrown away."""
        asked_ns = self._asked.pop(chunk.index, None)
        if asked_ns is None or chunk.index < self._next:
            return  # not asked for, or here already
        last = chunk.index == self.chunks - 1
        wanted = self.size - chunk.index * CHUNK_BYTES if last else CHUNK_BYTES
        if len(chunk.data) != wanted:
            raise AvatarTransferError(
                f"avatar: expected piece {chunk.index} to have {wanted} bytes, got "
                f"{len(chunk.data)}"
            )
        self._round_trip_ns += (now_ns - asked_ns - self._round_trip_ns) // 8
        self._window = min(LARGEST_WINDOW, self._window + 1)
        self._early[chunk.index] = chunk.data
        self._append()
        if self.whole and self._hash.digest() != self.sha256:
            self._cache.part(self.sha256).unlink(missing_ok=True)
            raise AvatarTransferError("avatar: the file is not the one that was offered")

    def _append(self) -> None:
        run = bytearray()
        while self._next in self._early:
            run += self._early.pop(self._next)
            self._next += 1
        if run:
            self._hash.update(run)
            with open(self._cache.part(self.sha256), "ab") as part:
                part.write(run)

    def _open_part(self) -> None:
        """Go on with what a cut left."""
        path = self._cache.part(self.sha256)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(handle, "r+b") as part:
            here = part.seek(0, os.SEEK_END)
            # The last piece is asked for even so: with it the hash is looked at.
            self._next = min(here // CHUNK_BYTES, self.chunks - 1)
            part.truncate(self._next * CHUNK_BYTES)
            part.seek(0)
            for _ in range(self._next):
                self._hash.update(part.read(CHUNK_BYTES))


@dataclass(slots=True)
class _Wanted:
    size: int
    sources: list[int] = field(default_factory=list)
    """Members that have it."""
    asked: int = -1
    download: AvatarDownload | None = None


class AvatarTransfer:
    """All files of a room, from one member's side. Not shared between threads.

    `finished(sha256, path or None, reason)` is called once for every file that was wanted.
    """

    def __init__(
        self, cache: AvatarCache, finished: Callable[[bytes, Path | None, str], None]
    ) -> None:
        self.cache, self._finished = cache, finished
        self._offered: dict[bytes, bytes] = {}
        self._wanted: dict[bytes, _Wanted] = {}
        self._failed: set[tuple[bytes, int]] = set()
        self._here: set[bytes] = set()
        self.sent_chunks = 0

    def offer(self, data: bytes) -> bytes:
        """Answer whoever asks for this file. Returns its hash. Raises AvatarTransferError."""
        if not 0 < len(data) <= LARGEST_AVATAR:
            raise AvatarTransferError(
                f"avatar: expected at most {LARGEST_AVATAR >> 20} MiB, got {len(data) / 2**20:.1f}"
            )
        sha256 = hashlib.sha256(data).digest()
        self._offered[sha256] = data
        return sha256

    def want(self, sha256: bytes, size: int, member: int) -> None:
        """That member is to be seen by this file, and by no other. Finished at once, the first
        time, when it is here."""
        if (sha256, member) in self._failed:
            return
        for other in [other for other in self._wanted if other != sha256]:
            self._without(other, member)
        wanted = self._wanted.get(sha256)
        if wanted is None:
            path = self.cache.find(sha256)
            if path is not None:
                if sha256 not in self._here:
                    self._here.add(sha256)
                    self._finished(sha256, path, "")
                return
            wanted = self._wanted[sha256] = _Wanted(size)
        if member not in wanted.sources and size == wanted.size:
            wanted.sources.append(member)

    def left(self, member: int) -> None:
        """That member cannot be asked any more. What came of its file stays."""
        self._failed = {(sha256, other) for sha256, other in self._failed if other != member}
        for sha256 in list(self._wanted):
            self._without(sha256, member)

    def everybody_left(self) -> None:
        """The connection was lost: numbers mean nothing any more."""
        self._wanted.clear()
        self._failed.clear()

    def done(self, sha256: bytes) -> float | None:
        """0..1 of a file that is being fetched; None for others."""
        wanted = self._wanted.get(sha256)
        if wanted is None:
            return None
        return 0.0 if wanted.download is None else wanted.download.done

    def wishes(self, now_ns: int) -> list[tuple[int, ChunkWish]]:
        """Whom to ask for what now."""
        out: list[tuple[int, ChunkWish]] = []
        for sha256, wanted in list(self._wanted.items())[:AT_ONCE]:
            try:
                if wanted.download is None:
                    wanted.download = AvatarDownload(self.cache, sha256, wanted.size)
            except (OSError, AvatarTransferError) as error:
                self._fail(sha256, str(error))
                continue
            if wanted.asked != wanted.sources[0]:
                wanted.asked = wanted.sources[0]
                wanted.download.asked_anew()
            out += [(wanted.asked, wish) for wish in wanted.download.wishes(now_ns)]
        return out

    def take(self, member: int, chunk: Chunk, now_ns: int) -> None:
        """A piece that a member sent; what nobody asked it for is left out."""
        wanted = self._wanted.get(chunk.sha256)
        if wanted is None or wanted.download is None or member != wanted.asked:
            return
        try:
            wanted.download.take(chunk, now_ns)
            if wanted.download.whole:
                path = self.cache.keep(chunk.sha256)
                del self._wanted[chunk.sha256]
                self._here.add(chunk.sha256)
                self._finished(chunk.sha256, path, "")
        except (OSError, AvatarTransferError) as error:
            self._fail(chunk.sha256, str(error))

    def answer(self, wish: ChunkWish) -> list[Chunk]:
        """The pieces that somebody asks for; of unknown files, or beyond the end, none."""
        data = self._offered.get(wish.sha256, b"")
        out = []
        for index in range(wish.first, wish.first + min(wish.count, MOST_WISHED)):
            piece = data[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
            if piece:
                out.append(Chunk(wish.sha256, index, piece))
        self.sent_chunks += len(out)
        return out

    def _without(self, sha256: bytes, member: int) -> None:
        wanted = self._wanted[sha256]
        if member in wanted.sources:
            wanted.sources.remove(member)
            if not wanted.sources:
                del self._wanted[sha256]

    def _fail(self, sha256: bytes, reason: str) -> None:
        wanted = self._wanted.pop(sha256)
        self._failed |= {(sha256, member) for member in wanted.sources}
        self._finished(sha256, None, reason)


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Ascending numbers -> (first, count) of runs, each as long as one wish may be."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == sum(runs[-1]) and runs[-1][1] < MOST_WISHED:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((number, 1))
    return runs
