"""`visavis train` on captures: written in their layouts, read, trained, measured, gone on with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apps import command
from avatar.datasets.capture_writer import write_ava256, write_multiface
from avatar.datasets.synthetic_capture import SyntheticCapture, dome
from avatar.head_mesh import HeadMesh
from avatar.training.codec_evaluation import evaluate_codec, principal_rows
from avatar.training.dome_capture import DomeCapture
from avatar.training.face_codec import FaceScale
from avatar.training.local_decoder import LocalOptions, closed_form

SENSOR = (2668, 4096)
"""For which the calibration of Ava-256 is; the reader's default."""
SMALL = (
    "--capture.size", "64", "--capture.latent", "8", "--capture.steps", "4",
    "--capture.batch", "4", "--capture.readers", "0", "--capture.device", "cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def capture() -> SyntheticCapture:
    """Nine moments, two cameras, grey pictures."""

    def draw(*_: object) -> np.ndarray:
        return np.full((1024, 667, 3), 90, np.uint8)

    cameras = dome(2, (SENSOR[0] // 4, SENSOR[1] // 4))
    return SyntheticCapture.make(
        HeadMesh.open("default"), cameras, draw=draw, moments=9, texture_size=64, seed=4
    )


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = command.run(["train", *arguments])
    caught = capsys.readouterr()
    return code, caught.out + caught.err


@pytest.mark.parametrize("decoder", ["conv", "local"])
def test_multiface_trains_and_goes_on(
    capture: SyntheticCapture, decoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "m--20180227--0000--6795937--GHS"
    unpictured = [replace(moment, pictures={}) for moment in capture.moments]
    write_multiface(folder, capture.mesh, capture.cameras, unpictured)
    arguments = (
        "multiface", str(folder), "--out", str(tmp_path / "out"), "--capture.decoder", decoder,
    )  # fmt: skip
    code, said = run(capsys, *arguments, *SMALL)
    assert code == 0, said
    assert f"held out: {decoder}: texture" in said
    assert "held out: mean" in said
    assert "held out: PCA" in said
    assert "no losses in the picture, because" in said
    code, said = run(capsys, *arguments, *SMALL, "--capture.steps", "6")
    assert code == 0, said
    assert "going on after step 4" in said
    other = "local" if decoder == "conv" else "conv"
    code, said = run(capsys, *arguments, *SMALL, "--capture.decoder", other)
    assert code == 1
    assert "train in another folder" in said


def test_ava256_trains(
    capture: SyntheticCapture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "20230324--0820--AEY864"
    write_ava256(folder, capture.mesh, capture.cameras, capture.moments, SENSOR)
    code, said = run(capsys, "ava256", str(folder), "--out", str(tmp_path / "out"), *SMALL)
    assert code == 0, said
    assert "held out: local: texture" in said
    assert "pictures: Ava-256's rgb" in said


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("multiface",), 2, "expected the PATH of one person's capture"),
        (("capture-dome", "somewhere"), 2, "expected no PATH"),
        (("multiface", "nowhere"), 1, "frame_list.txt"),
        (("ava256", "nowhere"), 1, "frame_list.csv"),
        (("capture-dome", "--capture.decoder", "gan"), 2, "expected one of ['conv', 'local']"),
        (("capture-dome", "--capture.size", "100"), 2, "expected 64"),
        (("capture-dome", "--capture.person", "nobody"), 2, "--person: expected one of"),
        (("faces",), 2, "expected the data set dome, multiface, ava256"),
    ],
)
def test_wrong_input_is_told(
    arguments: tuple[str, ...], code: int, words: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    got, said = run(capsys, *arguments)
    assert (got, words in said) == (code, True), said
    assert "Traceback" not in said


def test_local_codec_beats_the_mean_on_held_out_moments(capture: SyntheticCapture) -> None:
    """The dome's skin follows the open mouth and the camera; both are linear."""
    kept, held_out = DomeCapture.split(capture, 0.3)
    assert len(kept) + len(held_out) == 18
    options = LocalOptions(64, geometry=4, appearance=4, grid=8, planes=4)
    codec = closed_form(kept, options, FaceScale.of(kept, 64))
    ours, mean, pca = evaluate_codec(codec, "local", kept, held_out, numbers=4)
    assert ours.texture_db > mean.texture_db + 3.0
    assert pca.texture_db > mean.texture_db
    assert ours.vertices_mm < mean.vertices_mm
    assert ours.multiface_texture < mean.multiface_texture


def test_principal_rows_are_orthonormal_and_span_what_varies() -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    low = torch.randn(20, 3, generator=generator) @ torch.randn(3, 50, generator=generator)
    rows = principal_rows(low, 10)
    assert rows.shape == (3, 50)
    assert torch.allclose(rows @ rows.T, torch.eye(3), atol=1e-4)
    assert torch.allclose(low @ rows.T @ rows, low, atol=1e-3)
