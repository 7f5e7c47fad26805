"""Reads a tflite file: tensors, constants and operators, all checked before anything uses them.

The format is `schema.fbs` of LiteRT, whose own Python classes unpack it. They check nothing but
that a read stays inside the file, so `read_graph` compares every index, size and shape with what
the operators make of their inputs (`tflite_shapes`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tracking.net import NetSpec

Constant = npt.NDArray[Any]
Shape = tuple[int, ...]

LITERT_PACKAGE = "pip install 'ai-edge-litert>=2.3,<3'"
"""What to do when it is missing."""
LARGEST_TENSOR = 1 << 26
"""Numbers of one tensor: ten times the largest of the networks."""
MOST_OPERATORS = 4096
"""At most so many; the networks have up to 500."""


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """One step of a network."""

    kind: str
    """As in the schema's BuiltinOperator: "CONV_2D"."""
    inputs: tuple[int, ...]
    """Numbers of tensors; -1 for an input that may be left out, and is."""
    output: int
    options: Any
    """The schema's table, for example Conv2DOptionsT; None for kinds without one."""


@dataclass(frozen=True, slots=True, eq=False)
class TfliteGraph:
    """A network as its file has it, with pictures as (batch, height, width, channels)."""

    shapes: tuple[Shape, ...]
    """Of each tensor, with a batch of 1."""
    constants: Mapping[int, Constant]
    """By tensor: float32, or int32 for what operators are told (axes, sizes). Weights that the file
    keeps in float16 are widened here, and their DEQUANTIZE operators are gone."""
    operators: tuple[Operator, ...]
    """In an order in which each finds its inputs."""
    input: int
    outputs: tuple[int, ...]
    """In the order of the specification."""

    def shape(self, tensor: int) -> Shape:
        return self.shapes[tensor]


def read_graph(model: bytes, spec: NetSpec, source: str) -> TfliteGraph:
    """Parse and check `model`; `source` names it in errors.

    Raises ValueError when it is no tflite file, is damaged, holds an operator that the networks of
    tracking do not have, or has other inputs or outputs than `spec` says.
    """
    try:
        return _graph(_unpacked(model), spec)
    except _UnfitError as error:
        raise ValueError(f"{source}: expected the network {spec.member}, got {error}") from error


class _UnfitError(ValueError):
    """What is wrong, as the end of a sentence."""


def _unpacked(model: bytes) -> Any:
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise RuntimeError(
            f"tflite files: expected the package ai-edge-litert, {error}: {LITERT_PACKAGE}"
        ) from error
    if model[4:8] != b"TFL3":
        raise _UnfitError(f"{len(model)} bytes that are no tflite file")
    try:
        return schema.ModelT.InitFromPackedBuf(model, 0)
    except (
        struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError,
        MemoryError, RecursionError,
    ) as error:  # fmt: skip
        raise _UnfitError(f"a damaged tflite file ({type(error).__name__}: {error})") from error


def _graph(model: Any, spec: NetSpec) -> TfliteGraph:
    from tracking.nets.tflite_shapes import output_shape

    part = _only(model.subgraphs, "graph")
    tensors = list(part.tensors or ())
    shapes = tuple(_shape(tensor) for tensor in tensors)
    given = _only(part.inputs, "input")
    _require_tensors([given, *_numbers(part.outputs)], len(shapes))
    if shapes[given] != (1, *spec.input_shape):
        raise _UnfitError(f"an input of {shapes[given]}")
    constants = {
        number: value
        for number, tensor in enumerate(tensors)
        if (value := _constant(model, tensor, shapes[number])) is not None
    }
    known = {given, *constants}
    operators: list[Operator] = []
    kinds = _kinds(model)
    if len(part.operators or ()) > MOST_OPERATORS:
        raise _UnfitError(f"{len(part.operators)} operators")
    for raw in part.operators or ():
        operator = _operator(raw, kinds, len(shapes))
        if not set(operator.inputs) - {-1} <= known or operator.output in known:
            raise _UnfitError(f"{operator.kind} out of order")
        known.add(operator.output)
        first = constants.get(operator.inputs[0])
        if operator.kind == "DEQUANTIZE" and first is not None and first.dtype == np.float16:
            if first.shape != shapes[operator.output]:
                raise _UnfitError(f"DEQUANTIZE of {first.shape} to {shapes[operator.output]}")
            constants[operator.output] = first.astype(np.float32)
            continue
        try:
            made = output_shape(operator, shapes, constants)
        except (ValueError, IndexError, TypeError, AttributeError, OverflowError) as error:
            raise _UnfitError(f"{operator.kind} that cannot be ({error})") from error
        if made != shapes[operator.output]:
            raise _UnfitError(f"{operator.kind} to {shapes[operator.output]} instead of {made}")
        operators.append(operator)
    outputs = _outputs(part, tensors, shapes, spec)
    if not set(outputs) <= known - set(constants):
        raise _UnfitError("an output that nothing computes")
    used = {number for operator in operators for number in operator.inputs}
    kept = {number: value for number, value in constants.items() if number in used}
    if any(value.dtype not in (np.float32, np.int32) for value in kept.values()):
        raise _UnfitError("weights that are neither float32 nor float16")
    return TfliteGraph(shapes, kept, tuple(operators), given, outputs)


def _only(values: Any, what: str) -> Any:
    if values is None or len(values) != 1:
        raise _UnfitError(f"{0 if values is None else len(values)} times one {what}")
    return values[0]


def _numbers(values: Any) -> list[int]:
    return [] if values is None else [int(value) for value in values]


def _require_tensors(numbers: list[int], count: int) -> None:
    if not all(0 <= number < count for number in numbers):
        raise _UnfitError(f"a tensor outside 0 ... {count - 1}")


def _shape(tensor: Any) -> Shape:
    shape = tuple(_numbers(tensor.shape))
    if min(shape, default=1) < 1 or len(shape) > 4 or math.prod(shape) > LARGEST_TENSOR:
        raise _UnfitError(f"a tensor of {shape}")
    if tensor.shapeSignature is not None and len(tensor.shapeSignature) != len(shape):
        raise _UnfitError(f"a tensor of {shape} and {tuple(tensor.shapeSignature)}")
    if tensor.sparsity is not None or tensor.isVariable:
        raise _UnfitError("a sparse or a changing tensor")
    if tensor.variantTensors:
        raise _UnfitError("a tensor of tensors")
    quantisation = tensor.quantization
    if quantisation is not None and any(
        values is not None and len(values)
        for values in (quantisation.scale, quantisation.zeroPoint)
    ):
        raise _UnfitError("a quantised tensor")
    return shape


def _constant(model: Any, tensor: Any, shape: Shape) -> Constant | None:
    """The tensor's values if the file has them."""
    from ai_edge_litert.schema_py_generated import TensorType

    kinds = {
        TensorType.FLOAT32: np.float32, TensorType.FLOAT16: np.float16,
        TensorType.INT32: np.int32,
    }  # fmt: skip
    buffers: list[Any] = list(model.buffers or ())
    if not 0 <= tensor.buffer < len(buffers) or tensor.type not in kinds:
        raise _UnfitError(f"a tensor of type {tensor.type} in buffer {tensor.buffer}")
    buffer = buffers[tensor.buffer]
    if buffer.offset or buffer.size:
        raise _UnfitError("weights outside the graph")
    if buffer.data is None or len(buffer.data) == 0:
        return None
    kind = np.dtype(kinds[tensor.type])
    raw = np.asarray(buffer.data, np.uint8)
    if len(raw) != math.prod(shape) * kind.itemsize:
        raise _UnfitError(f"{len(raw)} bytes for {kind} {shape}")
    return np.frombuffer(raw.tobytes(), kind).reshape(shape)


def _kinds(model: Any) -> list[str]:
    """Names of the operator codes that the file's operators refer to."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    names = {value: name for name, value in vars(BuiltinOperator).items() if isinstance(value, int)}
    # Old files have the code in a field of one byte.
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes or ()]
    return [names.get(code, f"operator {code}") for code in codes]


def _operator(raw: Any, kinds: list[str], tensors: int) -> Operator:
    if not 0 <= raw.opcodeIndex < len(kinds):
        raise _UnfitError(f"an operator of kind {raw.opcodeIndex}")
    inputs, outputs = _numbers(raw.inputs), _numbers(raw.outputs)
    if raw.intermediates is not None and len(raw.intermediates):
        raise _UnfitError("an operator with tensors between")
    _require_tensors([number for number in inputs if number != -1] + outputs, tensors)
    if not inputs or inputs[0] == -1:
        raise _UnfitError(f"{kinds[raw.opcodeIndex]} of nothing")
    return Operator(
        kinds[raw.opcodeIndex],
        tuple(inputs),
        _only(outputs, "output of an operator"),
        raw.builtinOptions,
    )


def _outputs(part: Any, tensors: list[Any], shapes: tuple[Shape, ...], spec: NetSpec) -> Shape:
    by_name = {bytes(tensors[n].name or b"").decode("utf-8", "replace"): n for n in part.outputs}
    if sorted(by_name) != sorted(spec.outputs):
        raise _UnfitError(f"outputs named {', '.join(sorted(by_name))}")
    chosen = tuple(int(by_name[name]) for name in spec.outputs)
    sizes = tuple(math.prod(shapes[number]) for number in chosen)
    if sizes != spec.output_sizes:
        raise _UnfitError(f"outputs of {sizes} numbers")
    return chosen
