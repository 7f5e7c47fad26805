"""Pictures of a calibration board as a known camera takes them."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from capture.board import Board
from streams.camera import Camera, Distortion
from streams.projection import undistort
from streams.rigid import Rigid

PIXELS_PER_M = 4000.0
MARGIN_M = 0.03


@cache
def _rays(size: tuple[int, int], numbers: tuple[float, ...], lens: Distortion) -> np.ndarray:
    fx, fy, cx, cy = numbers
    x, y = np.meshgrid((np.arange(size[0]) - cx) / fx, (np.arange(size[1]) - cy) / fy)
    flat = undistort(lens, np.stack([x, y], -1).astype(np.float64))
    return np.concatenate([flat, np.ones((*flat.shape[:2], 1))], -1)


_LENSES: dict[tuple[str, tuple[float, ...]], Distortion] = {}


def picture_of(
    board: Board, camera: Camera, world_from_board: Rigid, rng: np.random.Generator | None = None
) -> np.ndarray:
    """(H, W) uint8: every pixel's ray met with the board's plane. Grey room, some noise."""
    lens = _LENSES.setdefault(
        (camera.distortion.model, camera.distortion.coefficients), camera.distortion
    )
    rays = _rays(camera.size, (*camera.focal, *camera.centre), lens)
    board_from_camera = world_from_board.inverse() @ camera.world_from_camera
    turned = rays @ board_from_camera.rotation().T
    start = board_from_camera.xyz
    with np.errstate(divide="ignore", invalid="ignore"):
        far = -start[2] / turned[..., 2]
        at = start[:2] + far[..., None] * turned[..., :2]
    at[~(far > 0)] = np.nan
    print_ = board.picture(PIXELS_PER_M, MARGIN_M)
    # As coarse as the camera sees it, or thin lines would come and go.
    step = float(np.nanmedian(np.abs(np.diff(at[..., 0], axis=1)))) * PIXELS_PER_M
    print_ = cv2.GaussianBlur(print_, (0, 0), max(0.5 * step, 0.5))
    maps = np.nan_to_num((at + MARGIN_M) * PIXELS_PER_M - 0.5, nan=-9.0).astype(np.float32)
    maps = maps.clip(-9, 32000)
    seen = cv2.remap(
        print_, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT, borderValue=90,
    ).astype(float)  # fmt: skip
    seen = 0.8 * seen + 20.0
    if rng is not None:
        seen += rng.normal(0, 2.0, seen.shape)
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8)


def around(places: list[Rigid], rng: np.random.Generator, widest: float) -> list[Rigid]:
    """The same turned about the camera by up to `widest` radians each way: for wide lenses."""
    return [
        Rigid.from_rotvec([rng.uniform(-0.6, 0.6) * widest, rng.uniform(-1, 1) * widest, 0.0])
        @ each
        for each in places
    ]


def board_places(
    board: Board, count: int, rng: np.random.Generator, distance: float = 0.45, tilt: float = 0.45
) -> list[Rigid]:
    """world_from_board in front of a webcam at the origin: near and far, tilted, all over."""
    places = []
    facing = Rigid.from_rotvec([np.pi, 0.0, 0.0])  # +z of the board away from the camera, x right
    for _ in range(count):
        turn = Rigid.from_rotvec(rng.uniform(-tilt, tilt, 3)) @ facing
        z = -distance * rng.uniform(0.75, 1.4)
        middle = np.array([rng.uniform(-0.45, 0.45) * -z, rng.uniform(-0.32, 0.32) * -z, z])
        half = np.array([*board.size_m, 0.0]) / 2.0
        places.append(Rigid(turn.wxyz, middle - turn.rotation() @ half))
    return places
