"""Do engines and pipeline give the numbers that they replace? The parity part of
`benchmarks.tracking`: networks against LiteRT's fp32, the pipeline against MediaPipe's tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.compared_trackers import PhotographFinder, mediapipe_face
from tracking.engine import Picture
from tracking.engines.face_pipeline import MEDIAPIPE_FACE, FacePipeline
from tracking.engines.hand_pipeline import MEDIAPIPE_HANDS, HandPipeline
from tracking.net import Net, NetSource, NetSpec

Float32 = npt.NDArray[np.float32]

MOST_INPUTS = 8
LANDMARKS = {"hand_landmarks": 21, "face_landmarks": 478}
"""Networks whose first output is that many x, y, z in pixels of their input."""


@dataclass(frozen=True, slots=True)
class NetParity:
    """One network of one engine against LiteRT, over real inputs."""

    engine: str
    network: str
    inputs: int
    largest: float
    """Absolute difference of any number of any output."""
    mean_px: float
    """Distance of landmarks in pixels of the network's input; NaN for other networks."""


@dataclass(frozen=True, slots=True)
class PipelineParity:
    """Our pipeline in MediaPipe's settings against MediaPipe's tasks."""

    face_frames: int
    face_mean_px: float
    """Mean absolute difference of x, y and z over a film, filter included."""
    blendshape_largest: float
    hands: int
    hands_matched: float
    """Share of MediaPipe's hands that ours found too; and the sides agree."""
    hand_median_of_max_px: float
    """In photographs: the median over hands of the joint that is farthest off."""


class RecordedNets:
    """`tracking.net.NetSource` that keeps what its networks were given."""

    def __init__(self, nets: NetSource) -> None:
        self.name = nets.name
        self._nets = nets
        self.inputs: dict[str, list[Float32]] = {}

    def open(self, network: str) -> Net:
        return RecordedNet(self._nets.open(network), self.inputs.setdefault(network, []))


class RecordedNet:
    """`tracking.net.Net`."""

    def __init__(self, net: Net, inputs: list[Float32]) -> None:
        self.spec: NetSpec = net.spec
        self._net = net
        self._inputs = inputs

    def __call__(self, batch: Float32) -> tuple[Float32, ...]:
        if len(self._inputs) < MOST_INPUTS:
            self._inputs.append(batch[:1].copy())
        return self._net(batch)


def real_inputs(nets: NetSource, film: Sequence[Picture]) -> dict[str, list[Float32]]:
    """What each network is given while a film of a face and hands is tracked."""
    recorded = RecordedNets(nets)
    for k, rgb in enumerate(film):
        # Begun anew in each frame, so that the detectors look too.
        FacePipeline(recorded, MEDIAPIPE_FACE).look(rgb, k)
        HandPipeline(recorded, MEDIAPIPE_HANDS).look(rgb, k)
    return recorded.inputs


def net_parity(
    reference: NetSource, engine: str, nets: NetSource, inputs: dict[str, list[Float32]]
) -> list[NetParity]:
    """One row a network."""
    rows: list[NetParity] = []
    for network, batches in inputs.items():
        theirs, ours = reference.open(network), nets.open(network)
        largest, pixels = 0.0, []
        for batch in batches:
            a, b = theirs(batch), ours(batch)
            largest = max(largest, *(float(np.abs(x - y).max()) for x, y in zip(a, b, strict=True)))
            if network in LANDMARKS:
                shape = (LANDMARKS[network], 3)
                apart = a[0].reshape(shape)[:, :2] - b[0].reshape(shape)[:, :2]
                pixels.append(float(np.linalg.norm(apart, axis=1).mean()))
        mean = float(np.mean(pixels)) if pixels else float("nan")
        rows.append(NetParity(engine, network, len(batches), largest, mean))
    return rows


def pipeline_parity(
    nets: NetSource,
    films: Sequence[Sequence[Picture]],
    photographs: Sequence[Picture],
    mediapipe: PhotographFinder,
) -> PipelineParity:
    """Faces in films of 25 Hz, hands in photographs."""
    pixels: list[float] = []
    shapes: list[float] = []
    for film in films:
        theirs, ours = mediapipe_face(), FacePipeline(nets, MEDIAPIPE_FACE)
        for k, rgb in enumerate(film):
            seen, found = theirs.look(rgb, 1 + 40 * k), ours.look(rgb, 1 + 40 * k)
            for a, b in zip(seen, found, strict=False):
                pixels.append(float(np.abs(a.landmarks - b.landmarks).mean()))
                shapes.append(float(np.abs(a.blendshapes - b.blendshapes).max()))
            if len(seen) != len(found):
                pixels.append(float("nan"))  # Only one of the two saw a face: no parity.
        theirs.close()
    farthest: list[float] = []
    seen = 0
    for rgb in photographs:
        ours_found = HandPipeline(nets, MEDIAPIPE_HANDS).look(rgb, 1)
        for hand in mediapipe.hands(rgb)[: MEDIAPIPE_HANDS.hands]:
            seen += 1
            apart = [
                float(np.abs(hand.landmarks - other.landmarks).max())
                for other in ours_found
                if other.side == hand.side
            ]
            if apart:
                farthest.append(min(apart))
    return PipelineParity(
        len(pixels),
        float(np.mean(pixels)) if pixels else float("nan"),
        max(shapes, default=float("nan")),
        seen,
        len(farthest) / seen if seen else float("nan"),
        float(np.median(farthest)) if farthest else float("nan"),
    )
