"""The networks in torch, on a CPU or a CUDA device; made in memory from the tflite files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tracking.net import Float32, NetSpec, require_batch
from tracking.nets.bundle import bundle_of, network_bytes
from tracking.nets.tflite_graph import read_graph

if TYPE_CHECKING:  # Importing torch takes seconds, so it happens where networks open.
    import torch
    from torch import fx

DTYPES = ("float32", "float16")


class TorchNets:
    """`tracking.net.NetSource`."""

    name = "torch"

    def __init__(
        self,
        device: str = "cpu",
        dtype: str | None = None,
        bundles: Mapping[str, Path] | None = None,
    ) -> None:
        """`device` as torch names it; `dtype` "float32" or "float16", by default float16 on CUDA
        and float32 elsewhere; `bundles` replaces shipped bundles by asset name.

        Raises ValueError for another dtype, RuntimeError when the device is not there.
        """
        import torch

        self.device = torch.device(device)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise RuntimeError(
                f"TorchNets: expected the device {device!r}, torch finds no CUDA; use 'cpu'"
            )
        chosen = dtype or ("float16" if self.device.type == "cuda" else "float32")
        if chosen not in DTYPES:
            raise ValueError(f"TorchNets: expected dtype {' or '.join(DTYPES)}, got {dtype!r}")
        self.dtype: torch.dtype = getattr(torch, chosen)
        self._bundles = bundles or {}

    def open(self, network: str) -> TorchNet:
        """See `NetSource`."""
        spec, _ = bundle_of(network, self._bundles)
        return TorchNet(spec, self.module(network), self.device)

    def module(self, network: str) -> fx.GraphModule:
        """The network as a module on the device: (N, *spec.input_shape) float32 -> for each of
        `spec.outputs` (N, size) float32. For callers that keep tensors on the device."""
        import torch

        from tracking.nets.tflite_lowering import lower

        spec, bundle = bundle_of(network, self._bundles)
        graph = read_graph(network_bytes(spec, bundle), spec, str(bundle))
        # Blendshapes begin with squares of pixels, which half floats do not hold.
        picture = len(spec.input_shape) == 3
        return lower(graph, self.dtype if picture else torch.float32).to(self.device)


class TorchNet:
    """`tracking.net.Net`."""

    def __init__(self, spec: NetSpec, module: fx.GraphModule, device: torch.device) -> None:
        self.spec = spec
        self._module = module
        self._device = device

    def __call__(self, batch: Float32) -> tuple[Float32, ...]:
        import torch

        # torch takes neither strides below zero nor arrays that may not be written to.
        given = torch.from_numpy(np.array(require_batch(self.spec, batch), order="C"))
        with torch.inference_mode(), exact_convolutions():
            outputs = self._module(given.to(self._device))
        return tuple(output.cpu().numpy() for output in outputs)


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """cuDNN computes float32 as such: by default it rounds factors to 10 bits (TF32)."""
    import torch

    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield
