"""Boards are printed and found, and cameras come back as they were: drawn boards, known truth."""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import resvg_py
from PIL import Image

from capture.board import MARKER_PART, Board, BoardSight
from capture.calibration import CalibrationError, calibrate
from capture.rig_file import RigError, read_rig, write_rig
from streams.camera import COEFFICIENTS, DISTORTION_MODELS, WORLD_FROM_WEBCAM, Camera, Distortion
from streams.projection import project
from streams.rigid import Rigid
from tests.board_pictures import around, board_places, picture_of

CHARUCO = Board("charuco", 8, 6, 0.03)
CHESS = Board("chessboard", 8, 5, 0.03)
BROWN = Camera(
    "left", (640, 480), np.array([520.0, 523.0]), np.array([324.0, 236.0]),
    Distortion("pinhole_brown", (-0.12, 0.05, 1e-3, -8e-4, 0.0)),
)  # fmt: skip
RIGHT = replace(
    BROWN, name="right", focal=np.array([560.0, 558.0]), centre=np.array([315.0, 245.0]),
    world_from_camera=Rigid.from_rotvec([0.02, 0.25, -0.01], [0.12, 0.01, 0.02])
    @ WORLD_FROM_WEBCAM,
)  # fmt: skip
FISH = Camera(
    "fish", (640, 480), np.array([230.0, 231.0]), np.array([318.0, 243.0]),
    Distortion("fisheye", (0.03, -0.02, 0.01, -0.003)),
)  # fmt: skip


def sights(
    board: Board, cameras: list[Camera], places: list[Rigid], seed: int = 0
) -> list[list[BoardSight | None]]:
    rng = np.random.default_rng(seed)
    return [[board.find(picture_of(board, c, place, rng)) for c in cameras] for place in places]


@pytest.fixture(scope="module")
def pair_sights() -> list[list[BoardSight | None]]:
    places = board_places(CHARUCO, 24, np.random.default_rng(1))
    return sights(CHARUCO, [BROWN, RIGHT], places)


@pytest.mark.parametrize("board", [CHARUCO, CHESS], ids=lambda b: b.pattern)
@pytest.mark.parametrize("quarter", [0.0, 2.0])
def test_corners_are_found_where_they_are(board: Board, quarter: float) -> None:
    """And by their numbers, upside down too."""
    rng = np.random.default_rng(3)
    spin = Rigid.from_rotvec([0, 0, quarter * np.pi / 2])
    half = np.array([*board.size_m, 0.0]) / 2.0
    found = 0
    for place in board_places(board, 4, rng, tilt=0.3):
        middle = place.apply(half)
        turned = Rigid((place @ spin).wxyz, np.zeros(3))
        turned = Rigid(turned.wxyz, middle * [0.3, 0.3, 1.0] - turned.rotation() @ half)
        sight = board.find(picture_of(board, BROWN, turned, rng))
        assert sight is not None
        true, _ = project(BROWN, turned.apply(board.corners[sight.ids]))
        assert np.median(np.linalg.norm(true - sight.pixels, axis=1)) < 0.25
        found += len(sight.ids)
    assert found > 0.9 * 4 * len(board.corners)


def test_our_board_is_opencvs() -> None:
    theirs = cv2.aruco.CharucoBoard(
        (8, 6), 0.03, 0.03 * MARKER_PART,
        cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_250),
    ).generateImage((8 * 112, 6 * 112), marginSize=0)  # fmt: skip
    ours = CHARUCO.picture(112 / 0.03, margin_m=0.0)
    assert ours.shape == theirs.shape
    assert (np.abs(ours.astype(int) - theirs) > 60).mean() < 0.01
    corners = cv2.aruco.CharucoBoard(
        (8, 6), 0.03, 0.02, cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_250)
    ).getChessboardCorners()
    np.testing.assert_allclose(CHARUCO.corners, corners, atol=1e-7)


@pytest.mark.parametrize("board", [CHARUCO, CHESS], ids=lambda b: b.pattern)
def test_prints_are_of_the_true_size(board: Board, tmp_path: Path) -> None:
    for name in ("b.png", "b.svg", "b.pdf"):
        board.write(tmp_path / name)
    wide, high = (1e3 * n + 20.0 for n in board.size_m)
    with Image.open(tmp_path / "b.png") as png:
        dots = png.info["dpi"][0]
        assert png.width / dots * 25.4 == pytest.approx(wide, abs=0.2)
        printed = np.array(png)
    svg = (tmp_path / "b.svg").read_text()
    assert f'width="{wide:g}mm" height="{high:g}mm"' in svg
    drawn = resvg_py.svg_to_bytes(svg_string=svg, width=printed.shape[1], dpi=96)
    with Image.open(io.BytesIO(bytes(drawn))) as image:
        seen = np.array(image.convert("L").resize(printed.shape[::-1]))
    inside = slice(110, -110), slice(110, -110)
    assert (np.abs(seen[inside].astype(int) - printed[inside]) > 100).mean() < 0.01
    pdf = (tmp_path / "b.pdf").read_bytes()
    box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert box is not None
    assert float(box[1]) / 72 * 25.4 == pytest.approx(wide, abs=0.01)
    stream = zlib.decompress(pdf[pdf.index(b"stream\n") + 7 : pdf.index(b"\nendstream")])
    boxes = re.findall(rb"([\d.]+) ([\d.]+) ([\d.]+) ([\d.]+) re", stream)
    assert len(boxes) == len(board.black())
    area = sum(float(w) * float(h) for _, _, w, h in boxes) / 72**2 * 25.4**2
    assert area == pytest.approx(1e6 * (board.black()[:, 2] * board.black()[:, 3]).sum(), rel=1e-3)
    # Every offset of the table leads to its object.
    for number, place in enumerate(re.findall(rb"(\d{10}) 00000 n", pdf), start=1):
        assert pdf[int(place) :].startswith(b"%d 0 obj" % number)
    with pytest.raises(ValueError, match=r"\.pdf, \.svg or \.png"):
        board.write(tmp_path / "b.doc")


def test_boards_that_cannot_be() -> None:
    for bad, said in (
        ({"columns": 2}, "3 to 30"), ({"square_m": 0.0}, "metre"), ({"pattern": "dots"}, "charuco"),
        ({"pattern": "chessboard", "columns": 8, "rows": 6}, "upside down"),
        ({"columns": 30, "rows": 30}, "markers"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            replace(CHARUCO, **bad)  # pyright: ignore[reportArgumentType]
    assert CHARUCO.find(np.full((480, 640), 128, np.uint8)) is None
    assert (
        CHESS.find(np.random.default_rng(0).integers(0, 255, (480, 640)).astype(np.uint8)) is None
    )


def ray_errors(found: Camera, true: Camera) -> np.ndarray:
    """Pixels by which the two cameras' own-frame pictures differ, over what the true one sees."""
    x, y = np.meshgrid(np.linspace(40, 600, 9), np.linspace(40, 440, 7))
    from streams.projection import directions

    still = replace(true, world_from_camera=Rigid())
    rays = directions(still, np.stack([x.ravel(), y.ravel()], -1))
    there, _ = project(replace(found, world_from_camera=Rigid()), rays)
    return np.linalg.norm(there - np.stack([x.ravel(), y.ravel()], -1), axis=1)


def test_two_cameras_come_back(pair_sights: list[list[BoardSight | None]]) -> None:
    result = calibrate(CHARUCO, ["left", "right"], [(640, 480)] * 2, pair_sights)
    left, right = result.cameras
    for found, true in ((left, BROWN), (right, RIGHT)):
        assert found.name == true.name
        assert found.distortion.model == "pinhole_brown"
        np.testing.assert_allclose(found.focal, true.focal, rtol=0.006)
        assert np.median(ray_errors(found, true)) < 1.0
    assert left.world_from_camera.angle_to(WORLD_FROM_WEBCAM) < 1e-9
    wanted = BROWN.world_from_camera.inverse() @ RIGHT.world_from_camera
    got = left.world_from_camera.inverse() @ right.world_from_camera
    assert np.rad2deg(got.angle_to(wanted)) < 0.15
    assert np.linalg.norm(got.xyz - wanted.xyz) < 0.002
    for report in result.reports:
        assert report.views >= 15
        assert report.error_px < 0.4
        assert report.focal_part < 0.01
        assert report.covered.mean() > 0.7


def test_a_fisheye_is_told_from_a_pinhole() -> None:
    rng = np.random.default_rng(5)
    places = around(board_places(CHARUCO, 22, rng, distance=0.25), rng, 0.9)
    result = calibrate(CHARUCO, ["fish"], [FISH.size], sights(CHARUCO, [FISH], places))
    (found,) = result.cameras
    assert found.distortion.model == "fisheye"
    np.testing.assert_allclose(found.focal, FISH.focal, rtol=0.01)
    assert np.median(ray_errors(found, FISH)) < 1.0
    assert result.reports[0].error_px < 0.5


def test_a_chessboard_will_do() -> None:
    places = board_places(CHESS, 18, np.random.default_rng(6), distance=0.55)
    seen = [[s] for (s,) in sights(CHESS, [BROWN], places) if s is not None]
    result = calibrate(CHESS, ["left"], [BROWN.size], seen, lens="pinhole_brown")
    np.testing.assert_allclose(result.cameras[0].focal, BROWN.focal, rtol=0.01)


def test_a_wrong_board_a_few_views_and_flat_motion_are_told(
    pair_sights: list[list[BoardSight | None]],
) -> None:
    both, sizes = ["left", "right"], [(640, 480)] * 2
    with pytest.raises(CalibrationError, match="seen in 3 moments, expected 6"):
        calibrate(CHARUCO, both, sizes, pair_sights[:3])
    never = [[m[0], None] if k % 2 else [None, m[1]] for k, m in enumerate(pair_sights)]
    with pytest.raises(CalibrationError, match=r"right: never saw the board at the same moment"):
        calibrate(CHARUCO, both, sizes, never, "pinhole_brown")
    flat = board_places(CHARUCO, 8, np.random.default_rng(7), tilt=0.02)
    with pytest.raises(CalibrationError, match="tilt"):
        calibrate(CHARUCO, ["left"], sizes[:1], sights(CHARUCO, [BROWN], flat), "pinhole_brown")
    rng = np.random.default_rng(8)
    shaken = [
        [s and BoardSight(s.ids, s.pixels + rng.normal(0, 6.0, s.pixels.shape)) for s in m]
        for m in pair_sights
    ]
    with pytest.raises(CalibrationError, match=r"pixels from where they should|no lens"):
        calibrate(CHARUCO, both, sizes, shaken, "pinhole_brown")


def test_cameras_out_of_step_are_told(pair_sights: list[list[BoardSight | None]]) -> None:
    late = [[m[0], n[1]] for m, n in zip(pair_sights[1:], pair_sights[:-1], strict=True)]
    with pytest.raises(CalibrationError, match="in step"):
        calibrate(CHARUCO, ["left", "right"], [(640, 480)] * 2, late, "pinhole_brown")


def test_rig_files_keep_every_camera(tmp_path: Path) -> None:
    cameras = [
        replace(
            RIGHT, name=model, distortion=Distortion(model, tuple([0.01] * COEFFICIENTS[model]))
        )
        for model in DISTORTION_MODELS
    ]
    write_rig(tmp_path / "rig.json", cameras)
    back = read_rig(tmp_path / "rig.json")
    assert [camera.name for camera in back] == list(DISTORTION_MODELS)
    for a, b in zip(cameras, back, strict=True):
        assert a.size == b.size
        assert a.distortion.coefficients == b.distortion.coefficients
        for name in ("focal", "centre"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        np.testing.assert_array_equal(a.world_from_camera.xyz, b.world_from_camera.xyz)
        np.testing.assert_array_equal(a.world_from_camera.wxyz, b.world_from_camera.wxyz)


def test_rig_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "rig.json"
    with pytest.raises(RigError, match="cannot be read"):
        read_rig(path)
    write_rig(path, [BROWN])
    good = path.read_text()
    for text in (
        "", "[]", "{}", good.replace("visavis rig", "other"),
        good.replace('"version": 1', '"version": 2'),
        good.replace("pinhole_brown", "barrel"), good.replace("520.0", '"x"'), good[:100],
        good.replace("640", "0"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(RigError, match=r"rig\.json: expected a rig file"):
            read_rig(path)
