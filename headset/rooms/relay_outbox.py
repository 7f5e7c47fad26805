"""What a relay still has to send one client: slots, not queues. Who reads slowly misses frames."""

from __future__ import annotations

import asyncio
from collections import deque

from headset.rooms.relay_frame import BULK, CODE, LARGEST_MESSAGE, SOUND, Frame, pack_down

# How many frames wait at most; beyond, the oldest goes.
MOST_CONTROL = 256
MOST_CODES = 3
"""From each sender: 100 ms. Packets predict from the one before, so none is left out without need;
the newest always goes out."""
MOST_SOUND = 8
"""From each sender: 160 ms. Older sound would only be late."""
MOST_BULK = 32
"""From all senders: half a MiB."""


class RelayOutbox:
    """Of one client. The newest codes of each sender win; control goes first, bulk last."""

    def __init__(self) -> None:
        self._control: deque[bytes] = deque(maxlen=MOST_CONTROL)
        self._sounds: dict[int, deque[bytes]] = {}
        self._codes: dict[int, deque[bytes]] = {}
        self._bulk: deque[bytes] = deque(maxlen=MOST_BULK)
        self._waiting = asyncio.Event()
        self._closed = False
        self.dropped = 0
        """Frames that the client was too slow for."""

    def put(self, frame: Frame) -> None:
        """Never waits."""
        self.put_packed(frame.kind, frame.member, pack_down(frame))

    def put_packed(self, kind: int, member: int, packed: bytes) -> None:
        """The same for a frame that is packed once for many clients."""
        if kind == CODE:
            lane = _lane(self._codes, member, MOST_CODES)
        elif kind == SOUND:
            lane = _lane(self._sounds, member, MOST_SOUND)
        elif kind == BULK:
            lane = self._bulk
        else:
            lane = self._control
        self.dropped += len(lane) == lane.maxlen
        lane.append(packed)
        self._waiting.set()

    def forget(self, member: int) -> None:
        """That sender left: what of its sound and codes still waits is nobody's any more."""
        self._sounds.pop(member, None)
        self._codes.pop(member, None)

    def close(self) -> None:
        """`take` gives None once all is taken."""
        self._closed = True
        self._waiting.set()

    async def wait(self) -> bool:
        """Until there is something to take; False when nothing will come any more."""
        await self._waiting.wait()
        return not self._closed

    def take(self) -> bytes:
        """One message of what waits, at most LARGEST_MESSAGE bytes; b"" when nothing does."""
        parts, size = [], 0
        live = (*self._sounds.values(), *self._codes.values())
        for lane in (self._control, *live):
            while lane and size < LARGEST_MESSAGE // 2:
                parts.append(lane.popleft())
                size += len(parts[-1])
        # Little bulk at a time, so that what comes meanwhile need not wait long.
        if self._bulk and size < LARGEST_MESSAGE // 2:
            parts.append(self._bulk.popleft())
        if not (self._control or self._bulk or any(live)):
            self._waiting.clear()
        return b"".join(parts)


def _lane(lanes: dict[int, deque[bytes]], member: int, length: int) -> deque[bytes]:
    lane = lanes.get(member)
    if lane is None:
        lane = lanes[member] = deque(maxlen=length)
    return lane
