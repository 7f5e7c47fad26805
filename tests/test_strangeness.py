"""Whose face it is, by its landmarks."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from avatar.enrolment.observations import Observations
from avatar.enrolment.registration import landmark_basis, own_strangeness
from avatar.strangeness import LEAST_LIMIT, MOST_LIMIT, landmark_code, limit_of, strangeness
from capture.frame_source import open_source
from streams.tracked_state import TrackedState
from tracking.tracker import Tracker, TrackerOptions


def test_a_code_is_the_share_of_orthogonal_moves_and_what_they_leave_out() -> None:
    rng = np.random.default_rng(4)
    axes = np.linalg.qr(rng.standard_normal((468 * 3, 6)))[0].T
    moves = axes * np.array([3e-3, 2e-3, 1e-3, 1e-3, 5e-4, 2e-4])[:, None]
    rest, code = 0.1 * rng.standard_normal((468, 3)), rng.standard_normal(5)
    left = 7e-4 * axes[5]  # metres; not among the five moves
    landmarks = rest + (code @ moves[:5] + left).reshape(468, 3)
    found, left_mm = landmark_code(landmarks.astype(np.float32), rest, moves[:5])
    np.testing.assert_allclose(found, code, atol=1e-3)
    assert left_mm == pytest.approx(1e3 * 7e-4 / np.sqrt(468), rel=1e-2)
    assert strangeness(found, left_mm) == pytest.approx(
        np.sqrt((code**2).mean()) * left_mm, rel=1e-3
    )


def test_the_limit_follows_the_person_within_bounds_and_is_kinder_to_a_moment_alone() -> None:
    assert limit_of(0.01, alone=False) == LEAST_LIMIT
    assert limit_of(99.0, alone=False) == MOST_LIMIT
    assert LEAST_LIMIT < limit_of(0.8, alone=False) < MOST_LIMIT
    assert limit_of(0.8, alone=True) > 2.0 * limit_of(0.8, alone=False)


def tracked(name: str, count: int) -> list[TrackedState]:
    path = Path(__file__).parents[2] / "shared" / "data" / "faces" / f"{name}.mp4"
    if not path.is_file():
        pytest.skip("the study's clips are not here")
    with (
        open_source(f"video:{path}") as source,
        Tracker.open(TrackerOptions(hands=0)) as tracker,
    ):
        return [tracker.track(frame) for frame in islice(source, count)]


def test_a_real_person_is_told_from_another_by_most_moments() -> None:
    own, other = tracked("d10", 448), tracked("d9", 100)
    seen = Observations.of(own[:358])
    rest, moves = landmark_basis(seen)
    limit = limit_of(float(np.median(own_strangeness(seen))), alone=False)

    def own_share(states: list[TrackedState]) -> float:
        codes = [landmark_code(s.face.landmarks, rest, moves) for s in states if s.face]
        return float(np.mean([strangeness(*code) < limit for code in codes]))

    assert own_share(own[358:]) > 0.7
    assert own_share(other) < 0.2
