"""From a tflite graph to a torch module: one function a kind of operator writes its torch calls.

The calls are recorded in a `torch.fx` graph, so the module's forward is straight torch code (print
`module.code`) that `torch.compile`, `torch.export` and CUDA graphs take whole. Three things differ
from the file:

- The batch is what comes in. Every value keeps it as its first axis, also where the file has a
  batch of one written into a reshape, or drops it.
- Pictures are (N, C, H, W) in memory order N, H, W, C (channels_last), the order of the file; what
  is reshaped or transposed is seen as (N, H, W, C) without a copy.
- In float16 the layers that compute the outputs stay in float32: half floats between 128 and 256
  are 1/8 apart, which alone would cost a landmark up to 1/16 pixel.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from tracking.nets.tflite_graph import Constant, Operator, TfliteGraph
from tracking.nets.tflite_shapes import padding, reduced_axes, slices

RELU, RELU6 = 1, 3
"""The schema's ActivationFunctionType."""
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""Kinds with weights."""


@dataclass(frozen=True, slots=True)
class Value:
    """What a call in the fx graph gives."""

    node: fx.Node
    planes: bool = False
    """Whether its axes are (N, C, H, W); else they are the file's."""


def lower(graph: TfliteGraph, dtype: torch.dtype = torch.float32) -> fx.GraphModule:
    """A module: (N, *input shape) float32 -> for each output (N, size) float32.

    `dtype` is what it computes in, float32 or float16; its weights are buffers.
    """
    return _Lowering(graph, dtype).module()


class _Lowering:
    """The fx graph while it grows."""

    def __init__(self, graph: TfliteGraph, dtype: torch.dtype) -> None:
        self._graph = graph
        self._root = nn.Module()
        self._calls = fx.Graph()
        self._dtype = dtype
        self._numbers = count()
        self._exact = _computing_outputs(graph)
        given = self._calls.placeholder("batch")
        self.count = self._calls.call_method("size", (given, 0))
        self._values = {graph.input: Value(given)}
        if len(graph.shape(graph.input)) == 4:
            self._values[graph.input] = Value(self.view(given, 0, 3, 1, 2), True)

    def module(self) -> fx.GraphModule:
        for op in self._graph.operators:
            self._values[op.output] = LOWERED[op.kind](self, op)
        outputs = []
        for number in self._graph.outputs:
            flat = self.file_order(self._values[number])
            outputs.append(self.method("reshape", flat, self.count, -1))
        self._calls.output(tuple(outputs))
        self._calls.lint()
        return fx.GraphModule(self._root, self._calls, "TfliteModule").eval()

    def shape(self, number: int) -> tuple[int, ...]:
        """In the file's order, with a batch of 1."""
        return self._graph.shape(number)

    def is_constant(self, number: int) -> bool:
        return number in self._graph.constants

    def told(self, op: Operator, k: int) -> Constant:
        """An input that is known beforehand: axes, sizes."""
        return self._graph.constants[op.inputs[k]]

    def value(self, op: Operator, k: int) -> Value:
        """The k-th input, in float32 where the operator is to compute in it."""
        number = op.inputs[k]
        kind = torch.float32 if op.output in self._exact else self._dtype
        constant = self._graph.constants.get(number)
        if constant is not None:
            return Value(self.buffer(torch.from_numpy(np.array(constant, np.float32)), kind))
        value = self._values[number]
        given = number in self._exact or number == self._graph.input
        if (torch.float32 if given else self._dtype) == kind:
            return value
        return Value(self.method("to", value.node, kind), value.planes)

    def buffer(self, values: Tensor, kind: torch.dtype) -> fx.Node:
        """A constant of the module."""
        name = f"constant_{next(self._numbers)}"
        self._root.register_buffer(name, values.to(kind), persistent=False)
        return self._calls.get_attr(name)

    def weights(self, op: Operator, k: int, axes: tuple[int, ...] | None = None) -> fx.Node:
        """The k-th input's values with their axes reordered."""
        # A view keeps the file's memory order, which for weights is channels_last too.
        values = torch.from_numpy(np.array(self.told(op, k)))
        kind = torch.float32 if op.output in self._exact else self._dtype
        return self.buffer(values if axes is None else values.permute(axes), kind)

    def call(self, function: Callable[..., object], *args: object, **named: object) -> fx.Node:
        return self._calls.call_function(function, args, named)  # type: ignore[arg-type]

    def method(self, name: str, *args: object) -> fx.Node:
        return self._calls.call_method(name, args)  # type: ignore[arg-type]

    def view(self, node: fx.Node, *axes: int) -> fx.Node:
        return self.method("permute", node, *axes)

    def planes(self, value: Value) -> fx.Node:
        """(N, C, H, W)."""
        return value.node if value.planes else self.view(value.node, 0, 3, 1, 2)

    def file_order(self, value: Value) -> fx.Node:
        """(N, H, W, C), or as the file has it."""
        return self.view(value.node, 0, 2, 3, 1) if value.planes else value.node

    def activated(self, node: fx.Node, activation: int) -> fx.Node:
        if activation == RELU:
            return self.call(functional.relu, node)
        return self.call(functional.relu6, node) if activation == RELU6 else node


def _computing_outputs(graph: TfliteGraph) -> set[int]:
    """Outputs of the operators from the last weights on each way to the graph's outputs."""
    by_output = {op.output: op for op in graph.operators}
    found: set[int] = set()
    waiting = list(graph.outputs)
    while waiting:
        op = by_output.get(waiting.pop())
        if op is not None and op.output not in found:
            found.add(op.output)
            if op.kind not in WEIGHTED:
                waiting += op.inputs
    return found


def _convolution(low: _Lowering, op: Operator) -> Value:
    given, options = low.value(op, 0), op.options
    depthwise = op.kind == "DEPTHWISE_CONV_2D"
    _, height, width, channels = low.shape(op.inputs[0])
    rows, columns = low.shape(op.inputs[1])[1:3]
    stride, dilation = (
        (options.strideH, options.strideW),
        (options.dilationHFactor, options.dilationWFactor),
    )
    bias = low.weights(op, 2)
    if (rows, columns) == stride == (1, 1) and not depthwise and not given.planes:
        # A product at each place: no reason to make planes of it.
        matrix = low.method("flatten", low.weights(op, 1), 1)
        node = low.call(functional.linear, given.node, matrix, bias)
        return Value(low.activated(node, options.fusedActivationFunction))
    above, below = padding(height, rows, stride[0], dilation[0], options.padding)
    left, right = padding(width, columns, stride[1], dilation[1], options.padding)
    node = low.planes(given)
    around = (above, left)
    if (above, left) != (below, right):
        node, around = low.call(functional.pad, node, (left, right, above, below)), (0, 0)
    kernel = low.weights(op, 1, (3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
    groups = channels if depthwise else 1
    node = low.call(functional.conv2d, node, kernel, bias, stride, around, dilation, groups)
    return Value(low.activated(node, options.fusedActivationFunction), True)


def _fully_connected(low: _Lowering, op: Operator) -> Value:
    node = low.file_order(low.value(op, 0))
    if not op.options.keepNumDims:
        node = low.method("flatten", node, 1)
    node = low.call(functional.linear, node, low.weights(op, 1), low.weights(op, 2))
    return Value(low.activated(node, op.options.fusedActivationFunction))


def _prelu(low: _Lowering, op: Operator) -> Value:
    slopes = low.method("flatten", low.weights(op, 1))
    return Value(low.call(functional.prelu, low.planes(low.value(op, 0)), slopes), True)


def _pooling(low: _Lowering, op: Operator) -> Value:
    options = op.options
    _, height, width, _ = low.shape(op.inputs[0])
    kernel = options.filterHeight, options.filterWidth
    above, below = padding(height, kernel[0], options.strideH, 1, options.padding)
    left, right = padding(width, kernel[1], options.strideW, 1, options.padding)
    node = low.planes(low.value(op, 0))
    if above or below or left or right:
        lowest = float("-inf")
        node = low.call(functional.pad, node, (left, right, above, below), value=lowest)
    node = low.call(functional.max_pool2d, node, kernel, (options.strideH, options.strideW))
    return Value(low.activated(node, options.fusedActivationFunction), True)


def _resize(low: _Lowering, op: Operator) -> Value:
    node = low.call(
        functional.interpolate,
        low.planes(low.value(op, 0)),
        size=tuple(low.told(op, 1).tolist()),
        mode="bilinear",
        align_corners=bool(op.options.alignCorners),
    )
    return Value(node, True)


def _pad(low: _Lowering, op: Operator) -> Value:
    given, sides = low.value(op, 0), low.told(op, 1).tolist()
    if given.planes:
        sides = [sides[0], sides[3], sides[1], sides[2]]
    # torch has the last axis first.
    flat = tuple(length for pair in reversed(sides[1:]) for length in pair)
    return Value(low.call(functional.pad, given.node, flat), given.planes)


def _reshape(low: _Lowering, op: Operator) -> Value:
    node = low.file_order(low.value(op, 0))
    return Value(low.method("reshape", node, low.count, *low.shape(op.output)[1:]))


def _transpose(low: _Lowering, op: Operator) -> Value:
    return Value(low.view(low.file_order(low.value(op, 0)), *low.told(op, 1).tolist()))


def _reduced(low: _Lowering, op: Operator) -> Value:
    node = low.file_order(low.value(op, 0))
    axes = reduced_axes(low.told(op, 1).tolist(), len(low.shape(op.inputs[0])))
    function = torch.mean if op.kind == "MEAN" else torch.sum
    return Value(low.call(function, node, dim=axes, keepdim=bool(op.options.keepDims)))


def _concatenation(low: _Lowering, op: Operator) -> Value:
    parts = []
    for k, number in enumerate(op.inputs):
        node = low.file_order(low.value(op, k))
        if low.is_constant(number):
            node = low.method("expand", node, low.count, *low.shape(number)[1:])
        parts.append(node)
    return Value(low.call(torch.cat, parts, op.options.axis))


def _strided_slice(low: _Lowering, op: Operator) -> Value:
    node = low.file_order(low.value(op, 0))
    begin, end, stride = (low.told(op, k).tolist() for k in (1, 2, 3))
    cuts, dropped = slices(begin, end, stride, op.options, low.shape(op.inputs[0]))
    for axis, cut in reversed(list(enumerate(cuts))):
        if axis == 0:
            continue  # The batch stays whole, and stays.
        if axis in dropped:
            node = low.method("select", node, axis, cut.start)
        elif cut != slice(None, None, 1):
            at = (slice(None),) * axis + (cut,)
            node = low.call(operator.getitem, node, at)
    return Value(node)


def _elementwise(low: _Lowering, op: Operator) -> Value:
    a, b = low.value(op, 0), low.value(op, 1)
    planes = a.planes and b.planes
    left, right = (a.node, b.node) if planes else (low.file_order(a), low.file_order(b))
    if op.kind == "SQUARED_DIFFERENCE":
        return Value(low.call(torch.square, low.call(torch.sub, left, right)), planes)
    return Value(low.call(TWO[op.kind], left, right), planes)


def _one(low: _Lowering, op: Operator) -> Value:
    given = low.value(op, 0)
    return Value(low.call(ONE[op.kind], given.node), given.planes)


ONE: Mapping[str, Callable[..., Tensor]] = {
    "RELU": functional.relu, "LOGISTIC": torch.sigmoid, "NEG": torch.neg, "SQRT": torch.sqrt,
    "RSQRT": torch.rsqrt,
}  # fmt: skip
TWO: Mapping[str, Callable[..., Tensor]] = {
    "ADD": torch.add, "SUB": torch.sub, "MUL": torch.mul, "DIV": torch.div,
}  # fmt: skip

LOWERED: Mapping[str, Callable[[_Lowering, Operator], Value]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "FULLY_CONNECTED": _fully_connected,
    "PRELU": _prelu,
    "MAX_POOL_2D": _pooling,
    "RESIZE_BILINEAR": _resize,
    "PAD": _pad,
    "RESHAPE": _reshape,
    "TRANSPOSE": _transpose,
    "MEAN": _reduced,
    "SUM": _reduced,
    "CONCATENATION": _concatenation,
    "STRIDED_SLICE": _strided_slice,
    "SQUARED_DIFFERENCE": _elementwise,
    **dict.fromkeys(TWO, _elementwise),
    **dict.fromkeys(ONE, _one),
}
"""By kind; the same kinds as `tflite_shapes.SHAPES`."""
