"""Rate, loss and time of the bitstream on real codes: `python -m benchmarks.bitstream VIDEO...`.

Each video becomes an avatar by its first 80 %; the codes of the rest are sent. Errors are squared,
in sRGB code values of the face, as `PersonalModel.distortion` weighs a code: 36 is 32.6 dB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro

from avatar.enrolment.observations import Observations
from avatar.enrolment.recipe import EnrolmentOptions, enrol
from avatar.personal_avatar import PersonalAvatar
from benchmarks.codec import TRAINED_SHARE, frames_of, held_out_codes, streamed, track
from streams.avatar_code import AvatarCode

RATES = (2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0)
LOSSES = (0.01, 0.05, 0.1, 0.2)
LOSSY_KBIT_S = 24.0


def code_errors(
    avatar: PersonalAvatar, sent: Sequence[AvatarCode], shown: Sequence[AvatarCode]
) -> tuple[float, float]:
    """Mean squared code values of appearance, and mean millimetres of the head's place."""
    _, weights = avatar.weights()
    looks, places = [], []
    for code, got in zip(sent, shown, strict=True):
        looks.append((weights * (code.appearance - got.appearance) ** 2).sum())
        if code.world_from_head is not None and got.world_from_head is not None:
            away = code.world_from_head.xyz - got.world_from_head.xyz
            places.append(1e3 * np.linalg.norm(away))
    return float(np.mean(looks)), float(np.mean(places))


@dataclass(frozen=True, slots=True)
class Bitstream:
    """Print a table for every video."""

    videos: tyro.conf.Positional[tuple[Path, ...]]
    options: EnrolmentOptions = field(default_factory=EnrolmentOptions)

    def run(self) -> None:
        for video in self.videos:
            states = track(video)
            seen = Observations.of(states[: int(len(states) * TRAINED_SHARE)])
            model = enrol(lambda video=video: frames_of(video), seen, self.options)
            avatar = PersonalAvatar(model, "avatars/bench", fade=False)
            for with_frames in (True, False):
                codes = held_out_codes(avatar, video, states, with_frames)
                name = "encoded" if with_frames else "driven"
                print(f"{video.name}, {name}, {len(codes)} moments")
                for rate in RATES:
                    self.show(avatar, codes, rate, 0.0)
                for share in LOSSES:
                    self.show(avatar, codes, LOSSY_KBIT_S, share)

    def show(
        self, avatar: PersonalAvatar, codes: Sequence[AvatarCode], rate: float, lost: float
    ) -> None:
        result = streamed(avatar, codes, rate, lost)
        shown = [result.codes[code.t_ns] for code in codes]
        looks, place_mm = code_errors(avatar, codes, shown)
        print(
            f"  {rate:4.0f} kbit/s, {100 * lost:3.0f} % lost: sent {result.kbit_s:5.2f}, "
            f"appearance {looks:6.2f}, head {place_mm:5.2f} mm, "
            f"{result.encode_ms:.2f} + {result.decode_ms:.2f} CPU-ms a packet",
            flush=True,
        )


if __name__ == "__main__":
    tyro.cli(Bitstream).run()
