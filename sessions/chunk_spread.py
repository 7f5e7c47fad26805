"""Where in time chunks lie, prepared for searching: they may overlap, and come in any order."""

from __future__ import annotations

from bisect import bisect_left

from mcap.records import ChunkIndex


class ChunkSpread:
    """Chunks in the order of their first moments, prepared for a search backwards."""

    def __init__(self, chunks: list[ChunkIndex]) -> None:
        self.chunks = chunks
        self.starts = [chunk.message_start_time for chunk in chunks]
        self.ends: list[int] = []
        """The latest end of each chunk and all before it."""
        latest = -1
        for chunk in chunks:
            latest = max(latest, chunk.message_end_time)
            self.ends.append(latest)

    def first(self, start_ns: int | None) -> int:
        """Number of the first chunk that may hold something from `start_ns` on."""
        return 0 if start_ns is None else bisect_left(self.ends, start_ns)


def edge_chunks(chunks: list[ChunkIndex]) -> list[ChunkIndex]:
    """Chunks that may hold the first or the last record: the header and a session's own states lie
    in chunks too, so that a chunk's own span says too much."""
    if not chunks:
        return []
    first = min(chunks, key=lambda chunk: chunk.message_end_time)
    last = max(chunks, key=lambda chunk: chunk.message_start_time)
    return [
        chunk
        for chunk in chunks
        if chunk.message_start_time <= first.message_end_time
        or chunk.message_end_time >= last.message_start_time
    ]
