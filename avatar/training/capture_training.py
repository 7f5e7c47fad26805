"""One training loop for every codec on every capture of registered faces.

On one process or many, interrupted or not, step n sees the same moments with the same noise: both
follow from the seed and n alone, and each process takes its share of the step's batch. A checkpoint
therefore holds parameters, Adam's moments and the step, and training goes on from it as if it had
never stopped, also with another number of processes. Starting is no exception: the first process
writes checkpoint 0, and all of them read it (the folder has to be one that all can see).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from avatar.datasets.registered_capture import RegisteredCapture, RegisteredMoment
from avatar.training.conv_decoder import ConvCodec, ConvOptions
from avatar.training.face_codec import Batch, FaceCodec, FaceScale
from avatar.training.local_decoder import LocalCodec, LocalOptions, closed_form
from avatar.training.process_group import ProcessGroup
from avatar.training.training_checkpoint import (
    TrainingCheckpoint,
    TrainingCheckpointError,
    optimiser_tensors,
    restore_optimiser,
)

Say = Callable[[str], None]
DECODERS = ("conv", "local")
MODEL = "model."
LARGEST_GRADIENT = 10.0
"""Norm to which larger gradients are shortened."""


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Multiface's: all errors are in standard deviations of the capture, squared."""

    texture: float = 1.0
    vertices: float = 1.0
    divergence: float = 1e-2


@dataclass(frozen=True, slots=True)
class CaptureTrainingOptions:
    """What is trained, and how."""

    decoder: str = "conv"
    """"conv" or "local"."""
    conv: ConvOptions = field(default_factory=ConvOptions)
    local: LocalOptions = field(default_factory=LocalOptions)
    weights: LossWeights = field(default_factory=LossWeights)
    steps: int = 20_000
    batch: int = 16
    """Moments a step, over all processes together; a multiple of their number."""
    learning_rate: float = 5e-4
    """After a warm-up; it falls along a cosine to a hundredth."""
    warm_up: int = 100
    """Steps."""
    checkpoint_every: int = 500
    """Steps."""
    readers: int = 0
    """Processes that read the capture ahead; 0 reads in the training process."""
    sampled: bool = True
    """Draw each code from the distribution that the encoder gives (a variational autoencoder);
    False takes its mean, which gets further in few steps."""
    autocast: bool = False
    """Compute in bfloat16 where torch holds it safe."""
    seed: int = 1

    def __post_init__(self) -> None:
        if self.decoder not in DECODERS:
            raise ValueError(f"decoder: expected one of {list(DECODERS)}, got {self.decoder!r}")
        for name, least in (("steps", 0), ("batch", 1), ("checkpoint_every", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected {least} or more, got {getattr(self, name)}")

    @property
    def size(self) -> int:
        """Texels on a side."""
        return self.conv.size if self.decoder == "conv" else self.local.size

    def about(self) -> dict[str, Any]:
        """What a checkpoint has to agree with."""
        kind = self.conv if self.decoder == "conv" else self.local
        return {"decoder": self.decoder, "codec": asdict(kind)}

    def rate(self, step: int) -> float:
        """The learning rate of this step."""
        if step < self.warm_up:
            return self.learning_rate * (step + 1) / self.warm_up
        share = (step - self.warm_up) / max(self.steps - self.warm_up, 1)
        return self.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(share, 1))))


@dataclass(frozen=True, slots=True)
class Losses:
    """Of one step, over all of its moments that this process saw."""

    total: float
    texture: float
    vertices: float
    divergence: float

    def __str__(self) -> str:
        return (
            f"loss {self.total:.4f} (texture {self.texture:.4f}, vertices {self.vertices:.4f}, "
            f"divergence {self.divergence:.4f})"
        )


def new_codec(
    capture: RegisteredCapture, options: CaptureTrainingOptions, say: Say = lambda _line: None
) -> FaceCodec:
    """Before the first step: the convolutional codec at random from the seed, the local one in
    closed form."""
    scale = FaceScale.of(capture, options.size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        if options.decoder == "local":
            return closed_form(capture, options.local, scale, say)
        codec = ConvCodec(options.conv, len(scale.vertex_mean))
    codec.set_scale(scale)
    return codec


def codec_of(checkpoint: TrainingCheckpoint) -> FaceCodec:
    """The codec that a checkpoint holds, on the CPU. Raises TrainingCheckpointError."""
    tensors = {
        k.removeprefix(MODEL): v for k, v in checkpoint.tensors.items() if k.startswith(MODEL)
    }
    about = checkpoint.about
    try:
        vertices = len(tensors["vertex_mean"])
        codec: FaceCodec
        if about["decoder"] == "conv":
            codec = ConvCodec(ConvOptions(**about["codec"]), vertices)
        elif about["decoder"] == "local":
            codec = LocalCodec(LocalOptions(**about["codec"]), vertices)
        else:
            raise ValueError(f"decoder: expected one of {DECODERS}, got {about['decoder']!r}")
        codec.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise TrainingCheckpointError(f"checkpoint of step {checkpoint.step}: {error}") from error
    return codec


class CaptureTrainer:
    """Steps from a checkpoint onwards. `run` is the usual way; `step` suits who keeps a budget."""

    def __init__(
        self,
        capture: RegisteredCapture,
        options: CaptureTrainingOptions,
        checkpoint: TrainingCheckpoint,
        group: ProcessGroup,
    ) -> None:
        """Raises ValueError when the batch cannot be shared evenly, TrainingCheckpointError when
        the checkpoint is of another codec."""
        if options.batch % group.size:
            raise ValueError(
                f"batch: expected a multiple of the {group.size} processes, got {options.batch}"
            )
        wanted = options.about()
        got = {key: checkpoint.about.get(key) for key in wanted}
        if got != wanted:
            raise TrainingCheckpointError(
                f"checkpoint of step {checkpoint.step}: expected {wanted}, got {got}; "
                "train in another folder, or with the options it was begun with"
            )
        self.options, self.group, self.step_done = options, group, checkpoint.step
        self.codec = codec_of(checkpoint).to(group.device)
        self._names = [name for name, _ in self.codec.named_parameters()]
        # One plain loop over the parameters: the same sums on every machine.
        self._optimiser = torch.optim.Adam(
            self.codec.parameters(), options.learning_rate, foreach=False
        )
        restore_optimiser(self._optimiser, self._names, checkpoint.tensors)
        self._module = group.averaging(self.codec)
        shares = _Shares(len(capture), options, checkpoint.step, group)
        self._batches = _batches(capture, options, shares)

    def step(self) -> Losses:
        """One step on the next batch, of which there are as many as the options say. Raises
        FloatingPointError when the loss is no number; nothing has changed then."""
        options, step = self.options, self.step_done
        batch = next(self._batches).to(self.group.device)
        for entry in self._optimiser.param_groups:
            entry["lr"] = options.rate(step)
        noise = self._noise(step).to(self.group.device)
        with torch.autocast(self.group.device.type, torch.bfloat16, enabled=options.autocast):
            inputs = self.codec.normalised(batch)
            texture, vertices, divergence = self._module(*inputs, noise)
        error = (texture.float() - inputs[0]).square() * batch.seen
        losses = {
            "texture": error.mean(),
            "vertices": (vertices.float() - inputs[2]).square().mean(),
            "divergence": divergence.float(),
        }
        weights = options.weights
        total = (
            weights.texture * losses["texture"]
            + weights.vertices * losses["vertices"]
            + weights.divergence * losses["divergence"]
        )
        if not bool(torch.isfinite(total)):
            raise FloatingPointError(
                f"codec training: step {step} gave a loss of {float(total.detach())}; "
                "lower the learning rate and resume from the last checkpoint"
            )
        self._optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.codec.parameters(), LARGEST_GRADIENT, foreach=False)
        self._optimiser.step()
        self.step_done += 1
        return Losses(*(float(one.detach()) for one in (total, *losses.values())))

    def checkpoint(self) -> TrainingCheckpoint:
        """Where training stands."""
        tensors = {f"{MODEL}{k}": v for k, v in self.codec.state_dict().items()}
        tensors |= optimiser_tensors(self._optimiser, self._names)
        return TrainingCheckpoint(self.step_done, tensors, self.options.about())

    def run(self, folder: Path, say: Say, after_step: Callable[[int], None] | None = None) -> None:
        """To the last step, with checkpoints in `folder`."""
        options = self.options
        while self.step_done < options.steps:
            losses = self.step()
            done, last = self.step_done, self.step_done == options.steps
            if self.group.first and (done % options.checkpoint_every == 0 or last):
                self.checkpoint().write(folder)
            if self.group.first and (done % max(options.checkpoint_every // 5, 1) == 0 or last):
                say(f"{options.decoder}: step {done} of {options.steps}, {losses}")
            if after_step is not None:
                after_step(done)
        self.group.meet()

    def _noise(self, step: int) -> Tensor:
        """This process's rows of what the whole batch gets."""
        if not self.options.sampled:
            return torch.zeros(self.options.batch // self.group.size, self.codec.latent)
        generator = torch.Generator().manual_seed(self.options.seed * 1_000_003 + step)
        every = torch.randn(self.options.batch, self.codec.latent, generator=generator)
        return every[self.group.rank :: self.group.size]


def train_on_capture(
    capture: RegisteredCapture,
    options: CaptureTrainingOptions,
    folder: Path,
    group: ProcessGroup,
    say: Say = lambda _line: None,
    after_step: Callable[[int], None] | None = None,
) -> FaceCodec:
    """Train, or go on from the newest whole checkpoint in `folder`.

    Every process of the group calls this with the same capture and options. `after_step` is told
    each step that is done. Raises ValueError, TrainingCheckpointError or FloatingPointError.
    """
    found = TrainingCheckpoint.newest(folder)
    group.meet()
    if found is None:
        if group.first:
            codec = new_codec(capture, options, say)
            tensors = {f"{MODEL}{k}": v for k, v in codec.state_dict().items()}
            TrainingCheckpoint(0, tensors, options.about()).write(folder)
        group.meet()
        found = TrainingCheckpoint.newest(folder)
        if found is None:
            raise TrainingCheckpointError(
                f"{folder}: expected the checkpoint of the first process, found none; "
                "the folder has to be one that all processes see"
            )
    elif group.first and found.step:
        say(f"going on after step {found.step}")
    trainer = CaptureTrainer(capture, options, found, group)
    trainer.run(folder, say, after_step)
    return trainer.codec


def batch_rows(count: int, batch: int, seed: int, step: int) -> list[int]:
    """The moments of a step: the capture is gone through in a new order each time round."""
    rows = range(step * batch, (step + 1) * batch)
    orders = {
        turn: np.random.default_rng((seed, turn)).permutation(count)
        for turn in {row // count for row in rows}
    }
    return [int(orders[row // count][row % count]) for row in rows]


class _Shares(Sampler[list[int]]):
    """This process's rows of each step from `first` on."""

    def __init__(
        self, count: int, options: CaptureTrainingOptions, first: int, group: ProcessGroup
    ) -> None:
        self._count, self._options, self._first = count, options, first
        self._rank, self._size = group.rank, group.size

    def __iter__(self) -> Iterator[list[int]]:
        options = self._options
        for step in range(self._first, options.steps):
            rows = batch_rows(self._count, options.batch, options.seed, step)
            yield rows[self._rank :: self._size]


class _Moments(Dataset[RegisteredMoment]):
    def __init__(self, capture: RegisteredCapture) -> None:
        self._capture = capture

    def __getitem__(self, index: int) -> RegisteredMoment:
        return self._capture[index]

    def __len__(self) -> int:
        return len(self._capture)


class _Stacked:
    """Collates moments at the codec's size (a class, so that readers can be sent it)."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self, moments: list[RegisteredMoment]) -> Batch:
        return Batch.of(moments, self._size)


def _batches(
    capture: RegisteredCapture, options: CaptureTrainingOptions, shares: _Shares
) -> Iterator[Batch]:
    return iter(
        DataLoader(
            _Moments(capture),
            batch_sampler=shares,
            collate_fn=_Stacked(options.size),
            num_workers=options.readers,
        )
    )
