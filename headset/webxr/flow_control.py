"""How much is sent to one page: the newest frame only, and never more than the link takes.

A frame is in flight from when it is sent until the page says that it, or a later one, is displayed.
At most `Options.window` are; when there are as many, frames are left out, so that nothing queues.
How much longer acknowledgements take than the quickest echo says how congested the link is: what
frames wait for each other. By that the bit rate and size of textures go down a ladder, and up
again, with a pause that doubles each time that a step up was taken back. No clock is read here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from headset.webxr.client_messages import Capability, Payload

MS = 1_000_000
SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the ladder."""

    size: int
    """Of a texture's side, pixels."""
    bits_s: int
    """Of the texture's video."""


LADDER = (
    Rung(1024, 6_000_000),
    Rung(1024, 4_000_000),
    Rung(1024, 2_000_000),
    Rung(512, 2_000_000),
    Rung(512, 1_000_000),
    Rung(512, 500_000),
    Rung(256, 250_000),
)
"""From the best link to the worst."""


@dataclass(frozen=True, slots=True)
class FlowOptions:
    """When to step where."""

    window: int = 3
    congested_ns: int = 90 * MS
    """Acknowledgements that take so much longer than the quickest round trip are late; below two
    thirds of it the link is free."""
    late_acks: int = 3
    """So many late ones in a row are a step down."""
    stalled_ns: int = 400 * MS
    """A frame that is not acknowledged by then is a step down at once."""
    lost_ns: int = 200 * MS
    """A datagram that is not acknowledged by then is lost."""
    rest_ns: int = 500 * MS
    """Between steps down: the last one must show first."""
    raise_ns: int = 3 * SECOND
    """Free for so long: a step up."""
    most_raise_ns: int = 48 * SECOND
    taken_back_ns: int = 4 * SECOND
    """A step down so soon after a step up doubles the wait for the next one."""
    memory_ns: int = 60 * SECOND
    """How far back the quickest round trip is looked for."""
    silent_ns: int = 5 * SECOND
    """A page that displays nothing for so long is hidden, not congested: no step down."""


class FlowControl:
    """One page's. Times are nanoseconds of one clock, and never go back."""

    def __init__(self, options: FlowOptions | None = None, rung: int = 1) -> None:
        self.options = options or FlowOptions()
        self.rung = rung
        self.key_needed = True
        """The next frame must be one that needs nothing before it."""
        self.frozen = False
        """No step up: what is sent now says nothing of larger frames."""
        self._in_flight: deque[tuple[int, int, bool]] = deque()  # id, sent, lossy
        self._trips: deque[tuple[int, int]] = deque()
        self._delay = 0
        self._late = 0
        self._moved_ns = self._raised_ns = self._free_since_ns = -(10**18)
        self._raise_wait_ns = self.options.raise_ns
        self._bottom_since_ns: int | None = None

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def step(self) -> Rung:
        return LADDER[self.rung]

    def may_send(self, now_ns: int) -> bool:
        """Whether a frame may go out now. Steps down when the oldest one is overdue."""
        while self._in_flight:
            _, sent_ns, lossy = self._in_flight[0]
            if not lossy or now_ns - sent_ns < self.options.lost_ns:
                break
            self._in_flight.popleft()
        if self._in_flight:
            waited = now_ns - self._in_flight[0][1]
            if self.options.stalled_ns < waited < self.options.silent_ns:
                self._step_down(now_ns)
        return len(self._in_flight) < self.options.window

    def sent(self, frame_id: int, now_ns: int, key: bool = False, lossy: bool = False) -> None:
        """A frame went out; a `lossy` one that nobody acknowledges in `lost_ns` never arrived.

        Raises ValueError when there was no room for it.
        """
        if len(self._in_flight) >= self.options.window:
            raise ValueError(f"FlowControl.sent: {self.options.window} frames are in flight")
        self._in_flight.append((frame_id, now_ns, lossy))
        if key:
            self.key_needed = False

    def displayed(self, frame_id: int, now_ns: int) -> int | None:
        """The page shows that frame: it and all before are no longer in flight. Returns how long it
        took, or None for a frame that is not in flight."""
        delay = None
        while self._in_flight and self._in_flight[0][0] <= frame_id:
            sent_id, sent_ns, _ = self._in_flight.popleft()
            if sent_id == frame_id:
                delay = now_ns - sent_ns
        if delay is not None:
            self._judge(delay, now_ns)
        return delay

    def need_key(self, received: int) -> None:
        """The page lost its way; what it received up to that frame is no longer in flight."""
        self.key_needed = True
        while self._in_flight and self._in_flight[0][0] <= received:
            self._in_flight.popleft()

    def round_trip(self, trip_ns: int, now_ns: int) -> None:
        """A small message went there and back in so long."""
        # What came before a quicker one will never be the quickest again.
        while self._trips and self._trips[-1][1] >= trip_ns:
            self._trips.pop()
        self._trips.append((now_ns, trip_ns))
        while self._trips[0][0] < now_ns - self.options.memory_ns:
            self._trips.popleft()

    @property
    def congestion_ns(self) -> int:
        """By how much the last acknowledgement was slower than the quickest round trip lately."""
        return self._delay - self._trips[0][1] if self._trips else 0

    def starved(self, now_ns: int, for_ns: int = 2 * SECOND) -> bool:
        """Congested on the lowest rung for so long: geometry does not fit."""
        since = self._bottom_since_ns
        return since is not None and now_ns - since >= for_ns

    def _judge(self, delay: int, now_ns: int) -> None:
        options = self.options
        self.round_trip(delay, now_ns)
        self._delay = delay
        over = self.congestion_ns
        self._late = self._late + 1 if over > options.congested_ns else 0
        if over >= 2 * options.congested_ns // 3:
            self._free_since_ns = now_ns
        else:
            self._bottom_since_ns = None
        if self._late >= options.late_acks:
            self._step_down(now_ns)
        elif now_ns - max(self._free_since_ns, self._moved_ns) >= self._raise_wait_ns:
            self._step_up(now_ns)

    def _step_down(self, now_ns: int) -> None:
        if now_ns - self._moved_ns < self.options.rest_ns:
            return
        self._late = 0
        self._free_since_ns = now_ns
        if self.rung == len(LADDER) - 1:
            self._bottom_since_ns = self._bottom_since_ns or now_ns
            return
        if now_ns - self._raised_ns < self.options.taken_back_ns:
            self._raise_wait_ns = min(2 * self._raise_wait_ns, self.options.most_raise_ns)
        self.rung += 1
        self._moved_ns = now_ns

    def _step_up(self, now_ns: int) -> None:
        if now_ns - self._raised_ns > self.options.memory_ns:
            self._raise_wait_ns = self.options.raise_ns  # the last one held
        if self.rung == 0 or self.frozen:
            return
        self.rung -= 1
        self._moved_ns = self._raised_ns = now_ns


@dataclass(frozen=True, slots=True)
class Sources:
    """What there is to send of one person."""

    mesh: bool = False
    code: bool = False
    video: bool = False


class PayloadChoice:
    """Which payload a page gets, by what it can do, what there is, and how the link is.

    A starved link gets codes, where there are any; after `retry_ns` geometry is tried again, each
    time that fails after twice the wait.
    """

    def __init__(self, retry_ns: int = 15 * SECOND) -> None:
        self._retry_ns = retry_ns
        self._fallen_ns: int | None = None

    def choose(
        self, can: Capability, sources: Sources, wish: Payload, starved: bool, now_ns: int
    ) -> Payload | None:
        """None when nothing that there is can be shown."""
        possible = [
            payload
            for payload, there in (
                (Payload.GEOMETRY, sources.mesh and Capability.GEOMETRY in can),
                (Payload.CODE, sources.code and Capability.CODE in can),
                (Payload.VIDEO, sources.video and Capability.VIDEO in can),
            )
            if there
        ]
        if wish in possible:
            return wish
        if not possible:
            return None
        if Payload.GEOMETRY in possible and Payload.CODE in possible:
            return self._between(starved, now_ns)
        return possible[0]

    def _between(self, starved: bool, now_ns: int) -> Payload:
        # A doubled wait is kept when geometry holds again: links that fell fall again.
        if self._fallen_ns is not None and now_ns - self._fallen_ns >= self._retry_ns:
            self._fallen_ns, self._retry_ns = None, 2 * self._retry_ns
        elif starved and self._fallen_ns is None:
            self._fallen_ns = now_ns
        return Payload.GEOMETRY if self._fallen_ns is None else Payload.CODE
