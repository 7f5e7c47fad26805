"""What shape each operator makes of its inputs: the tflite format's rules, one function a kind.

A kind that is not in `SHAPES` is refused. Pictures are (batch, height, width, channels).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tracking.nets.tflite_graph import Constant, Operator, Shape

SAME, VALID = 0, 1
"""The schema's Padding."""


class Inputs:
    """An operator's inputs as its shape rule asks for them."""

    def __init__(
        self, operator: Operator, shapes: Sequence[Shape], constants: Mapping[int, Constant]
    ) -> None:
        self._inputs = operator.inputs
        self._shapes = shapes
        self._constants = constants
        self.options = operator.options

    def __len__(self) -> int:
        return len(self._inputs)

    def shape(self, k: int) -> Shape:
        """Of the k-th input; raises ValueError when it is left out."""
        if k >= len(self._inputs) or self._inputs[k] < 0:
            raise ValueError(f"no input {k}")
        return self._shapes[self._inputs[k]]

    def picture(self, k: int) -> tuple[int, int, int, int]:
        """Likewise, of four dimensions."""
        batch, height, width, channels = self.shape(k)
        return batch, height, width, channels

    def weights(self, k: int) -> Shape:
        """Likewise, of an input that has to be a float constant."""
        shape = self.shape(k)
        value = self._constants.get(self._inputs[k])
        if value is None or value.dtype != np.float32:
            raise ValueError(f"input {k} is no float constant")
        return shape

    def told(self, k: int) -> list[Any]:
        """Values of an input that has to be an int32 constant."""
        self.shape(k)
        value = self._constants.get(self._inputs[k])
        if value is None or value.dtype != np.int32:
            raise ValueError(f"input {k} is no int32 constant")
        return value.tolist()


def output_shape(
    operator: Operator, shapes: Sequence[Shape], constants: Mapping[int, Constant]
) -> Shape:
    """Raises ValueError (or what unpacking a wrong tuple raises) when the operator cannot be."""
    if operator.kind not in SHAPES:
        raise ValueError("not among the operators of tracking")
    if len(operator.inputs) not in INPUTS.get(operator.kind, (1,)):
        raise ValueError(f"{len(operator.inputs)} inputs")
    options = type(operator.options).__name__
    if options != OPTIONS.get(operator.kind, options):
        # Several kinds have options of like names, of which LiteRT would then see none.
        raise ValueError(f"options of type {options}")
    return SHAPES[operator.kind](Inputs(operator, shapes, constants))


def padding(length: int, kernel: int, stride: int, dilation: int, kind: int) -> tuple[int, int]:
    """Of one axis: numbers before and behind, so that each stride has its output (SAME)."""
    if kind == VALID:
        return 0, 0
    count = -(-length // stride)
    total = max((count - 1) * stride + (kernel - 1) * dilation + 1 - length, 0)
    return total // 2, total - total // 2


def _slid(length: int, kernel: int, stride: int, dilation: int, kind: int) -> int:
    """Outputs along an axis on which a kernel slides."""
    if not (0 < kernel <= 64 and 0 < stride <= 16 and 0 < dilation <= 16 and kind in (SAME, VALID)):
        raise ValueError(f"kernel {kernel}, stride {stride}, dilation {dilation}, padding {kind}")
    before, behind = padding(length, kernel, stride, dilation, kind)
    return (length + before + behind - (kernel - 1) * dilation - 1) // stride + 1


def _convolution(given: Inputs, filters: int, depth: int) -> Shape:
    """`filters` and `depth` are the weights' axes of output and input channels."""
    batch, height, width, channels = given.picture(0)
    weights, options = given.weights(1), given.options
    _, rows, columns, _ = weights
    _require_activation(options)
    if weights[depth] != (channels if depth == 3 else 1):
        raise ValueError(f"weights of {weights} for {channels} channels")
    _require_bias(given, weights[filters])
    return (
        batch,
        _slid(height, rows, options.strideH, options.dilationHFactor, options.padding),
        _slid(width, columns, options.strideW, options.dilationWFactor, options.padding),
        weights[filters],
    )


def _depthwise(given: Inputs) -> Shape:
    shape = _convolution(given, 3, 0)
    if shape[3] != given.picture(0)[3] * given.options.depthMultiplier:
        raise ValueError(f"{shape[3]} filters, a multiplier of {given.options.depthMultiplier}")
    return shape


def _fully_connected(given: Inputs) -> Shape:
    shape, (filters, depth) = given.shape(0), given.weights(1)
    _require_activation(given.options)
    if given.options.weightsFormat != 0 or math.prod(shape) != depth:
        raise ValueError(f"weights of {(filters, depth)} for {shape}")
    _require_bias(given, filters)
    return (*shape[:-1], filters) if given.options.keepNumDims else (1, filters)


def _pooling(given: Inputs) -> Shape:
    batch, height, width, channels = given.picture(0)
    options = given.options
    _require_activation(options)
    return (
        batch,
        _slid(height, options.filterHeight, options.strideH, 1, options.padding),
        _slid(width, options.filterWidth, options.strideW, 1, options.padding),
        channels,
    )


def _resize(given: Inputs) -> Shape:
    batch, _, _, channels = given.picture(0)
    height, width = given.told(1)
    if given.options.alignCorners == given.options.halfPixelCenters:
        raise ValueError("neither aligned corners nor half pixel centres")
    return batch, height, width, channels


def _pad(given: Inputs) -> Shape:
    sides = given.told(1)
    if len(sides) != len(given.shape(0)) or min(min(pair) for pair in sides) < 0 or any(sides[0]):
        raise ValueError(f"{sides} about {given.shape(0)}")
    return tuple(
        length + before + behind
        for length, (before, behind) in zip(given.shape(0), sides, strict=True)
    )


def _reshape(given: Inputs) -> Shape:
    shape = given.shape(0)
    # Old files tell the wanted shape in the options alone.
    told = given.told(1) if len(given) > 1 else [int(n) for n in given.options.newShape]
    left = math.prod(shape) // max(math.prod(length for length in told if length != -1), 1)
    made = tuple(left if length == -1 else length for length in told)
    if told.count(-1) > 1 or made[0] != 1 or math.prod(made) != math.prod(shape):
        raise ValueError(f"{shape} as {told}")
    return made


def _transpose(given: Inputs) -> Shape:
    order, shape = given.told(1), given.shape(0)
    if sorted(order) != list(range(len(shape))) or order[0] != 0:
        raise ValueError(f"order {order} of {shape}")
    return tuple(shape[axis] for axis in order)


def _reduced(given: Inputs) -> Shape:
    shape = given.shape(0)
    axes = reduced_axes(given.told(1), len(shape))
    if not given.options.keepDims:
        return tuple(length for axis, length in enumerate(shape) if axis not in axes)
    return tuple(1 if axis in axes else length for axis, length in enumerate(shape))


def reduced_axes(told: Any, rank: int) -> list[int]:
    """Of MEAN and SUM: 1 ... rank - 1, increasing. Raises ValueError for others, the batch too."""
    listed = told if isinstance(told, list) else [told]
    axes = sorted({axis + rank if axis < 0 else axis for axis in listed})
    if not axes or axes[0] < 1 or axes[-1] >= rank:
        raise ValueError(f"axes {listed} of {rank} dimensions")
    return axes


def _concatenation(given: Inputs) -> Shape:
    _require_activation(given.options, (0,))
    shapes = [given.shape(k) for k in range(len(given))]
    rank = len(shapes[0])
    axis = given.options.axis + (rank if given.options.axis < 0 else 0)
    if not 0 < axis < rank or any(
        len(shape) != rank or _without(shape, axis) != _without(shapes[0], axis) for shape in shapes
    ):
        raise ValueError(f"{shapes} along axis {given.options.axis}")
    joined = sum(shape[axis] for shape in shapes)
    return (*shapes[0][:axis], joined, *shapes[0][axis + 1 :])


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], *shape[axis + 1 :])


def _strided_slice(given: Inputs) -> Shape:
    cuts, dropped = slices(
        given.told(1), given.told(2), given.told(3), given.options, given.shape(0)
    )
    return tuple(
        len(range(length)[cut])
        for axis, (length, cut) in enumerate(zip(given.shape(0), cuts, strict=True))
        if axis not in dropped
    )


def slices(
    begin: list[int], end: list[int], stride: list[int], options: Any, shape: Shape
) -> tuple[list[slice], list[int]]:
    """What STRIDED_SLICE takes of each axis, and the axes that it drops. Raises ValueError."""
    if not len(begin) == len(end) == len(stride) == len(shape) or min(stride) < 1:
        raise ValueError(f"{begin} to {end} by {stride} of {shape}")
    if options.ellipsisMask or options.newAxisMask or options.offset:
        raise ValueError("an ellipsis, a new axis or an offset")
    cuts: list[slice] = []
    dropped: list[int] = []
    for axis, length in enumerate(shape):
        first = None if options.beginMask >> axis & 1 else begin[axis]
        last = None if options.endMask >> axis & 1 else end[axis]
        if options.shrinkAxisMask >> axis & 1:
            first = first or 0
            last = first + 1
            dropped.append(axis)
        cut = slice(first, last, stride[axis])
        if len(range(length)[cut]) < 1:
            raise ValueError(f"nothing of {shape}")
        cuts.append(cut)
    if len(range(shape[0])[cuts[0]]) != 1:
        raise ValueError("a part of the batch")
    return cuts, dropped


def _elementwise(given: Inputs) -> Shape:
    _require_activation(given.options, (0,))
    return np.broadcast_shapes(given.shape(0), given.shape(1))


def _prelu(given: Inputs) -> Shape:
    shape, alpha = given.picture(0), given.weights(1)
    if alpha != (1, 1, shape[3]):
        raise ValueError(f"slopes of {alpha} for {shape}")
    return shape


def _same(given: Inputs) -> Shape:
    return given.shape(0)


def _require_bias(given: Inputs, filters: int) -> None:
    # All have one; LiteRT 2.3 ends the process when it is not even left out with a -1.
    if given.weights(2) != (filters,):
        raise ValueError(f"no bias for {filters} filters")


def _require_activation(options: Any, allowed: tuple[int, ...] = (0, 1, 3)) -> None:
    """None, RELU or RELU6 of the schema's ActivationFunctionType."""
    if options is not None and options.fusedActivationFunction not in allowed:
        raise ValueError(f"activation {options.fusedActivationFunction}")


INPUTS: Mapping[str, Sequence[int]] = {
    "CONV_2D": (3,),
    "DEPTHWISE_CONV_2D": (3,),
    "FULLY_CONNECTED": (3,),
    "RESIZE_BILINEAR": (2,),
    "PAD": (2,),
    "RESHAPE": (1, 2),
    "TRANSPOSE": (2,),
    "MEAN": (2,),
    "SUM": (2,),
    "CONCATENATION": range(2, 9),
    "STRIDED_SLICE": (4,),
    "ADD": (2,),
    "SUB": (2,),
    "MUL": (2,),
    "DIV": (2,),
    "SQUARED_DIFFERENCE": (2,),
    "PRELU": (2,),
}
"""How many inputs a kind has; the others have one."""
OPTIONS: Mapping[str, str] = {
    "CONV_2D": "Conv2DOptionsT",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptionsT",
    "FULLY_CONNECTED": "FullyConnectedOptionsT",
    "MAX_POOL_2D": "Pool2DOptionsT",
    "RESIZE_BILINEAR": "ResizeBilinearOptionsT",
    "MEAN": "ReducerOptionsT",
    "SUM": "ReducerOptionsT",
    "CONCATENATION": "ConcatenationOptionsT",
    "STRIDED_SLICE": "StridedSliceOptionsT",
}
"""The schema's table of a kind whose options say something."""

SHAPES: Mapping[str, Callable[[Inputs], Shape]] = {
    "CONV_2D": lambda given: _convolution(given, 0, 3),
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "MAX_POOL_2D": _pooling,
    "RESIZE_BILINEAR": _resize,
    "PAD": _pad,
    "RESHAPE": _reshape,
    "TRANSPOSE": _transpose,
    "MEAN": _reduced,
    "SUM": _reduced,
    "CONCATENATION": _concatenation,
    "STRIDED_SLICE": _strided_slice,
    "ADD": _elementwise,
    "SUB": _elementwise,
    "MUL": _elementwise,
    "DIV": _elementwise,
    "SQUARED_DIFFERENCE": _elementwise,
    "PRELU": _prelu,
    "RELU": _same,
    "LOGISTIC": _same,
    "NEG": _same,
    "SQRT": _same,
    "RSQRT": _same,
}
