"""Find where MediaPipe puts its landmarks on the head template: `python -m apps.landmark_survey`.

The people that ship are drawn with several faces in several poses, MediaPipe looks at them, and the
ray of every landmark is followed to the mesh. The median over all pictures is
`assets/avatars/face_landmarks.safetensors`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tyro
from safetensors.numpy import save_file

from assets.manifest import asset_path
from avatar.codec import Avatar
from avatar.head_mesh import HeadMesh
from avatar.landmark_map import COUNT
from render.renderer import RenderOptions, open_renderer
from streams.camera import Camera
from streams.face_outlines import INNER_LIPS
from streams.face_shapes import SHAPE_INDEX
from streams.mesh_texture import MeshTexture
from streams.rigid import Rigid
from streams.tracked_state import FacePose, TrackedState
from streams.view import View
from tracking.engine import FaceMarks
from tracking.engines.mediapipe_tasks import Confidences, MediaPipeFace

Array = npt.NDArray[np.float64]

PEOPLE = ("default", "amara", "mei", "walter")
FACES: tuple[dict[str, float], ...] = (
    {},
    {"jawOpen": 0.45},
    {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6, "jawOpen": 0.2},
    {"eyeWideLeft": 0.6, "eyeWideRight": 0.6, "browInnerUp": 0.3},
    {"jawOpen": 0.25, "mouthFunnel": 0.3},
)
TURNS = ((0.0, 0.0), (0.3, 0.0), (-0.3, 0.0), (0.0, 0.2), (0.0, -0.2))
"""Yaw and pitch, radians."""
LEAST_FACING = 0.15
"""Squared cosine between ray and surface below which a hit is too slanted to count."""
OUTLINE = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
OUTLINE_TRUST = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _Hits:
    """Of one picture, one row a landmark."""

    uv: Array
    cosine: Array
    """Between the surface's normal and the way back along the ray: below 0, met from inside."""
    distance: Array
    mouth_open: bool


def main(out: Path = Path("assets/avatars/face_landmarks.safetensors")) -> None:
    """Survey and write; then `python -m assets.manifest --update` the file."""
    pictures = [hits for person in PEOPLE for hits in _survey(person)]
    uv = np.stack([p.uv for p in pictures])
    cosine = np.stack([p.cosine for p in pictures])
    distance = np.stack([p.distance for p in pictures])
    opened = np.array([p.mouth_open for p in pictures])
    head = HeadMesh.open("default")
    faces = head.faces[head.regions[head.faces[:, 0]] == "head"]
    corners, weights = np.zeros((COUNT, 3), np.int32), np.zeros((COUNT, 3))
    trust = np.zeros(COUNT)
    for i in range(COUNT):
        good = np.isfinite(distance[:, i])
        if i in INNER_LIPS:  # Closed lips do not tell which of the two a ray has hit.
            good &= opened
        # A ray through an open mouth or between the lids ends at the back of the head, inside.
        good &= cosine[:, i] > 0.0
        good &= distance[:, i] < np.median(distance[good, i]) + 0.02
        square_on = good & (cosine[:, i] ** 2 > LEAST_FACING)
        seen = uv[square_on if square_on.sum() > 3 else good, i]
        place = np.median(seen, axis=0)
        spread_texels = 1024 * np.median(np.linalg.norm(seen - place, axis=1))
        corners[i], weights[i] = _nearest(head.uv, faces, place)
        trust[i] = 1.0 / (1.0 + (spread_texels / 4.0) ** 2)
    outline = np.array(OUTLINE)
    trust[outline] = np.maximum(trust[outline], OUTLINE_TRUST)
    arrays = {
        "corners": corners,
        "weights": weights.astype(np.float32),
        "trust": trust.astype(np.float32),
    }
    save_file(arrays, out)
    print(f"wrote {out}: {len(pictures)} pictures, median trust {np.median(trust):.2f}")


def _survey(person: str) -> Iterator[_Hits]:
    """Every face and pose of one person in which MediaPipe finds a face."""
    camera = Camera.from_fov((640, 640), np.deg2rad(36.0))
    view, head = View.from_camera(camera), HeadMesh.open(person)
    skin = np.flatnonzero(head.regions[head.faces[:, 0]] == "head")
    with (
        Avatar.open(person) as avatar,
        open_renderer("gl", RenderOptions(antialias="none", depth=False)) as renderer,
    ):
        for shapes in FACES:
            for yaw, pitch in TURNS:
                mesh = avatar.rig(_state(shapes, yaw, pitch))
                rgb = np.ascontiguousarray(renderer.draw(mesh, view).rgba[..., :3])
                marks = _landmarks(rgb)
                if marks is not None:
                    yield _follow(camera, marks, mesh, head, skin, "jawOpen" in shapes)


def _state(shapes: dict[str, float], yaw: float, pitch: float) -> TrackedState:
    weights = np.zeros(52, np.float32)
    for name, value in shapes.items():
        weights[SHAPE_INDEX[name]] = value
    ahead = np.tile(np.array([0, 0, 1], np.float32), (2, 1))
    pose = Rigid.from_rotvec((pitch, yaw, 0.0), (0.0, 0.0, -0.55))
    face = FacePose(weights, np.zeros((478, 3), np.float32), ahead, pose, 1.0)
    return TrackedState(0, "survey", face)


def _landmarks(rgb: npt.NDArray[np.uint8]) -> Array | None:
    """(COUNT, 2) pixels after MediaPipe's filter has come to rest."""
    engine = MediaPipeFace(asset_path("models/face_landmarker.task"), Confidences())
    try:
        faces: tuple[FaceMarks, ...] = ()
        for k in range(3):
            faces = engine.look(rgb, 33 * k)
        return None if not faces else faces[0].landmarks[:COUNT, :2].astype(np.float64)
    finally:
        engine.close()


def _follow(
    camera: Camera,
    marks: Array,
    mesh: MeshTexture,
    head: HeadMesh,
    skin: npt.NDArray[np.intp],
    mouth_open: bool,
) -> _Hits:
    import open3d

    tensor: Any = open3d.core.Tensor  # its stubs know no numpy arrays
    scene = open3d.t.geometry.RaycastingScene()
    faces = head.faces[skin]
    scene.add_triangles(
        tensor(np.ascontiguousarray(mesh.vertices)),
        tensor(faces.astype(np.uint32)),
    )
    # World and camera differ by the turn of OpenCV's axes only: the camera stands at the origin.
    towards = (marks - camera.centre) / camera.focal
    rays = np.stack([towards[:, 0], -towards[:, 1], -np.ones(COUNT)], axis=1)
    lines = np.concatenate([np.zeros((COUNT, 3)), rays], axis=1).astype(np.float32)
    hit = scene.cast_rays(tensor(lines))
    distance = hit["t_hit"].numpy().astype(np.float64)
    struck = np.isfinite(distance)
    triangles = faces[np.where(struck, hit["primitive_ids"].numpy(), 0).astype(np.int64)]
    b = hit["primitive_uvs"].numpy()
    b = np.concatenate([1 - b.sum(1, keepdims=True), b], axis=1)
    units = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    cosine = -(hit["primitive_normals"].numpy() * units).sum(1)
    uv = (head.uv[triangles] * b[:, :, None]).sum(1)
    return _Hits(uv, cosine, distance, mouth_open)


def _nearest(
    uv: npt.NDArray[np.float32], faces: npt.NDArray[np.int32], place: Array
) -> tuple[npt.NDArray[np.int32], Array]:
    """The triangle of the atlas that holds `place` or lies nearest, and where in it."""
    corner = uv[faces].astype(np.float64)
    one, two, to = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0], place - corner[:, 0]
    area = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
    b1 = (to[:, 0] * two[:, 1] - to[:, 1] * two[:, 0]) / area
    b2 = (one[:, 0] * to[:, 1] - one[:, 1] * to[:, 0]) / area
    b = np.clip(np.stack([1 - b1 - b2, b1, b2], axis=1), 0.0, None)
    b /= b.sum(axis=1, keepdims=True)
    away = (((corner * b[:, :, None]).sum(1) - place) ** 2).sum(1)
    best = int(np.argmin(away))
    return faces[best], b[best]


if __name__ == "__main__":
    tyro.cli(main)
