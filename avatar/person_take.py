"""A stretch of tracked states as the tracks of an animation: one row a moment, for one avatar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from avatar.blend_shape_head import BlendShapeHead
from avatar.eye_balls import STRAIGHT, gaze_rotation
from avatar.hand_rig import HandRig, PosedBones, guess_elbow
from avatar.posed_face import mapped_gaze
from avatar.posture import head_from_torso
from streams.face_shapes import FACE_SHAPES
from streams.rigid import Rigid, wxyz_from_exact_rotations
from streams.tracked_state import SIDES, FacePose, TrackedState

Float32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class HandTracks:
    """Where the bones of one hand are at each moment; between sights they stay."""

    seen: Bools
    """(T,)."""
    origins: Float32
    """(T, 28, 3) metres, world frame, as HandRig.bones."""
    wxyz: Float32
    """(T, 28, 4) unit quaternions world_from_bone."""
    sizes: Float32
    """(T, 28, 3) along each bone's x, y and z."""


@dataclass(frozen=True, slots=True, eq=False)
class PersonTake:
    """Head, face, eyes and hands over T moments. What is not seen stays where it was, and its
    `seen` is False."""

    times_s: Float32
    """(T,) rising from 0."""
    seen: Bools
    """(T,) of the face."""
    shapes: Float32
    """(T, 52) 0..1."""
    places: Float32
    """(T, 3) metres: the head in the world."""
    wxyz: Float32
    """(T, 4) unit quaternions world_from_head."""
    torso_turns: Float32
    """(T, 3) rotation vectors, radians, head frame: the torso's turn relative to the head."""
    eyes: Float32
    """(2, T, 4) unit quaternions, left first: each ball's turn from where the calm head has it."""
    hands: dict[str, HandTracks] = field(default_factory=dict)
    """By side; only those that are seen at all."""

    @staticmethod
    def of(
        states: Sequence[TrackedState], head: BlendShapeHead, rig: HandRig | None = None
    ) -> PersonTake:
        """What `states` (of one source, times rising) make of `head`; hands with a `rig`.

        Raises ValueError without any state, and for times that do not rise.
        """
        times = np.array([state.t_ns for state in states], np.int64)
        if not len(times) or (np.diff(times) <= 0).any():
            raise ValueError("PersonTake.of: expected states whose times rise, at least one")
        faces = _filled([state.face for state in states])
        poses = [Rigid.identity() if face is None else face.world_from_head for face in faces]
        wxyz = _one_way(np.array([pose.wxyz for pose in poses])[:, None])[:, 0]
        return PersonTake(
            times_s=((times - times[0]) / 1e9).astype(np.float32),
            seen=np.array([state.face is not None for state in states]),
            shapes=np.array([_shapes(face) for face in faces], np.float32),
            places=np.array([pose.xyz for pose in poses], np.float32),
            wxyz=wxyz.astype(np.float32),
            torso_turns=np.array([head_from_torso(pose) for pose in poses], np.float32),
            eyes=_eye_turns(faces, head.gaze_map),
            hands={} if rig is None else _hand_tracks(states, rig),
        )


def _filled(faces: list[FacePose | None]) -> list[FacePose | None]:
    """Each as it is or was last seen; before the first sight as it will be."""
    last = next((face for face in faces if face is not None), None)
    out = []
    for face in faces:
        last = face if face is not None else last
        out.append(last)
    return out


def _shapes(face: FacePose | None) -> Float32:
    return np.zeros(len(FACE_SHAPES), np.float32) if face is None else face.blendshapes


def _eye_turns(faces: list[FacePose | None], gaze_map: Float32 | None) -> Float32:
    def turns(gaze: Float32) -> npt.NDArray[np.float64]:
        mapped = gaze if gaze_map is None else mapped_gaze(gaze_map, gaze)
        return np.stack([gaze_rotation(each) for each in mapped]).astype(np.float64)

    calm = turns(STRAIGHT).transpose(0, 2, 1)
    turned = np.stack([turns(STRAIGHT if face is None else face.gaze) @ calm for face in faces])
    return _one_way(wxyz_from_exact_rotations(turned)).swapaxes(0, 1).astype(np.float32)


def _hand_tracks(states: Sequence[TrackedState], rig: HandRig) -> dict[str, HandTracks]:
    out = {}
    for side in SIDES:
        hands = [state.hand(side) for state in states]
        posed: list[PosedBones] = []
        waiting: list[TrackedState] = []
        for state, hand in zip(states, hands, strict=True):
            if hand is not None:
                elbow = (
                    None if state.face is None else guess_elbow(state.face.world_from_head, hand)
                )
                bones = rig.bones(hand, elbow)
                # Before the first sight it is where it will be.
                posed += [bones] * (1 if posed else 1 + len(waiting))
                waiting.clear()
            elif posed:
                posed.append(posed[-1])
            else:
                waiting.append(state)
        if not posed:
            continue
        rotations = np.stack([bones.rotations for bones in posed])
        out[side] = HandTracks(
            np.array([hand is not None for hand in hands]),
            np.stack([bones.origins for bones in posed]).astype(np.float32),
            _one_way(wxyz_from_exact_rotations(rotations)).astype(np.float32),
            np.stack([bones.sizes for bones in posed]).astype(np.float32),
        )
    return out


def _one_way(wxyz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(T, N, 4) with signs such that each quaternion is on its neighbour's side: a turn is then the
    short way for programs that do not look."""
    flips = np.where((wxyz[1:] * wxyz[:-1]).sum(-1) < 0.0, -1.0, 1.0)
    signs = np.concatenate([np.ones((1, wxyz.shape[1])), np.cumprod(flips, axis=0)])
    return wxyz * signs[..., None]
