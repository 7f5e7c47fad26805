"""The page's avatar decoder run in node, beside what Python makes of the same packets; and people
and codes to try both with."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from avatar.codec import Avatar
from avatar.eye_balls import gaze_from_angles
from avatar.field_basis import atlas_nodes
from avatar.head_mesh import HeadMesh
from avatar.head_placement import moving_vertices
from avatar.mesh_assembly import view_direction
from avatar.personal_avatar import PersonalAvatar
from avatar.personal_model import CHART, DRIVERS, LANDMARKS, OWN_DRIVERS, PersonalModel
from avatar.picture_encoder import face_table
from avatar.spectacles import NUMBERS, Spectacles
from streams.avatar_code import AvatarCode
from streams.camera import Camera
from streams.rigid import Rigid
from streams.tracked_state import SIDES
from streams.view import View
from tests.talking_person import hand_at

SCRIPT = Path(__file__).parent / "page_codec" / "decode.mjs"
KINDS = {
    "Float32Array": np.float32, "Float64Array": np.float64, "Int8Array": np.int8,
    "Uint8Array": np.uint8, "Uint32Array": np.uint32,
}  # fmt: skip
EYE = (0.15, 0.1, 0.4)
VIEW = replace(
    View.from_camera(Camera.from_fov((64, 64), 1.0)), world_from_eye=Rigid.from_translation(EYE)
)
Json = dict[str, Any]


def run_node(script: Path, folder: Path, job: Json) -> Any:
    """What `script` answers to a job; skips where node is missing."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed (apt-get install nodejs)")
    (folder / "job.json").write_text(json.dumps(job))
    said = subprocess.run(
        [node, str(script), str(folder / "job.json"), str(folder / "result.json")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr[-2000:]
    return json.loads((folder / "result.json").read_text())


def array(packed: dict[str, str]) -> npt.NDArray[Any]:
    return np.frombuffer(base64.b64decode(packed["base64"]), KINDS[packed["kind"]])


def text(packet: bytes) -> str:
    return base64.b64encode(packet).decode()


def made_up_model(seed: int, *, glasses: bool) -> PersonalModel:
    """Nobody, on the real template: as many vertices as anybody, fewer numbers. As a file has it:
    its large arrays are half floats."""
    rng = np.random.default_rng(seed)
    head = HeadMesh.open("default")
    p, a, k, side = 9, 24, 4, 4

    def random(*shape: int, size: float = 1.0):
        return (size * rng.normal(size=shape)).astype(np.float32)

    node_moves = random(a, 11 * k, size=0.3)
    node_moves[: NUMBERS if glasses else 0] = 0.0
    texels = 1024 if glasses else 128
    texel_count = len(face_table(head).rows)
    planes = np.zeros((k, CHART, CHART, 3), np.int8)
    planes[:, :32, :32] = rng.integers(-127, 127, (k, 32, 32, 3))
    model = PersonalModel(
        rest=head.vertices[: head.template_size], eyes=head.eyes,
        eye_radius=np.array([head.eye_radius], np.float32), neck_pivot=head.neck_pivot,
        moves=random(p, len(moving_vertices(head)), 3, size=5e-4),
        landmark_rest=random(LANDMARKS, 3), landmark_moves=random(p, LANDMARKS * 3),
        gaze_map=np.vstack([0.9 * np.eye(4), np.full((1, 4), 0.02)]).astype(np.float32),
        mean=patchwork(rng, 1024, 3), opacity=patchwork(rng, texels, 1)[..., 0],
        planes=planes,
        plane_scale=np.abs(random(k, size=1e-3)) + np.float32(1e-4),
        grid=np.array([side, side], np.int32),
        active=np.sort(rng.permutation(side * side)[:11]).astype(np.int32),
        coarse=np.arange(0, texel_count, 50, dtype=np.int32),
        node_rest=random(11 * k), node_moves=node_moves,
        node_view=random(3, 11 * k), view_rest=random(3), gain_sigma=random(3, size=0.1),
        projection=random(a, 11 * k), projection_rest=random(a), view_codes=random(3, a),
        own_rest=random(a + 3), own_map=random(OWN_DRIVERS + p, a + 3, size=0.1),
        own_points=random(17, OWN_DRIVERS + p),
        own_metric=np.abs(random(OWN_DRIVERS + p, size=0.3)),
        own_point_map=random(17, a + 3), any_map=random(DRIVERS, p + a + 3),
        own_centre=random(OWN_DRIVERS + p, size=0.1),
        own_scale=np.abs(random(OWN_DRIVERS + p)) + np.float32(0.5), strangeness=random(1),
        distortion=np.abs(random(p + a + 3, size=10.0)) + np.float32(1.0),
        glasses=made_up_glasses(rng) if glasses else None,
    )  # fmt: skip
    return PersonalModel.from_tensors(model.tensors(), model.mean, model.opacity)


def patchwork(rng: np.random.Generator, size: int, channels: int) -> npt.NDArray[np.uint8]:
    squares = rng.integers(0, 255, (32, 32, channels)).astype(np.uint8)
    return squares.repeat(size // 32, 0).repeat(size // 32, 1)


def made_up_glasses(rng: np.random.Generator) -> Spectacles:
    depth = (0.02 + 0.002 * rng.normal(size=(9, 25))).astype(np.float32)
    temples = (0.05 * rng.normal(size=(2, 3, 2, 3))).astype(np.float32)
    unit = np.array([0.002, 0.002, 0.02, 0.01], np.float32)
    return Spectacles(depth, temples, unit, np.zeros((112, 240, 3), np.uint8))


def gesturing(avatar: Avatar | PersonalAvatar, count: int, seed: int) -> list[AvatarCode]:
    """Codes of someone who talks with both hands, of which the left one comes and goes."""
    rng = np.random.default_rng(seed)
    size, told = (len(weights) for weights in avatar.weights())
    geometry, appearance, codes = rng.normal(size=size), rng.normal(size=told), []
    for k in range(count):
        geometry = 0.9 * geometry + 0.43 * rng.normal(size=size)
        appearance = 0.9 * appearance + 0.43 * rng.normal(size=told)
        t = k / 30
        pose = Rigid.from_rotvec(
            [0.3 * np.sin(2 * t), 0.9 * np.sin(3 * t), 0.2 * np.sin(t)],
            [0.03 * np.sin(5 * t), 0.01, -0.5],
        )
        gaze = gaze_from_angles(np.array([[0.2 * np.sin(2 * t), 0.1], [0.2 * np.sin(2 * t), 0.1]]))
        shape = geometry.astype(np.float32)
        seen = avatar.expected(pose, shape, gaze) + 0.3 * appearance.astype(np.float32)
        sides = [side for side in SIDES if side == "right" or k % 30 < 20]
        hands = tuple(hand_at(side, t, rng) for side in sides)
        at_ns = 5_000_000_000 + k * 33_000_000
        codes.append(
            AvatarCode(
                at_ns, avatar.id, shape, seen.astype(np.float32), gaze,
                None if 40 <= k < 44 else pose, hands, "encoded",
            )
        )  # fmt: skip
    return codes


def nodes_of(avatar: Avatar | PersonalAvatar, code: AvatarCode) -> npt.NDArray[np.float32]:
    """(rows, columns, K) as the page has them, seen from EYE."""
    if isinstance(avatar, PersonalAvatar):
        return avatar.decode_nodes(code, VIEW).nodes
    pose = code.world_from_head or Rigid()
    towards = view_direction(pose, VIEW) if code.world_from_head else (0.0, 0.0, 1.0)
    return atlas_nodes(avatar.decoder.nodes(code.appearance, np.asarray(towards, np.float32)))
