"""The renderer's pictures in textures that somebody else owns, as a headset's images are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from render.projection_matrix import metres_from_depth
from render.renderer import RenderOptions, open_renderer
from streams.mesh_texture import MeshTexture
from streams.rigid import Rigid
from streams.topology import PARTS, Topology
from streams.view import View

SIZE = (96, 64)


def hill() -> MeshTexture:
    """A bumpy sheet of skin of several colours, 0.6 m ahead."""
    y, x = np.meshgrid(np.linspace(-1, 1, 14), np.linspace(-1, 1, 16), indexing="ij")
    z = 0.03 * np.cos(4 * x) * np.cos(3 * y)
    corner = (np.arange(13)[:, None] * 16 + np.arange(15)).ravel()
    quads = np.stack([corner, corner + 1, corner + 17, corner + 16], axis=1)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    vertices = np.stack([0.12 * x, 0.1 * y, z - 0.6], -1).reshape(-1, 3).astype(np.float32)
    normals = np.tile(np.array([0, 0, 1], np.float32), (len(vertices), 1))
    uv = np.stack([(x + 1) / 2, (1 - y) / 2], -1).reshape(-1, 2).astype(np.float32)
    v, u = np.mgrid[:32, :32] / 31
    albedo = np.stack([255 * u, 255 * v, 120 + 0 * u], -1).astype(np.uint8)
    surface = np.full((4, 4, 4), (128, 255, 128, 255), np.uint8)
    parts = np.full(len(vertices), PARTS.index("skin"), np.uint8)
    return MeshTexture(0, Topology("hill", faces, uv, parts, surface), vertices, normals, albedo)


def eye(x: float) -> View:
    front = View.front(SIZE)
    place = Rigid.from_translation((x, 0.0, 0.0)) @ front.world_from_eye
    return View(0, "left" if x < 0 else "right", place, front.fov, SIZE)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    from render.gl_objects import live_objects

    assert live_objects() == {}
    yield
    assert live_objects() == {}


@pytest.mark.parametrize("antialias", ["none", "outline", "msaa", "supersample"])
@pytest.mark.parametrize("srgb", [False, True])
def test_a_texture_gets_the_picture_that_is_read_back(antialias: str, srgb: bool) -> None:
    from OpenGL import GL

    from render.gl_objects import Texture, TextureFormat

    colour_format = TextureFormat(internal=GL.GL_SRGB8_ALPHA8 if srgb else GL.GL_RGBA8)
    depth_format = TextureFormat(
        GL.GL_DEPTH_COMPONENT32F, GL.GL_DEPTH_COMPONENT, GL.GL_FLOAT, min_filter=GL.GL_NEAREST
    )
    with open_renderer("gl", RenderOptions(antialias=antialias)) as renderer:
        colour, depth = Texture(SIZE, colour_format), Texture(SIZE, depth_format)
        image = renderer.draw(hill(), eye(-0.03))
        renderer.copy_to_textures(colour.name, depth.name)  # pyright: ignore
        pixels = np.empty((SIZE[1], SIZE[0], 4), np.uint8)
        GL.glBindTexture(GL.GL_TEXTURE_2D, colour.name)
        GL.glGetTexImage(GL.GL_TEXTURE_2D, 0, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE, pixels)
        values = np.empty((SIZE[1], SIZE[0]), np.float32)
        GL.glBindTexture(GL.GL_TEXTURE_2D, depth.name)
        GL.glGetTexImage(GL.GL_TEXTURE_2D, 0, GL.GL_DEPTH_COMPONENT, GL.GL_FLOAT, values)
        colour.release()
        depth.release()
    difference = np.abs(pixels[::-1].astype(int) - image.rgba)
    metres = metres_from_depth(values[::-1])
    seen = (metres > 0) & (image.depth > 0)
    assert seen.mean() > 0.1
    if antialias == "supersample":
        # Scaled on the card by its own filter, and on the CPU by area: the same within the edges.
        assert np.median(difference) <= 1
        assert difference.mean() < 1.5
        assert np.abs(metres - image.depth)[seen].max() < 0.02
    else:
        assert difference.max() == 0
        assert np.array_equal(metres, image.depth)


def test_the_second_eye_finds_the_shadow_of_the_first() -> None:
    mesh = hill()
    with open_renderer("gl") as renderer:
        alone = renderer.draw(mesh, eye(0.03))
    with open_renderer("gl") as renderer:
        renderer.draw(mesh, eye(-0.03))
        second = renderer.draw(mesh, eye(0.03))
        moved = hill()
        moved = MeshTexture(
            0, moved.topology, moved.vertices + np.float32(0.02), moved.normals, moved.albedo
        )
        fresh = renderer.draw(moved, eye(0.03))
    assert np.array_equal(alone.rgba, second.rgba)
    assert not np.array_equal(second.rgba, fresh.rgba)


def test_nothing_to_copy_and_nowhere_to_copy_to() -> None:
    with open_renderer("gl") as renderer:
        with pytest.raises(RuntimeError, match="nothing was drawn yet"):
            renderer.copy_to_textures(1)  # pyright: ignore
        renderer.draw(hill(), eye(0.0))
        from OpenGL import GL

        from render.gl_objects import Texture, TextureFormat

        wrong = Texture((8, 8), TextureFormat(GL.GL_RGB9_E5, GL.GL_RGB, GL.GL_FLOAT))
        with pytest.raises(RuntimeError, match="cannot draw into the textures"):
            renderer.copy_to_textures(wrong.name)  # pyright: ignore
        wrong.release()
        # The renderer goes on.
        assert renderer.draw(hill(), eye(0.0)).rgba[..., 0].max() > 100
