"""The steady frame: faces and hands that are followed already, from pictures to numbers in one go.

The pictures of all cameras and the regions go to the device in one copy from pinned memory; there
all regions are cut out, the faces' landmarks and blendshapes and, at the same time, the hands'
landmarks are computed, under CUDA as one captured graph; and one copy of a few kilobytes comes
back. Its slow twin is the same networks called one after the other with crops of the host.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tracking.net import NETS, Float32
from tracking.nets.device_crops import Crops, DeviceCrops
from tracking.nets.replay import recorded, side_by_side
from tracking.nets.torch_nets import TorchNets, exact_convolutions

Pictures = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SteadyShape:
    """What every frame has: a captured graph is for one shape."""

    cameras: int
    width: int
    height: int
    """Pixels; of every camera."""
    faces: int
    hands: int
    """Of all cameras together."""
    looks: int = 1
    """Regions of each face and hand, one after the other; blendshapes are of the mean."""

    def __post_init__(self) -> None:
        if min(self.cameras, self.looks) < 1 or min(self.width, self.height) < 16:
            raise ValueError(f"SteadyShape: expected cameras, looks and pictures, got {self}")
        if min(self.faces, self.hands) < 0 or self.faces + self.hands < 1:
            raise ValueError(f"SteadyShape: expected faces or hands, got {self}")

    @property
    def face_regions(self) -> int:
        return self.faces * self.looks

    @property
    def hand_regions(self) -> int:
        return self.hands * self.looks

    @property
    def regions(self) -> int:
        return self.face_regions + self.hand_regions


@dataclass(frozen=True, slots=True, eq=False)
class SteadyAnswers:
    """The networks' outputs on the host, each (regions, size) float32 as `Net` returns them."""

    faces: tuple[Float32, ...]
    """Of "face_landmarks"; empty without faces."""
    blendshapes: Float32
    """(faces, 52)."""
    hands: tuple[Float32, ...]
    """Of "hand_landmarks"; empty without hands."""


class SteadyFrame:
    """One shape's frame, captured. Called from one thread at a time."""

    def __init__(
        self, nets: TorchNets, shape: SteadyShape, blendshape_landmarks: npt.NDArray[np.int64]
    ) -> None:
        """`blendshape_landmarks` (146,): which of the 478 the blendshapes are computed from."""
        self.shape = shape
        self._device = nets.device
        kinds, modules = [], {}
        if shape.faces:
            spec = NETS["face_landmarks"]
            kinds.append(Crops(shape.face_regions, spec.input_shape[0], spec.input_range))
            modules |= {name: nets.module(name) for name in ("face_landmarks", "face_blendshapes")}
        if shape.hands:
            spec = NETS["hand_landmarks"]
            kinds.append(Crops(shape.hand_regions, spec.input_shape[0], spec.input_range))
            modules["hand_landmarks"] = nets.module("hand_landmarks")
        self._modules = modules
        self._crops = DeviceCrops(kinds).to(self._device)
        self._chosen = torch.from_numpy(blendshape_landmarks).to(self._device)
        self._keep_memory()
        with torch.inference_mode(), exact_convolutions():
            self._replay = recorded(self._compute, self._device)

    @property
    def pictures(self) -> Pictures:
        """(cameras, height, width, 3) uint8 sRGB: write the next frame here, then call."""
        return self._staged_pictures

    def __call__(
        self, cameras: npt.NDArray[np.int64], picture_from_pixel: npt.NDArray[np.floating]
    ) -> SteadyAnswers:
        """The regions, first of faces, then of hands: (regions,) numbers of their cameras and
        (regions, 2, 3) matrices as `device_crops` takes them. Raises ValueError for others."""
        given = np.asarray(picture_from_pixel, np.float32)
        count = self.shape.regions
        if given.shape != (count, 2, 3) or not np.isfinite(given).all():
            raise ValueError(
                f"SteadyFrame: expected finite ({count}, 2, 3) matrices, got {given.shape}"
            )
        if cameras.shape != (count,) or not ((cameras >= 0) & (cameras < self.shape.cameras)).all():
            raise ValueError(
                f"SteadyFrame: expected {count} numbers of {self.shape.cameras} cameras, "
                f"got {cameras.tolist()}"
            )
        self._staged_cameras[:] = cameras
        self._staged_matrices[:] = given
        with torch.inference_mode(), exact_convolutions():
            self._on_device.copy_(self._staging, non_blocking=True)
            self._replay()
            self._landed.copy_(self._results, non_blocking=True)
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        return self._answers()

    def _keep_memory(self) -> None:
        """All memory that a frame passes through, which a captured graph refers to."""
        shape = self.shape
        pinned = self._device.type == "cuda"
        # The widest numbers first, so that all are aligned.
        matrices, pictures = 8 * shape.regions, 32 * shape.regions
        size = pictures + shape.cameras * shape.height * shape.width * 3
        self._staging = torch.zeros(size, dtype=torch.uint8, pin_memory=pinned)
        self._on_device = torch.zeros(size, dtype=torch.uint8, device=self._device)
        staged = self._staging.numpy()
        self._staged_cameras = staged[:matrices].view(np.int64)
        self._staged_matrices = staged[matrices:pictures].view(np.float32).reshape(-1, 2, 3)
        as_pictures = shape.cameras, shape.height, shape.width, 3
        self._staged_pictures = staged[pictures:].reshape(as_pictures)
        self._device_cameras = self._on_device[:matrices].view(torch.int64)
        self._device_matrices = (
            self._on_device[matrices:pictures].view(torch.float32).view(-1, 2, 3)
        )
        self._device_pictures = self._on_device[pictures:].view(as_pictures)
        self._sizes = [
            (rows, size)
            for name, rows in (
                ("face_landmarks", shape.face_regions),
                ("face_blendshapes", shape.faces),
                ("hand_landmarks", shape.hand_regions),
            )
            if rows
            for size in NETS[name].output_sizes
        ]
        total = sum(rows * size for rows, size in self._sizes)
        self._results = torch.zeros(total, device=self._device)
        self._landed = torch.zeros(total, pin_memory=pinned)

    def _compute(self) -> None:
        """From the memory on the device to the results on the device."""
        crops = list(
            self._crops(self._device_pictures, self._device_cameras, self._device_matrices)
        )
        faces: list[Tensor] = []
        hands: list[Tensor] = []
        face_crops = crops.pop(0) if self.shape.faces else None
        hand_crops = crops.pop(0) if self.shape.hands else None

        def look_at_faces() -> None:
            if face_crops is not None:
                faces.extend(self._modules["face_landmarks"](face_crops))
                faces.append(self._blendshapes(faces[0]))

        def look_at_hands() -> None:
            if hand_crops is not None:
                hands.extend(self._modules["hand_landmarks"](hand_crops))

        side_by_side(look_at_faces, look_at_hands, self._device)
        torch.cat([output.reshape(-1) for output in faces + hands], out=self._results)

    def _blendshapes(self, landmarks: Tensor) -> Tensor:
        """(face regions, 1434) crop pixels -> (faces, 52)."""
        shape = self.shape
        matrices = self._device_matrices[: shape.face_regions]
        points = landmarks.unflatten(1, (478, 3))[:, self._chosen, :2]
        # Half pixels between pixels' middles and edges do not matter: the network begins with
        # taking the mean away.
        placed = points @ matrices[:, :, :2].mT + matrices[:, None, :, 2]
        (scores,) = self._modules["face_blendshapes"](
            placed.unflatten(0, (shape.faces, shape.looks)).mean(1)
        )
        return scores

    def _answers(self) -> SteadyAnswers:
        landed = self._landed.numpy().copy()
        ends = np.cumsum([rows * size for rows, size in self._sizes])
        parts = [
            part.reshape(shape)
            for part, shape in zip(np.split(landed, ends[:-1]), self._sizes, strict=True)
        ]
        faces = tuple(parts[:3]) if self.shape.faces else ()
        shapes = parts[3] if self.shape.faces else np.zeros((0, 52), np.float32)
        return SteadyAnswers(faces, shapes, tuple(parts[4:] if self.shape.faces else parts))
