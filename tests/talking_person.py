"""Codes of a person who talks and gestures, made here, and what a bitstream makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from avatar.bitstream import BitstreamDecoder, BitstreamEncoder, BitstreamOptions
from avatar.eye_balls import gaze_from_angles
from avatar.hand_rig import HandRig
from streams.avatar_code import AvatarCode
from streams.hand_skeleton import HandShape, joint_angles, joints_from_angles
from streams.rigid import Rigid
from streams.tracked_state import HandPose

Float32 = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
FPS, GEOMETRY, APPEARANCE = 30, 24, 160


@dataclass
class Person:
    """An avatar of which only the code matters: its expectation is a fixed linear map."""

    id: str = "avatars/test"

    def weights(self) -> tuple[Float32, Float32]:
        falling = 40.0 / np.arange(1, APPEARANCE + 1, dtype=np.float32)
        return np.full(GEOMETRY, 30.0, np.float32), falling

    def expected(self, pose: Rigid, geometry: Float32, gaze: Float32) -> Float32:
        return np.tile(geometry, 7)[:APPEARANCE] * np.float32(0.3)


@cache
def resting_hand(side: str) -> Float32:
    """(21, 3)."""
    return HandRig.open().rest_joints(side)


def hand_at(side: str, t: float, rng: np.random.Generator) -> HandPose:
    """A hand that moves and bends its fingers."""
    rest = resting_hand(side)
    angles = joint_angles(rest, side) + np.float32(0.3 * np.sin(3 * t)) * np.float32(0.5)
    pose = Rigid.from_rotvec([0.4 * np.sin(t), 0.3, 0.2], [0.2, -0.1 + 0.05 * np.sin(2 * t), -0.5])
    aside = np.full((5, 2), 0.2 * np.sin(t))
    joints = joints_from_angles(angles, HandShape.of(rest, side), pose, aside)
    return HandPose(side, joints, pose, joint_angles(joints, side), float(rng.uniform(0.5, 1.0)))


def speech(count: int, seed: int = 0, hands: bool = False) -> list[AvatarCode]:
    """Codes that wander as a talking person's do, each number with a correlation of 0.9."""
    rng = np.random.default_rng(seed)
    geometry, told = rng.normal(size=GEOMETRY), rng.normal(size=APPEARANCE)
    person, codes = Person(), []
    for k in range(count):
        geometry = 0.9 * geometry + 0.43 * rng.normal(size=GEOMETRY)
        told = 0.9 * told + 0.43 * rng.normal(size=APPEARANCE)
        t = k / FPS
        pose = Rigid.from_rotvec(
            [0.2 * np.sin(t), 0.3 * np.sin(0.7 * t), 0.0], [0.03 * np.sin(t), 0.01, -0.5]
        )
        angles = np.array([[0.2 * np.sin(2 * t), 0.1], [0.2 * np.sin(2 * t), 0.1]])
        gaze, shape = gaze_from_angles(angles), geometry.astype(np.float32)
        appearance = person.expected(pose, shape, gaze) + told.astype(np.float32)
        seen = tuple(hand_at(side, t, rng) for side in ("left", "right")) if hands else ()
        codes.append(
            AvatarCode(
                5_000_000_000 + k * 1_000_000_000 // FPS, person.id, shape,
                appearance.astype(np.float32), gaze, pose, seen, "encoded",
            )
        )  # fmt: skip
    return codes


def error_of(code: AvatarCode, wanted: AvatarCode) -> float:
    """Squared error in code values, as the encoder weighs it."""
    geometry, appearance = Person().weights()
    return float(
        (geometry * (code.geometry - wanted.geometry) ** 2).sum()
        + (appearance * (code.appearance - wanted.appearance) ** 2).sum()
    )


def sent(
    codes: list[AvatarCode],
    kbit_s: float,
    lost: Callable[[int], bool] = lambda k: False,
) -> tuple[list[AvatarCode | None], float, BitstreamDecoder]:
    """What is shown at each moment, kbit/s after the first second, and the decoder."""
    encoder = BitstreamEncoder(Person(), BitstreamOptions(kbit_s))
    decoder, shown, size = BitstreamDecoder(Person()), [], 0
    for k, code in enumerate(codes):
        packet = encoder.encode(code)
        arrives = packet is not None and not lost(k)
        size += len(packet) if packet is not None and k >= FPS else 0
        got = decoder.decode(packet) if packet is not None and arrives else None
        shown.append(got or decoder.concealed(code.t_ns))
    return shown, 8e-3 * size / max((len(codes) - FPS) / FPS, 1e-9), decoder
