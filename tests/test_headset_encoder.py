"""The encoder of headset cameras: the Ava-256 layout read, and codes learned from five pictures."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from avatar.checkpoint import CheckpointError
from avatar.codec import Avatar
from avatar.datasets.capture_files import DatasetError
from avatar.datasets.headset_capture import HeadsetCapture
from avatar.headset_encoder import CAMERAS, HeadsetEncoder, HeadsetEncoderOptions
from avatar.training.headset_training import (
    HeadsetTrainingOptions,
    explained_share,
    train_headset_encoder,
)
from benchmarks.headset_encoder import HeadsetViews

OPTIONS = HeadsetEncoderOptions(geometry=2, appearance=1, size=32, features=8, hidden=32)


class Blobs:
    """Bright spots: the first number moves the eyes' and brows' spot, the second the mouth's, the
    third says how bright the right mouth camera's spot is."""

    def __init__(self, count: int, seed: int) -> None:
        self.codes = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)

    def __len__(self) -> int:
        return len(self.codes)

    def pictures(self, index: int) -> dict[str, np.ndarray]:
        a, b, c = self.codes[index]
        y, x = np.mgrid[:64, :64] / 63.0 - 0.5
        out = {}
        for name in CAMERAS:
            place = 0.12 * (b if "mouth" in name else a)
            if name.startswith("right"):
                place = -place
            size = 0.01 * (1.0 + 0.5 * np.tanh(c)) if name == "right-mouth" else 0.01
            spot = np.exp(-((x - place) ** 2 + y**2) / (2 * size))
            out[name] = np.clip(60 + 120 * spot, 0, 255).astype(np.uint8)
        return out


@pytest.fixture(scope="module")
def learned() -> HeadsetEncoder:
    torch.set_num_threads(1)
    options = HeadsetTrainingOptions(steps=150, batch=16, shift=0)
    return train_headset_encoder(Blobs(200, 0), OPTIONS, options)


def test_codes_of_unseen_moments_are_told(learned: HeadsetEncoder) -> None:
    share = explained_share(learned, Blobs(60, 1))
    assert share.min() > 0.7, share


def test_lost_cameras_and_lamps_of_another_strength_are_borne(learned: HeadsetEncoder) -> None:
    others = Blobs(20, 2)
    errors = []
    for k in range(len(others)):
        pictures = others.pictures(k)
        whole, _ = learned.code(pictures)
        dim = {name: (p // 2 + 10).astype(np.uint8) for name, p in pictures.items()}
        dimmed, _ = learned.code(dim)
        assert np.abs(dimmed - whole).max() < 0.15
        del pictures["left-mouth"]
        geometry, appearance = learned.code(pictures)
        assert geometry.shape == (2,)
        assert appearance.shape == (1,)
        errors.append(geometry[1] - others.codes[k, 1])
    assert np.mean(np.square(errors)) < 0.6 * others.codes[:, 1].var()
    geometry, _ = learned.code({})
    assert np.array_equal(geometry, learned.code_mean.numpy()[:2])


def test_right_cameras_see_through_the_left_ones_trunk_in_a_mirror() -> None:
    """Equal faces in both eyes give equal features."""
    encoder = HeadsetEncoder(OPTIONS)
    picture = torch.randn(1, 5, 32, 32)
    picture[:, 3] = picture[:, 1].flip(2)
    trunk = encoder.trunks[1]
    assert torch.equal(trunk(picture[:, 1:2]), trunk(picture[:, 3:4].flip(3)))
    seen = []
    hook = encoder.joined.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    encoder(picture, torch.ones(1, 5, dtype=torch.bool))
    hook.remove()
    assert torch.equal(seen[0][:, 8:16], seen[0][:, 24:32])


def test_file_gives_the_same_codes(learned: HeadsetEncoder, tmp_path: Path) -> None:
    path = tmp_path / "headset.safetensors"
    learned.write(path)
    pictures = Blobs(1, 3).pictures(0)
    for one, other in zip(
        learned.code(pictures), HeadsetEncoder.open(path).code(pictures), strict=True
    ):
        assert np.array_equal(one, other)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(CheckpointError, match="expected a headset encoder"):
        HeadsetEncoder.open(path)


def test_wrong_pictures_say_so(learned: HeadsetEncoder) -> None:
    with pytest.raises(ValueError, match=r"expected cameras among .* got \['nose'\]"):
        learned.code({"nose": np.zeros((400, 400), np.uint8)})
    with pytest.raises(ValueError, match=r"headset encoder, cyclop: expected \(H, W\) uint8"):
        learned.code({"cyclop": np.zeros((400, 400, 3), np.uint8)})
    short = Blobs(4, 0)
    short.codes = short.codes[:, :2]
    with pytest.raises(ValueError, match="expected codes of 3 numbers"):
        train_headset_encoder(short, OPTIONS, HeadsetTrainingOptions(steps=1))


def test_synthetic_headset_shows_a_face_to_each_camera() -> None:
    """In the layout's order, none of them an empty view."""
    with Avatar.open("default") as avatar:
        views = HeadsetViews.draw(avatar, 3, seed=4, size=64)
    assert views.codes.shape[0] == len(views) == 3
    for k in range(3):
        pictures = views.pictures(k)
        assert tuple(pictures) == CAMERAS
        for name, picture in pictures.items():
            assert picture.shape == (64, 64)
            assert picture.std() > 10, name


def test_ava256_headset_layout_is_read(tmp_path: Path) -> None:
    image = tmp_path / "encoder" / "image"
    image.mkdir(parents=True)
    (tmp_path / "encoder" / "frame_list.csv").write_text("seg_id,frame_id\nEXP_eyes,7\nGAZE,8\n")
    rng = np.random.default_rng(0)
    truth = {name: rng.integers(0, 255, (400, 400), np.uint8) for name in CAMERAS}
    for name, picture in truth.items():
        with zipfile.ZipFile(image / f"cam-{name}.zip", "w") as archive:
            for frame in (7, 8) if name != "cyclop" else (7,):
                data = io.BytesIO()
                Image.fromarray(picture).save(data, "PNG")
                archive.writestr(f"cam-{name}/{frame:06d}.png", data.getvalue())
    capture = HeadsetCapture(tmp_path)
    assert len(capture) == 2
    assert capture.frames[0] == ("EXP_eyes", "000007")
    first = capture[0]
    assert tuple(first) == CAMERAS
    assert all(np.array_equal(first[name], truth[name]) for name in CAMERAS)
    assert "cyclop" not in capture[1]
    capture.close()
    with pytest.raises(DatasetError, match=r"frame_list\.csv"):
        HeadsetCapture(tmp_path / "nowhere")
