"""How an avatar comes along while it is learned: a moment of the video beside what is known."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

MARGIN = 0.35
"""Of the head's size, about it."""
DIMMED = 0.25
"""What the avatar does not cover is shown so dark."""


@dataclass(frozen=True, slots=True, eq=False)
class LearningPicture:
    """One moment, and where the texels of the head lie in it."""

    row: int
    """Of the frames that are learned from."""
    rgb: UInt8
    """(H, W, 3) sRGB."""
    places: Float32
    """(n, 2) pixels of the texels."""
    seen: Float32
    """(n,) 0..1."""

    def beside(self, texels: npt.NDArray[np.integer], colours: Float32) -> UInt8:
        """(h, 2 w, 3): the moment about the head, and the `colours` (t, 3), code values 0..255, of
        some texels laid where those texels are seen."""
        corner, rgb = self._about_head()
        height, width = rgb.shape[:2]
        weight = self.seen[texels]
        at = np.rint(self.places[texels]).astype(np.intp) - corner
        inside = (weight > 0.0) & (at >= 0).all(1) & (at < (width, height)).all(1)
        at, weight, shown = at[inside], weight[inside], colours[inside]
        pixel = at[:, 1] * width + at[:, 0]
        layers = [
            np.bincount(pixel, weight * layer, height * width)
            for layer in (*shown.T, np.ones_like(weight))
        ]
        summed = np.stack(layers, axis=1).reshape(height, width, 4).astype(np.float32)
        # Texels lie unevenly, some farther apart than pixels: each pixel takes the mean of the
        # texels next to it, and of those about it where there are none.
        gap = self._gap(len(shown), at)
        wide = np.asarray(cv2.GaussianBlur(summed, (0, 0), 3.0 * gap))
        spread = np.asarray(cv2.GaussianBlur(summed, (0, 0), gap)) + 0.02 * wide
        filled = spread[:, :, :3] / np.maximum(spread[:, :, 3:], 1e-6)
        cover = wide[:, :, 3:]
        usual = float(np.median(cover.reshape(-1)[pixel])) if len(pixel) else 1.0
        known = np.clip(20.0 * cover / max(usual, 1e-6) - 0.5, 0.0, 1.0)
        ours = filled * known + DIMMED * rgb * (1.0 - known)
        right = np.clip(np.rint(ours), 0, 255).astype(np.uint8)
        return np.concatenate([rgb, right], axis=1)

    def _about_head(self) -> tuple[npt.NDArray[np.intp], UInt8]:
        """The upper left corner (x, y) of the part of the picture that shows the head, and it."""
        size = np.array(self.rgb.shape[1::-1])
        seen = self.places[self.seen > 0.5]
        if not len(seen):
            return np.zeros(2, np.intp), self.rgb
        low, high = np.percentile(seen, [0.5, 99.5], axis=0)
        reach = MARGIN * float((high - low).max())
        low = np.clip(np.floor(low - reach), 0, size - 1).astype(np.intp)
        high = np.clip(np.ceil(high + reach), low + 1, size).astype(np.intp)
        return low, np.ascontiguousarray(self.rgb[low[1] : high[1], low[0] : high[0]])

    def _gap(self, count: int, at: npt.NDArray[np.intp]) -> float:
        """Pixels from texel to texel."""
        if count < 2:
            return 1.0
        area = float(np.prod(np.ptp(np.percentile(at, [5, 95], axis=0), axis=0)))
        return max(0.7, 0.8 * float(np.sqrt(area / count)))
