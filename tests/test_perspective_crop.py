"""Pinhole views out of fisheye pictures: the right pixels, and landmarks that go back to rays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.frame_source import open_source
from streams.camera import Camera, Distortion
from streams.projection import directions, project
from streams.rigid import Rigid
from tracking.perspective_crop import CropOptions, crop_around, cut_out, straight_ahead

LENS = Distortion(
    "fisheye624",
    (-0.02, 0.09, -0.06, 0.01, 0.002, -5e-4, 1e-3, -2e-3, 2e-3, -1e-3, -2e-3, 1e-3),
)
CAMERA = Camera(
    "wide", (320, 240), np.array([110.0, 112.0]), np.array([158.0, 121.0]), LENS,
    Rigid.from_rotvec([0.2, 2.9, 0.1], [0.1, 1.2, -0.3]),
)  # fmt: skip


def slowly(picture: np.ndarray, camera: Camera, crop: Camera) -> np.ndarray:
    """Pixel by pixel through the world, blending the four neighbours: what `cut_out` should be."""
    out = np.zeros((crop.size[1], crop.size[0], *picture.shape[2:]))
    height, width = picture.shape[:2]
    for row in range(crop.size[1]):
        for column in range(crop.size[0]):
            ray = directions(crop, np.array([float(column), float(row)]))
            (x, y), depth = project(camera, camera.world_from_camera.xyz + ray)
            if not (depth > 0 and np.isfinite([x, y]).all()):
                continue
            left, top = int(np.floor(x)), int(np.floor(y))
            for v, u in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                if 0 <= v < height and 0 <= u < width:
                    share = (1 - abs(x - u)) * (1 - abs(y - v))
                    out[row, column] += share * picture[v, u]
    return out


def smooth_noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random, but without steps that a 1/32 pixel would show in."""
    coarse = rng.uniform(0, 255, shape)
    for axis in (0, 1):
        for _ in range(8):
            coarse = (np.roll(coarse, 1, axis) + coarse + np.roll(coarse, -1, axis)) / 3
    return coarse.astype(np.uint8)


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("seed", range(2))
def test_agrees_with_its_slow_twin(seed: int, channels: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    picture = smooth_noise(rng, 240, 320, *channels)
    place = CAMERA.world_from_camera.apply(rng.normal([0.1, 0, 0.4], 0.05, (8, 3)))
    crop = crop_around(CAMERA, place, CropOptions(size=48))
    assert crop is not None
    fast = cut_out(picture, CAMERA, crop)
    assert fast.shape == (48, 48, *channels)
    # OpenCV blends with 5 bits: up to 1/32 pixel each way, on slopes of up to 40 steps a pixel.
    np.testing.assert_allclose(fast, slowly(picture, CAMERA, crop), atol=4.0)


def test_agrees_on_a_real_picture(demo_clip: Path) -> None:
    with open_source(f"video:{demo_clip}") as source:
        demo_frame = next(source)
    wide = replace(CAMERA, size=demo_frame.camera.size, centre=np.array([250.0, 260.0]))
    crop = crop_around(wide, wide.world_from_camera.apply([[0.1, 0.1, 1.0], [0.3, 0.2, 1.0]]),
                       CropOptions(size=40))  # fmt: skip
    assert crop is not None
    fast = cut_out(demo_frame.rgb, wide, crop).astype(float)
    slow = slowly(demo_frame.rgb, wide, crop)
    assert np.abs(fast - slow).mean() < 0.7
    assert slow.std() > 10


@given(st.integers(0, 2**31))
@settings(max_examples=40)
def test_a_crop_holds_its_points_in_the_middle(seed: int) -> None:
    rng = np.random.default_rng(seed)
    local = rng.normal([0, 0, 0.5], 0.06, (21, 3))
    world = CAMERA.world_from_camera.apply(local)
    crop = crop_around(CAMERA, world, CropOptions(size=200))
    assert crop is not None
    pixels, depth = project(crop, world)
    assert (depth > 0).all()
    reach = np.abs(pixels - 99.5).max()
    assert reach == pytest.approx(100.0 / 1.8, rel=1e-6)
    np.testing.assert_allclose(crop.world_from_camera.xyz, CAMERA.world_from_camera.xyz)


def test_a_landmark_found_in_a_crop_lies_on_the_ray_of_its_point() -> None:
    """A white dot drawn into the fisheye's picture, found in the crop, leads to the dot."""
    picture = np.zeros((240, 320), np.uint8)
    picture[99:102, 229:232] = 255
    point = CAMERA.world_from_camera.xyz + 0.6 * directions(CAMERA, np.array([230.0, 100.0]))
    around = point + np.random.default_rng(0).normal(0, 0.05, (10, 3))
    crop = crop_around(CAMERA, around)
    assert crop is not None
    cut = cut_out(picture, CAMERA, crop).astype(float)
    rows, columns = np.mgrid[: cut.shape[0], : cut.shape[1]]
    found = np.array([(cut * columns).sum(), (cut * rows).sum()]) / cut.sum()
    to = point - crop.world_from_camera.xyz
    cosine = directions(crop, found) @ to / np.linalg.norm(to)
    assert np.rad2deg(np.arccos(min(cosine, 1.0))) < 0.15


def test_what_is_behind_or_outside_has_no_crop() -> None:
    behind = CAMERA.world_from_camera.apply([[0.0, 0.0, -0.5], [0.1, 0.0, -0.5]])
    aside = CAMERA.world_from_camera.apply([[9.0, 0.0, 0.3], [9.1, 0.0, 0.3]])
    assert crop_around(CAMERA, behind) is None
    assert crop_around(CAMERA, aside) is None


def test_what_the_lens_never_saw_is_black() -> None:
    """A folding lens would show its middle there."""
    barrel = replace(CAMERA, distortion=Distortion("pinhole_brown", (-0.3, 0.0, 0.0, 0.0, 0.0)))
    picture = np.full((240, 320, 3), 200, np.uint8)
    cut = cut_out(picture, barrel, straight_ahead(barrel, CropOptions(size=256, widest=2.9)))
    assert cut[128, 128].tolist() == [200, 200, 200]
    assert cut[128, 2].max() == 0
    assert cut[2, 128].max() == 0


def test_a_coarse_crop_averages() -> None:
    """Stripes of one pixel become grey, not moire."""
    camera = Camera.from_fov((640, 640), 1.2)
    stripes = np.zeros((640, 640), np.uint8)
    stripes[:, ::2] = 255
    cut = cut_out(stripes, camera, straight_ahead(camera, CropOptions(size=64, widest=1.15)))
    assert cut[5:-5, 5:-5].std() < 20
    assert abs(float(cut[5:-5, 5:-5].mean()) - 127) < 10


def test_a_pinholes_picture_as_a_fisheye_would_have_taken_it() -> None:
    """There and back again."""
    rng = np.random.default_rng(5)
    pinhole = straight_ahead(CAMERA, CropOptions(size=400, widest=2.2))
    picture = smooth_noise(rng, 400, 400)
    fish = cut_out(picture, pinhole, CAMERA)
    back = cut_out(fish, CAMERA, straight_ahead(CAMERA, CropOptions(size=100, widest=1.0)))
    there = cut_out(picture, pinhole, straight_ahead(CAMERA, CropOptions(size=100, widest=1.0)))
    assert np.abs(back.astype(float) - there).mean() < 3.0


def test_what_it_refuses() -> None:
    crop = straight_ahead(CAMERA)
    with pytest.raises(ValueError, match="320 x 240"):
        cut_out(np.zeros((10, 10), np.uint8), CAMERA, crop)
    far = replace(crop, world_from_camera=Rigid())
    with pytest.raises(ValueError, match="own place"):
        cut_out(np.zeros((240, 320), np.uint8), CAMERA, far)
    with pytest.raises(ValueError, match="finite"):
        crop_around(CAMERA, np.full((21, 3), np.nan))
    with pytest.raises(ValueError, match=r"CropOptions\.size"):
        CropOptions(size=8)
    with pytest.raises(ValueError, match=r"CropOptions\.margin"):
        CropOptions(margin=0.5)
    with pytest.raises(ValueError, match=r"CropOptions\.widest"):
        CropOptions(widest=4.0)
