"""The net of the small generator: it sees a noisy picture and says what the clean one is.

A plain transformer over large patches of pixels that predicts the picture itself and not the noise
(JiT: Li and He 2025, arXiv:2511.13720), so that it needs no autoencoder. Patches look at each other
and at the words; time, sentence and style scale and shift what every block reads (Peebles and Xie
2023, "Scalable Diffusion Models with Transformers", with one modulation for all blocks as in
PixArt, Chen et al. 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

TEXT_SIZE = 384
"""Entries of a vector of `overlay.text_encoder`."""
TEXT_TOKENS = 16
"""Pieces of a prompt that the net reads."""
NOISE_HEARD = 0.1
"""How much of the input the net hears at time 0, against 1 at time 1."""


@dataclass(frozen=True, slots=True)
class NetShape:
    """How large the net is."""

    side: int = 128
    """Pixels a side."""
    patch: int = 16
    width: int = 256
    depth: int = 6
    heads: int = 4
    hidden: int = 448
    """Of the gated feed-forward layers."""
    styles: int = 1

    @property
    def patches(self) -> int:
        return (self.side // self.patch) ** 2


class FlowTransformer(nn.Module):
    """(noisy picture, time, words, sentence, style) -> the clean picture."""

    def __init__(self, shape: NetShape) -> None:
        super().__init__()
        self.shape = shape
        width, pixels = shape.width, 4 * shape.patch**2
        self.patch_in = nn.Linear(pixels, width)
        self.patch_out = nn.Linear(width, pixels)
        self.places = nn.Parameter(torch.randn(shape.patches, width))
        self.words = nn.Linear(TEXT_SIZE, width)
        self.word_places = nn.Parameter(torch.randn(TEXT_TOKENS, width) * 0.3)
        self.sentence = nn.Linear(TEXT_SIZE, width)
        self.style = nn.Embedding(shape.styles, width)
        self.time = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.modulation = nn.Linear(width, 6 * width)
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.depth))
        self.last = nn.Parameter(torch.zeros(2, width))
        self._start()

    @staticmethod
    def of_run(saved: dict[str, Any]) -> FlowTransformer:
        """The averaged net of a checkpoint."""
        net = FlowTransformer(NetShape(**saved["shape"]))
        net.load_state_dict(saved["average"])
        return net

    def _start(self) -> None:
        nn.init.normal_(self.modulation.weight, std=0.02)
        nn.init.zeros_(self.modulation.bias)
        nn.init.normal_(self.style.weight, std=0.5)

    def forward(
        self,
        noisy: torch.Tensor,
        time: torch.Tensor,
        words: torch.Tensor,
        sentence: torch.Tensor,
        style: torch.Tensor,
    ) -> torch.Tensor:
        """(B, 4, S, S), (B,) 0 = noise to 1 = picture, (B, TEXT_TOKENS, 384), (B, 384),
        (B,) int64 -> (B, 4, S, S): premultiplied RGBA in -1..1."""
        state = functional.silu(
            self.time(_waves(time)) + self.sentence(sentence) + self.style(style)
        )
        change = self.modulation(state).unflatten(1, (6, -1))
        # At the start the input says nothing but which of the possible pictures it will be.
        heard = (NOISE_HEARD + (1.0 - NOISE_HEARD) * time)[:, None, None, None]
        patches = self.patch_in(self.cut(noisy * heard)) + self.places
        told = _normal(self.words(words) + self.word_places)
        for block in self.blocks:
            patches = block(patches, told, change)
        shift, scale = (change[:, 0:2] + self.last).unsqueeze(2).unbind(1)
        done = _normal(patches) * (1.0 + scale) + shift
        return self.joined(self.patch_out(done))

    def cut(self, pictures: torch.Tensor) -> torch.Tensor:
        """(B, 4, S, S) -> (B, patches, pixels of a patch)."""
        side = self.shape.side // self.shape.patch
        cut = pictures.reshape(-1, 4, side, self.shape.patch, side, self.shape.patch)
        return cut.permute(0, 2, 4, 1, 3, 5).reshape(-1, side * side, 4 * self.shape.patch**2)

    def joined(self, patches: torch.Tensor) -> torch.Tensor:
        """The inverse of `cut`."""
        side, patch = self.shape.side // self.shape.patch, self.shape.patch
        cut = patches.reshape(-1, side, side, 4, patch, patch)
        return cut.permute(0, 3, 1, 4, 2, 5).reshape(-1, 4, self.shape.side, self.shape.side)

    @torch.no_grad()
    def start_from_patches(self, pictures: torch.Tensor) -> float:
        """Make the first and the last layer the best linear autoencoder of these pictures'
        patches (their principal axes). Returns the share of the variance that it keeps."""
        rows = self.cut(pictures).flatten(0, 1).float()
        mean = rows.mean(dim=0)
        centred = rows - mean
        values, axes = torch.linalg.eigh(centred.T @ centred / len(rows))
        width = min(self.shape.width, len(values))
        axes, values_kept = axes[:, -width:].flip(1), values[-width:].flip(0)
        # In units of picture and noise together, so that no axis is louder than the others.
        size = torch.sqrt(values_kept + 1.0)
        self.patch_in.weight.zero_()
        self.patch_in.weight[:width] = (axes / size).T
        self.patch_in.bias.zero_()
        self.patch_in.bias[:width] = -(mean @ axes) / size
        self.patch_out.weight.zero_()
        self.patch_out.weight[:, :width] = axes * torch.sqrt(values_kept.clamp_min(1e-6))
        self.patch_out.bias.copy_(mean)
        return float(values_kept.sum() / values.sum())

    @torch.no_grad()
    def start_from_texts(self, words: torch.Tensor, sentences: torch.Tensor) -> None:
        """Make the layers that read (N, 384) words and sentences like these whiten them: captions
        differ little from each other, and all of it in a few directions."""
        for layer, rows in ((self.words, words.float()), (self.sentence, sentences.float())):
            mean = rows.mean(dim=0)
            centred = rows - mean
            values, axes = torch.linalg.eigh(centred.T @ centred / len(rows))
            count = min(self.shape.width, len(values))
            values, axes = values[-count:], axes[:, -count:]
            weight = axes / torch.sqrt(values + 0.02 * values.mean())
            layer.weight.zero_()
            layer.weight[:count] = weight.T
            layer.bias.zero_()
            layer.bias[:count] = -(mean @ weight)


class _Block(nn.Module):
    def __init__(self, shape: NetShape) -> None:
        super().__init__()
        width = shape.width
        self.heads = shape.heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.mix = nn.Linear(width, width)
        self.gate_up = nn.Linear(width, 2 * shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, width)
        gates = torch.zeros(6, width)
        gates[2] = gates[5] = 1.0 / math.sqrt(2 * shape.depth)
        self.own = nn.Parameter(gates)

    def forward(
        self, patches: torch.Tensor, told: torch.Tensor, change: torch.Tensor
    ) -> torch.Tensor:
        """The patches look at each other and at what is told; the words stay as they are."""
        one, two, three, four, five, six = (change + self.own).unsqueeze(2).unbind(1)
        read = _normal(patches) * (1.0 + two) + one
        query = self._heads(self.query(read))
        key, value = self.key_value(torch.cat([read, told], dim=1)).chunk(2, dim=-1)
        seen = functional.scaled_dot_product_attention(
            _normal(query), _normal(self._heads(key)), self._heads(value)
        )
        patches = patches + three * self.mix(seen.transpose(1, 2).flatten(2))
        read = _normal(patches) * (1.0 + five) + four
        gate, up = self.gate_up(read).chunk(2, dim=-1)
        return patches + six * self.down(functional.silu(gate) * up)

    def _heads(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.unflatten(2, (self.heads, -1)).transpose(1, 2)


def _normal(values: torch.Tensor) -> torch.Tensor:
    """Length 1 an entry on average. Written out, since ONNX has no such operation yet."""
    mean = values.float().square().mean(dim=-1, keepdim=True)
    return (values * torch.rsqrt(mean + 1e-6)).to(values.dtype)


def _waves(time: torch.Tensor) -> torch.Tensor:
    """(B,) -> (B, 64): sines and cosines of falling wave length."""
    rates = torch.exp(torch.linspace(0.0, math.log(200.0), 32, device=time.device))
    angles = time[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
