"""The linear basis in which the decoder says how the face's vertices move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avatar.head_mesh import HeadMesh
from avatar.training.expressions import named_weights

Float32 = npt.NDArray[np.float32]

SIZE = 64
"""Numbers between network and vertices."""
LIDS, LIPS = 6.0, 4.0
"""How much more an error counts where lids and lips must close than elsewhere."""


@dataclass(frozen=True, slots=True, eq=False)
class ShapeBasis:
    """Orthonormal where errors are weighted: equal coefficients' errors are equally visible."""

    vectors: Float32
    """(SIZE, M * 3) metres per coefficient."""
    to_coefficients: Float32
    """(M * 3, SIZE): offsets in metres times this are coefficients, about 1 mm RMS each."""

    @staticmethod
    def fit(offsets: Float32, importance: Float32, rng: np.random.Generator) -> ShapeBasis:
        """Weighted PCA without a mean, so that no expression gives the neutral face.

        `offsets` (N, M * 3) metres, `importance` (M,).
        """
        root = np.repeat(np.sqrt(importance), 3).astype(np.float32)
        # Millimetres RMS over the vertices, so that losses read well.
        scale = np.float32(1000.0 / np.sqrt(importance.sum()))
        x = offsets * (root * scale)
        # Subspace iteration: three passes are exact to the last visible digit at this decay.
        q = np.linalg.qr(x.T @ rng.standard_normal((len(x), 2 * SIZE)).astype(np.float32))[0]
        for _ in range(3):
            q = np.linalg.qr(x.T @ (x @ q))[0]
        _, _, turn = np.linalg.svd(x @ q, full_matrices=False)
        rows = (turn[:SIZE] @ q.T).astype(np.float32)
        vectors, back = rows / (root * scale), np.ascontiguousarray((rows * (root * scale)).T)
        return ShapeBasis(vectors.astype(np.float32), back.astype(np.float32))


def importance_of(head: HeadMesh, moving: npt.NDArray[np.intp]) -> Float32:
    """(M,) how much an error of each moving vertex counts: most where lids and lips close."""
    shapes = head.shapes[:, moving]

    def reach(names: tuple[str, ...], full_mm: float) -> Float32:
        weights = named_weights(dict.fromkeys(names, 1.0)) > 0
        moved = np.linalg.norm(shapes[weights], axis=-1).max(0) * 1000.0
        return np.clip(moved / full_mm, 0.0, 1.0).astype(np.float32)

    lids = reach(("eyeBlink", "eyeSquint"), 4.0)
    lips = reach(("mouthRollLower", "mouthRollUpper", "mouthPress"), 3.0)
    return (1.0 + LIDS * lids + LIPS * lips).astype(np.float32)
