"""The networks as torch modules: compiled, exported, in half precision, on a device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.network_inputs import fresh, on_people, on_the_clip, seen
from tracking.net import NETS
from tracking.nets.litert import LiteRtNets
from tracking.nets.torch_nets import TorchNets

HALF = 0.1
"""Mean pixels of the network's input by which float16 may move landmarks."""


@pytest.fixture(scope="module")
def nets() -> TorchNets:
    return TorchNets()


@pytest.mark.parametrize("network", NETS)
def test_modules_are_compiled_whole(network: str, nets: TorchNets) -> None:
    module = nets.module(network)
    # Tracing is what breaks a graph; the code that a backend makes of it is torch's own matter.
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    batch = torch.from_numpy(fresh(NETS[network], 2, np.random.default_rng()))
    with torch.inference_mode():
        for found, expected in zip(compiled(batch), module(batch), strict=True):
            assert torch.allclose(found, expected, atol=1e-3, rtol=0.0)


@pytest.mark.parametrize("network", NETS)
def test_modules_are_exported_with_any_batch(network: str, nets: TorchNets) -> None:
    module = nets.module(network)
    two, five = (
        torch.from_numpy(fresh(NETS[network], count, np.random.default_rng())) for count in (2, 5)
    )
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(module, (two,), dynamic_shapes=({0: batch},))
    with torch.inference_mode():
        for found, expected in zip(program.module()(five), module(five), strict=True):
            assert torch.allclose(found, expected, atol=1e-3, rtol=0.0)


@pytest.mark.parametrize("network", ["hand_detector", "face_landmarks"])
def test_pictures_keep_the_order_of_the_file_in_memory(network: str, nets: TorchNets) -> None:
    module = nets.module(network)
    orders: list[bool] = []

    class Watch(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> object:
            result = super().run_node(n)
            if isinstance(result, torch.Tensor) and n.target is torch.nn.functional.conv2d:
                orders.append(result.is_contiguous(memory_format=torch.channels_last))
            return result

    with torch.inference_mode():
        Watch(module).run(torch.zeros(2, *NETS[network].input_shape))
    assert len(orders) > 60
    assert all(orders)


def test_a_face_costs_no_copies_between_orders(nets: TorchNets) -> None:
    code = nets.module("face_landmarks").code
    assert "contiguous" not in code
    # Into planes at the beginning, and back for the outputs alone.
    assert code.count("permute") < 300


@pytest.mark.parametrize("network", ["hand_landmarks", "face_landmarks"])
def test_half_precision_moves_landmarks_little(network: str, demo_clip: Path) -> None:
    _require_close_in_half(network, seen(network, LiteRtNets(1), on_the_clip(network, demo_clip)))


@pytest.mark.parametrize("network", ["hand_landmarks", "face_landmarks"])
def test_half_precision_moves_peoples_landmarks_little(network: str, shared_data: Path) -> None:
    _require_close_in_half(network, seen(network, LiteRtNets(1), on_people(network, shared_data)))


def _require_close_in_half(network: str, batch: np.ndarray) -> None:
    expected = LiteRtNets(1).open(network)(batch)
    found = TorchNets(dtype="float16").open(network)(batch)
    apart = (found[0] - expected[0]).reshape(len(batch), -1, 3)[..., :2]
    assert 0.0 < np.linalg.norm(apart, axis=-1).mean() <= HALF
    assert np.abs(found[1] - expected[1]).max() <= 0.05


def test_blendshapes_stay_in_single_precision(nets: TorchNets) -> None:
    batch = fresh(NETS["face_blendshapes"], 2, np.random.default_rng())
    (half,) = TorchNets(dtype="float16").open("face_blendshapes")(batch)
    (single,) = nets.open("face_blendshapes")(batch)
    assert np.array_equal(half, single)


def test_outputs_of_half_precision_are_not_rounded_to_it() -> None:
    net = TorchNets(dtype="float16").open("hand_landmarks")
    landmarks = net(fresh(net.spec, 2, np.random.default_rng()))[0]
    assert (landmarks != landmarks.astype(np.float16)).mean() > 0.9


def test_other_devices_and_dtypes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected dtype float32 or float16, got 'bfloat16'"):
        TorchNets(dtype="bfloat16")
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="torch finds no CUDA; use 'cpu'"):
            TorchNets("cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("network", NETS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_cuda_answers_as_the_cpu_does(network: str, dtype: str, demo_clip: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    litert = LiteRtNets(1)
    batch = seen(network, litert, on_the_clip(network, demo_clip))
    expected = litert.open(network)(batch)
    found = TorchNets("cuda", dtype).open(network)(batch)
    for a, b in zip(found, expected, strict=True):
        assert np.abs(a - b).mean() <= (1e-3 if dtype == "float32" else HALF)
