"""Where the glasses are in a picture: the average of what is seen through them is laid over it.

What is rigid keeps its place in a front before the eyes while lids, brows and cheeks move, so a
picture is registered by its lines there: Gauss and Newton's method on the displacement of the whole
(Lucas and Kanade 1981), from coarse to fine, with Huber's weights, because what is behind the
glasses changes, and held near a guess, because wires say little along themselves.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from avatar.spectacles import HEIGHT, NUMBERS, TEXEL_M, WIDTH, Spectacles, front_points
from avatar.unwrapping import pixels_of
from streams.camera import Camera
from streams.rigid import Rigid

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]

BLURS = (3.0, 1.5, 0.7)
"""Texels, from coarse to fine."""
TURNS = 5
"""Steps at each blur."""
SETTLED = 0.03
"""Texels; a smaller step is the last one."""
ARM = 60.0
"""Texels at which a turn, a stretch or a shear of 1 moves by 1 times ARM; so all are in texels."""
MOTIONS = NUMBERS + 2
"""Shift along columns and rows, turn, size, stretch of columns against rows, shear."""
HELD = np.array([3.0, 3.0, 2.5, 1.5, 1.0, 1.0])
"""Texels; how far each is expected from where it is looked for."""
TRUST = 0.004
"""How much a texel of full contrast counts against one unit of HELD."""
MOST_TEXELS = 2500
"""Are compared; of more, every n-th."""
LEAST_CORRELATION = 0.4
LINES, SMOOTH = 5.0, 0.6
"""Deviations in texels: what is broader than the one or finer than the other does not count."""
LARGEST = 25.0
"""Code values; stronger lines (of hair before a bright wall) count as that."""
MIDDLE = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])


class LineRegistration:
    """Lays pictures' lines over those of an average."""

    def __init__(self, average: Float32, mask: UInt8) -> None:
        """`average` (HEIGHT, WIDTH) of `lines_of`; where `mask` is 0 nothing counts."""
        rows, columns = np.nonzero(mask)
        step = -(-len(rows) // MOST_TEXELS)
        rows, columns = rows[::step], columns[::step]
        self._at = np.stack([columns, rows], axis=1).astype(np.float32)
        self._wanted = [_blurred(average, blur)[rows, columns] for blur in BLURS]
        x, y = ((self._at - MIDDLE) / ARM).T
        zero, one = np.zeros_like(x), np.ones_like(x)
        self._fields = np.stack(
            [np.stack([one, zero, -y, x, x, y], axis=1), np.stack([zero, one, x, y, -y, x], axis=1)]
        ).astype(np.float32)

    def lay(self, lines: Float32, start: Array, free: int = NUMBERS) -> tuple[Array, float]:
        """(MOTIONS,) texels by which `lines` (HEIGHT, WIDTH) is off the average, sought from
        `start`, and the correlation there. Only the first `free` motions are sought."""
        found = start.astype(np.float64).copy()
        shown = wanted = np.zeros(0, np.float32)
        for blur, wanted in zip(BLURS, self._wanted, strict=True):
            picture = _blurred(lines, blur)
            slopes = [_slope(picture, axis) for axis in (0, 1)]
            for _ in range(TURNS):
                x, y = self._places(found)
                shown, gx, gy = (_looked_up(p, x, y) for p in (picture, *slopes))
                gain = np.clip(shown @ wanted / max(float(wanted @ wanted), 1e-6), 0.3, 2.0)
                off = gain * wanted - shown
                scale = max(float(np.median(np.abs(off))), 0.5)
                weight = np.minimum(1.0, 1.5 * scale / np.maximum(np.abs(off), 1e-6))
                change = self._fields[0, :, :free] * gx[:, None]
                change += self._fields[1, :, :free] * gy[:, None]
                weighed = change * (weight * TRUST / scale**2)[:, None]
                system = (weighed.T @ change).astype(np.float64) + np.diag(1.0 / HELD[:free] ** 2)
                away = (found[:free] - start[:free]) / HELD[:free] ** 2
                step = np.linalg.solve(system, weighed.T @ off - away)
                length = float(np.abs(step).max())
                found[:free] += step * min(1.0, 2.0 / max(length, 1e-9))
                if length < SETTLED:
                    break
        x, y = self._places(found)
        shown = _looked_up(_blurred(lines, BLURS[-1]), x, y)
        both = float(np.linalg.norm(shown) * np.linalg.norm(wanted))
        return found, float(shown @ wanted) / max(both, 1e-6)

    def _places(self, motion: Array) -> tuple[Float32, Float32]:
        moved = self._fields @ motion.astype(np.float32)
        return self._at[:, 0] + moved[0], self._at[:, 1] + moved[1]


class SpectacleSight:
    """Of one pair."""

    def __init__(self, spectacles: Spectacles, opacity: Float32) -> None:
        """`opacity` (HEIGHT, WIDTH) 0..1 of the front."""
        self._spectacles = spectacles
        self._points = front_points(spectacles.depth).reshape(-1, 3)
        wide = cv2.dilate((opacity > 0.3).astype(np.uint8), np.ones((7, 7), np.uint8))
        mask = within_face(np.asarray(wide, np.uint8))
        grey = grey_of(spectacles.average)
        self._registration = LineRegistration(lines_of(grey), mask) if mask.any() else None

    def find(
        self, rgb: UInt8, camera: Camera, world_from_head: Rigid, guess: Float32
    ) -> tuple[Float32, bool]:
        """(NUMBERS,) of the glasses in a picture, looked for about `guess` (NUMBERS,), and whether
        they were found; the guess when they were not."""
        if self._registration is None:
            return guess, False
        spectacles = self._spectacles
        start = guess * spectacles.unit
        points = self._points + spectacles.shift(self._points, start)
        picture = front_view(rgb, camera, world_from_head, points)
        lines = lines_of(grey_of(picture))
        motion, found = self._registration.lay(lines, np.zeros(MOTIONS))
        if found < LEAST_CORRELATION:
            return guess, False
        return ((start + similarity_of(motion)) / spectacles.unit).astype(np.float32), True


def within_face(mask: UInt8) -> UInt8:
    """(HEIGHT, WIDTH) without its sides, where hair and the background show."""
    out, side = mask.copy(), WIDTH // 10
    out[:, :side], out[:, -side:] = 0, 0
    return out


def front_view(rgb: UInt8, camera: Camera, world_from_head: Rigid, points: Float32) -> UInt8:
    """(HEIGHT, WIDTH, 3): what a picture shows at the front's texels (HEIGHT * WIDTH, 3) metres,
    head frame."""
    at = pixels_of(camera, world_from_head, points).reshape(HEIGHT, WIDTH, 2)
    x, y = np.ascontiguousarray(at[..., 0]), np.ascontiguousarray(at[..., 1])
    found = cv2.remap(rgb, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.uint8)


def grey_of(rgb: UInt8) -> UInt8:
    """(H, W, 3) -> (H, W)."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def lines_of(grey: UInt8) -> Float32:
    """(HEIGHT, WIDTH) float32: lines and edges alone."""
    values = grey.astype(np.float32)
    fine = _blurred(values, SMOOTH) - _blurred(values, LINES)
    return np.clip(fine, -LARGEST, LARGEST)


def warp_of(motion: Array) -> Float32:
    """(MOTIONS,) texels -> (2, 3) from places of the average to those of the picture."""
    turn, size, stretch, shear = motion[2:] / ARM
    slopes = np.array([[1.0 + size + stretch, shear - turn], [shear + turn, 1.0 + size - stretch]])
    return np.column_stack([slopes, MIDDLE + motion[:2] - slopes @ MIDDLE]).astype(np.float32)


def similarity_of(motion: Array) -> Array:
    """(..., MOTIONS) texels -> (..., NUMBERS): metres to x and y, radians, part of the size."""
    # Rows count downwards, so y and turns have the other sense there.
    return motion[..., :NUMBERS] * (TEXEL_M, -TEXEL_M, -1.0 / ARM, 1.0 / ARM)


def _blurred(picture: Float32, deviation: float) -> Float32:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), deviation), np.float32)


def _slope(picture: Float32, axis: int) -> Float32:
    """Of columns (0) or rows (1), a texel."""
    by = (1, 0) if axis == 0 else (0, 1)
    return np.asarray(cv2.Sobel(picture, cv2.CV_32F, *by, ksize=3, scale=0.125), np.float32)


def _looked_up(picture: Float32, x: Float32, y: Float32) -> Float32:
    # Both halves of the front's texels fit into one row of cv2.remap's 32767.
    found = cv2.remap(picture, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32)[0]
