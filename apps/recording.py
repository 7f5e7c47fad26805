"""A pipeline's records on their way into a session file, and the sound beside them."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from apps.pipeline import Taps
from apps.preview_options import PreviewOptions
from apps.tracker_choice import notes_on_tracking, options_for, tracker_engine
from apps.usage import FailedError, UsageError
from capture.frame_source import FrameSource, SourceError, cameras_of
from sessions.picture_track import PictureOptions
from sessions.seams import counts_text
from sessions.session_header import SessionHeader
from sessions.writer import SessionOptions, SessionWriter
from streams.audio_block import AudioBlock
from streams.clock import now_ns
from streams.closing import Closing
from streams.frame import Frame
from streams.panel import Panel
from streams.shown_panels import ShownPanels

CONSENT = (
    "Everybody who is seen or heard in this session has agreed that their face and voice are "
    "recorded."
)
PREVIEW_SEAMS = ("frames", "state", "code", "panels", "views", "marks")
HEADSET_SEAMS = ("frames", "headset", "state", "code", "panels", "views", "marks")
"""With a headset, its wearer's head and hands too."""
CAMERAS_NOTE = "tracked cameras"
"""Under which a session's header keeps how many were tracked together; one where it does not."""
LOSSLESS_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class RecordingOptions:
    """What of a pipeline is recorded, and how."""

    out: Path
    seams: tuple[str, ...] = ("frames", "state", "code")
    source: str = ""
    """As --source says it."""
    avatar: str = ""
    lossless: bool = False
    """Pictures bit for bit."""
    secret: bytes | None = None
    """Seals the file."""
    consent: str = CONSENT
    tracker: str = ""
    """The engine that tracks; "" where none does."""
    faces: int = 1
    """How many it follows."""


def _tracked_cameras(source: FrameSource, tracker: str) -> dict[str, str]:
    """How many cameras are tracked together, where it is not one."""
    count = len(cameras_of(source))
    return {CAMERAS_NOTE: str(count)} if tracker and count > 1 else {}


def _notes_on_tracking(source: FrameSource, options: RecordingOptions) -> dict[str, str]:
    """How frames are to be tracked anew, where the session has some: it describes the person."""
    if "frames" not in options.seams:
        return {}
    return notes_on_tracking(options_for(source, options.faces))


class RecordSource(Protocol):
    """A sound track, a microphone or another camera, opened."""

    def __iter__(self) -> Iterator[AudioBlock] | Iterator[Frame]: ...

    def __next__(self) -> AudioBlock | Frame: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


class Recording(Closing):
    """An open session and the taps that fill it.

    A live source is never held up: what cannot be written in time is lost, counted and shown. A
    file waits for the disk. Raises SessionError when the session cannot be made.
    """

    def __init__(self, options: RecordingOptions, source: FrameSource) -> None:
        self.options, self._live = options, source.live
        header = SessionHeader(
            t_ns=now_ns() if source.live else 0,
            unix_ns=time.time_ns(),
            software=software(),
            source=options.source,
            avatar=options.avatar,
            cameras=cameras_of(source),
            models=model_hashes(options.avatar),
            consent=f"{options.consent} (stated on {time.strftime('%Y-%m-%d %H:%M:%S %z')})",
            notes={
                "live": "yes" if source.live else "no",
                "lossless": "yes" if options.lossless else "no",
                "seams": ",".join(options.seams),
                **({"tracker": options.tracker} if options.tracker else {}),
                **_tracked_cameras(source, options.tracker),
                **_notes_on_tracking(source, options),
            },
        )
        self.writer = SessionWriter(
            options.out,
            header,
            SessionOptions(
                PictureOptions(lossless=options.lossless),
                fps=source.fps,
                wait_s=0.0 if source.live else LOSSLESS_WAIT_S,
            ),
            options.secret,
        )
        self._beside: list[_LiveBeside | _FileBeside] = []
        self._shown: tuple[Panel, ...] | None = None
        self._written_ns: dict[str, int] = {}
        """Of each camera beside the first, the time of its newest frame in the file."""

    @property
    def taps(self) -> Taps:
        """For the pipeline whose records these are."""
        write, seams = self.writer.write, self.options.seams
        taps: dict[str, Callable[..., None]] = {}
        taps["frame"] = self._take_frame
        for seam in ("headset", "state", "code"):
            if seam in seams:
                taps[seam] = write
        if "views" in seams:
            taps["view"] = write
        if "panels" in seams:
            taps["panels"] = self._write_panels
        if "marks" in seams:
            taps["mark"] = write
        return Taps(**taps)

    def record_beside(self, opened: Callable[[], RecordSource]) -> None:
        """Also record this, sound or another camera's frames; `opened` opens it, for a live one in
        a thread of its own."""
        kind = _LiveBeside if self._live else _FileBeside
        self._beside.append(kind(opened, self.writer))

    def summary(self) -> str:
        """What is in the file, as a user wants to read it."""
        held = counts_text(self.writer.saved)
        text = f"{self.options.out}: {held}, {self.writer.size / 1e6:.1f} MB"
        lost = self.writer.lost
        if lost:
            text += "; NOT recorded in time: " + ", ".join(f"{n} {s}" for s, n in lost.items())
        return text

    def close(self) -> None:
        """Finish the file. Raises SessionError when it could not take everything, SourceError
        when something beside broke off; the file is closed then too."""
        beside, self._beside = self._beside, []
        try:
            for one in beside:
                one.end()
        finally:
            self.writer.close()

    def _take_frame(self, frame: Frame) -> None:
        if "frames" in self.options.seams:
            self.writer.write(frame)
            for other in frame.beside:
                name = other.camera.name
                if other.t_ns > self._written_ns.get(name, -1):  # else of the last moment too
                    self._written_ns[name] = other.t_ns
                    self.writer.write(other)
        for beside in self._beside:
            beside.until(frame.t_ns)

    def _write_panels(self, shown: ShownPanels) -> None:
        if self._shown is None or not _same(self._shown, shown.panels):
            self._shown = shown.panels
            self.writer.write(shown)


class _LiveBeside:
    """Writes what a microphone or another camera gives, from a thread of its own."""

    def __init__(self, opened: Callable[[], RecordSource], writer: SessionWriter) -> None:
        self._opened, self._writer = opened, writer
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="visavis sound", daemon=True)
        self._thread.start()

    def until(self, t_ns: int) -> None:
        """It comes by itself."""

    def end(self) -> None:
        """Stop, and raise what went wrong."""
        self._stop.set()
        self._thread.join(10.0)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            with self._opened() as records:
                for record in records:
                    self._writer.write(record)
                    if self._stop.is_set():
                        return
        except BaseException as error:
            self._failure = error


class _FileBeside:
    """Writes another file's records along with the main one's frames, so that what belongs together
    lies together in the session."""

    def __init__(self, opened: Callable[[], RecordSource], writer: SessionWriter) -> None:
        self._records, self._writer = opened(), writer
        self._next = next(self._records, None)

    def until(self, t_ns: int) -> None:
        """Write what begins up to then."""
        while self._next is not None and self._next.t_ns <= t_ns:
            self._writer.write(self._next)
            self._next = next(self._records, None)

    def end(self) -> None:
        """Close the file."""
        self._next = None
        self._records.close()


@contextlib.contextmanager
def recording_of(
    preview: PreviewOptions,
    source: FrameSource,
    seams: tuple[str, ...] | None = None,
) -> Iterator[Taps]:
    """Taps that record what a preview shows (or these `seams`), where it asks for that; else taps
    that do nothing.

    Says before what the person in front of the camera states by it, and at the end what is in the
    file. Raises SessionError when there is no room, at the end or from a tap.
    """
    if preview.record is None:
        yield Taps()
        return
    if seams is None:
        seams = HEADSET_SEAMS if preview.openxr else PREVIEW_SEAMS
    options = RecordingOptions(
        preview.record,
        seams,
        preview.source,
        preview.avatar,
        # Without frames a headset says where its wearer is, and nothing is tracked.
        tracker=tracker_engine(preview.tracker) if "frames" in seams else "",
        faces=preview.faces,
    )
    with Recording(options, source) as recording:
        print(f"By recording you state: {CONSENT}", file=sys.stderr, flush=True)
        try:
            yield recording.taps
        finally:
            recording.close()
            print(f"recorded {recording.summary()}", flush=True)


def parse_seams(text: str, recordable: tuple[str, ...]) -> tuple[str, ...]:
    """ "frames,state" -> ("frames", "state"). Raises UsageError."""
    seams = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [seam for seam in seams if seam not in recordable]
    if unknown or not seams:
        raise UsageError(f"--seams {text}: expected some of {','.join(recordable)}")
    return seams


def open_sound(source_spec: str) -> Callable[[], RecordSource]:
    """What gives the sound that belongs to a source. Raises FailedError where there is none."""
    kind, _, where = source_spec.partition(":")
    if kind == "video":
        from capture.sound_track import SoundTrack

        try:
            SoundTrack(Path(where)).close()
        except SourceError as error:
            raise FailedError(f"{error}; leave audio out of --seams") from error
        return lambda: SoundTrack(Path(where))
    elif kind == "webcam":
        return _microphone
    raise FailedError(f"--seams audio: {source_spec} has no sound; leave audio out")


def _microphone() -> RecordSource:
    from capture.microphone import Microphone

    try:
        return Microphone()
    except SourceError as error:
        raise FailedError(f"{error}, or leave audio out of --seams") from error


def software() -> str:
    """Name and version of this program."""
    try:
        return f"visavis {version('visavis')}"
    except PackageNotFoundError:
        return "visavis"


def model_hashes(avatar: str) -> dict[str, str]:
    """SHA-256 of the models that track, and of what draws `avatar`, by asset id or file name."""
    from assets.manifest import load_manifest, sha256_of
    from avatar.opening import personal_path

    parts = ("models/", f"avatars/{avatar}", "avatars/codec")
    found = {
        name: asset.sha256 for name, asset in load_manifest().items() if name.startswith(parts)
    }
    path = personal_path(avatar) if avatar else None
    if path is not None:
        found[path.name] = sha256_of(path)
    return found


def _same(a: tuple[Panel, ...], b: tuple[Panel, ...]) -> bool:
    """Whether the same is shown at the same places."""
    return len(a) == len(b) and all(
        p.rgba is q.rgba
        and (p.id, p.anchor, p.size_m, p.generated_by) == (q.id, q.anchor, q.size_m, q.generated_by)
        and (p.anchor_from_panel.wxyz == q.anchor_from_panel.wxyz).all()
        and (p.anchor_from_panel.xyz == q.anchor_from_panel.xyz).all()
        for p, q in zip(a, b, strict=True)
    )
