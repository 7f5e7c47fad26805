"""The server's drawing for a headset's eyes: when it draws, what, and that it lets go of OpenGL."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from apps.stereo_pictures import StereoOptions, StereoPictures
from avatar.codec import Avatar
from benchmarks.portraits import portrait
from render.gl_objects import live_objects
from render.renderer import RenderOptions, open_renderer
from streams.headset_sample import HeadsetSample
from streams.mesh_texture import MeshTexture
from streams.rigid import Rigid
from streams.view import View

SIZE = (320, 240)


class Page:
    """Takes pictures, when it wants any."""

    def __init__(self) -> None:
        self.wants_pictures = True
        self.shown: list[tuple[npt.NDArray[np.uint8], tuple[View, ...], int]] = []

    def show_pictures(self, rgb: npt.NDArray[np.uint8], views: tuple[View, ...], t_ns: int) -> None:
        self.shown.append((rgb, views, t_ns))


@pytest.fixture(scope="module")
def mesh() -> MeshTexture:
    with Avatar.open("default") as avatar:
        return avatar.rig(portrait(avatar, {"jawOpen": 0.3}, (0.1, 0.0), (0.0, 0.0, 0.0)))


@pytest.fixture
def pictures() -> Iterator[tuple[StereoPictures, Page]]:
    before = live_objects()
    page = Page()
    with StereoPictures(page, StereoOptions(largest_side=256)) as made:
        yield made, page
    assert live_objects() == before


def eyes(t_ns: int) -> tuple[View, ...]:
    front = View.front(SIZE, t_ns)
    return tuple(
        View(
            t_ns, eye, Rigid.from_translation([x, 0.0, 0.0]) @ front.world_from_eye, front.fov, SIZE
        )
        for eye, x in (("left", -0.0315), ("right", 0.0315))
    )


def test_nothing_is_drawn_for_pages_that_draw_themselves(
    mesh: MeshTexture, pictures: tuple[StereoPictures, Page]
) -> None:
    drawn, page = pictures
    page.wants_pictures = False
    drawn.take_mesh(mesh)
    assert not drawn.draw(0)
    assert page.shown == []


def test_without_a_headset_one_picture_shows_what_the_desktop_draws(
    mesh: MeshTexture, pictures: tuple[StereoPictures, Page]
) -> None:
    drawn, page = pictures
    assert not drawn.draw(0)  # nobody is there yet
    drawn.take_mesh(mesh)
    assert drawn.draw(0)
    assert not drawn.draw(1)  # the same again
    ((rgb, views, t_ns),) = page.shown
    assert t_ns == mesh.t_ns
    assert [view.eye for view in views] == ["mono"]
    with open_renderer("gl", RenderOptions(depth=False)) as renderer:
        assert np.array_equal(rgb, renderer.draw(mesh, views[0]).rgba[..., :3])
    page.wants_pictures = False
    assert not drawn.draw(2)
    page.wants_pictures = True
    assert drawn.draw(3)  # who comes later is not left without a picture


def test_eyes_are_drawn_from_where_the_headset_says_side_by_side(
    mesh: MeshTexture, pictures: tuple[StereoPictures, Page]
) -> None:
    drawn, page = pictures
    drawn.take_mesh(mesh)
    drawn.take_sample(HeadsetSample(10, Rigid.identity(), views=eyes(10)))
    assert drawn.draw(20)
    rgb, views, _ = page.shown[-1]
    assert [view.size for view in views] == [(256, 192)] * 2  # scaled down alike
    assert rgb.shape == (192, 512, 3)
    left, right = (rgb[:, :256].astype(float), rgb[:, 256:].astype(float))
    # What is 0.6 m away lies so many pixels apart.
    camera = views[0].camera()
    expected = camera.focal[0] * 0.063 / 0.6
    shifts = range(40)
    away = [
        np.abs(left[60:130, 100 + s : 180] - right[60:130, 100 : 180 - s]).mean() for s in shifts
    ]
    assert int(np.argmin(away)) == pytest.approx(expected, abs=3.0)
    assert not drawn.draw(30)
    drawn.take_sample(HeadsetSample(40, Rigid.identity(), views=eyes(40)))
    assert drawn.draw(50)  # the head moved on, the avatar did not
    assert drawn.draw(2_000_000_000)  # the headset was put down
    assert len(page.shown[-1][1]) == 1
