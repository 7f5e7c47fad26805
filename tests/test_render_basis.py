"""Textures that are summed in the fragment shader, and textures that hold their own light."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from avatar.codec import Avatar
from benchmarks.portraits import portrait
from render.gl_objects import live_objects
from render.renderer import Foveation, RenderOptions, open_renderer
from streams.camera import Camera
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.texture_basis import TextureBasis
from streams.topology import PARTS, Topology
from streams.view import View

PLAIN = RenderOptions(antialias="none", shadows=False, depth=False)
SIZE = 256
VIEW = View.from_camera(Camera.from_fov((SIZE, SIZE), 1.0))


def square(lit: bool = False, alpha: int = 255) -> Topology:
    """A quad that fills the middle of the view."""
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    surface = np.full((8, 8, 4), 255, np.uint8)
    surface[..., 3] = alpha
    faces = np.array([[0, 3, 2], [0, 2, 1]], np.int32)
    return Topology("square", faces, uv, np.zeros(4, np.uint8), surface, lit)


CORNERS = np.array([[-0.4, 0.4, -1], [0.4, 0.4, -1], [0.4, -0.4, -1], [-0.4, -0.4, -1]], np.float32)
NORMALS = np.tile(np.array([0, 0, 1], np.float32), (4, 1))


def basis(seed: int, space: str = "additive", count: int = 8) -> TextureBasis:
    rng = np.random.default_rng(seed)
    mean = rng.integers(60, 190, (64, 64, 3)).astype(np.uint8)
    # As smooth as a face's: nodes and texels are not one another's neighbours.
    waves = [cv2.resize(rng.uniform(-127, 127, (8, 8, 3)), (32, 32)) for _ in range(count)]
    planes = np.stack(waves).astype(np.int8)
    scale = rng.uniform(0.2, 1.0, count).astype(np.float32) * np.float32(0.05 / 127.0)
    return TextureBasis(mean, planes, scale, (5, 7), space)


def nodes(of: TextureBasis, seed: int, topology: Topology | None = None) -> MeshNodes:
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=of.nodes_shape).astype(np.float32)
    gain = rng.uniform(0.8, 1.2, 3).astype(np.float32)
    return MeshNodes(0, topology or square(), CORNERS, NORMALS, of, numbers, gain)


def pictures(mesh: MeshTexture | MeshNodes, options: RenderOptions = PLAIN):
    with open_renderer("gl", options) as renderer:
        return renderer.draw(mesh, VIEW).rgba[..., :3].astype(int)


@pytest.mark.parametrize("space", ["additive", "log"])
def test_shader_sums_like_the_slow_twin(space: str) -> None:
    mesh = nodes(basis(1, space), 2)
    shader = pictures(mesh)
    with open_renderer("reference", PLAIN) as reference:
        twin = reference.draw(mesh, VIEW).rgba[..., :3].astype(int)
    assert np.ptp(shader[100:150, 100:150]) > 60  # there is something to compare
    assert (
        np.abs(shader - twin).max() <= 6
    )  # interpolated products, not a product of interpolations
    assert np.abs(shader - twin).mean() < 1.0


def test_without_coefficients_the_mean_is_shown() -> None:
    of = basis(3)
    mesh = replace(
        nodes(of, 4), nodes=np.zeros(of.nodes_shape, np.float32), gain=np.ones(3, np.float32)
    )
    flat = MeshTexture(0, mesh.topology, mesh.vertices, mesh.normals, of.mean)
    assert np.abs(pictures(mesh) - pictures(flat)).max() <= 1


def test_unlit_texture_keeps_its_values() -> None:
    albedo = np.full((16, 16, 3), (200, 120, 40), np.uint8)
    drawn = pictures(MeshTexture(0, square(), CORNERS, NORMALS, albedo))
    inside = drawn[SIZE // 2 - 40 : SIZE // 2 + 40, SIZE // 2 - 40 : SIZE // 2 + 40]
    assert np.abs(inside - (200, 120, 40)).max() <= 1
    lit = pictures(MeshTexture(0, square(lit=True), CORNERS, NORMALS, albedo))
    assert np.abs(lit - drawn).max() > 10  # a lit one answers to the studio's lights


def test_soft_edges_let_the_wall_through() -> None:
    albedo = np.full((16, 16, 3), 255, np.uint8)
    middle = (SIZE // 2, SIZE // 2)
    shown = [
        pictures(MeshTexture(0, square(alpha=a), CORNERS, NORMALS, albedo))[middle].mean()
        for a in (0, 128, 255)
    ]
    assert shown[0] < shown[1] - 20 < shown[2] - 40


def test_foveation_is_exact_inside_and_cheaper_outside() -> None:
    mesh = nodes(basis(5), 6)
    whole = pictures(mesh)
    foveated = pictures(mesh, replace(PLAIN, foveation=Foveation((0.5, 0.5), 0.2, 4)))
    y, x = np.mgrid[:SIZE, :SIZE]
    away = np.hypot(x + 0.5 - SIZE / 2, y + 0.5 - SIZE / 2)
    difference = np.abs(whole - foveated).max(2)
    assert difference[away < 0.2 * SIZE - 1].max() == 0
    assert difference[away > 0.2 * SIZE + 1].max() > 3
    with pytest.raises(ValueError, match="planes_outside"):
        Foveation(planes_outside=3)


def test_lit_materials_take_the_sum_too() -> None:
    with Avatar.open("default") as avatar, open_renderer("gl", PLAIN) as renderer:
        mesh = avatar.rig(portrait(avatar, {}, (0.0, 0.0), (0.0, 0.3, 0.0)))
        still = np.zeros((4, 32, 32, 3), np.int8)
        of = TextureBasis(mesh.albedo, still, np.ones(4, np.float32), (4, 4))
        summed = MeshNodes(
            0, mesh.topology, mesh.vertices, mesh.normals, of,
            np.zeros(of.nodes_shape, np.float32), np.ones(3, np.float32),
        )  # fmt: skip
        a, b = (renderer.draw(m, VIEW).rgba.astype(int) for m in (mesh, summed))
        # Only the mean's mip levels differ: the driver's box filter against OpenCV's.
        assert np.abs(a - b).mean() < 0.2


def test_bases_are_counted_and_given_back() -> None:
    before = live_objects()
    with open_renderer("gl", PLAIN) as renderer:
        for seed in range(6):  # more than the cache holds
            renderer.draw(nodes(basis(seed), seed), VIEW)
    assert live_objects() == before


def test_bad_bases_are_refused() -> None:
    good = basis(7)
    with pytest.raises(ValueError, match=r"4, 8, 12"):
        replace(good, planes=good.planes[:6], scale=good.scale[:6])
    with pytest.raises(ValueError, match=r"MeshNodes\.nodes"):
        replace(nodes(good, 1), nodes=np.zeros((5, 7, 4), np.float32))
    with pytest.raises(ValueError, match="space"):
        replace(good, space="cubic")


def ball(part: str) -> MeshTexture:
    """A white sphere of 0.2 m radius, unlit, 1 m away."""
    rows, columns = 32, 64
    v, u = np.meshgrid(
        np.linspace(0, np.pi, rows), np.linspace(0, 2 * np.pi, columns), indexing="ij"
    )
    normals = np.stack([np.sin(v) * np.sin(u), np.cos(v), np.sin(v) * np.cos(u)], axis=2)
    at = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = at[:-1, :-1], at[1:, :-1], at[1:, 1:], at[:-1, 1:]
    faces = np.concatenate([np.stack(t, axis=2).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    uv = np.stack([u / (2 * np.pi), v / np.pi], axis=2).reshape(-1, 2).astype(np.float32)
    parts = np.full(rows * columns, PARTS.index(part), np.uint8)
    surface = np.full((8, 8, 4), 255, np.uint8)
    topology = Topology(f"ball-{part}", faces.astype(np.int32), uv, parts, surface, lit=False)
    flat = normals.reshape(-1, 3).astype(np.float32)
    vertices = 0.2 * flat + np.array([0.0, 0.0, -1.0], np.float32)
    return MeshTexture(0, topology, vertices, flat, np.full((64, 64, 3), 255, np.uint8))


def from_the_middle() -> np.ndarray:
    """(SIZE, SIZE) distance of each pixel from the ball's middle in its outline's radii."""
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    # A sphere's outline is where the line of sight touches it.
    radius = SIZE / 2 / np.tan(0.5) * np.tan(np.arcsin(0.2))
    return np.hypot(x, y) / radius


def test_the_outline_of_hair_is_soft_and_that_of_skin_is_hard() -> None:
    away = from_the_middle()
    hair, skin = pictures(ball("hair")), pictures(ball("skin"))
    assert (skin[away < 0.98] == 255).all()
    assert (hair[away < 0.95] == 255).all()
    rings = [hair[(away > r) & (away < r + 0.012)].mean() for r in (0.955, 0.972, 0.985)]
    assert rings[0] > rings[1] > rings[2]  # it fades to the wall behind
    assert rings[0] - rings[2] > 40


def test_the_soft_outline_is_that_of_the_slow_twin() -> None:
    mesh, inside = ball("hair"), from_the_middle() < 0.985
    with open_renderer("reference", PLAIN) as reference:
        twin = reference.draw(mesh, VIEW).rgba[..., :3].astype(int)
    assert np.abs(pictures(mesh) - twin)[inside].max() <= 3
