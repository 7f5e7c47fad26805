"""Training the encoder and the decoder's two networks together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from avatar.encoder import APPEARANCE, GEOMETRY, INPUTS, network_inputs
from avatar.network import Network
from streams.face_shapes import FACE_SHAPES

Float32 = npt.NDArray[np.float32]

INPUT_NOISE = 0.004
"""Standard deviation added to the blend shapes (and half of it to the gaze), so that the
tracker's own jitter is not magnified."""


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """How long and how wide."""

    steps: int = 6000
    batch: int = 256
    encoder_width: int = 160
    shape_width: int = 128
    colour_width: int = 128
    learning_rate: float = 2e-3
    code_pull: float = 1e-4
    """Weight of the codes' squared size in the loss: keeps them near the origin."""
    seed: int = 11


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Inputs with the coefficients they should give."""

    person: npt.NDArray[np.int64]
    inputs: Float32
    """(N, INPUTS): see `avatar.encoder.network_inputs`."""
    target: Float32
    """(N, S) shape coefficients in mm, or (N, R) colour numbers."""
    view: Float32 | None = None
    """(N, 3) for colour."""

    @staticmethod
    def of(
        person: npt.NDArray[np.int64],
        weights: Float32,
        gaze: Float32,
        target: Float32,
        view: Float32 | None = None,
    ) -> Examples:
        """From weights (N, 52) and gaze (N, 2, 3)."""
        return Examples(person, network_inputs(weights, gaze), target, view)


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNetworks:
    """What the codec runs."""

    encoder: Network
    shape: Network
    colour: Network
    """Gives the colour basis' R numbers; `recipe` folds their expansion into the last layer."""
    people: Float32
    """(people, P)."""
    first_loss: float
    last_loss: float


class Layers(nn.Module):
    """The torch twin of `avatar.network.Network`."""

    def __init__(self, inputs: int, width: int, hidden: int, outputs: int) -> None:
        super().__init__()
        sizes = [inputs, *([width] * hidden), outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.direct = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for layer in list(self.layers)[:-1]:
            h = nn.functional.elu(layer(h))
        return self.layers[-1](h) + self.direct(x)

    @staticmethod
    def of(network: Network) -> Layers:
        """The same function, to be trained on."""
        widths = [len(bias) for bias in network.biases]
        layers = Layers(network.inputs, widths[0], len(widths) - 1, network.outputs)
        with torch.no_grad():
            layers.direct.weight.copy_(torch.from_numpy(network.direct))
            for layer, weight, bias in zip(
                layers.layers, network.weights, network.biases, strict=True
            ):
                state = {"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)}
                layer.load_state_dict(state)
        return layers

    def network(self) -> Network:
        """For run time."""
        linears = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        return Network(
            _array(self.direct.weight),
            tuple(_array(layer.weight) for layer in linears),
            tuple(_array(layer.bias) for layer in linears),
        )


def train_networks(
    shapes: Examples,
    colours: Examples,
    people: int,
    options: NetworkOptions,
    say: Callable[[str], None],
) -> TrainedNetworks:
    """Adam on the squared vertex error (mm^2) plus the squared colour error (1 % each)."""
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    encoder = Layers(INPUTS, options.encoder_width, 2, GEOMETRY + APPEARANCE)
    shape = Layers(GEOMETRY + people, options.shape_width, 2, shapes.target.shape[1])
    colour = Layers(APPEARANCE + 3 + people, options.colour_width, 2, colours.target.shape[1])
    identity = torch.eye(people)
    modules = nn.ModuleList([encoder, shape, colour])
    optimiser = torch.optim.Adam(modules.parameters(), options.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, options.learning_rate, total_steps=options.steps, pct_start=0.1
    )
    s, c = _Tensors(shapes), _Tensors(colours)
    losses: list[float] = []
    for step in range(options.steps):
        x, target, person, _ = s.batch(options.batch, generator)
        z = encoder(x)
        loss_shape = _squared(shape(torch.cat([z[:, :GEOMETRY], identity[person]], 1)) - target)
        pull = z.square().mean()
        x, target, person, view = c.batch(options.batch // 2, generator)
        z = encoder(x)
        known = torch.cat([z[:, GEOMETRY:], view, identity[person]], 1)
        loss_colour = _squared(colour(known) - target)
        loss = loss_shape + 1e4 * loss_colour + options.code_pull * (pull + z.square().mean())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step % 1000 == 0 or step == options.steps - 1:
            mm, share = float(loss_shape.detach()) ** 0.5, float(loss_colour.detach()) ** 0.5
            say(f"networks: step {step}, shape {mm:.3f} mm, colour {100 * share:.2f} %")
    mean, std = _code_statistics(encoder, s)
    few = max(1, min(50, options.steps // 4))
    return TrainedNetworks(
        _scaled_output(encoder.network(), mean, std),
        _scaled_input(shape.network(), mean[:GEOMETRY], std[:GEOMETRY]),
        _scaled_input(colour.network(), mean[GEOMETRY:], std[GEOMETRY:]),
        np.eye(people, dtype=np.float32),
        float(np.mean(losses[:few])),
        float(np.mean(losses[-few:])),
    )


class _Tensors:
    def __init__(self, examples: Examples) -> None:
        self.x = torch.from_numpy(examples.inputs)
        self.target = torch.from_numpy(examples.target)
        self.person = torch.from_numpy(examples.person)
        view = examples.view
        self.view = torch.zeros(len(self.x), 3) if view is None else torch.from_numpy(view)

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rows = torch.randint(len(self.x), (size,), generator=generator)
        noise = INPUT_NOISE * torch.randn(size, INPUTS, generator=generator)
        noise[:, len(FACE_SHAPES) :] *= 0.5
        return self.x[rows] + noise, self.target[rows], self.person[rows], self.view[rows]


def _squared(error: Tensor) -> Tensor:
    return error.square().sum(1).mean()


def _code_statistics(encoder: Layers, examples: _Tensors) -> tuple[Float32, Float32]:
    with torch.no_grad():
        z = encoder(examples.x)
    return _array(z.mean(0)), np.maximum(_array(z.std(0)), np.float32(1e-3))


def _scaled_output(network: Network, mean: Float32, std: Float32) -> Network:
    """The same network with outputs (y - mean) / std."""
    last = network.weights[-1] / std[:, None]
    bias = (network.biases[-1] - mean) / std
    return Network(
        network.direct / std[:, None], (*network.weights[:-1], last), (*network.biases[:-1], bias)
    )


def _scaled_input(network: Network, mean: Float32, std: Float32) -> Network:
    """The same network for inputs whose first len(mean) numbers were (x - mean) / std."""
    count = len(mean)

    def scale(matrix: Float32) -> tuple[Float32, Float32]:
        scaled = matrix.copy()
        scaled[:, :count] *= std
        return scaled, matrix[:, :count] @ mean

    first, shift = scale(network.weights[0])
    direct, last_shift = scale(network.direct)
    biases = list(network.biases)
    biases[0] = biases[0] + shift
    biases[-1] = biases[-1] + last_shift
    return Network(direct, (first, *network.weights[1:]), tuple(biases))


def _array(tensor: Tensor) -> Float32:
    return tensor.detach().numpy().astype(np.float32).copy()
