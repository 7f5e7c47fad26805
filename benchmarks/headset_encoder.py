"""The headset encoder on synthetic pictures: `python -m benchmarks.headset_encoder`.

A shipped avatar makes seeded faces; five cameras about where the Quest Pro of Ava-256 has them draw
it in grey, brows to mouth from a few centimetres; the encoder learns the codes and is measured on
faces that it has not seen. The pictures show our own avatar, not infrared light on skin: the
figures say that layout and training work, not how well a real headset would do.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import tyro
from PIL import Image

from avatar.codec import Avatar
from avatar.encoder import APPEARANCE, GEOMETRY
from avatar.eye_balls import STRAIGHT
from avatar.head_mesh import HeadMesh
from avatar.head_placement import moving_vertices
from avatar.headset_encoder import CAMERAS, PICTURE_SIZE, HeadsetEncoderOptions
from avatar.training.expressions import sample_expressions
from avatar.training.headset_training import (
    HeadsetTrainingOptions,
    explained_share,
    train_headset_encoder,
)
from render.renderer import Renderer, RenderOptions, open_renderer
from streams.avatar_code import AvatarCode
from streams.rigid import Rigid
from streams.tracked_state import FacePose, TrackedState
from streams.view import View

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

PLACES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "cyclop": ((0.0, 0.035, 0.075), (0.0, -0.005, 0.0)),
    "left-eye-atl-temporal": ((0.072, 0.008, 0.05), (0.030, 0.0, 0.008)),
    "left-mouth": ((0.045, -0.030, 0.095), (0.008, -0.068, 0.02)),
    "right-eye-atl-temporal": ((-0.072, 0.008, 0.05), (-0.030, 0.0, 0.008)),
    "right-mouth": ((-0.045, -0.030, 0.095), (-0.008, -0.068, 0.02)),
}
"""Where each camera is and what it looks at, metres, head frame."""
FIELD_OF_VIEW = np.deg2rad(80.0)
SLIP_M, SLIP_RAD = 0.002, np.deg2rad(2.0)
"""Standard deviation of how the headset sits."""


class HeadsetViews:
    """Pictures of seeded faces. A `HeadsetMoments`."""

    def __init__(self, codes: Float32, pictures: list[dict[str, UInt8]]) -> None:
        self.codes, self._pictures = codes, pictures

    def __len__(self) -> int:
        return len(self.codes)

    def pictures(self, index: int) -> dict[str, UInt8]:
        """Of one moment."""
        return self._pictures[index]

    @staticmethod
    def draw(avatar: Avatar, count: int, seed: int, size: int = PICTURE_SIZE) -> HeadsetViews:
        """`count` faces, each with the headset sitting a little differently."""
        rng = np.random.default_rng(seed)
        weights, gaze = sample_expressions(count, rng)
        codes, pictures = [], []
        options = RenderOptions(depth=False, antialias="none", shadows=False)
        with open_renderer("gl", options) as renderer:
            for k in range(count):
                face = FacePose(
                    weights[k], np.zeros((478, 3), np.float32), gaze[k], Rigid.identity(), 1.0
                )
                code = avatar.encode(TrackedState(k, "headset", face))
                codes.append(np.concatenate([code.geometry, code.appearance]))
                slip = Rigid.from_rotvec(SLIP_RAD * rng.normal(size=3), SLIP_M * rng.normal(size=3))
                pictures.append(headset_pictures(renderer, avatar, code, slip, size))
        return HeadsetViews(np.stack(codes), pictures)


def headset_pictures(
    renderer: Renderer, avatar: Avatar, code: AvatarCode, head_from_headset: Rigid, size: int
) -> dict[str, UInt8]:
    """(size, size) uint8 by name of camera; the green channel stands for infrared."""
    pictures = {}
    for name, (place, target) in PLACES.items():
        world_from_eye = head_from_headset @ looking(np.array(place), np.array(target))
        half = FIELD_OF_VIEW / 2.0
        view = View(
            code.t_ns, "mono", world_from_eye, np.array([-half, half, half, -half]), (size, size)
        )
        drawn = renderer.draw(avatar.decode(code, view), view).rgba
        pictures[name] = np.ascontiguousarray(drawn[..., 1])
    return pictures


def looking(place: npt.NDArray[np.float64], target: npt.NDArray[np.float64]) -> Rigid:
    """Of a camera (x right, y down, z forward) at `place` that looks at `target`, brow on top."""
    forward = (target - place) / np.linalg.norm(target - place)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    return Rigid.from_rotation(np.stack([right, np.cross(forward, right), forward], axis=1), place)


def contact_sheet(views: HeadsetViews, rows: int) -> UInt8:
    """The first moments, a row each."""
    lines = [np.hstack([views.pictures(k)[name] for name in CAMERAS]) for k in range(rows)]
    return np.vstack(lines)


@dataclass(frozen=True, slots=True)
class HeadsetEncoding:
    """Draw, train, measure."""

    avatar: str = "default"
    moments: int = 800
    held_out: int = 150
    size: int = 200
    """Pixels of the drawn pictures; the layout's are 400."""
    steps: int = 1500
    picture: Path | None = None
    """Where to write some of the pictures."""

    def run(self) -> None:
        with Avatar.open(self.avatar) as avatar:
            begun = time.monotonic()
            views = HeadsetViews.draw(avatar, self.moments, 1, self.size)
            others = HeadsetViews.draw(avatar, self.held_out, 2, self.size)
            print(f"drawn in {time.monotonic() - begun:.0f} s", flush=True)
            if self.picture is not None:
                Image.fromarray(contact_sheet(others, 5)).save(self.picture)
            begun = time.monotonic()
            encoder = train_headset_encoder(
                views,
                HeadsetEncoderOptions(GEOMETRY, APPEARANCE),
                HeadsetTrainingOptions(steps=self.steps),
                np.concatenate(avatar.weights()).astype(np.float32),
                lambda line: print(line, flush=True),
            )
            count = sum(p.numel() for p in encoder.parameters())
            print(f"trained in {time.monotonic() - begun:.0f} s, {count / 1e6:.2f} M parameters")
            share = explained_share(encoder, others)
            variance = others.codes.var(0)
            for name, part in (
                ("geometry", slice(0, GEOMETRY)), ("appearance", slice(GEOMETRY, None)),
            ):  # fmt: skip
                told = float((share[part] * variance[part]).sum() / variance[part].sum())
                print(f"{name}: {100 * told:.1f} % of the variance of unseen faces is told")
            moved, mean_moved = [], []
            moving = moving_vertices(HeadMesh.open(self.avatar))
            usual = encoder.code_mean.numpy()[:GEOMETRY]
            for k in range(len(others)):
                geometry, _ = encoder.code(others.pictures(k))
                truth = vertices_of(avatar, others.codes[k, :GEOMETRY])
                for row, guess in ((moved, geometry), (mean_moved, usual)):
                    away = (vertices_of(avatar, guess) - truth)[moving]
                    row.append(np.linalg.norm(away, axis=1).mean() * 1e3)
            ours, floor = float(np.mean(moved)), float(np.mean(mean_moved))
            print(f"moving vertices: {ours:.3f} mm; with the usual face {floor:.3f} mm")
            pictures = others.pictures(0)
            begun = time.process_time()
            for _ in range(50):
                encoder.code(pictures)
            print(f"encoding: {(time.process_time() - begun) * 20:.2f} CPU-ms")


def vertices_of(avatar: Avatar, geometry: Float32) -> Float32:
    """(V, 3) metres, looking straight ahead."""
    code = AvatarCode(
        0, avatar.id, geometry, np.zeros(APPEARANCE, np.float32), STRAIGHT, Rigid.identity()
    )
    return avatar.decode(code).vertices


if __name__ == "__main__":
    cv2.setNumThreads(1)
    tyro.cli(HeadsetEncoding).run()
