"""Meshes, normals and textures of the wire: Python's own decoder, and the page's in node."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from avatar.codec import Avatar
from avatar.encoder import APPEARANCE, GEOMETRY
from avatar.eye_balls import STRAIGHT
from avatar.hand_rig import HandRig
from headset.webxr.blob_store import BlobStore
from headset.webxr.mesh_coding import MeshDecoder, MeshEncoder
from headset.webxr.mesh_description import QUANTUM_M, MeshDescription
from headset.webxr.messages import MessageError
from headset.webxr.nodes_coding import pack_nodes, parse_nodes
from headset.webxr.scene_blobs import SceneBlobs, pack_basis, pack_surface
from streams.avatar_code import AvatarCode
from streams.hand_skeleton import joint_angles, wrist_frame
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.rigid import Rigid
from streams.texture_basis import TextureBasis
from streams.topology import Topology
from streams.tracked_state import HandPose
from tests.wire_twins import pieces, run_twins

HALF_STEP_M = 0.5 * QUANTUM_M
ROUNDED_M = 5e-7
"""float32 of places up to 4 m from the origin, on the way through two transforms."""
HAIR = 5


def hand(side: str, at: npt.ArrayLike, turn: npt.ArrayLike) -> HandPose:
    place = Rigid.from_rotvec(turn, at)
    joints = place.apply(HandRig.open().rest_joints(side)).astype(np.float32)
    return HandPose(side, joints, wrist_frame(joints, side), joint_angles(joints, side), 1.0)


def moments(count: int) -> list[MeshTexture]:
    """A person whose head, face and one hand move smoothly."""
    return list(made_moments()[:count])


@cache
def made_moments(count: int = 10) -> tuple[MeshTexture, ...]:
    rng = np.random.default_rng(3)
    start, pull = rng.normal(size=(2, GEOMETRY)).astype(np.float32)
    found = []
    with Avatar.open("default") as avatar:
        for k in range(count):
            head = Rigid.from_rotvec((0.02 * k, 0.3 - 0.01 * k, 0.0), (0.002 * k, 0.0, -0.6))
            seen = (hand("left", (-0.2, -0.1 + 0.003 * k, -0.5), (0.3, 0.02 * k, 0.1)),)
            geometry = 0.7 * start + np.float32(0.03 * k) * pull
            code = AvatarCode(
                k, avatar.id, geometry, np.zeros(APPEARANCE, np.float32), STRAIGHT, head, seen,
            )  # fmt: skip
            found.append(avatar.decode(code))
    return tuple(found)


def jumping(count: int = 40) -> list[MeshTexture]:
    """A lumpy sheet and a single triangle that jump about, with copies along a cut: residuals of
    every size, a flat face, a vertex that no face has."""
    rng = np.random.default_rng(4)
    n = 12
    u, v = (a.ravel() for a in np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n)))
    k = np.arange(n * n).reshape(n, n)
    a, b, c, d = k[:-1, :-1].ravel(), k[1:, :-1].ravel(), k[1:, 1:].ravel(), k[:-1, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    flat = np.array([[0, 0, 1], [n * n, n * n + 1, n * n + 2]])
    faces = np.concatenate([faces, flat]).astype(np.int32)
    total = n * n + 4 + n
    uv = np.concatenate([np.stack([u, v], 1), rng.uniform(size=(total - n * n, 2))])
    surface = np.full((4, 4, 4), 255, np.uint8)
    topology = Topology("sheet", faces, uv.astype(np.float32), np.zeros(total, np.uint8), surface)
    found = []
    for t in range(count):
        scale = (1e-4, 1e-3, 0.4)[t % 3]
        at = np.zeros((total, 3))
        at[: n * n] = np.stack([u, v, 0.1 * np.sin(6 * u)], 1)
        at[n * n : n * n + 4] = rng.uniform(-1, 1, (4, 3))
        at += rng.normal(size=at.shape) * scale
        at[-n:] = at[:n]  # copies
        normals = np.tile(np.array([0, 0, 1], np.float32), (total, 1))
        albedo = np.zeros((1, 1, 3), np.uint8)
        found.append(MeshTexture(t, topology, at.astype(np.float32), normals, albedo))
    return found


def encoded(meshes: list[MeshTexture]) -> tuple[MeshDescription, list[bytes]]:
    description = MeshDescription.of(meshes[0])
    encoder = MeshEncoder(1, description)
    return description, [encoder.encode(m.vertices, k + 1)[0] for k, m in enumerate(meshes)]


def within_half_a_step(got: npt.NDArray[np.float32], mesh: MeshTexture, section: bytes) -> None:
    """In the frame of each piece, in which steps are counted; in space it is at most sqrt(3) of
    it."""
    off = np.linalg.norm(got - mesh.vertices, axis=1)
    assert off.max() <= np.sqrt(3) * HALF_STEP_M + ROUNDED_M, section[:20]


@pytest.mark.parametrize("made", [lambda: moments(6), jumping], ids=["avatar", "jumping"])
def test_a_mesh_comes_back_within_half_a_step(made: object) -> None:
    meshes = made()  # pyright: ignore[reportCallIssue]
    description, sections = encoded(meshes)
    decoder = MeshDecoder(description)
    for k, (mesh, section) in enumerate(zip(meshes, sections, strict=True)):
        within_half_a_step(decoder.decode(section, k + 1).vertices, mesh, section)


def test_a_moving_head_and_hand_take_a_few_kilobytes() -> None:
    meshes = moments(8)
    assert len(meshes[0].vertices) > 16_000
    _, sections = encoded(meshes)
    assert max(map(len, sections[1:])) < 8192
    still = MeshEncoder(1, MeshDescription.of(meshes[0]))
    still.encode(meshes[0].vertices, 1)
    # What turns and walks as a whole costs next to nothing.
    place = Rigid.from_rotvec((0.2, 0.5, 0.1), (0.3, 0.2, -0.4))
    moved = place.apply(meshes[0].vertices).astype(np.float32)
    assert len(still.encode(moved, 2)[0]) < 1200


def test_a_key_needs_nothing_before_it() -> None:
    meshes = moments(4)
    description = MeshDescription.of(meshes[0])
    encoder = MeshEncoder(1, description)
    for k, mesh in enumerate(meshes[:3]):
        assert encoder.encode(mesh.vertices, k + 1)[1] is (k == 0)
    section, key = encoder.encode(meshes[3].vertices, 4, key=True)
    assert key
    within_half_a_step(MeshDecoder(description).decode(section, 4).vertices, meshes[3], section)


def test_a_difference_to_another_frame_is_refused() -> None:
    description, sections = encoded(jumping(3))
    decoder = MeshDecoder(description)
    decoder.decode(sections[0], 1)
    with pytest.raises(MessageError, match="frame 2"):
        decoder.decode(sections[2], 3)


def test_meshes_that_cannot_be_sent_are_refused() -> None:
    mesh = jumping(1)[0]
    encoder = MeshEncoder(1, MeshDescription.of(mesh))
    with pytest.raises(ValueError, match="vertices"):
        encoder.encode(mesh.vertices[:-1], 1)
    wild = mesh.vertices.copy()
    for lost in (slice(3, 4), slice(None)):
        wild[lost] = np.nan
        with pytest.raises(ValueError, match=r"piece's centre|finite"):
            encoder.encode(wild, 1)
    wild = mesh.vertices.copy()
    wild[3] = 1e6
    with pytest.raises(ValueError, match="piece's centre"):
        encoder.encode(wild, 1)


def test_nobody_is_a_mesh_too() -> None:
    with Avatar.open("default") as avatar:
        code = AvatarCode(
            0, avatar.id, np.zeros(GEOMETRY, np.float32), np.zeros(APPEARANCE, np.float32),
            STRAIGHT, None,
        )  # fmt: skip
        mesh = avatar.decode(code)
    description, sections = encoded([mesh, mesh])
    decoder = MeshDecoder(description)
    assert [len(decoder.decode(s, k + 1).vertices) for k, s in enumerate(sections)] == [0, 0]
    assert len(SceneBlobs(BlobStore()).of(mesh).blob) == 64


def test_normals_are_the_avatars_own() -> None:
    meshes = moments(6)
    description = MeshDescription.of(meshes[0])
    found = description.normals(meshes[-1].vertices)
    cosine = np.einsum("ni,ni->n", found, meshes[-1].normals)
    angles = np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))
    # Hands are skinned with their normals, which bend otherwise than their surface.
    assert angles.mean() < 0.5
    assert np.quantile(angles, 0.99) < 4.0
    # Without the memory of how they were turned, hair would be off by tens of degrees.
    assert (meshes[0].topology.parts[description.turned] == HAIR - 1).any()


@pytest.mark.parametrize("made", [lambda: moments(6), jumping], ids=["avatar", "jumping"])
def test_the_page_decodes_the_same(made: object, tmp_path: Path) -> None:
    meshes = made()  # pyright: ignore[reportCallIssue]
    description, sections = encoded(meshes)
    rng = np.random.default_rng(6)
    broken = []
    for k in range(300):
        data = bytearray(sections[0])
        for _ in range(1 + k % 4):
            data[int(rng.integers(len(data)))] ^= int(rng.integers(1, 256))
        broken.append(bytes(data[: int(rng.integers(len(data)))] if k % 3 == 0 else data))
    told = run_twins(
        tmp_path,
        {
            "description.bin": description.pack(),
            "frames.bin": pieces(sections),
            "broken.bin": pieces(broken),
        },
    )
    flat = np.frombuffer((tmp_path / "meshes.out").read_bytes(), np.float32)
    flat = flat.reshape(len(meshes), 2, description.vertices, 3)
    decoder = MeshDecoder(description)
    for k, section in enumerate(sections):
        ours = decoder.decode(section, k + 1).vertices
        assert np.abs(flat[k, 0] - ours).max() <= ROUNDED_M
        normals = description.normals(ours)
        sure = np.linalg.norm(normals, axis=1) > 0.5
        cosine = np.einsum("ni,ni->n", normals, flat[k, 1].astype(np.float64))
        # Where faces cancel out, float32 and float64 differ about nothing.
        assert np.quantile(cosine[sure], 0.001) > 0.9999
    assert len(told["broken"]) == 300
    assert told["broken"].count(False) > 100


def random_nodes() -> MeshNodes:
    rng = np.random.default_rng(7)
    mesh = jumping(1)[0]
    basis = TextureBasis(
        rng.integers(0, 256, (32, 48, 3), np.uint8),
        rng.integers(-127, 128, (8, 16, 24, 3), np.int8),
        np.append(rng.uniform(1e-4, 2e-3, 7), 0.0).astype(np.float32), (5, 6),
    )  # fmt: skip
    nodes = rng.normal(size=basis.nodes_shape).astype(np.float32)
    gain = np.array([1.1, 0.9, 1.0], np.float32)
    return MeshNodes(0, mesh.topology, mesh.vertices, mesh.normals, basis, nodes, gain)


def test_nodes_come_back_to_the_same_picture(tmp_path: Path) -> None:
    mesh = random_nodes()
    section = pack_nodes(mesh)
    nodes, gain = parse_nodes(section)
    assert (gain == mesh.gain).all()
    ours, sent = (mesh.basis.picture(n, gain).astype(int) for n in (nodes, mesh.nodes))
    assert np.abs(ours - sent).max() <= 2
    assert np.ptp(sent) > 100
    surface = mesh.topology.surface
    told = run_twins(
        tmp_path,
        {
            "nodes.bin": section,
            "surface.bin": pack_surface(surface),
            "basis.bin": pack_basis(mesh.basis),
        },
    )
    assert (tmp_path / "nodes.out").read_bytes() == nodes.tobytes() + gain.tobytes()
    assert told["surface"] == [4, 4]
    assert told["basis"] == [48, 32, 8, 24, 16, 5, 6, "additive"]
    basis = mesh.basis
    assert (tmp_path / "blobs.out").read_bytes() == (
        surface.tobytes() + basis.scale.tobytes() + basis.mean.tobytes() + basis.planes.tobytes()
    )


def test_broken_nodes_raise_one_error() -> None:
    section, rng = pack_nodes(random_nodes()), np.random.default_rng(9)
    for k in range(500):
        data = bytearray(section)
        data[int(rng.integers(len(data)))] ^= int(rng.integers(1, 256))
        try:
            parse_nodes(bytes(data[: int(rng.integers(len(data)))] if k % 3 == 0 else data))
        except MessageError:
            continue


def test_broken_meshes_raise_one_error() -> None:
    description, sections = encoded(jumping(2))
    rng = np.random.default_rng(10)
    refused = 0
    for k in range(500):
        data = bytearray(sections[0])
        data[int(rng.integers(len(data)))] ^= int(rng.integers(1, 256))
        try:
            MeshDecoder(description).decode(bytes(data[: -1 - k] if k % 3 == 0 else data), 1)
        except MessageError:
            refused += 1
    assert refused > 200


def test_one_topology_is_described_once() -> None:
    blobs = SceneBlobs(BlobStore())
    first, second = jumping(2)
    assert blobs.of(first) is blobs.of(second)
    nodes = random_nodes()
    with_basis = blobs.of(nodes)
    assert with_basis.basis is not None
    assert with_basis.number == 2
