"""Landmarks of several cameras into space: exact, robust, honest about what it cannot know."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from streams.camera import Camera, Distortion
from streams.projection import directions, project
from streams.rigid import Rigid
from tracking.hand_view import HandView
from tracking.triangulation import Triangulated, TriangulationOptions, triangulate

OPTIONS = TriangulationOptions()
BENT = Distortion("fisheye624", (0.03, -0.02, 0.01, 0, 0, 0, 1e-3, -1e-3, 1e-3, 0, -1e-3, 0))


def looking_at(name: str, place: np.ndarray, lens: Distortion | None = None) -> Camera:
    """A camera at `place` that looks at the origin."""
    z = -place / np.linalg.norm(place)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    turn = np.stack([x, np.cross(z, x), z], axis=1)
    return Camera(
        name, (640, 480), np.array([520.0, 520.0]), np.array([319.5, 239.5]),
        lens or Distortion(), Rigid.from_rotation(turn, place),
    )  # fmt: skip


def ring(count: int, rng: np.random.Generator) -> list[Camera]:
    places = rng.normal(0, 0.2, (count, 3)) + [0.0, 0.0, 0.45]
    return [looking_at(str(k), place, BENT if k % 2 else None) for k, place in enumerate(places)]


def hand(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0, 0.04, (21, 3))


def views_of(points: np.ndarray, cameras: list[Camera]) -> list[HandView]:
    return [HandView(c, project(c, points)[0], np.ones(21)) for c in cameras]


def moved(view: HandView, pixels: np.ndarray, weights: np.ndarray | None = None) -> HandView:
    return HandView(view.camera, pixels, view.weights if weights is None else weights)


@given(st.integers(0, 2**31), st.integers(2, 6))
@settings(max_examples=30)
def test_what_was_projected_comes_back(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    points, cameras = hand(rng), ring(count, rng)
    found = triangulate(views_of(points, cameras))
    np.testing.assert_allclose(found.points, points, atol=1e-7)
    assert found.belongs.all()
    assert found.distances.max() < 1e-7


def slowly(views: list[HandView], o: TriangulationOptions) -> np.ndarray:
    """The specification, landmark by landmark in loops: all pairs propose, MSAC decides, a least
    squares solver finishes."""
    rays = [directions(v.camera, v.points) for v in views]
    centres = [v.camera.world_from_camera.xyz for v in views]

    def miss(x: np.ndarray, v: int, p: int) -> tuple[float, float]:
        to = x - centres[v]
        along = float(to @ rays[v][p])
        return float(np.linalg.norm(to - along * rays[v][p])), along

    agreeing = np.zeros((len(views), 21), bool)
    for p in range(21):
        best_cost = np.inf
        for i, j in combinations(range(len(views)), 2):
            # Two points on the two lines, as near as can be.
            A = np.stack([rays[i][p], -rays[j][p]], axis=1)
            (s, t), *_ = np.linalg.lstsq(A, centres[j] - centres[i], rcond=None)
            x = (centres[i] + s * rays[i][p] + centres[j] + t * rays[j][p]) / 2
            cost, agrees = 0.0, []
            for v in range(len(views)):
                distance, along = miss(x, v, p)
                good = distance < o.outlier and along > o.nearest and views[v].weights[p] > 0
                agrees.append(good)
                cost += views[v].weights[p] * (distance**2 if good else o.outlier**2)
            if agrees[i] and agrees[j] and cost < best_cost:
                best_cost, agreeing[:, p] = cost, agrees
    trust = np.array(
        [a.sum() / max((v.weights > 0).sum(), 1) for a, v in zip(agreeing, views, strict=True)]
    )
    agreeing[trust < 0.3] = False
    kept = [np.where(a, v.weights * t, 0) for a, v, t in zip(agreeing, views, trust, strict=True)]
    out = np.full((21, 3), np.nan)
    start = np.full((21, 3), np.nan)
    for p in range(21):
        if sum(k[p] > 0 for k in kept) >= 2:
            M, b = np.zeros((3, 3)), np.zeros(3)
            for v in range(len(views)):
                off = kept[v][p] * (np.eye(3) - np.outer(rays[v][p], rays[v][p]))
                M, b = M + off, b + off @ centres[v]
            start[p] = np.linalg.solve(M, b)
    for p in range(21):
        if not np.isfinite(start[p]).all():
            continue

        def residuals(x: np.ndarray, p: int = p) -> np.ndarray:
            parts = []
            for v in range(len(views)):
                if kept[v][p] > 0:
                    distance, along = miss(x, v, p)
                    depths = [miss(start[q], v, q)[1] for q in range(21) if kept[v][q] > 0]
                    r = distance / along * np.median(depths) / o.usual
                    huber = r * r if r <= 1 else 2 * r - 1
                    parts.append(np.sqrt(kept[v][p] * huber))
            return np.array(parts)

        out[p] = least_squares(residuals, start[p], xtol=1e-12, ftol=1e-12, gtol=1e-12).x
    return out


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_its_slow_twin_on_noisy_hands(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, cameras = hand(rng), ring(4, rng)
    views = [
        moved(v, v.points + rng.normal(0, 4.0, (21, 2)), rng.uniform(0.2, 1.0, 21))
        for v in views_of(points, cameras)
    ]
    views[0] = moved(views[0], views[0].points + 90.0 * (rng.random((21, 1)) < 0.2))
    fast = triangulate(views).points
    slow = slowly(views, OPTIONS)
    np.testing.assert_array_equal(np.isfinite(fast), np.isfinite(slow))
    # Gauss-Newton with Huber weights and the solver both stop short of the very bottom.
    np.testing.assert_allclose(fast, slow, atol=2e-4)


@pytest.mark.parametrize("seed", range(5))
def test_a_view_that_saw_something_else_has_no_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, cameras = hand(rng), ring(4, rng)
    views = views_of(points, cameras)
    views[2] = moved(views[2], views[2].points[::-1] + 40.0)
    found = triangulate(views)
    assert not found.belongs[2].any()
    np.testing.assert_allclose(found.points, points, atol=1e-6)
    assert found.confidence.max() <= 0.75


def test_without_ransac_that_view_would_spoil_the_hand() -> None:
    """The test above can fail: the plain least squares of the same rays are far off."""
    rng = np.random.default_rng(0)
    points, cameras = hand(rng), ring(4, rng)
    views = views_of(points, cameras)
    views[2] = moved(views[2], views[2].points[::-1] + 40.0)
    trusting = triangulate(views, TriangulationOptions(outlier=10.0, usual=10.0))
    assert np.linalg.norm(trusting.points - points, axis=1).mean() > 0.01


def test_weights_say_whom_to_believe() -> None:
    rng = np.random.default_rng(3)
    points, cameras = hand(rng), ring(3, rng)
    views = views_of(points, cameras)
    shifted = [moved(views[0], views[0].points + 8.0), *views[1:]]
    doubted = [moved(views[0], views[0].points + 8.0, np.full(21, 0.01)), *views[1:]]
    off = [
        np.linalg.norm(triangulate(v).points - points, axis=1).mean() for v in (shifted, doubted)
    ]
    assert off[1] < 0.1 * off[0]


def test_landmarks_that_one_view_sees_are_missing_and_say_so() -> None:
    rng = np.random.default_rng(4)
    points, cameras = hand(rng), ring(3, rng)
    weights = np.ones((3, 21))
    weights[1:, 8] = 0.0
    views = [moved(v, v.points, w) for v, w in zip(views_of(points, cameras), weights, strict=True)]
    found = triangulate(views)
    assert np.isnan(found.points[8]).all()
    assert np.isfinite(np.delete(found.points, 8, 0)).all()
    assert found.confidence[8] == 0.0


def test_one_direction_cannot_tell_depth() -> None:
    """Cameras 1 cm apart: the deviation says what distance and baseline allow."""
    rng = np.random.default_rng(5)
    points = hand(rng) * 0.3
    wide = [looking_at("a", np.array([-0.2, 0, 0.4])), looking_at("b", np.array([0.2, 0, 0.4]))]
    near = [looking_at("a", np.array([-0.005, 0, 0.4])), looking_at("b", np.array([0.005, 0, 0.4]))]
    firm, weak = (triangulate(views_of(points, c)) for c in (wide, near))
    assert np.median(weak.deviations) > 10 * np.median(firm.deviations)
    assert weak.confidence.max() < 0.1 < 0.6 < firm.confidence.min()


def test_the_deviation_is_what_noise_does() -> None:
    """Many draws of noise of the usual size scatter as `deviations` says."""
    rng = np.random.default_rng(6)
    points, cameras = hand(rng), ring(4, np.random.default_rng(1))
    clean = views_of(points, cameras)
    pixels = [v.camera.focal[0] * OPTIONS.usual * 0.2 / 0.45 for v in clean]
    offs, said = [], []
    for _ in range(200):
        noisy = [
            moved(v, v.points + rng.normal(0, s, (21, 2)))
            for v, s in zip(clean, pixels, strict=True)
        ]
        found: Triangulated = triangulate(noisy)
        offs.append(np.linalg.norm(found.points - points, axis=1))
        said.append(found.deviations)
    scatter = np.sqrt(np.nanmean(np.square(offs)))
    # A fifth of the usual error; distances vary about the 0.45 m that the pixels were taken for.
    assert scatter == pytest.approx(0.2 * np.nanmedian(said), rel=0.35)


def test_what_it_refuses() -> None:
    rng = np.random.default_rng(7)
    views = views_of(hand(rng), ring(2, rng))
    with pytest.raises(ValueError, match="two or more"):
        triangulate(views[:1])
    with pytest.raises(ValueError, match="usual"):
        TriangulationOptions(outlier=0.001, usual=0.01)
    with pytest.raises(ValueError, match="nearest"):
        TriangulationOptions(nearest=-1.0)


def test_parallel_rays_and_points_behind_give_nothing() -> None:
    """Two cameras at one place, and rays that diverge."""
    rng = np.random.default_rng(8)
    camera = looking_at("a", np.array([0.0, 0.0, 0.4]))
    same = triangulate(views_of(hand(rng), [camera, camera]))
    assert np.isnan(same.points).all()
    left, right = (
        Camera.from_fov((640, 480), world_from_camera=Rigid.from_rotvec([0, 0, 0], [x, 0, 0]))
        for x in (-0.1, 0.1)
    )
    pixels = np.tile([[100.0, 240.0]], (21, 1)), np.tile([[540.0, 240.0]], (21, 1))
    apart = triangulate(
        [HandView(c, p, np.ones(21)) for c, p in zip((left, right), pixels, strict=True)]
    )
    assert np.isnan(apart.points).all()
    assert (apart.confidence == 0.0).all()
