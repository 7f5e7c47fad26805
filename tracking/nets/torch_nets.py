"""The networks in torch, on a CPU or a CUDA device; made in memory from the tflite files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

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
        self._modules: dict[str, fx.GraphModule] = {}

    def open(self, network: str) -> TorchNet:
        """See `NetSource`."""
        spec, _ = bundle_of(network, self._bundles)
        return TorchNet(spec, self.module(network), self.device)

    def module(self, network: str) -> fx.GraphModule:
        """The network as a module on the device: (N, *spec.input_shape) float32 -> for each of
        `spec.outputs` (N, size) float32. For callers that keep tensors on the device. Made once,
        so that whoever asks shares the weights."""
        if network not in self._modules:
            self._modules[network] = self._made(network)
        return self._modules[network]

    def _made(self, network: str) -> fx.GraphModule:
        import torch

        from tracking.nets.tflite_lowering import lower

        spec, bundle = bundle_of(network, self._bundles)
        graph = read_graph(network_bytes(spec, bundle), spec, str(bundle))
        # Blendshapes begin with squares of pixels, which half floats do not hold.
        picture = len(spec.input_shape) == 3
        return lower(graph, self.dtype if picture else torch.float32).to(self.device)


class TorchNet:
    """`tracking.net.Net`; on CUDA each size of batch is a captured graph of its own."""

    def __init__(self, spec: NetSpec, module: fx.GraphModule, device: torch.device) -> None:
        self.spec = spec
        self._module = module
        self._device = device
        self._recorded: dict[int, _RecordedBatch] = {}

    def __call__(self, batch: Float32) -> tuple[Float32, ...]:
        count = len(require_batch(self.spec, batch))
        if count not in self._recorded:
            if len(self._recorded) == MOST_BATCHES:
                del self._recorded[next(iter(self._recorded))]
            self._recorded[count] = _RecordedBatch(self.spec, self._module, self._device, count)
        return self._recorded[count].run(batch)


MOST_BATCHES = 6
"""Sizes of batches whose memory and graphs are kept."""


class _RecordedBatch:
    """One size of batch: the memory it goes through, and what is done with it."""

    def __init__(
        self, spec: NetSpec, module: fx.GraphModule, device: torch.device, count: int
    ) -> None:
        import torch

        from tracking.nets.replay import recorded

        self._module = module
        self._device = device
        self._sizes = [(count, size) for size in spec.output_sizes]
        shape, total = (count, *spec.input_shape), count * sum(spec.output_sizes)
        pinned = device.type == "cuda"
        self._staging = torch.zeros(shape, pin_memory=pinned)
        self._landed = torch.zeros(total, pin_memory=pinned)
        # On the CPU the network reads and writes the host's memory itself.
        self._given = torch.zeros(shape, device=device) if pinned else self._staging
        self._results = torch.zeros(total, device=device) if pinned else self._landed
        self._replay = recorded(self._compute, device)

    def run(self, batch: Float32) -> tuple[Float32, ...]:
        from tracking.nets.replay import finish

        self._staging.numpy()[...] = batch  # Any strides.
        if self._given is not self._staging:
            self._given.copy_(self._staging, non_blocking=True)
        self._replay()
        if self._landed is not self._results:
            self._landed.copy_(self._results, non_blocking=True)
        finish(self._device)
        return divided(self._landed.numpy(), self._sizes)

    def _compute(self) -> None:
        import torch

        outputs = self._module(self._given)
        torch.cat([output.reshape(-1) for output in outputs], out=self._results)


def divided(numbers: Float32, shapes: list[tuple[int, int]]) -> tuple[Float32, ...]:
    """Outputs that lie one behind the other, each copied in its own shape."""
    parts: list[Float32] = []
    first = 0
    for rows, size in shapes:
        parts.append(numbers[first : first + rows * size].reshape(rows, size).copy())
        first += rows * size
    return tuple(parts)
