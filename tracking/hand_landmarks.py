"""The hand landmark network: regions of a picture in, joints of the hands in them out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tracking.net import Net
from tracking.region import Cut, Picture, Region, hand_region_of_landmarks, into_picture
from tracking.region_net import answers

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class HandFind:
    """What the network says of one region."""

    landmarks: Array
    """(21, 2) pixels of the picture, MediaPipe's order."""
    shape: Array
    """(21, 3) metres, axes of the picture (x right, y down, z away), about the hand's middle."""
    right: float
    """0..1: how sure it is that this is a right hand, in a picture that is not mirrored."""
    presence: float
    """0..1: how sure it is that this is a hand."""

    def region(self) -> Region:
        """Where to look for it in the next picture."""
        return self._region

    @cached_property
    def _region(self) -> Region:
        return hand_region_of_landmarks(self.landmarks)

    def is_sound(self) -> bool:
        """Whether all is finite and its region can be cut out: a damaged network says anything."""
        numbers = self.landmarks, self.shape, self.right
        return self.region().usable() and all(np.isfinite(each).all() for each in numbers)


class HandLandmarks:
    """The network and what its numbers mean."""

    def __init__(self, net: Net, looks: int = 1, mediapipe_crops: bool = False) -> None:
        """`looks`: 1, or up to 5 looks at each region whose answers are averaged;
        `mediapipe_crops`: see `tracking.region.Cut.mediapipe`."""
        self._net = net
        self._looks = looks
        self._cut = Cut(net.spec.input_shape[0], mediapipe=mediapipe_crops)

    def find(self, rgb: Picture, regions: Sequence[Region]) -> list[HandFind]:
        """One answer a region, all from one call of the network."""
        if not regions:
            return []
        looks = [look for region in regions for look in region.shaken(self._looks)]
        outputs = answers(self._net, rgb, looks, self._cut)
        return hand_finds(outputs, regions, self._looks, self._cut)


def hand_finds(
    outputs: tuple[Float32, ...], regions: Sequence[Region], each: int, cut: Cut
) -> list[HandFind]:
    """What the landmark network's `outputs` about `each` looks at every region, cut out by `cut`,
    mean."""
    looks = [look for region in regions for look in region.shaken(each)]
    points, presence, right, shapes = outputs
    count = len(regions)
    flat = np.array(
        [
            into_picture(row.reshape(21, 3)[:, :2], look, cut.size)
            for row, look in zip(points, looks, strict=True)
        ]
    )
    solid = np.array(
        [_turned(row.reshape(21, 3), look.angle) for row, look in zip(shapes, looks, strict=True)]
    )
    return [
        HandFind(landmarks, shape, float(side), float(there))
        for landmarks, shape, side, there in zip(
            flat.reshape(count, each, 21, 2).mean(1),
            solid.reshape(count, each, 21, 3).mean(1),
            right.reshape(count, each).mean(1),
            presence.reshape(count, each).mean(1),
            strict=True,
        )
    ]


def _turned(shape: npt.NDArray[np.float32], angle: float) -> Array:
    """From the region's axes into the picture's."""
    cos, sin = math.cos(angle), math.sin(angle)
    turned = shape.astype(np.float64)
    turned[:, :2] = turned[:, :2] @ np.array([[cos, sin], [-sin, cos]])
    return turned
