"""The published figures, against cases that can be counted by hand."""

import numpy as np
import pytest

from tracking.hand_metrics import accelerations, hand_figures, joint_errors, pck_auc

RNG = np.random.default_rng(0)


def test_errors_are_distances_and_missing_points_are_nan() -> None:
    truth = np.zeros((2, 21, 3))
    found = truth + [0.003, 0.004, 0.0]
    found[1, 5] = np.nan
    errors = joint_errors(found, truth)
    assert errors[0] == pytest.approx(0.005)
    assert np.isnan(errors[1, 5])
    with pytest.raises(ValueError, match="joint_errors"):
        joint_errors(truth, truth[:1])


def test_acceleration_is_the_second_difference() -> None:
    t = np.arange(10.0)[:, None, None]
    steady = np.tile(t * 0.01, (1, 21, 3))
    assert accelerations(steady).max() < 1e-12
    falling = np.zeros((10, 21, 3))
    falling[:, :, 1] = 0.5 * 0.002 * t[:, :, 0] ** 2
    assert accelerations(falling) == pytest.approx(0.002)
    with pytest.raises(ValueError, match="accelerations"):
        accelerations(falling[0])


def test_area_under_pck() -> None:
    assert pck_auc(np.zeros(5)) == pytest.approx(1.0)
    assert pck_auc(np.full(5, 0.051)) == 0.0
    assert pck_auc([0.025]) == pytest.approx(0.5, abs=0.01)
    assert pck_auc([0.01, np.nan]) == pytest.approx(0.8, abs=0.01)
    assert np.isnan(pck_auc([np.nan]))


def test_figures_of_a_made_sequence() -> None:
    """Every found hand 8 mm beside the truth, one of ten not found, two landmarks without truth."""
    truth = RNG.normal(0, 0.05, (1, 21, 3)) + np.zeros((10, 1, 1))
    truth[:, :2] = np.nan
    found = truth + [0.0, 0.0, 0.008]
    found[:, :2] = 9.0
    found[4] = np.nan
    f = hand_figures([(found, truth)])
    assert (f.truths, f.found) == (10, 9)
    assert f.mpjpe_mm == pytest.approx(8.0)
    assert f.median_mm == pytest.approx(8.0)
    assert f.aligned_mm == pytest.approx(0.0, abs=1e-9)
    assert f.mpjpa_mm == pytest.approx(0.0, abs=1e-9)
    assert f.auc == pytest.approx(1 - 8 / 50, abs=0.01)
    shaken = found + RNG.normal(0, 0.001, found.shape)
    assert hand_figures([(shaken, truth)]).mpjpa_mm > 2.0
    nobody = hand_figures([(np.full((3, 21, 3), np.nan), truth[:3])])
    assert (nobody.truths, nobody.found) == (3, 0)
    assert np.isnan(nobody.mpjpe_mm)
