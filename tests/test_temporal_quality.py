"""Jitter, lag and error in motion, on tracks whose figures are known, and their test pictures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tracking.one_euro import OneEuro, OneEuroOptions
from tracking.temporal_quality import StillMotion, lag, quiet_unrest, temporal_quality

MOTION = StillMotion()
POINTS = np.array([[270.0, 190.0], [370.0, 190.0], [370.0, 290.0], [270.0, 290.0]])


def dotted(size: tuple[int, int] = (640, 480)) -> npt.NDArray[np.uint8]:
    """A white dot of 7 x 7 on black at each of POINTS."""
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    for x, y in POINTS.astype(int):
        picture[y - 3 : y + 4, x - 3 : x + 4] = 255
    return picture


def test_the_pictures_are_the_same_whenever_asked() -> None:
    motion = StillMotion(still_frames=2, moving_frames=3)
    first, again = list(motion.pictures(dotted())), list(motion.pictures(dotted()))
    assert len(first) == len(motion) == 5
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert first[0].dtype == np.uint8
    assert first[0].shape == (480, 640, 3)
    other = next(StillMotion(seed=1).pictures(dotted()))
    assert not np.array_equal(first[0], other)
    assert (first[1].astype(int) - first[0]).std() > 3.0, "each frame has its own noise"


def test_the_pictures_move_as_is_said() -> None:
    """Where the dots are seen against where `carried` puts them: right to a tenth of a pixel."""
    motion = StillMotion(still_frames=1, moving_frames=25, noise=0.0)
    truth = motion.carried(POINTS)
    for k, picture in enumerate(motion.pictures(dotted())):
        for x, y in truth[k]:
            low, top = int(x) - 9, int(y) - 9
            part = picture[top : top + 19, low : low + 19, 0].astype(float)
            rows, columns = np.mgrid[:19, :19]
            seen = np.array([(part * columns).sum(), (part * rows).sum()]) / part.sum()
            assert seen + (low, top) == pytest.approx((x, y), abs=0.1)
    assert np.linalg.norm(truth[-1] - truth[0], axis=-1).min() > 15.0
    # A positive turn, as in the first frames of the motion, is clockwise: right goes down.
    turn = motion.moved_from_canvas(5)[:, :2]
    assert turn[1, 0] > 0.01
    assert np.linalg.det(turn) == pytest.approx(1.0)


def test_photographs_of_any_shape_stand_in_the_middle() -> None:
    motion = StillMotion(still_frames=1, moving_frames=0, noise=0.0)
    for shape in ((960, 1280), (100, 50), (37, 640)):
        white = np.full((*shape, 3), 255, np.uint8)
        shown = next(motion.pictures(white))[..., 0] > 128
        scale = min(640 / shape[1], 480 / shape[0])
        assert shown.any(axis=0).sum() == round(shape[1] * scale)
        assert shown.any(axis=1).sum() == round(shape[0] * scale)
        assert abs(np.argwhere(shown).mean(axis=0) - (239.5, 319.5)).max() <= 0.5


def test_a_perfect_track_has_no_fault() -> None:
    quality = temporal_quality(MOTION.carried(POINTS), MOTION)
    assert (quality.jitter, quality.moving_error) == pytest.approx((0.0, 0.0), abs=1e-12)
    assert quality.lag_s == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("frames", [1, 2.5, 4])
def test_lag_of_a_delayed_track(frames: float) -> None:
    motion = StillMotion()
    truth = motion.carried(POINTS)
    times = np.maximum(np.arange(len(motion)) - frames, 0.0)
    flat = truth.reshape(len(motion), -1)
    late = np.stack([np.interp(times, np.arange(len(motion)), column) for column in flat.T], 1)
    quality = temporal_quality(late.reshape(truth.shape), motion)
    assert quality.lag_s == pytest.approx(frames / 30.0, abs=0.0005)
    assert quality.jitter == pytest.approx(0.0, abs=1e-12)
    assert quality.moving_error > 0.03 * frames


def test_jitter_of_known_noise() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 1, (400, 2)) * 100 + 200
    track = MOTION.carried(points) + rng.normal(0, 0.5, (len(MOTION), 400, 2))
    box = np.ptp(track[20], axis=0).mean()
    quality = temporal_quality(track, MOTION)
    # Forty frames: the standard deviation of a sample is that much below that of the noise.
    assert quality.jitter * box == pytest.approx(0.5 * np.sqrt(2) * (1 - 3 / 160), rel=0.02)
    # Mean distance of a point with normal noise in x and y (Rayleigh), about a sampled mean.
    assert quality.moving_error * box == pytest.approx(0.5 * np.sqrt(np.pi / 2), rel=0.05)
    assert quality.lag_s < 0.001


def test_a_filter_trades_jitter_for_lag() -> None:
    rng = np.random.default_rng(1)
    track = MOTION.carried(POINTS) + rng.normal(0, 0.5, (len(MOTION), 4, 2))
    slow = OneEuro(OneEuroOptions(1.0, 5.0, 1.0))
    filtered = np.stack([slow.filter(round(k * 1e9 / 30), x, 100.0) for k, x in enumerate(track)])
    raw, calm = temporal_quality(track, MOTION), temporal_quality(filtered, MOTION)
    assert calm.jitter < 0.6 * raw.jitter
    assert calm.lag_s > raw.lag_s + 0.015
    assert calm.moving_error > raw.moving_error


def test_a_lost_frame_is_not_hidden() -> None:
    track = MOTION.carried(POINTS)
    track[100] = np.nan
    quality = temporal_quality(track, MOTION)
    assert quality.jitter == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(quality.lag_s)
    assert np.isnan(quality.moving_error)


def test_unrest_is_what_no_straight_line_explains() -> None:
    t = np.arange(60.0)
    line = np.stack([t, 2 * t], axis=1)[:, None] + POINTS
    assert quiet_unrest(line, 30.0).max() < 1e-9
    assert len(quiet_unrest(line, 30.0)) == 60 - 15 + 1
    jump = line.copy()
    jump[30, :, 0] += 3.0
    n = 15
    assert quiet_unrest(jump, 30.0)[30 - n // 2] == pytest.approx(3.0 * (1 - 1 / n))


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"expected a track of \(120, N, 2\), got \(7, 4, 2\)"):
        temporal_quality(np.zeros((7, 4, 2)), MOTION)
    with pytest.raises(ValueError, match="lag: expected two"):
        lag(np.zeros((5, 2)), np.zeros((5, 2)), 30.0)
    with pytest.raises(ValueError, match="quiet_unrest: expected"):
        quiet_unrest(np.zeros((3, 4, 2)), 30.0)
