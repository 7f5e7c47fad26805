"""The sum of a texture's planes on the CPU: for renderers without a shader for it, and for export.

It works at the planes' own size over the texels that any plane touches, and enlarges the sum. The
shader sums what it samples instead; the difference is that of interpolating a product and
multiplying interpolations, below 2 of 255 steps nearly everywhere (a test compares the two).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from streams.texture_basis import SRGB_FOOT, TextureBasis

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]


class LocalTexture:
    """Fast twin of `TextureBasis.picture`."""

    def __init__(self, basis: TextureBasis) -> None:
        self._basis = basis
        used = np.asarray(basis.planes.any(axis=(0, 3)))
        rows, columns = np.unique(np.nonzero(used)[0]), np.unique(np.nonzero(used)[1])
        self._window = (slice(0, 0), slice(0, 0))
        if len(rows):
            self._window = (
                slice(int(rows[0]), int(rows[-1]) + 1),
                slice(int(columns[0]), int(columns[-1]) + 1),
            )
        inside = basis.planes[:, self._window[0], self._window[1]].astype(np.float32)
        inside *= (basis.scale * np.float32(255.0))[:, None, None, None]
        # A picture a plane and channel, so that OpenCV's multiply-and-add runs over whole rows.
        self._planes = np.ascontiguousarray(inside.transpose(0, 3, 1, 2))
        self._mean = basis.mean.astype(np.float32)

    def picture(self, nodes: Float32, gain: Float32) -> UInt8:
        """As `TextureBasis.picture`."""
        basis = self._basis
        height, width = basis.mean.shape[:2]
        rows, columns = basis.planes.shape[1:3]
        field = np.zeros((rows, columns, 3), np.float32)
        if self._planes.size:
            sums = [np.zeros(self._planes.shape[2:], np.float32) for _ in range(3)]
            for k, plane in enumerate(self._planes):
                coarse = np.ascontiguousarray(nodes[:, :, k])
                wide = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_LINEAR)
                here = np.ascontiguousarray(wide[self._window])
                for channel, total in zip(plane, sums, strict=True):
                    cv2.accumulateProduct(here, channel, total)
            field[self._window] = cv2.merge(sums)
        field = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)
        if basis.space == "log":
            foot = np.float32(255.0 * SRGB_FOOT)
            grown = cv2.exp(field * np.float32(1.0 / (2.4 * 255.0)))
            code = (self._mean + foot) * grown - foot
        else:
            code = cv2.add(self._mean, field, dst=field)
        if not (gain == 1.0).all():
            code = cv2.multiply(code, np.append(gain.astype(np.float64), 1.0), dtype=cv2.CV_32F)
        # OpenCV rounds to nearest and saturates on the way to uint8.
        return np.asarray(cv2.add(code, np.zeros(4), dtype=cv2.CV_8U), np.uint8)
