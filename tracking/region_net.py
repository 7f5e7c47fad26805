"""Asking a network about regions of a picture, whoever cuts them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from tracking.net import Float32, Net
from tracking.region import Cut, Picture, Region, crops


@runtime_checkable
class RegionNet(Protocol):
    """A network that cuts regions out itself, where its pictures are."""

    def of_regions(self, rgb: Picture, regions: Sequence[Region], cut: Cut) -> tuple[Float32, ...]:
        """As `answers`."""
        ...


def answers(net: Net, rgb: Picture, regions: Sequence[Region], cut: Cut) -> tuple[Float32, ...]:
    """The network's outputs about regions (at least one) of the picture (H, W, 3) uint8: each
    (regions, size) float32."""
    if isinstance(net, RegionNet):
        return net.of_regions(rgb, regions, cut)
    return net(crops(rgb, regions, cut, net.spec.input_range))
