"""From a captured dome to the codec's one file of weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from avatar.head_mesh import HeadMesh
from avatar.head_placement import moving_vertices
from avatar.network import Network
from avatar.training.colour_basis import ColourBasis, basis_picture, fit_colour_basis
from avatar.training.dome import Dome
from avatar.training.networks import Examples, NetworkOptions, TrainedNetworks, train_networks
from avatar.training.shape_basis import ShapeBasis, importance_of

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RecipeOptions:
    """How the codec is made."""

    colour_size: int = 8
    """Basis textures that every place of the face combines."""
    colour_rank: int = 160
    colour_rounds: int = 8
    held_out: float = 0.1
    """Share of the moments that training never sees."""
    networks: NetworkOptions = field(default_factory=NetworkOptions)
    seed: int = 3


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """Everything that was fitted; `write` makes the file."""

    people: tuple[str, ...]
    shape: ShapeBasis
    colour: ColourBasis
    mask: npt.NDArray[np.bool_]
    networks: TrainedNetworks

    def write(self, path: Path) -> None:
        """As `avatar.encoder` and `avatar.decoder` read it."""
        basis, rectangle = basis_picture(self.colour.basis, self.mask)
        scale = np.maximum(np.abs(basis).max(axis=(1, 2)), 1e-9) / 127.0
        rows = np.maximum(np.abs(self.shape.vectors).max(1), 1e-12)
        arrays = {
            "people": self.networks.people,
            "shape_basis": (self.shape.vectors / rows[:, None]).astype(np.float16),
            "shape_scale": rows.astype(np.float32),
            "colour_basis": np.round(basis / scale[:, None, None]).astype(np.int8),
            "colour_scale": scale.astype(np.float32),
            "colour_rectangle": np.array(rectangle, np.int32),
            **_network_arrays("encoder", self.networks.encoder),
            **_network_arrays("shape", self.networks.shape),
            **_network_arrays("colour", _expanded(self.networks.colour, self.colour)),
        }
        contiguous = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
        save_file(contiguous, path, {"avatars": json.dumps(list(self.people))})


def train(dome: Dome, options: RecipeOptions, say: Callable[[str], None]) -> Trained:
    """Fit bases and networks."""
    rng = np.random.default_rng(options.seed)
    head = HeadMesh.open(dome.people[0])
    shapes = dome.shapes
    basis = ShapeBasis.fit(dome.shapes.offsets, importance_of(head, moving_vertices(head)), rng)
    say(f"shape basis: {len(basis.vectors)} numbers")
    pictures = dome.pictures
    colour = fit_colour_basis(
        pictures.field, dome.mask, options.colour_size, options.colour_rank, options.colour_rounds
    )
    say(f"colour basis: {colour.basis.shape[1]} textures, {len(colour.expand)} numbers")
    networks = train_networks(
        Examples.of(
            shapes.person, shapes.weights, shapes.gaze, shapes.offsets @ basis.to_coefficients
        ),
        Examples.of(
            pictures.person, pictures.weights, pictures.gaze, colour.numbers, pictures.view
        ),
        len(dome.people),
        options.networks,
        say,
    )
    return Trained(dome.people, basis, colour, dome.mask, networks)


def _expanded(network: Network, colour: ColourBasis) -> Network:
    """The colour network with the expansion to all nodes' coefficients in its last layer."""
    out = colour.expand.T
    return Network(
        out @ network.direct,
        (*network.weights[:-1], out @ network.weights[-1]),
        (*network.biases[:-1], out @ network.biases[-1] + colour.mean),
    )


def _network_arrays(name: str, network: Network) -> dict[str, Float32]:
    arrays = {f"{name}.direct": network.direct}
    for i, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        arrays[f"{name}.{i}.weight"] = weight
        arrays[f"{name}.{i}.bias"] = bias
    return {key: value.astype(np.float32) for key, value in arrays.items()}
