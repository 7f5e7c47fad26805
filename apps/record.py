"""`visavis record`: what a source shows, and all that is made of it, into one session file."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from apps.progress_line import ProgressLine
from apps.usage import FailedError, UsageError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from apps.pipeline import Stages
    from apps.recording import Recording
    from capture.frame_source import FrameSource
    from streams.camera import Camera


@dataclass(frozen=True, slots=True)
class Record:
    """Record a session: frames, tracked state, codes, sound, in one file that survives a crash and
    can be replayed bit for bit. It holds people's faces: only you can read it (--encrypt seals it).
    """

    out: tyro.conf.Positional[Path]
    """FILE.mcap to write; never over another file."""
    source: str = "webcam:0"
    """webcam:NUMBER, video:PATH, session:PATH or synthetic:SCENE."""
    more_sources: tuple[str, ...] = ()
    """Other cameras, as in --source, whose frames are recorded beside (all live, or all files);
    with --rig the hands are tracked in all of them together."""
    seams: str = "frames,state,code"
    """What is recorded, of frames, state, code and audio (preview --record: panels, views too)."""
    avatar: str = "default"
    """Whose codes are recorded."""
    tracker: str = "auto"
    """What tracks: litert, openvino, torch or mediapipe; auto is torch with a CUDA device, else
    litert."""
    faces: int = 1
    """How many faces are followed, 1 to 6. One is yours: the largest at first. From 2 on, hands
    that are nearer to another's face are not taken for yours; not with --tracker mediapipe, nor
    with --more-sources."""
    lossless: bool = False
    """Pictures bit for bit: tracking them again gives the recorded state again; 20 to 60 times
    the size."""
    encrypt: bool = False
    """Seal the file: useless without the secret (--key-file, VISAVIS_SECRET, or typed)."""
    key_file: Path | None = None
    """File that holds the secret to seal with."""
    seconds: float | None = None
    """Stop after so many seconds of the source; by default at its end, or at Ctrl-C."""
    consent: str | None = None
    """What the people in it agreed to, in your words; stored in the file."""
    fov_deg: float | None = None
    """The source camera's angle of view along the longer side of its picture."""
    rig: str | None = None
    """The cameras, calibrated, in the order of the sources: FILE.json of `visavis calibrate`."""
    mirrored: bool = False
    """The source delivers mirror images, as some "selfie" cameras do."""

    def run(self) -> int:
        """0 when the source was recorded to its end; raises what went wrong otherwise."""
        from apps.recording import CONSENT, Recording, RecordingOptions, open_sound, parse_seams
        from apps.rig_choice import check_each_once
        from apps.tracker_choice import check_faces, tracker_engine

        if self.out.suffix.lower() != ".mcap":
            raise UsageError(f"{self.out}: expected a name that ends in .mcap")
        if self.seconds is not None and not self.seconds > 0:
            raise UsageError(f"--seconds {self.seconds:g}: expected more than 0")
        if self.fov_deg is not None and not 5.0 <= self.fov_deg <= 170.0:
            raise UsageError(f"--fov-deg {self.fov_deg:g}: expected 5 to 170 degrees")
        if self.rig is not None and self.fov_deg is not None:
            raise UsageError("--rig and --fov-deg both tell the camera; leave one away")
        check_each_once((self.source, *self.more_sources))
        if self.key_file is not None and not self.encrypt:
            raise UsageError("--key-file holds the secret to seal with; add --encrypt")
        seams = parse_seams(self.seams, ("frames", "state", "code", "audio"))
        secret = None
        if self.encrypt:
            from apps.secret import new_secret

            secret = new_secret(self.key_file)
        consent = CONSENT if self.consent is None else self.consent
        if not consent.strip():
            raise UsageError("--consent: expected what was agreed to, got an empty text")
        together = self._is_rig(seams)
        check_faces(self.faces, self.tracker, together)
        engine = tracker_engine(self.tracker) if {"state", "code"} & set(seams) else ""
        sound = open_sound(self.source) if "audio" in seams else None
        with self._open_rig() if together else self._open_source(self.source) as source:
            options = RecordingOptions(
                self.out,
                seams,
                self.source,
                self.avatar,
                self.lossless,
                secret,
                consent,
                engine,
                self.faces,
            )
            recording = Recording(options, source)
            print(f"By recording you state: {consent}", file=sys.stderr)
            try:
                if sound is not None:
                    recording.record_beside(sound)
                for spec in () if together else self.more_sources:
                    recording.record_beside(self._opener(spec, source.live))
                self._record(source, recording)
            except KeyboardInterrupt:
                recording.close()
                print(f"\n{recording.summary()}", file=sys.stderr)
                raise
            except Exception as error:
                text = one_line(error)
                try:
                    recording.close()
                except Exception as second:
                    raise FailedError(text) from second
                raise FailedError(f"{text} ({recording.summary()})") from error
            recording.close()
        print(f"wrote {recording.summary()}")
        if source.damaged:
            raise FailedError(
                f"{self.source}: is damaged or cut off; {self.out} holds what can be read of it"
            )
        if not recording.writer.saved.get("frames", 1):
            raise FailedError(f"{self.source}: gave no picture; {self.out} holds none")
        return 0

    def _opener(self, spec: str, live: bool) -> Callable[[], FrameSource]:
        """Opens another camera; once now, to fail before anything is recorded."""
        with self._open_source(spec) as probe:
            if probe.live != live:
                raise UsageError(
                    f"--more-sources {spec}: cameras and files have different clocks; record all "
                    "live, or all from files"
                )
        return lambda: self._open_source(spec)

    def _is_rig(self, seams: tuple[str, ...]) -> bool:
        """Whether the cameras are tracked together. Raises UsageError where they cannot be."""
        if self.rig is None or not self.more_sources or not {"state", "code"} & set(seams):
            return False
        from apps.rig_choice import check_together

        check_together(self.source, self.more_sources, self.rig)
        return True

    def _open_rig(self) -> FrameSource:
        from apps.rig_choice import open_together

        specs = (self.source, *self.more_sources)
        return open_together(self.rig or "", specs, self._opened)

    def _open_source(self, spec: str) -> FrameSource:
        from apps.rig_choice import calibrated_camera

        specs = (self.source, *self.more_sources)
        return self._opened(spec, calibrated_camera(self.rig, spec, specs))

    def _opened(self, spec: str, camera: Camera | None) -> FrameSource:
        from apps.sources import camera_options, open_any

        return open_any(spec, camera_options(self.fov_deg, self.mirrored, camera))

    def _record(self, source: FrameSource, recording: Recording) -> None:
        from apps.pipeline import Pipeline, PipelineOptions
        from apps.undrawn import LimitedSource

        limited = LimitedSource(source, self.seconds)
        seams = recording.options.seams
        progress = ProgressLine()

        def told() -> str:
            return f"saved {recording.summary()}"

        with ExitStack() as opened:
            if "state" not in seams and "code" not in seams:
                # Frames and sound alone: nothing has to be loaded.
                take = recording.taps.frame
                for frame in limited:
                    take(frame)
                    progress.tell(told)
            else:
                stages = self._stages(limited, "code" in seams, opened)
                options = PipelineOptions(lossless=not source.live)
                pipeline = opened.enter_context(Pipeline(stages, options, recording.taps))
                for _ in pipeline:
                    progress.tell(told)
        progress.end()

    def _stages(self, source: FrameSource, code: bool, opened: ExitStack) -> Stages:
        import cv2

        from apps.pipeline import Stages
        from apps.tracker_choice import open_tracker_of, options_for
        from apps.undrawn import UndrawnAvatar, draw_nothing, source_view
        from avatar.opening import open_avatar

        cv2.setNumThreads(1)
        avatar = opened.enter_context(open_avatar(self.avatar)) if code else None
        wanted = options_for(source, self.faces)
        tracker = opened.enter_context(open_tracker_of(source, self.tracker, wanted))
        return Stages(source, tracker, UndrawnAvatar(avatar), draw_nothing, source_view)
