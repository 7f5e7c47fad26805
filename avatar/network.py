"""Small fully connected networks at run time, in numpy: at this size faster than any framework."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avatar.checkpoint import Checkpoint, CheckpointError

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """y = direct x + hidden layers with ELU, then a linear layer."""

    direct: Float32
    """(outputs, inputs) float32: the linear part, past the hidden layers."""
    weights: tuple[Float32, ...]
    """Each (width, width before) float32; the last one gives the outputs."""
    biases: tuple[Float32, ...]
    """Each (width,) float32."""

    @property
    def inputs(self) -> int:
        """How many numbers go in."""
        return self.direct.shape[1]

    @property
    def outputs(self) -> int:
        """How many come out."""
        return self.direct.shape[0]

    def __call__(self, x: Float32) -> Float32:
        """(inputs,) float32 -> (outputs,) float32."""
        h = x
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = weight @ h + bias
            h = np.where(h > 0.0, h, np.expm1(np.minimum(h, 0.0)))
        y = self.weights[-1] @ h + self.biases[-1] + self.direct @ x
        return y.astype(np.float32, copy=False)

    @staticmethod
    def read(file: Checkpoint, name: str, inputs: int, outputs: int) -> Network:
        """The arrays `name.direct`, `name.0.weight`, `name.0.bias`, `name.1.weight`, ..."""
        direct = file.array(f"{name}.direct", np.float32, (outputs, inputs))
        weights, biases, width = [], [], inputs
        while f"{name}.{len(weights)}.weight" in file:
            layer = f"{name}.{len(weights)}"
            weights.append(file.array(f"{layer}.weight", np.float32, (None, width)))
            width = len(weights[-1])
            biases.append(file.array(f"{layer}.bias", np.float32, (width,)))
        if not weights or width != outputs:
            raise CheckpointError(
                f"{file.path}: {name}: expected layers that end in {outputs} numbers, got {width}"
            )
        return Network(direct, tuple(weights), tuple(biases))
