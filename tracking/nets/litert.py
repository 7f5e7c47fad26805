"""LiteRT (TensorFlow Lite with XNNPACK): the engine of processors."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from assets.manifest import asset_path
from tracking.net import NETS, Float32, NetSpec, require_batch


class LiteRtNets:
    """`tracking.net.NetSource`; one interpreter a network and batch size."""

    name = "litert"

    def __init__(self, threads: int = 2, bundles: dict[str, Path] | None = None) -> None:
        """`threads` of each network; `bundles` replaces shipped bundles by asset name."""
        self._threads = threads
        self._bundles = bundles or {}

    def open(self, network: str) -> LiteRtNet:
        if network not in NETS:
            raise ValueError(f"LiteRtNets.open: expected one of {sorted(NETS)}, got {network!r}")
        spec = NETS[network]
        bundle = self._bundles.get(spec.bundle, asset_path(spec.bundle))
        with zipfile.ZipFile(bundle) as archive:
            return LiteRtNet(spec, archive.read(spec.member), self._threads)


class LiteRtNet:
    """`tracking.net.Net`."""

    def __init__(self, spec: NetSpec, model: bytes, threads: int) -> None:
        self.spec = spec
        self._model = model
        self._threads = threads
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
            from ai_edge_litert.interpreter import Interpreter

            interpreter = Interpreter(model_content=self._model, num_threads=self._threads)
            into = interpreter.get_input_details()[0]["index"]
            if count > 1:
                interpreter.resize_tensor_input(into, [count, *self.spec.input_shape])
            interpreter.allocate_tensors()
            by_name = {d["name"]: d["index"] for d in interpreter.get_output_details()}
            self._opened[count] = interpreter, into, [by_name[n] for n in self.spec.outputs]
        return self._opened[count]
