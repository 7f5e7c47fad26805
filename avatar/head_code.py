"""What a personal avatar's decoders read of one moment, and what they give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class HeadCode:
    """What a decoder reads of one moment."""

    geometry: Float32
    """(P,) float32."""
    appearance: Float32
    """(A,) float32."""
    gaze: Float32
    """(2, 3) float32 unit vectors, head frame, as tracked."""
    world_from_head: Rigid
    towards: Float32
    """(3,) float32 unit vector, head frame: from the head to the eye that looks at it."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodedHead:
    """One moment of a head, without hands."""

    vertices: Float32
    """(V, 3) float32 metres, world."""
    normals: Float32
    """(V, 3) float32 unit vectors, world."""
    nodes: Float32
    """(rows, columns, K) float32 coefficients."""
    gain: Float32
    """(3,) float32."""


class DecoderEngine(Protocol):
    """One person's decoder, ready to run."""

    name: str

    def decode(self, code: HeadCode) -> DecodedHead:
        """New arrays, on the host."""
        ...
