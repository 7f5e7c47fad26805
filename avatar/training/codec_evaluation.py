"""How well codecs repeat held-out moments of a registered capture, beside mean and PCA."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from avatar.datasets.losses import multiface_reported_texture, multiface_texture, multiface_vertices
from avatar.datasets.registered_capture import RegisteredCapture
from avatar.training.face_codec import Batch, FaceCodec, sample_rows

Float32 = npt.NDArray[np.float32]
Raw = Callable[[npt.NDArray[np.generic]], npt.NDArray[np.float64]]
"""From the sRGB (..., 3) that a codec gives to the values in which a data set measures."""

HELD_OUT, FITTED = 200, 400
"""Held-out moments that are looked at, and training moments from which PCA is made."""


@dataclass(frozen=True, slots=True)
class CodecFigures:
    """Means over held-out moments."""

    name: str
    texture_db: float
    """PSNR of sRGB code values over the texels that are seen."""
    vertices_mm: float
    """Mean distance."""
    multiface_texture: float
    """What Multiface's tables call the texture loss: squared code values over all texels, those
    that are not seen counted as 0."""
    multiface_vertices: float
    """And the mesh loss: in squared deviations of the capture."""

    def __str__(self) -> str:
        return (
            f"{self.name}: texture {self.texture_db:.2f} dB, vertices {self.vertices_mm:.3f} mm "
            f"(Multiface's losses {self.multiface_texture:.2f}, {self.multiface_vertices:.4f})"
        )


def evaluate_codec(
    codec: FaceCodec,
    name: str,
    trained_on: RegisteredCapture,
    held_out: RegisteredCapture,
    numbers: int = 64,
    raw: Raw | None = None,
) -> list[CodecFigures]:
    """The codec, encoded from each held-out moment; the average of the training moments; and the
    held-out moment's own projection on `numbers` principal components of texture and as many of the
    vertices (what no code of that size beats by a global linear map)."""
    device = codec.texture_mean.device
    pca = _Principal.fit(codec, trained_on, numbers)
    names = (name, "mean", f"PCA {pca.size}")
    sums = np.zeros((3, 4))
    rows = sample_rows(len(held_out), HELD_OUT)
    for row in rows:
        batch = Batch.of([held_out[int(row)]], codec.size).to(device)
        texture, seen, vertices, _ = codec.normalised(batch)
        found = codec.repeated(batch)
        ways = (
            found,
            _shown(codec, torch.zeros_like(texture), torch.zeros_like(vertices)),
            _shown(codec, *pca.repeated(texture * seen, vertices)),
        )
        for k, (colours, moved) in enumerate(ways):
            sums[k] += _errors(codec, batch, colours, moved, raw)
    means = sums / len(rows)
    return [
        CodecFigures(which, 10.0 * float(np.log10(255.0**2 / max(m[0], 1e-9))), *map(float, m[1:]))
        for which, m in zip(names, means, strict=True)
    ]


def _errors(
    codec: FaceCodec, batch: Batch, colours: Tensor, moved: Tensor, raw: Raw | None
) -> tuple[float, float, float, float]:
    truth = batch.texture.float()
    square = ((colours - truth).square() * batch.seen).sum() / (3.0 * batch.seen.sum() + 1e-9)
    apart = (moved - batch.vertices).norm(dim=2).mean() * 1e3
    deviation = float(codec.texture_std)
    compared = [one if raw is None else _converted(one, raw) for one in (colours, truth)]
    mask = (batch.seen > 0).to(truth.dtype)
    texture = multiface_texture(compared[0], compared[1], mask, deviation)
    mesh = multiface_vertices(moved, batch.vertices, float(codec.vertex_std))
    reported = multiface_reported_texture(texture, deviation)
    return float(square), float(apart), float(reported), float(mesh)


def _converted(values: Tensor, raw: Raw) -> Tensor:
    """(B, 3, S, S); `raw` takes channels last."""
    out = raw(values.permute(0, 2, 3, 1).cpu().numpy()).astype(np.float32)
    return torch.from_numpy(out).permute(0, 3, 1, 2).to(values.device)


def _shown(codec: FaceCodec, texture: Tensor, vertices: Tensor) -> tuple[Tensor, Tensor]:
    colours = texture * codec.texture_std + codec.texture_mean
    return colours.clamp(0.0, 255.0), vertices * codec.vertex_std + codec.vertex_mean


@dataclass(frozen=True, slots=True, eq=False)
class _Principal:
    """Components without the average, which is the codec's."""

    texture: Tensor
    """(size, 3 * S * S) orthonormal rows."""
    vertices: Tensor
    """(size, V * 3)."""

    @property
    def size(self) -> int:
        return len(self.texture)

    @staticmethod
    def fit(codec: FaceCodec, capture: RegisteredCapture, numbers: int) -> _Principal:
        textures, meshes = [], []
        device = codec.texture_mean.device
        for row in sample_rows(len(capture), FITTED):
            batch = Batch.of([capture[int(row)]], codec.size).to(device)
            texture, seen, vertices, _ = codec.normalised(batch)
            textures.append((texture * seen).flatten())
            meshes.append(vertices.flatten())
        return _Principal(
            principal_rows(torch.stack(textures), numbers),
            principal_rows(torch.stack(meshes), numbers),
        )

    def repeated(self, texture: Tensor, vertices: Tensor) -> tuple[Tensor, Tensor]:
        shown = (texture.flatten(1) @ self.texture.T) @ self.texture
        moved = (vertices.flatten(1) @ self.vertices.T) @ self.vertices
        return shown.view_as(texture), moved.view_as(vertices)


def principal_rows(samples: Tensor, numbers: int) -> Tensor:
    """(N, D) -> (at most `numbers`, D) orthonormal, the directions of most variance about zero."""
    values, vectors = torch.linalg.eigh((samples @ samples.T).double())
    keep = torch.nonzero(values > 1e-6 * values[-1].clamp(min=1e-12)).flatten().flip(0)[:numbers]
    return (vectors[:, keep] / values[keep].sqrt()).T.float() @ samples
