"""A skinned pair of hands: from 21 tracked joints to vertices.

The drawn skeleton has the rig's proportions in one scale for the whole hand, but for fingers a
little longer or shorter, and follows the tracked joints as closely as those lengths allow: the palm
is laid over its joints, and each bone then aims from where it begins at the joint where it should
end. Orientations come from
`streams.hand_skeleton`, in which the rest pose was baked too, so that no bone twists on its own.

The right hand is the left one's mirror image. `assets/hands/README.md` describes the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file
from scipy import sparse

from assets.manifest import asset_path
from streams.array_contract import require_array, require_choice
from streams.hand_skeleton import (
    FINGER_JOINTS,
    OPENXR_FROM_MEDIAPIPE,
    PALM_JOINTS,
    openxr_hand,
)
from streams.rigid import Rigid
from streams.tracked_state import SIDES, HandPose

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

METACARPALS = np.array([6, 11, 16, 21])
"""OpenXR's joints where the palm's four bones begin."""
_CHAINS = OPENXR_FROM_MEDIAPIPE[FINGER_JOINTS]
_PALM_SPANS = np.array([[0, 5], [0, 9], [0, 13], [0, 17], [5, 9], [9, 13], [13, 17]])
_FINGER_SPANS = np.stack([FINGER_JOINTS[:, :3].ravel(), FINGER_JOINTS[:, 1:].ravel()], axis=1)
SPAN_STARTS, SPAN_ENDS = np.concatenate([_PALM_SPANS, _PALM_SPANS, _FINGER_SPANS]).T
"""Joints whose distances tell the hand's size, by their median; the palm's count twice because a
bent finger's length is seen less well."""
WRIST, FOREARM, SLEEVE_END = 1, 26, 27
"""Bones: OpenXR's 26 joints, then these two."""
SLEEVE_M = 0.060
"""Length of the sleeve as baked."""
MIRROR = np.array([-1.0, 1.0, 1.0])
"""A left hand's wrist frame to a right one's."""
MAPS = ("occlusion", "nails", "creases", "knuckles", "palm", "cloth")
RECTANGLES: dict[str, tuple[float, float, float, float]] = {
    "left": (0.75, 0.5, 1.0, 0.75),
    "right": (0.75, 0.75, 1.0, 1.0),
}
"""x0 y0 x1 y1 of each hand's square in the avatar's texture, (0, 0) top-left."""


@dataclass(frozen=True, slots=True)
class HandRigOptions:
    """How the hands are drawn."""

    sleeve_m: float = 0.20
    """Metres of sleeve, from 0.06 up to the elbow's 0.25."""
    wrist_flexion: float = 1.2
    """Radians by which the forearm may bend from the hand towards palm or back (a soft limit)."""
    wrist_deviation: float = 0.6
    """Likewise towards the thumb or the little finger."""
    follow: float = 0.7
    """0: bones keep the tracked bones' directions; 1: bones aim at the tracked joints, which
    makes up for what the bones before were too long or too short."""

    stretch: float = 0.10
    """How much longer or shorter than in the rig a finger's bone may be drawn, as a part of it."""

    def __post_init__(self) -> None:
        if not SLEEVE_M <= self.sleeve_m <= 0.25:
            raise ValueError(
                f"HandRigOptions.sleeve_m: expected {SLEEVE_M} to 0.25 m, got {self.sleeve_m}"
            )
        if not (0.0 < self.wrist_flexion < 3.0 and 0.0 < self.wrist_deviation < 3.0):
            raise ValueError("HandRigOptions.wrist_*: expected 0 to 3 radians")
        if not 0.0 <= self.follow <= 1.0:
            raise ValueError(f"HandRigOptions.follow: expected 0 to 1, got {self.follow}")
        if not 0.0 <= self.stretch <= 0.5:
            raise ValueError(f"HandRigOptions.stretch: expected 0 to 0.5, got {self.stretch}")


@dataclass(frozen=True, slots=True, eq=False)
class RestHand:
    """The rest hand of one side, wrist frame."""

    faces: npt.NDArray[np.int32]
    """(F, 3)."""
    vertices: Array
    """(V, 3) metres."""
    normals: Array
    """(V, 3) unit vectors."""
    rotations: Array
    """(28, 3, 3) wrist_from_bone."""
    origins: Array
    """(28, 3)."""
    joints: Array
    """(21, 3) in MediaPipe's order."""
    spans: Array
    """(S,) distances of the joints SPAN_STARTS and SPAN_ENDS."""
    metacarpal_lengths: Array
    """(4,)."""
    bone_lengths: Array
    """(5, 3)."""
    elbow: Array
    """(3,) unit vector along the forearm."""
    point_basis: sparse.csr_array
    """(V, 28 * 4) weights times homogeneous rest points: one product with the bones poses all.
    Sparse, because a vertex has two bones on average, and because a dense product of this size
    would wake every thread of the BLAS library for longer than it takes."""
    normal_basis: sparse.csr_array
    """(V, 28 * 3)."""


@dataclass(frozen=True, slots=True, eq=False)
class PosedBones:
    """Where the bones of one hand are: OpenXR's 26 joints, the forearm, the sleeve's far end."""

    rotations: Array
    """(28, 3, 3) float64 world_from_bone: -z along the bone, +y out of the back of the hand."""
    origins: Array
    """(28, 3) float64 metres, world frame."""
    sizes: Array
    """(28, 3) float64 relative to the rig's, along each bone's x, y and z."""


class HandRig:
    """Both hands' meshes and how they follow tracked joints. Stateless between calls."""

    def __init__(self, path: Path, options: HandRigOptions | None = None) -> None:
        """Read a hands file. Raises ValueError when it is not one."""
        self.options = options or HandRigOptions()
        tensors = _read(path)
        self.uv: Float32 = _tensor(path, tensors, "uv", np.float32, (None, 2))
        """(V, 2) in one hand's square, (0, 0) top-left; both hands share it."""
        count = len(self.uv)
        self.cloth: npt.NDArray[np.uint8] = _tensor(path, tensors, "cloth", np.uint8, (count,))
        """(V,) 1 on the sleeve, 0 on skin."""
        self.weights: Float32 = _tensor(path, tensors, "weights", np.float32, (count, 28))
        """(V, 28) share of each bone: OpenXR's 26 joints, forearm, sleeve's end."""
        self.maps: dict[str, npt.NDArray[np.uint8]] = {
            name: _tensor(path, tensors, f"map.{name}", np.uint8, (None, None)) for name in MAPS
        }
        """Each (256, 256) uint8 over one hand's square; both hands share them."""
        faces = _tensor(path, tensors, "faces", np.int32, (None, 3))
        vertices = _tensor(path, tensors, "vertices", np.float32, (count, 3)).astype(np.float64)
        normals = _tensor(path, tensors, "normals", np.float32, (count, 3)).astype(np.float64)
        rest = _tensor(path, tensors, "rest", np.float64, (28, 4, 4))
        self._sides = {
            "left": _side("left", faces, vertices, normals, rest, self.weights),
            "right": _side("right", faces, vertices, normals, rest, self.weights),
        }

    @staticmethod
    def open(options: HandRigOptions | None = None) -> HandRig:
        """The bundled hands."""
        return HandRig(asset_path("hands/hands"), options)

    def faces(self, side: str) -> npt.NDArray[np.int32]:
        """(F, 3) int32, counter-clockwise from outside."""
        require_choice("HandRig.faces side", side, SIDES)
        return self._sides[side].faces

    def atlas_uv(self, side: str) -> Float32:
        """(V, 2) float32 in the avatar's texture."""
        require_choice("HandRig.atlas_uv side", side, SIDES)
        x0, y0, x1, y1 = RECTANGLES[side]
        return (self.uv * [x1 - x0, y1 - y0] + [x0, y0]).astype(np.float32)

    def rest_joints(self, side: str) -> Float32:
        """(21, 3) float32 metres, wrist frame, MediaPipe's order: the hand at rest."""
        require_choice("HandRig.rest_joints side", side, SIDES)
        return self._sides[side].joints.astype(np.float32)

    def rest(self, side: str) -> RestHand:
        """The hand at rest, wrist frame. Raises ValueError for another side."""
        require_choice("HandRig.rest side", side, SIDES)
        return self._sides[side]

    def pose(
        self, hand: HandPose, elbow_hint: npt.ArrayLike | None = None
    ) -> tuple[Float32, Float32]:
        """Vertices (V, 3) metres and unit normals (V, 3), both float32, world frame.

        `elbow_hint` (3,) metres, world frame, is where the forearm points to, as far as the wrist
        bends; without it the forearm continues the hand. Raises ValueError when the joints are no
        hand (all on a line).
        """
        return self._skin(self._sides[hand.side], self.bones(hand, elbow_hint))

    def bones(self, hand: HandPose, elbow_hint: npt.ArrayLike | None = None) -> PosedBones:
        """Where `pose` puts the bones."""
        side = self._sides[hand.side]
        joints, scale = self._fit(side, hand)
        drawn = openxr_hand(joints, hand.side)
        rotations, origins = np.empty((28, 3, 3)), np.empty((28, 3))
        rotations[:26], origins[:26] = _rotations(drawn.wxyz.astype(np.float64)), drawn.positions
        wrist, at = rotations[WRIST], origins[WRIST]
        bend = np.eye(3)
        if elbow_hint is not None:
            target = wrist.T @ (np.asarray(elbow_hint, np.float64) - at)
            bend = self._bend(side.elbow, target)
        forearm = wrist @ bend @ side.rotations[FOREARM]
        rotations[FOREARM] = rotations[SLEEVE_END] = forearm
        along = wrist @ bend @ side.elbow
        extra = self.options.sleeve_m - SLEEVE_M
        reach = float(np.linalg.norm(side.origins[SLEEVE_END])) + extra
        origins[FOREARM], origins[SLEEVE_END] = at, at + along * (scale * reach)
        spans = np.diff(joints[FINGER_JOINTS], axis=1)
        sizes = np.full((28, 3), scale)
        sizes[_CHAINS[:, :3], 2] = np.sqrt((spans * spans).sum(-1)) / side.bone_lengths
        return PosedBones(rotations, origins, sizes)

    def drawn_joints(self, hand: HandPose) -> Float32:
        """(21, 3) float32 metres, world frame: where the drawn hand has its joints."""
        joints, _ = self._fit(self._sides[hand.side], hand)
        return joints.astype(np.float32)

    def _fit(self, side: RestHand, hand: HandPose) -> tuple[Array, float]:
        tracked = hand.joints.astype(np.float64)
        spans = tracked[SPAN_ENDS] - tracked[SPAN_STARTS]
        scale = float(np.median(np.sqrt((spans * spans).sum(1)) / side.spans))
        rotation = hand.world_from_wrist.rotation()
        rest = side.joints @ (rotation.T * scale)
        shift = (tracked[PALM_JOINTS] - rest[PALM_JOINTS]).mean(0)
        joints = rest + shift
        # The palm's own bones turn a little, so that the knuckles follow an arched or flat palm.
        begins = side.origins[METACARPALS] @ (rotation.T * scale) + shift
        knuckles = PALM_JOINTS[1:]
        joints[knuckles] = begins + (scale * side.metacarpal_lengths)[:, None] * _unit(
            tracked[knuckles] - begins
        )
        limit = self.options.stretch
        for k in range(3):
            start, end = FINGER_JOINTS[:, k], FINGER_JOINTS[:, k + 1]
            source = tracked[start] + self.options.follow * (joints[start] - tracked[start])
            ahead = tracked[end] - source
            length = np.sqrt((ahead * ahead).sum(-1, keepdims=True))
            usual = scale * side.bone_lengths[:, k, None]
            drawn = np.clip(length, (1.0 - limit) * usual, (1.0 + limit) * usual)
            joints[end] = joints[start] + ahead * (drawn / np.maximum(length, 1e-9))
        return joints, scale

    def _bend(self, rest: Array, target: Array) -> Array:
        """(3, 3) the turn of the forearm, wrist frame, from `rest` towards `target`, no twist."""
        norm = float(np.linalg.norm(target))
        if norm < 1e-6:
            return np.eye(3)
        axis = np.cross(rest, target / norm)
        sine = float(np.linalg.norm(axis))
        angle = float(np.arctan2(sine, rest @ target / norm))
        turn = axis * (angle / max(sine, 1e-9))
        limits = (self.options.wrist_flexion, self.options.wrist_deviation)
        excess = float(np.hypot(turn[0] / limits[0], turn[1] / limits[1]))
        # tanh: small bends stay as they are, and large ones end at the ellipse of the limits.
        return Rigid.from_rotvec(turn * (np.tanh(excess) / max(excess, 1e-9))).rotation()

    def _skin(self, side: RestHand, posed: PosedBones) -> tuple[Float32, Float32]:
        bone_from_rest = side.rotations.transpose(0, 2, 1)
        turn = posed.rotations @ bone_from_rest
        linear = (posed.rotations * posed.sizes[:, None]) @ bone_from_rest
        move = posed.origins - np.einsum("bij,bj->bi", linear, side.origins)
        bones = np.concatenate([linear.transpose(0, 2, 1), move[:, None]], axis=1)
        vertices = side.point_basis @ bones.reshape(-1, 3).astype(np.float32)
        normals = side.normal_basis @ turn.transpose(0, 2, 1).reshape(-1, 3).astype(np.float32)
        normals /= np.sqrt(np.einsum("vi,vi->v", normals, normals))[:, None]
        return vertices, normals


def guess_elbow(world_from_head: Rigid, hand: HandPose) -> Array:
    """(3,) metres, world frame: where the elbow of an upright adult is likely to be.

    The arm is two bones from the shoulder to the wrist; the elbow hangs down and a little outwards.
    """
    outwards = 1.0 if hand.side == "left" else -1.0
    ahead = world_from_head.rotation()[:, 2] * [1.0, 0.0, 1.0]
    ahead = ahead / max(float(np.linalg.norm(ahead)), 1e-6)
    aside = np.array([ahead[2], 0.0, -ahead[0]]) * outwards
    neck = np.asarray(world_from_head.apply(np.array([0.0, -0.10, -0.07])))
    shoulder = neck + 0.18 * aside + np.array([0.0, -0.14, 0.0])
    upper, lower = 0.29, 0.26
    across = hand.joints[0] - shoulder
    distance = float(np.clip(np.linalg.norm(across), 0.10, upper + lower - 0.01))
    line = _unit(across)
    along = (upper**2 - lower**2 + distance**2) / (2.0 * distance)
    pole = np.array([0.0, -1.0, 0.0]) + 0.35 * aside - 0.15 * ahead
    pole = _unit(pole - line * (pole @ line))
    return shoulder + line * along + pole * np.sqrt(max(upper**2 - along**2, 0.0))


def _side(
    name: str,
    faces: npt.NDArray[np.int32],
    vertices: Array,
    normals: Array,
    rest: Array,
    weights: Float32,
) -> RestHand:
    rotations, origins = rest[:, :3, :3].copy(), rest[:, :3, 3].copy()
    if name == "right":
        vertices, normals, origins = vertices * MIRROR, normals * MIRROR, origins * MIRROR
        rotations = rotations * MIRROR[:, None] * MIRROR
        faces = np.ascontiguousarray(faces[:, ::-1])
    joints = origins[OPENXR_FROM_MEDIAPIPE]
    points = np.concatenate([vertices, np.ones((len(vertices), 1))], axis=1)
    fingers = joints[FINGER_JOINTS]
    return RestHand(
        faces=faces,
        vertices=vertices,
        normals=normals,
        rotations=rotations,
        origins=origins,
        joints=joints,
        spans=np.linalg.norm(joints[SPAN_ENDS] - joints[SPAN_STARTS], axis=1),
        metacarpal_lengths=np.linalg.norm(joints[PALM_JOINTS[1:]] - origins[METACARPALS], axis=1),
        bone_lengths=np.linalg.norm(np.diff(fingers, axis=1), axis=-1),
        elbow=_unit(origins[SLEEVE_END]),
        point_basis=_basis(weights, points),
        normal_basis=_basis(weights, normals),
    )


def _basis(weights: Float32, rows: Array) -> sparse.csr_array:
    dense = (weights[:, :, None] * rows[:, None]).reshape(len(rows), -1)
    return sparse.csr_array(dense.astype(np.float32))


def _rotations(wxyz: Array) -> Array:
    """(N, 4) unit quaternions -> (N, 3, 3)."""
    w, x, y, z = wxyz.T
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.array(rows).transpose(2, 0, 1)


def _unit(v: Array) -> Array:
    """Rows (..., 3) scaled to length 1; a zero row stays zero."""
    return v / np.maximum(np.sqrt((v * v).sum(-1, keepdims=True)), 1e-12)


def _read(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"HandRig {path}: expected a hands file, got {error}") from error


def _tensor(
    path: Path,
    tensors: dict[str, npt.NDArray[np.generic]],
    key: str,
    dtype: npt.DTypeLike,
    shape: tuple[int | None, ...],
) -> npt.NDArray[Any]:
    if key not in tensors:
        raise ValueError(f"HandRig {path}: expected a tensor {key!r}, got {sorted(tensors)}")
    return require_array(f"HandRig {key}", tensors[key], dtype, shape)
