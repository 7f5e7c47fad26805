"""Recording: records in, from any thread, an MCAP file out.

`write` only puts records into a bounded queue. A thread of its own encodes pictures, packs
messages and hands whole chunks to the operating system at least every 0.3 s: when the process
dies, what is lost is younger than a second. What finds no room in the queue is not recorded, is
counted by its seam in `lost`, and the file says so.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sessions.chunk_file import ChunkFile
from sessions.message_schema import VIDEO, message_class, schema_bytes
from sessions.picture_track import PictureEncoder, PictureOptions
from sessions.record_messages import (
    audio_message,
    camera_message,
    code_message,
    entries,
    headset_message,
    mark_message,
    packed,
    panel_message,
    picture_key,
    png_of,
    state_message,
    view_message,
)
from sessions.seams import (
    Record,
    channel_metadata,
    schema_name,
    seam_of,
    session_state,
    topic_of,
)
from sessions.session_error import SessionError
from sessions.session_header import SessionHeader, header_message
from streams.audio_block import AudioBlock
from streams.avatar_code import AvatarCode
from streams.camera import Camera
from streams.clock import now_ns
from streams.closing import Closing
from streams.frame import Frame
from streams.headset_sample import HeadsetSample
from streams.mark import Mark
from streams.panel import Panel
from streams.shown_panels import ShownPanels
from streams.tracked_state import TrackedState
from streams.view import View

STATE_NS = 1_000_000_000
"""A state record at least so often, in the records' time."""
PICTURE_AGAIN_NS = 10_000_000_000
"""A panel's picture that stays is stored again after so long, for files that lose their start."""
SMALL_RECORD = 16_384
"""Bytes that a record without pictures is taken to have, in the queue's account."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How a session is recorded."""

    pictures: PictureOptions = field(default_factory=PictureOptions)
    fps: float = 30.0
    """Frames a second that are expected, for the pictures' rate."""
    flush_s: float = 0.3
    """A chunk is handed to the operating system at least so often."""
    queue_bytes: int = 256 << 20
    """What may wait to be written."""
    wait_s: float = 0.0
    """How long `write` waits for room. 0: not at all; what has no room is counted as lost (live).
    More: raises TimeoutError after it, and loses nothing (files)."""
    stamped: bool = True
    """False: the moment of recording says nothing (an import); latencies are not shown then."""
    close_s: float = 120.0
    """How long `close` waits for what is still in the queue."""


class SessionWriter(Closing):
    """A session being recorded. Raises SessionError when the file cannot be made or written."""

    def __init__(
        self,
        path: Path,
        header: SessionHeader,
        options: SessionOptions | None = None,
        secret: bytes | None = None,
    ) -> None:
        self.path, self.header = path, header
        self.options = options or SessionOptions()
        self._file = ChunkFile(path, header.software or "visavis", secret)
        self._tape = _Tape(self._file, self.options)
        self._changed = threading.Condition()
        self._queue: deque[tuple[Record, str, str, int, int]] = deque()
        self._queued_bytes = 0
        self._lost: Counter[str] = Counter()
        self._saved: Counter[str] = Counter()
        self._frame_ns: dict[str, int] = {}
        self._failure: BaseException | None = None
        self._closing = self._closed = False
        try:
            self._tape.put_header(header)
            self._file.flush()
        except SessionError:
            self._file.abandon()
            raise
        self._thread = threading.Thread(target=self._run, name="visavis session", daemon=True)
        self._thread.start()

    def write(self, *records: Record) -> None:
        """Record these, whatever their order in time; from any thread, without waiting (live).

        Frames of one camera come with rising times, as their pictures build on one another.
        Raises ValueError for what no session can hold, SessionError when the file can no more be
        written: then nothing after `saved` is recorded.
        """
        for record in records:
            seam, source = seam_of(record)
            if record.t_ns < 0:
                raise ValueError(
                    f"session: expected times from 0 on, got {type(record).__name__} at "
                    f"{record.t_ns} ns; add an offset to all times of this source"
                )
            if isinstance(record, Frame):
                self._require_later(record)
            self._enqueue(record, seam, source, _bytes_of(record))

    @property
    def lost(self) -> dict[str, int]:
        """Records that found no room, by seam."""
        with self._changed:
            return dict(self._lost)

    @property
    def saved(self) -> dict[str, int]:
        """Records that a crash of this process cannot lose any more, by seam."""
        with self._changed:
            return dict(self._saved)

    @property
    def size(self) -> int:
        """Bytes of the file until now."""
        return self._file.saved

    def close(self) -> None:
        """Write what waits, and the index. May be called twice.

        Raises SessionError when the file could not take it all; what `saved` counts is in it.
        """
        if self._closed:
            return
        self._closed = True
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(self.options.close_s)
        if self._thread.is_alive():
            raise SessionError(
                f"{self.path}: the disk took nothing for {self.options.close_s:g} s; "
                f"`visavis repair {self.path}` saves what is in it"
            )
        if self._failure is not None:
            raise self._failure

    def _enqueue(self, record: Record, seam: str, source: str, size: int) -> None:
        with self._changed:
            self._raise_failure()
            if self._closing:
                raise SessionError(f"{self.path}: is closed, nothing can be recorded")
            # A record that is larger than the whole queue passes when the queue is empty.
            limit = max(self.options.queue_bytes - size, 0)
            if self._queued_bytes > limit and self.options.wait_s > 0:
                room = self._changed.wait_for(
                    lambda: self._queued_bytes <= limit or self._failure is not None,
                    self.options.wait_s,
                )
                self._raise_failure()
                if not room:
                    raise TimeoutError(
                        f"{self.path}: expected the disk to take records within "
                        f"{self.options.wait_s:g} s; {len(self._queue)} wait"
                    )
            if self._queued_bytes > limit:
                self._lost[seam] += 1
                return
            written_ns = now_ns() if self.options.stamped else record.t_ns
            self._queue.append((record, seam, source, written_ns, size))
            self._queued_bytes += size
            self._changed.notify_all()

    def _require_later(self, frame: Frame) -> None:
        with self._changed:
            last_ns = self._frame_ns.get(frame.camera.name, -1)
            if frame.t_ns <= last_ns:
                raise ValueError(
                    f"session: expected rising times of camera {frame.camera.name!r}, got "
                    f"{frame.t_ns} ns after {last_ns} ns; two cameras of one name?"
                )
            self._frame_ns[frame.camera.name] = frame.t_ns

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        """The thread: everything that takes time."""
        try:
            flushed = time.monotonic()
            while True:
                due = flushed + self.options.flush_s
                with self._changed:
                    self._changed.wait_for(
                        lambda: bool(self._queue) or self._closing,
                        max(0.0, due - time.monotonic()),
                    )
                    item = self._queue.popleft() if self._queue else None
                    ending = self._closing and item is None
                    lost = dict(self._lost)
                if item is not None:
                    record, seam, source, written_ns, size = item
                    self._tape.put(record, seam, source, written_ns, lost)
                    with self._changed:
                        self._queued_bytes -= size
                        self._changed.notify_all()
                if ending:
                    self._tape.put_state(lost)
                    self._file.close()
                    self._note_saved()
                    return
                if time.monotonic() >= due:
                    self._file.flush()
                    flushed = time.monotonic()
                    self._note_saved()
        except BaseException as error:
            failure = error if isinstance(error, SessionError) else _failed(self.path, error)
            with self._changed:
                self._failure = failure
                self._queue.clear()
                self._queued_bytes = 0
                self._changed.notify_all()
            self._end_early()

    def _end_early(self) -> None:
        """Index what is whole, when the disk lets us."""
        try:
            self._file.drop_waiting()
            self._file.close()
        except SessionError:
            self._file.abandon()

    def _note_saved(self) -> None:
        if not self._file.waiting:
            with self._changed:
                self._saved = Counter(self._tape.counts)


class _Tape:
    """Records to messages on channels; belongs to the writer's thread."""

    def __init__(self, file: ChunkFile, options: SessionOptions) -> None:
        self._file, self._options = file, options
        self.counts: Counter[str] = Counter()
        self._channels: dict[tuple[str, str, bytes], int] = {}
        self._sequences: Counter[int] = Counter()
        self._encoders: dict[int, PictureEncoder] = {}
        self._key_frames: dict[str, int] = {}
        self._cameras: dict[int, tuple[Camera, bytes]] = {}
        self._pictures: dict[str, int] = {}
        self._next_state_ns: int | None = None
        self._newest_ns = 0

    def put_header(self, header: SessionHeader) -> None:
        number = self._channel("header", "")
        self._add(number, header.t_ns if header.t_ns >= 0 else 0, 0, packed(header_message(header)))

    def put(
        self, record: Record, seam: str, source: str, written_ns: int, lost: dict[str, int]
    ) -> None:
        if self._next_state_ns is None:
            self._next_state_ns = record.t_ns + STATE_NS
        elif record.t_ns >= self._next_state_ns:
            self.put_state(lost)
            self._next_state_ns = record.t_ns + STATE_NS
        self._newest_ns = max(self._newest_ns, record.t_ns)
        if isinstance(record, Frame):
            self._put_frame(record, source, written_ns)
        else:
            number = self._channel(seam, source)
            self._add(number, record.t_ns, written_ns, packed(self._message(record)))
        self.counts[seam] += 1

    def put_state(self, lost: dict[str, int]) -> None:
        message = session_state(
            self._newest_ns,
            written=entries(self.counts),
            lost=entries(lost),
            key_frames=entries(self._key_frames),
        )
        self._add(self._channel("session", ""), self._newest_ns, self._newest_ns, packed(message))

    def _message(self, record: Any) -> Any:
        if isinstance(record, TrackedState):
            return state_message(record)
        elif isinstance(record, AvatarCode):
            return code_message(record)
        elif isinstance(record, AudioBlock):
            return audio_message(record)
        elif isinstance(record, HeadsetSample):
            return headset_message(record)
        elif isinstance(record, View):
            return view_message(record)
        elif isinstance(record, Mark):
            return mark_message(record)
        return self._panels_message(record)

    def _panels_message(self, shown: ShownPanels) -> Any:
        panels = [self._panel_message(panel, shown.t_ns) for panel in shown.panels]
        return message_class(schema_name("panels"))(t_ns=shown.t_ns, panels=panels)

    def _panel_message(self, panel: Panel, t_ns: int) -> Any:
        key = picture_key(panel.rgba)
        stored_ns = self._pictures.get(key)
        if stored_ns is not None and 0 <= t_ns - stored_ns < PICTURE_AGAIN_NS:
            return panel_message(panel, key, stored_ns, b"")
        self._pictures[key] = t_ns
        return panel_message(panel, key, t_ns, png_of(panel.rgba))

    def _put_frame(self, frame: Frame, source: str, written_ns: int) -> None:
        camera, data = self._cameras.get(id(frame.camera), (None, b""))
        if camera is not frame.camera:
            data = packed(camera_message(frame.camera))
            self._cameras = {id(frame.camera): (frame.camera, data), **self._cameras}
            if len(self._cameras) > 64:  # Sources that make their camera anew for every frame.
                self._cameras.popitem()
        number = self._channel("frames", source, frame.camera, data)
        encoder = self._encoders.get(number)
        if encoder is None:
            options = self._options
            encoder = PictureEncoder(frame.camera.size, options.fps, options.pictures)
            self._encoders[number] = encoder
        data, key = encoder.encode(frame.rgb, frame.t_ns)
        if key:
            self._key_frames[str(number)] = frame.t_ns
        message = message_class(VIDEO)(
            frame_id=source,
            data=data,
            format="h264",
            t_ns=frame.t_ns,
            seq=frame.seq,
            mirrored=frame.mirrored,
            key=key,
            packet=self._sequences[number],
            device_ns=frame.device_ns or 0,
            has_device_ns=frame.device_ns is not None,
        )
        message.timestamp.FromNanoseconds(frame.t_ns)
        self._add(number, frame.t_ns, written_ns, packed(message))

    def _channel(
        self, seam: str, source: str, camera: Camera | None = None, camera_data: bytes = b""
    ) -> int:
        key = (seam, source, camera_data)
        number = self._channels.get(key)
        if number is None:
            name = schema_name(seam)
            schema = self._file.add_schema(name, "protobuf", schema_bytes(name))
            number = self._file.add_channel(
                topic_of(seam, source), schema, "protobuf", channel_metadata(seam, source, camera)
            )
            self._channels[key] = number
        return number

    def _add(self, channel: int, log_ns: int, publish_ns: int, data: bytes) -> None:
        sequence = self._sequences[channel]
        self._sequences[channel] += 1
        self._file.add(channel, sequence % 2**32, log_ns, max(publish_ns, 0), data)


def _bytes_of(record: Record) -> int:
    if isinstance(record, Frame):
        return record.rgb.nbytes
    if isinstance(record, AudioBlock):
        return record.samples.nbytes + SMALL_RECORD
    if isinstance(record, ShownPanels):
        return sum(panel.rgba.nbytes for panel in record.panels) + SMALL_RECORD
    return SMALL_RECORD


def _failed(path: Path, error: BaseException) -> SessionError:
    failure = SessionError(f"{path}: recording stopped ({' '.join(str(error).split())})")
    failure.__cause__ = error
    return failure
