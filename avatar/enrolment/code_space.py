"""The appearance code: which coefficients change together, in the order of what they matter.

A principal component analysis in the metric of the picture. Its covariance is half the sample's and
half the sample's tapered with the distance between nodes (localisation, Gaspari and Cohn 1999):
a few hundred frames say little about how far-apart places go together, and without the taper the
code could not hold a new combination of what mouth and brows do (2 to 3 dB in held-out frames).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from avatar.enrolment.texture_basis_fit import NODE_RIDGE, BasisFit

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

SAMPLE_SHARE = 0.5
TAPER_NODES = 2.0
"""Distance on the grid at which the taper has fallen to exp(-1/2)."""
JITTER = 1e-6
"""Of the Gram matrix' mean diagonal."""


@dataclass(frozen=True, slots=True, eq=False)
class CodeSpace:
    """A numbers, each of unit variance over the training frames."""

    rest: Array
    """(g * K,) average coefficients."""
    moves: Array
    """(A, g * K) what one unit of a number adds to the coefficients."""
    projection: Array
    """(A, g * K) from a frame's inner products to its code, before `offset` is subtracted."""
    offset: Array
    """(A,)."""
    view: Array
    """(3, g * K) what a unit of view direction adds; explains reflections."""
    view_codes: Array
    """(3, A) the same in terms of the code, which does not repeat it."""
    view_rest: Array
    """(3,)."""
    error: Array
    """(A,) mean squared error of the texture, in code values, that one unit makes."""

    @staticmethod
    def fit(
        basis: BasisFit,
        products: Float32,
        views: Float32,
        size: int,
        grid: int,
        on_face: npt.NDArray[np.bool_] | None = None,
    ) -> CodeSpace:
        """`products` (N, g * K): inner products of the training frames; `views` (N, 3) unit. Nodes
        on which fewer texels of the face than others depend do not change with the view (`on_face`
        (n,) of the texels; None: all are): a wire's glints change so much within a video's few
        degrees that from further aside it would go black."""
        coefficients = basis.coefficients(products)
        rest, view_rest = coefficients.mean(0), views.astype(np.float64).mean(0)
        view = _view_effect(views - view_rest, coefficients - rest)
        if on_face is not None:
            face, other = (
                np.asarray(basis.shares[np.flatnonzero(part)].sum(axis=0)).ravel()
                for part in (on_face, ~on_face)
            )
            view *= np.repeat(face >= other, basis.planes.shape[1])
        away = coefficients - rest - (views - view_rest) @ view
        planes = basis.planes.shape[1]
        count = 3.0 * len(basis.coarse)
        gram = basis.gram / count
        gram = gram + JITTER * np.trace(gram) / len(gram) * np.eye(len(gram))
        root = np.linalg.cholesky(gram)
        sample = away.T @ away / len(away)
        place = np.stack([basis.active // grid, basis.active % grid], axis=1).astype(np.float64)
        apart = ((place[:, None] - place[None]) ** 2).sum(2)
        taper = np.exp(-0.5 * apart / TAPER_NODES**2)
        taper = np.repeat(np.repeat(taper, planes, axis=0), planes, axis=1)
        covariance = sample * (SAMPLE_SHARE + (1 - SAMPLE_SHARE) * taper)
        size = min(size, len(gram))
        _, vectors = scipy.linalg.eigh(
            root.T @ covariance @ root, subset_by_index=[len(gram) - size, len(gram) - 1]
        )
        directions = vectors[:, ::-1].T
        scores = away @ root @ directions.T
        sigma = np.maximum(np.sqrt((scores**2).mean(0)), 1e-4)
        moves = scipy.linalg.solve_triangular(root, directions.T, lower=True, trans=1).T
        # Inner products -> coefficients (as BasisFit.coefficients) -> scores.
        ridge = NODE_RIDGE * np.trace(basis.gram) / len(gram)
        system = scipy.linalg.cho_factor(basis.gram + ridge * np.eye(len(gram)))
        projection = scipy.linalg.cho_solve(system, root @ directions.T).T / sigma[:, None]
        offset = (rest @ root @ directions.T) / sigma
        view_codes = view @ root @ directions.T / sigma
        return CodeSpace(
            rest, moves * sigma[:, None], projection, offset, view, view_codes, view_rest, sigma**2
        )

    def codes(self, products: Float32, views: Float32) -> Float32:
        """(N, g * K) and (N, 3) -> (N, A)."""
        shown = (views - self.view_rest) @ self.view_codes
        return (products @ self.projection.T - self.offset - shown).astype(np.float32)


VIEW_RIDGE = 0.02
"""Variance of view directions (unit vectors) that counts for nothing: about 8 degrees."""


def _view_effect(views: Array, coefficients: Array) -> Array:
    gram = views.T @ views / len(views) + VIEW_RIDGE * np.eye(3)
    effect = np.linalg.solve(gram, views.T @ coefficients / len(views))
    return effect.astype(np.float64)
