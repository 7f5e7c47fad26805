"""The planes of a person's texture and each frame's coefficients, by alternating least squares.

Given the coefficients on the nodes, each texel's planes are a small regression of its own; given
the planes, the coefficients of every frame solve one linear system with a common matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse as sparse
import torch

from avatar.enrolment.texel_filling import TexelSurface
from avatar.node_grid import node_count, node_shares
from avatar.personal_atlas import texel_strides
from avatar.unwrapping import TexelTable, texel_weight

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]

LEAST_SEEN = 0.003
"""Average visibility below which a texel does not take part."""
FILLED_BELOW = 0.01
"""And below which it takes mean and planes from those around it that are seen more."""
ALL_PERSON, MOSTLY_PERSON = 0.97, 0.9
UNSEEN = (60.0, 30.0, 30.0)
"""sRGB code values of a region that no frame shows (the mouth of someone who never opens it)."""
PLANE_RIDGE, NODE_RIDGE = 1e-3, 1e-4
LARGEST = 100.0
"""Code values that a texel changes by for one unit: more is noise where nodes hardly move, and
would leave all other texels no steps of their int8."""
CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Watch:
    """Who wants to see what is learned as it is learned."""

    row: int
    """Of the training frames."""
    show: Callable[[npt.NDArray[np.intp], Float32], None]
    """Takes (t,) texels and their (t, 3) colours in that frame, code values 0..255."""


@dataclass(frozen=True, slots=True)
class BasisOptions:
    """How rich a texture is."""

    grid: int = 16
    """Nodes on a side of the atlas; about a third of them lie on the face."""
    planes: int = 12
    rounds: int = 6
    stride: int = 2
    """Rounds look at every n-th texel of the face both ways; so does the encoder. In and about the
    mouth they look at twice as many, on scalp and ears at half as many (`texel_strides`): by that
    density errors count, and it is the mouth that people look at."""

    def __post_init__(self) -> None:
        if self.planes < 4 or self.planes % 4:
            raise ValueError(f"BasisOptions.planes: expected 4, 8, 12, ..., got {self.planes}")


@dataclass(frozen=True, slots=True, eq=False)
class BasisFit:
    """Over the n texels of a table; t of them are the coarse ones."""

    mean: Float32
    """(n, 3) code values 0..255 at gain 1."""
    planes: Float32
    """(n, K, 3) code values for one unit."""
    active: npt.NDArray[np.intp]
    """(g,) nodes of the grid."""
    shares: sparse.csr_array
    """(n, g) how much each node counts at each texel."""
    coarse: npt.NDArray[np.intp]
    """(t,) rows of the table."""
    gram: Array
    """(g * K, g * K) of the coarse texels' planes, for coefficients."""

    def differences(self, colours: UInt8, seen: UInt8, gains: Float32) -> Float32:
        """Frames (N, n, 3), (N, n) and gains (N, 3) -> (N, t, 3) weighted differences from the mean
        at the coarse texels."""
        weight = texel_weight(seen[:, self.coarse])
        even = colours[:, self.coarse].astype(np.float32) / gains[:, None]
        return (even - self.mean[self.coarse]) * weight[:, :, None]

    def inner_products(self, differences: Float32) -> Float32:
        """(N, t, 3) -> (N, g * K): what the encoder's matrix is applied to."""
        return inner_products(differences, self.shares[self.coarse], self.planes[self.coarse])

    def coefficients(self, products: Float32) -> Array:
        """(N, g * K) -> (N, g * K)."""
        ridge = NODE_RIDGE * np.trace(self.gram) / len(self.gram)
        factor = scipy.linalg.cho_factor(self.gram + ridge * np.eye(len(self.gram)))
        return scipy.linalg.cho_solve(factor, products.T.astype(np.float64)).T


def fit_basis(
    table: TexelTable,
    colours: UInt8,
    seen: UInt8,
    gains: Float32,
    options: BasisOptions,
    surface: TexelSurface,
    progress: Callable[[float], None] = lambda _share: None,
    watch: Watch | None = None,
) -> BasisFit:
    """`colours` (N, n, 3), `seen` (N, n) uint8, `gains` (N, 3): the training frames' textures
    on a `surface`: texels that often show background (a matte below ALL_PERSON) say nothing of the
    code, because the encoder knows no background. `watch` is shown every round."""
    shares = node_shares(table, options.grid)
    active = np.flatnonzero(np.asarray(shares.sum(axis=0)).ravel() > 0.5)
    shares = sparse.csr_array(shares[:, active])
    mean, visible = weighted_mean(colours, seen, gains)
    strides = texel_strides(table, options.stride)
    coarse = coarse_rows(table, strides, np.where(surface.matte > ALL_PERSON, visible, 0.0))
    few = sparse.csr_array(shares[coarse])
    weight = texel_weight(seen[:, coarse])
    differences = colours[:, coarse].astype(np.float32) / gains[:, None] - mean[coarse]
    differences *= weight[:, :, None]
    nodes = _global_start(differences, options.planes, len(active))
    planes = np.zeros((len(coarse), options.planes, 3), np.float32)
    gram = np.zeros((0, 0))
    for turn in range(options.rounds):
        planes = _solve_planes(differences, few, nodes)
        gram = _gram(few, planes)
        ridge = NODE_RIDGE * np.trace(gram) / len(gram)
        factor = scipy.linalg.cho_factor(gram + ridge * np.eye(len(gram)))
        products = inner_products(differences, few, planes)
        solved = scipy.linalg.cho_solve(factor, products.T.astype(np.float64)).T
        nodes = solved.reshape(len(nodes), len(active), -1).astype(np.float32)
        progress((turn + 1) / (options.rounds + 2))
        if watch is not None:
            level = (few @ nodes[watch.row])[:, :, None]
            watch.show(coarse, ((planes * level).sum(1) + mean[coarse]) * gains[watch.row])
    del differences, weight
    every = np.zeros((len(table.rows), options.planes, 3), np.float32)
    rows = np.flatnonzero(visible > LEAST_SEEN)
    for start in range(0, len(rows), CHUNK):
        some = rows[start : start + CHUNK]
        part = colours[:, some].astype(np.float32) / gains[:, None] - mean[some]
        part *= texel_weight(seen[:, some])[:, :, None]
        every[some] = _solve_planes(part, sparse.csr_array(shares[some]), nodes)
    # At the outline of the hair a texel's own colour is half the room's: it takes its neighbours'.
    known = np.where(surface.matte > MOSTLY_PERSON, visible, 0.0) > FILLED_BELOW
    both = np.concatenate([mean[:, None], every], axis=1).reshape(len(mean), -1)
    filled = surface.filled(both, known, (*UNSEEN, *[0.0] * (3 * options.planes)))
    mean, every = np.split(filled.reshape(len(mean), -1, 3), [1], axis=1)
    # Far from all that was seen nothing is known of how it changes.
    mean, every = np.ascontiguousarray(mean[:, 0]), every * surface.nearness(known)[:, None, None]
    gram = _gram(few, every[coarse])
    progress(1.0)
    return BasisFit(mean, every, active, shares, coarse, gram)


def weighted_mean(colours: UInt8, seen: UInt8, gains: Float32) -> tuple[Float32, Float32]:
    """(n, 3) average colour at gain 1 and (n,) average weight."""
    n = colours.shape[1]
    mean, visible = np.empty((n, 3), np.float32), np.empty(n, np.float32)
    for start in range(0, n, CHUNK):
        part = slice(start, start + CHUNK)
        weight = texel_weight(seen[:, part])
        total = (colours[:, part] / gains[:, None] * weight[:, :, None]).sum(0)
        mean[part] = total / np.maximum(weight.sum(0), 1e-3)[:, None]
        visible[part] = weight.mean(0)
    return mean, visible


def coarse_rows(
    table: TexelTable, strides: npt.NDArray[np.intp], visible: npt.NDArray[np.floating]
) -> npt.NDArray[np.intp]:
    """Rows of every n-th texel both ways that is seen at all; `strides` (rows,) says n for each."""
    on_grid = (table.rows % strides == 0) & (table.columns % strides == 0)
    return np.flatnonzero(on_grid & (visible > LEAST_SEEN))


def inner_products(differences: Float32, shares: sparse.csr_array, planes: Float32) -> Float32:
    """(N, t, 3), (t, g), (t, K, 3) -> (N, g * K)."""
    count, _, _ = differences.shape
    size = planes.shape[1]
    out = np.empty((count, node_count(shares), size), np.float32)
    across = sparse.csr_array(shares.T)
    for start in range(0, count, 64):
        part = differences[start : start + 64]
        for k in range(size):
            along = np.einsum("ntc,tc->tn", part, planes[:, k])
            out[start : start + 64, :, k] = (across @ along).T
    return out.reshape(count, -1)


def _global_start(differences: Float32, size: int, nodes: int) -> Float32:
    """(N, nodes, K): the scores of a PCA of whole textures at every node, of unit RMS."""
    flat = differences.reshape(len(differences), -1)
    _, vectors = np.linalg.eigh((flat @ flat.T).astype(np.float64))
    scores = np.zeros((len(flat), size), np.float32)
    count = min(size, len(flat))
    scores[:, :count] = vectors[:, ::-1][:, :count] * np.sqrt(len(flat))
    return np.repeat(scores[:, None], nodes, axis=1)


def _solve_planes(differences: Float32, shares: sparse.csr_array, nodes: Float32) -> Float32:
    """(N, t, 3), (t, g), (N, g, K) -> (t, K, 3)."""
    count, texels, _ = differences.shape
    size = nodes.shape[2]
    stacked = np.ascontiguousarray(nodes.transpose(1, 0, 2)).reshape(nodes.shape[1], -1)
    out = np.empty((texels, size, 3), np.float32)
    # Where no coarse texel lies, nodes hardly move: the ridge there is that of all others.
    usual = float(count * np.mean(nodes**2))
    for start in range(0, texels, CHUNK):
        part = slice(start, start + CHUNK)
        c = torch.from_numpy((shares[part] @ stacked).reshape(-1, count, size))
        e = torch.from_numpy(np.ascontiguousarray(differences[:, part].transpose(1, 0, 2)))
        gram = c.mT @ c
        ridge = PLANE_RIDGE * gram.diagonal(dim1=1, dim2=2).mean(1).clamp(min=usual) + 1e-6
        gram = gram + ridge[:, None, None] * torch.eye(size)
        out[part] = torch.linalg.solve(gram, c.mT @ e).clamp(-LARGEST, LARGEST).numpy()
    return out


def _gram(shares: sparse.csr_array, planes: Float32) -> Array:
    """(g * K, g * K): the planes' inner products through the nodes' shares."""
    size, nodes = planes.shape[1], node_count(shares)
    out = np.zeros((nodes, size, nodes, size))
    across = sparse.csr_array(shares.T)
    for k in range(size):
        for m in range(k, size):
            together = (planes[:, k] * planes[:, m]).sum(1)
            block = (across @ shares.multiply(together[:, None]).tocsr()).toarray()
            out[:, k, :, m] = block
            out[:, m, :, k] = block.T
    return out.reshape(nodes * size, nodes * size)
