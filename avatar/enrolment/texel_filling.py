"""Texels that no frame shows, in the colours of their surroundings.

Push and pull through a pyramid (Gortler, Grzeszczuk, Szeliski and Cohen 1996, "The lumigraph",
section 3.4.2): near what was seen as sharp as there, far from it ever smoother, with no streaks.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from avatar.unwrapping import TexelTable

Float32 = npt.NDArray[np.float32]

SMALLEST = 4
"""Texels on a side of the coarsest picture."""
SATURATED = 4.0
"""A coarse texel with a quarter of its area seen counts in full."""


def filled_texels(table: TexelTable, values: Float32, known: npt.NDArray[np.bool_]) -> Float32:
    """(n, C) values of the table's texels, those that are not `known` (n,) from the known ones
    around them in the atlas. Known values stay as they are; with none known, all of them do."""
    if not known.any() or known.all():
        return values
    rows, columns = table.rows, table.columns
    top, left = int(rows.min()), int(columns.min())
    size = (int(rows.max()) - top + 1, int(columns.max()) - left + 1)
    picture = np.zeros((*size, values.shape[1]), np.float32)
    weight = np.zeros(size, np.float32)
    at = (rows[known] - top, columns[known] - left)
    picture[at], weight[at] = values[known], 1.0
    smooth = _pulled(picture, weight)
    out = values.copy()
    out[~known] = smooth[rows[~known] - top, columns[~known] - left]
    return out


def filled_picture(picture: Float32, known: Float32) -> Float32:
    """(H, W, C) where `known` (H, W) is 0, from around it; as it is where that is 1."""
    return _pulled(picture, known)


def _pulled(picture: Float32, weight: Float32) -> Float32:
    """(H, W, C) whose texels are valid by `weight` (H, W) 0..1 -> (H, W, C) valid everywhere."""
    height, width = weight.shape
    if min(height, width) <= SMALLEST:
        total = float(weight.sum())
        mean = (picture * weight[:, :, None]).sum((0, 1)) / np.float32(max(total, 1e-9))
        below = np.broadcast_to(mean, picture.shape).astype(np.float32)
    else:
        less = np.asarray(cv2.pyrDown(weight), np.float32)
        sums = _each_channel(cv2.pyrDown, picture * weight[:, :, None])
        coarse = (sums / np.maximum(less, 1e-6)[:, :, None]).astype(np.float32)
        small = _pulled(coarse, np.minimum(less * SATURATED, 1.0).astype(np.float32))
        size = (width, height)
        below = _each_channel(lambda p: cv2.pyrUp(p, dstsize=size), small)
    share = weight[:, :, None]
    return (picture * share + below * (1.0 - share)).astype(np.float32)


def _each_channel(step: Callable[[Float32], object], picture: Float32) -> Float32:
    """OpenCV's pyramids take few channels at a time."""
    planes = [np.asarray(step(np.ascontiguousarray(picture[:, :, k])), np.float32)
              for k in range(picture.shape[2])]  # fmt: skip
    return np.stack(planes, axis=2)
