"""The personal codec on real videos: `python -m benchmarks.codec VIDEO...`.

Each video becomes an avatar by its first 80 %; the rest, of which nothing was learned, is drawn by
the avatar from the video's own camera and compared inside MediaPipe's face mesh:

- mean: the average texture on the tracked shape; what a codec without appearance would show
- driven: appearance predicted from the tracked state alone
- encoded: the frame's own texture projected on the code, whole numbers sent as they are
- A = 64, 128, 256: the same with only that many appearance numbers
- "... at N": through the bitstream at N kbit/s, every held-out frame sent in its order
- then, from benchmarks/reference_codecs.py and drawn on the same meshes: the mean texture at the
  exposure of the training frames, the frame's own texture at 256 texels a side, a global PCA of 64
  numbers, and a convolutional decoder trained for a while

Half of the moments follow the other half by one frame, so that flicker can be told.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import tyro

from apps.likeness_evaluation import Evaluation, Through, evaluate_likeness
from avatar.bitstream import BitstreamDecoder, BitstreamEncoder, BitstreamOptions
from avatar.enrolment.observations import Observations
from avatar.enrolment.recipe import EnrolmentOptions, enrol
from avatar.personal_avatar import PersonalAvatar
from avatar.personal_model import GAINS, PersonalModel
from benchmarks.held_out import (
    TRAINED_SHARE,
    frames_of,
    held_out,
    held_out_codes,
    learned_from,
    track,
)
from benchmarks.reference_codecs import compare
from streams.avatar_code import AvatarCode
from streams.frame import Frame
from streams.tracked_state import TrackedState

DRIVEN_RATES, ENCODED_RATES = (12.0, 8.0, 4.0), (64.0, 32.0, 16.0, 8.0)
"""kbit/s."""
WIDTH_MM = 140.0
"""Of a face between landmarks 234 and 454: by it shape errors are scaled."""


def shortened(numbers: int) -> Through:
    """Only the first appearance numbers arrive."""

    def through(code: AvatarCode) -> AvatarCode:
        appearance = code.appearance.copy()
        appearance[GAINS + numbers :] = 0.0
        return replace(code, appearance=appearance)

    return through


def mean_alone(code: AvatarCode) -> AvatarCode:
    """No appearance arrives."""
    return replace(code, appearance=np.zeros_like(code.appearance))


@dataclass(frozen=True, slots=True, eq=False)
class Streamed:
    """Held-out moments after the bitstream."""

    codes: dict[int, AvatarCode]
    """By the time of the moment that was sent."""
    kbit_s: float
    """Over all held-out seconds but the first, in which the stream starts."""
    encode_ms: float
    decode_ms: float
    """Mean CPU time a packet."""

    def through(self, code: AvatarCode) -> AvatarCode:
        """What is shown when `code` was sent."""
        return self.codes[code.t_ns]


def streamed(
    avatar: PersonalAvatar, codes: Sequence[AvatarCode], kbit_s: float, lost_share: float = 0.0
) -> Streamed:
    """Send codes in their order; some packets get lost, never the first."""
    encoder = BitstreamEncoder(avatar, BitstreamOptions(kbit_s))
    decoder, shown, rng = (
        BitstreamDecoder(avatar),
        dict[int, AvatarCode](),
        np.random.default_rng(0),
    )
    settled_ns, size, packets, encode_s, decode_s = codes[0].t_ns + 10**9, 0, 0, 0.0, 0.0
    for k, code in enumerate(codes):
        begun = time.process_time()
        packet = encoder.encode(code)
        encode_s += time.process_time() - begun
        got = None
        if packet is not None:
            packets += 1
            size += len(packet) if code.t_ns >= settled_ns else 0
            if k == 0 or rng.random() >= lost_share:
                begun = time.process_time()
                got = decoder.decode(packet)
                decode_s += time.process_time() - begun
        shown[code.t_ns] = got or decoder.concealed(code.t_ns) or code
    lasted_s = max((codes[-1].t_ns - settled_ns) / 1e9, 1e-9)
    each = 1e3 / max(packets, 1)
    return Streamed(shown, 8e-3 * size / lasted_s, encode_s * each, decode_s * each)


def shape_error_mm(model: PersonalModel, states: Sequence[TrackedState]) -> float:
    """Mean distance of the tracked landmarks from those of their code, for a face of WIDTH_MM."""
    errors, widths = [], []
    for state in states[int(len(states) * TRAINED_SHARE) :]:
        if state.face is None:
            continue
        marks = state.face.landmarks[:468]
        code, _ = model.landmark_code(state.face.landmarks)
        moved = (code @ model.landmark_moves).reshape(-1, 3)
        errors.append(np.linalg.norm(marks - model.landmark_rest - moved, axis=1).mean())
        widths.append(np.linalg.norm(marks[454] - marks[234]))
    return float(np.mean(errors) / np.mean(widths) * WIDTH_MM)


@dataclass(frozen=True, slots=True)
class Codec:
    """Print a table for every video."""

    videos: tyro.conf.Positional[tuple[Path, ...]]
    frames: int = 60
    """Held-out moments to look at, in pairs that are evenly far apart."""
    flip: bool = True
    """Compute FLIP too: a quarter of a second a picture, and the extra "bench"."""
    reference_s: float = 120.0
    """Seconds of training the convolutional reference; 0 leaves all reference codecs out."""
    options: EnrolmentOptions = field(default_factory=EnrolmentOptions)

    def run(self) -> None:
        for video in self.videos:
            self.measure(video)

    def look(
        self,
        avatar: PersonalAvatar,
        moments: Iterator[tuple[Frame, TrackedState]],
        with_frames: bool,
        through: Through | None,
    ) -> Evaluation:
        return evaluate_likeness(avatar, moments, with_frames, through, with_flip=self.flip)

    def measure(self, video: Path) -> None:
        begun = time.monotonic()
        states = track(video)
        tracked_s = time.monotonic() - begun
        seen = Observations.of(states[: int(len(states) * TRAINED_SHARE)])
        model = enrol(lambda: frames_of(video), seen, self.options)
        made_s = time.monotonic() - begun
        shape_mm = shape_error_mm(model, states)
        print(
            f"{video.name}: {len(states)} frames, tracked in {tracked_s:.0f} s, "
            f"made in {made_s:.0f} s, shape {shape_mm:.2f} mm"
        )
        ways: dict[str, tuple[bool, Through | None]] = {
            "mean": (False, mean_alone),
            "driven": (False, None),
            "A = 64": (True, shortened(64)),
            "A = 128": (True, shortened(128)),
            "A = 256": (True, shortened(256)),
            "encoded": (True, None),
        }
        mean_mouth_db = 0.0
        for name, (with_frames, through) in ways.items():
            # Frames far apart: nothing fades, each stands for itself.
            avatar = PersonalAvatar(model, "avatars/bench", fade=False)
            moments = held_out(video, states, self.frames)
            figures = self.look(avatar, moments, with_frames, through).figures
            if name == "mean":
                mean_mouth_db = figures.mouth_db
            gained = figures.mouth_db - mean_mouth_db
            print(f"  {name:13s} {figures.line()} ({gained:+.1f})", flush=True)
        for with_frames, rates in ((False, DRIVEN_RATES), (True, ENCODED_RATES)):
            avatar = PersonalAvatar(model, "avatars/bench", fade=False)
            codes = held_out_codes(avatar, video, states, with_frames)
            for rate in rates:
                sent = streamed(avatar, codes, rate)
                moments = held_out(video, states, self.frames)
                figures = self.look(avatar, moments, with_frames, sent.through).figures
                name = f"{'encoded' if with_frames else 'driven'} at {rate:.0f}"
                gained = figures.mouth_db - mean_mouth_db
                print(
                    f"  {name:13s} {figures.line()} ({gained:+.1f}), {sent.kbit_s:.1f} kbit/s, "
                    f"{sent.encode_ms:.2f} + {sent.decode_ms:.2f} CPU-ms",
                    flush=True,
                )
        if self.reference_s > 0:
            self.compare_references(video, states, model, mean_mouth_db)

    def compare_references(
        self,
        video: Path,
        states: Sequence[TrackedState],
        model: PersonalModel,
        mean_mouth_db: float,
    ) -> None:
        def training() -> Iterator[tuple[Frame, TrackedState]]:
            return learned_from(video, states, self.options.most_frames)

        def rest() -> Iterator[tuple[Frame, TrackedState]]:
            return held_out(video, states, self.frames)

        for name, figures in compare(model, training, rest, self.reference_s):
            gained = figures.mouth_db - mean_mouth_db
            print(f"  {name:13s} {figures.line()} ({gained:+.1f})", flush=True)


if __name__ == "__main__":
    tyro.cli(Codec).run()
