"""Whose face it is, by its landmarks."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from avatar.enrolment.observations import Observations
from avatar.enrolment.registration import landmark_basis, own_strangeness
from avatar.head_mesh import HeadMesh
from avatar.landmark_code import landmark_code
from avatar.landmark_map import LandmarkMap
from avatar.strangeness import (
    LEAST_LIMIT,
    MOST_LIMIT,
    Acquaintance,
    limit_of,
    nobodys_strangeness,
    strangeness,
)
from capture.frame_source import open_source
from capture.scenes import open_scene
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


def test_codes_of_many_are_those_of_each() -> None:
    rng = np.random.default_rng(5)
    moves = 1e-3 * np.linalg.qr(rng.standard_normal((468 * 3, 4)))[0].T
    rest, landmarks = rng.standard_normal((468, 3)), rng.standard_normal((3, 478, 3))
    codes, left_mm = landmark_code(landmarks, rest, moves)
    assert codes.shape == (3, 4)
    for k in range(3):
        code, left = landmark_code(landmarks[k], rest, moves)
        np.testing.assert_allclose(codes[k], code, rtol=1e-5)
        assert left_mm[k] == pytest.approx(float(left))
    np.testing.assert_allclose(strangeness(codes, left_mm)[1], strangeness(codes[1], left_mm[1]))


def drawn(name: str, count: int, seed: int, first: int = 0) -> list[TrackedState]:
    """A drawn person who grimaces: the demo's landmarks laid on another head that ships."""
    landmarks = LandmarkMap.open()
    default, other = (HeadMesh.open(one) for one in ("default", name))
    size = default.template_size
    moved = landmarks.points(other.vertices[:size]) - landmarks.points(default.vertices[:size])
    scene, rng, states = open_scene("range", seed), np.random.default_rng(seed), []
    for k in range(first, first + count):
        face = scene.state_at(round(k * 1e9 / 30)).face
        assert face is not None
        shown = face.landmarks.copy()
        shown[:468] += moved + rng.normal(scale=2e-4, size=(468, 3))
        states.append(TrackedState(round(k * 1e9 / 30), "drawn", replace(face, landmarks=shown)))
    return states


def own_share(who: Acquaintance, states: list[TrackedState]) -> float:
    who.forget()
    return float(np.mean([who.is_own(s.face.landmarks, s.t_ns) for s in states if s.face]))


def test_a_drawn_person_is_told_from_others() -> None:
    own = drawn("mei", 220, 1)
    seen = Observations.of(own[:160])
    rest, moves = landmark_basis(seen)
    assert nobodys_strangeness(rest, moves) > 10.0
    who = Acquaintance(rest, moves, float(np.median(own_strangeness(seen))))
    assert own_share(who, own[160:]) > 0.9
    assert own_share(who, own[:160]) == 1.0
    for name in ("walter", "amara", "default"):
        assert own_share(who, drawn(name, 220, 2)) < 0.1


def test_one_moment_makes_no_stranger_and_another_person_is_noticed_soon() -> None:
    own, other = drawn("mei", 120, 1), drawn("walter", 120, 2, first=120)
    seen = Observations.of(own)
    who = Acquaintance(*landmark_basis(seen), float(np.median(own_strangeness(seen))))
    first = other[0].face
    assert first is not None
    for state in own:
        assert state.face is not None
        assert who.is_own(state.face.landmarks, state.t_ns)
    assert who.is_own(first.landmarks, other[0].t_ns)
    left = [who.is_own(s.face.landmarks, s.t_ns) for s in other if s.face]
    assert left[0]
    assert not any(left[45:])  # 1.5 s
    who.forget()
    assert not who.is_own(first.landmarks, other[0].t_ns)
    assert not who.is_own_alone(first.landmarks)


def tracked(name: str, count: int) -> list[TrackedState]:
    path = Path(__file__).parents[2] / "shared" / "data" / "faces" / f"{name}.mp4"
    if not path.is_file():
        pytest.skip("the study's clips are not here")
    with (
        open_source(f"video:{path}") as source,
        Tracker.open(TrackerOptions(hands=0)) as tracker,
    ):
        return [tracker.track(frame) for frame in islice(source, count)]


def test_a_real_person_is_told_from_another() -> None:
    own, other = tracked("d10", 448), tracked("d9", 100)
    seen = Observations.of(own[:358])
    rest, moves = landmark_basis(seen)
    who = Acquaintance(rest, moves, float(np.median(own_strangeness(seen))))
    assert own_share(who, own[358:]) > 0.95
    assert own_share(who, other) < 0.05
