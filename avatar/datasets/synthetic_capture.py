"""A synthetic person in a capture dome: moments to write in a data set's layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from avatar.datasets.capture_writer import WrittenMesh, WrittenMoment
from avatar.datasets.registered_topology import RegisteredTopology
from avatar.datasets.view_unwrapping import ViewUnwrapping
from avatar.head_mesh import HeadMesh
from avatar.training.expressions import sample_expressions
from streams.camera import Camera
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

REGIONS = ("head", "socket", "mouth", "neck")
"""Of the template: what a data set registers is one skin, without eyes, teeth and clothes."""
DISTANCE_M = 1.0
SEGMENTS = ("E001_Neutral_Eyes_Open", "E057_Cheeks_Puffed", "EXP_free_face")

Colour = Callable[[Float32, Float32, Float32], UInt8]
"""Weights (52,), gaze (2, 3) and the direction (3,) to the camera -> (H, W, 3) sRGB of the atlas;
`assets.baking.person.Person.albedo` is one."""
Draw = Callable[["SyntheticCapture", WrittenMoment, Camera], UInt8]
"""The picture of a moment that a camera takes."""


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticCapture:
    """Everything a writer needs."""

    mesh: WrittenMesh
    topology: RegisteredTopology
    """The same mesh with one texture coordinate a vertex, in an order of its own."""
    cameras: Mapping[str, Camera]
    moments: tuple[WrittenMoment, ...]

    @staticmethod
    def make(
        head: HeadMesh,
        cameras: Mapping[str, Camera],
        colour: Colour | None = None,
        draw: Draw | None = None,
        moments: int = 6,
        texture_size: int = 128,
        seed: int = 0,
    ) -> SyntheticCapture:
        """`moments` of seeded expressions, shared by SEGMENTS in turn. `colour`: by default the
        avatar's skin, darker with an open mouth and brighter towards the camera. `draw`: by
        default no pictures are taken."""
        mesh, topology, places = _skin(head)
        rng = np.random.default_rng(seed)
        weights, gaze = sample_expressions(moments, rng)
        unwrapping = ViewUnwrapping(topology, texture_size)
        colour = colour or _skin_colour(head)
        made: list[WrittenMoment] = []
        for k in range(moments):
            moved = head.vertices[: head.template_size] + np.tensordot(weights[k], head.shapes, 1)
            pose = Rigid.from_rotvec(
                0.1 * rng.normal(size=3), (0.0, 0.0, -DISTANCE_M) + 0.01 * rng.normal(size=3)
            )
            vertices = np.ascontiguousarray(moved[places], np.float32)
            textures = {}
            for name, camera in cameras.items():
                towards = pose.inverse().apply(camera.world_from_camera.xyz)
                view = (towards / np.linalg.norm(towards)).astype(np.float32)
                atlas = _scaled(colour(weights[k], gaze[k], view), texture_size)
                blank = np.zeros((camera.size[1], camera.size[0], 3), np.uint8)
                _, seen = unwrapping.of(blank, camera, pose, topology.spread(vertices))
                # Black means "not seen" in the layouts, so that what is seen is not quite black.
                textures[name] = np.maximum(atlas, 1) * (seen > 0)[..., None].astype(np.uint8)
            stack = np.stack(list(textures.values())).astype(np.float32)
            count = (stack > 0).any(-1, keepdims=True).sum(0)
            average = np.rint(stack.sum(0) / np.maximum(count, 1)).astype(np.uint8)
            made.append(
                WrittenMoment(
                    SEGMENTS[k % len(SEGMENTS)], 100 + 3 * k, vertices, pose, average, textures, {}
                )
            )
        capture = SyntheticCapture(mesh, topology, cameras, tuple(made))
        if draw is None:
            return capture
        drawn = tuple(
            WrittenMoment(
                m.segment, m.frame, m.vertices, m.world_from_head, m.average, m.textures,
                {name: draw(capture, m, camera) for name, camera in cameras.items()},
            )
            for m in made
        )  # fmt: skip
        return SyntheticCapture(mesh, topology, cameras, drawn)


def dome(count: int, size: tuple[int, int], vertical_fov: float = 0.42) -> dict[str, Camera]:
    """`count` cameras 1 m about where the head is, the first of which is the world's webcam."""
    focal = size[1] / (2.0 * np.tan(vertical_fov / 2.0))
    centre, target = np.array([size[0] - 1, size[1] - 1]) / 2.0, np.array([0.0, 0.0, -DISTANCE_M])
    cameras = {}
    for k in range(count):
        # Golden angles spread any number of cameras evenly over the front.
        out, around = 0.9 * np.sqrt(k / max(count, 1)), 2.399963 * k
        yaw, pitch = out * np.cos(around), 0.6 * out * np.sin(around)
        back = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
        right = np.cross([0.0, 1.0, 0.0], back)
        right /= np.linalg.norm(right)
        rotation = np.stack([right, -np.cross(back, right), -back], axis=1)
        name = str(400002 + 7 * k)
        cameras[name] = Camera(
            name, size, np.array([focal, focal]), centre,
            world_from_camera=Rigid.from_rotation(rotation, target + DISTANCE_M * back),
        )  # fmt: skip
    return cameras


def _skin(head: HeadMesh) -> tuple[WrittenMesh, RegisteredTopology, npt.NDArray[np.intp]]:
    """The mesh, and for each of its vertices one of the template's."""
    faces = head.faces[(head.faces < head.template_size).all(1)]
    faces = faces[np.isin(head.regions[faces], REGIONS).all(1)]
    used, corners = np.unique(faces, return_inverse=True)
    corners = np.asarray(corners).reshape(-1, 3)
    _, first, point = np.unique(head.weld[used], return_index=True, return_inverse=True)
    point, uv = np.asarray(point).astype(np.int32), head.uv[used]
    pairs = np.stack([point[corners], corners], axis=2).astype(np.int32)
    topology = RegisteredTopology(corners.astype(np.int32), uv, point, len(first))
    return WrittenMesh(uv, pairs), topology, used[first].astype(np.intp)


def _skin_colour(head: HeadMesh) -> Colour:
    skin = _scaled(head.albedo, 256).astype(np.float32)

    def colour(weights: Float32, gaze: Float32, view: Float32) -> UInt8:
        shade = 1.0 - 0.2 * float(weights.max()) + 0.1 * float(view[0])
        return np.clip(np.rint(shade * skin), 1, 255).astype(np.uint8)

    return colour


def _scaled(picture: UInt8, size: int) -> UInt8:
    way = cv2.INTER_AREA if size < len(picture) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size, size), interpolation=way), np.uint8)
