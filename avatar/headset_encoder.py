"""The encoder that sees from inside a headset: five infrared pictures in, an avatar's code out.

The cameras are those of the Ava-256 data set's headset captures (a Quest Pro with five infrared
cameras; `encoder/image/cam-*.zip`, 400 x 400 grey): one between the brows, one at each eye's outer
corner, one at each corner of the mouth. Left and right cameras share a trunk, the right one's
pictures turned over. A camera that gives no picture is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from avatar.checkpoint import CheckpointError

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

CAMERAS = (
    "cyclop", "left-eye-atl-temporal", "left-mouth", "right-eye-atl-temporal", "right-mouth",
)  # fmt: skip
"""As the data set calls them; this order everywhere."""
KINDS = ("cyclop", "eye", "mouth")
KIND_OF = (0, 1, 2, 1, 2)
TURNED_OVER = (False, False, False, True, True)
PICTURE_SIZE = 400
"""Pixels on a side."""
WIDTHS = (1, 16, 32, 48, 64, 64)
LEAST_CONTRAST = 4.0
"""Code values of standard deviation below which a picture is not stretched further."""


@dataclass(frozen=True, slots=True)
class HeadsetEncoderOptions:
    """How large the network is."""

    geometry: int
    """Numbers of the avatar's code."""
    appearance: int
    size: int = 96
    """Pixels on a side to which pictures are averaged down."""
    features: int = 64
    """Of each camera."""
    hidden: int = 256

    def __post_init__(self) -> None:
        for name, least in (("geometry", 0), ("appearance", 0), ("size", 32), ("features", 1)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"HeadsetEncoderOptions.{name}: expected {least} or more, "
                    f"got {getattr(self, name)}"
                )

    @property
    def code(self) -> int:
        """All numbers."""
        return self.geometry + self.appearance


class HeadsetEncoder(nn.Module):
    """Weights and the code's usual values. Deterministic."""

    code_mean: Tensor
    code_std: Tensor

    def __init__(self, options: HeadsetEncoderOptions) -> None:
        super().__init__()
        self.options = options
        self.trunks = nn.ModuleList(_Trunk(options) for _ in KINDS)
        self.absent = nn.Parameter(torch.zeros(len(CAMERAS), options.features))
        self.joined = nn.Sequential(
            nn.Linear(len(CAMERAS) * options.features, options.hidden),
            nn.ELU(),
            nn.Linear(options.hidden, options.code),
        )
        self.register_buffer("code_mean", torch.zeros(options.code))
        self.register_buffer("code_std", torch.ones(options.code))

    def forward(self, pictures: Tensor, present: Tensor) -> Tensor:
        """Pictures (B, 5, S, S) as `prepared_pictures` gives them and present (B, 5) bool ->
        (B, P + A) in standard deviations from the usual code."""
        features = []
        for camera, (kind, turned) in enumerate(zip(KIND_OF, TURNED_OVER, strict=True)):
            seen = pictures[:, camera : camera + 1]
            found = self.trunks[kind](seen.flip(3) if turned else seen)
            features.append(torch.where(present[:, camera, None], found, self.absent[camera]))
        return self.joined(torch.cat(features, 1))

    @torch.no_grad()
    def code(self, pictures: Mapping[str, UInt8]) -> tuple[Float32, Float32]:
        """Geometry (P,) and appearance (A,) from the pictures at hand, (H, W) uint8 grey by name of
        camera. Without any the usual code comes back.

        Raises ValueError for a camera of another name or a picture of another form.
        """
        unknown = sorted(set(pictures) - set(CAMERAS))
        if unknown:
            raise ValueError(f"headset encoder: expected cameras among {CAMERAS}, got {unknown}")
        size = self.options.size
        stack, present = np.zeros((1, len(CAMERAS), size, size), np.float32), []
        for k, name in enumerate(CAMERAS):
            picture = pictures.get(name)
            present.append(picture is not None)
            if picture is not None:
                stack[0, k] = prepared_picture(picture, size, name)
        code = self.code_mean.cpu().numpy()
        if any(present):
            device = self.code_mean.device
            found = self(
                torch.from_numpy(stack).to(device), torch.tensor([present], device=device)
            )[0]
            code = (found * self.code_std + self.code_mean).cpu().numpy()
        return code[: self.options.geometry].copy(), code[self.options.geometry :].copy()

    def write(self, path: Path) -> None:
        """One safetensors file. Raises OSError."""
        about = {"headset_encoder": json.dumps(asdict(self.options))}
        save_file({k: v.cpu().contiguous() for k, v in self.state_dict().items()}, path, about)

    @staticmethod
    def open(path: Path) -> HeadsetEncoder:
        """Raises CheckpointError when the file is not one that `write` made."""
        try:
            with safe_open(path, "pt") as file:
                about = json.loads((file.metadata() or {})["headset_encoder"])
                encoder = HeadsetEncoder(HeadsetEncoderOptions(**about))
                names = list(file.keys())
                encoder.load_state_dict({name: file.get_tensor(name) for name in names})
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{path}: expected a headset encoder, got {type(error).__name__}: {error}"
            ) from error
        if not all(bool(torch.isfinite(value).all()) for value in encoder.state_dict().values()):
            raise CheckpointError(f"{path}: expected finite numbers, got NaN or infinity")
        return encoder.eval()


class _Trunk(nn.Module):
    """Convolutions of stride 2 for one kind of camera: (B, 1, S, S) -> (B, features)."""

    def __init__(self, options: HeadsetEncoderOptions) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        side = options.size
        for before, after in pairwise(WIDTHS):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ELU()]
            side = (side + 1) // 2
        # Where something is matters as much as that it is there: no pooling over the picture.
        layers += [nn.Flatten(), nn.Linear(WIDTHS[-1] * side * side, options.features), nn.ELU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def prepared_picture(picture: UInt8, size: int, name: str = "picture") -> Float32:
    """(H, W) uint8 -> (size, size) float32 of mean 0 and standard deviation 1: how strong the
    infrared lamps are says nothing of the face."""
    if picture.ndim != 2 or picture.dtype != np.uint8 or min(picture.shape) < size:
        raise ValueError(
            f"headset encoder, {name}: expected (H, W) uint8 of at least {size} pixels, "
            f"got {picture.dtype} {picture.shape}"
        )
    small = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    return (small - small.mean()) / max(float(small.std()), LEAST_CONTRAST)
