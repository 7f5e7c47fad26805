"""The networks in torch, which cut their regions out of a picture that is on the device already.

For detectors and first looks, whose numbers of regions are not known beforehand. Batches are filled
up to a few sizes, so that few graphs have to be recorded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import fx

from tracking.net import Float32, Net, NetSpec
from tracking.nets.device_crops import Crops, DeviceCrops
from tracking.nets.device_pictures import DevicePictures
from tracking.nets.replay import finish, recorded
from tracking.nets.torch_nets import TorchNet, TorchNets, divided
from tracking.region import Cut, Picture, Region

SIZES = (1, 2, 4, 8)
"""Of batches; more regions are asked about in several."""


class ShownPicture:
    """The picture that an engine looks at, on the device as soon as something asks about it."""

    def __init__(self) -> None:
        self._pictures: DevicePictures | None = None
        self._rgb: Picture | None = None

    def show(self, rgb: Picture, pictures: DevicePictures) -> None:
        """`rgb` goes through the memory of `pictures`, which is for one camera."""
        pictures.show(0, rgb)
        self._rgb, self._pictures = rgb, pictures

    def of(self, rgb: Picture) -> DevicePictures:
        """Raises ValueError when another picture was shown."""
        if self._pictures is None or self._rgb is not rgb:
            raise ValueError("ShownPicture: expected the picture that was shown, got another one")
        return self._pictures


class DeviceNets:
    """`tracking.net.NetSource` of `tracking.region_net.RegionNet`s."""

    name = "torch"

    def __init__(self, nets: TorchNets) -> None:
        self.shown = ShownPicture()
        """What is asked about has to be shown here first."""
        self._nets = nets

    def open(self, network: str) -> Net:
        """See `NetSource`."""
        net = self._nets.open(network)
        if len(net.spec.input_shape) != 3:
            return net
        return DeviceNet(net, self._nets.module(network), self._nets.device, self.shown)


class DeviceNet:
    """`tracking.net.Net` and `tracking.region_net.RegionNet`."""

    def __init__(
        self, net: TorchNet, module: fx.GraphModule, device: torch.device, shown: ShownPicture
    ) -> None:
        """`net`: the same network for pictures that somebody else cut."""
        self.spec = net.spec
        self._net = net
        self._module = module
        self._device = device
        self._shown = shown
        self._pictures: DevicePictures | None = None
        self._batches: dict[tuple[int, bool], _RegionBatch] = {}

    def __call__(self, batch: Float32) -> tuple[Float32, ...]:
        return self._net(batch)

    def of_regions(self, rgb: Picture, regions: Sequence[Region], cut: Cut) -> tuple[Float32, ...]:
        """See `RegionNet`. Raises ValueError when the picture was not shown."""
        pictures = self._shown.of(rgb)
        if pictures is not self._pictures:  # Graphs read the memory of one size of pictures.
            self._pictures, self._batches = pictures, {}
        pictures.upload_once()
        matrices = np.array([cut.picture_from_pixel(region) for region in regions])
        parts: list[tuple[Float32, ...]] = []
        for first in range(0, len(matrices), SIZES[-1]):
            some = matrices[first : first + SIZES[-1]]
            size = next(size for size in SIZES if size >= len(some))
            batch = self._batches.get((size, cut.beyond_is_black))
            if batch is None:
                crops = Crops(size, cut.size, self.spec.input_range, cut.beyond_is_black)
                batch = _RegionBatch(self.spec, self._module, crops, pictures)
                self._batches[size, cut.beyond_is_black] = batch
            parts.append(batch.run(some))
        return tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))


class _RegionBatch:
    """One size of batch: the memory it goes through, and what is done with it."""

    def __init__(
        self, spec: NetSpec, module: fx.GraphModule, crops: Crops, pictures: DevicePictures
    ) -> None:
        device = pictures.device
        pinned = device.type == "cuda"
        self._device = device
        self._module = module
        self._pictures = pictures
        self._crops = DeviceCrops([crops]).to(device)
        self._sizes = [(crops.count, size) for size in spec.output_sizes]
        total = sum(rows * size for rows, size in self._sizes)
        self._staging = torch.zeros((crops.count, 2, 3), pin_memory=pinned)
        self._matrices = torch.zeros_like(self._staging, device=device)
        self._cameras = torch.zeros(crops.count, dtype=torch.int64, device=device)
        self._results = torch.zeros(total, device=device)
        self._landed = torch.zeros(total, pin_memory=pinned)
        self._replay = recorded(self._compute, device)

    def run(self, matrices: npt.NDArray[np.float64]) -> tuple[Float32, ...]:
        """Of (N, 2, 3), N at most the batch, which is filled up with the last one."""
        count = len(matrices)
        staged = self._staging.numpy()
        staged[:count], staged[count:] = matrices, matrices[-1]
        self._matrices.copy_(self._staging, non_blocking=True)
        self._replay()
        self._landed.copy_(self._results, non_blocking=True)
        finish(self._device)
        return tuple(part[:count] for part in divided(self._landed.numpy(), self._sizes))

    def _compute(self) -> None:
        (given,) = self._crops(self._pictures.on_device, self._cameras, self._matrices)
        outputs = self._module(given)
        torch.cat([output.reshape(-1) for output in outputs], out=self._results)
