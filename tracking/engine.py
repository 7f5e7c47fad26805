"""What a landmark engine sees in one picture, and the Protocols that every engine fulfils.

An engine works in pixels of an unmirrored picture: pixel (0, 0) is the centre of the top-left
pixel, x right, y down. Metres, the camera and the world are added later, by `head_pose` and
`hand_placement`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class FaceMarks:
    """One face in one picture."""

    landmarks: Float32
    """(478, 3) float32 pixels: x, y, and relative depth z on the scale of x, smaller is nearer;
    MediaPipe's order (468-472 the person's right iris, 473-477 the left)."""
    blendshapes: Float32
    """(52,) float32 0..1 in the order of `streams.face_shapes.FACE_SHAPES`."""
    bystander: bool = False
    """Whether it is not the face of whom the tracker follows."""


@dataclass(frozen=True, slots=True, eq=False)
class HandMarks:
    """One hand in one picture."""

    landmarks: Float32
    """(21, 2) float32 pixels, MediaPipe's order."""
    shape: Float32
    """(21, 3) float32 metres: the hand's own 3D shape about its own origin, OpenCV axes (x right,
    y down, z forward) as seen along the ray to the hand, of an average hand's size."""
    side: str
    """"left" or "right": the person's own."""
    score: float
    """0..1: how sure the engine is of the side."""


class FaceEngine(Protocol):
    """Looks for faces. Called from one thread only."""

    def look(self, rgb: Picture, t_ms: int) -> tuple[FaceMarks, ...]:
        """The subject's face first, where it is seen; then bystanders', said so.

        `rgb` (H, W, 3) uint8 sRGB, C-contiguous; `t_ms` increases from call to call.

        Raises RuntimeError when the engine broke and has to be opened anew.
        """
        ...

    def close(self) -> None: ...


def subjects_face(found: tuple[FaceMarks, ...]) -> FaceMarks | None:
    """Of what a `FaceEngine` found, or None where the subject is not seen."""
    return found[0] if found and not found[0].bystander else None


class HandEngine(Protocol):
    """Looks for hands. Called from one thread only."""

    def look(self, rgb: Picture, t_ms: int) -> tuple[HandMarks, ...]:
        """As `FaceEngine.look`; in no particular order, and two may be of the same side."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class PersonMarks:
    """What one engine for face and hands sees in one picture."""

    faces: tuple[FaceMarks, ...]
    """As `FaceEngine.look`."""
    hands: tuple[HandMarks, ...]
    """As `HandEngine.look`."""


class PersonEngine(Protocol):
    """Looks for faces and hands at once. Called from one thread only."""

    def look(self, rgb: Picture, t_ms: int) -> PersonMarks:
        """As `FaceEngine.look`."""
        ...

    def close(self) -> None: ...


SMALLEST_SIDE = 16
"""Pixels; engines find nothing in less, and MediaPipe's graph dies of an empty picture."""


def require_picture(where: str, rgb: object) -> None:
    """Raise ValueError unless `rgb` is a C-contiguous uint8 (H, W, 3) of at least 16 x 16.

    Native engines read memory by address: MediaPipe takes a strided view for a dense one (wrong
    pixels, no error), RGBA for RGB, and ends the process on uint16.
    """
    wanted = f"a C-contiguous uint8 (H, W, 3), H and W at least {SMALLEST_SIDE}"
    if not isinstance(rgb, np.ndarray):
        raise ValueError(f"{where}: expected {wanted}, got {type(rgb).__name__}")
    if (
        rgb.dtype != np.uint8
        or rgb.ndim != 3
        or rgb.shape[2] != 3
        or min(rgb.shape[:2]) < SMALLEST_SIDE
        or not rgb.flags.c_contiguous
    ):
        order = "" if rgb.flags.c_contiguous else " that is not contiguous"
        raise ValueError(f"{where}: expected {wanted}, got {rgb.dtype} {rgb.shape}{order}")
