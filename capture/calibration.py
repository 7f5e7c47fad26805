"""Cameras from pictures of a board: lenses, and where the cameras stand to one another.

Zhang's method (2000): views of a plane whose corners are known. Each camera starts on its own, by
OpenCV for a pinhole, from the likeliest of several focal lengths for a fisheye; cameras are chained
by moments in which two see the board; then one bundle adjustment (Triggs et al. 2000) moves lenses,
cameras and boards together until the corners' reprojection error is least, with a Huber loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from capture.board import Board, BoardSight
from streams.array_contract import require_choice
from streams.camera import WORLD_FROM_WEBCAM, Camera, Distortion
from streams.projection import project, undistort
from streams.rigid import Rigid

Array = npt.NDArray[np.float64]

LENSES = ("pinhole_brown", "fisheye")
FEWEST_VIEWS = 6
"""Of one camera."""
LEAST_TILT = np.deg2rad(12.0)
"""Between the two most different views of a camera: boards that are all parallel leave the focal
length open (Sturm and Maybank 1999)."""
HUBER_PX = 1.0
WORST_PX = 2.0
"""Root mean square error from which a calibration is refused."""
UNSURE = 0.03
"""Of the focal length: a larger standard deviation is refused."""
FISHEYE_ANGLES = np.deg2rad([90.0, 120.0, 150.0, 180.0])
"""Angles along the longer side that a fisheye is first tried with."""
CELLS = (4, 3)
"""Columns and rows of the picture that corners should have been in."""
MOST_STEPS, CONVERGED = 40, 1e-7
"""Of bundle adjustment; a step that gains a smaller part of the cost is the last."""
STEP = 1e-6
"""Of differences, in radians, metres and parts."""
FOLDED_PX = 100.0
"""Residual of a corner that the lens model in question cannot show."""


class CalibrationError(ValueError):
    """The pictures do not tell the cameras. The message says what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class CameraReport:
    """How well a camera is known."""

    name: str
    views: int
    error_px: float
    """Root mean square distance of the corners from where they should be."""
    worst_px: float
    """The largest of them."""
    focal_part: float
    """Standard deviation of the focal length, as a part of it."""
    covered: npt.NDArray[np.bool_]
    """(rows, columns) which of CELLS had corners in them."""

    def hints(self) -> tuple[str, ...]:
        """What would make it better, in plain words."""
        said: list[str] = []
        if not self.covered.all():
            rows, columns = np.nonzero(~self.covered)
            vertical = ("top", "middle", "bottom")
            horizontal = ("left", "left of centre", "right of centre", "right")
            places = [f"{vertical[r]} {horizontal[c]}" for r, c in zip(rows, columns, strict=True)]
            said.append(
                f"no corners at the {', '.join(places[:4])}{' ...' if len(places) > 4 else ''}"
            )
        if self.views < 15:
            said.append(f"{self.views} views; 15 and more are better")
        if self.focal_part > 0.005:
            said.append("tilt the board more, up to 45 degrees each way")
        if self.error_px > 0.7:
            said.append("is the board flat, its square measured, the picture sharp?")
        return tuple(said)


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A rig."""

    cameras: tuple[Camera, ...]
    """The first one is a webcam at the world's origin."""
    reports: tuple[CameraReport, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """One camera's sight of the board in one moment."""

    camera: int
    moment: int
    board: Array
    """(K, 3) metres."""
    pixels: Array


def calibrate(
    board: Board,
    names: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    moments: Sequence[Sequence[BoardSight | None]],
    lens: str = "auto",
) -> Calibration:
    """From what each camera (`names`, `sizes`) saw of the board at each moment.

    `lens` is "pinhole_brown", "fisheye" or "auto": a pinhole unless a fisheye explains the corners
    clearly better. Raises CalibrationError when views are too few, too alike, not shared between
    cameras, or do not fit together.
    """
    require_choice("calibrate lens", lens, (*LENSES, "auto"))
    views = [
        _View(c, m, board.corners[sight.ids], sight.pixels)
        for m, moment in enumerate(moments)
        for c, sight in enumerate(moment)
        if sight is not None
    ]
    starts: list[tuple[Camera, dict[int, Rigid]]] = []
    for index, (name, size) in enumerate(zip(names, sizes, strict=True)):
        own = [replace(view, camera=0) for view in views if view.camera == index]
        if len(own) < FEWEST_VIEWS:
            raise CalibrationError(
                f"{name}: the board was seen in {len(own)} moments, expected {FEWEST_VIEWS} or "
                "more; show it whole, sharp and well lit, near, far, tilted and at all edges (is "
                "it the board that --pattern, --squares and --square-mm say?)"
            )
        starts.append(_one_camera(name, size, own, lens))
    cameras = _chained([camera for camera, _ in starts], [boards for _, boards in starts])
    first = {}
    for index, (_, boards) in enumerate(starts):
        for moment, camera_from_board in boards.items():
            first.setdefault(moment, cameras[index].world_from_camera @ camera_from_board)
    cameras, _, focal_parts = _adjusted(cameras, first, views)
    reports = _reports(cameras, views, first, focal_parts)
    for report in reports:
        _refuse_far(report, len(cameras) > 1)
    for report in reports:
        _refuse_unsure(report)
    return Calibration(tuple(cameras), reports)


def _refuse_far(report: CameraReport, several: bool) -> None:
    if report.error_px > WORST_PX:
        in_step = ", do the cameras expose in step" if several else ""
        raise CalibrationError(
            f"{report.name}: corners lie {report.error_px:.1f} pixels from where they should "
            f"(root mean square, expected below {WORST_PX:g}); is the board flat and of one size"
            f"{in_step}, is the picture sharp, should --lens be another?"
        )


def _refuse_unsure(report: CameraReport) -> None:
    if not report.focal_part <= UNSURE:
        raise CalibrationError(
            f"{report.name}: the focal length is known to {report.focal_part:.0%} only; tilt the "
            "board more, up to 45 degrees to all sides, and bring it nearer"
        )


def _one_camera(
    name: str, size: tuple[int, int], views: list[_View], lens: str
) -> tuple[Camera, dict[int, Rigid]]:
    """The camera on its own, and camera_from_board of each moment."""
    found: list[tuple[float, Camera, dict[int, Rigid]]] = []
    for model in LENSES if lens == "auto" else (lens,):
        start = _pinhole_start(name, size, views) if model == LENSES[0] else None
        start = start or _fisheye_start(name, size, views)
        try:
            boards = {view.moment: _board_place(start, view) for view in views}
            (camera,), boards, _ = _adjusted([start], boards, views)
        except (CalibrationError, np.linalg.LinAlgError, ValueError, cv2.error):
            continue
        residuals = np.concatenate([_residuals(camera, boards, view) for view in views])
        found.append((float(np.sqrt((residuals**2).sum(-1).mean())), camera, boards))
    if not found:
        raise CalibrationError(
            f"{name}: no lens explains the corners that were found; is it the board that "
            "--pattern, --squares and --square-mm say?"
        )
    # A fisheye has as many numbers; it must be clearly better to be believed.
    best = found[-1] if found[-1][0] < 0.7 * found[0][0] else found[0]
    _, camera, boards = best
    normals = np.stack([place.rotation()[:, 2] for place in boards.values()])
    widest = float(np.arccos(np.clip((normals @ normals.T).min(), -1.0, 1.0)))
    if widest < LEAST_TILT:
        raise CalibrationError(
            f"{name}: in all views the board is tilted alike (within {np.rad2deg(widest):.0f} "
            "degrees), which leaves the focal length open; tilt it up to 45 degrees to all sides"
        )
    return camera, boards


def _pinhole_start(name: str, size: tuple[int, int], views: list[_View]) -> Camera | None:
    corners = [view.board.astype(np.float32) for view in views]
    pixels = [view.pixels.astype(np.float32)[:, None] for view in views]
    try:
        _, matrix, k, _, _ = cv2.calibrateCamera(corners, pixels, size, None, None)  # pyright: ignore
        k = np.asarray(k, np.float64).ravel()[:5]
        return Camera(
            name, size, np.array([matrix[0, 0], matrix[1, 1]]), np.array(matrix[:2, 2], np.float64),
            Distortion("pinhole_brown", tuple(k.tolist())), Rigid(),
        )  # fmt: skip
    except (cv2.error, ValueError):
        return None


def _fisheye_start(name: str, size: tuple[int, int], views: list[_View]) -> Camera:
    """The focal length among a few with which the board lies best on its corners."""
    best, best_error = None, np.inf
    for angle in FISHEYE_ANGLES:
        focal = max(size) / angle
        camera = Camera(
            name, size, np.array([focal, focal]), (np.array(size) - 1.0) / 2.0,
            Distortion("fisheye", (0.0,) * 4), Rigid(),
        )  # fmt: skip
        errors: list[float] = []
        for view in views:
            try:
                there = {view.moment: _board_place(camera, view)}
                errors.append(float((_residuals(camera, there, view) ** 2).sum(-1).mean()))
            except (CalibrationError, cv2.error):
                errors.append(FOLDED_PX**2)
        error = float(np.median(errors))
        if best is None or error < best_error:
            best, best_error = camera, error
    if best is None:
        raise CalibrationError(f"{name}: no views")
    return best


def _board_place(camera: Camera, view: _View) -> Rigid:
    """camera_from_board (Collins and Bartoli 2014, the planar case of pose from points)."""
    flat = undistort(camera.distortion, (view.pixels - camera.centre) / camera.focal)
    sound = np.isfinite(flat).all(-1)
    if sound.sum() < 4:
        raise CalibrationError(f"{camera.name}: corners outside of what the lens shows")
    ok, turns, shifts, errors = cv2.solvePnPGeneric(
        view.board[sound], flat[sound], np.eye(3), None, flags=cv2.SOLVEPNP_IPPE
    )
    if not ok:
        raise CalibrationError(f"{camera.name}: a board could not be placed")
    best = int(np.argmin(np.asarray(errors).ravel()))
    return Rigid.from_rotvec(np.asarray(turns[best]).ravel(), np.asarray(shifts[best]).ravel())


def _chained(cameras: list[Camera], boards: list[dict[int, Rigid]]) -> list[Camera]:
    """World places from shared moments, by the most shared first."""
    placed = {0: WORLD_FROM_WEBCAM}
    while len(placed) < len(cameras):
        shared = [
            (len(boards[a].keys() & boards[b].keys()), a, b)
            for a in placed
            for b in range(len(cameras))
            if b not in placed
        ]
        most, a, b = max(shared)
        if most == 0:
            names = ", ".join(cameras[k].name for k in range(len(cameras)) if k not in placed)
            raise CalibrationError(
                f"{names}: never saw the board at the same moment as another camera; show it where "
                "both see it (a ChArUco board may be seen in part)"
            )
        steps = [
            boards[a][m] @ boards[b][m].inverse()
            for m in sorted(boards[a].keys() & boards[b].keys())
        ]
        # The one that the others agree with most.
        apart = [
            sum(s.angle_to(t) + float(np.linalg.norm(s.xyz - t.xyz)) for t in steps) for s in steps
        ]
        placed[b] = placed[a] @ steps[int(np.argmin(apart))]
    return [replace(camera, world_from_camera=placed[k]) for k, camera in enumerate(cameras)]


def _adjusted(
    cameras: list[Camera], boards: dict[int, Rigid], views: list[_View]
) -> tuple[list[Camera], dict[int, Rigid], list[float]]:
    """Bundle adjustment: cameras, world_from_board of each moment (updated in place), and standard
    deviations of the focal lengths as parts of them. The first camera stays where it is.

    Levenberg-Marquardt on the dense normal equations: a rig has few hundred numbers."""
    problem = _Problem(cameras, boards, views)
    x = np.zeros(problem.count)
    off = problem.residuals(x)
    cost, damping = _huber_cost(off), 1e-3
    normal = np.eye(problem.count)
    for _ in range(MOST_STEPS):
        jacobian = problem.jacobian(x, off)
        weights = np.repeat(HUBER_PX / np.maximum(np.linalg.norm(off, axis=1), HUBER_PX), 2)
        weighted = jacobian.T * weights
        normal, gradient = weighted @ jacobian, weighted @ off.ravel()
        scale = np.maximum(np.diag(normal), 1e-9)
        gained = 0.0
        while damping < 1e9:
            step = np.linalg.solve(normal + np.diag(damping * scale), gradient)
            tried = problem.residuals(x - step)
            new_cost = _huber_cost(tried)
            if new_cost < cost:
                gained = 1.0 - new_cost / max(cost, 1e-300)
                x, off, cost, damping = x - step, tried, new_cost, max(damping / 10.0, 1e-12)
                break
            damping *= 10.0
        if gained < CONVERGED:
            break
    now, there = problem.unpacked(x)
    boards.update(there)
    variance = np.diag(np.linalg.pinv(normal, hermitian=True)) * float((off**2).mean())
    parts = [float(np.sqrt(max(variance[at], 0.0))) for at in problem.lens_at[:-1]]
    return now, boards, parts


def _huber_cost(off: Array) -> float:
    size = np.linalg.norm(off, axis=1)
    return float(np.where(size <= HUBER_PX, size**2, HUBER_PX * (2.0 * size - HUBER_PX)).sum())


class _Problem:
    """The numbers that bundle adjustment moves: per camera two logarithms of focal lengths, two of
    the centre (in focal lengths), the lens, and, but for the first, turn and shift; then turn and
    shift of each moment's board."""

    def __init__(self, cameras: list[Camera], boards: dict[int, Rigid], views: list[_View]) -> None:
        self.cameras, self.moments = cameras, sorted(boards)
        sizes = [4 + len(camera.distortion.coefficients) for camera in cameras]
        self.lens_at = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        self.place_at = self.lens_at[-1] + 6 * np.arange(-1, len(cameras) - 1)
        self.board_at = int(self.lens_at[-1]) + 6 * (len(cameras) - 1)
        self.count = self.board_at + 6 * len(self.moments)
        self._turns = np.stack([boards[m].rotation() for m in self.moments])
        self._shifts = np.stack([boards[m].xyz for m in self.moments])
        order = {m: k for k, m in enumerate(self.moments)}
        own = [[view for view in views if view.camera == k] for k in range(len(cameras))]
        self._corners = [np.concatenate([v.board for v in each]) for each in own]
        self._pixels = [np.concatenate([v.pixels for v in each]) for each in own]
        self._moment = [
            np.concatenate([np.full(len(v.board), order[v.moment]) for v in each]) for each in own
        ]

    def camera(self, k: int, x: Array) -> Camera:
        """The k-th camera, moved."""
        camera, numbers = self.cameras[k], x[self.lens_at[k] : self.lens_at[k + 1]]
        lens = np.array(camera.distortion.coefficients) + numbers[4:]
        place = camera.world_from_camera
        if k:
            step = x[self.place_at[k] : self.place_at[k] + 6]
            turn = Rigid.from_rotvec(step[:3]) @ Rigid(place.wxyz)
            place = Rigid(turn.wxyz, place.xyz + step[3:])
        return replace(
            camera,
            focal=camera.focal * np.exp(numbers[:2]),
            centre=camera.centre + numbers[2:4] * camera.focal,
            distortion=Distortion(camera.distortion.model, tuple(lens.tolist())),
            world_from_camera=place,
        )

    def unpacked(self, x: Array) -> tuple[list[Camera], dict[int, Rigid]]:
        """Cameras, and world_from_board by moment."""
        turns, shifts = self._boards(x)
        there = {m: Rigid.from_rotation(turns[k], shifts[k]) for k, m in enumerate(self.moments)}
        return [self.camera(k, x) for k in range(len(self.cameras))], there

    def residuals(self, x: Array) -> Array:
        """(N, 2) pixels, camera after camera."""
        boards = self._boards(x)
        return np.concatenate([self._of_camera(k, x, boards) for k in range(len(self.cameras))])

    def jacobian(self, x: Array, off: Array) -> Array:
        """(2 N, count) by differences. A row depends on its camera and its board alone, so all
        boards are moved at once."""
        out = np.zeros((off.size, self.count))
        boards, row = self._boards(x), 0
        for k in range(len(self.cameras)):
            rows = len(self._pixels[k])
            here, flat = off[row : row + rows], slice(2 * row, 2 * (row + rows))
            own = list(range(self.lens_at[k], self.lens_at[k + 1]))
            own += range(self.place_at[k], self.place_at[k] + 6) if k else ()
            for column in own:
                moved = x.copy()
                moved[column] += STEP
                out[flat, column] = ((self._of_camera(k, moved, boards) - here) / STEP).ravel()
            for part in range(6):
                moved = x.copy()
                moved[self.board_at + part :: 6] += STEP
                change = (self._of_camera(k, moved, self._boards(moved)) - here) / STEP
                columns = np.repeat(self.board_at + 6 * self._moment[k] + part, 2)
                out[np.arange(flat.start, flat.stop), columns] = change.ravel()
            row += rows
        return out

    def _boards(self, x: Array) -> tuple[Array, Array]:
        steps = x[self.board_at :].reshape(-1, 6)
        turns = Rotation.from_rotvec(steps[:, :3]).as_matrix() @ self._turns
        return turns, self._shifts + steps[:, 3:]

    def _of_camera(self, k: int, x: Array, boards: tuple[Array, Array]) -> Array:
        turns, shifts = boards
        camera, moment = self.camera(k, x), self._moment[k]
        world = np.einsum("nij,nj->ni", turns[moment], self._corners[k]) + shifts[moment]
        return _missed(camera, world, self._pixels[k])


def _residuals(camera: Camera, boards: dict[int, Rigid], view: _View) -> Array:
    """(K, 2) pixels; `boards` are in the camera's world."""
    world = np.asarray(boards[view.moment].apply(view.board), np.float64)
    return _missed(camera, world, view.pixels)


def _missed(camera: Camera, world: Array, pixels: Array) -> Array:
    there, _ = project(camera, world)
    off = there - pixels
    return np.where(np.isfinite(off), off, FOLDED_PX)


def _reports(
    cameras: list[Camera],
    views: list[_View],
    boards: dict[int, Rigid],
    focal_parts: list[float],
) -> tuple[CameraReport, ...]:
    reports: list[CameraReport] = []
    for index, camera in enumerate(cameras):
        own = [view for view in views if view.camera == index]
        off = np.concatenate([_residuals(camera, boards, view) for view in own])
        distance = np.linalg.norm(off, axis=-1)
        pixels = np.concatenate([view.pixels for view in own])
        cell = np.floor((pixels + 0.5) / np.array(camera.size) * CELLS).astype(int)
        cell = np.clip(cell, 0, np.array(CELLS) - 1)
        covered = np.zeros(CELLS[::-1], np.bool_)
        covered[cell[:, 1], cell[:, 0]] = True
        reports.append(
            CameraReport(
                camera.name,
                len(own),
                float(np.sqrt((distance**2).mean())),
                float(distance.max()),
                focal_parts[index],
                covered,
            )
        )
    return tuple(reports)
