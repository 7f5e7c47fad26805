"""OpenVINO: an engine of processors that computes in bfloat16 where they can.

Only the hands' networks gain by bfloat16. The face's landmarks take as long with it as without, and
pixels, which blendshapes begin with, lose their fractions in its 8 bits.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tracking.net import Float32, NetSpec, require_batch
from tracking.nets.bundle import bundle_of, is_shipped, network_bytes
from tracking.nets.tflite_graph import read_graph

EXTRA = "pip install 'visavis[openvino]'"
GAIN_BY_BFLOAT16 = ("hand_detector", "hand_landmarks")
RESHAPED = ("hand_landmarks",)
"""Networks whose graphs OpenVINO's reader of tflite files can give another batch."""


class OpenVinoNets:
    """`tracking.net.NetSource`."""

    name = "openvino"

    def __init__(
        self,
        threads: int = 2,
        bfloat16: bool | None = None,
        bundles: Mapping[str, Path] | None = None,
    ) -> None:
        """`threads` of each network; `bfloat16` by default where the processor has it; `bundles`
        replaces shipped bundles by asset name.

        Raises RuntimeError without the package openvino, or when bfloat16 is asked of a processor
        that lacks it.
        """
        if threads < 1:
            raise ValueError(f"OpenVinoNets: expected at least 1 thread, got {threads}")
        try:
            import openvino
        except ImportError as error:
            raise RuntimeError(f"openvino: expected the package, {error}: {EXTRA}") from error
        self._core: Any = openvino.Core()
        able = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if bfloat16 and not able:
            raise RuntimeError(
                "openvino: expected a processor with bfloat16 (AVX512_BF16 or AMX); leave it out"
            )
        self.bfloat16 = able if bfloat16 is None else bfloat16
        """Whether the hands' networks compute in it."""
        self._threads = threads
        self._bundles = bundles or {}

    def open(self, network: str) -> OpenVinoNet:
        """See `NetSource`."""
        spec, bundle = bundle_of(network, self._bundles)
        model = network_bytes(spec, bundle)
        if not is_shipped(spec, bundle):
            read_graph(model, spec, str(bundle))
        precision = "bf16" if self.bfloat16 and network in GAIN_BY_BFLOAT16 else "f32"
        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": self._threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        try:
            # It reads tflite files by path only. The file is gone when this is done.
            with tempfile.TemporaryDirectory(prefix="visavis-") as folder:
                path = Path(folder) / spec.member
                path.write_bytes(model)
                read = self._core.read_model(path)
                compiled = self._core.compile_model(read, "CPU", options)
                pair = None
                if network in RESHAPED:
                    read.reshape([2, *spec.input_shape])
                    pair = self._core.compile_model(read, "CPU", options)
        except RuntimeError as error:
            raise ValueError(
                f"{bundle}: expected the network {spec.member}, OpenVINO refuses it: {error}"
            ) from error
        return OpenVinoNet(spec, compiled, pair, precision)


class OpenVinoNet:
    """`tracking.net.Net`: pairs (two hands) where OpenVINO can, else one item after the other."""

    def __init__(self, spec: NetSpec, one: Any, pair: Any, precision: str) -> None:
        """`one` and `pair` are compiled for batches of 1 and 2; `precision` "bf16" or "f32"."""
        self.spec = spec
        self.precision = precision
        self._one = _Request(one, spec)
        self._pair = None if pair is None else _Request(pair, spec)

    def __call__(self, batch: Float32) -> tuple[Float32, ...]:
        count = len(require_batch(self.spec, batch))
        given = np.ascontiguousarray(batch)
        outputs = tuple(np.empty((count, size), np.float32) for size in self.spec.output_sizes)
        at = 0
        while at < count:
            request, step = self._one, 1
            if self._pair is not None and count - at >= 2:
                request, step = self._pair, 2
            for output, values in zip(outputs, request(given[at : at + step]), strict=True):
                output[at : at + step] = values.reshape(step, -1)
            at += step
        return outputs


class _Request:
    """One compiled network; what it returns is overwritten by the next call."""

    def __init__(self, compiled: Any, spec: NetSpec) -> None:
        self._request = compiled.create_infer_request()
        by_name = {name: port for port in compiled.outputs for name in port.get_names()}
        self._ports = [by_name[name] for name in spec.outputs]

    def __call__(self, batch: Float32) -> list[Float32]:
        self._request.infer([batch], share_inputs=True)
        return [self._request.get_tensor(port).data for port in self._ports]
