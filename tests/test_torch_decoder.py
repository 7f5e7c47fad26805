"""Engines of the personal decoder: torch against its numpy twin, and CUDA where there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from avatar.avatar_file import read_avatar_file
from avatar.eye_balls import gaze_from_angles
from avatar.head_code import DecodedHead, HeadCode
from avatar.local_texture import LocalTexture
from avatar.personal_avatar import PersonalAvatar
from avatar.personal_decoder import NumpyDecoder, open_decoder
from avatar.personal_model import PersonalModel
from avatar.torch_decoder import CudaEngine, TorchDecoder, TorchTexture, has_cuda
from capture.frame_source import open_source
from streams.rigid import Rigid
from tracking.tracker import Tracker, TrackerOptions

EXACT_M, EXACT_NORMAL, EXACT_NODES = 1e-6, 1e-4, 1e-5
"""float32 sums in another order: metres, parts of a unit normal, parts of the largest node."""
HALF_M, HALF_NORMAL, HALF_NODES = 2e-5, 2e-2, 2e-3
"""Half-precision products: a fiftieth of a millimetre, and a texture within one code value."""


@pytest.fixture(scope="module")
def model(small_avatar: Path) -> PersonalModel:
    return read_avatar_file(small_avatar).model


def random_codes(model: PersonalModel, count: int, seed: int = 6) -> list[HeadCode]:
    rng = np.random.default_rng(seed)
    codes = []
    for _ in range(count):
        towards = rng.normal(size=3)
        codes.append(
            HeadCode(
                rng.normal(size=model.geometry_size).astype(np.float32),
                rng.normal(size=model.appearance_size).astype(np.float32),
                gaze_from_angles(rng.uniform(-0.5, 0.5, (2, 2))),
                Rigid.from_rotvec(0.5 * rng.normal(size=3), 0.5 * rng.normal(size=3)),
                (towards / np.linalg.norm(towards)).astype(np.float32),
            )
        )
    return codes


def require_equal(got: DecodedHead, twin: DecodedHead, limits: tuple[float, float, float]) -> None:
    metres, normal, nodes = limits
    assert np.abs(got.vertices - twin.vertices).max() < metres
    assert np.abs(got.normals - twin.normals).max() < normal
    assert np.abs(got.nodes - twin.nodes).max() < nodes * np.abs(twin.nodes).max()
    assert np.abs(got.gain - twin.gain).max() < 1e-5


def heads(decoder: TorchDecoder, codes: list[HeadCode]) -> list[DecodedHead]:
    with torch.no_grad():
        out = decoder(torch.from_numpy(decoder.packed(codes)))
    parts = (out.vertices, out.normals, out.nodes, out.gain)
    return [DecodedHead(*(part[k].numpy() for part in parts)) for k in range(len(codes))]


def test_a_batch_in_torch_is_each_head_in_numpy(model: PersonalModel) -> None:
    codes, twin = random_codes(model, 5), NumpyDecoder(model)
    straight = HeadCode(codes[0].geometry, codes[0].appearance, codes[0].gaze,
                        Rigid.identity(), codes[0].towards)  # fmt: skip
    codes.append(straight)  # no turn on the neck: no axis
    for got, code in zip(heads(TorchDecoder(model), codes), codes, strict=True):
        require_equal(got, twin.decode(code), (EXACT_M, EXACT_NORMAL, EXACT_NODES))


def test_half_precision_keeps_a_fiftieth_of_a_millimetre(model: PersonalModel) -> None:
    codes, twin = random_codes(model, 4), NumpyDecoder(model)
    decoder = TorchDecoder(model, half=True)
    assert decoder.moves.dtype == torch.float16
    for got, code in zip(heads(decoder, codes), codes, strict=True):
        require_equal(got, twin.decode(code), (HALF_M, HALF_NORMAL, HALF_NODES))


@pytest.mark.parametrize("half", [False, True])
def test_the_whole_texture_is_that_of_the_cpu(model: PersonalModel, half: bool) -> None:
    twin, decoder = LocalTexture(model.texture_basis()), NumpyDecoder(model)
    decoded = [decoder.decode(code) for code in random_codes(model, 2)]
    nodes = torch.from_numpy(np.stack([d.nodes for d in decoded]))
    gain = torch.from_numpy(np.stack([d.gain for d in decoded]))
    with torch.no_grad():
        pictures = TorchTexture(model, half)(nodes, gain).numpy()
    for picture, d in zip(pictures, decoded, strict=True):
        wanted = twin.picture(d.nodes, d.gain)
        assert picture.shape == wanted.shape
        assert wanted.std() > 10
        assert np.abs(picture.astype(int) - wanted).max() <= 1


def test_an_avatar_draws_alike_with_either_engine(small_avatar: Path, demo_clip: Path) -> None:
    file = read_avatar_file(small_avatar)
    plain = PersonalAvatar(file.model, file.id)
    other = PersonalAvatar(file.model, file.id, engine="torch")
    with (
        open_source(f"video:{demo_clip}") as source,
        Tracker.open(TrackerOptions(hands=0)) as tracker,
    ):
        for _, frame in zip(range(4), source, strict=False):
            code = plain.encode(tracker.track(frame), frame)
            a, b = plain.decode_nodes(code), other.decode_nodes(code)
            assert np.abs(a.vertices - b.vertices).max() < EXACT_M
            assert np.abs(a.nodes - b.nodes).max() < EXACT_NODES * np.abs(a.nodes).max()


def test_engines_by_name(model: PersonalModel) -> None:
    assert open_decoder("numpy", model).name == "numpy"
    assert open_decoder("torch", model).name == "torch"
    assert open_decoder("auto", model).name == ("cuda" if has_cuda() else "numpy")
    with pytest.raises(ValueError, match="numpy, torch, cuda, auto"):
        open_decoder("metal", model)
    if not has_cuda():
        with pytest.raises(RuntimeError, match="finds none"):
            open_decoder("cuda", model)


@pytest.mark.gpu
def test_a_captured_graph_is_the_numpy_twin(model: PersonalModel) -> None:
    if not has_cuda():
        pytest.skip("no CUDA device")
    twin, engine = NumpyDecoder(model), CudaEngine(model)
    for code in random_codes(model, 6):  # replays do not remember the last
        require_equal(engine.decode(code), twin.decode(code), (HALF_M, HALF_NORMAL, HALF_NODES))
    codes = random_codes(model, 3, seed=9)
    many = CudaEngine(model, batch=3, texture=True)
    out = many.run(many.packed(codes))
    assert many.picture is not None
    texture = LocalTexture(model.texture_basis())
    for k, code in enumerate(codes):
        wanted = twin.decode(code)
        assert np.abs(out.vertices[k].cpu().numpy() - wanted.vertices).max() < HALF_M
        picture = texture.picture(wanted.nodes, wanted.gain).astype(int)
        assert np.abs(many.picture[k].cpu().numpy() - picture).max() <= 2
