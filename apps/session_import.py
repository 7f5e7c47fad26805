"""`visavis import`: recordings of others as a session."""

from __future__ import annotations

import heapq
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from apps.progress_line import ProgressLine
from apps.usage import FailedError, UsageError

if TYPE_CHECKING:
    from streams.audio_block import AudioBlock
    from streams.camera import Camera
    from streams.frame import Frame

WAIT_S = 60.0
"""How long the disk may take nothing before an import gives up."""
LARGEST_SIDE = 8192


@dataclass(frozen=True, slots=True)
class Import:
    """Make a session of a video (pictures and sound) or of a recording of Aria glasses (.vrs:
    pictures of all cameras with their calibration, sound, device times)."""

    source: tyro.conf.Positional[Path]
    """A video file, or FILE.vrs."""
    out: Path
    """FILE.mcap to write; never over another file."""
    lossless: bool = False
    """Pictures bit for bit, at 20 to 60 times the size."""
    encrypt: bool = False
    """Seal the file: useless without the secret (--key-file, VISAVIS_SECRET, or typed)."""
    key_file: Path | None = None
    """File that holds the secret to seal with."""
    consent: str | None = None
    """What the people in it agreed to, in your words; stored in the file."""
    fov_deg: float | None = None
    """Of a video: the camera's angle of view along the longer side of its picture."""
    mirrored: bool = False
    """Of a video: it shows mirror images, as some "selfie" cameras record."""

    def run(self) -> int:
        """0 when all of it is in the session."""
        from apps.recording import CONSENT

        if self.out.suffix.lower() != ".mcap":
            raise UsageError(f"--out {self.out}: expected a name that ends in .mcap")
        if self.fov_deg is not None and not 5.0 <= self.fov_deg <= 170.0:
            raise UsageError(f"--fov-deg {self.fov_deg:g}: expected 5 to 170 degrees")
        if self.key_file is not None and not self.encrypt:
            raise UsageError("--key-file holds the secret to seal with; add --encrypt")
        is_vrs = self.source.suffix.lower() == ".vrs"
        if is_vrs and (self.fov_deg is not None or self.mirrored):
            raise UsageError(
                "--fov-deg, --mirrored: are for a video; a .vrs file tells its cameras"
            )
        consent = CONSENT if self.consent is None else self.consent
        if not consent.strip():
            raise UsageError("--consent: expected what was agreed to, got an empty text")
        print(f"By importing you state: {consent}", file=sys.stderr)
        stated = f"{consent} (stated on {time.strftime('%Y-%m-%d %H:%M:%S %z')})"
        return self._import_vrs(stated) if is_vrs else self._import_video(stated)

    def _import_video(self, consent: str) -> int:
        from apps.sources import camera_options
        from capture.frame_source import SourceError
        from capture.sound_track import SoundTrack
        from capture.video_file import VideoFile

        options = replace(camera_options(self.fov_deg, self.mirrored), longest_side=LARGEST_SIDE)
        with VideoFile(self.source, options) as video:
            sound, silent = None, ""
            try:
                sound = SoundTrack.of(self.source)
            except SourceError as error:
                silent = str(error)
            try:
                records = heapq.merge(video, _from_zero(sound or ()), key=lambda each: each.t_ns)
                said = self._write(records, (video.camera,), video.fps, 0, 0, consent)
                damaged = video.damaged + (0 if sound is None else sound.damaged)
            finally:
                if sound is not None:
                    sound.close()
        code = self._report(said, damaged)
        if silent:
            raise FailedError(f"{silent}; {self.out} holds the pictures alone")
        return code

    def _import_vrs(self, consent: str) -> int:
        from capture.vrs_file import VrsFile

        try:
            file = VrsFile(self.source)
        except ImportError as error:
            raise FailedError(str(error)) from error
        with file:
            first = next(file, None)
            start_ns = 0 if first is None else first.t_ns
            unix_ns = (file.unix_s or 0) * 1_000_000_000
            records = (each for part in ((first,), file) for each in part if each is not None)
            said = self._write(records, file.cameras, file.fps, start_ns, unix_ns, consent)
            for stream in file.streams:
                kept = stream.becomes or "not imported"
                note = f" ({stream.note})" if stream.note else ""
                print(f"{stream.id:8} {stream.name}: {stream.records} records, {kept}{note}")
            damaged = file.damaged
        return self._report(said, damaged)

    def _write(
        self,
        records: Iterable[Frame | AudioBlock],
        cameras: tuple[Camera, ...],
        fps: float,
        start_ns: int,
        unix_ns: int,
        consent: str,
    ) -> str:
        """Write the session; return what is in it, in words."""
        from apps.recording import software
        from sessions.picture_track import PictureOptions
        from sessions.seams import counts_text
        from sessions.session_header import SessionHeader
        from sessions.writer import SessionOptions, SessionWriter

        secret = None
        if self.encrypt:
            from apps.secret import new_secret

            secret = new_secret(self.key_file)
        header = SessionHeader(
            t_ns=start_ns,
            unix_ns=unix_ns,
            software=software(),
            source=str(self.source.name),
            cameras=cameras,
            consent=consent,
            notes={
                "live": "no",
                "lossless": "yes" if self.lossless else "no",
                "imported": "Aria VRS" if self.source.suffix.lower() == ".vrs" else "video",
            },
        )
        options = SessionOptions(
            PictureOptions(lossless=self.lossless), fps=fps, wait_s=WAIT_S, stamped=False
        )
        progress, at_ns = ProgressLine(), start_ns

        def told() -> str:
            return f"{self.out}: {(at_ns - start_ns) / 1e9:.1f} s"

        with SessionWriter(self.out, header, options, secret) as writer:
            for record in records:
                writer.write(record)
                at_ns = record.t_ns
                progress.tell(told)
        progress.end()
        held = counts_text(writer.saved)
        return f"{self.out}: {held} of {len(cameras)} camera{'s' * (len(cameras) != 1)}"

    def _report(self, said: str, damaged: int) -> int:
        print(f"wrote {said}, {self.out.stat().st_size / 1e6:.1f} MB")
        if damaged:
            raise FailedError(
                f"{self.source}: is damaged or cut off; {self.out} holds what can be read of it"
            )
        return 0


def _from_zero(blocks: Iterable[AudioBlock]) -> Iterator[AudioBlock]:
    """Without what lies before time 0, where some files keep an encoder's run-up."""
    for block in blocks:
        if block.t_ns >= 0:
            yield block
            continue
        early = -(block.t_ns * block.rate // 1_000_000_000)
        if early < len(block.samples):
            t_ns = block.t_ns + early * 1_000_000_000 // block.rate
            yield replace(block, t_ns=max(t_ns, 0), samples=block.samples[early:].copy())
