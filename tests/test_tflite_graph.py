"""The reader of tflite files: it takes the networks of tracking, and nothing that is not one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assets.manifest import asset_path
from tracking.net import NETS
from tracking.nets.bundle import network_bytes
from tracking.nets.tflite_graph import read_graph
from tracking.nets.tflite_lowering import LOWERED
from tracking.nets.tflite_shapes import SHAPES, padding


def _model(network: str) -> bytes:
    spec = NETS[network]
    return network_bytes(spec, asset_path(spec.bundle))


@pytest.mark.parametrize("network", NETS)
def test_networks_are_read_whole(network: str) -> None:
    spec = NETS[network]
    graph = read_graph(_model(network), spec, network)
    assert graph.shape(graph.input) == (1, *spec.input_shape)
    assert len(graph.outputs) == len(spec.outputs)
    # Weights are kept in float16 in the file; none of their dequantisation is left.
    assert "DEQUANTIZE" not in {op.kind for op in graph.operators}
    floats = [value for value in graph.constants.values() if value.dtype == np.float32]
    halves = [value for value in floats if (value == value.astype(np.float16)).all()]
    assert len(halves) > 0.9 * len(floats)


def test_every_operator_with_a_shape_can_be_lowered() -> None:
    assert set(LOWERED) == set(SHAPES)


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "expected"),
    [(8, 3, 1, (1, 1)), (8, 3, 2, (0, 1)), (9, 3, 2, (1, 1)), (8, 2, 2, (0, 0)), (8, 5, 2, (1, 2))],
)
def test_same_padding(length: int, kernel: int, stride: int, expected: tuple[int, int]) -> None:
    # The larger half lies behind (tensorflow.org/api_docs/python/tf/nn, "Notes on padding").
    assert padding(length, kernel, stride, 1, 0) == expected
    assert padding(length, kernel, stride, 1, 1) == (0, 0)


def _packed(model: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _swapped_inputs(graph: Any) -> None:
    first = graph.operators[-1]
    first.inputs = np.array([len(graph.tensors) + 5], np.int32)


def _later_input(graph: Any) -> None:
    graph.operators[0].inputs = np.array([graph.outputs[0]], np.int32)


def _no_bias(graph: Any) -> None:
    conv = next(o for o in graph.operators if type(o.builtinOptions).__name__ == "Conv2DOptionsT")
    conv.inputs = np.delete(conv.inputs, 2)


def _no_stride(graph: Any) -> None:
    conv = next(o for o in graph.operators if type(o.builtinOptions).__name__ == "Conv2DOptionsT")
    conv.builtinOptions.strideW = 0


def _other_options(graph: Any) -> None:
    from ai_edge_litert.schema_py_generated import BuiltinOptions, DepthwiseConv2DOptionsT

    conv = next(o for o in graph.operators if type(o.builtinOptions).__name__ == "Conv2DOptionsT")
    other = DepthwiseConv2DOptionsT()
    other.strideW = other.strideH = other.depthMultiplier = 1
    conv.builtinOptions, conv.builtinOptionsType = other, BuiltinOptions.DepthwiseConv2DOptions


def _larger(graph: Any) -> None:
    conv = next(o for o in graph.operators if type(o.builtinOptions).__name__ == "Conv2DOptionsT")
    tensor = graph.tensors[conv.outputs[0]]
    tensor.shape = tensor.shape + np.array([0, 1, 0, 0], np.int32)


def _larger_weights(graph: Any) -> None:
    tensor = graph.tensors[graph.operators[0].outputs[0]]
    tensor.shape = tensor.shape + np.int32(1)


def _endless(graph: Any) -> None:
    tensor = graph.tensors[graph.operators[0].outputs[0]]
    tensor.shape = np.full(4, 60_000, np.int32)


def _batch(graph: Any) -> None:
    graph.tensors[graph.inputs[0]].shape = np.array([2, 128, 128, 3], np.int32)


def _renamed(graph: Any) -> None:
    graph.tensors[graph.outputs[0]].name = b"other"


def _weights_elsewhere(graph: Any) -> None:
    graph.tensors[graph.operators[0].inputs[0]].buffer = 10**6


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_swapped_inputs, "a tensor outside 0"),
        (_later_input, "out of order"),
        (_no_bias, "CONV_2D that cannot be"),
        (_no_stride, "stride 0"),
        (_other_options, "options of type DepthwiseConv2DOptionsT"),
        (_larger, r"CONV_2D to \(1, 65, 64, 24\) instead of \(1, 64, 64, 24\)"),
        (_larger_weights, "DEQUANTIZE of"),
        (_endless, "a tensor of"),
        (_batch, "an input of"),
        (_renamed, "outputs named"),
        (_weights_elsewhere, "in buffer 1000000"),
    ],
)
def test_what_does_not_fit_together_is_refused(change: Any, says: str) -> None:
    from ai_edge_litert.schema_py_generated import ModelT

    spec = NETS["face_detector"]
    model: Any = ModelT.InitFromPackedBuf(_model("face_detector"), 0)
    read_graph(_packed(model), spec, "whole")  # Packing alone changes nothing.
    change(model.subgraphs[0])
    with pytest.raises(ValueError, match=f"x: expected the network face_detector.tflite, .*{says}"):
        read_graph(_packed(model), spec, "x")


@pytest.mark.slow
def test_damaged_networks_never_end_the_process(root: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "tests.damaged_networks", "150"],
        cwd=root, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-3000:]
    # Some of the damage is in weights, which nobody can see.
    assert "refused" in process.stdout
    assert "ran" in process.stdout
    assert "unnamed" not in process.stdout
