"""The plain convolutional codec: what a learned local basis is compared with.

A variational autoencoder of a face's texture and mesh after Lombardi et al. 2018, "Deep Appearance
Models for Face Rendering" (ACM TOG 37(4)), with the layer sizes that the Multiface data set
publishes for it (`models.py`, "base"): weight-normalised layers, transposed convolutions from 4 x 4
up to the texture, a bias for every texel of every feature map, the view direction joined to the
code. At 1024 texels, 7,306 vertices and a code of 128 it has their 6.79 M and 15.89 M parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from avatar.training.face_codec import Encoded, FaceCodec

SMALLEST, LARGEST = 64, 1024
BASE = 4
"""Texels on a side of the coarsest feature map."""
DOWN_WIDTHS = (3, 16, 16, 32, 32, 64, 64, 128, 128)
"""Channels of a 1024 texture and of each map after it. A smaller texture has as many maps fewer at
its fine end going up, and at its coarse end going down."""
UP_WIDTHS = (128, 64, 64, 32, 32, 16, 16)
"""Channels of the maps of 8, 16, ... texels; the first map has as many as the code, the last 3."""
HIDDEN, VIEW_HIDDEN = 256, 8
SLOPE = 0.2
"""Of the leaky rectifier."""
MEAN_SCALE, LOG_STD_SCALE = 0.1, 0.01
"""Of the encoder's raw outputs: training begins with small means and a deviation of 1."""


@dataclass(frozen=True, slots=True)
class ConvOptions:
    """How large the networks are."""

    size: int = 256
    """Texels on a side, a power of two from 64 to 1024."""
    latent: int = 128
    texel_bias: bool = True
    """False gives a bias a channel instead, as Multiface's "non"."""

    def __post_init__(self) -> None:
        if self.size not in (64, 128, 256, 512, 1024):
            raise ValueError(f"ConvOptions.size: expected 64, 128, ... or 1024, got {self.size}")
        if self.latent < 1:
            raise ValueError(f"ConvOptions.latent: expected a positive number, got {self.latent}")

    @property
    def levels(self) -> int:
        """Halvings between the texture and the coarsest map."""
        return int(math.log2(self.size // BASE))


class ConvCodec(FaceCodec):
    """Encoder and decoder over V vertices, in the units of `FaceCodec`."""

    name = "conv"

    def __init__(self, options: ConvOptions, vertices: int) -> None:
        super().__init__(options.size, vertices)
        self.options = options
        self.encoder = ConvEncoder(options, vertices)
        self.decoder = ConvDecoder(options, vertices)

    @property
    def latent(self) -> int:
        return self.options.latent

    def encode(self, texture: Tensor, seen: Tensor, vertices: Tensor, view: Tensor) -> Encoded:
        return self.encoder(texture * seen, vertices)

    def decode(self, code: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
        return self.decoder(code, view)


class ConvEncoder(nn.Module):
    """Texture (B, 3, S, S) and vertices (B, V, 3) -> the code's mean and log standard deviation."""

    def __init__(self, options: ConvOptions, vertices: int) -> None:
        super().__init__()
        widths = DOWN_WIDTHS[: options.levels + 1]
        self.texture = nn.Sequential(*(_Down(a, b) for a, b in pairwise(widths)))
        self.texture_features = _Dense(widths[-1] * BASE * BASE, HIDDEN)
        self.mesh_features = _Dense(vertices * 3, HIDDEN)
        self.code = _Dense(2 * HIDDEN, 2 * options.latent, last=True)

    def forward(self, texture: Tensor, vertices: Tensor) -> Encoded:
        seen = _rectified(self.texture_features(self.texture(texture).flatten(1)))
        shape = _rectified(self.mesh_features(vertices.flatten(1)))
        mean, log_std = self.code(torch.cat([seen, shape], 1)).chunk(2, 1)
        return Encoded(mean * MEAN_SCALE, log_std * LOG_STD_SCALE)


class ConvDecoder(nn.Module):
    """Code (B, latent) and view (B, 3) -> texture (B, 3, S, S) and vertices (B, V, 3)."""

    def __init__(self, options: ConvOptions, vertices: int) -> None:
        super().__init__()
        widths = (options.latent, *UP_WIDTHS[: options.levels - 1], 3)
        self.view = _Dense(3, VIEW_HIDDEN)
        self.hidden = _Dense(options.latent, HIDDEN)
        self.mesh = _Dense(HIDDEN, vertices * 3, last=True)
        self.base = _Dense(HIDDEN + VIEW_HIDDEN, options.latent * BASE * BASE)
        sizes = [BASE * 2 ** (k + 1) for k in range(options.levels)]
        self.up = nn.ModuleList(
            _Up(a, b, size if options.texel_bias else 1, last=size == options.size)
            for (a, b), size in zip(pairwise(widths), sizes, strict=True)
        )

    def forward(self, code: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
        hidden = _rectified(self.hidden(code))
        base = self.base(torch.cat([_rectified(self.view(view)), hidden], 1))
        texture = _rectified(base).unflatten(1, (code.shape[1], BASE, BASE))
        for layer in self.up:
            texture = layer(texture)
        return texture, self.mesh(hidden).unflatten(1, (-1, 3))

    def texel_biases(self) -> int:
        """How many of the parameters are biases of feature maps."""
        return sum(layer.bias.numel() for layer in self.up if isinstance(layer, _Up))


class _Dense(nn.Module):
    """A weight-normalised linear layer: one norm for the whole matrix, a gain for each output."""

    def __init__(self, inputs: int, outputs: int, last: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        _spread(self.weight, inputs + outputs, last)
        self.gain = nn.Parameter(self.weight.detach().norm().repeat(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.gain / self.weight.norm()
        return nn.functional.linear(x, self.weight) * scale + self.bias


class _Down(nn.Module):
    """A weight-normalised convolution of stride 2 and a leaky rectifier."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 4, 4))
        _spread(self.weight, (inputs + outputs) * 16, last=False)
        self.gain = nn.Parameter(self.weight.detach().norm().repeat(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * (self.gain / self.weight.norm())[:, None, None, None]
        return _rectified(nn.functional.conv2d(x, weight, self.bias, stride=2, padding=1))


class _Up(nn.Module):
    """A weight-normalised transposed convolution that doubles the map, a bias for each of its
    `size` x `size` texels, and a leaky rectifier unless it is the `last`."""

    def __init__(self, inputs: int, outputs: int, size: int, last: bool) -> None:
        super().__init__()
        # All four kernels that meet at a texel start equal: new layers magnify without a pattern.
        quarter = torch.empty(inputs, outputs, 2, 2)
        _spread(quarter, (inputs + outputs) * 4, last)
        self.weight = nn.Parameter(quarter.repeat_interleave(2, 2).repeat_interleave(2, 3))
        self.gain = nn.Parameter(self.weight.detach().norm().repeat(outputs))
        self.bias = nn.Parameter(torch.zeros(1, outputs, size, size))
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * (self.gain / self.weight.norm())[None, :, None, None]
        out = nn.functional.conv_transpose2d(x, weight, stride=2, padding=1) + self.bias
        return out if self.last else _rectified(out)


def _rectified(x: Tensor) -> Tensor:
    return nn.functional.leaky_relu(x, SLOPE)


def _spread(weight: Tensor, fan: int, last: bool) -> None:
    """Uniform, of the variance by Glorot and Bengio 2010; after the `last` comes no rectifier."""
    gain = 1.0 if last else math.sqrt(2.0 / (1.0 + SLOPE**2))
    limit = gain * math.sqrt(6.0 / fan)
    with torch.no_grad():
        weight.uniform_(-limit, limit)
