"""Training codecs on registered faces: the networks, the loop, and what interruptions cost."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from avatar.training.capture_training import (
    CaptureTrainer,
    CaptureTrainingOptions,
    batch_rows,
    codec_of,
    new_codec,
    train_on_capture,
)
from avatar.training.conv_decoder import ConvCodec, ConvOptions
from avatar.training.face_codec import Batch, FaceScale
from avatar.training.local_decoder import node_shares_along
from avatar.training.process_group import ProcessGroup, joined
from avatar.training.training_checkpoint import TrainingCheckpoint, TrainingCheckpointError

ALONE = ProcessGroup(0, 1, torch.device("cpu"))
WORKER = Path(__file__).with_name("capture_training_worker.py")


@pytest.fixture(scope="module")
def worker() -> ModuleType:
    """The module that torchrun runs."""
    spec = importlib.util.spec_from_file_location("capture_training_worker", WORKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Sums in one order."""
    torch.set_num_threads(1)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_conv_reference_is_as_large_as_published() -> None:
    """Multiface's base and "non" at 1024 texels, 7,306 vertices and a code of 128."""
    codec = ConvCodec(ConvOptions(1024, 128), 7306)
    assert round(count(codec.encoder) / 1e6, 2) == 6.79
    assert round(count(codec.decoder) / 1e6, 2) == 15.89
    assert round(codec.decoder.texel_biases() / 1e6, 2) == 9.13
    plain = ConvCodec(ConvOptions(1024, 128, texel_bias=False), 7306)
    assert round(count(plain.decoder) / 1e6, 2) == 6.75


@pytest.mark.parametrize("size", [64, 128, 256])
def test_conv_reference_at_other_sizes(size: int) -> None:
    codec = ConvCodec(ConvOptions(size, latent=8), 5)
    code, view = torch.randn(2, 8), torch.randn(2, 3)
    texture, vertices = codec.decode(code, view)
    assert texture.shape == (2, 3, size, size)
    assert vertices.shape == (2, 5, 3)
    encoded = codec.encode(texture, torch.ones(2, 1, size, size), vertices, view)
    assert encoded.mean.shape == encoded.log_std.shape == (2, 8)
    with pytest.raises(ValueError, match=r"ConvOptions\.size: expected 64"):
        ConvOptions(100)


def test_new_transposed_layers_magnify_without_a_pattern() -> None:
    """A constant map stays constant away from the border, as all four kernels start equal."""
    layer = ConvCodec(ConvOptions(64, latent=8), 5).decoder.up[0]
    out = layer(torch.ones(1, 8, 4, 4))[0, :, 2:-2, 2:-2]
    assert torch.allclose(out, out[:, :1, :1].expand_as(out), atol=1e-6)


def test_unseen_texels_say_nothing(worker: ModuleType) -> None:
    """Whatever stands in texels that are not seen, code and losses stay as they are."""
    capture = worker.WavingSheet(24)
    for decoder in ("conv", "local"):
        codec = new_codec(capture, worker.options_for(decoder))
        moment = capture[3]
        painted = moment.texture.copy()
        painted[moment.seen == 0] = 255
        other = replace(moment, texture=painted)
        codes = [
            codec.encode(*codec.normalised(Batch.of([one], worker.SIZE))).mean
            for one in (moment, other)
        ]
        assert torch.equal(*codes)


def test_texels_never_seen_look_like_their_neighbours(worker: ModuleType) -> None:
    scale = FaceScale.of(worker.WavingSheet(24), worker.SIZE)
    unseen = worker.SIZE // 8
    edge = scale.texture_mean[:, :, unseen]
    assert np.array_equal(scale.texture_mean[:, :, 0], edge)
    assert scale.texture_mean.shape == (3, worker.SIZE, worker.SIZE)
    assert 5 < scale.texture_std < 60


def test_local_codec_begins_as_the_closed_form(worker: ModuleType) -> None:
    """Untrained, it repeats moments that the fit never saw: three numbers rule this capture."""
    capture, unseen = worker.WavingSheet(60), worker.WavingSheet(8, first=500)
    codec = new_codec(capture, worker.options_for("local"))
    moments = [unseen[k] for k in range(8)]
    batch = Batch.of(moments, worker.SIZE)
    texture, vertices = codec.repeated(batch)
    error = ((texture - batch.texture) * batch.seen).square().mean().sqrt()
    spread = ((codec.texture_mean - batch.texture) * batch.seen).square().mean().sqrt()
    assert error < 0.2 * spread
    assert (vertices - batch.vertices).norm(dim=2).mean() < 2e-4


def test_node_shares_are_what_a_texture_unit_takes() -> None:
    shares = node_shares_along(64, 4)
    nodes = torch.rand(1, 1, 4, 4)
    wanted = torch.nn.functional.interpolate(nodes, (64, 64), mode="bilinear", align_corners=False)
    share = torch.from_numpy(shares)
    assert torch.allclose(share @ nodes[0, 0] @ share.T, wanted[0, 0], atol=1e-6)


def test_batches_go_through_the_whole_capture() -> None:
    rows = [row for step in range(6) for row in batch_rows(8, 4, seed=3, step=step)]
    assert [sorted(rows[k : k + 8]) for k in (0, 8, 16)] == [list(range(8))] * 3
    assert rows[:8] != rows[8:16]
    assert batch_rows(8, 4, 3, 5) == rows[20:24]


@pytest.mark.parametrize("decoder", ["conv", "local"])
def test_training_lowers_the_loss_and_resumes_bit_for_bit(
    decoder: str, worker: ModuleType, tmp_path: Path
) -> None:
    capture, options = worker.WavingSheet(24), worker.options_for(decoder)
    whole = train_on_capture(capture, options, tmp_path / "whole", ALONE)

    def stop_at_six(done: int) -> None:
        if done == 6:
            raise InterruptedError

    folder = tmp_path / "stopped"
    with pytest.raises(InterruptedError):
        train_on_capture(capture, options, folder, ALONE, after_step=stop_at_six)
    newest = TrainingCheckpoint.newest(folder)
    assert newest is not None
    assert newest.step == 4
    resumed = train_on_capture(capture, options, folder, ALONE)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    start = TrainingCheckpoint.newest(tmp_path / "whole")
    assert start is not None
    assert start.step == options.steps
    assert torch.equal(codec_of(start).texture_mean, whole.texture_mean)


def test_conv_reference_learns(worker: ModuleType) -> None:
    capture = worker.WavingSheet(64)
    options = replace(worker.options_for("conv", 150), batch=8, learning_rate=2e-3)
    codec = new_codec(capture, options)
    start = TrainingCheckpoint(
        0, {f"model.{k}": v for k, v in codec.state_dict().items()}, options.about()
    )
    trainer = CaptureTrainer(capture, options, start, ALONE)
    first = [trainer.step() for _ in range(10)]
    for _ in range(130):
        trainer.step()
    last = [trainer.step() for _ in range(10)]
    assert np.mean([one.texture for one in last]) < 0.35 * np.mean([one.texture for one in first])
    assert np.mean([one.vertices for one in last]) < 0.35 * np.mean([one.vertices for one in first])


@pytest.mark.parametrize("decoder", ["conv", "local"])
def test_autocast_and_codes_without_noise(decoder: str, worker: ModuleType) -> None:
    """bfloat16 has 8 bits: losses agree to a few per cent. Without noise the code is its mean."""
    capture, options = worker.WavingSheet(24), worker.options_for(decoder, 2)
    tensors = {f"model.{k}": v for k, v in new_codec(capture, options).state_dict().items()}
    start = TrainingCheckpoint(0, tensors, options.about())
    options = replace(options, sampled=False)
    plain, half = (
        CaptureTrainer(capture, replace(options, autocast=on), start, ALONE).step()
        for on in (False, True)
    )
    assert half.total == pytest.approx(plain.total, rel=0.05)
    again = CaptureTrainer(capture, options, start, ALONE).step()
    assert again == plain


@pytest.mark.gpu
def test_a_gpu_trains_as_the_cpu_does(worker: ModuleType, tmp_path: Path) -> None:
    """Sums in another order, nothing else: after 12 steps the weights agree to a per cent of how
    far they moved."""
    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device")
    capture, options = worker.WavingSheet(24), worker.options_for("conv")
    begun = new_codec(capture, options)
    on_gpu = ProcessGroup(0, 1, torch.device("cuda", 0))
    fast = train_on_capture(capture, options, tmp_path / "gpu", on_gpu).cpu()
    slow = train_on_capture(capture, options, tmp_path / "cpu", ALONE)
    assert distance(fast, slow) < 1e-2 * distance(slow, begun)


def test_training_does_not_lose_the_closed_form(worker: ModuleType) -> None:
    """Its numbers are of many orders of magnitude; steps of one size would shake it to pieces."""
    capture, options = worker.WavingSheet(40), worker.options_for("local", 60)
    options = replace(options, learning_rate=2e-4, batch=8)
    tensors = {f"model.{k}": v for k, v in new_codec(capture, options).state_dict().items()}
    trainer = CaptureTrainer(
        capture, options, TrainingCheckpoint(0, tensors, options.about()), ALONE
    )
    losses = [trainer.step().texture for _ in range(60)]
    assert max(losses) < 2.0 * np.mean(losses[:5])
    assert np.mean(losses[-10:]) < 1.1 * np.mean(losses[:5])


def test_damaged_checkpoints_are_passed_over(worker: ModuleType, tmp_path: Path) -> None:
    options = worker.options_for("conv", 8)
    for left in (".step-00000002.safetensors.part", "step-00000001.safetensors"):
        (tmp_path / left).write_bytes(b"of a process that was killed as it wrote")
    train_on_capture(worker.WavingSheet(8), options, tmp_path, ALONE)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-00000004.json",
        "step-00000004.safetensors",
        "step-00000008.json",
        "step-00000008.safetensors",
    ]
    tensors = tmp_path / "step-00000008.safetensors"
    raw = bytearray(tensors.read_bytes())
    raw[-100] ^= 1
    tensors.write_bytes(bytes(raw))
    newest = TrainingCheckpoint.newest(tmp_path)
    assert newest is not None
    assert newest.step == 4
    (tmp_path / "step-00000004.json").write_text("{", encoding="utf-8")
    assert TrainingCheckpoint.newest(tmp_path) is None
    with pytest.raises(TrainingCheckpointError, match="SHA-256"):
        TrainingCheckpoint.read(tmp_path / "step-00000008.json")


def test_another_codec_in_the_folder_is_an_error(worker: ModuleType, tmp_path: Path) -> None:
    capture = worker.WavingSheet(8)
    train_on_capture(capture, worker.options_for("conv", 1), tmp_path, ALONE)
    with pytest.raises(TrainingCheckpointError, match="train in another folder"):
        train_on_capture(capture, worker.options_for("local", 2), tmp_path, ALONE)


def test_wrong_options_say_so(worker: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"decoder: expected one of \['conv', 'local'\]"):
        CaptureTrainingOptions(decoder="gan")
    three = ProcessGroup(0, 3, torch.device("cpu"))
    options = worker.options_for("conv")
    codec = new_codec(worker.WavingSheet(8), options)
    start = TrainingCheckpoint(
        0, {f"model.{k}": v for k, v in codec.state_dict().items()}, options.about()
    )
    with pytest.raises(ValueError, match="multiple of the 3 processes, got 4"):
        CaptureTrainer(worker.WavingSheet(8), options, start, three)
    with pytest.raises(ValueError, match="device: expected auto, cpu or cuda"), joined("tpu"):
        pass


def distance(one: torch.nn.Module, other: torch.nn.Module) -> float:
    """Between all parameters of two modules."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return sum(float((a - b).detach().square().sum()) for a, b in pairs) ** 0.5


def torchrun(folder: Path, decoder: str, kill_at: int) -> str:
    """Two processes; the second kills itself after `kill_at` steps, once."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(WORKER.parents[1]),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
            "--max-restarts", "1", "--monitor-interval", "0.2", "--rdzv-backend", "c10d",
            "--rdzv-endpoint", "localhost:0", str(WORKER), str(folder), decoder, str(kill_at),
        ],
        env=environment, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_killed_process_is_restarted_and_nothing_changes(
    worker: ModuleType, tmp_path: Path
) -> None:
    """Two processes, one killed in mid-training: torchrun starts both again, they go on from the
    checkpoint, and every weight and moment ends bit-equal to a run in peace. Against one process
    alone only the order of sums differs."""
    said = torchrun(tmp_path / "killed", "conv", kill_at=6)
    assert "going on after step 4" in said
    torchrun(tmp_path / "peace", "conv", kill_at=-1)
    killed, peace = (TrainingCheckpoint.newest(tmp_path / name) for name in ("killed", "peace"))
    assert killed is not None
    assert peace is not None
    assert killed.step == peace.step == 12
    assert killed.tensors.keys() == peace.tensors.keys()
    for name, value in peace.tensors.items():
        assert torch.equal(value, killed.tensors[name]), name
    capture, options = worker.WavingSheet(24), worker.options_for("conv")
    alone = train_on_capture(capture, options, tmp_path / "alone", ALONE)
    begun, other = new_codec(capture, options), codec_of(peace)
    assert distance(alone, other) < 1e-2 * distance(alone, begun)
