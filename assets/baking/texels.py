"""From the mesh to its texture: which point of the surface each texel shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Float = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Texels:
    """Surface points under the texels of one (square) atlas."""

    size: int
    face: npt.NDArray[np.int32]
    """(size, size) index of the face, -1 where there is none."""
    corners: npt.NDArray[np.int64]
    """(T, 3) vertex indices of the covered texels, in row order."""
    share: Float
    """(T, 3) barycentric coordinates."""

    @property
    def covered(self) -> npt.NDArray[Any]:
        """(size, size) True where a face lies."""
        return self.face >= 0

    @staticmethod
    def of(faces: npt.NDArray[Any], uv: Float, size: int) -> Texels:
        """Rasterise the faces in texture space; texel (x, y) is at ((x + .5) / size, ...)."""
        grid = np.full((size, size), -1, np.int32)
        share = np.zeros((size, size, 3), np.float32)
        points = uv.astype(np.float64) * size - 0.5
        for index, (a, b, c) in enumerate(points[faces]):
            low = np.maximum(np.ceil(np.minimum(np.minimum(a, b), c)).astype(int), 0)
            high = np.minimum(np.floor(np.maximum(np.maximum(a, b), c)).astype(int), size - 1)
            area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
            if (high < low).any() or abs(area) < 1e-12:
                continue
            x, y = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
            wb = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
            wc = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / area
            wa = 1.0 - wb - wc
            inside = (wa >= -1e-6) & (wb >= -1e-6) & (wc >= -1e-6)
            if inside.any():
                grid[y[inside], x[inside]] = index
                share[y[inside], x[inside]] = np.stack([wa, wb, wc], -1)[inside]
        covered = grid >= 0
        return Texels(size, grid, np.asarray(faces, np.int64)[grid[covered]], share[covered])

    def interpolate(self, values: npt.NDArray[Any]) -> Float:
        """Per-vertex values (V, ...) -> (T, ...) at the covered texels."""
        v = np.asarray(values, np.float32)
        shape = (len(self.corners), 3) + (1,) * (v.ndim - 1)
        return (v[self.corners] * self.share.reshape(shape)).sum(1)

    def image(self, values: npt.NDArray[Any], fill: float = 0.0) -> Float:
        """Per-vertex values (V, ...) -> (size, size, ...), `fill` where there is no face."""
        return self.picture(self.interpolate(values), fill)

    def picture(self, texel_values: Float, fill: float = 0.0) -> Float:
        """(T, ...) -> (size, size, ...)."""
        out = np.full((self.size, self.size, *texel_values.shape[1:]), fill, np.float32)
        out[self.covered] = texel_values
        return out


def bleed(picture: npt.NDArray[Any], covered: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give uncovered texels the value of the nearest covered one: filtering sees no edge."""
    _, labels = cv2.distanceTransformWithLabels(
        (~covered).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    labels = np.asarray(labels, np.int64)
    ys, xs = np.nonzero(covered)
    nearest = np.zeros(int(labels.max()) + 1, np.int64)
    nearest[labels[covered]] = np.arange(len(ys))
    source = nearest[labels]
    return picture[ys[source], xs[source]]
