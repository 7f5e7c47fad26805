"""The synthetic person filmed, and the 3D view of a preview."""

import numpy as np
import pytest
from PIL import Image

from apps.command import run
from capture.frame_source import open_source


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    folder = tmp_path_factory.mktemp("film")
    out, truth = folder / "film.mp4", folder / "film.npz"
    code = run(["film", str(out), "--seconds", "0.5", "--size", "320x240", "--truth", str(truth)])
    assert code == 0
    return out, truth


def test_film_has_its_pictures_and_their_truth(film):
    out, truth = film
    with open_source(f"video:{out}") as source:
        pictures = [frame.rgb for frame in source]
    acted = np.load(truth)
    assert len(pictures) == len(acted["t_ns"]) == 15
    assert pictures[0].shape == (240, 320, 3)
    assert acted["blendshapes"].shape == (15, 52)
    assert np.isfinite(acted["world_from_head"]).all()
    # Somebody stands in front of the backdrop.
    assert pictures[0].std() > 20


def test_film_refuses_what_it_cannot_do(tmp_path, capsys):
    assert run(["film", str(tmp_path / "a.avi")]) == 2
    assert run(["film", str(tmp_path / "a.mp4"), "--scene", "opera"]) == 2
    assert "expected one of demo" in capsys.readouterr().err


def test_the_3d_view_is_written_where_there_is_no_display(film, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert run(["preview", "--source", f"video:{film[0]}", "--debug-3d"]) == 0
    with Image.open(tmp_path / "debug-3d.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    dark = (pixels.max(-1) < 200).mean()
    assert dark > 0.05  # the mesh fills a part of the view
    green = (pixels[..., 1] > pixels[..., 0] + 60) & (pixels[..., 1] > pixels[..., 2] + 60)
    assert green.any()  # the landmarks


def test_debug_view_and_out_exclude_each_other(capsys):
    assert run(["preview", "--debug-3d", "--out", "x.mp4"]) == 2
    assert "leave --out away" in capsys.readouterr().err
