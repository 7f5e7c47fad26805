"""Frames that differ so little from the last one that a new picture would be wasted.

The stochastic similarity filter of Kodaira et al. (2023), "StreamDiffusion", section 3.4: a frame
is skipped with probability max(0, (s - eta) / (1 - eta)), s being the cosine similarity to the last
frame that was not skipped. Chance instead of a threshold keeps a slow movement from freezing.
"""

from __future__ import annotations

import random

import cv2
import numpy as np
import numpy.typing as npt

_SIDE = 64


class SimilarFrames:
    """Decides frame by frame; the same seed and frames give the same decisions."""

    def __init__(self, eta: float = 0.98, most_skipped: int = 10, seed: int = 0) -> None:
        """At most `most_skipped` frames in a row are skipped."""
        if not 0.0 <= eta < 1.0:
            raise ValueError(f"SimilarFrames.eta: expected 0 to below 1, got {eta}")
        self.eta, self.most_skipped = eta, most_skipped
        self._chance = random.Random(seed)
        self._last: npt.NDArray[np.float32] | None = None
        self._skipped = 0

    def skips(self, frame: npt.NDArray[np.uint8]) -> bool:
        """Whether to show the last picture again for this (H, W, 3) uint8 frame."""
        small = cv2.resize(frame, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        now = small.astype(np.float32).ravel()
        if self._last is None:
            self._last = now
            return False
        norms = float(np.linalg.norm(now) * np.linalg.norm(self._last))
        likeness = 1.0 if norms == 0.0 else float(now @ self._last) / norms
        share = max(0.0, (likeness - self.eta) / (1.0 - self.eta))
        if self._skipped < self.most_skipped and self._chance.random() < share:
            self._skipped += 1
            return True
        self._last, self._skipped = now, 0
        return False
