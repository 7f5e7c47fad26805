"""When what somebody said and did is shown: sound and codes of one moment at one moment.

Both carry the time of what was observed. They take the network's and the tracker's time to come,
one more, one less; so both are held back to the same delay behind the observation: the smallest at
which nearly all of both are there. People notice lips apart from voice from about 45 ms on (ITU-R
BT.1359-1: detectable when sound leads by 45 ms or lags by 125 ms).
"""

from __future__ import annotations

import math
import threading
from collections import deque

import numpy as np
import numpy.typing as npt

from headset.rooms.opus_sound import FRAME, RATE, OpusDecoder
from headset.rooms.room_message import SoundPacket

Int16 = npt.NDArray[np.int16]

FRAME_NS = FRAME * 1_000_000_000 // RATE
PAUSE_NS = 5_000_000
"""Silence that is put in at a time while nothing comes."""


LEAST_MS, LARGEST_MS = 40.0, 400.0
"""How long things wait. Codes later than that are shown late, rather than that a talk becomes
impossible."""
IN_TIME = 0.97
"""Share of the moments that are to be there in time."""
MARGIN_MS = 10.0
WINDOW = 150
"""Arrivals of each kind that are remembered: 3 s of sound, 5 s of codes."""
FALL_MS_S = 20.0
"""How fast the delay shrinks when the network gets better; it grows at once."""


class PlayoutDelay:
    """How far behind the observation one person is shown. Thread-safe."""

    def __init__(self) -> None:
        self._ages: dict[str, deque[float]] = {}
        self._delay_ms, self._at_ns = LEAST_MS, 0
        self._lock = threading.Lock()

    def arrived(self, kind: str, t_ns: int, now_ns: int) -> None:
        """Something of that kind ("sound", "code") observed at `t_ns` (our clock) came now."""
        with self._lock:
            ages = self._ages.get(kind)
            if ages is None:
                ages = self._ages[kind] = deque(maxlen=WINDOW)
            ages.append((now_ns - t_ns) / 1e6)

    def delay_ns(self, now_ns: int) -> int:
        """Now."""
        with self._lock:
            wanted = max((_quantile(ages, IN_TIME) for ages in self._ages.values()), default=0.0)
            wanted = min(max(wanted + MARGIN_MS, LEAST_MS), LARGEST_MS)
            fallen = self._delay_ms - FALL_MS_S * max(0, now_ns - self._at_ns) * 1e-9
            self._delay_ms, self._at_ns = max(wanted, fallen), now_ns
            return round(1e6 * self._delay_ms)


def _quantile(ages: deque[float], share: float) -> float:
    ordered = sorted(ages)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)))]


class SoundPlayout:
    """One person's sound as one line of samples: a jitter buffer. Thread-safe.

    Network: `put`. Loudspeaker: `take`, which never waits. Between them packets lie by number and
    are decoded when they are due, so that one may still come until then.
    """

    EARLY_NS, LATE_NS = 20_000_000, 30_000_000
    """How far the line may be from where it should be while somebody speaks; in a pause a fifth."""
    QUIET = 100.0
    """RMS of 16-bit samples below which nobody hears a cut."""
    NOTICED_NS = 45_000_000
    """Later than that against the lips nothing is heard."""
    MOST_WAITING = 64

    def __init__(self, delay: PlayoutDelay) -> None:
        self.delay = delay
        self._decoder = OpusDecoder()
        self._packets: dict[int, tuple[int, SoundPacket]] = {}
        self._next: int | None = None
        self._line = np.zeros(0, np.int16)
        self._line_ns = 0
        """Time of the first sample of `_line`, our clock."""
        self._quiet = True
        self._counted = (0, 0)
        self._lock = threading.Lock()
        self.played = self.mended = self.concealed = self.late = self.cuts = 0
        """Packets: played in time, taken from the one after, missing, too late; and how often the
        line was cut or stretched to keep to the lips."""
        self.apart_ns = 0
        """How far what was last taken is from where it should be: positive, sound is late."""

    def put(self, packet: SoundPacket, t_ns: int, now_ns: int) -> None:
        """A packet whose first sample was taken at `t_ns` by our clock."""
        self.delay.arrived("sound", t_ns, now_ns)
        with self._lock:
            if self._next is not None and packet.number < self._next:
                self.late += 1
                if self._next - packet.number < 1000:
                    return
                self._begin_anew()  # its writer counts from 0 again
            self._packets[packet.number] = (t_ns, packet)
            while len(self._packets) > self.MOST_WAITING:
                del self._packets[min(self._packets)]

    @property
    def lost_share(self) -> float:
        """0..1 of what should have been heard until now, and was not."""
        lost = self.concealed + self.late
        total = self.played + self.mended + lost
        return lost / total if total else 0.0

    def recent_loss(self) -> float:
        """0..1 of what was lost on its way since the last call, mended or not."""
        lost, heard = self.concealed + self.late + self.mended, self.played
        before, self._counted = self._counted, (lost, heard)
        lost, heard = lost - before[0], heard - before[1]
        return lost / (lost + heard) if lost + heard else 0.0

    def take(self, count: int, heard_ns: int) -> Int16:
        """(count,) int16 at RATE: what leaves the loudspeaker from `heard_ns` (our clock) on."""
        content_ns = heard_ns - self.delay.delay_ns(heard_ns)
        parts: list[Int16] = []
        left = count
        with self._lock:
            while left > 0:
                at_ns = content_ns + (count - left) * 1_000_000_000 // RATE
                if at_ns - self._line_ns > self.NOTICED_NS:
                    self._line = self._line[:0]  # nobody took it in time
                if not len(self._line):
                    self._fill(at_ns)
                if not len(self._line):  # nobody speaks
                    parts.append(np.zeros(left, np.int16))
                    break
                self.apart_ns = at_ns - self._line_ns
                part = self._line[:left]
                parts.append(part)
                self._line = self._line[len(part) :]
                self._line_ns += len(part) * 1_000_000_000 // RATE
                left -= len(part)
        return np.concatenate(parts)

    def _fill(self, at_ns: int) -> None:
        """Put the next 20 ms on the empty line, or as much silence as keeps it in time."""
        if self._next is None:
            if not self._packets:
                return
            # Of what piled up while nobody listened only what is still in time is heard.
            for number in sorted(self._packets)[:-1]:
                if at_ns - self._packets[number][0] > self.LATE_NS:
                    del self._packets[number]
            self._next = min(self._packets)
        tolerance = 5 if self._quiet else 1
        while self._packets:
            first = min(self._packets)
            missing = first - self._next
            t_ns = self._packets[first][0] - missing * FRAME_NS
            if at_ns - t_ns <= self.LATE_NS // tolerance:
                break
            # Too late: what is left out brings the rest back in time.
            self.cuts += 1
            if missing:
                behind = -(-(at_ns - t_ns) // FRAME_NS)
                self._next += min(missing, behind)
                self.concealed += min(missing, behind)
            elif len(self._packets) > 1:
                self._decoder.decode(self._packets.pop(first)[1].packet)
                self._next, self.late = first + 1, self.late + 1
            elif at_ns - t_ns <= self.NOTICED_NS:
                break  # there is nothing better
            else:
                del self._packets[first]
                self._next, self.late = first + 1, self.late + 1
        else:
            # Nothing is known of what comes: a pause of the network or of the speaker.
            self._silence(PAUSE_NS, at_ns)
            return
        if t_ns - at_ns > self.EARLY_NS // tolerance:
            self.cuts += 1
            self._silence(min(t_ns - at_ns, FRAME_NS), at_ns)
            return
        self._put_on_line(self._next, t_ns)
        self._next += 1

    def _put_on_line(self, number: int, t_ns: int) -> None:
        due, following = self._packets.pop(number, None), self._packets.get(number + 1)
        if due is not None:
            self.played += 1
            samples = self._decoder.decode(due[1].packet)
        elif following is not None and following[1].before:
            self.mended += 1
            samples = self._decoder.decode(following[1].before)
        else:
            self.concealed += 1
            samples = self._decoder.lost()
        self._quiet = float(np.sqrt(np.mean(samples.astype(np.float32) ** 2))) < self.QUIET
        self._line, self._line_ns = samples, t_ns

    def _silence(self, lasting_ns: int, at_ns: int) -> None:
        samples = max(1, lasting_ns * RATE // 1_000_000_000)
        faded = self._decoder.lost()[:samples]
        self._line = np.concatenate([faded, np.zeros(samples - len(faded), np.int16)])
        self._line_ns, self._quiet = at_ns, True

    def _begin_anew(self) -> None:
        self._packets.clear()
        self._next, self._line = None, np.zeros(0, np.int16)
        self._decoder, self._quiet = OpusDecoder(), True
