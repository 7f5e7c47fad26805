"""Texels that no frame shows."""

import numpy as np
import scipy.sparse as sparse

from avatar.enrolment.texel_filling import filled_texels
from avatar.unwrapping import TexelTable

SIZE = 40


def square_table() -> TexelTable:
    rows, columns = (grid.ravel() for grid in np.mgrid[3 : 3 + SIZE, 5 : 5 + SIZE])
    nowhere = sparse.csr_array((len(rows), 1), dtype=np.float32)
    return TexelTable(64, rows, columns, np.full(len(rows), "head"), nowhere)


def test_a_gradient_goes_on_where_nothing_was_seen_and_seen_texels_stay() -> None:
    table = square_table()
    slope = np.stack([table.columns, table.rows], axis=1).astype(np.float32)
    known = (np.abs(table.rows - 20) > 4) | (np.abs(table.columns - 24) > 4)
    found = filled_texels(table, np.where(known[:, None], slope, -99.0).astype(np.float32), known)
    np.testing.assert_array_equal(found[known], slope[known])
    assert np.abs(found - slope)[~known].max() < 3.0  # of 9 texels unseen each way


def test_what_is_filled_lies_between_what_was_seen_and_has_no_streaks() -> None:
    table, rng = square_table(), np.random.default_rng(1)
    seen = rng.uniform(20, 200, (len(table.rows), 3)).astype(np.float32)
    known = table.columns < 12
    found = filled_texels(table, seen, known)
    low, high = seen[known].min(0), seen[known].max(0)
    assert (found >= low - 1e-3).all()
    assert (found <= high + 1e-3).all()
    far = table.picture(found)[3 : 3 + SIZE, 30 : 5 + SIZE]
    # The nearest seen texel would be another from row to row, by tens of code values.
    assert np.abs(np.diff(far, axis=0)).mean() < 2.0


def test_with_nothing_or_everything_known_nothing_changes() -> None:
    table = square_table()
    values = np.arange(2.0 * len(table.rows), dtype=np.float32).reshape(-1, 2)
    for known in (np.zeros(len(values), bool), np.ones(len(values), bool)):
        np.testing.assert_array_equal(filled_texels(table, values, known), values)
