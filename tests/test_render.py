"""The OpenGL renderer against its numpy twin, against geometry, and over its life."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from render.background import background_picture
from render.environment import Environment, sh_basis
from render.gl_context import describe_gl
from render.gl_objects import live_objects
from render.gl_renderer import GlRenderer
from render.renderer import ANTIALIAS, Renderer, RenderOptions, open_renderer
from render.silhouette import EdgeTable
from streams.camera import WORLD_FROM_WEBCAM
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.projection import project
from streams.rigid import Rigid
from streams.topology import PARTS, Topology
from streams.view import View

PLAIN = RenderOptions(antialias="none", shadows=False)
"""What the reference draws."""
EVEN = RenderOptions(antialias="none", environment=Environment.even())
FACING = Rigid(np.array([1.0, 0.0, 0.0, 0.0]), np.array([0.0, 0.0, -0.5]))
"""Half a metre before a webcam, facing it."""


def surface_map(size: int = 64, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Smooth waves in every channel: what mip levels would average away is not there."""
    y, x = np.mgrid[:size, :size] / size
    surface = np.empty((size, size, 4), np.uint8)
    surface[..., 0] = 110 + 40 * np.sin(7 * x + seed)
    surface[..., 1] = 200 + 50 * np.cos(5 * y)
    surface[..., 2] = 128 + 60 * np.sin(40 * x) * np.sin(50 * y)
    surface[..., 3] = 150 + 100 * np.sin(9 * x)
    return surface


def sphere(part: str, radius: float = 0.1, centre: tuple[float, ...] = (0, 0, -0.6)) -> MeshTexture:
    """A closed ball of one part, 18 by 24 patches."""
    polar, around = np.meshgrid(np.linspace(0, np.pi, 18), np.linspace(-np.pi, np.pi, 24))
    sine = np.sin(polar)
    normals = np.stack([sine * np.sin(around), np.cos(polar), sine * np.cos(around)], -1)
    uv = np.stack([around / (2 * np.pi) + 0.5, polar / np.pi], -1).reshape(-1, 2)
    corner = (np.arange(23)[:, None] * 18 + np.arange(17)).ravel()
    quads = np.stack([corner, corner + 1, corner + 19, corner + 18], axis=1)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    y, x = np.mgrid[:64, :64] / 64
    albedo = np.stack([150 + 60 * np.sin(6 * x), 120 + 50 * np.sin(5 * y), 110 + 40 * x], -1)
    n = normals.reshape(-1, 3).astype(np.float32)
    return MeshTexture(
        7,
        Topology(
            "sphere",
            faces.astype(np.int32),
            uv.astype(np.float32),
            np.full(len(uv), PARTS.index(part), np.uint8),
            surface_map(),
        ),
        (n * radius + np.array(centre)).astype(np.float32),
        n,
        albedo.astype(np.uint8),
    )


def plate(
    albedo: npt.NDArray[np.uint8], half: tuple[float, float], place: Rigid = FACING
) -> MeshTexture:
    """A flat rectangle of skin, the texture upright on it; its front is +z."""
    square = np.array([[-1, 1, 0], [-1, -1, 0], [1, -1, 0], [1, 1, 0]], np.float32)
    uv = np.array([[0, 0], [0, 1], [1, 1], [1, 0]], np.float32)
    surface = np.full((4, 4, 4), (128, 255, 128, 255), np.uint8)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    topology = Topology("plate", faces, uv, np.zeros(4, np.uint8), surface)
    normal = place.rotate(np.tile(np.array([0, 0, 1], np.float32), (4, 1))).astype(np.float32)
    corners = square * np.array([*half, 1], np.float32)
    return MeshTexture(0, topology, place.apply(corners).astype(np.float32), normal, albedo)


def nobody() -> MeshTexture:
    empty = np.empty((0, 3), np.float32)
    topology = Topology(
        "nobody",
        np.empty((0, 3), np.int32),
        np.empty((0, 2), np.float32),
        np.empty(0, np.uint8),
        np.empty((0, 0, 4), np.uint8),
    )
    return MeshTexture(3, topology, empty, empty, np.empty((0, 0, 3), np.uint8))


def panel(rgba: npt.NDArray[np.uint8] | tuple[int, ...], z: float = -0.5, **more: object) -> Panel:
    if isinstance(rgba, tuple):
        rgba = np.full((8, 8, 4), rgba, np.uint8)
    place = Rigid(np.array([1.0, 0, 0, 0]), np.array([0, 0, z]))
    wanted: dict[str, object] = {"id": "p", "anchor": "world", "size_m": (0.12, 0.12)} | more
    return Panel(rgba=rgba, anchor_from_panel=place, **wanted)  # pyright: ignore[reportArgumentType]


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Every test here gives back every GL object that it made."""
    assert live_objects() == {}
    yield
    assert live_objects() == {}


@pytest.fixture
def gl() -> Iterator[Renderer]:
    with open_renderer("gl", PLAIN) as renderer:
        yield renderer


# Against the numpy twin


@pytest.mark.parametrize("part", PARTS)
def test_every_part_looks_as_in_the_reference(gl: Renderer, part: str) -> None:
    mesh, view = sphere(part), View.front((120, 96))
    drawn = gl.draw(mesh, view)
    with open_renderer("reference", PLAIN) as reference:
        wanted = reference.draw(mesh, view)
    off = np.abs(drawn.rgba.astype(int) - wanted.rgba).max(axis=-1)
    inside = (drawn.depth > 0) & (wanted.depth > 0)
    assert inside.mean() > 0.1
    # float32 against float64 and the card's 8-bit texture weights: two or three code values.
    assert np.percentile(off[inside], 99) <= 3
    assert (off > 3).mean() <= 0.005
    assert drawn.t_ns == 7


def test_panels_look_as_in_the_reference(gl: Renderer) -> None:
    y, x = np.mgrid[:96, :96] / 96
    waves = np.stack([127 + 120 * np.sin(4 * x), 255 * y, 90 + 0 * x, 255 * x], -1).astype(np.uint8)
    panels = [
        panel(waves, id="waves", generated_by="painter 3fa9c2", size_m=(0.2, 0.2)),
        panel((40, 220, 90, 128), z=-0.45, id="green", size_m=(0.05, 0.2)),
    ]
    view = View.front((160, 128))
    with open_renderer("reference", PLAIN) as reference:
        wanted = reference.draw(nobody(), view, panels).rgba.astype(int)
    off = np.abs(gl.draw(nobody(), view, panels).rgba - wanted).max(axis=-1)
    # The label's letters are sampled from mip levels, which the reference has not: the rest.
    assert np.percentile(off[:80], 99) <= 3


def test_the_wall_looks_as_in_the_reference(gl: Renderer) -> None:
    turned = WORLD_FROM_WEBCAM @ Rigid.from_rotvec(np.array([0.2, 0.5, 0.1]))
    for view in (View.front((90, 60)), replace(View.front((90, 60)), world_from_eye=turned)):
        image = gl.draw(nobody(), view)
        off = np.abs(image.rgba[..., :3].astype(int) - background_picture(view))
        assert (off > 1).mean() < 0.002
        assert (image.rgba[..., 3] == 255).all()
        assert not image.depth.any()


# Geometry and colour


@pytest.mark.parametrize("name", ["gl", "reference"])
def test_up_is_up_and_left_is_left(name: str) -> None:
    albedo = np.zeros((64, 64, 3), np.uint8)
    albedo[:32, :32] = (180, 20, 20)  # red: top left
    albedo[:32, 32:] = (20, 160, 20)  # green: top right
    albedo[32:, :32] = (20, 20, 200)  # blue: lower left
    with open_renderer(name, EVEN) as renderer:
        rgb = renderer.draw(plate(albedo, (0.05, 0.05)), View.front((100, 80))).rgba[..., :3]
    for row, column, colour in ((30, 40, 0), (30, 60, 1), (50, 40, 2)):
        assert int(np.argmax(rgb[row, column])) == colour
        assert np.sort(rgb[row, column])[1] < 30
    assert rgb[50, 60].max() < 10


def test_even_light_shows_albedo_as_it_is() -> None:
    # 0.6 linear is 203: up to there the tone curve leaves colours alone.
    ramp = np.repeat(np.arange(204, dtype=np.uint8)[None, :, None], 4, axis=0)
    with open_renderer("gl", EVEN) as renderer:
        for level in (0, 1, 9, 10, 11, 64, 128, 200):
            grey = plate(np.full((4, 4, 3), level, np.uint8), (1.0, 1.0))
            assert (renderer.draw(grey, View.front((8, 8))).rgba[..., :3] == level).all()
        width = 0.5 * np.tan(np.deg2rad(20)) * 204 / 4
        row = renderer.draw(
            plate(np.repeat(ramp, 3, axis=2), (width, 1.0)), View.front((204, 4))
        ).rgba[2, :, :3]
    assert np.abs(row.astype(int) - np.arange(204)[:, None]).max() <= 1


@pytest.mark.parametrize("antialias", ANTIALIAS)
def test_points_land_where_projection_says(antialias: str) -> None:
    """An off-centre view from an odd place: the middle of small balls against `project`."""
    place = WORLD_FROM_WEBCAM @ Rigid.from_rotvec(np.array([0.1, -0.2, 0.3]), np.array([0.1, 0, 0]))
    view = View(0, "left", place, np.deg2rad(np.array([-31.0, 19.0, 12.0, -27.0])), (320, 200))
    options = replace(PLAIN, antialias=antialias)
    empty = np.zeros((200, 320), bool)
    with open_renderer("gl", options) as renderer:
        for centre in ((0.0, 0.0, -0.6), (-0.2, -0.05, -0.9), (0.05, -0.1, -0.5)):
            drawn = renderer.draw(sphere("cloth", 0.006, centre), view).depth > 0
            assert drawn.any()
            assert not (drawn & empty).any()
            rows, columns = np.nonzero(drawn)
            wanted, depth = project(view.camera(), np.array(centre))
            assert abs(columns.mean() - wanted[0]) < 0.5
            assert abs(rows.mean() - wanted[1]) < 0.5
            image = renderer.draw(sphere("cloth", 0.006, centre), view)
            near = image.depth[image.depth > 0].min()
            assert near == pytest.approx(depth - 0.006, abs=1e-3)


@pytest.mark.parametrize("antialias", ANTIALIAS)
def test_depth_is_metres_along_z(antialias: str) -> None:
    tilted = Rigid.from_rotvec(np.array([0.5, 0.3, 0.0]), np.array([0.0, 0.0, -0.7]))
    mesh = plate(np.full((4, 4, 3), 99, np.uint8), (0.1, 0.1), tilted)
    view = View.front((96, 96))
    with open_renderer("gl", replace(PLAIN, antialias=antialias)) as renderer:
        depth = renderer.draw(mesh, view).depth
    with open_renderer("reference", PLAIN) as reference:
        wanted = reference.draw(mesh, view).depth
    both = (depth > 0) & (wanted > 0)
    assert both.sum() > 500
    off = np.abs(depth - wanted)[both]
    # At an edge one of several samples may stand for a pixel.
    assert np.percentile(off, 90) < (2e-3 if antialias in ("msaa", "auto") else 1e-4)
    assert (depth == 0).sum() > 500


# Panels


def test_a_panel_is_hidden_by_what_is_before_it(gl: Renderer) -> None:
    view, blue = View.front((96, 96)), (10, 10, 250, 255)
    mesh = sphere("skin", 0.05)
    behind = gl.draw(mesh, view, [panel(blue, z=-0.9, size_m=(0.4, 0.4))]).rgba
    before = gl.draw(mesh, view, [panel(blue, z=-0.4)]).rgba
    assert behind[48, 48, 2] < 200
    assert tuple(behind[48, 70]) == blue
    assert tuple(before[48, 48]) == blue


def test_panels_blend_far_to_near_in_any_order(gl: Renderer) -> None:
    view = View.front((64, 64))
    far = panel((255, 0, 0, 255), z=-0.6, id="far", size_m=(0.3, 0.3))
    near = panel((0, 0, 255, 128), z=-0.5, id="near")
    one, other = (gl.draw(nobody(), view, order).rgba for order in ([far, near], [near, far]))
    assert np.array_equal(one, other)
    # Straight alpha over, in sRGB code values, as every browser does it.
    assert np.abs(one[32, 32].astype(int) - (127, 0, 128, 255)).max() <= 1


def test_what_is_generated_says_so(gl: Renderer) -> None:
    view = View.front((256, 256), vertical_fov=0.25)
    plain = panel((200, 120, 40, 255))
    made = replace(plain, generated_by="some-model 3fa9c2")
    lower = slice(168, 250)
    assert np.ptp(gl.draw(nobody(), view, [plain]).rgba[lower, 20:236, 0]) == 0
    labelled = gl.draw(nobody(), view, [made]).rgba
    strip = labelled[230, 30:226, :3]
    assert strip.min() < 50
    assert labelled[lower, 30:226].max(axis=(0, 1)).min() > 200  # white letters
    assert tuple(labelled[128, 128]) == (200, 120, 40, 255)
    # Nor does a clear picture hide it, and the label changes with its text.
    clear = replace(made, rgba=np.zeros((8, 8, 4), np.uint8))
    assert gl.draw(nobody(), view, [clear]).rgba[230, 30:226, :3].min() < 50
    other = gl.draw(nobody(), view, [replace(made, generated_by="another")]).rgba
    assert not np.array_equal(other, labelled)


# Light


def test_the_studio_is_a_portrait_studio() -> None:
    studio = Environment.studio()
    directions = np.array([[-0.55, 0.2, 0.81], [0.62, -0.1, 0.78], [0.0, 0.0, 1.0]])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    key = studio.light_frames()[0, 0]
    light = sh_basis(directions) @ studio.surround
    light += np.clip(directions @ key, 0, 1)[:, None] * studio.light_colours()[0]
    bright, dim, front = light.mean(axis=1)
    assert 1.7 < bright / dim < 3.2
    assert 0.85 < front < 1.15
    even = sh_basis(directions) @ Environment.even().surround
    assert np.abs(even - 1).max() < 1e-6


def test_the_quadratic_form_is_the_spherical_harmonics() -> None:
    studio = Environment.studio()
    rng = np.random.default_rng(1)
    n = rng.normal(size=(50, 3))
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    h = np.concatenate([n, np.ones((50, 1))], axis=1)
    form = np.einsum("ni,cij,nj->nc", h, studio.irradiance_matrices(), h)
    assert np.abs(form - sh_basis(n) @ studio.surround).max() < 1e-5


def test_the_key_light_casts_a_shadow() -> None:
    """A small plate before a large one: the large one is darker lower right of it."""
    white = np.full((4, 4, 3), 150, np.uint8)
    wall = plate(white, (0.3, 0.3), Rigid(FACING.wxyz, np.array([0, 0, -0.8])))
    # The wall is made of small faces, because light is computed at the vertices.
    grid = np.linspace(-0.3, 0.3, 40, dtype=np.float32)
    x, y = np.meshgrid(grid, grid)
    corner = (np.arange(39)[:, None] * 40 + np.arange(39)).ravel()
    faces = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + 41], 1),
            np.stack([corner, corner + 41, corner + 40], 1),
        ]
    )
    blocker = np.array([[-0.03, -0.03, 0.08], [0.03, -0.03, 0.08], [0.0, 0.04, 0.08]], np.float32)
    points = np.stack([x.ravel(), y.ravel(), np.zeros(1600, np.float32)], 1)
    vertices = np.concatenate([points, blocker]) + np.array([0, 0, -0.8], np.float32)
    topology = Topology(
        "wall",
        np.concatenate([faces, [[1600, 1601, 1602]]]).astype(np.int32),
        np.full((1603, 2), 0.5, np.float32),
        np.zeros(1603, np.uint8),
        wall.topology.surface,
    )
    normals = np.tile(np.array([0, 0, 1], np.float32), (1603, 1))
    mesh = MeshTexture(0, topology, vertices, normals, white)
    view = View.front((128, 128))
    with open_renderer("gl", RenderOptions()) as shaded, open_renderer("gl", PLAIN) as plain:
        dark, lit = (r.draw(mesh, view).rgba[..., :3].astype(int) for r in (shaded, plain))
    loss = (lit - dark).mean(axis=-1)
    row, column = np.unravel_index(int(loss.argmax()), loss.shape)
    assert loss.max() > 25
    assert row > 66
    assert column > 66
    assert np.abs(loss[:30]).max() <= 2  # no shadow of the wall on itself


# Edges


def test_every_antialiasing_smooths_the_outline() -> None:
    """How far each picture is from one drawn at eight times the size and averaged."""
    half_pixel = 0.5 * 0.6 / View.front((96, 96)).camera().focal[0]

    def averaged(radius: float) -> npt.NDArray[np.float64]:
        with open_renderer("gl", PLAIN) as renderer:
            fine = renderer.draw(sphere("cloth", radius), View.front((768, 768))).rgba[..., :3]
        return fine.reshape(96, 8, 96, 8, 3).mean(axis=(1, 3))

    # Smooth lines lie on the edge, so they make the ball half a pixel larger.
    truths = {"outline": averaged(0.1 + half_pixel), "msaa": averaged(0.1)}
    error = {}
    for antialias in ("none", "msaa", "supersample", "outline"):
        with open_renderer("gl", replace(PLAIN, antialias=antialias)) as renderer:
            rgb = renderer.draw(sphere("cloth"), View.front((96, 96))).rgba[..., :3]
        truth = truths.get(antialias, truths["msaa"])
        error[antialias] = float(np.sqrt(((rgb - truth) ** 2).mean()))
    for antialias in ("msaa", "supersample", "outline"):
        assert error[antialias] < 0.6 * error["none"], error


def test_outlines_of_a_closed_mesh_are_closed_loops() -> None:
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
    table = EdgeTable(faces, np.zeros(len(faces), np.int64))
    turned = Rigid.from_rotvec(np.array([0.4, 0.7, 0.1]), np.array([0, 0, 6.0])).matrix()
    clip = np.array([[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 1, -0.1], [0, 0, 1, 0]]) @ turned
    ends, groups = table.outlines(corners, clip)
    assert len(ends) == 6  # a cube seen askew is a hexagon
    assert (np.bincount(ends.ravel(), minlength=8) % 2 == 0).all()
    assert not groups.any()


# Bad input, sizes, and life


def test_what_cannot_be_drawn_is_said(gl: Renderer) -> None:
    mesh, view = sphere("skin"), View.front((32, 32))
    broken = np.array(mesh.vertices)
    broken[[5, 9]] = np.nan
    with pytest.raises(ValueError, match=r"finite MeshTexture\.vertices, got NaN .* in 2 of"):
        gl.draw(replace(mesh, vertices=broken), view)
    with pytest.raises(ValueError, match="at most 4096 pixels a side, got 5000x10"):
        gl.draw(mesh, View.front((5000, 10)))
    with pytest.raises(ValueError, match=r"anchored to 'world', got 'head' for 'p'.*place_panels"):
        gl.draw(mesh, view, [panel((0, 0, 0, 255), anchor="head")])
    with pytest.raises(ValueError, match="expected 'gl' or 'reference', got 'vulkan'"):
        open_renderer("vulkan")
    with pytest.raises(ValueError, match=r"RenderOptions\.antialias: expected one of"):
        RenderOptions(antialias="fxaa")
    # It still works after all that.
    assert gl.draw(mesh, view).depth.any()


@pytest.mark.parametrize("antialias", ANTIALIAS)
def test_any_size_draws(antialias: str) -> None:
    mesh = sphere("skin")
    with open_renderer("gl", RenderOptions(antialias=antialias)) as renderer:
        for size in ((1, 1), (37, 53), (3, 200), (4096, 16), (16, 4096)):
            image = renderer.draw(mesh, View.front(size, vertical_fov=0.3))
            assert image.rgba.shape == (size[1], size[0], 4)
            assert image.depth.any()
        # Corners behind the eye, and one that sits in the middle of the mesh.
        assert renderer.draw(sphere("skin", 0.3, (0, 0, -0.1)), View.front((64, 64))).rgba.any()


def test_the_same_input_gives_the_same_bytes() -> None:
    mesh, view = sphere("hair"), View.front((80, 60))
    labelled = [panel((9, 200, 50, 90), generated_by="m")]
    with open_renderer("gl") as one, open_renderer("gl") as other:
        first = one.draw(mesh, view, labelled)
        other.draw(sphere("eye"), View.front((33, 44)))
        again, elsewhere = one.draw(mesh, view, labelled), other.draw(mesh, view, labelled)
    for image in (again, elsewhere):
        assert np.array_equal(first.rgba, image.rgba)
        assert np.array_equal(first.depth, image.depth)


def test_changing_meshes_and_sizes_do_not_pile_up() -> None:
    with open_renderer("gl") as renderer:
        counts = []
        for i in range(12):
            mesh = sphere(PARTS[i % len(PARTS)])
            pictures = [panel((i, 0, 0, 255), id=f"panel {i} {k}") for k in range(5)]
            renderer.draw(mesh, View.front((20 + i, 20)), pictures)
            counts.append(sum(live_objects().values()))
        assert counts[-1] <= counts[7] + 1
        # A texture of another size on the same topology replaces the old one.
        mesh = sphere("skin")
        renderer.draw(mesh, View.front((20, 20)))
        before = live_objects()
        larger = np.full((100, 90, 3), 128, np.uint8)
        renderer.draw(replace(mesh, albedo=larger), View.front((20, 20)))
        assert live_objects() == before


def test_release_is_final_and_idempotent() -> None:
    renderer = open_renderer("gl", RenderOptions(depth=False))
    assert isinstance(renderer, GlRenderer)
    with pytest.raises(RuntimeError, match="nothing was drawn yet"):
        renderer.read()
    image = renderer.draw(sphere("skin"), View.front((32, 24)))
    assert not image.depth.any()
    assert "|" in describe_gl()
    renderer.release()
    renderer.release()
    with pytest.raises(RuntimeError, match="it was released; open a new renderer"):
        renderer.draw(sphere("skin"), View.front((32, 24)))
