"""UmeTrack's hand model, in which published headset recordings carry their truth.

A left hand at rest in the wrist's frame with 20 hinges, four a finger, thumb first; a right hand is
its mirror image. Landmarks ride on bones by weights (linear blend skinning). The names of the
fields are those of `generic_hand_model.json` (facebookresearch/UmeTrack) and of
`__hand_shapes.json__` (hand_tracking_toolkit), whose files hold millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_choice
from streams.tracked_state import SIDES

Array = npt.NDArray[np.float64]

HINGES = 20
"""Of the 22 joints of the model; the last two are the wrist's, which a pose's transform holds."""
BONES = 17
"""Root, wrist, then three a finger: what moves with the second, third and fourth hinge."""
LANDMARKS = 21
MEDIAPIPE_FROM_UMETRACK = np.array(
    [5, -1, 6, 7, 0, 8, 9, 10, 1, 11, 12, 13, 2, 14, 15, 16, 3, 17, 18, 19, 4]
)
"""(21,) int: UmeTrack's landmark for each of MediaPipe's; the thumb's base joint has none."""
MILLIMETRE = 0.001


@dataclass(frozen=True, slots=True, eq=False)
class UmeTrackHand:
    """One person's hand: a left one."""

    axes: Array
    """(20, 3) float64 unit vectors: what each hinge turns about, at rest."""
    hinges: Array
    """(20, 3) float64 metres: where it is at rest."""
    landmarks: Array
    """(21, 3) float64 metres at rest, UmeTrack's order: tips of thumb to little finger, wrist, two
    joints of the thumb, three of each finger, the palm's middle."""
    landmark_weights: Array
    """(21, 17) float64: share of each bone."""

    @staticmethod
    def of(fields: dict[str, Any]) -> UmeTrackHand:
        """From the JSON's fields. Raises ValueError when they are no hand model."""
        axes = _field(fields, "joint_rotation_axes", (None, 3))
        hinges = _field(fields, "joint_rest_positions", (None, 3))
        landmarks = _field(fields, "landmark_rest_positions", (LANDMARKS, 3))
        weights = _field(fields, "landmark_rest_bone_weights", (LANDMARKS, None))
        indices = _field(fields, "landmark_rest_bone_indices", (LANDMARKS, None)).astype(int)
        if min(len(axes), len(hinges)) < HINGES or weights.shape != indices.shape:
            raise ValueError(
                f"hand model: expected {HINGES} hinges or more and as many weights as bone "
                f"numbers, got {len(axes)}, {len(hinges)}, {weights.shape}, {indices.shape}"
            )
        if not ((indices >= 0) & (indices < BONES)).all():
            raise ValueError(f"hand model: expected bone numbers below {BONES}")
        dense = np.zeros((LANDMARKS, BONES))
        np.add.at(dense, (np.arange(LANDMARKS)[:, None], indices), weights)
        return UmeTrackHand(
            axes[:HINGES], hinges[:HINGES] * MILLIMETRE, landmarks * MILLIMETRE, dense
        )

    def bones(self, angles: npt.ArrayLike) -> Array:
        """(T, 17, 4, 4) float64 wrist_from_rest of each bone for (T, 20 or more) radians."""
        a = np.asarray(angles, np.float64)
        if a.ndim != 2 or a.shape[1] < HINGES:
            raise ValueError(f"UmeTrackHand angles: expected (T, {HINGES}), got {a.shape}")
        a = a[:, :HINGES]
        count = len(a)
        # Rodrigues' rotation about each hinge, and the shift that keeps the hinge in its place.
        cross = np.zeros((HINGES, 3, 3))
        cross[:, (2, 0, 1), (1, 2, 0)] = self.axes
        cross[:, (1, 2, 0), (2, 0, 1)] = -self.axes
        sine, cosine = np.sin(a)[..., None, None], np.cos(a)[..., None, None]
        turn = np.eye(3) + sine * cross + (1.0 - cosine) * (cross @ cross)
        local = np.zeros((count, HINGES, 4, 4))
        local[..., :3, :3], local[..., 3, 3] = turn, 1.0
        local[..., :3, 3] = self.hinges - np.einsum("thij,hj->thi", turn, self.hinges)
        bones = np.zeros((count, BONES, 4, 4))
        bones[:, :2] = np.eye(4)
        for finger in range(5):
            reached = np.broadcast_to(np.eye(4), (count, 4, 4))
            for hinge in range(4):
                reached = reached @ local[:, 4 * finger + hinge]
                if hinge:
                    bones[:, 2 + 3 * finger + hinge - 1] = reached
        return bones

    def posed(self, angles: npt.ArrayLike, world_from_wrist: npt.ArrayLike, side: str) -> Array:
        """(T, 21, 3) float64 metres, world frame, UmeTrack's order, of (T, 20 or more) angles and
        (T, 4, 4) transforms in metres."""
        require_choice("UmeTrackHand.posed side", side, SIDES)
        world = np.array(world_from_wrist, np.float64)
        if side == "right":
            world[:, :3, 0] *= -1.0
        rest = np.column_stack([self.landmarks, np.ones(LANDMARKS)])
        local = np.einsum("lb,tbij,lj->tli", self.landmark_weights, self.bones(angles), rest)
        return np.einsum("tij,tlj->tli", world, local)[..., :3]


def in_mediapipes_order(landmarks: Array) -> Array:
    """(..., 21, 3) of UmeTrack's order -> MediaPipe's, NaN for the thumb's base joint."""
    ordered = landmarks[..., MEDIAPIPE_FROM_UMETRACK, :].copy()
    ordered[..., MEDIAPIPE_FROM_UMETRACK < 0, :] = np.nan
    return ordered


def _field(fields: dict[str, Any], name: str, shape: tuple[int | None, ...]) -> Array:
    try:
        value = np.array(fields[name], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"hand model: expected numbers in {name!r}, got {error!r}") from error
    if value.ndim != len(shape) or any(
        n is not None and n != m for n, m in zip(shape, value.shape, strict=False)
    ):
        raise ValueError(f"hand model {name}: expected {shape}, got {value.shape}")
    if not np.isfinite(value).all():
        raise ValueError(f"hand model {name}: expected finite numbers")
    return value
