"""Whether landmarks can be those of the person whom a model was learned from.

Landmarks say whose face it is only roughly: of six people measured, the same one moves by up to
1.6 mm RMS, and the two most alike are 1.2 mm apart. A stranger's are both far out in the model's
numbers and not wholly held by them; an own expression that was never learned has one or the other.
So the two are multiplied, held against what the person's own unlearned moments have, and several
moments decide.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

TIMES_USUAL = 1.6
"""Of the median of the person's own held-out moments: from there on a moment speaks against it."""
LEAST_LIMIT, MOST_LIMIT = 0.9, 2.0
"""Millimetres times standard deviations. Own medians were 0.4 to 1.5, strangers' 0.8 to 33."""
ALONE = 2.5
"""A moment that has to decide alone is given so many times the limit."""


def landmark_code(
    landmarks: Float32, rest: npt.NDArray[np.floating], moves: npt.NDArray[np.floating]
) -> tuple[Float32, float]:
    """(478, 3) metres, head frame -> geometry (P,) and the RMS in mm of what it leaves out. `rest`
    (468, 3) and `moves` (P, 468 * 3), rows orthogonal, as PersonalModel's."""
    moved = (landmarks[: len(rest)] - rest).ravel()
    norm = np.maximum((moves**2).sum(1), 1e-20)
    code = (moves @ moved) / norm
    left = moved - code @ moves
    rms = float(np.sqrt((left**2).sum() / len(rest)))
    return code.astype(np.float32), 1e3 * rms


def strangeness(geometry: Float32, left_out_mm: float) -> float:
    """RMS of the numbers (standard deviations) times what they leave out (millimetres)."""
    return float(np.sqrt((geometry.astype(np.float64) ** 2).mean())) * left_out_mm


def limit_of(usual: float, alone: bool) -> float:
    """Below which a moment speaks for the person. `usual`: the median of own unlearned moments."""
    limit = float(np.clip(TIMES_USUAL * usual, LEAST_LIMIT, MOST_LIMIT))
    return ALONE * limit if alone else limit
