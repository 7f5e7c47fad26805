"""From the clips of an enrolment to an avatar file and its report."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

from apps.camera_take import CameraTake
from apps.enrolment_checks import (
    check_pictures,
    check_tracked,
    sampled_rows,
    without_company,
)
from apps.enrolment_report import ReportText, write_report
from apps.enrolment_work import LEARNING, EnrolmentWork, VideoClip
from apps.likeness_evaluation import Evaluation, evaluate_likeness, spread
from apps.usage import FailedError
from avatar.avatar_file import write_avatar_file
from avatar.consent import Consent
from avatar.enrolment.coverage import Coverage
from avatar.enrolment.learning_stages import LearningStages
from avatar.enrolment.observations import Observations
from avatar.enrolment.recipe import EnrolmentError, EnrolmentOptions, Show, enrol
from avatar.personal_avatar import PersonalAvatar
from avatar.personal_model import PersonalModel
from avatar.signature import own_key
from streams.frame import Frame
from streams.tracked_state import FacePose, TrackedState
from tracking.segmentation import PersonSegmenter

Progress = Callable[[str, float], None]

TRAINED_SHARE = 0.8
"""Of every clip; the avatar that is measured has not seen the rest."""
POLL_S = 0.2
EVALUATED_FRAMES, SHOWN_PICTURES = 40, 6


@dataclass(frozen=True, slots=True)
class Making:
    """What is made, of what."""

    name: str
    work: EnrolmentWork
    consent: Consent
    out: Path
    options: EnrolmentOptions
    say: Progress
    show: Show | None = None
    """Is given a picture of the learning now and then."""

    def run(self) -> list[str]:
        """Track, check, learn, measure, learn again, write. Lines for people about the result.

        Raises FailedError when the clips cannot become an avatar, OSError when the disk is full.
        """
        begun = time.monotonic()
        clips = self.work.track(self.say)
        lines = self._remarks(clips)
        check_tracked([state for clip in clips for state in clip])
        clips = self._alone(clips, lines)
        states = [state for clip in clips for state in clip]
        coverage = _coverage(clips)
        lines.append(coverage.line())
        trained = _without_last(clips, TRAINED_SHARE)
        stages = LearningStages.kept(self.work.folder / LEARNING, self._key(states), say_aside)
        model = stages.once("measured", self._learn)(trained, stages.part("measured"))
        ways = stages.once("measures", self._measure)(states, trained, model)
        # The measured avatar has not seen the ends of the clips; the one that is kept has.
        model = stages.once("kept", self._learn)(states, stages.part("kept"))
        figures = {name: asdict(way.figures) for name, way in ways.items()}
        seconds = time.monotonic() - begun
        report = {
            "held_out": figures, "frames": len(states), "made_in_s": round(seconds, 1),
            "coverage": round(coverage.total(), 3),
        }  # fmt: skip
        made_s = int(time.time())
        for left in self.out.parent.glob(f".{self.out.name}.*"):  # by one who was killed in writing
            left.unlink(missing_ok=True)
        write_avatar_file(self.out, self.name, model, self.consent, made_s, report, own_key())
        size = f"{self.out.stat().st_size / 2**20:.1f} MiB"
        faces = sum(state.face is not None for state in states)
        names = ", ".join(Path(clip.name).name for clip in self.work.clips)
        summary = (
            f"{names}: {len(states)} frames, a face in {faces}; made in {seconds:.0f} s; {size}"
        )
        page = self.out.with_suffix(".html")
        write_report(page, ReportText(f"Avatar {self.name}", summary, coverage), ways)
        stages.clear()
        lines += [f"held out, {name}: {way.figures.line()}" for name, way in ways.items()]
        return [
            *lines,
            f"wrote {self.out} ({size}) in {seconds:.0f} s",
            f"figures and pictures: {page}",
        ]

    def _remarks(self, clips: Sequence[Sequence[TrackedState]]) -> list[str]:
        """What is odd about the clips but no reason to stop."""
        return [
            f"{clip.name}: is damaged or cut off; the {len(states)} pictures that can be read are "
            "used. Copy or export it again for the rest"
            for clip, states in zip(self.work.clips, clips, strict=True)
            if isinstance(clip, VideoClip) and clip.damaged()
        ]

    def _key(self, states: Sequence[TrackedState]) -> str:
        """Stands for all that an avatar depends on: what was learned under another is of no use."""
        about = hashlib.sha256(f"{version('visavis')} {self.options!r}".encode())
        for clip in self.work.clips:
            about.update(repr(clip).encode())
        for state in states:
            about.update(repr((state.t_ns, state.face is not None)).encode())
            if state.face is not None:
                for numbers in (state.face.landmarks, state.face.blendshapes, state.face.gaze):
                    about.update(numbers.tobytes())
        return about.hexdigest()[:16]

    def _learn(self, states: Sequence[TrackedState], stages: LearningStages) -> PersonalModel:
        try:
            with PersonSegmenter() as segmenter:
                seen = Observations.of(states)
                return enrol(
                    self.work.frames,
                    seen,
                    self.options,
                    self.say,
                    segmenter.person,
                    self.show,
                    stages,
                )
        except EnrolmentError as error:
            raise FailedError(str(error)) from error

    def _measure(
        self,
        states: Sequence[TrackedState],
        trained: Sequence[TrackedState],
        model: PersonalModel,
    ) -> dict[str, Evaluation]:
        rows = [
            k
            for k, (state, known) in enumerate(zip(states, trained, strict=True))
            if state.face is not None and known.face is None
        ]
        if not rows:
            raise FailedError("no face in the last fifth of the video; cut the end off and retry")
        ways: dict[str, Evaluation] = {}
        for n, name in enumerate(("encoded", "driven")):
            self.say("measuring", n / 2)
            avatar = PersonalAvatar(model, f"avatars/{self.name}", fade=False)
            moments = self._moments(states, spread(rows, EVALUATED_FRAMES))
            keep = EVALUATED_FRAMES
            ways[name] = evaluate_likeness(avatar, moments, name == "encoded", keep=keep)
            pairs = ways[name].pictures
            step = max(1, len(pairs) // SHOWN_PICTURES)
            ways[name].pictures = pairs[::step][:SHOWN_PICTURES]
        self.say("measuring", 1.0)
        return ways

    def _moments(
        self, states: Sequence[TrackedState], rows: Sequence[int]
    ) -> Iterator[tuple[Frame, TrackedState]]:
        wanted, last = set(rows), max(rows, default=-1)
        for k, frame in enumerate(self.work.frames()):
            if k in wanted:
                yield frame, states[k]
            if k >= last:
                return

    def _alone(
        self, clips: Sequence[Sequence[TrackedState]], lines: list[str]
    ) -> list[list[TrackedState]]:
        """The clips without the moments at which somebody else is in the picture. A clip that
        cannot be learned from does not stay among the others."""
        kept: list[list[TrackedState]] = []
        for clip, states in zip(self.work.clips, clips, strict=True):
            rows = sampled_rows(states)
            if isinstance(clip, CameraTake) and not rows:
                kept.append(list(states))  # stopped before anything was seen; others go on
                continue
            try:
                crowded = check_pictures(_seen(clip.frames(), states, rows))
                kept.append(without_company(states, rows, crowded))
            except FailedError as error:
                if len(clips) == 1:
                    raise
                self.work.leave_out(clip)
                raise FailedError(f"{clip.name}: {error}; it was not added") from error
            if crowded:
                lines.append(
                    f"{clip.name}: a second person is in the picture around "
                    f"{states[crowded[0]].t_ns / 1e9:.0f} s; such moments are left out"
                )
        return kept


def _seen(
    frames: Iterator[Frame], states: Sequence[TrackedState], rows: Sequence[int]
) -> Iterator[tuple[int, Frame, FacePose]]:
    """The rows that have a face."""
    wanted, last = set(rows), max(rows, default=-1)
    for k, frame in enumerate(frames):
        face = states[k].face if k in wanted else None
        if face is not None:
            yield k, frame, face
        if k >= last:
            return


def _without_last(clips: Sequence[Sequence[TrackedState]], share: float) -> list[TrackedState]:
    """All states, those beyond the `share` of each clip without their face."""
    return [
        state if k < int(len(clip) * share) else replace(state, face=None)
        for clip in clips
        for k, state in enumerate(clip)
    ]


def _coverage(clips: Sequence[Sequence[TrackedState]]) -> Coverage:
    coverage = Coverage()
    for clip in clips:
        for state in clip:
            coverage.add(state)
    return coverage


def say_aside(line: str) -> None:
    """To people, beside the progress."""
    print(f"\nvisavis: {line}", file=sys.stderr, flush=True)


class ProgressLine:
    """Stage and percent: one line on a terminal, a line a stage elsewhere."""

    def __init__(self, poll: Callable[[], None] = lambda: None) -> None:
        """`poll` is called with every step: whoever shows a window may look at its events."""
        self._begun, self._stage, self._shown = time.monotonic(), "", 0.0
        self._poll, self._polled = poll, 0.0

    def __call__(self, stage: str, share: float) -> None:
        now = time.monotonic()
        if now - self._polled > POLL_S:
            self._polled = now
            self._poll()
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
