"""Fitting the local texture basis in closed form: alternating least squares.

Given the coefficients on the nodes, each texel's basis is a small regression of its own; given the
basis, each picture's coefficients are one linear system, the same matrix for all pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse as sparse

from avatar.decoder import CHART
from avatar.local_basis import GRID, interpolate_nodes

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

NODES = GRID * GRID
RIDGE = 1e-3
"""Relative to the mean of the diagonal: keeps nodes at rest where no texel depends on them."""
CHUNK = 4096
"""Texels at a time, to bound memory."""


@dataclass(frozen=True, slots=True, eq=False)
class ColourBasis:
    """The basis, and what turns the network's numbers into coefficients on the nodes."""

    basis: Float32
    """(T, K, 3) over the texels of the mask."""
    mean: Float32
    """(NODES * K,) coefficients of the average picture."""
    expand: Float32
    """(R, NODES * K): each row one way in which the coefficients change together. Orthonormal as
    pictures: the error of R numbers is the RMS error of the field."""
    numbers: Float32
    """(N, R): the training pictures in these terms."""


def fit_colour_basis(
    fields: npt.NDArray[np.float16], mask: npt.NDArray[np.bool_], size: int, rank: int, rounds: int
) -> ColourBasis:
    """`fields` (N, T, 3) log factors on the mask's texels; K = `size`, R = at most `rank`."""
    weights = node_weights(mask)
    coarse = _coarse_rows(mask)
    few = np.ascontiguousarray(fields[:, coarse].astype(np.float32))
    few_weights = weights[coarse]
    nodes = np.repeat(_principal(few, size)[:, None], NODES, axis=1)
    for _ in range(rounds):
        basis = _solve_basis(few, few_weights, nodes)
        nodes = _solve_nodes(few, few_weights, basis)[0]
    basis = _solve_basis(fields, weights, nodes)
    nodes, gram = _solve_nodes(fields, weights, basis)
    flat = nodes.reshape(len(nodes), -1)
    mean = flat.mean(0)
    root = scipy.linalg.cholesky(gram / (3.0 * len(basis)), lower=True)
    u, s, v = np.linalg.svd((flat - mean) @ root, full_matrices=False)
    keep = min(rank, len(s))
    expand = scipy.linalg.solve_triangular(root, v[:keep].T, lower=True, trans=1).T
    return ColourBasis(
        basis, mean.astype(np.float32), expand.astype(np.float32),
        (u[:, :keep] * s[:keep]).astype(np.float32),
    )  # fmt: skip


def node_weights(mask: npt.NDArray[np.bool_]) -> sparse.csr_array:
    """(T, NODES): how much each node counts at each texel; exactly what the decoder does."""
    unit = np.eye(NODES, dtype=np.float32).reshape(GRID, GRID, NODES)
    columns = [
        interpolate_nodes(np.ascontiguousarray(unit[..., k : k + 4]), CHART)[mask]
        for k in range(0, NODES, 4)
    ]
    return sparse.csr_array(np.concatenate(columns, axis=1))


def _coarse_rows(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Every other texel both ways: enough to find the coefficients."""
    index = np.full(mask.shape, -1, np.int64)
    index[mask] = np.arange(int(mask.sum()))
    sparse_index = index[::2, ::2]
    return sparse_index[sparse_index >= 0]


def _principal(fields: Float32, size: int) -> Array:
    """(N, K) scores of a global PCA, each of unit RMS: where the alternation starts."""
    flat = fields.reshape(len(fields), -1)
    values, vectors = np.linalg.eigh((flat @ flat.T).astype(np.float64))
    count = min(size, len(values))
    scores = np.zeros((len(fields), size))
    scores[:, :count] = vectors[:, ::-1][:, :count] * np.sqrt(len(fields))
    return scores


def _solve_basis(
    fields: npt.NDArray[np.floating], weights: sparse.csr_array, nodes: Array
) -> Float32:
    """Fields (N, T, 3), nodes (N, NODES, K) -> basis (T, K, 3)."""
    count, _, k = nodes.shape
    stacked = nodes.transpose(1, 0, 2).reshape(NODES, -1).astype(np.float32)
    out = np.empty((fields.shape[1], k, 3), np.float32)
    for start in range(0, fields.shape[1], CHUNK):
        rows = slice(start, start + CHUNK)
        c = (weights[rows] @ stacked).reshape(-1, count, k)
        f = np.ascontiguousarray(fields[:, rows].astype(np.float32).transpose(1, 0, 2))
        gram = c.transpose(0, 2, 1) @ c
        ridge = RIDGE * np.trace(gram, axis1=1, axis2=2)[:, None, None] / k + 1e-9
        gram = gram + ridge * np.eye(k, dtype=np.float32)
        out[rows] = np.linalg.solve(gram, c.transpose(0, 2, 1) @ f)
    return out


def _solve_nodes(
    fields: npt.NDArray[np.floating], weights: sparse.csr_array, basis: Float32
) -> tuple[Array, Array]:
    """Fields (N, T, 3), basis (T, K, 3) -> nodes (N, NODES, K) and the system's matrix."""
    k = basis.shape[1]
    gram = np.zeros((NODES, k, NODES, k))
    transposed = sparse.csr_array(weights.T)
    for a in range(k):
        for b in range(a + 1):
            product = (basis[:, a] * basis[:, b]).sum(1)
            block = (transposed @ (weights * product[:, None])).toarray()
            gram[:, a, :, b] = block
            gram[:, b, :, a] = block
    gram = gram.reshape(NODES * k, NODES * k)
    gram += np.eye(len(gram)) * (RIDGE * np.trace(gram) / len(gram))
    right = np.zeros((len(fields), NODES, k))
    for n in range(len(fields)):
        along = np.einsum("tkc,tc->tk", basis, fields[n].astype(np.float32))
        right[n] = transposed @ along
    nodes = scipy.linalg.solve(gram, right.reshape(len(fields), -1).T, assume_a="pos").T
    return nodes.reshape(len(fields), NODES, k), gram


def basis_picture(
    basis: Float32, mask: npt.NDArray[np.bool_]
) -> tuple[Float32, tuple[int, int, int, int]]:
    """(T, K, 3) on the mask -> (K, h, w, 3) on its bounding rectangle x, y, w, h."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    picture = np.zeros((*mask.shape, *basis.shape[1:]), np.float32)
    picture[mask] = basis
    return picture[y : y + h, x : x + w].transpose(2, 0, 1, 3), (x, y, w, h)
