"""Cameras, lenses and views: to pixels and back."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.camera import WORLD_FROM_WEBCAM, Camera, Distortion
from streams.projection import distort, project, undistort, unproject
from streams.rigid import Rigid
from streams.view import View

LENSES = [
    Distortion(),
    Distortion("pinhole_brown", (-0.12, 0.04, 0.002, -0.003, 0.01)),
    Distortion("fisheye", (0.02, -0.01, 0.003, -0.001)),
]
POSE = Rigid.from_rotvec([0.3, -2.0, 0.4], [0.5, 1.0, -0.2])


def camera_with(lens: Distortion, world_from_camera: Rigid = POSE) -> Camera:
    return Camera(
        "c", (640, 480), np.array([500.0, 510.0]), np.array([310.0, 250.0]), lens, world_from_camera
    )


pixels = st.tuples(st.floats(-0.5, 639.5), st.floats(-0.5, 479.5)).map(np.array)
depths = st.floats(0.05, 50)


@pytest.mark.parametrize("lens", LENSES, ids=lambda lens: lens.model)
@given(pixel=pixels, depth=depths)
def test_unproject_then_project(lens: Distortion, pixel: np.ndarray, depth: float) -> None:
    camera = camera_with(lens)
    back, z = project(camera, unproject(camera, pixel, depth))
    np.testing.assert_allclose(back, pixel, atol=1e-6)
    assert z == pytest.approx(depth, rel=1e-9)


@pytest.mark.parametrize("lens", LENSES, ids=lambda lens: lens.model)
def test_agrees_with_opencv(lens: Distortion) -> None:
    camera = camera_with(lens)
    points = np.random.default_rng(0).uniform([-0.5, -0.4, 0.8], [0.5, 0.4, 3.0], (50, 3))
    ours, _ = project(camera, camera.world_from_camera.apply(points))
    given_points = points.reshape(-1, 1, 3)
    zero = np.zeros(3)
    if lens.model == "fisheye":
        k = np.array(lens.coefficients)
        theirs, _ = cv2.fisheye.projectPoints(given_points, zero, zero, camera.matrix(), k)
    else:
        k = np.array(lens.coefficients or (0.0,) * 5)
        theirs, _ = cv2.projectPoints(given_points, zero, zero, camera.matrix(), k)
    np.testing.assert_allclose(ours, theirs.reshape(-1, 2), atol=1e-9)


@pytest.mark.parametrize("lens", LENSES, ids=lambda lens: lens.model)
def test_undistort_keeps_shape_and_passes_nan_through(lens: Distortion) -> None:
    xy = np.array([[[0.1, 0.2], [np.nan, 0.0]], [[-0.3, 0.1], [0.0, 0.0]]])
    ideal = undistort(lens, xy)
    assert ideal.shape == xy.shape
    np.testing.assert_allclose(distort(lens, ideal)[[0, 1, 1], [0, 0, 1]], xy[[0, 1, 1], [0, 0, 1]])
    assert np.isnan(ideal[0, 1]).any()


def test_behind_the_camera_has_no_pixel() -> None:
    uv, z = project(camera_with(LENSES[0], Rigid()), [[0.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    assert np.isnan(uv).all()
    assert (z <= 0).all()


def test_webcam_axes() -> None:
    """Looks along -z; the person's left (world +x for one who faces it) is the picture's right."""
    camera = Camera.from_fov((640, 480))
    (x, y), depth = project(camera, [0.1, 0.2, -1.0])
    assert x > camera.centre[0]
    assert y < camera.centre[1]
    assert depth == pytest.approx(1.0)
    assert camera.world_from_camera is WORLD_FROM_WEBCAM


def test_pixel_centres() -> None:
    camera = Camera.from_fov((4, 2), np.pi / 2)
    np.testing.assert_allclose(camera.centre, [1.5, 0.5])
    left_edge = unproject(camera, [-0.5, 0.5], 1.0)
    np.testing.assert_allclose(left_edge, [-1.0, 0.0, -1.0], atol=1e-12)


@given(st.integers(1, 2000), st.integers(1, 2000))
def test_scaling_maps_pixels_as_resizing_does(width: int, height: int) -> None:
    camera = camera_with(LENSES[1])
    small = camera.scaled((width, height))
    s = np.array([width / 640, height / 480])
    point = camera.world_from_camera.apply([0.1, -0.2, 1.5])
    np.testing.assert_allclose(
        project(small, point)[0], (project(camera, point)[0] + 0.5) * s - 0.5, atol=1e-9
    )
    assert small.size == (width, height)


@given(
    st.floats(-1.4, 0.5), st.floats(0.1, 0.8), st.floats(-0.5, 1.4), st.floats(0.1, 0.8),
    st.integers(1, 4096), st.integers(1, 4096),
)  # fmt: skip
def test_view_to_camera_and_back(
    left: float, wide: float, up: float, tall: float, width: int, height: int
) -> None:
    fov = np.array([left, left + wide, up, up - tall])
    view = View(7, "left", POSE, fov, (width, height))
    back = View.from_camera(view.camera())
    np.testing.assert_allclose(back.fov, fov, atol=1e-9)
    assert back.size == view.size
    assert back.world_from_eye.angle_to(POSE) < 1e-9


def test_camera_to_view_and_back() -> None:
    camera = camera_with(LENSES[0])
    again = View.from_camera(camera, size=(320, 240)).camera()
    half = camera.scaled((320, 240))
    np.testing.assert_allclose(again.focal, half.focal)
    np.testing.assert_allclose(again.centre, half.centre)


def test_front_view_is_centred_with_square_pixels() -> None:
    camera = View.front((1280, 720)).camera()
    assert camera.focal[0] == pytest.approx(camera.focal[1])
    np.testing.assert_allclose(camera.centre, [639.5, 359.5])


@pytest.mark.parametrize(("model", "count"), [("none", 1), ("pinhole_brown", 4), ("fisheye", 5)])
def test_lens_needs_its_number_of_coefficients(model: str, count: int) -> None:
    with pytest.raises(ValueError, match=r"Distortion\.coefficients: expected"):
        Distortion(model, (0.0,) * count)
