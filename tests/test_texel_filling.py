"""Texels that no frame shows."""

import numpy as np
import pytest

from avatar.enrolment.texel_filling import TexelSurface, spread_values

SIZE = 40


def square() -> np.ndarray:
    """(SIZE * SIZE, 2) columns and rows."""
    rows, columns = (grid.ravel() for grid in np.mgrid[3 : 3 + SIZE, 5 : 5 + SIZE])
    return np.stack([columns, rows], axis=1).astype(np.float32)


def surface(places: np.ndarray, hair: np.ndarray | None = None, cell: float = 2.0) -> TexelSurface:
    n = len(places)
    hair = np.zeros(n, np.float32) if hair is None else hair
    return TexelSurface(places, np.full(n, "head"), hair, cell, np.ones(n, np.float32))


def test_a_gradient_goes_on_where_nothing_was_seen_and_seen_texels_stay() -> None:
    places = square()
    known = np.max(np.abs(places - np.array([24, 20])), axis=1) > 4
    values = np.where(known[:, None], places, -99.0).astype(np.float32)
    found = surface(places).filled(values, known, (0.0, 0.0))
    np.testing.assert_array_equal(found[known], places[known])
    assert np.abs(found - places)[~known].max() < 3.0  # of 9 texels unseen each way


def test_what_is_filled_lies_between_what_was_seen_and_has_no_streaks() -> None:
    places, rng = square(), np.random.default_rng(1)
    seen = rng.uniform(20, 200, (len(places), 3)).astype(np.float32)
    known = places[:, 0] < 12
    found = surface(places).filled(seen, known, (0.0, 0.0, 0.0))
    low, high = seen[known].min(0), seen[known].max(0)
    assert (found >= low - 1e-3).all()
    assert (found <= high + 1e-3).all()
    far = found.reshape(SIZE, SIZE, 3)[:, 25:]
    # The nearest seen texel would be another from row to row, by tens of code values.
    assert np.abs(np.diff(far, axis=0)).mean() < 2.0


def test_both_sides_of_a_cut_are_filled_alike() -> None:
    """Texels on a tube are neighbours where its atlas is cut."""
    turn = np.repeat(np.linspace(0.0, 2 * np.pi, 120, endpoint=False), 10)
    places = np.stack(
        [0.1 * np.cos(turn), np.tile(np.arange(10) * 0.004, 120), 0.1 * np.sin(turn)], axis=1
    )
    values = np.stack([100 + 80 * np.cos(turn), 100 + 80 * np.sin(turn)], axis=1)
    known = np.abs(turn - np.pi) < 2.6  # unseen: 31 degrees on both sides of the cut
    found = surface(places, cell=0.005).filled(values.astype(np.float32), known, (0.0, 0.0))
    first, last = found[:10], found[-10:]
    assert not known[:10].any()
    assert not known[-10:].any()
    # Each side from its own surroundings in the atlas: 80 code values apart.
    assert np.abs(first - last).max() < 15.0
    assert np.abs(found - values).max() < 40.0


def test_unseen_hair_takes_the_colours_of_hair_though_skin_is_nearer() -> None:
    places = square()
    hair = np.clip((places[:, 0] - 24) / 6.0, 0.0, 1.0).astype(np.float32)
    top = places[:, 1] < 8
    known = (hair < 0.1) | ((hair > 0.9) & top)
    values = np.where(hair > 0.5, 10.0, 200.0)[:, None].astype(np.float32)
    found = surface(places, hair).filled(np.where(known[:, None], values, -9.0), known, (0.0,))
    sure = hair > 0.99
    np.testing.assert_allclose(found[sure], 10.0, atol=0.1)
    np.testing.assert_allclose(found[hair < 0.01], 200.0, atol=0.1)
    between = (hair > 0.3) & (hair < 0.7)
    assert 60.0 < found[between].mean() < 150.0


def test_with_nothing_or_everything_known() -> None:
    places = square()
    values = np.arange(2.0 * len(places), dtype=np.float32).reshape(-1, 2)
    every = np.ones(len(values), bool)
    np.testing.assert_array_equal(surface(places).filled(values, every, (7.0, 8.0)), values)
    none = surface(places).filled(values, ~every, (7.0, 8.0))
    np.testing.assert_array_equal(none, np.tile(np.array([7.0, 8.0], np.float32), (len(values), 1)))
    with pytest.raises(ValueError, match="at least one"):
        spread_values(places[:0], values[:0], places, 2.0)


def test_what_lies_far_from_everything_seen_does_not_change_with_the_face() -> None:
    places = square()
    known = places[:, 0] < 12
    near = surface(places, cell=0.5).nearness(known)
    assert (near[known] == 1.0).all()
    assert near[~known].max() < 1.0
    assert near[places[:, 0] > 35].max() < 0.01
