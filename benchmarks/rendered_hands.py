"""Hands drawn for rigs of cameras, with the truth: what multi-camera tracking is measured on.

Our own skinned hands ship with the project. UmeTrack's generic hand (CC BY-NC 4.0) can be drawn too
by whoever has `generic_hand_model.json`; nothing of it is kept here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from avatar.codec import Avatar
from avatar.hand_rig import HandRig
from capture.hand_shapes import HAND_SHAPES
from capture.umetrack_hand import MILLIMETRE, UmeTrackHand, in_mediapipes_order
from render.renderer import open_renderer
from streams.camera import FISHEYES, Camera
from streams.closing import Closing
from streams.hand_skeleton import HandShape, joint_angles, joints_from_angles, wrist_frame
from streams.mesh_texture import MeshTexture
from streams.rigid import Rigid
from streams.topology import PARTS, Topology
from streams.tracked_state import HandPose, TrackedState
from streams.view import View
from tracking.perspective_crop import CropOptions, cut_out, straight_ahead

Array = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]

DISTANCE = 0.40
"""Metres from the rig to the hand, as in the study."""
CENTRE = np.array([0.0, 0.0, -DISTANCE])
UPRIGHT = Rigid.from_rotvec([np.pi / 2, 0.0, 0.0]) @ Rigid.from_rotvec([0.0, 0.0, np.pi])
"""Fingers up, palm to a camera at the origin that looks along -z."""
WIDE = CropOptions(size=1400, widest=float(np.deg2rad(140.0)))
"""The pinhole that a fisheye's picture is made from."""


def looking(name: str, place: npt.ArrayLike, size: tuple[int, int], focal: float) -> Camera:
    """A pinhole at `place` that looks at the hands' middle, level."""
    at = np.asarray(place, np.float64)
    z = (CENTRE - at) / np.linalg.norm(CENTRE - at)
    x = np.cross([0.0, -1.0, 0.0], z)
    x /= np.linalg.norm(x)
    turn = np.stack([x, np.cross(z, x), z], axis=1)
    centre = np.array([(size[0] - 1) / 2.0, (size[1] - 1) / 2.0])
    return Camera(
        name, size, np.full(2, focal), centre, world_from_camera=Rigid.from_rotation(turn, at)
    )


def rig(kind: str) -> tuple[Camera, ...]:
    """ "mono", "stereo" (100 mm apart), "headset" (four at +-85 mm across and +-60 mm up) or
    "studio" (four, 46 degrees to each side); 640 x 480, f = 520 px. Raises ValueError."""
    if kind == "mono":
        places = [(0.0, 0.0, 0.0)]
    elif kind == "stereo":
        places = [(-0.05, 0.0, 0.0), (0.05, 0.0, 0.0)]
    elif kind == "headset":
        places = [(x, y, 0.0) for y in (0.06, -0.06) for x in (-0.085, 0.085)]
    elif kind == "studio":
        aside, back = DISTANCE * np.sin(np.deg2rad(46.0)), DISTANCE * (1 - np.cos(np.deg2rad(46.0)))
        places = [(-aside, 0, -back), (aside, 0, -back), (0, -aside, -back), (0, aside, -back)]
    else:
        raise ValueError(f"rig: expected mono, stereo, headset or studio, got {kind!r}")
    return tuple(looking(f"{kind}{k}", p, (640, 480), 520.0) for k, p in enumerate(places))


@dataclass(frozen=True, slots=True, eq=False)
class Posed:
    """One hand to draw."""

    side: str
    mesh: MeshTexture
    truth: Array
    """(21, 3) float64 metres, world frame, MediaPipe's order; NaN where the model has no such
    joint."""
    joints: Array
    """(21, 3) float64: the same, with the model's own joint where `truth` has none."""


class HandModel(Protocol):
    """A hand that can be posed."""

    name: str

    def posed(self, index: int, rng: np.random.Generator) -> Posed:
        """The `index`-th of a series: shapes in turn, palm and back in turn, turned by chance."""
        ...


def placed(index: int, rng: np.random.Generator) -> Rigid:
    """world_from_wrist: about 20 degrees (0.35 rad) a axis from upright, 15 mm from the place."""
    facing = UPRIGHT if index % 2 == 0 else Rigid.from_rotvec([0.0, np.pi, 0.0]) @ UPRIGHT
    turned = Rigid.from_rotvec(rng.normal(0.0, 0.35, 3)) @ facing
    return Rigid(turned.wxyz, CENTRE + [0.0, -0.09, 0.0] + rng.normal(0.0, 0.015, 3))


class OwnHand(Closing):
    """The hands that avatars have, with sleeve."""

    name = "own"
    shapes = ("open", "relaxed", "point", "pinch", "random")

    def __init__(self, avatar: str = "default", side: str = "right") -> None:
        self._avatar, self._rig, self.side = Avatar.open(avatar), HandRig.open(), side
        self.shape = HandShape.of(self._rig.rest_joints(side), side)

    def posed(self, index: int, rng: np.random.Generator) -> Posed:
        kind = self.shapes[index % len(self.shapes)]
        if kind == "random":
            a, b = rng.choice(sorted(HAND_SHAPES), 2, replace=False)
            part = rng.uniform()
            angles = part * HAND_SHAPES[a] + (1.0 - part) * HAND_SHAPES[b]
        else:
            angles = HAND_SHAPES[kind]
        angles = angles + rng.normal(0.0, 0.05, (5, 4))
        return self.at(joints_from_angles(angles, self.shape, placed(index, rng)))

    def at(self, joints: npt.NDArray[np.float32]) -> Posed:
        """With its joints as near to these (21, 3) as its bones allow."""
        hand = HandPose(
            self.side, joints, wrist_frame(joints, self.side), joint_angles(joints, self.side), 1.0
        )
        mesh = self._avatar.rig(TrackedState(0, "drawn", None, (hand,)))
        truth = self._rig.drawn_joints(hand).astype(np.float64)
        return Posed(self.side, mesh, truth, truth)

    def close(self) -> None:
        """Close the avatar."""
        self._avatar.close()


class UmeTrackModel(Closing):
    """UmeTrack's mesh, a left hand, with a plain sleeve. Its landmarks are the truth: they lie
    2-15 mm beside what MediaPipe calls by the same names."""

    name = "umetrack"
    shapes = ("open", "relaxed", "point", "pinch", "random")
    side = "left"

    def __init__(self, path: Path) -> None:
        fields = json.loads(path.read_text())
        self._hand = UmeTrackHand.of(fields)
        self._vertices = np.array(fields["mesh_vertices"]) * MILLIMETRE
        self._weights = np.array(fields["dense_bone_weights"])
        self._limits = np.array(fields["joint_limits"])[:20]
        faces = np.array(fields["mesh_triangles"], np.int32)
        self._tube, tube_faces = _sleeve(self._hand.landmarks[5], self._hand.landmarks[11])
        faces = np.concatenate([faces, tube_faces + len(self._vertices)]).astype(np.int32)
        count = len(self._vertices) + len(self._tube)
        uv = np.zeros((count, 2), np.float32)
        uv[:, 1], uv[:, 0] = 0.5, 0.25
        uv[len(self._vertices) :, 0] = 0.75
        parts = np.zeros(count, np.uint8)
        parts[len(self._vertices) :] = PARTS.index("cloth")
        surface = np.tile(np.array([150, 255, 128, 255], np.uint8), (8, 8, 1))
        self._topology = Topology("umetrack", faces, uv, parts, surface)
        self._albedo = np.zeros((8, 8, 3), np.uint8)
        self._albedo[:, :4], self._albedo[:, 4:] = (205, 150, 125), (70, 80, 110)
        at_rest = np.concatenate([self._vertices, self._tube])
        if (_normals(at_rest, faces) * (at_rest - at_rest.mean(0))).sum() < 0.0:
            flipped = np.ascontiguousarray(faces[:, ::-1])
            self._topology = Topology("umetrack", flipped, uv, parts, surface)

    @property
    def joints_at_rest(self) -> Array:
        """(21, 3) float64 metres, MediaPipe's order; the thumb's base joint is its first hinge."""
        return self._joints(self._hand.landmarks)

    def posed(self, index: int, rng: np.random.Generator) -> Posed:
        low, high = self._limits.T
        kind = self.shapes[index % len(self.shapes)]
        angles = np.zeros(20)
        if kind == "relaxed":
            angles = 0.25 * high * (np.arange(20) % 4 != 0)
        elif kind == "point":
            angles[9:] = np.where(np.arange(9, 20) % 4 != 0, 0.85 * high[9:], 0.0)
            angles[8], angles[12], angles[16] = 0.0, 0.0, 0.0
            angles[:4] = 0.5 * high[:4]
        elif kind == "pinch":
            angles[:4] = 0.5 * high[:4]
            angles[5:8] = 0.45 * high[5:8]
            angles[8:] = np.where(np.arange(8, 20) % 4 != 0, 0.15 * high[8:], 0.0)
        elif kind == "random":
            angles = rng.uniform(0.7 * low, 0.7 * high)
        angles = np.clip(angles + rng.normal(0.0, 0.05, 20), low, high)
        bones = self._hand.bones(angles[None])[0]
        # The model's wrist frame has the fingers along x and its palm along -y or so; what an
        # upright hand is follows from the landmarks.
        world = placed(index, rng)
        world_from_model = world @ wrist_frame(self.joints_at_rest, "left").inverse()
        here = world_from_model.matrix() @ bones
        rest = np.column_stack([self._vertices, np.ones(len(self._vertices))])
        vertices = np.einsum("vb,bij,vj->vi", self._weights, here, rest)[:, :3]
        tube = np.asarray(world_from_model.apply(self._tube))
        vertices = np.concatenate([vertices, tube]).astype(np.float32)
        normals = _normals(vertices.astype(np.float64), self._topology.faces).astype(np.float32)
        landmarks = self._hand.posed(angles[None], world_from_model.matrix()[None], "left")[0]
        truth = in_mediapipes_order(landmarks)
        mesh = MeshTexture(0, self._topology, vertices, normals, self._albedo)
        joints = truth.copy()
        joints[1] = world_from_model.apply(self._hand.hinges[0])
        return Posed("left", mesh, truth, joints)

    def _joints(self, landmarks: Array) -> Array:
        joints = in_mediapipes_order(landmarks)
        joints[1] = self._hand.hinges[0]
        return joints

    def close(self) -> None:
        """Nothing is held."""


class Artist(Closing):
    """Draws meshes through any camera. OpenGL belongs to the thread that opens it."""

    def __init__(self) -> None:
        self._renderer = open_renderer("gl")

    def __call__(self, mesh: MeshTexture, camera: Camera) -> Picture:
        if camera.distortion.model in FISHEYES:
            pinhole = straight_ahead(camera, WIDE)
            return cut_out(self(mesh, pinhole), pinhole, camera)
        drawn = self._renderer.draw(mesh, View.from_camera(camera))
        return np.ascontiguousarray(drawn.rgba[:, :, :3])

    def close(self) -> None:
        """Release OpenGL's objects; in the thread that drew."""
        self._renderer.release()


def _sleeve(wrist: Array, knuckle: Array) -> tuple[Array, npt.NDArray[np.int32]]:
    """A tube from the wrist away from the knuckle: vertices (64, 3) metres and faces."""
    along = (wrist - knuckle) / np.linalg.norm(wrist - knuckle)
    aside = np.cross(along, [0.3, 0.5, 0.8])
    aside /= np.linalg.norm(aside)
    up = np.cross(along, aside)
    turn = np.linspace(0.0, 2 * np.pi, 33)[:-1, None]
    ring = np.cos(turn) * aside + np.sin(turn) * up
    vertices = np.concatenate(
        [wrist + 0.028 * ring + 0.004 * along, wrist + 0.040 * ring + 0.20 * along]
    )
    k = np.arange(32)
    n = (k + 1) % 32
    faces = np.concatenate([np.stack([k, k + 32, n], -1), np.stack([n, k + 32, n + 32], -1)])
    return vertices, faces.astype(np.int32)


def _normals(vertices: Array, faces: npt.NDArray[np.int32]) -> Array:
    corners = vertices[faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normals, faces[:, k], flat)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
