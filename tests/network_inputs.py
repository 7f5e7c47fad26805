"""What tracking's networks are compared on: fresh random numbers, the clip that ships, people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from tracking.net import NETS, NetSource, NetSpec

Float32 = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float64]

CLIP_FRAME = 50
"""Of the clip that ships: a face and a raised hand."""
CLIP_FACE, CLIP_HAND = (328.0, 215.0, 230.0), (105.0, 330.0, 330.0)
"""There: middle and side of a square, pixels."""
BLENDSHAPE_LANDMARKS = np.arange(146) * 3
"""Some 146 of the 478: which ones makes no difference to a comparison of engines."""


def fresh(spec: NetSpec, count: int, rng: np.random.Generator) -> Float32:
    """Random colours, or random landmarks as of a face."""
    if len(spec.input_shape) == 3:
        return rng.uniform(*spec.input_range, (count, *spec.input_shape)).astype(np.float32)
    return rng.uniform(100.0, 500.0, (count, *spec.input_shape)).astype(np.float32)


def square(x: float, y: float, side: float, angle: float, pixels: int) -> Matrix:
    """The matrix of a turned square (pixels, radians) for `device_crops`."""
    scale = side / pixels
    along, across = np.cos(angle) * scale, np.sin(angle) * scale
    half = (pixels - 1) / 2
    return np.array(
        [
            [along, -across, x - (along - across) * half],
            [across, along, y - (across + along) * half],
        ]
    )


def cut(picture: Picture, matrix: Matrix, spec: NetSpec, black: bool = False) -> Float32:
    """A crop as a network takes it, by OpenCV."""
    size = spec.input_shape[0]
    crop = cv2.warpAffine(
        picture,
        matrix,
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT if black else cv2.BORDER_REPLICATE,
    )
    low, high = spec.input_range
    return (crop.astype(np.float32) * np.float32((high - low) / 255.0) + np.float32(low))[None]


def frames(video: Path, *numbers: int) -> Iterator[Picture]:
    """Those frames of a video, (H, W, 3) uint8."""
    with av.open(str(video)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in numbers:
                yield np.ascontiguousarray(frame.to_ndarray(format="rgb24"), np.uint8)
            if number == max(numbers):
                return


def seen(network: str, nets: NetSource, looks: list[tuple[Picture, Matrix]]) -> Float32:
    """What a network sees of looks at faces or hands; a detector sees the whole picture. `nets`
    finds the landmarks whose blendshapes are asked for."""
    spec = NETS[network]
    if network == "face_blendshapes":
        landmarks, _, _ = nets.open("face_landmarks")(seen("face_landmarks", nets, looks))
        chosen = landmarks.reshape(-1, 478, 3)[:, BLENDSHAPE_LANDMARKS, :2]
        placed = [m[:, :2] @ p.T + m[:, 2:] for p, (_, m) in zip(chosen, looks, strict=True)]
        return np.stack(placed).transpose(0, 2, 1).astype(np.float32).copy()
    if network.endswith("detector"):
        wholes = [
            square(p.shape[1] / 2, p.shape[0] / 2, max(p.shape[:2]), 0.0, spec.input_shape[0])
            for p, _ in looks
        ]
        parts = [cut(p, whole, spec, True) for (p, _), whole in zip(looks, wholes, strict=True)]
        return np.concatenate(parts)
    return np.concatenate([cut(picture, matrix, spec) for picture, matrix in looks])


def on_the_clip(network: str, clip: Path) -> list[tuple[Picture, Matrix]]:
    """Two looks at the synthetic person's face or hand."""
    picture = next(frames(clip, CLIP_FRAME))
    (x, y, side), pixels = (CLIP_FACE, 256) if "face" in network else (CLIP_HAND, 224)
    return [(picture, square(x + dx, y, side, dx / 90, pixels)) for dx in (0.0, 9.0)]


def on_people(network: str, folder: Path) -> list[tuple[Picture, Matrix]]:
    """Looks at real faces, or at a real hand."""
    if "face" in network:
        pictures = [next(frames(folder / "faces" / f"{n}.mp4", 0)) for n in ("d0", "d12", "d18")]
        return [
            (p, square(p.shape[1] / 2, p.shape[0] / 2, 0.75 * min(p.shape[:2]), 0.0, 256))
            for p in pictures
        ]
    video = folder / "hands" / "asl_hand.mp4"
    known = json.loads((folder / "hands" / "asl_hand.expected_2d.json").read_text())
    looks = []
    for number, picture in zip((0, 100, 200), frames(video, 0, 100, 200), strict=True):
        points = np.array(known[number], np.float64).reshape(21, -1)[:, :2]
        x, y = (points.min(0) + points.max(0)) / 2
        looks.append((picture, square(x, y, 1.6 * np.ptp(points, axis=0).max(), 0.0, 224)))
    return looks
