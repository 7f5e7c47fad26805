"""Cameras, lenses and views: to pixels and back."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.camera import WORLD_FROM_WEBCAM, Camera, Distortion
from streams.projection import directions, distort, project, undistort, unproject
from streams.rigid import Rigid
from streams.view import View

LENSES = [
    Distortion(),
    Distortion("pinhole_brown", (-0.12, 0.04, 0.002, -0.003, 0.01)),
    Distortion("fisheye", (0.02, -0.01, 0.003, -0.001)),
    Distortion("fisheye62", (-0.02, 0.09, -0.06, 0.01, 0.002, -5e-4, 1e-3, -2e-3)),
    Distortion(
        "fisheye624",
        (-0.02, 0.09, -0.06, 0.01, 0.002, -5e-4, 1e-3, -2e-3, 2e-3, -1e-3, -2e-3, 1e-3),
    ),
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


@pytest.mark.parametrize("lens", LENSES[:3], ids=lambda lens: lens.model)
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


def slowly_distorted(lens: Distortion, x: float, y: float) -> tuple[float, float]:
    """One point through a fisheye by the words of `Distortion`: the slow twin."""
    *k, p1, p2, s1, s2, s3, s4 = (*lens.coefficients, *(0.0,) * 12)[:12]
    if lens.model == "fisheye":
        k, (p1, p2, s1, s2, s3, s4) = list(lens.coefficients), (0.0,) * 6
    theta, phi = math.atan(math.hypot(x, y)), math.atan2(y, x)
    stretch = 1.0 + sum(number * theta ** (2 * i + 2) for i, number in enumerate(k))
    x, y = stretch * theta * math.cos(phi), stretch * theta * math.sin(phi)
    r = math.hypot(x, y)
    return (
        x + p1 * (r**2 + 2 * x**2) + 2 * p2 * x * y + s1 * r**2 + s2 * r**4,
        y + p2 * (r**2 + 2 * y**2) + 2 * p1 * x * y + s3 * r**2 + s4 * r**4,
    )


def headset_lenses(model: str, rng: np.random.Generator) -> Distortion:
    """As crooked as real ones (Aria's and Quest's published calibrations)."""
    radial = np.array([-0.025, 0.095, -0.067, 0.01, 0.002, -0.0005]) * rng.uniform(0.95, 1.0, 6)
    rest = rng.normal(0, 5e-4, {"fisheye62": 2, "fisheye624": 6}[model])
    return Distortion(model, (*radial, *rest))


@pytest.mark.parametrize("model", ["fisheye62", "fisheye624"])
@pytest.mark.parametrize("seed", range(5))
def test_headset_lenses_go_both_ways_up_to_85_degrees(model: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lens = headset_lenses(model, rng)
    theta, phi = np.deg2rad(rng.uniform(0, 85, 200)), rng.uniform(0, 2 * np.pi, 200)
    xy = np.tan(theta)[:, None] * np.stack([np.cos(phi), np.sin(phi)], -1)
    bent = distort(lens, xy)
    np.testing.assert_allclose(bent, [slowly_distorted(lens, *each) for each in xy], atol=1e-12)
    back = undistort(lens, bent)
    # As angles: beyond 80 degrees the slope x/z multiplies every rounding by the square of itself.
    np.testing.assert_allclose(
        np.arctan(np.linalg.norm(back, axis=-1)), np.arctan(np.linalg.norm(xy, axis=-1)), atol=1e-9
    )
    np.testing.assert_allclose(distort(lens, back), bent, atol=1e-9)


def test_headset_lenses_without_their_extra_terms_are_opencvs() -> None:
    plain = Distortion("fisheye", (0.02, -0.01, 0.003, -0.001))
    xy = np.random.default_rng(1).uniform(-3, 3, (100, 2))
    k = np.array(plain.coefficients)
    theirs = cv2.fisheye.distortPoints(xy[None], np.eye(3), k)[0]
    for model, zeros in (("fisheye62", 4), ("fisheye624", 8)):
        lens = Distortion(model, (*plain.coefficients, *(0.0,) * zeros))
        np.testing.assert_allclose(distort(lens, xy), theirs, atol=1e-12)
        np.testing.assert_allclose(undistort(lens, theirs), xy, atol=1e-8)


@pytest.mark.parametrize("lens", LENSES, ids=lambda lens: lens.model)
def test_directions_lead_back_to_their_pixels(lens: Distortion) -> None:
    camera = camera_with(lens)
    rng = np.random.default_rng(2)
    wanted = rng.uniform([-0.5, -0.5], [639.5, 479.5], (4, 50, 2))
    rays = directions(camera, wanted)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1.0)
    far = camera.world_from_camera.xyz + rays * rng.uniform(0.1, 9, (4, 50, 1))
    np.testing.assert_allclose(project(camera, far)[0], wanted, atol=1e-8)


def test_what_no_lens_sees_has_no_direction() -> None:
    """Beyond the fold of a barrel lens, and 90 degrees and more from a fisheye's axis."""
    barrel = Distortion("pinhole_brown", (-0.3, 0.0, 0.0, 0.0, 0.0))
    assert np.isnan(undistort(barrel, np.array([[0.9, 0.0]]))).all()
    assert np.isfinite(undistort(barrel, np.array([[0.5, 0.0]]))).all()
    # Past its fold a model shows a direction a second time, and shows others inside out.
    assert np.isnan(distort(barrel, np.array([[1.5, 0.0], [0.0, 9.0]]))).all()
    inside_out = Distortion("fisheye", (-5.0, 0.0, 0.0, 0.0))
    assert np.isnan(undistort(inside_out, np.array([[0.5, 0.5], [-0.5, -0.5]]))).all()
    straight = Distortion("fisheye62", (0.0,) * 8)
    assert np.isnan(undistort(straight, np.array([[1.6, 0.0], [0.0, 2.0]]))).all()
    np.testing.assert_allclose(undistort(straight, np.array([[0.0, 1.5]])), [[0, np.tan(1.5)]])
    with pytest.raises(ValueError, match="finite"):
        Distortion("fisheye", (0.0, np.nan, 0.0, 0.0))


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


@pytest.mark.parametrize(
    ("model", "count"),
    [("none", 1), ("pinhole_brown", 4), ("fisheye", 5), ("fisheye62", 7), ("fisheye624", 13)],
)
def test_lens_needs_its_number_of_coefficients(model: str, count: int) -> None:
    with pytest.raises(ValueError, match=r"Distortion\.coefficients: expected"):
        Distortion(model, (0.0,) * count)
