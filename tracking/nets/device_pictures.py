"""Pictures on their way to the device, with the numbers that say what to do with them.

Both lie one behind the other in pinned memory, so that one copy takes them there, and in the same
places on the device, so that captured graphs find them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from tracking.engine import SMALLEST_SIDE


class DevicePictures:
    """Pictures of equal size, of one or several cameras. Used from one thread at a time."""

    def __init__(
        self, device: torch.device, cameras: int, width: int, height: int, numbers: int = 0
    ) -> None:
        """`numbers` of 8 bytes each lie before the pictures. Raises ValueError for no cameras, or
        pictures below 16 x 16."""
        if cameras < 1 or min(width, height) < SMALLEST_SIDE:
            raise ValueError(
                f"DevicePictures: expected cameras of at least {SMALLEST_SIDE} x {SMALLEST_SIDE} "
                f"pixels, got {cameras} of {width} x {height}"
            )
        self.device = device
        self.size = width, height
        first, shape = 8 * numbers, (cameras, height, width, 3)
        total = first + cameras * height * width * 3
        pinned = device.type == "cuda"
        self._staging = torch.zeros(total, dtype=torch.uint8, pin_memory=pinned)
        # Also where the device is the processor, which then does just what CUDA does.
        self._there = torch.zeros(total, dtype=torch.uint8, device=device)
        staged = self._staging.numpy()
        self.staged_numbers: npt.NDArray[np.uint8] = staged[:first]
        """(8 * numbers,) uint8: write them here before `upload`."""
        self.numbers = self._there[:first]
        """The same on the device."""
        self.on_device = self._there[first:].view(shape)
        """(cameras, height, width, 3) uint8, as of the last `upload`."""
        self._staged = staged[first:].reshape(shape)
        self._is_there = False

    def show(self, camera: int, rgb: npt.NDArray[np.uint8]) -> None:
        """The next picture of one camera: (height, width, 3) uint8 sRGB."""
        self._staged[camera] = rgb
        self._is_there = False

    def upload(self) -> None:
        """Begin to copy pictures and numbers to the device. Whoever then waits for an answer from
        the device (`replay.finish`) may show the next ones."""
        self._there.copy_(self._staging, non_blocking=True)
        self._is_there = True

    def upload_once(self) -> None:
        """The same, unless nothing was shown since."""
        if not self._is_there:
            self.upload()
