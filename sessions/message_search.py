"""Messages of an open file by time: in order, the newest before a moment, key pictures."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping

from mcap.records import ChunkIndex

from sessions.chunk_reader import ChunkReader
from sessions.chunk_spread import ChunkSpread, edge_chunks
from sessions.record_scan import RawMessage

_WAITING_BYTES = 512 << 20
"""Of messages that wait for others of earlier times..."""
_SMALL = 400
"""...and of what holds each of them."""


class MessageSearch:
    """`ranks`: of each channel by its number; of messages of the same time those of the lower rank
    come first, then those that lie first in the file."""

    def __init__(self, file: ChunkReader, ranks: Mapping[int, int]) -> None:
        self._file, self._ranks = file, ranks
        self._spreads: dict[frozenset[int], ChunkSpread] = {}

    def span(self, numbers: set[int]) -> tuple[int, int] | None:
        """First and last time, nanoseconds, of these channels' messages."""
        edges = [
            log_ns
            for chunk in edge_chunks(self._spread(numbers).chunks)
            for number in numbers & set(chunk.message_index_offsets)
            for log_ns, _ in self._file.index(chunk, number)
        ]
        return (min(edges), max(edges)) if edges else None

    def times(self, numbers: set[int], limit: int | None = None) -> list[int]:
        """The times of all of these channels' messages, or of about the first `limit`, rising."""
        found: list[int] = []
        for chunk in self._spread(numbers).chunks:
            for number in numbers & set(chunk.message_index_offsets):
                found.extend(log_ns for log_ns, _ in self._file.index(chunk, number))
            if limit is not None and len(found) >= limit:
                break
        return sorted(found)

    def ordered(
        self, numbers: set[int], start_ns: int | None, end_ns: int | None
    ) -> Iterator[RawMessage]:
        """Messages in the order of reading. A chunk is loaded when its first moment has come."""
        waiting: list[tuple[int, int, int, int, RawMessage]] = []
        count = size = 0
        spread = self._spread(numbers)
        for k in range(spread.first(start_ns), len(spread.chunks)):
            chunk = spread.chunks[k]
            if start_ns is not None and chunk.message_end_time < start_ns:
                continue
            if end_ns is not None and chunk.message_start_time >= end_ns:
                break
            while waiting and waiting[0][0] < chunk.message_start_time:
                raw = heapq.heappop(waiting)[4]
                size -= len(raw.data)
                yield raw
            if size + len(waiting) * _SMALL > _WAITING_BYTES:
                raise self._file.damaged(ValueError("its chunks all claim the same times"))
            at = chunk.chunk_start_offset
            for raw in self._file.messages(chunk, numbers):
                if (start_ns is None or raw.log_ns >= start_ns) and (
                    end_ns is None or raw.log_ns < end_ns
                ):
                    entry = (raw.log_ns, self._ranks.get(raw.channel, -1), at, count, raw)
                    heapq.heappush(waiting, entry)
                    count += 1
                    size += len(raw.data)
        while waiting:
            yield heapq.heappop(waiting)[4]

    def newest(self, numbers: set[int], t_ns: int) -> RawMessage | None:
        """The last message, in the order of reading, of these channels at or before `t_ns`."""
        spread = self._spread(numbers)
        best: tuple[tuple[int, int, int, int], ChunkIndex, int, tuple[int, int]] | None = None
        for k in range(bisect_right(spread.starts, t_ns) - 1, -1, -1):
            if best is not None and spread.ends[k] < best[0][0]:
                break  # Neither this chunk nor one before it holds anything newer.
            chunk = spread.chunks[k]
            for number in numbers & set(chunk.message_index_offsets):
                index = self._file.index(chunk, number)
                place = bisect_right(index, (t_ns, 2**64))
                if place:
                    moment = index[place - 1]
                    rank = self._ranks.get(number, -1)
                    order = (moment[0], rank, chunk.chunk_start_offset, moment[1])
                    if best is None or order > best[0]:
                        best = (order, chunk, number, moment)
        return None if best is None else self._file.message(*best[1:])

    def key_before(self, number: int, t_ns: int, is_key: Callable[[RawMessage], bool]) -> int:
        """Time of the newest key picture at or before `t_ns`; `t_ns` itself when there is none."""
        spread = self._spread({number})
        best_ns = -1
        for k in range(bisect_right(spread.starts, t_ns) - 1, -1, -1):
            if spread.ends[k] < best_ns:
                break
            chunk = spread.chunks[k]
            index = self._file.index(chunk, number)
            for moment in reversed(index[: bisect_right(index, (t_ns, 2**64))]):
                if moment[0] <= best_ns:
                    break
                raw = self._file.message(chunk, number, moment)
                if is_key(raw):
                    best_ns = moment[0]
                    break
        return t_ns if best_ns < 0 else best_ns

    def _spread(self, numbers: set[int]) -> ChunkSpread:
        """The chunks that hold messages of these channels, made once for each set of channels."""
        key = frozenset(numbers)
        if key not in self._spreads:
            self._spreads[key] = ChunkSpread(
                [c for c in self._file.chunks if numbers & set(c.message_index_offsets)]
            )
        return self._spreads[key]
