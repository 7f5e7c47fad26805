"""What every data set of registered faces gives: moments of one person, each seen by one camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class RegisteredMoment:
    """One moment, seen by one camera."""

    moment: str
    """Name within the capture: segment and frame."""
    camera: str
    vertices: Float32
    """(V, 3) metres, head frame (the head's own motion taken out)."""
    texture: UInt8
    """(H, W, 3) sRGB: the face as this camera sees it; row 0 is v = 0 of `RegisteredCapture.uv`."""
    seen: Float32
    """(H, W) 0..1: how well each texel is seen by the camera; 0 where it says nothing."""
    view: Float32
    """(3,) unit vector, head frame, from the head towards the camera."""


class RegisteredCapture(Protocol):
    """A sequence of moments over one topology; indexing reads the disk."""

    faces: npt.NDArray[np.int32]
    """(F, 3), counter-clockwise seen from outside."""
    uv: Float32
    """(V, 2), (0, 0) = the texture's top-left."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> RegisteredMoment: ...
