"""The drawn view contains the source camera's picture and keeps its shape."""

from __future__ import annotations

import numpy as np
import pytest

from apps.viewpoint import default_size, fitted_view, world_from_facing
from streams.camera import Camera
from streams.projection import project, unproject
from streams.rigid import Rigid


def _camera(size: tuple[int, int]) -> Camera:
    place = Rigid.from_rotvec([0.1, 3.0, 0.05], [0.2, 0.1, -0.3])
    focal, centre = np.array([600.0, 610.0]), np.array([size[0] * 0.45, size[1] * 0.55])
    return Camera("odd", size, focal, centre, world_from_camera=place)


@pytest.mark.parametrize("size", [(640, 480), (512, 512), (480, 640), (300, 90)])
def test_the_whole_source_picture_is_in_the_view(size):
    camera = _camera((640, 480))
    view = fitted_view(camera, size, 7)
    assert view.t_ns == 7
    corners = np.array([[-0.5, -0.5], [639.5, -0.5], [639.5, 479.5], [-0.5, 479.5]])
    points = unproject(camera, corners, np.full(4, 0.7))
    pixels, _ = project(view.camera(), points)
    assert pixels.min() >= -0.5 - 1e-6
    assert (pixels.max(axis=0) <= np.array(size) - 0.5 + 1e-6).all()
    # It touches two opposite edges, is centred, and square pixels stay square.
    width, height = np.ptp(pixels, axis=0)
    assert width == pytest.approx(size[0]) or height == pytest.approx(size[1])
    assert width / height == pytest.approx(640 / 480)
    assert pixels.mean(axis=0) == pytest.approx((np.array(size) - 1) / 2)


def test_at_the_own_size_pixels_are_the_same():
    camera = _camera((640, 480))
    points = unproject(camera, np.array([[10.0, 20.0], [333.0, 444.0]]), np.array([0.5, 2.0]))
    pixels, _ = project(fitted_view(camera, (640, 480), 0).camera(), points)
    assert pixels == pytest.approx(np.array([[10.0, 20.0], [333.0, 444.0]]))


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((512, 512), (512, 512)), ((1920, 1080), (1280, 720)), ((1080, 1921), (720, 1280)),
     ((321, 240), (320, 240)), ((18, 17), (18, 16))],
)  # fmt: skip
def test_default_sizes_are_even_and_bounded(size, wanted):
    assert default_size(Camera.from_fov(size)) == wanted


def test_corners_of_the_view_are_where_they_are_said_to_be():
    view = fitted_view(_camera((640, 480)), (640, 480), 0)
    for across, up, pixel in (
        (1, 1, (639.5, -0.5)),
        (-1, -1, (-0.5, 479.5)),
        (0, 0, (319.5, 239.5)),
    ):
        place = world_from_facing(view, across, up, 0.6)
        found, depth = project(view.camera(), place.xyz)
        assert found == pytest.approx(np.array(pixel), abs=1e-6)
        assert depth == pytest.approx(0.6)
        # The panel's front looks back at the eye, its top is up.
        axes = view.world_from_eye.inverse().rotate(place.rotate(np.eye(3)))
        assert axes == pytest.approx(np.diag([1.0, -1.0, -1.0]), abs=1e-9)
