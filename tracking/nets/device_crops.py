"""Cuts all regions out of all cameras' pictures where the pictures are, with one grid_sample.

A region is given as the (2, 3) matrix that brings the centre of its crop's pixel (u, v) to a
place in the picture, whose pixel (0, 0) is the centre of the top-left one: what OpenCV's
`warpAffine` takes with WARP_INVERSE_MAP and INTER_LINEAR. That is the slow twin, and like it this
rounds colours to whole numbers: the networks answer half a level's difference with up to a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Crops:
    """Equal crops of some regions in a row."""

    count: int
    side: int
    """Pixels of the crop."""
    input_range: tuple[float, float]
    """What the colour values 0 and 255 become."""
    beyond_is_black: bool = False
    """Beyond its edges a picture is black; else it goes on as its edge is."""


class DeviceCrops(nn.Module):
    """Buffers move with `.to(device)`."""

    def __init__(self, crops: Sequence[Crops]) -> None:
        """`crops` divide the regions of each call among them, in order."""
        super().__init__()
        self._crops = tuple(crops)
        for k, kind in enumerate(self._crops):
            along = torch.arange(kind.side, dtype=torch.float32)
            v, u = torch.meshgrid(along, along, indexing="ij")
            pixels = torch.stack([u, v, torch.ones_like(u)]).reshape(3, -1)
            self.register_buffer(f"_pixels_{k}", pixels, persistent=False)

    def forward(
        self, pictures: Tensor, cameras: Tensor, picture_from_pixel: Tensor
    ) -> tuple[Tensor, ...]:
        """`pictures` (C, H, W, 3) uint8, `cameras` (R,) int64 numbers of the regions' pictures,
        `picture_from_pixel` (R, 2, 3) float32 -> of each kind (count, side, side, 3) float32."""
        count, height, width, _ = pictures.shape
        # One under the other they are one picture, which one grid_sample reads for all regions.
        tall = pictures.reshape(1, count * height, width, 3).permute(0, 3, 1, 2).float()
        places: list[Tensor] = []
        shown: list[Tensor | None] = []
        first = 0
        for k, kind in enumerate(self._crops):
            here = slice(first, first + kind.count)
            first += kind.count
            x, y = (picture_from_pixel[here] @ self.get_buffer(f"_pixels_{k}")).unbind(1)
            shown.append(_share_inside(x, y, width, height) if kind.beyond_is_black else None)
            # Held inside its own picture, no place can see the next one.
            row = y.clamp(0, height - 1) + (cameras[here] * height)[:, None]
            across = x.clamp(0, width - 1) * (2.0 / (width - 1)) - 1.0
            down = row * (2.0 / (count * height - 1)) - 1.0
            places.append(torch.stack([across, down], -1).reshape(-1, 2))
        colours = functional.grid_sample(
            tall, torch.cat(places)[None, None], "bilinear", "border", align_corners=True
        )[0, :, 0]
        return self._divided(colours, shown)

    def _divided(self, colours: Tensor, shown: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        """(3, all places) -> the crops, in their networks' ranges."""
        sizes = [kind.count * kind.side**2 for kind in self._crops]
        divided: list[Tensor] = []
        for kind, part, share in zip(self._crops, colours.split(sizes, 1), shown, strict=True):
            low, high = kind.input_range
            part = part if share is None else part * share.reshape(-1)
            part = part.round().T.reshape(kind.count, kind.side, kind.side, 3)
            divided.append(part * ((high - low) / 255.0) + low)
        return tuple(divided)


def _share_inside(x: Tensor, y: Tensor, width: int, height: int) -> Tensor:
    """How much of the four pixels about each place is in the picture: bilinear weights."""
    across = torch.minimum(x + 1.0, width - x).clamp(0.0, 1.0)
    return across * torch.minimum(y + 1.0, height - y).clamp(0.0, 1.0)
