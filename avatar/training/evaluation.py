"""How well a codec repeats faces that its training never saw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from avatar.checkpoint import Checkpoint
from avatar.decoder import CHART, Decoder
from avatar.encoder import Encoder
from avatar.head_mesh import ATLAS, HeadMesh
from avatar.head_placement import moving_vertices
from avatar.skin_texture import EXPONENT, OFFSET
from avatar.training.dome import Dome
from avatar.training.shape_basis import importance_of

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Figures:
    """Errors on held-out moments, true weights in, decoded face out."""

    shape_mm: float
    """Mean distance of the moving vertices, millimetres."""
    shape_p95_mm: float
    closing_mm: float
    """Mean distance where lids and lips must close."""
    rig_mm: float
    """The plain linear rig's mean distance from the same truth."""
    texture_db: float
    """PSNR of the sRGB albedo over the face's texels."""
    mean_texture_db: float
    """The same for the average texture, the floor."""
    neutral_texture_db: float
    """The same for the neutral texture."""

    def __str__(self) -> str:
        return (
            f"shape {self.shape_mm:.3f} mm (p95 {self.shape_p95_mm:.3f}, lids and lips "
            f"{self.closing_mm:.3f}, linear rig {self.rig_mm:.3f}); texture "
            f"{self.texture_db:.2f} dB (mean texture {self.mean_texture_db:.2f}, "
            f"neutral {self.neutral_texture_db:.2f})"
        )


def evaluate(path: Path, dome: Dome, trained_on: Dome) -> Figures:
    """The codec in `path` on the moments of `dome`; the mean texture is that of `trained_on`."""
    distances, closing, rig = [], [], []
    errors = {"texture": [], "mean": [], "neutral": []}
    mean_field = _mean_fields(trained_on)
    with Checkpoint(path) as file:
        encoder = Encoder.read(file)
        for index, name in enumerate(dome.people):
            head = HeadMesh.open(name)
            moving = moving_vertices(head)
            decoder = Decoder.read(file, name, len(moving))
            closes = importance_of(head, moving) > 2.0
            s, p = dome.shapes, dome.pictures
            for i in np.flatnonzero(s.person == index):
                truth = s.offsets[i].reshape(-1, 3)
                geometry, _ = encoder.code(s.weights[i], s.gaze[i])
                off = np.linalg.norm(decoder.offsets(geometry) - truth, axis=1) * 1000.0
                linear = np.tensordot(s.weights[i], head.shapes[:, moving], axes=1)
                distances.append(off)
                closing.append(off[closes])
                rig.append(np.linalg.norm(linear - truth, axis=1) * 1000.0)
            size = round(ATLAS * 0.75)
            skin = cv2.resize(
                head.albedo[:size, :size], (CHART, CHART), interpolation=cv2.INTER_AREA
            )
            lifted = skin[dome.mask].astype(np.float32) + np.float32(OFFSET)
            x, y, w, h = decoder.colour_basis.rectangle
            inside = dome.mask[y : y + h, x : x + w]
            for i in np.flatnonzero(p.person == index):
                truth = _encoded(lifted, p.field[i].astype(np.float32))
                _, appearance = encoder.code(p.weights[i], p.gaze[i])
                field = decoder.field(appearance, p.view[i])[inside]
                for name_, guess in (
                    ("texture", field), ("mean", mean_field[index]), ("neutral", 0.0 * field)
                ):  # fmt: skip
                    errors[name_].append(np.square(_encoded(lifted, guess) - truth).mean())
    every = np.concatenate(distances)
    decibels = {k: 10.0 * np.log10(255.0**2 / np.mean(v)) for k, v in errors.items()}
    return Figures(
        shape_mm=float(every.mean()),
        shape_p95_mm=float(np.percentile(every, 95)),
        closing_mm=float(np.concatenate(closing).mean()),
        rig_mm=float(np.concatenate(rig).mean()),
        texture_db=float(decibels["texture"]),
        mean_texture_db=float(decibels["mean"]),
        neutral_texture_db=float(decibels["neutral"]),
    )


def _mean_fields(dome: Dome) -> list[Float32]:
    p = dome.pictures
    return [
        p.field[p.person == index].astype(np.float32).mean(0) for index in range(len(dome.people))
    ]


def _encoded(lifted: Float32, field: Float32) -> Float32:
    """sRGB 0..255 of the neutral (already lifted) skin times exp(field) in linear light."""
    return np.clip(lifted * np.exp(field / EXPONENT) - OFFSET, 0.0, 255.0).astype(np.float32)
