"""Teaching the encoder how a tracker sees faces whose true expression is known.

The decoder stays as it is. The encoder goes on giving what it gave for true weights, and learns to
give the same code for what the tracker made of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from avatar.encoder import GEOMETRY, INPUTS, network_inputs
from avatar.training.networks import Layers, TrainedNetworks

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class SeenFaces:
    """The same faces twice: as they are, and as a tracker sees them."""

    person: npt.NDArray[np.int64]
    """(N,) which person."""
    weights: Float32
    """(N, 52) true ARKit weights."""
    gaze: Float32
    """(N, 2, 3) true gaze."""
    seen_weights: Float32
    """(N, 52) the tracker's."""
    seen_gaze: Float32
    """(N, 2, 3) the tracker's."""


@dataclass(frozen=True, slots=True)
class AdaptationOptions:
    """How far the encoder moves."""

    steps: int = 2500
    batch: int = 192
    seen_share: float = 0.5
    """Of each batch; the rest keeps well-behaved ARKit weights working."""
    colour_weight: float = 0.05
    """Of the appearance code's squared error against the shape's in mm^2."""
    direct_pull: float = 3e-3
    """Weight of the change of the encoder's parameters: what the data do not ask for stays."""
    learning_rate: float = 5e-4
    noise: float = 0.01
    """Standard deviation added to the inputs."""
    seed: int = 13


def adapt_encoder(
    networks: TrainedNetworks,
    true_inputs: tuple[npt.NDArray[np.int64], Float32, Float32],
    seen: SeenFaces,
    options: AdaptationOptions,
    say: Callable[[str], None],
) -> TrainedNetworks:
    """The same networks with another encoder. `true_inputs`: person, weights and gaze of faces that
    no tracker saw."""
    generator = torch.Generator().manual_seed(options.seed)
    teacher, shape = Layers.of(networks.encoder), Layers.of(networks.shape)
    student = Layers.of(networks.encoder)
    for module in (teacher, shape):
        module.requires_grad_(False)
    identity = torch.from_numpy(networks.people)
    start = [p.detach().clone() for p in student.parameters()]
    optimiser = torch.optim.Adam(student.parameters(), options.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, options.learning_rate, total_steps=options.steps
    )
    person, weights, gaze = true_inputs
    plain = torch.from_numpy(network_inputs(weights, gaze))
    plain_person = torch.from_numpy(person)
    known = torch.from_numpy(network_inputs(seen.weights, seen.gaze))
    looks = torch.from_numpy(network_inputs(seen.seen_weights, seen.seen_gaze))
    seen_person = torch.from_numpy(seen.person)
    count = round(options.batch * options.seen_share)
    for step in range(options.steps):
        a = torch.randint(len(plain), (options.batch - count,), generator=generator)
        b = torch.randint(len(looks), (count,), generator=generator)
        target = teacher(torch.cat([plain[a], known[b]]))
        x = torch.cat([plain[a], looks[b]])
        z = student(x + options.noise * torch.randn(x.shape[0], INPUTS, generator=generator))
        who = identity[torch.cat([plain_person[a], seen_person[b]])]
        moved = shape(torch.cat([z[:, :GEOMETRY], who], 1))
        wanted = shape(torch.cat([target[:, :GEOMETRY], who], 1))
        error = (moved - wanted).square().sum(1)
        colour = (z[:, GEOMETRY:] - target[:, GEOMETRY:]).square().sum(1)
        stay = torch.stack(
            [(p - q).square().sum() for p, q in zip(student.parameters(), start, strict=True)]
        ).sum()
        loss = (error + options.colour_weight * colour).mean() + options.direct_pull * stay
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 500 == 0 or step == options.steps - 1:
            apart = error.detach()
            true_mm = float(apart[: options.batch - count].mean()) ** 0.5
            seen_mm = float(apart[options.batch - count :].mean()) ** 0.5
            say(f"encoder: step {step}, true {true_mm:.3f} mm, seen {seen_mm:.3f} mm")
    return replace(networks, encoder=student.network())
