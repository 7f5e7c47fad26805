"""The losses by which Multiface and Ava-256 measure their own decoders, in their own units.

Sources: `train.py`, `test.py` and `models.py` of facebookresearch/multiface; `losses.py`,
`ddp-train.py`, `models/bottlenecks/vae.py` and `configs/config.yaml` of facebookresearch/ava-256.
Neither weights vertices. Tensors of either are differentiable; every loss is a mean over the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from avatar.datasets.capture_files import MM

if TYPE_CHECKING:
    from torch import Tensor

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Normalisation:
    """A capture's means and deviations, as its files give them."""

    texture_mean: Float32
    """(H, W, 3) code values 0..255."""
    texture_std: float
    """Code values; one number for all texels."""
    vertex_mean: Float32
    """(count, 3) metres, in the file's order of vertices."""
    vertex_std: float
    """Metres; one number for all vertices."""


@dataclass(frozen=True, slots=True)
class MultifaceWeights:
    """Of the parts of Multiface's loss; its defaults."""

    vertices: float = 1.0
    texture: float = 1.0
    screen: float = 0.0
    """Its code has it switched off unless asked for."""
    kl: float = 1e-2


@dataclass(frozen=True, slots=True)
class Ava256Weights:
    """Of the parts of Ava-256's loss; its defaults. Its fourth, the volume of the primitives
    (0.01), is of a decoder made of volumes and has no meaning for a mesh."""

    rgb: float = 1.0
    vertices: float = 0.1
    kl: float = 1e-3


def multiface_mask(raw_texture: Tensor) -> Tensor:
    """(..., H, W, 3) raw code values -> 1 where a channel says something, 0 where it is 0."""
    return (raw_texture != 0).to(raw_texture.dtype)


def multiface_texture(found: Tensor, truth: Tensor, mask: Tensor, texture_std: float) -> Tensor:
    """Masked squared error of the texture, in deviations: all (..., H, W, 3), the first two in
    *raw* code values 0..255 (`raw_colour.raw_from_display`). Texels outside the mask count as 0.
    """
    return ((found - truth) * mask).square().mean() / texture_std**2


def multiface_vertices(found: Tensor, truth: Tensor, vertex_std: float) -> Tensor:
    """Squared error of the vertices (..., count, 3) and deviation in metres: in deviations."""
    return ((found - truth) / vertex_std).square().mean()


def multiface_screen(found: Tensor, truth: Tensor, weight: Tensor, texture_std: float) -> Tensor:
    """Squared error of drawn pictures (..., h, w, 3) in raw code values 0..255, in deviations.

    `weight` (..., h, w, 3) 0..1: `loss_weight_mask.png` of its repository over its maximum, drawn
    on the mesh in the same view; 0 where no mesh is drawn.
    """
    return ((found - truth).square() * weight).mean() / texture_std**2


def multiface_kl(mean: Tensor, log_std: Tensor) -> Tensor:
    """Divergence of the code's distribution from N(0, 1), a mean over its numbers.

    `mean` and `log_std` (..., n) as they enter the decoder (its encoder's output times 0.1, 0.01).
    """
    return 0.5 * ((2.0 * log_std).exp() + mean.square() - 1.0 - 2.0 * log_std).mean()


def multiface_total(
    vertices: Tensor,
    texture: Tensor,
    screen: Tensor,
    kl: Tensor,
    weights: MultifaceWeights | None = None,
) -> Tensor:
    """The weighted sum that it descends."""
    w = weights or MultifaceWeights()
    return w.vertices * vertices + w.texture * texture + w.screen * screen + w.kl * kl


def multiface_reported_texture(texture: Tensor, texture_std: float) -> Tensor:
    """What its `test.py` and its tables call the texture loss: `multiface_texture` in squared raw
    code values."""
    return texture * texture_std**2


def ava256_rgb(found: Tensor, truth: Tensor) -> Tensor:
    """Absolute error of pictures (..., h, w, 3), code values 0..255."""
    return (found - truth).abs().mean()


def ava256_vertices(found: Tensor, truth: Tensor) -> Tensor:
    """Absolute error of the coordinates of vertices (..., count, 3) metres, in millimetres."""
    return (found - truth).abs().mean() / MM


def ava256_kl(mean: Tensor, log_std: Tensor) -> Tensor:
    """Its "stable" divergence from N(0, 1) of (..., n): deviations below 1 count as their inverse.

    A mean over all numbers.
    """
    size = log_std.abs()
    return (size - 0.5 + 0.5 * mean.square() + 0.5 * (-2.0 * size).exp()).mean()


def ava256_total(
    rgb: Tensor, vertices: Tensor, kl: Tensor, weights: Ava256Weights | None = None
) -> Tensor:
    """The weighted sum that it descends, without the primitives' volume."""
    w = weights or Ava256Weights()
    return w.rgb * rgb + w.vertices * vertices + w.kl * kl
