"""`visavis enroll`: make your own avatar from a video of your face, or in front of the camera."""

from __future__ import annotations

import errno
import re
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from apps.usage import FailedError, UsageError

if TYPE_CHECKING:
    from apps.camera_take import CameraTake
    from apps.capture_view import CaptureView
    from apps.enrolment_work import EnrolmentWork
    from avatar.consent import Consent

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
LIVE = ("webcam:", "synthetic:")
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True)
class Enroll:
    """Make an avatar of one person: record or read, track, learn, measure on held-out seconds,
    write. What was tracked and recorded stays beside your avatars, so that --add can refine."""

    video: tyro.conf.Positional[str]
    """A video of one face (talking, grimacing, looking around; half a minute to three), or
    webcam:0 for a guided capture."""
    name: str
    """What to call the avatar: small letters, digits, - and _. `preview --avatar NAME` shows it."""
    consent: str | None = None
    """The sentence of consent, word for word; without it you are asked to type it."""
    spoken: str | None = None
    """In place of --consent: a sound file in which the sentence is read aloud, or `mic`."""
    person: str | None = None
    """Who is shown, stored with the consent (default: the avatar's name)."""
    synthetic: bool = False
    """The person does not exist (a drawn or generated face): that is stored in consent's place."""
    resume: bool = False
    """Go on where an interrupted enrolment of the same video or camera stopped."""
    add: bool = False
    """Learn from this video (or another recording) and from all that the avatar knows already.
    Earlier videos have to be where they were."""
    anew: bool = False
    """Forget what was tracked and recorded for this name, recordings of the camera included."""
    out: Path | None = None
    """Where to write the file (default: among your avatars)."""
    planes: int = 12
    """Texture planes, a multiple of 4: more are sharper and larger."""
    glasses: Literal["auto", "yes", "no"] = "auto"
    """Whether you wear glasses: a layer of their own. auto: as it is seen in the video."""

    def run(self) -> int:
        """Do all of it."""
        self._check_words()
        from apps.enrolment_lock import EnrolmentLock
        from avatar.opening import enrolled_path
        from avatar.signature import user_folder

        consent = self._consent()
        out = self.out or enrolled_path(self.name)
        if out.suffix != ".visavis":
            raise UsageError(f"--out {out}: expected a name that ends with .visavis")
        folder = user_folder() / "enrolling" / self.name
        with EnrolmentLock(folder, self.name):
            lines = self._enrolled(folder, consent, out)
        print("\n".join(lines))
        print(f"try: visavis preview --avatar {self.name if self.out is None else out}")
        print(f"kept for --add: {folder}")
        return 0

    def _enrolled(self, folder: Path, consent: Consent, out: Path) -> list[str]:
        from apps.capture_view import open_view
        from apps.enrolment_work import EnrolmentWork

        try:
            work = EnrolmentWork(folder, []) if self.anew else EnrolmentWork.read(folder)
            if self.anew:
                work.clear()
            if not self._is_live:
                self._take_video(work, Path(self.video))
            with open_view() as view:
                if self._is_live:
                    consent = self._record(work, consent, view)
                work.check()
                return self._make(work, consent, out, view)
        except KeyboardInterrupt:
            print(f"\nstopped; `enroll ... --resume` goes on ({folder})", file=sys.stderr)
            raise
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise FailedError(
                f"{error.filename or folder}: no room to write ({error.strerror}); what is there "
                "is whole: free some space, then go on with --resume"
            ) from error

    def _make(
        self, work: EnrolmentWork, consent: Consent, out: Path, view: CaptureView
    ) -> list[str]:
        from apps.capture_view import LearningView
        from apps.enrolment_making import Making, ProgressLine
        from avatar.enrolment.recipe import EnrolmentOptions
        from avatar.enrolment.texture_basis_fit import BasisOptions

        learning = LearningView(view, work.folder / "preview.png")
        say = ProgressLine(learning.poll)
        try:
            options = EnrolmentOptions(basis=BasisOptions(planes=self.planes), glasses=self.glasses)
            return Making(self.name, work, consent, out, options, say, learning.show).run()
        finally:
            say.end()

    @property
    def _is_live(self) -> bool:
        return self.video.startswith(LIVE)

    def _check_words(self) -> None:
        if not NAME.fullmatch(self.name):
            raise UsageError(
                f"--name {self.name}: expected small letters, digits, - and _, at most 40"
            )
        if self.planes not in range(4, 25, 4):
            raise UsageError(f"--planes {self.planes}: expected 4, 8, ... 24")
        if (self.spoken is not None) + (self.consent is not None) + self.synthetic > 1:
            raise UsageError("enroll: expected one of --consent, --spoken and --synthetic")
        if self.resume + self.add + self.anew > 1:
            raise UsageError("enroll: expected one of --resume, --add and --anew")
        if self.video.startswith("synthetic:") and not self.synthetic:
            raise UsageError(f"{self.video}: add --synthetic, for this person does not exist")
        if not self._is_live and not Path(self.video).is_file():
            raise UsageError(f"{self.video}: expected a video file or webcam:NUMBER, found none")

    def _take_video(self, work: EnrolmentWork, video: Path) -> None:
        if self.add:
            if not work.clips:
                raise UsageError(
                    f"enroll --add: nothing was learned for {self.name} yet; leave --add out"
                )
            work.add_video(video)
        elif self.resume:
            work.go_on_with(video)
        else:
            work.begin_with(video)

    def _record(self, work: EnrolmentWork, consent: Consent, view: CaptureView) -> Consent:
        """Record until the guide is satisfied, unless that is done. The consent with what was
        done in front of the camera."""
        from apps.live_capture import unfinished

        if self.add:
            wanted = True
        elif self.resume:
            wanted = unfinished(work) is not None or not work.takes()
        else:
            work.require_no_takes()
            work.clear()
            wanted = True
        take = self._capture(work, view) if wanted else work.takes()[-1]
        # Of a video among the clips nobody knows who was before that camera.
        alone = len(work.takes()) == len(work.clips)
        return replace(consent, live=take.live if alone else ())

    def _capture(self, work: EnrolmentWork, view: CaptureView) -> CameraTake:
        import cv2

        from apps.camera_take import TakeWriter
        from apps.live_capture import capture_take, covered_by, prove_live
        from apps.sources import open_any
        from avatar.enrolment.guide import Guide
        from capture.frame_source import SourceError, SourceOptions
        from tracking.tracker import Tracker, TrackerOptions

        cv2.setNumThreads(1)
        guide = Guide(covered_by(work))
        wished = SourceOptions(size=(1280, 720), fps=30.0)
        with (
            open_any(self.video, wished) as source,
            Tracker.open(TrackerOptions(hands=0)) as tracker,
        ):
            # Who is drawn does not live, and says so in consent's place.
            live = () if self.synthetic else prove_live(source, tracker, view)
            writer = TakeWriter(work.next_take(), source.camera, False, source.fps)
            writer.passed(live)
            work.add_take(writer.take)
            try:
                finished = capture_take(source, tracker, guide, view, writer)
            except SourceError as error:
                raise FailedError(
                    f"{error} ({writer.seconds:.0f} s are kept; --resume goes on)"
                ) from error
        if not finished:
            raise FailedError(
                f"the capture stopped at {100 * guide.coverage.total():.0f} % "
                f"({writer.seconds:.0f} s are kept); go on with --resume"
            )
        writer.take.finish()
        return writer.take

    def _consent(self) -> Consent:
        from avatar.consent import SENTENCE, Consent, ConsentError

        kind, sentence = "typed", self.consent
        if self.spoken is not None:
            from apps.spoken_consent import spoken_consent

            return spoken_consent(self.person or self.name, self.spoken)
        if self.synthetic:
            kind, sentence = "synthetic", SENTENCE
        elif sentence is None:
            if not sys.stdin.isatty():
                raise UsageError(
                    f'enroll: expected consent; if it is true, add --consent "{SENTENCE}"'
                )
            print(f"An avatar is made only with consent. If it is true, type:\n  {SENTENCE}")
            sentence = input("> ")
        try:
            return Consent(self.person or self.name, sentence, kind, int(time.time()))
        except ConsentError as error:
            raise UsageError(str(error)) from error
