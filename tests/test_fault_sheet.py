"""The sheet of what still looks wrong: what people wear, and where the pictures go."""

from __future__ import annotations

import numpy as np

from benchmarks.fault_sheet import (
    CAMERA,
    CELL,
    COLUMNS,
    LABEL,
    PEOPLE,
    long_hair,
    sheet,
    spectacles,
)
from streams.projection import project
from streams.rigid import Rigid

GREY = 120


def worn(dress, yaw: float) -> tuple[np.ndarray, Rigid]:
    pose = Rigid.from_rotvec([0.0, yaw, 0.0], [0.0, 0.03, -0.62])
    picture = np.full((*CAMERA.size[::-1], 3), GREY, np.uint8)
    return (dress(picture, CAMERA, pose) != GREY).any(2), pose


def test_glasses_are_drawn_round_the_eyes_and_leave_them_open() -> None:
    drawn, pose = worn(spectacles, 0.2)
    eyes, _ = project(CAMERA, pose.apply(np.array([[-0.033, -0.004, 0.03], [0.033, -0.004, 0.03]])))
    for x, y in np.rint(eyes).astype(int):
        assert not drawn[y - 4 : y + 5, x - 4 : x + 5].any()
        assert drawn[y, x - 30 : x].any()
        assert drawn[y, x : x + 30].any()
        assert drawn[y : y + 30, x].any()
        assert drawn[y - 30 : y, x].any()


def test_long_hair_falls_beside_the_face_and_the_far_side_is_hidden() -> None:
    drawn, pose = worn(long_hair, 0.0)
    face, _ = project(CAMERA, pose.apply(np.array([[0.0, -0.03, 0.03]])))
    x, y = np.rint(face[0]).astype(int)
    assert not drawn[:, x - 40 : x + 40].any()
    assert drawn[y + 60 :, : x - 40].any()
    assert drawn[y + 60 :, x + 40 :].any()
    drawn, pose = worn(long_hair, 0.6)
    sides, _ = project(CAMERA, pose.apply(np.array([[0.08, -0.05, -0.05], [-0.08, -0.05, -0.05]])))
    (far_x, far_y), (near_x, near_y) = np.rint(sides).astype(int)
    assert not drawn[far_y - 6 : far_y + 7, far_x - 6 : far_x + 7].any()
    assert drawn[near_y - 6 : near_y + 7, near_x - 6 : near_x + 7].mean() > 0.7


def test_every_pair_has_its_place_and_its_name() -> None:
    shape = (*CAMERA.size[::-1], 3)
    cells = [
        (moment.label, np.full(shape, 10 * k + 10, np.uint8), np.full(shape, 10 * k + 15, np.uint8))
        for k, moment in enumerate(m for person in PEOPLE for m in person.moments)
    ]
    page = np.array(sheet(cells))
    for k in range(len(cells)):
        x, y = k % COLUMNS * (2 * CELL + 6), k // COLUMNS * (CELL + LABEL)
        assert (page[y + LABEL + 5, x + 5] == 10 * k + 10).all()
        assert (page[y + LABEL + 5, x + CELL + 5] == 10 * k + 15).all()
        assert page[y : y + LABEL, x : x + CELL].min() < 128  # ink
