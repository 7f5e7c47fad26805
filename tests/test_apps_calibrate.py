"""`visavis calibrate` on drawn boards, from folders and videos to a rig that sources use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apps.command import run
from apps.preview_options import PreviewOptions
from apps.preview_stages import open_source_of
from apps.rig_choice import calibrated_camera
from apps.usage import FailedError
from apps.video_writer import VideoWriter
from capture.board import Board
from capture.frame_source import SourceError, SourceOptions, open_source
from capture.rig_file import read_rig, write_rig
from streams.camera import WORLD_FROM_WEBCAM, Camera, Distortion
from streams.rigid import Rigid
from tests.board_pictures import board_places, picture_of

BOARD = Board("charuco", 8, 6, 0.03)
LEFT = Camera(
    "left", (480, 360), np.array([400.0, 401.0]), np.array([243.0, 178.0]),
    Distortion("pinhole_brown", (-0.1, 0.03, 0.0, 0.0, 0.0)),
)  # fmt: skip
RIGHT = replace(
    LEFT, name="right",
    world_from_camera=Rigid.from_rotvec([0.0, 0.2, 0.0], [0.1, 0.0, 0.0]) @ WORLD_FROM_WEBCAM,
)  # fmt: skip


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with left/ and right/ of pictures, and left.mp4."""
    folder = tmp_path_factory.mktemp("boards")
    rng = np.random.default_rng(1)
    writer = VideoWriter(folder / "left.mp4", LEFT.size, 2.0)
    for name in ("left", "right", "empty"):
        (folder / name).mkdir()
    for k, place in enumerate(board_places(BOARD, 14, rng)):
        for camera in (LEFT, RIGHT):
            picture = picture_of(BOARD, camera, place, rng)
            Image.fromarray(picture).save(folder / camera.name / f"{k:03}.png")
            if camera is LEFT:
                rgb = np.repeat(picture[:, :, None], 3, axis=2)
                writer.write(rgb, k * 500_000_000)
    writer.close()
    return folder


def test_two_folders_give_a_rig(
    pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rig.json"
    sources = [f"pictures:{pair / name}" for name in ("left", "right")]
    assert run(["calibrate", str(out), "--sources", *sources, "--lens", "pinhole_brown"]) == 0
    said = capsys.readouterr().out
    assert "pixels off (root mean square" in said
    assert "100 mm from" in said or "101 mm from" in said or "99 mm from" in said
    left, right = read_rig(out)
    assert [left.name, right.name] == sources
    np.testing.assert_allclose(left.focal, LEFT.focal, rtol=0.02)
    apart = left.world_from_camera.inverse() @ right.world_from_camera
    assert np.linalg.norm(apart.xyz) == pytest.approx(0.1, abs=0.004)


def test_a_video_gives_a_camera_that_previews_use(
    pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, spec = tmp_path / "rig.json", f"video:{pair / 'left.mp4'}"
    args = ["calibrate", str(out), "--sources", spec, "--lens", "pinhole_brown"]
    assert run(args) == 0, capsys.readouterr().err
    (camera,) = read_rig(out)
    np.testing.assert_allclose(camera.focal, LEFT.focal, rtol=0.02)
    with open_source_of(PreviewOptions(spec, rig=str(out))) as source:
        assert source.camera.distortion.coefficients == camera.distortion.coefficients
        assert next(source).camera is source.camera


def test_boards_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.pdf", "a.svg", "a.png"):
        assert run(["calibrate", "--board", str(tmp_path / name), "--square-mm", "25"]) == 0
        assert (tmp_path / name).stat().st_size > 500
    assert "squares of 25 mm" in capsys.readouterr().out


def test_what_it_refuses(pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "rig.json")

    def complaint(code: int, *arguments: str) -> str:
        assert run(["calibrate", *arguments]) == code
        return capsys.readouterr().err.splitlines()[-1]

    left, empty = (f"pictures:{pair / name}" for name in ("left", "empty"))
    assert "FILE.json" in complaint(2)
    assert ".pdf" in complaint(2, "--board", "a.doc")
    assert "upside down" in complaint(2, "--board", "a.pdf", "--pattern", "chessboard")
    assert "8x6" in complaint(2, out, "--squares", "many")
    assert "all webcam" in complaint(2, out, "--sources", left, "webcam:0")
    assert "each once" in complaint(2, out, "--sources", left, left)
    assert "holds no pictures" in complaint(1, out, "--sources", empty)
    assert "no such folder" in complaint(1, out, "--sources", "pictures:absent")
    # The wrong board: nothing is found.
    said = complaint(1, out, "--sources", left, "--pattern", "chessboard", "--squares", "9x6")
    assert "seen in 0 moments" in said
    (pair / "uneven").mkdir(exist_ok=True)
    Image.new("L", (480, 360)).save(pair / "uneven" / "0.png")
    assert "14, 1 pictures" in complaint(1, out, "--sources", left, f"pictures:{pair / 'uneven'}")
    (pair / "broken").mkdir(exist_ok=True)
    (pair / "broken" / "0.png").write_bytes(b"no picture")
    assert "cannot be read" in complaint(1, out, "--sources", f"pictures:{pair / 'broken'}")
    assert not Path(out).exists()


def test_which_camera_of_a_rig(tmp_path: Path) -> None:
    path = tmp_path / "rig.json"
    write_rig(path, [LEFT, RIGHT])
    assert calibrated_camera(None, "webcam:0") is None
    for rig, source, sources, wanted in (
        (str(path), "right", (), "right"),
        (f"{path}#left", "webcam:7", (), "left"),
        (str(path), "webcam:7", ("webcam:6", "webcam:7"), "right"),
    ):
        camera = calibrated_camera(rig, source, sources)
        assert camera is not None
        assert camera.name == wanted
    with pytest.raises(FailedError, match="say which"):
        calibrated_camera(str(path), "webcam:0")
    with pytest.raises(FailedError, match="'middle'"):
        calibrated_camera(f"{path}#middle", "webcam:0")
    # One of them by its name: the other one is not the one in its place.
    with pytest.raises(FailedError, match="calibrate them together"):
        calibrated_camera(str(path), "webcam:7", ("left", "webcam:7"))


def test_pictures_of_other_proportions_are_refused(pair: Path) -> None:
    spec = f"video:{pair / 'left.mp4'}"
    half = LEFT.scaled((960, 720))
    with open_source(spec, SourceOptions(camera=half)) as source:
        np.testing.assert_allclose(source.camera.focal, LEFT.focal)
        assert source.camera.size == (480, 360)
    with pytest.raises(SourceError, match="same proportions"):
        open_source(spec, SourceOptions(camera=replace(LEFT, size=(640, 360))))
    with pytest.raises(ValueError, match="got both"):
        SourceOptions(fov_long_side=1.0, camera=LEFT)
