"""What a session holds, measured without decoding it: streams, rates, gaps, sizes, latency."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sessions.message_schema import VIDEO
from sessions.reader import SessionReader
from sessions.record_messages import parsed
from sessions.seams import SEAMS, SessionChannel
from sessions.session_header import SessionHeader

Int64 = npt.NDArray[np.int64]

GAP_STEPS = 1.5
"""A step this many times as long as the middle one is a gap: at least one record is missing."""
LONGEST_LATENCY_NS = 60_000_000_000
"""A live source's record comes to the recorder within it; beyond, the clocks are different ones."""
STEADY_SEAMS = ("frames", "headset", "state", "code", "views", "audio")
"""Those that come at a rate; panels and marks come when something happens."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A moment without records."""

    t_ns: int
    """Of the last record before it."""
    length_ns: int
    missing: int
    """About how many records are missing."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long after the observation records of a seam reached the recorder."""

    seam: str
    after: str
    """"the observation", or the seam after whose record of the same time it is counted."""
    count: int
    median_ms: float
    p95_ms: float
    largest_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class StreamSurvey:
    """One channel."""

    topic: str
    seam: str
    source: str
    count: int
    sizes: Int64
    """(N,) bytes of its messages, before the file packs them."""
    times: Int64
    """(N,) nanoseconds, rising."""
    written: Int64
    """(N,) nanoseconds, when each reached the recorder."""
    rate: float
    """Records a second, from the middle step; 0 for fewer than two."""
    gaps: tuple[Gap, ...] = ()
    undecodable: int = 0
    """Pictures that build on a missing one."""
    key_pictures: int = 0
    lossless: bool | None = None
    size: tuple[int, int] | None = None
    """(width, height) of pictures."""

    @property
    def seconds(self) -> float:
        """From the first record to the last."""
        return float(self.times[-1] - self.times[0]) / 1e9 if len(self.times) else 0.0

    @property
    def bytes(self) -> int:
        """Of all its messages."""
        return int(self.sizes.sum())

    @property
    def kbit_s(self) -> float:
        """Kilobits for each second that the stream lasts; 0 for a single record."""
        return self.bytes * 8 / 1000 / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class SessionSurvey:
    """The whole file."""

    path: str
    size: int
    sealed: bool
    header: SessionHeader
    start_ns: int
    end_ns: int
    streams: tuple[StreamSurvey, ...]
    lost: dict[str, int]
    """Records that the recorder had no time for, by seam."""
    live: bool
    """Whether times and the recorder's clock are the same, so that latencies count from the
    observation."""
    latencies: tuple[Latency, ...] = field(default_factory=tuple)

    @property
    def seconds(self) -> float:
        """From the first record to the last."""
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def unix_ns(self) -> int:
        """When the recording began, nanoseconds since 1970."""
        header = self.header
        return header.unix_ns + (self.start_ns - header.t_ns if self.live else 0)

    def as_json(self) -> dict[str, Any]:
        """Everything but the times of single records, for programs."""
        header = self.header
        return {
            "path": self.path,
            "bytes": self.size,
            "sealed": self.sealed,
            "live": self.live,
            "seconds": self.seconds,
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "unix_ns": self.unix_ns,
            "software": header.software,
            "source": header.source,
            "avatar": header.avatar,
            "consent": header.consent,
            "models": header.models,
            "notes": header.notes,
            "cameras": [{"name": c.name, "size": list(c.size)} for c in header.cameras],
            "lost": self.lost,
            "streams": [
                {
                    "topic": s.topic, "seam": s.seam, "source": s.source, "count": s.count,
                    "bytes": s.bytes, "kbit_s": s.kbit_s, "seconds": s.seconds, "rate": s.rate,
                    "gaps": [
                        {"t_ns": g.t_ns, "length_ns": g.length_ns, "missing": g.missing}
                        for g in s.gaps
                    ],
                    "undecodable": s.undecodable, "key_pictures": s.key_pictures,
                    "lossless": s.lossless, "size": s.size,
                }
                for s in self.streams
            ],
            "latencies": [
                {
                    "seam": x.seam, "after": x.after, "count": x.count,
                    "median_ms": x.median_ms, "p95_ms": x.p95_ms, "largest_ms": x.largest_ms,
                }
                for x in self.latencies
            ],
        }  # fmt: skip


def survey_session(session: SessionReader) -> SessionSurvey:
    """Read every message of a session once; only the numbers before a picture's bytes are parsed.

    Raises SessionError when the file is damaged.
    """
    tapes = {c.number: _Tape(c) for c in session.channels if c.seam in SEAMS}
    for raw in session.messages():
        tapes[raw.channel].add(raw.log_ns, raw.publish_ns, raw.data)
    streams = tuple(
        tape.survey(session) for tape in sorted(tapes.values(), key=_Tape.order) if tape.times
    )
    live = _is_live(streams)
    return SessionSurvey(
        path=str(session.path),
        size=session.size,
        sealed=session.sealed,
        header=session.header,
        start_ns=session.start_ns,
        end_ns=session.end_ns,
        streams=streams,
        lost=session.lost,
        live=live,
        latencies=_latencies(streams, live),
    )


def latencies_of(stream: StreamSurvey, base: StreamSurvey | None) -> tuple[Int64, Int64]:
    """(N,) times and (N,) latencies, both nanoseconds: after the observation, or after the record
    of the same time in `base`."""
    if base is None:
        return stream.times, stream.written - stream.times
    times, mine, theirs = np.intersect1d(stream.times, base.times, return_indices=True)
    return times, stream.written[mine] - base.written[theirs]


def base_of(stream: StreamSurvey, streams: tuple[StreamSurvey, ...]) -> StreamSurvey | None:
    """The frames (or what comes first in the flow) that a stream's records derive from."""
    before = [s for s in streams if SEAMS.index(s.seam) < SEAMS.index(stream.seam)]
    flow = [s for s in before if s.seam in ("frames", "headset", "state")]
    return max(flow, key=lambda s: len(np.intersect1d(s.times, stream.times)), default=None)


class _Tape:
    """Collects one channel's messages."""

    def __init__(self, channel: SessionChannel) -> None:
        self._channel = channel
        self.times: list[int] = []
        self._written: list[int] = []
        self._sizes: list[int] = []
        self._undecodable = self._keys = 0
        self._next_packet: int | None = None

    def order(self) -> tuple[int, str]:
        """Streams are listed in the order of the flow."""
        return SEAMS.index(self._channel.seam), self._channel.topic

    def add(self, t_ns: int, written_ns: int, data: bytes) -> None:
        self.times.append(t_ns)
        self._written.append(written_ns)
        self._sizes.append(len(data))
        if self._channel.seam == "frames":
            self._follow(data)

    def _follow(self, data: bytes) -> None:
        """Count the pictures that a reader cannot decode; as `sessions.picture_track` does."""
        message = parsed(VIDEO, data)
        self._keys += message.key
        if not message.key and message.packet != self._next_packet:
            self._undecodable += 1
            self._next_packet = None
        else:
            self._next_packet = message.packet + 1

    def survey(self, session: SessionReader) -> StreamSurvey:
        channel, times = self._channel, np.array(self.times, np.int64)
        steps = np.diff(times)
        usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
        frames = channel.seam == "frames"
        return StreamSurvey(
            topic=channel.topic,
            seam=channel.seam,
            source=channel.source,
            count=len(times),
            sizes=np.array(self._sizes, np.int64),
            times=times,
            written=np.array(self._written, np.int64),
            rate=1e9 / usual if usual else 0.0,
            gaps=_gaps(times, usual) if channel.seam in STEADY_SEAMS else (),
            undecodable=self._undecodable,
            key_pictures=self._keys,
            lossless=session.lossless(channel.source) if frames else None,
            size=channel.camera.size if channel.camera is not None else None,
        )


def _gaps(times: Int64, usual_ns: float) -> tuple[Gap, ...]:
    if not usual_ns:
        return ()
    steps = np.diff(times)
    return tuple(
        Gap(int(times[k]), int(steps[k]), max(1, round(steps[k] / usual_ns) - 1))
        for k in np.flatnonzero(steps > GAP_STEPS * usual_ns)
    )


def _is_live(streams: tuple[StreamSurvey, ...]) -> bool:
    latencies = [s.written - s.times for s in streams if s.seam in ("frames", "headset", "state")]
    if not latencies:
        return False
    all_of_them = np.concatenate(latencies)
    middle = float(np.median(all_of_them))
    return 0 < middle < LONGEST_LATENCY_NS


def _latencies(streams: tuple[StreamSurvey, ...], live: bool) -> tuple[Latency, ...]:
    found: list[Latency] = []
    for stream in streams:
        if stream.seam in ("marks", "panels") or not (stream.written != stream.times).any():
            continue  # Of an import, whose writing says nothing.
        base = None if live else base_of(stream, streams)
        if not live and base is None:
            continue
        _, values = latencies_of(stream, base)
        if not len(values):
            continue
        ms = values / 1e6
        after = "the observation" if base is None else base.topic
        found.append(
            Latency(
                stream.topic,
                after,
                len(ms),
                float(np.median(ms)),
                float(np.percentile(ms, 95)),
                float(ms.max()),
            )
        )
    return tuple(found)
