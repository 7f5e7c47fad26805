"""The steady frame: faces and hands that are followed already, from pictures to numbers in one go.

The pictures of all cameras and the regions go to the device in one copy from pinned memory; there
all regions are cut out, the faces' landmarks are computed, filtered and made blendshapes, and at
the same time the hands' landmarks are computed, under CUDA as one captured graph; and one copy of a
few kilobytes comes back. Its slow twin is the same networks called one after the other with crops
of the host, and the host's filter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tracking.face_landmarks import BLENDSHAPE_LANDMARKS
from tracking.net import NETS, Float32
from tracking.nets.device_crops import Crops, DeviceCrops
from tracking.nets.device_one_euro import DeviceOneEuro
from tracking.nets.device_pictures import DevicePictures
from tracking.nets.replay import finish, recorded, side_by_side
from tracking.nets.torch_nets import TorchNets, divided

MOST_SHAPES = 6
"""Numbers of faces and hands whose graphs are kept: one face with 0, 1 or 2 hands, hands alone,
and one more."""
FACE_NUMBERS = 478 * 3


@dataclass(frozen=True, slots=True)
class SteadyRoom:
    """What there is memory for."""

    cameras: int
    width: int
    height: int
    """Pixels; of every camera."""
    faces: int
    hands: int
    """At most, of all cameras together."""
    looks: int = 1
    """Regions of each face and hand, one after the other; a face's landmarks are their mean."""

    def __post_init__(self) -> None:
        if self.looks < 1 or min(self.faces, self.hands) < 0 or self.faces + self.hands < 1:
            raise ValueError(f"SteadyRoom: expected faces or hands, and looks at them, got {self}")


@dataclass(frozen=True, slots=True, eq=False)
class SteadyRegions:
    """Where to look in one frame: first at faces, then at hands, each with all its looks."""

    cameras: npt.NDArray[np.int64]
    """(regions,) numbers of their cameras."""
    picture_from_pixel: npt.NDArray[np.float64]
    """(regions, 2, 3) matrices as `device_crops` takes them."""
    slots: npt.NDArray[np.int64]
    """(faces,) the filter of each face, no two the same."""
    seconds: npt.NDArray[np.float64]
    """(faces,) since that filter was last used; 0 where it begins anew."""


@dataclass(frozen=True, slots=True, eq=False)
class SteadyAnswers:
    """What comes back to the host."""

    faces: tuple[Float32, ...]
    """Outputs of "face_landmarks", each (regions of faces, size) float32 as `Net` returns them;
    empty without faces."""
    filtered: Float32
    """(faces, 478, 3) float32 pixels of the picture, x, y and depth on the scale of x."""
    blendshapes: Float32
    """(faces, 52) of "face_blendshapes", of the filtered landmarks."""
    hands: tuple[Float32, ...]
    """Outputs of "hand_landmarks" likewise; empty without hands."""


class SteadyFrame:
    """One engine's steady frames. Each number of faces and hands is a captured graph of its own, of
    which the last `MOST_SHAPES` are kept; all share the pictures and the filters' state, so that a
    hand that comes or goes does not disturb a face. Called from one thread at a time."""

    def __init__(self, nets: TorchNets, room: SteadyRoom, filters: DeviceOneEuro) -> None:
        """`filters` of (478, 3) landmarks, at least `room.faces`. Raises ValueError as
        `DevicePictures` does, or when a model is damaged."""
        self.room = room
        self._nets = nets
        self._filters = filters
        regions = room.looks * (room.faces + room.hands)
        ends = np.cumsum([0, 6 * regions, regions, room.faces, room.faces]) * 8
        self.pictures = DevicePictures(
            nets.device, room.cameras, room.width, room.height, int(ends[-1]) // 8
        )
        """Show the next pictures here, then call."""
        there, staged = self.pictures.numbers, self.pictures.staged_numbers
        matrices, cameras, slots, seconds = (
            slice(int(low), int(high)) for low, high in pairwise(ends)
        )
        self._matrices = there[matrices].view(torch.float64).view(-1, 2, 3)
        self._cameras = there[cameras].view(torch.int64)
        self._slots = there[slots].view(torch.int64)
        self._seconds = there[seconds].view(torch.float64)
        self._staged_matrices = staged[matrices].view(np.float64).reshape(-1, 2, 3)
        self._staged_cameras = staged[cameras].view(np.int64)
        self._staged_slots = staged[slots].view(np.int64)
        self._staged_seconds = staged[seconds].view(np.float64)
        self._chosen = torch.from_numpy(BLENDSHAPE_LANDMARKS).to(nets.device)
        self._shapes: dict[tuple[int, int], _Shape] = {}

    def __call__(self, regions: SteadyRegions) -> SteadyAnswers:
        """Raises ValueError for regions that there is no room for, or that are not finite."""
        shape = self._shape(*self._required(regions))
        rows, faces = shape.regions, shape.faces
        self._staged_matrices[:rows] = regions.picture_from_pixel
        self._staged_cameras[:rows] = regions.cameras
        self._staged_slots[:faces] = regions.slots
        self._staged_seconds[:faces] = regions.seconds
        self.pictures.upload()
        return shape.run()

    def _required(self, regions: SteadyRegions) -> tuple[int, int]:
        """Numbers of faces and hands."""
        room, given = self.room, np.asarray(regions.picture_from_pixel, np.float32)
        faces = len(regions.slots)
        things, over = divmod(len(given), room.looks)
        hands = things - faces
        if over or not (0 <= faces <= room.faces and 0 <= hands <= room.hands and things):
            raise ValueError(
                f"SteadyFrame: expected {room.looks} regions of each of at most {room.faces} faces "
                f"and {room.hands} hands, got {len(given)} regions with {faces} faces"
            )
        if given.shape[1:] != (2, 3) or not np.isfinite(given).all():
            raise ValueError(
                f"SteadyFrame: expected finite ({len(given)}, 2, 3) matrices, got {given.shape}"
            )
        cameras = regions.cameras
        if (
            cameras.shape != given.shape[:1]
            or not ((cameras >= 0) & (cameras < room.cameras)).all()
        ):
            raise ValueError(
                f"SteadyFrame: expected {len(given)} numbers of {room.cameras} cameras, "
                f"got {cameras.tolist()}"
            )
        slots, seconds = regions.slots.tolist(), regions.seconds
        if len(set(slots)) < faces or not all(0 <= slot < self._filters.spare for slot in slots):
            raise ValueError(
                f"SteadyFrame: expected different slots of {self._filters.spare}, got {slots}"
            )
        if seconds.shape != (faces,) or not ((seconds >= 0.0) & (seconds < np.inf)).all():
            raise ValueError(
                f"SteadyFrame: expected seconds of {faces} faces, got {seconds.tolist()}"
            )
        return faces, hands

    def _shape(self, faces: int, hands: int) -> _Shape:
        shape = self._shapes.pop((faces, hands), None)
        if shape is None:
            if len(self._shapes) == MOST_SHAPES:
                del self._shapes[next(iter(self._shapes))]  # The one that was not used the longest.
            # Recording runs the frame a few times: not with a filter that is in use.
            self._slots.fill_(self._filters.spare)
            shape = _Shape(self._nets, self.room.looks, faces, hands, self._computed)
        self._shapes[faces, hands] = shape
        return shape

    def _computed(self, shape: _Shape) -> list[Tensor]:
        """From the memory on the device to the answers there, in the order of `_Shape.sizes`."""
        rows = shape.regions
        crops = list(
            shape.crops(
                self.pictures.on_device, self._cameras[:rows], self._matrices[:rows].float()
            )
        )
        faces: list[Tensor] = []
        hands: list[Tensor] = []
        face_crops = crops.pop(0) if shape.faces else None
        hand_crops = crops.pop(0) if shape.hands else None

        def look_at_faces() -> None:
            if face_crops is not None:
                faces.extend(shape.modules["face_landmarks"](face_crops))
                faces.extend(self._made_of(faces[0], shape))

        def look_at_hands() -> None:
            if hand_crops is not None:
                hands.extend(shape.modules["hand_landmarks"](hand_crops))

        side_by_side(look_at_faces, look_at_hands, self._nets.device)
        return faces + hands

    def _made_of(self, landmarks: Tensor, shape: _Shape) -> tuple[Tensor, Tensor]:
        """(regions, 1434) crop coordinates -> filtered landmarks (faces, 478, 3) in the picture,
        and blendshapes (faces, 52)."""
        looks = self.room.looks
        matrices = self._matrices[: shape.faces * looks]
        points = landmarks.double().unflatten(1, (478, 3))
        # The matrices speak of pixels' middles, the network of the crop's edge.
        flat = (points[..., :2] - 0.5) @ matrices[:, :, :2].mT + matrices[:, None, :, 2]
        deep = points[..., 2:] * matrices[:, :, 0].norm(dim=1)[:, None, None]
        placed = torch.cat([flat, deep], -1).unflatten(0, (shape.faces, looks)).mean(1)
        sizes = (placed.amax(1) - placed.amin(1))[:, :2].mean(1)
        filtered = self._filters.filtered(
            self._slots[: shape.faces], self._seconds[: shape.faces], placed, sizes
        )
        # As `FaceLandmarks.blendshapes`: counted from the picture's edge.
        (scores,) = shape.modules["face_blendshapes"]((filtered[:, self._chosen, :2] + 0.5).float())
        return filtered.float(), scores


class _Shape:
    """What belongs to one number of faces and hands: its crops, its graph, its answers."""

    def __init__(
        self,
        nets: TorchNets,
        looks: int,
        faces: int,
        hands: int,
        computed: Callable[[_Shape], list[Tensor]],
    ) -> None:
        self.faces, self.hands = faces, hands
        self.regions = looks * (faces + hands)
        self.modules = {
            name: nets.module(name)
            for name, count in (
                ("face_landmarks", faces),
                ("face_blendshapes", faces),
                ("hand_landmarks", hands),
            )
            if count
        }
        kinds = [
            Crops(looks * count, NETS[name].input_shape[0], NETS[name].input_range)
            for name, count in (("face_landmarks", faces), ("hand_landmarks", hands))
            if count
        ]
        self.crops = DeviceCrops(kinds).to(nets.device)
        self.sizes: list[tuple[int, int]] = []
        if faces:
            self.sizes += [(looks * faces, size) for size in NETS["face_landmarks"].output_sizes]
            self.sizes += [(faces, FACE_NUMBERS), (faces, *NETS["face_blendshapes"].output_sizes)]
        if hands:
            self.sizes += [(looks * hands, size) for size in NETS["hand_landmarks"].output_sizes]
        self._device = nets.device
        total = sum(rows * size for rows, size in self.sizes)
        self._results = torch.zeros(total, device=nets.device)
        self._landed = torch.zeros(total, pin_memory=nets.device.type == "cuda")

        def work() -> None:
            torch.cat([answer.reshape(-1) for answer in computed(self)], out=self._results)

        self._replay = recorded(work, nets.device)

    def run(self) -> SteadyAnswers:
        self._replay()
        self._landed.copy_(self._results, non_blocking=True)
        finish(self._device)
        parts = divided(self._landed.numpy(), self.sizes)
        if not self.faces:
            nothing = np.zeros((0, 478, 3), np.float32), np.zeros((0, 52), np.float32)
            return SteadyAnswers((), *nothing, parts)
        return SteadyAnswers(parts[:3], parts[3].reshape(-1, 478, 3), parts[4], parts[5:])
