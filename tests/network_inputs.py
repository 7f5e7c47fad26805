"""What tracking's networks are compared on: fresh random numbers, the clip that ships, people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from tracking.face_landmarks import BLENDSHAPE_LANDMARKS
from tracking.net import NETS, NetSource, NetSpec
from tracking.region import (
    Cut,
    Region,
    crops,
    hand_region_of_landmarks,
    into_picture,
    whole_picture,
)

Float32 = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]

CLIP_FRAME = 50
"""Of the clip that ships: a face and a raised hand."""
CLIP_FACE, CLIP_HAND = Region(328.0, 215.0, 230.0, 0.05), Region(105.0, 330.0, 330.0, 0.1)
"""There."""


def fresh(spec: NetSpec, count: int, rng: np.random.Generator) -> Float32:
    """Random colours, or random landmarks as of a face."""
    if len(spec.input_shape) == 3:
        return rng.uniform(*spec.input_range, (count, *spec.input_shape)).astype(np.float32)
    return rng.uniform(100.0, 500.0, (count, *spec.input_shape)).astype(np.float32)


def frames(video: Path, *numbers: int) -> Iterator[Picture]:
    """Those frames of a video, (H, W, 3) uint8."""
    with av.open(str(video)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in numbers:
                yield np.ascontiguousarray(frame.to_ndarray(format="rgb24"), np.uint8)
            if number == max(numbers):
                return


Look = tuple[Picture, Region]


def seen(network: str, nets: NetSource, looks: list[Look]) -> Float32:
    """What a network sees of looks at faces or hands; a detector sees the whole picture. `nets`
    finds the landmarks whose blendshapes are asked for."""
    spec = NETS[network]
    if network == "face_blendshapes":
        landmarks, _, _ = nets.open("face_landmarks")(seen("face_landmarks", nets, looks))
        chosen = landmarks.reshape(-1, 478, 3)[:, BLENDSHAPE_LANDMARKS, :2]
        size = NETS["face_landmarks"].input_shape[0]
        placed = [
            into_picture(p, region, size) for p, (_, region) in zip(chosen, looks, strict=True)
        ]
        return np.stack(placed).astype(np.float32)
    detector = network.endswith("detector")
    cut = Cut(spec.input_shape[0], beyond_is_black=detector)
    parts = [
        crops(
            picture,
            [whole_picture(picture.shape[1], picture.shape[0]) if detector else region],
            cut,
            spec.input_range,
        )
        for picture, region in looks
    ]
    return np.concatenate(parts)


def on_the_clip(network: str, clip: Path) -> list[Look]:
    """Two looks at the synthetic person's face or hand."""
    picture = next(frames(clip, CLIP_FRAME))
    region = CLIP_FACE if "face" in network else CLIP_HAND
    return [(picture, region), (picture, region.shaken(2)[1])]


def on_people(network: str, folder: Path) -> list[Look]:
    """Looks at real faces, or at a real hand."""
    if "face" in network:
        pictures = [next(frames(folder / "faces" / f"{n}.mp4", 0)) for n in ("d0", "d12", "d18")]
        return [
            (p, Region(p.shape[1] / 2, p.shape[0] / 2, 0.75 * min(p.shape[:2]), 0.0))
            for p in pictures
        ]
    video = folder / "hands" / "asl_hand.mp4"
    known = json.loads((folder / "hands" / "asl_hand.expected_2d.json").read_text())
    return [
        (picture, hand_region_of_landmarks(np.array(known[number], np.float64)[:, :2]))
        for number, picture in zip((0, 100, 200), frames(video, 0, 100, 200), strict=True)
    ]
