"""Rate, loss and time of the bitstream on real codes.

    python -m benchmarks.bitstream faces/d6.mp4 --hands hands/asl_hand.mp4

Each video becomes an avatar by its first 80 %; the codes of the rest are sent. Errors of the face's
shape and appearance are squared, in sRGB code values, as `PersonalModel.distortion` weighs a code:
36 is 32.6 dB. Nothing of the first second counts.

- stands: while nothing comes, the last picture is shown
- goes on: `BitstreamDecoder.concealed`
- late: `BitstreamDecoder.at`, one packet late
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tyro

from avatar.bitstream import BitstreamDecoder, BitstreamEncoder, BitstreamOptions
from avatar.code_numbers import CodedAvatar
from avatar.codec import Avatar
from avatar.enrolment.observations import Observations
from avatar.enrolment.recipe import EnrolmentOptions, enrol
from avatar.personal_avatar import PersonalAvatar
from benchmarks.held_out import TRAINED_SHARE, frames_of, held_out_codes, track
from capture.frame_source import open_source
from streams.avatar_code import AvatarCode
from streams.mirror import mirror_hand
from streams.tracked_state import TrackedState
from tracking.tracker import Tracker, TrackerOptions

RATES = (4.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0)
LOSSES = (0.01, 0.05, 0.1, 0.2)
LOSSY_KBIT_S, LOW_KBIT_S = 24.0, (2.0, 4.0, 6.0)
HAND_KBIT_S = (4.0, 8.0, 12.0, 16.0)
TIMED_KBIT_S = (32.0, 64.0)
SEEDS = 3
SETTLED_NS = 10**9
WAYS = ("stands", "goes on", "late")


@dataclass(frozen=True, slots=True)
class Errors:
    """Of one moment, or the mean of some."""

    head_mm: float
    head_deg: float
    shape: float
    appearance: float

    def line(self) -> str:
        return (
            f"head {self.head_mm:5.2f} mm {self.head_deg:4.2f} deg, "
            f"shape {self.shape:5.1f}, appearance {self.appearance:5.1f}"
        )


def errors_of(avatar: CodedAvatar, wanted: AvatarCode, got: AvatarCode) -> Errors:
    """`wanted` was sent and `got` is shown, both with a face."""
    assert wanted.world_from_head is not None
    assert got.world_from_head is not None
    shape, appearance = avatar.weights()
    return Errors(
        1e3 * float(np.linalg.norm(wanted.world_from_head.xyz - got.world_from_head.xyz)),
        float(np.rad2deg(wanted.world_from_head.angle_to(got.world_from_head))),
        float((shape * (wanted.geometry - got.geometry) ** 2).sum()),
        float((appearance * (wanted.appearance - got.appearance) ** 2).sum()),
    )


def mean_of(errors: Sequence[Errors]) -> Errors:
    rows = np.array([(e.head_mm, e.head_deg, e.shape, e.appearance) for e in errors])
    return Errors(*(float(value) for value in rows.mean(0)))


def shown(
    avatar: CodedAvatar,
    codes: Sequence[AvatarCode],
    kbit_s: float,
    way: str,
    lost_share: float = 0.0,
    seed: int = 0,
    header_bytes: int = 0,
) -> Iterator[tuple[AvatarCode, AvatarCode]]:
    """(sent, shown) of every moment after the first second. The first packet is never lost."""
    encoder = BitstreamEncoder(avatar, BitstreamOptions(kbit_s, header_bytes=header_bytes))
    decoder, rng = BitstreamDecoder(avatar), np.random.default_rng(seed)
    last, waiting = None, list[AvatarCode]()
    for k, code in enumerate(codes):
        packet = encoder.encode(code)
        arrives = packet is not None and (k == 0 or rng.random() >= lost_share)
        got = decoder.decode(packet) if packet is not None and arrives else None
        last = got or last
        waiting.append(code)
        if way == "late" and got is None and k < len(codes) - 1:
            continue
        for moment in waiting:
            if way == "stands":
                seen = None if last is None else replace(last, t_ns=moment.t_ns)
            elif way == "goes on":
                seen = got or decoder.concealed(moment.t_ns)
            else:
                seen = decoder.at(moment.t_ns)
            if seen is not None and moment.t_ns >= codes[0].t_ns + SETTLED_NS:
                yield moment, seen
        waiting = []


def used_kbit_s(avatar: CodedAvatar, codes: Sequence[AvatarCode], kbit_s: float) -> float:
    """After the first second."""
    encoder, size = BitstreamEncoder(avatar, BitstreamOptions(kbit_s)), 0
    settled_ns = codes[0].t_ns + SETTLED_NS
    for code in codes:
        packet = encoder.encode(code) or b""
        size += len(packet) if code.t_ns >= settled_ns else 0
    return 8e-3 * size / max((codes[-1].t_ns - settled_ns) / 1e9, 1e-9)


def cpu_ms(
    avatar: CodedAvatar, codes: Sequence[AvatarCode], kbit_s: float
) -> tuple[float, float, float]:
    """Medians over all packets after the first second: encoding, decoding, both."""
    times: list[tuple[float, float]] = []
    for _ in range(SEEDS):
        encoder = BitstreamEncoder(avatar, BitstreamOptions(kbit_s))
        decoder = BitstreamDecoder(avatar)
        for code in codes:
            begun = time.process_time_ns()
            packet = encoder.encode(code)
            encoded = time.process_time_ns()
            if packet is None:
                continue
            decoder.decode(packet)
            if code.t_ns >= codes[0].t_ns + SETTLED_NS:
                times.append((encoded - begun, time.process_time_ns() - encoded))
    both: npt.NDArray[np.float64] = np.array(times) / 1e6
    encode_ms, decode_ms = np.median(both, axis=0)
    return float(encode_ms), float(decode_ms), float(np.median(both.sum(1)))


def show_face(avatar: PersonalAvatar, codes: Sequence[AvatarCode]) -> None:
    """Rates, losses and moments that are left out."""
    for rate in RATES:
        found = mean_of([errors_of(avatar, *pair) for pair in shown(avatar, codes, rate, "stands")])
        encode_ms, decode_ms, both_ms = cpu_ms(avatar, codes, rate)
        print(
            f"  {rate:4.0f} kbit/s: used {used_kbit_s(avatar, codes, rate):5.2f}, {found.line()}, "
            f"{encode_ms:.2f} + {decode_ms:.2f} = {both_ms:.2f} CPU-ms a packet",
            flush=True,
        )
    cases = [(LOSSY_KBIT_S, share, way) for share in LOSSES for way in WAYS]
    cases += [(rate, 0.0, way) for rate in LOW_KBIT_S for way in WAYS]
    for rate, share, way in cases:
        found = mean_of(
            [
                errors_of(avatar, *pair)
                for seed in range(SEEDS if share else 1)
                for pair in shown(avatar, codes, rate, way, share, seed)
            ]
        )
        print(
            f"  {rate:4.0f} kbit/s, {100 * share:2.0f} % lost, {way:8s} {found.line()}", flush=True
        )


def track_hands(video: Path) -> list[TrackedState]:
    """The hands of every frame."""
    with (
        open_source(f"video:{video}") as source,
        Tracker.open(TrackerOptions(faces=0)) as tracker,
    ):
        return [tracker.track(frame) for frame in source]


def show_time_with_hands(
    avatar: PersonalAvatar, codes: Sequence[AvatarCode], states: Sequence[TrackedState]
) -> None:
    """CPU time when the first hand of `states`, or that and its mirror image, come with a face."""
    hands = [state.hands[0] for state in states if state.hands]
    for count in range(3):
        joined = [
            replace(code, hands=(hand, mirror_hand(hand))[:count])
            for code, hand in zip(codes, cycle(hands), strict=False)
        ]
        for rate in TIMED_KBIT_S:
            encode_ms, decode_ms, both_ms = cpu_ms(avatar, joined, rate)
            print(
                f"  {rate:4.0f} kbit/s, {count} hands: "
                f"{encode_ms:.2f} + {decode_ms:.2f} = {both_ms:.2f} CPU-ms a packet",
                flush=True,
            )


def show_hands(video: Path, states: Sequence[TrackedState]) -> None:
    """How far the joints of a video's hands are from where they were tracked."""
    with Avatar.open("default") as avatar:
        codes = [avatar.encode(state) for state in states if state.hands]
        print(f"{video.name}, {len(codes)} moments with hands")
        for rate in HAND_KBIT_S:
            cells = []
            for way in WAYS:
                away = [
                    np.linalg.norm(hand.joints - other.joints, axis=1).mean()
                    for code, got in shown(avatar, codes, rate, way)
                    for hand, other in zip(code.hands, got.hands, strict=False)
                    if hand.side == other.side
                ]
                cells.append(f"{way} {1e3 * np.mean(away):.2f}")
            both_ms = cpu_ms(avatar, codes, rate)[2]
            print(
                f"  {rate:4.0f} kbit/s: used {used_kbit_s(avatar, codes, rate):5.2f}, joints' mm: "
                f"{', '.join(cells)}; {both_ms:.2f} CPU-ms a packet",
                flush=True,
            )


@dataclass(frozen=True, slots=True)
class Bitstream:
    """Print a table for every video."""

    videos: tyro.conf.Positional[tuple[Path, ...]] = ()
    hands: tuple[Path, ...] = ()
    """Videos of which only the hands are sent."""
    options: EnrolmentOptions = field(default_factory=EnrolmentOptions)

    def run(self) -> None:
        hands = {video: track_hands(video) for video in self.hands}
        for video in self.videos:
            states = track(video)
            learned = Observations.of(states[: int(len(states) * TRAINED_SHARE)])
            model = enrol(lambda video=video: frames_of(video), learned, self.options)
            avatar = PersonalAvatar(model, "avatars/bench", fade=False)
            for with_frames in (True, False):
                codes = held_out_codes(avatar, video, states, with_frames)
                name = "encoded" if with_frames else "driven"
                print(f"{video.name}, {name}, {len(codes)} moments")
                show_face(avatar, codes)
                for seen in hands.values():
                    show_time_with_hands(avatar, codes, seen)
        for video, seen in hands.items():
            show_hands(video, seen)


if __name__ == "__main__":
    tyro.cli(Bitstream).run()
