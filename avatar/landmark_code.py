"""A face's geometry numbers: the share that its landmarks have in a person's ways to move."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]


def landmark_code(
    landmarks: npt.NDArray[np.floating],
    rest: npt.NDArray[np.floating],
    moves: npt.NDArray[np.floating],
) -> tuple[Float32, Array]:
    """(..., 478, 3) metres, head frame -> geometry (..., P) and the RMS (...) in mm of what it
    leaves out. `rest` (468, 3) and `moves` (P, 468 * 3), rows orthogonal, as PersonalModel's."""
    moved = (landmarks[..., : len(rest), :] - rest).reshape(*landmarks.shape[:-2], -1)
    norm = np.maximum((moves**2).sum(1), 1e-20)
    code = (moved @ moves.T) / norm
    left = moved - code @ moves
    rms = np.sqrt((left**2).sum(-1) / len(rest))
    return code.astype(np.float32), np.asarray(1e3 * rms, np.float64)
