"""The five networks of tracking, and the Protocols by which any engine runs them.

A network is a pure function of a batch of regions. Where those regions come from and what becomes
of the numbers is the pipeline's business and the same for every engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NetSpec:
    """Where a network lies and what goes in and comes out, without the batch dimension."""

    bundle: str
    """Asset of the MediaPipe bundle, a zip file."""
    member: str
    """Name of its tflite file in the bundle."""
    input_shape: tuple[int, ...]
    """Of one item: (height, width, 3) of float32 RGB, or (146, 2) pixels for blendshapes."""
    outputs: tuple[str, ...]
    """The file's names of its outputs, in the order in which `Net` returns them."""
    output_sizes: tuple[int, ...]
    """Numbers of each output for one item; `Net` returns each as (N, size)."""
    input_range: tuple[float, float]
    """What the colour values 0 and 255 become; (0, 0) where the input is no picture."""
    batched: bool
    """Whether the file's graph keeps the items of a batch apart; the others have a batch of one
    written into their reshapes."""


HAND_BUNDLE = "models/hand_landmarker.task"
FACE_BUNDLE = "models/face_landmarker.task"

NETS: Mapping[str, NetSpec] = {
    # 2016 anchors of 18 numbers (box, 7 points), and their scores before the sigmoid.
    "hand_detector": NetSpec(
        HAND_BUNDLE,
        "hand_detector.tflite",
        (192, 192, 3),
        ("Identity", "Identity_1"),
        (2016 * 18, 2016),
        (0.0, 1.0),
        False,
    ),
    # 21 x, y, z in pixels of the region; presence; right-handedness; 21 points in metres.
    "hand_landmarks": NetSpec(
        HAND_BUNDLE,
        "hand_landmarks_detector.tflite",
        (224, 224, 3),
        ("Identity", "Identity_1", "Identity_2", "Identity_3"),
        (63, 1, 1, 63),
        (0.0, 1.0),
        True,
    ),
    # 896 anchors of 16 numbers (box, 6 points), and their scores before the sigmoid.
    "face_detector": NetSpec(
        FACE_BUNDLE,
        "face_detector.tflite",
        (128, 128, 3),
        ("regressors", "classificators"),
        (896 * 16, 896),
        (-1.0, 1.0),
        False,
    ),
    # 478 x, y, z in pixels of the region; presence before the sigmoid; tongue out (unused).
    "face_landmarks": NetSpec(
        FACE_BUNDLE,
        "face_landmarks_detector.tflite",
        (256, 256, 3),
        ("Identity", "Identity_1", "Identity_2"),
        (1434, 1, 1),
        (0.0, 1.0),
        True,
    ),
    # 146 chosen landmarks in pixels of the picture -> 52 scores ("_neutral" first).
    "face_blendshapes": NetSpec(
        FACE_BUNDLE,
        "face_blendshapes.tflite",
        (146, 2),
        ("StatefulPartitionedCall:0",),
        (52,),
        (0.0, 0.0),
        False,
    ),
}
"""By name. Sources: MediaPipe's face and hand landmarker bundles (Apache-2.0)."""


class Net(Protocol):
    """One network, opened. Called from one thread at a time."""

    spec: NetSpec

    def __call__(self, batch: Float32) -> tuple[Float32, ...]:
        """(N, *spec.input_shape) float32 -> for each of `spec.outputs` (N, size) float32, which the
        caller may keep. Raises ValueError on another shape or dtype."""
        ...


class NetSource(Protocol):
    """An engine: opens networks by their name in `NETS`."""

    name: str
    """As in `--tracker`: "litert", "openvino", "torch"."""

    def open(self, network: str) -> Net:
        """Raises ValueError for an unknown name or a damaged file, RuntimeError when the engine
        cannot run it."""
        ...


def require_batch(spec: NetSpec, batch: object) -> Float32:
    """`batch` as it is, or ValueError unless it is float32 of (N >= 1, *spec.input_shape)."""
    if (
        not isinstance(batch, np.ndarray)
        or batch.dtype != np.float32
        or batch.shape[1:] != spec.input_shape
        or batch.shape[0] < 1
    ):
        got = (
            f"{batch.dtype} {batch.shape}"
            if isinstance(batch, np.ndarray)
            else type(batch).__name__
        )
        raise ValueError(f"{spec.member}: expected float32 (N, *{spec.input_shape}), got {got}")
    return batch
