"""Glasses in a video: whether they are worn, how they look, and how deep they sit.

Every frame is seen through a front before the eyes (`avatar.spectacles`) and registered to the
average of them all (`avatar.spectacle_sight`), which so becomes sharp where glasses are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import gaussian_filter

from avatar.enrolment.observations import Observations
from avatar.enrolment.spectacle_rims import HINGE_M, Rims, find_rims
from avatar.landmark_map import IRISES
from avatar.spectacle_sight import (
    ARM,
    LEAST_CORRELATION,
    MOTIONS,
    LineRegistration,
    front_view,
    grey_of,
    lines_of,
    similarity_of,
    warp_of,
    within_face,
)
from avatar.spectacles import (
    BOTTOM_M,
    HEIGHT,
    NUMBERS,
    REACH_M,
    STATIONS,
    TOP_M,
    WIDTH,
    Spectacles,
    front_grid,
    front_points,
)
from streams.frame import Frame

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]
Frames = Callable[[], Iterator[tuple[int, Frame]]]
"""Gives the same (row of the observations, frame) every time it is called."""

LENS_M, WRAP, TILT = 0.026, 2.0, 0.1
"""Depth of lenses before the middle of the eyes (a cornea at 13 mm and a vertex distance of 13 mm),
by how much a front recedes towards the temples (metres a square metre), and how much further from
the face it is at the brows than at the cheeks (metres a metre)."""
DEEPEST_M, STEEPEST = 0.008, 0.3
"""How far depth and slopes may be corrected by parallax."""
PARALLAX_RIDGE = 0.02
"""Variance of the view's slope that counts for nothing."""
OVER_SKIN_M = 0.0025
"""No part of a front lies nearer to the resting skin."""
EYE_M = (0.019, 0.010)
"""Half axes of what lids and gaze move: it says nothing of where glasses are."""
RIM_REACH_M = 0.0025
ROUGH_ROUNDS, FINE_ROUNDS = 3, 2
LEAST_FRAMES = 12
EAR_M, BEYOND_EAR_M = -0.08, 0.006
"""z of where an ear carries a temple, and how much longer that is."""
LEAST_UNIT = np.array([2e-4, 2e-4, 2e-3, 2e-3])


@dataclass(frozen=True, slots=True, eq=False)
class FrontViews:
    """What some frames show through a front."""

    rows: npt.NDArray[np.intp]
    """(N,) of the observations."""
    pictures: UInt8
    """(N, HEIGHT, WIDTH, 3) sRGB."""

    def lines(self) -> Float32:
        """(N, HEIGHT, WIDTH)."""
        return np.stack([lines_of(grey_of(p)) for p in self.pictures])


@dataclass(frozen=True, slots=True, eq=False)
class Registered:
    """Where the glasses are in each of some frames."""

    motions: Array
    """(N, MOTIONS) texels by which the frame's picture is off the average."""
    good: npt.NDArray[np.bool_]
    """(N,)."""

    def centred(self) -> Registered:
        """Against an average that lies where the glasses are in the median."""
        return Registered(self.motions - np.median(self.motions[self.good], axis=0), self.good)


@dataclass(frozen=True, slots=True, eq=False)
class FoundSpectacles:
    """A pair in a video."""

    spectacles: Spectacles
    rims: Rims
    laid: Float32
    """(N, HEIGHT, WIDTH, 3) code values: registered pictures."""


@dataclass(frozen=True, slots=True)
class Seat:
    """How a front sits: its depth in the middle, metres, and slopes to x and y."""

    lens_m: float = LENS_M
    across: float = 0.0
    up: float = TILT


def front_depth(skin: Array, seat: Seat) -> Float32:
    """(ROWS, COLUMNS) metres of a front that nowhere touches the resting `skin` (S, 3) metres, head
    frame."""
    x, y = front_grid()
    flat = seat.lens_m - WRAP * x * x + seat.across * x + seat.up * y
    near = skin[(np.abs(skin[:, 0]) < REACH_M + 0.02) & (skin[:, 2] > -0.03)]
    near = near[(near[:, 1] < TOP_M + 0.02) & (near[:, 1] > BOTTOM_M - 0.02)]
    surface = LinearNDInterpolator(near[:, :2], near[:, 2], fill_value=-1.0)(x, y)
    depth = np.maximum(flat, surface + OVER_SKIN_M)
    # Between grid points the front is straight: it must clear the skin's ridges there too.
    return np.maximum(gaussian_filter(depth, 0.6), surface + OVER_SKIN_M).astype(np.float32)


def find_spectacles(
    frames: Frames, seen: Observations, skin: Array, sure: bool
) -> FoundSpectacles | None:
    """The glasses in some frames; None without any, unless one is `sure`. `skin` (S, 3) metres,
    head frame: the resting face."""
    seat = Seat()
    views = see_through(frames(), seen, front_depth(skin, seat))
    if len(views.rows) < LEAST_FRAMES:
        return None
    irises = np.median(seen.landmarks[:, list(IRISES)], axis=0)
    rough = register(views.lines(), eye_free(irises), None, ROUGH_ROUNDS, NUMBERS)
    rims = find_rims(average_of(views, rough), irises)
    fine = register(views.lines(), rims.mask(RIM_REACH_M), rough, FINE_ROUNDS, MOTIONS)
    rims = find_rims(average_of(views, fine), irises)
    if not (sure or rims.worn) or fine.good.sum() < LEAST_FRAMES:
        return None
    fine = fine.centred()
    seat = corrected(seat, fine, seen, views.rows)
    depth = front_depth(skin, seat)
    views = see_through(frames(), seen, depth)
    fine = register(views.lines(), rims.mask(RIM_REACH_M), fine, FINE_ROUNDS, MOTIONS)
    if fine.good.sum() < LEAST_FRAMES:
        return None
    fine = fine.centred()
    laid = laid_out(views, fine)
    average = laid.mean(0).astype(np.float32)
    rims = find_rims(average, irises)
    shifts = similarity_of(fine.motions[fine.good])
    unit = np.maximum(shifts.std(0), LEAST_UNIT).astype(np.float32)
    shown = np.clip(np.rint(average), 0, 255).astype(np.uint8)
    spectacles = Spectacles(depth, temples_of(rims, depth, skin), unit, shown)
    return FoundSpectacles(spectacles, rims, laid)


def see_through(
    frames: Iterator[tuple[int, Frame]], seen: Observations, depth: Float32
) -> FrontViews:
    """The pictures of `frames` (row of the observations, frame) through a front."""
    points = front_points(depth).reshape(-1, 3)
    rows, pictures = [], []
    for row, frame in frames:
        rows.append(row)
        pictures.append(front_view(frame.rgb, frame.camera, seen.world_from_head[row], points))
    empty = np.zeros((0, HEIGHT, WIDTH, 3), np.uint8)
    return FrontViews(np.array(rows, np.intp), np.stack(pictures) if rows else empty)


def eye_free(irises: Float32) -> UInt8:
    """(HEIGHT, WIDTH) 255 where neither lids move nor the background shows."""
    x, y = np.linspace(-REACH_M, REACH_M, WIDTH), np.linspace(TOP_M, BOTTOM_M, HEIGHT)
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    for at_x, at_y, _ in irises:
        away = ((x[None] - at_x) / EYE_M[0]) ** 2 + ((y[:, None] - at_y) / EYE_M[1]) ** 2
        mask[away < 1.0] = 0
    rim = WIDTH // 12
    mask[:, :rim], mask[:, -rim:] = 0, 0
    return mask


def register(
    lines: Float32, mask: UInt8, start: Registered | None, rounds: int, free: int
) -> Registered:
    """The pictures' lines (N, HEIGHT, WIDTH) brought over one another where `mask` is not 0, by
    the first `free` motions."""
    count = len(lines)
    motions = np.zeros((count, MOTIONS)) if start is None else start.motions.copy()
    good = np.ones(count, bool) if start is None else start.good.copy()
    for _ in range(rounds):
        some = np.flatnonzero(good) if good.sum() >= LEAST_FRAMES else np.arange(count)
        laid = np.stack([_warped(lines[k], motions[k], cv2.INTER_LINEAR) for k in some])
        average = LineRegistration(np.mean(laid, axis=0).astype(np.float32), within_face(mask))
        for k in range(count):
            motion, found = average.lay(lines[k], motions[k], free)
            good[k] = found > LEAST_CORRELATION
            motions[k] = motion if good[k] else 0.0
    return Registered(motions, good)


def corrected(
    seat: Seat, registered: Registered, seen: Observations, rows: npt.NDArray[np.intp]
) -> Seat:
    """The seat at which turning the head least moves the glasses against it. What lies deeper than
    its front shifts with the view's slope; a slant stretches and shears by it."""
    good = registered.good
    eyes = np.stack([seen.world_from_head[k].inverse().apply(np.zeros(3)) for k in rows[good]])
    middle = np.array([0.0, 0.5 * (TOP_M + BOTTOM_M), seat.lens_m])
    slope = (middle - eyes)[:, :2] / (eyes[:, 2:] - middle[2])
    slope = slope - np.median(slope, axis=0)
    sx, sy = slope.T
    motions = registered.motions[good]
    # A stretch of columns against rows, and a shear whose rows count downwards.
    stretch, shear = 2.0 * motions[:, 4] / ARM, -2.0 * motions[:, 5] / ARM
    away = similarity_of(motions)
    spread = (sx**2 + sy**2).sum() + PARALLAX_RIDGE**2 * len(sx)
    across = (stretch * sx + shear * sy).sum() / spread
    up = (shear * sx - stretch * sy).sum() / spread
    deeper = (away[:, 0] * sx + away[:, 1] * sy).sum() / spread
    return Seat(
        seat.lens_m + float(np.clip(deeper, -DEEPEST_M, DEEPEST_M)),
        seat.across + float(np.clip(across, -STEEPEST, STEEPEST)),
        seat.up + float(np.clip(up, -STEEPEST, STEEPEST)),
    )


def average_of(views: FrontViews, registered: Registered) -> Float32:
    """(HEIGHT, WIDTH, 3) code values."""
    return laid_out(views, registered).mean(0).astype(np.float32)


def laid_out(views: FrontViews, registered: Registered) -> Float32:
    """(M, HEIGHT, WIDTH, 3) code values: the pictures that were registered; all if none was."""
    good = registered.good if registered.good.any() else np.ones(len(registered.good), bool)
    pairs = zip(views.pictures[good], registered.motions[good], strict=True)
    return np.stack([_warped(p, w, cv2.INTER_CUBIC) for p, w in pairs])


def temples_of(rims: Rims, depth: Float32, skin: Array) -> Float32:
    """(2, STATIONS, 2, 3) metres: from the hinges to above the ears and a little beyond."""
    out = np.zeros((2, STATIONS, 2, 3), np.float32)
    points = front_points(depth)
    beside = skin[(np.abs(skin[:, 1]) < 0.02) & (skin[:, 2] < -0.03) & (skin[:, 2] > -0.06)]
    for side, (column, row) in enumerate(rims.hinges()):
        at = np.clip(np.rint((column, row)).astype(int), 0, (WIDTH - 1, HEIGHT - 1))
        hinge = points[at[1], at[0]]
        ears = float(np.abs(beside[:, 0]).max()) if len(beside) else abs(float(hinge[0]))
        outwards = np.sign(hinge[0]) * (max(abs(float(hinge[0])), ears) + OVER_SKIN_M)
        stations = ((hinge[0], hinge[2]), (outwards, EAR_M), (outwards, EAR_M - BEYOND_EAR_M))
        for k, (x, z) in enumerate(stations):
            out[side, k, 0] = (x, hinge[1] + HINGE_M, z)
            out[side, k, 1] = (x, hinge[1] - HINGE_M, z)
    return out


def _warped(picture: UInt8 | Float32, motion: Array, way: int) -> Float32:
    moved = cv2.warpAffine(
        picture, warp_of(motion), (WIDTH, HEIGHT),
        flags=way | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.asarray(moved, np.float32)
