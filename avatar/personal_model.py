"""What is learned of one person: the numbers behind a personal avatar's encoder and decoder.

Geometry and appearance are linear in the code. A frame's code is found by projection (encoded) or
predicted from the tracked state (driven); what a decoder does with it is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from avatar.head_mesh import ATLAS
from avatar.landmark_code import landmark_code
from avatar.lash_strips import WINDOW
from avatar.spectacles import NUMBERS, Spectacles
from streams.texture_basis import TextureBasis

Float32 = npt.NDArray[np.float32]

GAINS = 3
"""The first appearance numbers are the logarithms of the exposure's gains (r, g, b)."""
LANDMARKS = 468
CHART = 512
"""Texels on a side of the planes, which cover the whole atlas."""
DRIVERS = 52 + 4 + 1
"""Blend shapes, gaze angles of both eyes, and a one."""
GLASSES = ("depth", "temples", "unit", "average")
"""Arrays of a pair of glasses."""
POSE = 3 + 3
"""The head's rotation vector and place."""
OWN_DRIVERS = POSE + 4
"""The head's pose, then the geometry numbers (P), then gaze angles of both eyes."""


class ModelError(ValueError):
    """The arrays of a personal model do not belong together."""


@dataclass(frozen=True, slots=True, eq=False)
class PersonalModel:
    """P geometry numbers, A appearance numbers, K planes on g active nodes of a grid."""

    rest: Float32
    """(T, 3) metres, head frame: the template's vertices on this person, calm."""
    eyes: Float32
    """(2, 3) metres, head frame: centres of the eye balls, left first."""
    eye_radius: Float32
    """(1,) metres."""
    neck_pivot: Float32
    """(3,) metres, head frame."""
    moves: Float32
    """(P, M, 3) metres: what one unit of each geometry number adds to the moving vertices."""
    landmark_rest: Float32
    """(468, 3) metres, head frame: the average of the tracked landmarks."""
    landmark_moves: Float32
    """(P, 468 * 3) metres a unit, orthogonal rows: a face's geometry is its landmarks' share."""
    gaze_map: Float32
    """(5, 4): the tracker's gaze angles (left yaw, pitch, right yaw, pitch) and 1 -> the balls'."""
    mean: npt.NDArray[np.uint8]
    """(1024, 1024, 3) uint8 sRGB."""
    opacity: npt.NDArray[np.uint8]
    """(S, S) uint8: 255 = opaque. Without lashes (before format 4) their window in the atlas is
    255, avatar.lash_strips.WINDOW."""
    planes: npt.NDArray[np.int8]
    """(K, 512, 512, 3) int8 as TextureBasis.planes."""
    plane_scale: Float32
    """(K,) as TextureBasis.scale."""
    grid: npt.NDArray[np.int32]
    """(2,) rows and columns of nodes."""
    active: npt.NDArray[np.int32]
    """(g,) indices of the nodes that any texel depends on, row by row."""
    coarse: npt.NDArray[np.int32]
    """(t,) rows of `picture_encoder.face_table`: the texels that the encoder looks at."""
    node_rest: Float32
    """(g * K,) coefficients of the average picture."""
    node_moves: Float32
    """(A - 3, g * K): what one unit of each appearance number after the gains adds."""
    node_view: Float32
    """(3, g * K): what a unit of the view direction (from the head to the eye, head frame) adds
    against `view_rest`."""
    view_rest: Float32
    """(3,) the average direction of the capture's camera."""
    gain_sigma: Float32
    """(3,) log gain of one unit."""
    projection: Float32
    """(A - 3, g * K): from the planes' inner products with a picture's difference to the code."""
    projection_rest: Float32
    """(A - 3,) then subtracted."""
    view_codes: Float32
    """(3, A - 3) what of the code `node_view` explains already, likewise subtracted."""
    own_rest: Float32
    """(A,): appearance of this very person on average."""
    own_map: Float32
    """(OWN_DRIVERS + P, A): what one standard deviation of each input adds."""
    own_points: Float32
    """(C, OWN_DRIVERS + P): standardised inputs of moments that are remembered."""
    own_metric: Float32
    """(OWN_DRIVERS + P,): standardised inputs times this are lengths of the kernel."""
    own_point_map: Float32
    """(C, A): what the nearness of each remembered moment adds."""
    any_map: Float32
    """(DRIVERS, P + A): geometry and appearance driven by anyone's blend shapes and gaze."""
    own_centre: Float32
    """(OWN_DRIVERS + P,) subtracted from the drivers first."""
    own_scale: Float32
    """(OWN_DRIVERS + P,) then divided by."""
    strangeness: Float32
    """(1,) median of avatar.strangeness of this person's own moments that were not learned from.
    """
    distortion: Float32
    """(P + A,): squared error that one unit of each number makes, for the bitstream."""
    glasses: Spectacles | None = None
    """None: none are worn. Their picture is part of `mean` and `opacity`, which then has as many
    texels as `mean`; the first appearance numbers after the gains move them."""

    def __post_init__(self) -> None:
        numbers, nodes = len(self.moves), len(self.active) * len(self.planes)
        appearance = GAINS + len(self.node_moves)
        wanted: dict[str, tuple[int | None, ...]] = {
            "rest": (None, 3), "eyes": (2, 3), "eye_radius": (1,), "neck_pivot": (3,),
            "moves": (None, None, 3), "landmark_rest": (LANDMARKS, 3),
            "landmark_moves": (numbers, LANDMARKS * 3), "gaze_map": (5, 4),
            "mean": (None, None, 3), "opacity": (None, None), "planes": (None, None, None, 3),
            "plane_scale": (len(self.planes),), "grid": (2,), "active": (None,), "coarse": (None,),
            "node_rest": (nodes,), "node_moves": (None, nodes), "node_view": (3, nodes),
            "view_rest": (3,), "gain_sigma": (3,), "projection": (len(self.node_moves), nodes),
            "projection_rest": (len(self.node_moves),), "view_codes": (3, len(self.node_moves)),
            "own_rest": (appearance,), "own_map": (OWN_DRIVERS + numbers, appearance),
            "own_points": (None, OWN_DRIVERS + numbers), "own_metric": (OWN_DRIVERS + numbers,),
            "own_point_map": (len(self.own_points), appearance),
            "any_map": (DRIVERS, numbers + appearance),
            "own_centre": (OWN_DRIVERS + numbers,), "own_scale": (OWN_DRIVERS + numbers,),
            "strangeness": (1,), "distortion": (numbers + appearance,),
        }  # fmt: skip
        for name, shape in wanted.items():
            value = getattr(self, name)
            fits = isinstance(value, np.ndarray) and value.ndim == len(shape)
            if not fits or any(
                n is not None and n != m for n, m in zip(shape, value.shape, strict=True)
            ):
                raise ModelError(
                    f"PersonalModel.{name}: expected shape {shape}, "
                    f"got {getattr(value, 'shape', type(value).__name__)}"
                )
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise ModelError(f"PersonalModel.{name}: expected finite numbers")
        if self.node_moves[: self.glasses_size].any() or self.glasses_size > len(self.node_moves):
            raise ModelError(
                f"PersonalModel.node_moves: expected {NUMBERS} rows of zeros first, for glasses"
            )
        if self.glasses is not None and not (
            self.opacity.shape == self.mean.shape[:2] == (ATLAS, ATLAS)
        ):
            raise ModelError(
                f"PersonalModel: expected pictures of {ATLAS} x {ATLAS} texels with glasses, "
                f"got {self.mean.shape} and {self.opacity.shape}"
            )
        total = int(self.grid[0]) * int(self.grid[1])
        if len(self.active) and not 0 <= self.active.min() <= self.active.max() < total:
            raise ModelError(f"PersonalModel.active: expected indices below {total}")

    @property
    def geometry_size(self) -> int:
        """P."""
        return len(self.moves)

    @property
    def appearance_size(self) -> int:
        """A."""
        return GAINS + len(self.node_moves)

    @property
    def glasses_size(self) -> int:
        """Q: so many appearance numbers after the gains move the glasses, and no texture."""
        return 0 if self.glasses is None else NUMBERS

    @property
    def has_lashes(self) -> bool:
        """Whether the opacity says what of the lids' strips is hair."""
        return len(self.opacity) == ATLAS and bool((self.opacity[WINDOW] < 255).any())

    def head_moves(self) -> Float32:
        """(P + Q, M + G, 3) metres: what one unit of each of `head_numbers` adds to the face's
        moving vertices and to those of glasses."""
        if self.glasses is None:
            return self.moves
        worn = self.glasses.vertex_moves()
        size, face = self.moves.shape[:2]
        out = np.zeros((size + len(worn), face + worn.shape[1], 3), np.float32)
        out[:size, :face], out[size:, face:] = self.moves, worn
        return out

    def head_numbers(self, geometry: Float32, appearance: Float32) -> Float32:
        """(P,) and (A,) -> (P + Q,): all numbers that move vertices."""
        if self.glasses is None:
            return geometry
        return np.concatenate([geometry, appearance[GAINS : GAINS + NUMBERS]])

    def texture_basis(self) -> TextureBasis:
        """What a renderer needs of the texture, once."""
        rows, columns = (int(n) for n in self.grid)
        return TextureBasis(self.mean, self.planes, self.plane_scale, (rows, columns))

    def nodes(self, appearance: Float32, view: Float32) -> Float32:
        """(A,) and the unit direction (3,) from the head to the eye -> (rows, columns, K)."""
        flat = self.node_rest + appearance[GAINS:] @ self.node_moves
        flat = flat + (view - self.view_rest) @ self.node_view
        rows, columns = (int(n) for n in self.grid)
        out = np.zeros((rows * columns, len(self.planes)), np.float32)
        out[self.active] = flat.reshape(len(self.active), -1)
        return out.reshape(rows, columns, -1)

    def gain(self, appearance: Float32) -> Float32:
        """(A,) -> (3,) factors on sRGB code values."""
        log = np.clip(appearance[:GAINS] * self.gain_sigma, -1.0, 1.0)
        return np.exp(log).astype(np.float32)

    def landmark_code(self, landmarks: Float32) -> tuple[Float32, float]:
        """(478, 3) metres, head frame -> geometry (P,) and the RMS in mm of what it leaves out."""
        code, left_out_mm = landmark_code(landmarks, self.landmark_rest, self.landmark_moves)
        return code, float(left_out_mm)

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """For a file: the large arrays as float16."""
        half = (
            "moves", "node_moves", "projection", "own_map", "own_points", "own_point_map",
            "any_map",
        )  # fmt: skip
        out: dict[str, npt.NDArray[Any]] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "glasses":
                continue
            if item.name in half:
                # float16 holds 65504 at most; rows are brought to 1 and their size kept beside.
                flat = value.reshape(len(value), -1)
                size = np.maximum(np.abs(flat).max(1), 1e-20).astype(np.float32)
                out[item.name] = (value / size.reshape(-1, *[1] * (value.ndim - 1))).astype(
                    np.float16
                )
                out[f"{item.name}.size"] = size
            elif item.name not in ("mean", "opacity"):  # these two travel as pictures
                out[item.name] = value
        if self.glasses is not None:
            for name in GLASSES:
                out[f"glasses.{name}"] = getattr(self.glasses, name)
        return out

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, npt.NDArray[Any]],
        mean: npt.NDArray[np.uint8],
        opacity: npt.NDArray[np.uint8],
    ) -> Self:
        """The inverse of `tensors`. Raises ModelError when an array is missing or does not fit."""
        found: dict[str, npt.NDArray[Any]] = {"mean": mean, "opacity": opacity}
        for item in fields(cls):
            if item.name in (*found, "glasses"):
                continue
            value = tensors.get(item.name)
            if value is None:
                raise ModelError(f"personal model: expected the array {item.name!r}, found none")
            if value.dtype == np.float16:
                size = tensors.get(f"{item.name}.size")
                if size is None or size.shape != (len(value),):
                    raise ModelError(f"personal model: expected {item.name}.size of {len(value)}")
                value = value.astype(np.float32) * size.reshape(-1, *[1] * (value.ndim - 1))
            elif value.dtype == np.float64:
                value = value.astype(np.float32)
            if item.name == "strangeness":
                value = value[:1]  # older files have a second number, which nothing reads
            found[item.name] = value
        return cls(**found, glasses=_glasses_from(tensors))


def _glasses_from(tensors: Mapping[str, npt.NDArray[Any]]) -> Spectacles | None:
    """None where no array of them is there: files from before format 3 have none. In those from
    before format 4 the average is brightness alone."""
    arrays = {name: tensors[f"glasses.{name}"] for name in GLASSES if f"glasses.{name}" in tensors}
    if not arrays:
        return None
    if len(arrays) != len(GLASSES):
        raise ModelError(
            f"personal model: expected the arrays {', '.join(GLASSES)} of glasses, "
            f"got {', '.join(arrays)}"
        )
    if arrays["average"].ndim == 2:
        arrays["average"] = np.repeat(arrays["average"][:, :, None], 3, axis=2)
    try:
        return Spectacles(**arrays)
    except ValueError as error:
        raise ModelError(f"personal model: {error}") from error
