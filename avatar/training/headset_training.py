"""Teaching the headset encoder: pictures with the codes of the faces that they show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from avatar.headset_encoder import (
    CAMERAS,
    HeadsetEncoder,
    HeadsetEncoderOptions,
    prepared_picture,
)

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]


class HeadsetMoments(Protocol):
    """Where pictures with known codes come from."""

    codes: Float32
    """(N, P + A): geometry, then appearance."""

    def __len__(self) -> int: ...

    def pictures(self, index: int) -> dict[str, UInt8]:
        """(H, W) uint8 grey by name of camera; a camera may be missing."""
        ...


@dataclass(frozen=True, slots=True)
class HeadsetTrainingOptions:
    """How long and with what disturbance."""

    steps: int = 1500
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    shift: int = 2
    """Pixels of the small picture by which each is moved at most: headsets slip."""
    noise: float = 0.05
    """Of a picture's standard deviation."""
    lost: float = 0.05
    """Share of the pictures that are left out."""
    seed: int = 5


def train_headset_encoder(
    moments: HeadsetMoments,
    encoder: HeadsetEncoderOptions,
    options: HeadsetTrainingOptions,
    importance: Float32 | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> HeadsetEncoder:
    """AdamW on the squared error of the code in its standard deviations.

    `importance` (P + A,): squared error that one unit of each number makes in the picture
    (`PersonalAvatar.weights`), if that is known. Raises ValueError when codes do not fit.
    """
    if moments.codes.shape != (len(moments), encoder.code) or not len(moments):
        raise ValueError(
            f"headset training: expected codes of {encoder.code} numbers for {len(moments)} "
            f"moments, got {moments.codes.shape}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = HeadsetEncoder(encoder)
    generator = torch.Generator().manual_seed(options.seed)
    pictures, present = prepared(moments, encoder.size)
    codes = torch.from_numpy(np.ascontiguousarray(moments.codes, np.float32))
    mean, std = codes.mean(0), codes.std(0, correction=0).clamp(min=1e-4)
    model.code_mean.copy_(mean)
    model.code_std.copy_(std)
    wanted = (codes - mean) / std
    weight = torch.ones(encoder.code)
    if importance is not None:
        weight = torch.from_numpy(importance.astype(np.float32)) * std.square()
        weight = weight / weight.mean()
    optimiser = torch.optim.AdamW(
        model.parameters(), options.learning_rate, weight_decay=options.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, options.learning_rate, total_steps=max(options.steps, 1), pct_start=0.1
    )
    for step in range(options.steps):
        rows = torch.randint(len(codes), (options.batch,), generator=generator)
        seen, here = _disturbed(pictures[rows], present[rows], options, generator)
        loss = ((model(seen, here) - wanted[rows]).square() * weight).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 250 == 0 or step == options.steps - 1:
            say(f"headset: step {step}, squared error {float(loss.detach()):.3f} of the variance")
    return model.eval()


def prepared(moments: HeadsetMoments, size: int) -> tuple[Tensor, Tensor]:
    """(N, 5, size, size) float32 and (N, 5) bool of all moments."""
    pictures = np.zeros((len(moments), len(CAMERAS), size, size), np.float32)
    present = np.zeros((len(moments), len(CAMERAS)), bool)
    for k in range(len(moments)):
        for name, picture in moments.pictures(k).items():
            camera = CAMERAS.index(name)
            pictures[k, camera] = prepared_picture(picture, size, name)
            present[k, camera] = True
    return torch.from_numpy(pictures), torch.from_numpy(present)


@torch.no_grad()
def explained_share(encoder: HeadsetEncoder, moments: HeadsetMoments) -> Float32:
    """(P + A,) share of each number's variance that the encoder tells of these moments: 1 is all,
    0 no more than their average does, below 0 worse."""
    pictures, present = prepared(moments, encoder.options.size)
    found = torch.cat(
        [encoder(pictures[k : k + 64], present[k : k + 64]) for k in range(0, len(moments), 64)]
    )
    codes = (found * encoder.code_std + encoder.code_mean).numpy()
    error = ((codes - moments.codes) ** 2).mean(0)
    return (1.0 - error / np.maximum(moments.codes.var(0), 1e-12)).astype(np.float32)


def _disturbed(
    pictures: Tensor, present: Tensor, options: HeadsetTrainingOptions, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """What slipping, noise and a lost picture do."""
    noisy = pictures + options.noise * torch.randn(pictures.shape, generator=generator)
    if options.shift:
        reach = 2 * options.shift + 1
        moves = torch.randint(reach, (len(CAMERAS), 2), generator=generator) - options.shift
        noisy = torch.stack(
            [
                noisy[:, k].roll((int(moves[k, 0]), int(moves[k, 1])), (1, 2))
                for k in range(len(CAMERAS))
            ],
            1,
        )
    kept = torch.rand(present.shape, generator=generator) >= options.lost
    return noisy, present & kept
