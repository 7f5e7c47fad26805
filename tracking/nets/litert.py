"""LiteRT (TensorFlow Lite with XNNPACK): the engine of processors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tracking.net import Float32, NetSpec, require_batch
from tracking.nets.bundle import bundle_of, is_shipped, network_bytes
from tracking.nets.tflite_graph import LITERT_PACKAGE, read_graph


class LiteRtNets:
    """`tracking.net.NetSource`; one interpreter a network and batch size."""

    name = "litert"

    def __init__(self, threads: int = 2, bundles: Mapping[str, Path] | None = None) -> None:
        """`threads` of each network; `bundles` replaces shipped bundles by asset name."""
        if threads < 1:
            raise ValueError(f"LiteRtNets: expected at least 1 thread, got {threads}")
        self._threads = threads
        self._bundles = bundles or {}

    def open(self, network: str) -> LiteRtNet:
        """See `NetSource`."""
        spec, bundle = bundle_of(network, self._bundles)
        model = network_bytes(spec, bundle)
        if not is_shipped(spec, bundle):
            # LiteRT checks that reads stay inside the file, not that operators fit their inputs:
            # it may crash on those that do not.
            read_graph(model, spec, str(bundle))
        return LiteRtNet(spec, model, self._threads, str(bundle))


class LiteRtNet:
    """`tracking.net.Net`."""

    def __init__(self, spec: NetSpec, model: bytes, threads: int, source: str) -> None:
        """`source` names the model's file in errors."""
        self.spec = spec
        self._model = model
        self._threads = threads
        self._source = source
        self._opened: dict[int, tuple[Any, int, list[int]]] = {}
        self._interpreter(1)

    def __call__(self, batch: Float32) -> tuple[Float32, ...]:
        count = len(require_batch(self.spec, batch))
        if count > 1 and not self.spec.batched:
            each = [self(batch[i : i + 1]) for i in range(count)]
            return tuple(np.concatenate(parts) for parts in zip(*each, strict=True))
        interpreter, into, outputs = self._interpreter(count)
        interpreter.set_tensor(into, batch)
        interpreter.invoke()
        return tuple(
            np.asarray(interpreter.get_tensor(index), np.float32).reshape(count, size)
            for index, size in zip(outputs, self.spec.output_sizes, strict=True)
        )

    def _interpreter(self, count: int) -> tuple[Any, int, list[int]]:
        if count not in self._opened:
            interpreter_of = _interpreter_class()
            if len(self._opened) == MOST_BATCHES:
                del self._opened[next(iter(self._opened))]
            try:
                interpreter = interpreter_of(model_content=self._model, num_threads=self._threads)
                into = interpreter.get_input_details()[0]["index"]
                if count > 1:
                    interpreter.resize_tensor_input(into, [count, *self.spec.input_shape])
                interpreter.allocate_tensors()
                by_name = {d["name"]: d["index"] for d in interpreter.get_output_details()}
                outputs = [by_name[name] for name in self.spec.outputs]
            except (ValueError, KeyError, IndexError) as error:
                raise ValueError(
                    f"{self._source}: expected the network {self.spec.member}, "
                    f"LiteRT refuses it: {error}"
                ) from error
            self._opened[count] = interpreter, into, outputs
        return self._opened[count]


MOST_BATCHES = 4
"""Sizes of batches for which interpreters are kept; each holds the weights packed anew."""


def _interpreter_class() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise RuntimeError(
            f"litert: expected the package ai-edge-litert, {error}: {LITERT_PACKAGE}"
        ) from error
    return Interpreter
