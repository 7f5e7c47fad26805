"""`visavis enroll`: make your own avatar from a video of your face."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from apps.usage import FailedError, UsageError

if TYPE_CHECKING:
    from apps.enrolment_tracking import EnrolmentWork
    from apps.likeness_evaluation import Evaluation
    from avatar.consent import Consent
    from avatar.personal_model import PersonalModel
    from streams.frame import Frame
    from streams.tracked_state import TrackedState

TRAINED_SHARE = 0.8
EVALUATED_FRAMES, SHOWN_PICTURES = 40, 6
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@dataclass(frozen=True, slots=True)
class Enroll:
    """Make an avatar of the person in a video: track, learn, measure on held-out seconds, write."""

    video: tyro.conf.Positional[Path]
    """A video of one face: talking, grimacing, looking around; half a minute to three."""
    name: str
    """What to call the avatar: small letters, digits, - and _. `preview --avatar NAME` shows it."""
    consent: str | None = None
    """The sentence of consent, word for word; without it you are asked to type it."""
    person: str | None = None
    """Who is shown, stored with the consent (default: the avatar's name)."""
    synthetic: bool = False
    """The person does not exist (a drawn or generated face): that is stored in consent's place."""
    resume: bool = False
    """Go on where an interrupted enrolment of the same video stopped."""
    out: Path | None = None
    """Where to write the file (default: among your avatars)."""
    planes: int = 12
    """Texture planes, a multiple of 4: more are sharper and larger."""

    def run(self) -> int:
        """Do all of it."""
        if not NAME.fullmatch(self.name):
            raise UsageError(
                f"--name {self.name}: expected small letters, digits, - and _, at most 40"
            )
        if self.planes not in range(4, 25, 4):
            raise UsageError(f"--planes {self.planes}: expected 4, 8, ... 24")
        if not self.video.is_file():
            raise UsageError(f"{self.video}: expected a video file, found none")
        from apps.enrolment_tracking import EnrolmentWork
        from avatar.opening import enrolled_path
        from avatar.signature import user_folder

        consent = self._consent()
        out = self.out or enrolled_path(self.name)
        if out.suffix != ".visavis":
            raise UsageError(f"--out {out}: expected a name that ends with .visavis")
        work = EnrolmentWork(user_folder() / "enrolling" / self.name, self.video)
        work.begin(self.resume)
        try:
            self._make(work, consent, out)
        except KeyboardInterrupt:
            print(f"\nstopped; `enroll ... --resume` goes on ({work.folder})", file=sys.stderr)
            raise
        work.clear()
        return 0

    def _make(self, work: EnrolmentWork, consent: Consent, out: Path) -> None:
        from dataclasses import asdict

        from apps.enrolment_checks import check_pictures, check_tracked
        from apps.enrolment_report import write_report
        from avatar.avatar_file import write_avatar_file
        from avatar.signature import own_key

        begun = time.monotonic()
        say = _Progress(begun)
        states = work.track(say, _frame_count(self.video))
        check_tracked(states)
        check_pictures(_samples(work, states))
        held = int(len(states) * TRAINED_SHARE)
        model = self._learn(work, states[:held], say)
        ways = self._measure(work, states, held, model, say)
        # The measured avatar has not seen the last fifth; the one that is kept has.
        model = self._learn(work, states, say)
        figures = {name: asdict(way.figures) for name, way in ways.items()}
        seconds = time.monotonic() - begun
        report = {"held_out": figures, "frames": len(states), "made_in_s": round(seconds, 1)}
        write_avatar_file(out, self.name, model, consent, int(time.time()), report, own_key())
        page = out.with_suffix(".html")
        faces = sum(state.face is not None for state in states)
        summary = (
            f"{self.video.name}: {len(states)} frames, a face in {faces}; made in {seconds:.0f} s; "
            f"{out.stat().st_size / 2**20:.1f} MiB"
        )
        write_report(page, f"Avatar {self.name}", summary, ways)
        say.end()
        for name, way in ways.items():
            print(f"held out, {name}: {way.figures.line()}")
        print(f"wrote {out} ({out.stat().st_size / 2**20:.1f} MiB) in {seconds:.0f} s")
        print(f"figures and pictures: {page}")
        print(f"try: visavis preview --avatar {self.name if self.out is None else out}")

    def _learn(
        self, work: EnrolmentWork, states: Sequence[TrackedState], say: _Progress
    ) -> PersonalModel:
        from avatar.enrolment.observations import Observations
        from avatar.enrolment.recipe import EnrolmentError, EnrolmentOptions, enrol
        from avatar.enrolment.texture_basis_fit import BasisOptions

        options = EnrolmentOptions(basis=BasisOptions(planes=self.planes))
        from tracking.segmentation import PersonSegmenter

        try:
            with PersonSegmenter() as segmenter:
                seen = Observations.of(states)
                return enrol(work.frames, seen, options, say, segmenter.person)
        except EnrolmentError as error:
            raise FailedError(str(error)) from error

    def _measure(
        self,
        work: EnrolmentWork,
        states: Sequence[TrackedState],
        held: int,
        model: PersonalModel,
        say: _Progress,
    ) -> dict[str, Evaluation]:
        from apps.likeness_evaluation import evaluate_likeness, spread
        from avatar.personal_avatar import PersonalAvatar

        rows = [k for k in range(held, len(states)) if states[k].face is not None]
        if not rows:
            raise FailedError("no face in the last fifth of the video; cut the end off and retry")
        ways: dict[str, Evaluation] = {}
        for n, name in enumerate(("encoded", "driven")):
            say("measuring", n / 2)
            avatar = PersonalAvatar(model, f"avatars/{self.name}", fade=False)
            moments = _moments(work, states, spread(rows, EVALUATED_FRAMES))
            keep = EVALUATED_FRAMES
            ways[name] = evaluate_likeness(avatar, moments, name == "encoded", keep=keep)
            pairs = ways[name].pictures
            step = max(1, len(pairs) // SHOWN_PICTURES)
            ways[name].pictures = pairs[::step][:SHOWN_PICTURES]
        say("measuring", 1.0)
        return ways

    def _consent(self) -> Consent:
        from avatar.consent import SENTENCE, Consent, ConsentError

        kind, sentence = "typed", self.consent
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


class _Progress:
    """Stage and percent: one line on a terminal, a line a stage elsewhere."""

    def __init__(self, begun: float) -> None:
        self._begun, self._stage, self._shown = begun, "", 0.0

    def __call__(self, stage: str, share: float) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self.end()
            self._stage = stage
            if not sys.stderr.isatty():
                print(f"[{now - self._begun:4.0f} s] {stage}", file=sys.stderr, flush=True)
        if sys.stderr.isatty() and (share >= 1.0 or now - self._shown > 0.2):
            self._shown = now
            print(f"\r[{now - self._begun:4.0f} s] {stage} {100 * share:3.0f} % ",
                  end="", file=sys.stderr, flush=True)  # fmt: skip

    def end(self) -> None:
        """Close the line."""
        if self._stage and sys.stderr.isatty():
            print(file=sys.stderr)
        self._stage = ""


def _moments(
    work: EnrolmentWork, states: Sequence[TrackedState], rows: Sequence[int]
) -> Iterator[tuple[Frame, TrackedState]]:
    wanted = set(rows)
    for k, frame in enumerate(work.frames()):
        if k in wanted:
            yield frame, states[k]


def _samples(work: EnrolmentWork, states: Sequence[TrackedState]):
    """Some frames and their faces."""
    from apps.enrolment_checks import SAMPLES
    from apps.likeness_evaluation import spread

    rows = [k for k, state in enumerate(states) if state.face is not None]
    for frame, state in _moments(work, states, spread(rows, SAMPLES)):
        if state.face is not None:
            yield frame, state.face


def _frame_count(video: Path) -> int:
    """About how many frames there are, for the progress; 0 when the file does not say."""
    import av

    try:
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            return int(stream.frames or 0)
    except (OSError, IndexError, ValueError):
        return 0
