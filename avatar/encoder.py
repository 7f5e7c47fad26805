"""From what was tracked of a face to its code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avatar.checkpoint import Checkpoint
from avatar.eye_balls import gaze_angles
from avatar.network import Network
from streams.face_shapes import FACE_SHAPES

Float32 = npt.NDArray[np.float32]

INPUTS = len(FACE_SHAPES) + 4
GEOMETRY, APPEARANCE = 48, 32
"""How many numbers a code has for shape and for colour."""
GAZE_SCALE = np.float32(2.0)
"""Brings gaze angles (about +-0.5 rad) to the range of the blend shapes."""


def network_inputs(blendshapes: Float32, gaze: Float32) -> Float32:
    """(..., 52) and (..., 2, 3) -> (..., INPUTS): shapes, then each eye's yaw and pitch."""
    angles = GAZE_SCALE * gaze_angles(gaze)
    return np.concatenate([blendshapes, angles.reshape(*blendshapes.shape[:-1], 4)], axis=-1)


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """One network for every avatar: it says what the face does, the decoder whose face it is."""

    network: Network
    """INPUTS -> GEOMETRY + APPEARANCE."""

    @staticmethod
    def read(file: Checkpoint) -> Encoder:
        """From `codec.safetensors`."""
        return Encoder(Network.read(file, "encoder", INPUTS, GEOMETRY + APPEARANCE))

    def code(self, blendshapes: Float32, gaze: Float32) -> tuple[Float32, Float32]:
        """(52,) and (2, 3) -> geometry (GEOMETRY,) and appearance (APPEARANCE,), float32."""
        z = self.network(network_inputs(blendshapes, gaze))
        return z[:GEOMETRY], z[GEOMETRY:]
