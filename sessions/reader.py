"""Reading a session: in order, from any moment, or one record at a moment.

Order is by the records' time, then by seam (`SEAMS`), then by their order in the file: the same for
every reading, wherever it starts. Pictures are decoded as they are asked for; to reach one in the
middle, decoding starts at the key picture before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sessions.chunk_reader import ChunkReader
from sessions.message_schema import VIDEO
from sessions.message_search import MessageSearch
from sessions.picture_track import KEPT_DECODED, PictureTrack, is_lossless
from sessions.record_messages import (
    audio_of,
    code_of,
    headset_of,
    mark_of,
    panel_of,
    parsed,
    rgba_of,
    state_of,
    view_of,
)
from sessions.record_scan import RawMessage
from sessions.seams import (
    HEADER_TOPIC,
    SEAMS,
    Record,
    SessionChannel,
    schema_name,
    session_channel,
)
from sessions.session_error import SessionError
from sessions.session_header import SessionHeader, header_of
from streams.closing import Closing
from streams.frame import Frame
from streams.shown_panels import ShownPanels

_PICTURE_BYTES = 256 << 20
"""Of panels, unpacked, that are kept; one record may show no more."""
_RANKS = {seam: rank for rank, seam in enumerate(SEAMS)}


@dataclass(frozen=True, slots=True, eq=False)
class SessionRecord:
    """A record of a session, and what the file says beside it."""

    seam: str
    source: str
    t_ns: int
    written_ns: int
    """When it reached the recorder, monotonic nanoseconds: the later the seam, the later."""
    record: Record


class SessionReader(Closing):
    """An open session.

    Raises SessionError when it is none, CutSessionError when it was not closed or is damaged,
    LockedSessionError when it is sealed and `secret` does not open it.
    """

    def __init__(self, path: Path, secret: bytes | None = None) -> None:
        self.path = path
        self._secret = secret
        self._file = ChunkReader(path, secret)
        try:
            self.channels = self._known_channels()
            self._by_number = {channel.number: channel for channel in self.channels}
            ranks = {c.number: _RANKS[c.seam] for c in self.channels if c.seam in _RANKS}
            self._search = MessageSearch(self._file, ranks)
            self.header = self._read_header()
            self.undecodable = 0
            """Pictures that could not be decoded because what they build on is missing."""
            self._panel_pictures: dict[str, npt.NDArray[np.uint8]] = {}
            self._own_span: tuple[int, int] | None = None
            self._tracks: dict[int, PictureTrack] = {}
        except BaseException:
            self._file.close()
            raise

    def opened_again(self) -> SessionReader:
        """A reader of its own for the same file, for another thread. Raises SessionError."""
        return SessionReader(self.path, self._secret)

    @property
    def sealed(self) -> bool:
        """Whether a secret was needed to open it."""
        return self._file.sealed

    @property
    def size(self) -> int:
        """Of the file, bytes."""
        return self._file.size

    @property
    def seams(self) -> tuple[str, ...]:
        """Those of which there are records, in the order of SEAMS."""
        present = {channel.seam for channel in self.channels if channel.count}
        return tuple(seam for seam in SEAMS if seam in present)

    @property
    def start_ns(self) -> int:
        """Time of the first record, nanoseconds."""
        return self._span[0]

    @property
    def end_ns(self) -> int:
        """Time of the last record, nanoseconds."""
        return self._span[1]

    @property
    def lost(self) -> dict[str, int]:
        """Records that the recorder had no time for, by seam, as the file itself says."""
        state = self._newest_state()
        return {} if state is None else {entry.key: entry.number for entry in state.lost}

    def sources(self, seam: str) -> tuple[str, ...]:
        """Names of the sources at a seam, each once."""
        return tuple(
            dict.fromkeys(channel.source for channel in self.channels if channel.seam == seam)
        )

    def read(
        self,
        seams: Sequence[str] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
        sources: Sequence[str] | None = None,
    ) -> Iterator[SessionRecord]:
        """Every record at these seams (default: all) from `start_ns` up to and without `end_ns`.

        Raises ValueError for a seam that does not exist, SessionError when the file is damaged.
        """
        chosen = self._chosen(seams, sources)
        if not chosen:
            return
        first_ns = start_ns
        tracks: dict[int, PictureTrack] = {}
        for channel in chosen:
            if channel.seam == "frames":
                tracks[channel.number] = self._track(channel)
                if start_ns is not None:
                    key_ns = self._key_before(channel.number, start_ns)
                    first_ns = min(start_ns if first_ns is None else first_ns, key_ns)
        for raw in self._search.ordered({channel.number for channel in chosen}, first_ns, end_ns):
            channel = self._by_number[raw.channel]
            wanted = start_ns is None or raw.log_ns >= start_ns
            if channel.seam != "frames" and not wanted:
                continue
            record = self._record(raw, channel, tracks.get(raw.channel), wanted)
            if record is not None and wanted:
                yield SessionRecord(
                    channel.seam, channel.source, raw.log_ns, raw.publish_ns, record
                )

    def at(self, seam: str, t_ns: int, source: str | None = None) -> SessionRecord | None:
        """The newest record at that seam that is not after `t_ns`; None when there is none."""
        chosen = self._chosen((seam,), None if source is None else (source,))
        found = self._search.newest({channel.number for channel in chosen}, t_ns)
        if found is None:
            return None
        channel = self._by_number[found.channel]
        if seam == "frames":
            record = self._frame_at(channel, found)
        else:
            record = self._record(found, channel, None, True)
        if record is None:
            return None
        return SessionRecord(seam, channel.source, found.log_ns, found.publish_ns, record)

    def times(
        self, seam: str, source: str | None = None, limit: int | None = None
    ) -> npt.NDArray[np.int64]:
        """(N,) int64, the times of all records at a seam, or of about the first `limit`, rising:
        from the index, nothing is unpacked or decoded."""
        numbers = {c.number for c in self._chosen((seam,), None if source is None else (source,))}
        return np.array(self._search.times(numbers, limit), np.int64)

    def messages(self, seams: Sequence[str] | None = None) -> Iterator[RawMessage]:
        """Every message at these seams as its bytes, in the order of `read`."""
        yield from self._search.ordered({c.number for c in self._chosen(seams, None)}, None, None)

    def lossless(self, source: str) -> bool:
        """Whether the first picture of this source, and so every one, is stored bit for bit."""
        numbers = {channel.number for channel in self._chosen(("frames",), (source,))}
        for raw in self._search.ordered(numbers, None, None):
            return is_lossless(self._checked(lambda raw=raw: parsed(VIDEO, raw.data).data, raw))
        return False

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def _span(self) -> tuple[int, int]:
        if self._own_span is None:
            own = {channel.number for channel in self.channels if channel.seam in SEAMS}
            found = self._search.span(own)
            self._own_span = (self.header.t_ns, self.header.t_ns) if found is None else found
        return self._own_span

    def _key_before(self, number: int, t_ns: int) -> int:
        def is_key(raw: RawMessage) -> bool:
            return self._checked(lambda: bool(parsed(VIDEO, raw.data).key), raw)

        return self._search.key_before(number, t_ns, is_key)

    def _known_channels(self) -> tuple[SessionChannel, ...]:
        known: list[SessionChannel] = []
        for number, channel in sorted(self._file.channels.items()):
            schema = self._file.schemas.get(channel.schema_id)
            try:
                found = session_channel(
                    channel, "" if schema is None else schema.name, self._file.counts.get(number, 0)
                )
            except ValueError as error:
                raise SessionError(f"{self.path}: {error}") from error
            if found is not None:
                known.append(found)
        if not any(channel.topic == HEADER_TOPIC for channel in known):
            raise SessionError(
                f"{self.path}: is an MCAP file, but no session of Visavis (it has no header)"
            )
        return tuple(known)

    def _read_header(self) -> SessionHeader:
        numbers = {channel.number for channel in self.channels if channel.seam == "header"}
        for chunk in sorted(self._file.chunks, key=lambda chunk: chunk.chunk_start_offset):
            if numbers & set(chunk.message_index_offsets):
                for raw in self._file.messages(chunk, numbers):
                    return self._checked(
                        lambda raw=raw: header_of(parsed(schema_name("header"), raw.data)), raw
                    )
        raise SessionError(f"{self.path}: has lost its header; `visavis repair` it")

    def _newest_state(self) -> Any:
        numbers = {channel.number for channel in self.channels if channel.seam == "session"}
        raw = self._search.newest(numbers, 2**63 - 1)
        if raw is None:
            return None
        return self._checked(lambda: parsed(schema_name("session"), raw.data), raw)

    def _chosen(
        self, seams: Sequence[str] | None, sources: Sequence[str] | None
    ) -> list[SessionChannel]:
        for seam in seams or ():
            if seam not in SEAMS:
                raise ValueError(f"seam {seam!r}: expected one of {', '.join(SEAMS)}")
        return [
            channel
            for channel in self.channels
            if channel.seam in (SEAMS if seams is None else seams)
            and (sources is None or channel.source in sources)
        ]

    def _frame_at(self, channel: SessionChannel, found: RawMessage) -> Frame | None:
        """One picture. The track remembers where it stands, so that a step onwards decodes one
        picture, and what it decoded since the last key pictures, so that a step back decodes none.
        """
        track = self._tracks.get(channel.number)
        if track is not None:
            kept = track.kept_frame(found.log_ns)
            if kept is not None:
                return kept
        key_ns = self._key_before(channel.number, found.log_ns)
        if track is None:
            track = self._tracks[channel.number] = self._track(channel, KEPT_DECODED)
        onwards = key_ns <= track.stands_ns < found.log_ns
        start_ns = track.stands_ns + 1 if onwards else key_ns
        for raw in self._search.ordered({channel.number}, start_ns, found.log_ns + 1):
            self._record(raw, channel, track, False)
        frame = track.kept_frame(found.log_ns)
        if frame is None:
            self.undecodable += 1
        return frame

    def _track(self, channel: SessionChannel, keep: int = 0) -> PictureTrack:
        try:
            return PictureTrack(channel, keep)
        except ValueError as error:
            raise SessionError(f"{self.path}: {channel.topic} cannot be read ({error})") from error

    def _record(
        self,
        raw: RawMessage,
        channel: SessionChannel,
        track: PictureTrack | None,
        wanted: bool,
    ) -> Record | None:
        return self._checked(lambda: self._record_of(raw, channel, track, wanted), raw)

    def _record_of(
        self,
        raw: RawMessage,
        channel: SessionChannel,
        track: PictureTrack | None,
        wanted: bool,
    ) -> Record | None:
        message = parsed(channel.schema, raw.data)
        seam = channel.seam
        record: Record | None
        if seam == "frames":
            if track is None:
                raise ValueError("frames: expected a track to decode on")
            if message.t_ns != raw.log_ns:
                raise ValueError(f"{channel.topic}: one of {message.t_ns} lies at {raw.log_ns}")
            record = track.frame(message, wanted)
            if record is None and wanted:
                self.undecodable += 1
            return record
        elif seam == "state":
            record = state_of(message)
        elif seam == "code":
            record = code_of(message)
        elif seam == "audio":
            record = audio_of(message, channel.source)
        elif seam == "headset":
            record = headset_of(message)
        elif seam == "views":
            record = view_of(message)
        elif seam == "panels":
            record = self._panels_of(message)
        else:
            record = mark_of(message)
        if record.t_ns != raw.log_ns:
            raise ValueError(f"{channel.topic}: a record of {record.t_ns} lies at {raw.log_ns}")
        return record

    def _panels_of(self, message: Any) -> ShownPanels:
        pictures: dict[str, npt.NDArray[np.uint8]] = {}
        for panel in message.panels:
            pictures[panel.picture] = self._picture_of(panel)
            if sum(picture.nbytes for picture in pictures.values()) > _PICTURE_BYTES:
                raise ValueError(f"panels: their pictures have more than {_PICTURE_BYTES} bytes")
        panels = (panel_of(panel, pictures[panel.picture]) for panel in message.panels)
        return ShownPanels(message.t_ns, tuple(panels))

    def _picture_of(self, panel: Any) -> npt.NDArray[np.uint8]:
        picture = self._panel_pictures.get(panel.picture)
        if picture is None:
            png = panel.png or self._stored_png(panel.picture, panel.picture_ns)
            picture = rgba_of(png)
            kept = self._panel_pictures
            while kept and sum(p.nbytes for p in kept.values()) + picture.nbytes > _PICTURE_BYTES:
                kept.pop(next(iter(kept)))
            kept[panel.picture] = picture
        return picture

    def _stored_png(self, key: str, t_ns: int) -> bytes:
        numbers = {channel.number for channel in self.channels if channel.seam == "panels"}
        for raw in self._search.ordered(numbers, t_ns, t_ns + 1):
            for panel in parsed(schema_name("panels"), raw.data).panels:
                if panel.picture == key and panel.png:
                    return panel.png
        raise ValueError(f"panels: expected a picture at {t_ns} ns, it is missing")

    def _checked(self, make: Any, raw: RawMessage) -> Any:
        try:
            return make()
        except (ValueError, OverflowError) as error:
            raise SessionError(
                f"{self.path}: a record at {raw.log_ns / 1e9:.3f} s is damaged ({error})"
            ) from error
