"""Regions: what they cut out, where they lie, and how they follow."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.film_frames import frames
from tracking.region import (
    Cut,
    Region,
    crop,
    crop_slowly,
    face_region_of_landmarks,
    hand_region_of_landmarks,
    hand_region_of_palm,
    into_picture,
    overlap,
    picture_from_crop,
    whole_picture,
)

Picture = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def clip_picture(demo_clip: Path) -> Picture:
    return frames(demo_clip, 1)[0]


REGIONS = (
    Region(40.0, 30.0, 50.0, 0.0),
    Region(31.5, 23.5, 64.0, 0.7),
    Region(0.0, 47.0, 90.0, -2.5),
    Region(500.0, 20.0, 30.0, 1.0),
    Region(20.0, 20.0, 7.3, 3.1),
)


@pytest.mark.parametrize("cut", [Cut(24), Cut(24, True), Cut(24, mediapipe=True)])
@pytest.mark.parametrize("region", REGIONS)
def test_a_crop_is_what_its_slow_twin_says(region: Region, cut: Cut) -> None:
    random = np.random.default_rng(5)
    noise = random.integers(0, 256, (48, 64, 3), np.uint8)
    smooth = np.asarray(noise.astype(np.float64).cumsum(0).cumsum(1) / 400.0 % 256, np.uint8)
    for rgb, most in ((noise, 12.0), (smooth, 12.0)):
        fast = crop(rgb, region, cut).astype(np.float64)
        slow = crop_slowly(rgb, region, cut)
        # OpenCV rounds places to a 32nd of a pixel: of noise that is a few levels.
        assert np.abs(fast - slow).max() <= most
        assert np.abs(fast - slow).mean() <= 1.5


def test_a_crop_of_a_real_picture_is_what_its_slow_twin_says(clip_picture: Picture) -> None:
    height, width = clip_picture.shape[:2]
    region = Region(width / 2.0, height / 2.0, height / 2.0, 0.3)
    cut = Cut(48)
    difference = np.abs(crop(clip_picture, region, cut) - crop_slowly(clip_picture, region, cut))
    assert difference.mean() < 0.6


@given(
    st.floats(-100, 1000), st.floats(-100, 1000), st.floats(2, 2000), st.floats(-math.pi, math.pi)
)
def test_corners_of_a_crop_are_corners_of_its_region(
    x: float, y: float, side: float, angle: float
) -> None:
    region = Region(x, y, side, angle)
    corners = into_picture([[0, 0], [224, 0], [224, 224], [0, 224], [112, 112]], region, 224)
    assert corners[4] == pytest.approx((x, y), abs=1e-6)
    across = corners[1] - corners[0]
    assert np.linalg.norm(across) == pytest.approx(side)
    assert across / side == pytest.approx((math.cos(angle), math.sin(angle)), abs=1e-6)
    down = corners[3] - corners[0]
    assert down / side == pytest.approx((-math.sin(angle), math.cos(angle)), abs=1e-6)
    scale = np.linalg.det(picture_from_crop(region, 224)[:, :2])
    assert scale == pytest.approx((side / 224) ** 2)


def test_a_pixels_middle_stays_where_it_is() -> None:
    """A ramp cut out at any scale reads what the ramp is there; MediaPipe's cut is off."""
    rgb = np.empty((64, 256, 3), np.uint8)
    rgb[:] = np.arange(256, dtype=np.uint8)[None, :, None]
    for side in (16.0, 48.0):
        region = Region(100.0, 32.0, side, 0.0)
        for cut, off in ((Cut(16), 0.0), (Cut(16, mediapipe=True), 0.5 - 0.5 * side / 16)):
            read = crop_slowly(rgb, region, cut)[8, :, 0]
            said = into_picture(np.column_stack([np.arange(16) + 0.5, np.zeros(16)]), region, 16)
            assert read - said[:, 0] == pytest.approx(off, abs=1e-9)


def hand(angle: float, x: float = 300.0, y: float = 200.0) -> npt.NDArray[np.float64]:
    """A flat hand whose fingers point up, turned clockwise by `angle`: (21, 2) pixels."""
    points = [(0.0, 60.0)]
    for finger in range(5):
        points += [((finger - 2) * 15.0, 10.0 - 25.0 * joint) for joint in range(4)]
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array(points) @ np.array([[cos, sin], [-sin, cos]]) + (x, y)


@pytest.mark.parametrize("angle", [-3.0, -1.0, 0.0, 0.5, 2.0])
def test_regions_turn_and_move_with_the_hand(angle: float) -> None:
    upright = hand_region_of_landmarks(hand(0.0))
    turned = hand_region_of_landmarks(hand(angle))
    assert math.remainder(turned.angle - upright.angle - angle, 2 * math.pi) == pytest.approx(
        0.0, abs=1e-9
    )
    assert turned.side == pytest.approx(upright.side, rel=0.12)
    moved = hand_region_of_landmarks(hand(angle) + (50.0, -20.0))
    assert (moved.x - turned.x, moved.y - turned.y) == pytest.approx((50.0, -20.0))
    # The region of the palm points along the fingers too.
    palm = np.zeros((7, 2))
    palm[0], palm[2] = hand(angle)[0], hand(angle)[9]
    low, high = np.array([200.0, 100.0]), np.array([300.0, 200.0])
    first = hand_region_of_palm(low, high, palm)
    along = hand(angle)[9] - hand(angle)[0]
    up = np.array([math.sin(first.angle), -math.cos(first.angle)])
    assert up @ along / np.linalg.norm(along) == pytest.approx(1.0)
    assert (np.array([first.x, first.y]) - 150.0 - (100.0, 0.0)) @ up == pytest.approx(50.0)


def test_a_faces_region_follows_its_eyes() -> None:
    marks = np.random.default_rng(0).uniform(100, 200, (478, 2))
    marks[33], marks[263] = (110.0, 120.0), (190.0, 120.0)
    assert face_region_of_landmarks(marks).angle == 0.0
    marks[263] = (190.0, 200.0)
    assert face_region_of_landmarks(marks).angle == pytest.approx(math.pi / 4)


def test_overlap_is_intersection_over_union() -> None:
    a = Region(50.0, 50.0, 20.0, 0.3)
    assert overlap(a, a) == pytest.approx(1.0)
    assert overlap(a, Region(60.0, 50.0, 20.0, 1.0)) == pytest.approx(1 / 3)
    assert overlap(a, Region(50.0, 50.0, 10.0, 0.0)) == pytest.approx(0.25)
    assert overlap(a, Region(80.0, 50.0, 20.0, 0.0)) == 0.0
    whole = whole_picture(640, 480)
    assert into_picture([[0, 0]], whole, 192)[0] == pytest.approx((-0.5, -80.5))


@pytest.mark.parametrize(
    ("region", "usable"),
    [
        (Region(-50.0, 4000.0, 16.0, 3.0), True),
        (Region(0.0, 0.0, 1.0, 0.0), False),
        (Region(math.nan, 0.0, 50.0, 0.0), False),
        (Region(0.0, 0.0, 50.0, math.inf), False),
        (Region(0.0, -1e7, 50.0, 0.0), False),
        (Region(0.0, 0.0, 1e30, 0.0), False),
    ],
)
def test_what_no_picture_holds_is_not_cut_out(region: Region, usable: bool) -> None:
    assert region.usable() == usable
