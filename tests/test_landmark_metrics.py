"""The published measures of landmarks, on points whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest

from streams.rigid import Rigid
from tracking.landmark_metrics import (
    NOT_FOUND,
    aligned_distance,
    closest,
    distances,
    longer_side,
    mean_over_found,
    scores,
    share_found,
)

SQUARE = np.array([[0.0, 0.0], [100.0, 0.0], [100.0, 50.0], [0.0, 50.0]])


def test_scores_of_known_distances() -> None:
    found = SQUARE + [[0.0, 0.0], [0.0, 5.0], [15.0, 0.0], [0.0, 40.0]]
    one = scores(found, SQUARE, 100.0)
    assert one.found
    assert one.pixels == pytest.approx(15.0)
    assert one.error == pytest.approx(0.15)
    assert (one.correct_10, one.correct_20) == (0.5, 0.75)
    # Errors 0, 0.05, 0.15 and 0.4 of 0.3: the part of the curve beyond each.
    assert one.area == pytest.approx((1.0 + 5 / 6 + 0.5 + 0.0) / 4)


def test_the_area_is_that_under_the_curve() -> None:
    rng = np.random.default_rng(3)
    truth = rng.uniform(0, 100, (21, 2))
    found = truth + rng.normal(0, 12, truth.shape)
    limits = np.linspace(0.0, 0.3, 30001)
    curve = [(distances(found, truth) <= limit * 80.0).mean() for limit in limits]
    one = scores(found, truth, 80.0)
    assert one.area == pytest.approx(np.mean(curve), abs=1e-4)


def test_unknown_points_count_for_nothing_and_missed_ones_as_misses() -> None:
    truth = SQUARE.copy()
    truth[3] = np.nan
    found = SQUARE.copy()
    found[3] = 1e6
    assert scores(found, truth, 100.0).pixels == 0.0
    found[0] = np.nan
    one = scores(found, truth, 100.0)
    assert one.correct_10 == pytest.approx(2 / 3)
    assert one.pixels == np.inf
    assert one.area == pytest.approx(2 / 3)


def test_nothing_found_is_told_from_something_wrong() -> None:
    assert scores(None, SQUARE, 1.0) is NOT_FOUND
    assert np.isnan(NOT_FOUND.error)
    good = scores(SQUARE + 10.0, SQUARE, 100.0)
    every = [good, NOT_FOUND, NOT_FOUND, good]
    assert share_found(every) == 0.5
    assert mean_over_found(every) == good
    assert mean_over_found([NOT_FOUND]) is NOT_FOUND
    assert mean_over_found([]) is NOT_FOUND
    assert np.isnan(share_found([]))


def test_the_nearest_candidate_is_the_annotated_one_unless_all_are_far() -> None:
    assert closest([], SQUARE) is None
    assert closest([SQUARE + 49.0, SQUARE + [20.0, 0.0]], SQUARE) == 1
    assert closest([SQUARE + [30.1, 0.0]], SQUARE) is None
    assert closest([SQUARE + [29.9, 0.0]], SQUARE) == 0
    assert closest([np.full_like(SQUARE, np.nan)], SQUARE) is None


def test_the_longer_side_is_of_annotated_points() -> None:
    assert longer_side(SQUARE) == 100.0
    part = SQUARE.copy()
    part[1:3, 0] = np.nan
    assert longer_side(part) == 50.0
    assert np.isnan(longer_side(np.full((4, 2), np.nan)))


def test_alignment_takes_pose_and_size_away_and_nothing_else() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(0, 0.05, (21, 3))
    pose = Rigid.from_rotvec([0.3, -1.0, 0.5], [0.1, 0.2, 0.7])
    assert aligned_distance(1.7 * pose.apply(truth), truth) == pytest.approx(0.0, abs=1e-12)
    mirrored = truth * [-1.0, 1.0, 1.0]
    assert aligned_distance(mirrored, truth) > 0.01
    partial = truth.copy()
    partial[2:] = np.nan
    assert np.isnan(aligned_distance(truth, partial))


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"expected two \(N, D\), got \(3, 2\) and \(4, 2\)"):
        scores(SQUARE[:3], SQUARE, 1.0)
    with pytest.raises(ValueError, match="expected annotated points, got none"):
        scores(SQUARE, np.full_like(SQUARE, np.nan), 1.0)
    for unit in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="expected a unit above 0"):
            scores(SQUARE, SQUARE, unit)
