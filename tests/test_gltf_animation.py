"""Animated glTF: what an engine makes of the file at any time is the person that was recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import KDTree

from avatar.avatar_file import read_avatar_file
from avatar.blend_shape_head import open_blend_shape_head
from avatar.codec import Avatar
from avatar.gltf_file import write_gltf
from avatar.hand_rig import HandRig
from avatar.mesh_file import read_mesh
from avatar.person_take import PersonTake
from avatar.personal_avatar import PersonalAvatar
from benchmarks.morph_sheet import GlbFile
from capture.scenes import open_scene
from streams.rigid import Rigid
from streams.tracked_state import TrackedState
from tests.gltf_validator import gltf_issues

FPS = 20.0


class Posed:
    """A file at one time, by the specification alone: TRS, morph targets, skins."""

    def __init__(self, file: GlbFile, t_s: float) -> None:
        self.file, self.json = file, file.json
        self.values: dict[tuple[int, str], np.ndarray] = {}
        (animation,) = self.json["animations"]
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            times = file.accessor(sampler["input"])[:, 0]
            rows = file.accessor(sampler["output"]).reshape(len(times), -1)
            k = int(np.clip(np.searchsorted(times, t_s, "right") - 1, 0, len(times) - 1))
            value = rows[k].astype(float)
            if sampler["interpolation"] == "LINEAR" and k + 1 < len(times):
                share = np.clip((t_s - times[k]) / (times[k + 1] - times[k]), 0.0, 1.0)
                if channel["target"]["path"] == "rotation":
                    a, b = (Rigid(np.roll(self._unit(rows[j]), 1)) for j in (k, k + 1))
                    value = np.roll(a.interpolate(b, float(share)).wxyz, -1)
                else:
                    value = value + share * (rows[k + 1] - value)
            self.values[channel["target"]["node"], channel["target"]["path"]] = value
        self.world: dict[int, np.ndarray] = {}
        for root in self.json["scenes"][0]["nodes"]:
            self._walk(root, np.eye(4))

    @staticmethod
    def _unit(q: np.ndarray) -> np.ndarray:
        return q.astype(float) / np.linalg.norm(q)

    def of(self, node: int, path: str, default: list[float]) -> np.ndarray:
        fixed = self.json["nodes"][node].get(path, default)
        return self.values.get((node, path), np.array(fixed, float))

    def _walk(self, node: int, parent: np.ndarray) -> None:
        xyzw = self._unit(self.of(node, "rotation", [0, 0, 0, 1]))
        here = Rigid(np.roll(xyzw, 1), self.of(node, "translation", [0, 0, 0])).matrix()
        here[:3, :3] *= self.of(node, "scale", [1, 1, 1])
        self.world[node] = parent @ here
        for child in self.json["nodes"][node].get("children", []):
            self._walk(child, self.world[node])

    def vertices(self, *names: str) -> np.ndarray:
        """(N, 3) world places of the meshes of these nodes; of all without names."""
        out = []
        for index, node in enumerate(self.json["nodes"]):
            if "mesh" not in node or (names and node["name"] not in names):
                continue
            mesh = self.json["meshes"][node["mesh"]]
            weights = self.of(index, "weights", mesh.get("weights", []))
            for primitive in mesh["primitives"]:
                attributes = primitive["attributes"]
                v = self.file.accessor(attributes["POSITION"]).astype(float)
                for weight, target in zip(weights, primitive.get("targets", []), strict=False):
                    v += weight * self.file.accessor(target["POSITION"])
                h = np.concatenate([v, np.ones((len(v), 1))], axis=1)
                if "skin" not in node:
                    out.append(h @ self.world[index].T)
                    continue
                skin = self.json["skins"][node["skin"]]
                bind = self._matrices(skin["inverseBindMatrices"])
                joints = np.stack([self.world[j] for j in skin["joints"]]) @ bind
                chosen = joints[self.file.accessor(attributes["JOINTS_0"]).astype(int)]
                share = self.file.accessor(attributes["WEIGHTS_0"])
                assert np.abs(share.sum(1) - 1).max() < 1e-5
                out.append(np.einsum("vk,vkij,vj->vi", share, chosen, h))
        return np.concatenate(out)[:, :3]

    def _matrices(self, index: int) -> np.ndarray:
        accessor = self.json["accessors"][index]
        view = self.json["bufferViews"][accessor["bufferView"]]
        assert accessor["type"] == "MAT4"
        flat = np.frombuffer(
            self.file.binary, np.float32, accessor["count"] * 16, view["byteOffset"]
        )
        return flat.reshape(-1, 4, 4).transpose(0, 2, 1).astype(float)


@pytest.fixture(scope="module")
def states() -> list[TrackedState]:
    """Speech and both hands; then a person who leaves and returns, and turns the head far."""
    scene, away, far = open_scene("demo"), open_scene("away"), open_scene("range")
    times = [round(k * 1e9 / FPS) for k in range(300)]
    acted = [scene.state_at(t) for t in times[:200]] + [away.state_at(t) for t in times[:60]]
    acted += [far.state_at(40_000_000_000 + t) for t in times[:40]]
    return [
        TrackedState(t, state.source, state.face, state.hands)
        for t, state in zip(times, acted, strict=True)
    ]


@pytest.fixture(scope="module")
def path(states: list[TrackedState], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("glb") / "talk.glb"
    head = open_blend_shape_head("mei")
    write_gltf(head, out, PersonTake.of(states, head, HandRig.open()))
    return out


def test_every_moment_is_the_person_that_was_recorded(
    path: Path, states: list[TrackedState]
) -> None:
    file = GlbFile.read(path)
    turned = hands = 0
    worst, means = 0.0, []
    with Avatar.open("mei") as avatar:
        for k in (*range(0, 200, 16), 255, 275, 290, 299):
            state = states[k]
            if state.face is None:
                continue
            wanted = avatar.rig(state)
            got = Posed(file, (state.t_ns - states[0].t_ns) / 1e9).vertices()
            used = np.unique(wanted.topology.faces)
            apart, _ = KDTree(got).query(wanted.vertices[used])
            worst, means = max(worst, float(apart.max())), [*means, float(apart.mean())]
            turned += np.abs(state.face.world_from_head.rotvec()).max() > 0.4
            hands += len(state.hands)
    assert turned >= 1
    assert hands >= 3
    # The neck between its joints, and hands whose fifth bone is left out.
    assert worst < 0.0015
    assert float(np.mean(means)) < 5e-5


def test_between_two_keys_everything_moves_on(path: Path, states: list[TrackedState]) -> None:
    file, scene = GlbFile.read(path), open_scene("demo")
    with Avatar.open("mei") as avatar:
        for k in (40, 95):
            t_ns = round((k + 0.5) * 1e9 / FPS)
            mid = avatar.rig(scene.state_at(t_ns))
            got = Posed(file, t_ns / 1e9).vertices()
            apart, _ = KDTree(got).query(mid.vertices[np.unique(mid.topology.faces)])
            assert apart.mean() < 1e-3


def test_who_is_not_seen_is_not_there(path: Path, states: list[TrackedState]) -> None:
    file = GlbFile.read(path)
    start = states[0].t_ns
    gone = next(s for s in states[200:] if s.face is None)
    there = Posed(file, (gone.t_ns - start) / 1e9)
    for name in ("face", "eye-left", "cloth", "hair", "hand-left-mesh"):
        assert np.ptp(there.vertices(name), axis=0).max() < 1e-6
    handless = next(s for s in states[:200] if not s.hands)
    posed = Posed(file, (handless.t_ns - start) / 1e9)
    assert np.ptp(posed.vertices("hand-left-mesh", "hand-right-mesh"), axis=0).max() < 1e-6
    assert np.ptp(posed.vertices("face"), axis=0).min() > 0.1


def test_the_gaze_of_a_personal_avatar_is_its_decoders(
    small_avatar: Path, states: list[TrackedState], tmp_path: Path
) -> None:
    out, few = tmp_path / "me.glb", states[:40:8]
    head = open_blend_shape_head(str(small_avatar))
    write_gltf(head, out, PersonTake.of(few, head))
    file, own = GlbFile.read(out), read_avatar_file(small_avatar)
    with PersonalAvatar(own.model, own.id) as avatar:
        for state in few:
            decoded = avatar.decode(avatar.encode(state))
            got = Posed(file, (state.t_ns - few[0].t_ns) / 1e9)
            for name, ball in zip(("eye-left", "eye-right"), head.balls, strict=True):
                places = got.vertices(name)
                apart, _ = KDTree(decoded.vertices[ball]).query(places)
                assert apart.max() < 1e-4


def test_takes_refuse_what_is_none(states: list[TrackedState]) -> None:
    head = open_blend_shape_head("default")
    for wrong in ([], [states[1], states[0]]):
        with pytest.raises(ValueError, match="times rise"):
            PersonTake.of(wrong, head)


def test_hands_without_a_face_stand_alone(states: list[TrackedState], tmp_path: Path) -> None:
    some = [s for s in states if s.hands][:10]
    faceless = [TrackedState(s.t_ns, s.source, None, s.hands) for s in some]
    head, out = open_blend_shape_head("default"), tmp_path / "hands.glb"
    write_gltf(head, out, PersonTake.of(faceless, head, HandRig.open()))
    posed = Posed(GlbFile.read(out), 0.0)
    assert np.ptp(posed.vertices("face"), axis=0).max() < 1e-6
    assert np.ptp(posed.vertices(f"hand-{some[0].hands[0].side}-mesh"), axis=0).max() > 0.1


def test_other_programs_open_it(path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    scene = trimesh.load(path)
    file = GlbFile.read(path)
    assert len(scene.geometry) == sum(len(mesh["primitives"]) for mesh in file.json["meshes"])
    vertices, _ = read_mesh(path)  # Assimp, through Open3D
    assert len(vertices) > 20_000
    assert {skin["name"] for skin in file.json["skins"]} == {"neck", "hand-left", "hand-right"}


def test_the_khronos_validator_has_nothing_to_say(path: Path) -> None:
    issues = gltf_issues(path)
    assert issues["numErrors"] == issues["numWarnings"] == 0, issues["messages"][:3]
