"""The face landmark and blendshape networks: regions of a picture in, faces out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from streams.face_shapes import FACE_SHAPES, UNTRACKED_SHAPES
from tracking.net import Net
from tracking.region import Cut, Picture, Region, face_region_of_landmarks, into_picture
from tracking.region_net import answers

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

BLENDSHAPE_LANDMARKS = np.array(
    [
        0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63,
        65, 66, 67, 70, 78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133,
        136, 144, 145, 146, 148, 149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163,
        168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263, 267, 269, 270,
        276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317,
        318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379,
        380, 381, 382, 384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454,
        466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
    ]
)  # fmt: skip
"""The landmarks that the blendshape network reads (MediaPipe's face_blendshapes_graph.cc)."""

NETWORK_SHAPES = ("_neutral", *sorted(set(FACE_SHAPES) - set(UNTRACKED_SHAPES)))
"""The network's 52 answers in their order. It has no tongue."""
_OF_NETWORK = np.array(
    [NETWORK_SHAPES.index(name) if name in NETWORK_SHAPES else -1 for name in FACE_SHAPES]
)


@dataclass(frozen=True, slots=True, eq=False)
class FilteredFace:
    """A face after its filter."""

    landmarks: Array
    """(478, 3) as of `FaceFind`."""
    blendshapes: Float32
    """(52,) float32 0..1 in the order of `FACE_SHAPES`, of these landmarks."""


@dataclass(frozen=True, eq=False)
class FaceFind:
    """What the network says of one region."""

    landmarks: Array
    """(478, 3) pixels of the picture, and depth on the scale of x; MediaPipe's order."""
    presence: float
    """0..1: how sure it is that this is a face."""
    filtered: FilteredFace | None = None
    """Of an engine that filters faces itself."""

    def region(self) -> Region:
        """Where to look for it in the next picture."""
        return self._region

    @cached_property
    def _region(self) -> Region:
        return face_region_of_landmarks(self.landmarks[:, :2])

    def is_sound(self) -> bool:
        """Whether all is finite and its region can be cut out: a damaged network says anything."""
        return self.region().usable() and bool(np.isfinite(self.landmarks).all())

    def extent(self) -> float:
        """Pixels: mean of the width and height of the box round the landmarks."""
        return float(np.ptp(self.landmarks[:, :2], axis=0).mean())


class FaceLandmarks:
    """The networks and what their numbers mean."""

    def __init__(
        self, net: Net, blendshapes: Net, looks: int = 1, mediapipe_crops: bool = False
    ) -> None:
        """`looks`: 1, or up to 5 looks at each region whose answers are averaged;
        `mediapipe_crops`: see `tracking.region.Cut.mediapipe`."""
        self._net = net
        self._blendshapes = blendshapes
        self._looks = looks
        self._cut = Cut(net.spec.input_shape[0], mediapipe=mediapipe_crops)

    def find(self, rgb: Picture, regions: Sequence[Region]) -> list[FaceFind]:
        """One answer a region, all from one call of the network."""
        if not regions:
            return []
        looks = [look for region in regions for look in region.shaken(self._looks)]
        outputs = answers(self._net, rgb, looks, self._cut)
        return face_finds(outputs, regions, self._looks, self._cut)

    def blendshapes(self, landmarks: Array) -> Float32:
        """(52,) float32 0..1 in the order of `FACE_SHAPES`, of (478, 3) or (478, 2) pixels."""
        points = landmarks[BLENDSHAPE_LANDMARKS, :2] + 0.5  # MediaPipe counts from the edge.
        (scores,) = self._blendshapes(np.ascontiguousarray(points[None], np.float32))
        return blendshapes_of(scores[0])


def face_finds(
    outputs: tuple[Float32, ...], regions: Sequence[Region], each: int, cut: Cut
) -> list[FaceFind]:
    """What the landmark network's `outputs` about `each` looks at every region, cut out by `cut`,
    mean."""
    looks = [look for region in regions for look in region.shaken(each)]
    points, logits, _ = outputs
    marks = points.reshape(len(looks), 478, 3).astype(np.float64)
    for mark, look in zip(marks, looks, strict=True):
        mark[:, :2] = into_picture(mark[:, :2], look, cut.size)
        mark[:, 2] *= look.side / cut.size
    presence = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
    count = len(regions)
    return [
        FaceFind(landmarks, float(there))
        for landmarks, there in zip(
            marks.reshape(count, each, 478, 3).mean(1),
            presence.reshape(count, each).mean(1),
            strict=True,
        )
    ]


def blendshapes_of(scores: Float32) -> Float32:
    """(52,) float32 0..1 in the order of `FACE_SHAPES`, of the network's 52 answers."""
    shapes = np.where(_OF_NETWORK >= 0, scores[_OF_NETWORK], np.float32(0.0))
    return np.clip(np.nan_to_num(shapes), 0.0, 1.0).astype(np.float32)
