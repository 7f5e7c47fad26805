"""The trackers that `benchmarks.tracking` compares: MediaPipe's own tasks, and our pipeline.

MediaPipe stands in its own settings: IMAGE mode for photographs, VIDEO mode for films, its palm
detector in every frame that shows fewer hands than it may follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from assets.manifest import asset_path
from streams.camera import Camera
from streams.frame import Frame
from streams.projection import project
from streams.tracked_state import TrackedState
from tracking import engine_choice
from tracking.association import hand_size
from tracking.engine import (
    FaceEngine,
    FaceMarks,
    HandEngine,
    HandMarks,
    PersonEngine,
    Picture,
)
from tracking.engine_lanes import FACE_ENGINES, FACE_THREADS, HAND_THREADS
from tracking.engines.face_pipeline import FacePipeline, FaceSettings
from tracking.engines.hand_pipeline import HandPipeline, HandSettings
from tracking.engines.mediapipe_tasks import Confidences, MediaPipeFace, MediaPipeHands
from tracking.net import Net, NetSource
from tracking.one_euro import OneEuro, OneEuroOptions
from tracking.tracker import Tracker, TrackerOptions

Float32 = npt.NDArray[np.float32]

FACE, HANDS = "models/face_landmarker.task", "models/hand_landmarker.task"
PHOTOGRAPH_HANDS, PHOTOGRAPH_FACES = 4, 6
"""At most this many in a photograph, as in the project's study of MediaPipe."""


class PhotographFinder(Protocol):
    """Finds what single photographs show; nothing is carried from one to the next."""

    def hands(self, rgb: Picture) -> Sequence[HandMarks]: ...

    def faces(self, rgb: Picture) -> Sequence[Float32]:
        """Landmarks of each face, (478, 3) float32 pixels."""
        ...


class MediaPipePhotographs:
    """`PhotographFinder`: MediaPipe's landmarkers in IMAGE mode."""

    def __init__(self) -> None:
        from mediapipe.tasks.python import BaseOptions, vision

        self._hands = vision.HandLandmarker.create_from_options(
            vision.HandLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=str(asset_path(HANDS))),
                num_hands=PHOTOGRAPH_HANDS,
            )
        )
        self._faces = vision.FaceLandmarker.create_from_options(
            vision.FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=str(asset_path(FACE))),
                num_faces=PHOTOGRAPH_FACES,
            )
        )

    def hands(self, rgb: Picture) -> Sequence[HandMarks]:
        result = self._hands.detect(_image(rgb))
        return [
            HandMarks(
                _pixels(marks, rgb)[:, :2],
                np.array([(p.x, p.y, p.z) for p in world], np.float32),
                "left" if side[0].category_name == "Left" else "right",
                float(side[0].score),
            )
            for marks, world, side in zip(
                result.hand_landmarks, result.hand_world_landmarks, result.handedness, strict=True
            )
        ]

    def faces(self, rgb: Picture) -> Sequence[Float32]:
        return [_pixels(marks, rgb) for marks in self._faces.detect(_image(rgb)).face_landmarks]

    def close(self) -> None:
        self._hands.close()
        self._faces.close()


class OurPhotographs:
    """`PhotographFinder`: our pipeline, begun anew at each photograph."""

    def __init__(self, nets: NetSource, face: FaceSettings, hand: HandSettings) -> None:
        self._nets = OpenedNets(nets)
        self._face, self._hand = face, replace(hand, hands=PHOTOGRAPH_HANDS)

    def hands(self, rgb: Picture) -> Sequence[HandMarks]:
        return HandPipeline(self._nets, self._hand).look(rgb, 0)

    def faces(self, rgb: Picture) -> Sequence[Float32]:
        return [face.landmarks for face in FacePipeline(self._nets, self._face).look_all(rgb)]


class OpenedNets:
    """`tracking.net.NetSource` that opens each network once: they keep nothing between calls."""

    def __init__(self, nets: NetSource) -> None:
        self.name = nets.name
        self._nets = nets
        self._opened: dict[str, Net] = {}

    def open(self, network: str) -> Net:
        if network not in self._opened:
            self._opened[network] = self._nets.open(network)
        return self._opened[network]


def open_nets(engine: str, threads: int) -> NetSource:
    """By the names of `--tracker`, and "openvino-fp32", "torch-fp32", "torch-fp16" for precisions
    that those do not choose on every machine. Raises ValueError for another name, RuntimeError
    where it cannot run."""
    if engine == "openvino-fp32":
        from tracking.nets.openvino import OpenVinoNets

        return OpenVinoNets(threads, bfloat16=False)
    elif engine in ("torch-fp32", "torch-fp16"):
        import torch

        from tracking.nets.torch_nets import TorchNets

        device = "cuda" if torch.cuda.is_available() else "cpu"
        return TorchNets(device, "float16" if engine == "torch-fp16" else "float32")
    else:
        return engine_choice.open_nets(engine, threads, {})


def mediapipe_face() -> FaceEngine:
    """In VIDEO mode, with its own filter."""
    return MediaPipeFace(asset_path(FACE), Confidences())


def mediapipe_hands(hands: int = 2) -> HandEngine:
    """In VIDEO mode. Searching in every frame is what MediaPipe's task does by itself."""
    return MediaPipeHands(asset_path(HANDS), Confidences(), hands, search_every_ms=0)


class CalmHands:
    """`tracking.engine.HandEngine`: another one, filtered as `Tracker` filters hands."""

    def __init__(self, engine: HandEngine, options: OneEuroOptions | None = None) -> None:
        self._engine = engine
        self._options = TrackerOptions().hand_filter if options is None else options
        self._filters: dict[str, OneEuro] = {}

    def look(self, rgb: Picture, t_ms: int) -> tuple[HandMarks, ...]:
        found = self._engine.look(rgb, t_ms)
        sides = {hand.side for hand in found}
        self._filters = {
            side: self._filters.get(side, OneEuro(self._options)) for side in sorted(sides)
        }
        return tuple(
            replace(
                hand,
                landmarks=self._filters[hand.side]
                .filter(t_ms * 1_000_000, hand.landmarks, hand_size(hand))
                .astype(np.float32),
            )
            for hand in found
        )

    def close(self) -> None:
        self._engine.close()


class BesideItself:
    """`tracking.engine.FaceEngine`: another one, which sees each picture and its mirror image to
    the right of it, and answers with the face on the left."""

    def __init__(self, engine: FaceEngine) -> None:
        self._engine = engine

    def look(self, rgb: Picture, t_ms: int) -> tuple[FaceMarks, ...]:
        found = self._engine.look(np.concatenate([rgb, rgb[:, ::-1]], axis=1), t_ms)
        if len(found) < 2:
            return ()
        return tuple(face for face in found if face.landmarks[:, 0].mean() < rgb.shape[1])

    def close(self) -> None:
        self._engine.close()


@dataclass(frozen=True, slots=True)
class Both:
    """A face engine and a hand engine that look at the same frames, in one way or another."""

    face: FaceEngine
    hands: HandEngine
    pool: ThreadPoolExecutor | None = None
    """None: one after the other; else the face in a thread of its own, as in `Tracker`."""

    def look(self, rgb: Picture, t_ms: int) -> tuple[tuple[FaceMarks, ...], tuple[HandMarks, ...]]:
        if self.pool is None:
            return self.face.look(rgb, t_ms), self.hands.look(rgb, t_ms)
        face = self.pool.submit(self.face.look, rgb, t_ms)
        hands = self.hands.look(rgb, t_ms)
        return face.result(timeout=30.0), hands

    def close(self) -> None:
        if self.pool is not None:
            self.pool.shutdown()
        self.face.close()
        self.hands.close()


def open_both(engine: str) -> Both | PersonEngine:
    """Our face and hand pipelines as `Tracker` runs them: at the same time, with its threads; of
    torch, one engine for both."""
    if engine == "torch":
        from tracking.engines.person_pipeline import PersonPipeline

        nets = engine_choice.open_torch_nets({})
        return PersonPipeline(nets, FaceSettings(), HandSettings())
    return Both(
        FacePipeline(open_nets(FACE_ENGINES.get(engine, engine), FACE_THREADS)),
        HandPipeline(open_nets(engine, HAND_THREADS)),
        ThreadPoolExecutor(1),
    )


class WholeTracker:
    """`Tracker` looking at the same frames: beside the engines, the landmarks' flow, filters, the
    head's pose, hands in metres and confidences, none of which MediaPipe has."""

    def __init__(self, options: TrackerOptions) -> None:
        self._tracker = Tracker.open(options)

    def look(self, rgb: Picture, t_ms: int) -> TrackedState:
        return self._tracker.track(Frame(t_ms * 1_000_000, t_ms, _camera_of(rgb), rgb))

    def close(self) -> None:
        self._tracker.close()


class TrackedHands:
    """`tracking.engine.HandEngine`: where the joints of the whole `Tracker` are in the picture."""

    def __init__(self, options: TrackerOptions) -> None:
        self._tracker = WholeTracker(options)

    def look(self, rgb: Picture, t_ms: int) -> tuple[HandMarks, ...]:
        return tuple(
            HandMarks(
                project(_camera_of(rgb), hand.joints)[0].astype(np.float32),
                hand.joints,
                hand.side,
                hand.confidence,
            )
            for hand in self._tracker.look(rgb, t_ms).hands
        )

    def close(self) -> None:
        self._tracker.close()


def _camera_of(rgb: Picture) -> Camera:
    return Camera.from_fov((rgb.shape[1], rgb.shape[0]), name="film")


def _image(rgb: Picture) -> Any:
    import mediapipe

    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=rgb)


def _pixels(landmarks: Any, rgb: Picture) -> Float32:
    """(N, 3) float32 pixels, (0, 0) a pixel's centre."""
    height, width = rgb.shape[:2]
    normalised = np.array([(p.x, p.y, p.z) for p in landmarks], np.float64)
    return (normalised * (width, height, width) - (0.5, 0.5, 0.0)).astype(np.float32)
