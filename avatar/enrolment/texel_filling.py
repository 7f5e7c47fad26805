"""Texels that no frame shows, in the colours of their surroundings.

Push and pull through a pyramid (Gortler, Grzeszczuk, Szeliski and Cohen 1996, "The lumigraph",
section 3.4.2), whose cells lie in space and not in the atlas: near what was seen as sharp as there,
far from it ever smoother, and the same on both sides of a cut of the texture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse
from scipy.spatial import KDTree

from avatar.unwrapping import TexelTable

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

LEVELS = 9
"""The coarsest cells are 2**8 times as wide as the finest: about half a metre on a head."""
SATURATED = 4.0
"""A cell with a quarter of its texels seen counts in full, and a cell of such cells likewise."""
NEAR_CELLS = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class TexelSurface:
    """Where n texels lie, and which of them may take each other's colours."""

    places: npt.NDArray[np.floating]
    """(n, D) metres on a head at rest, or texels of an atlas."""
    groups: npt.NDArray[np.str_]
    """(n,): colours stay within a group."""
    hair: Float32
    """(n,) 0..1: within a group unseen hair takes the colours of hair, unseen skin of skin."""
    cell: float
    """The side of the finest cells, in the unit of the places: about two texels."""
    matte: Float32
    """(n,) 0..1: how often, where a texel faces the camera, the person is there and no background
    (the scalp reaches a little beyond the hair)."""

    def filled(
        self, values: Float32, known: npt.NDArray[np.bool_], otherwise: Sequence[float]
    ) -> Float32:
        """(n, C) values, each group's unknown ones from its known ones. A group of which nothing is
        known takes `otherwise` (C,)."""
        out = values.copy()
        for group in np.unique(self.groups):
            here = self.groups == group
            seen, unseen = np.flatnonzero(here & known), np.flatnonzero(here & ~known)
            if not len(seen):
                out[unseen] = otherwise
            elif len(unseen):
                out[unseen] = self._from(values, seen, unseen)
        return out

    def nearness(self, known: npt.NDArray[np.bool_]) -> Float32:
        """(n,) 1 at what is known to 0 far from it, NEAR_CELLS being near."""
        out = np.ones(len(known), np.float32)
        if known.any() and not known.all():
            away = KDTree(self.places[known]).query(self.places[~known])[0]
            out[~known] = np.exp(-((away / (NEAR_CELLS * self.cell)) ** 2))
        return out

    def _from(
        self, values: Float32, seen: npt.NDArray[np.intp], unseen: npt.NDArray[np.intp]
    ) -> Float32:
        """What `seen` rows say of `unseen` ones: of hair and skin apart, mixed by their share."""
        kinds = [seen[self.hair[seen] >= 0.5], seen[self.hair[seen] < 0.5]]
        shares = [self.hair[unseen], 1.0 - self.hair[unseen]]
        if not (len(kinds[0]) and len(kinds[1])):
            kinds, shares = [seen], [np.ones(len(unseen), np.float32)]
        out = np.zeros((len(unseen), values.shape[1]), np.float32)
        for rows, share in zip(kinds, shares, strict=True):
            wanted = np.flatnonzero(share > 0.0)
            found = spread_values(
                self.places[rows], values[rows], self.places[unseen[wanted]], self.cell
            )
            out[wanted] += share[wanted, None] * found
        return out


def atlas_surface(table: TexelTable) -> TexelSurface:
    """Without a head: neighbours in the atlas, region by region, all of it person."""
    places = np.stack([table.columns, table.rows], axis=1).astype(np.float32)
    n = len(places)
    return TexelSurface(places, table.regions, np.zeros(n, np.float32), 2.0, np.ones(n, np.float32))


def filled_picture(picture: Float32, known: Float32) -> Float32:
    """(H, W, C) where `known` (H, W) is 0, from around it; as it is where that is 1."""
    sure = known > 0.5
    if not sure.any() or sure.all():
        return picture
    places = np.moveaxis(np.indices(known.shape, np.float32), 0, -1)
    filled = picture.copy()
    filled[~sure] = spread_values(places[sure], picture[sure], places[~sure], 2.0)
    share = np.clip(known, 0.0, 1.0)[:, :, None]
    return (picture * share + filled * (1.0 - share)).astype(np.float32)


def spread_values(
    seen: npt.NDArray[np.floating],
    values: Float32,
    unseen: npt.NDArray[np.floating],
    cell: float,
) -> Float32:
    """(k, C) `values` known at places (k, D) -> (m, C) at other places (m, D). `cell` is the side
    of the finest cells, in the unit of the places. Raises ValueError when nothing is known."""
    if not len(seen):
        raise ValueError("spread_values: expected at least one known value, got none")
    count = len(seen)
    places = np.concatenate([seen, unseen]).astype(np.float64)
    out = np.tile(values.mean(0), (len(unseen), 1)).astype(np.float64)
    for level in reversed(range(LEVELS)):
        shares = _cell_shares(places, cell * 2.0**level)
        into = sparse.csr_array(shares[:count].T)
        weight = np.asarray(into.sum(axis=1)).ravel()
        held = np.flatnonzero(weight > 1e-6)
        every = np.asarray(shares.sum(axis=0)).ravel()[held]
        # How much of a cell is seen; cells grow fourfold in texels from level to level.
        sure = np.minimum(SATURATED ** (level + 1) * weight[held] / every, 1.0)
        mean = (into[held] @ values) * (sure / weight[held])[:, None]
        from_cells = sparse.csr_array(shares[count:][:, held])
        share = from_cells @ sure
        mixed = (from_cells @ mean) / np.maximum(share, 1e-9)[:, None]
        out = mixed * share[:, None] + out * (1.0 - share[:, None])
    return out.astype(np.float32)


def _cell_shares(places: Array, side: float) -> sparse.csr_array:
    """(n, cells) multilinear weights of each place at the corners of a grid; rows sum to 1."""
    n, dimensions = places.shape
    scaled = (places - places.min(0)) / side
    low = np.floor(scaled).astype(np.int64)
    inside = scaled - low
    size = low.max(0) + 2
    rows, columns, weights = [], [], []
    for corner in product((0, 1), repeat=dimensions):
        step = np.array(corner)
        rows.append(np.arange(n))
        columns.append(np.ravel_multi_index(tuple((low + step).T), tuple(size)))
        weights.append(np.where(step, inside, 1.0 - inside).prod(1))
    used, column = np.unique(np.concatenate(columns), return_inverse=True)
    index = (np.concatenate(rows), column)
    return sparse.csr_array((np.concatenate(weights), index), (n, len(used)))
