"""What every codec that is trained on registered faces has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn

from avatar.datasets.capture_files import resized
from avatar.datasets.registered_capture import RegisteredCapture, RegisteredMoment

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

SAMPLE = 256
"""Moments, evenly far apart, from which averages are taken."""


class Encoded(NamedTuple):
    """A distribution of codes."""

    mean: Tensor
    """(B, latent)."""
    log_std: Tensor
    """(B, latent)."""

    def divergence(self) -> Tensor:
        """Kullback and Leibler's from N(0, 1), the mean over numbers and moments."""
        variance = torch.exp(2.0 * self.log_std)
        return 0.5 * (variance + self.mean.square() - 1.0 - 2.0 * self.log_std).mean()


class FaceCodec(nn.Module):
    """An encoder and a decoder of S x S textures and V vertices.

    Inside, textures and vertices are differences from the capture's average in units of its
    standard deviation (`FaceScale`); textures are (B, 3, S, S), vertices (B, V, 3).
    """

    name: ClassVar[str]
    texture_mean: Tensor
    texture_std: Tensor
    vertex_mean: Tensor
    vertex_std: Tensor

    def __init__(self, size: int, vertices: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("texture_mean", torch.zeros(3, size, size))
        self.register_buffer("texture_std", torch.ones(()))
        self.register_buffer("vertex_mean", torch.zeros(vertices, 3))
        self.register_buffer("vertex_std", torch.ones(()))

    @property
    def latent(self) -> int:
        """Numbers of a code."""
        raise NotImplementedError

    def encode(self, texture: Tensor, seen: Tensor, vertices: Tensor, view: Tensor) -> Encoded:
        """`seen` (B, 1, S, S) 0..1 says which texels count; `view` (B, 3)."""
        raise NotImplementedError

    def decode(self, code: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
        """Code (B, latent) and view (B, 3) -> texture and vertices."""
        raise NotImplementedError

    def forward(
        self, texture: Tensor, seen: Tensor, vertices: Tensor, view: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decoded texture and vertices, and the code's divergence. `noise` (B, latent) is in
        standard deviations of the code; zeros give the mean."""
        encoded = self.encode(texture, seen, vertices, view)
        code = encoded.mean + noise * torch.exp(encoded.log_std)
        decoded, moved = self.decode(code, view)
        return decoded, moved, encoded.divergence()

    def set_scale(self, scale: FaceScale) -> None:
        """What the units are."""
        for name in ("texture_mean", "texture_std", "vertex_mean", "vertex_std"):
            value = torch.as_tensor(getattr(scale, name), dtype=torch.float32)
            getattr(self, name).copy_(value)

    def normalised(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `forward` takes."""
        texture = (batch.texture.float() - self.texture_mean) / self.texture_std
        vertices = (batch.vertices - self.vertex_mean) / self.vertex_std
        return texture, batch.seen, vertices, batch.view

    @torch.no_grad()
    def repeated(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Through the code and back: (B, 3, S, S) sRGB code values 0..255 and (B, V, 3) metres."""
        inputs = self.normalised(batch)
        texture, vertices = self.decode(self.encode(*inputs).mean, batch.view)
        colours = texture * self.texture_std + self.texture_mean
        return colours.clamp(0.0, 255.0), vertices * self.vertex_std + self.vertex_mean


class Batch(NamedTuple):
    """Some moments as tensors."""

    texture: Tensor
    """(B, 3, S, S) uint8 sRGB, or float32 code values."""
    seen: Tensor
    """(B, 1, S, S) float32 0..1."""
    vertices: Tensor
    """(B, V, 3) float32 metres."""
    view: Tensor
    """(B, 3) float32."""

    @staticmethod
    def of(moments: list[RegisteredMoment], size: int) -> Batch:
        """Textures averaged down to `size`, which is not larger than theirs."""
        pairs = [reduced(one, size) for one in moments]
        return Batch(
            torch.from_numpy(np.stack([texture.transpose(2, 0, 1) for texture, _ in pairs])),
            torch.from_numpy(np.stack([seen[None] for _, seen in pairs])),
            torch.from_numpy(np.stack([one.vertices for one in moments])),
            torch.from_numpy(np.stack([one.view for one in moments])),
        )

    def to(self, device: torch.device) -> Self:
        """On another device."""
        return self._replace(**{k: v.to(device) for k, v in self._asdict().items()})


def reduced(moment: RegisteredMoment, size: int) -> tuple[UInt8, Float32]:
    """Texture (size, size, 3) and visibility (size, size), each texel the average of those it
    covers that are seen. Raises ValueError when the texture is smaller or not square."""
    height, width = moment.texture.shape[:2]
    if height != width or height < size:
        raise ValueError(
            f"codec training: expected square textures of at least {size} texels, "
            f"got {width} x {height}"
        )
    return resized(moment.texture, moment.seen, size)


def sample_rows(count: int, most: int = SAMPLE) -> npt.NDArray[np.intp]:
    """At most `most` of `count` rows, evenly far apart."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.intp))


@dataclass(frozen=True, slots=True, eq=False)
class FaceScale:
    """Averages of a capture and how far it strays from them."""

    texture_mean: Float32
    """(3, S, S) sRGB code values; texels that no camera sees look like their nearest that one
    does."""
    texture_std: float
    """Code values."""
    vertex_mean: Float32
    """(V, 3) metres."""
    vertex_std: float
    """Metres."""

    @staticmethod
    def of(capture: RegisteredCapture, size: int) -> FaceScale:
        """From an even sample of the capture. Raises ValueError when it is empty."""
        if not len(capture):
            raise ValueError("codec training: expected a capture with moments, got an empty one")
        rows = sample_rows(len(capture))
        total, square, weight = (np.zeros((size, size, 3)) for _ in range(3))
        vertices: list[Float32] = []
        for row in rows:
            moment = capture[int(row)]
            texture, visible = reduced(moment, size)
            seen = visible[..., None].astype(np.float64)
            colours = texture.astype(np.float64)
            total += seen * colours
            square += seen * colours**2
            weight += seen
            vertices.append(moment.vertices)
        known, every = weight[..., 0] > 1e-3, max(float(weight.sum()), 1e-9)
        mean = total / np.maximum(weight, 1e-3)
        if known.any():
            # Held-out moments show texels that these do not: they look like their neighbours.
            nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
            rows_of, columns_of = np.asarray(nearest)
            mean = mean[rows_of, columns_of]
        variance = max(float((square - 2 * mean * total + mean**2 * weight).sum()), 0.0) / every
        stacked = np.stack(vertices).astype(np.float64)
        vertex_mean = stacked.mean(0)
        return FaceScale(
            np.ascontiguousarray(mean.transpose(2, 0, 1), np.float32),
            max(variance**0.5, 1.0),
            vertex_mean.astype(np.float32),
            max(float((stacked - vertex_mean).std()), 1e-6),
        )
