"""Tracking on a CUDA device against MediaPipe on the same machine's processor, in one run.

`python -m benchmarks.tracking_gpu` measures, with a 1280 x 720 picture of a face and two hands:

- latency: milliseconds from the picture on the host to results on the host, by turns: MediaPipe's
  two landmarkers; the tracker's engine as a whole (`PersonPipeline`: the steady frame, and what the
  pipelines make of it, filtered landmarks and blendshapes of the face and joints of the hands); and
  the bare steady frame (upload, crops, three networks, the filter, download);
- throughput: camera-frames a second of steady frames of many cameras at once.

Without a CUDA device it says so and ends; `--device cpu` is a dry run that shows that everything
works, whose times mean nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch
import tyro

from assets.manifest import asset_path
from tests.network_inputs import CLIP_FACE, CLIP_FRAME, CLIP_HAND, frames
from tracking.engine import PersonEngine, PersonMarks, Picture
from tracking.engines.face_pipeline import FACE_BETA, FaceSettings
from tracking.engines.hand_pipeline import HandSettings
from tracking.engines.mediapipe_tasks import Confidences, MediaPipeFace, MediaPipeHands
from tracking.engines.person_pipeline import PersonPipeline
from tracking.net import NETS
from tracking.nets.device_one_euro import DeviceOneEuro
from tracking.nets.steady_frame import SteadyAnswers, SteadyFrame, SteadyRegions, SteadyRoom
from tracking.nets.torch_nets import TorchNets
from tracking.one_euro import OneEuroOptions
from tracking.region import Cut, Region

PEER = "MediaPipe"
LOOKS = (5, 1)
"""First what the tracker does on CUDA by default."""
SCALE = 1.5
"""Of the clip's 480 rows to 720."""
ASIDE = 160
"""Pixels on either side, to 1280 columns."""


@dataclass(frozen=True, slots=True)
class TrackingGpu:
    """What to measure."""

    device: str = "cuda"
    frames: int = 300
    """Of each measurement; those of MediaPipe by turns with ours."""
    cameras: tuple[int, ...] = (4, 16, 32)
    """Of each measurement of throughput."""

    def main(self) -> None:
        """Print a table."""
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            print("tracking_gpu: no CUDA device here, nothing measured (--device cpu: a dry run)")
            return
        name = torch.cuda.get_device_name() if self.device.startswith("cuda") else "a dry run"
        print(f"{self.device}: {name}; torch {torch.__version__}")
        picture, regions = scene()
        with torch.no_grad():
            self.latency(picture, regions)
            self.throughput(picture, regions)

    def latency(
        self, picture: npt.NDArray[np.uint8], regions: npt.NDArray[np.float64]
    ) -> dict[str, float]:
        """Median milliseconds by name, MediaPipe's first; of `scene`."""
        nets = TorchNets(self.device)
        found: dict[str, list[int]] = {}
        answers: list[SteadyAnswers] = []
        with MediaPipePerson() as peer:
            works = {PEER: _counted(peer, picture, found.setdefault(PEER, []))}
            for looks in LOOKS:
                name = f"the tracker's engine, {looks} look(s)"
                engine = PersonPipeline(nets, FaceSettings(looks=looks), HandSettings(looks=looks))
                works[name] = _counted(engine, picture, found.setdefault(name, []))
            for looks in LOOKS:
                frame = _steady(nets, 1, looks)
                asked = _asked(np.repeat(regions, looks, 0), 1, np.zeros(3 * looks, np.int64))

                def bare(frame=frame, asked=asked) -> None:
                    frame.pictures.show(0, picture)
                    answers.append(frame(asked))

                works[f"the steady frame, {looks} look(s)"] = bare
            times = _by_turns(works, self.frames)
        theirs = float(np.median(times[PEER]))
        for name, ms in times.items():
            middle = float(np.median(ms))
            seen = f", found {np.median(found[name]):.0f} of 3" if name in found else ""
            print(
                f"{name:34} median {middle:8.3f} ms, 95 % below {np.quantile(ms, 0.95):8.3f}, "
                f"{theirs / middle:6.1f} times MediaPipe's speed{seen}"
            )
        print(f"the steady frame is sure of {_sure(answers[-1])}")
        return {name: float(np.median(ms)) for name, ms in times.items()}

    def throughput(
        self, picture: npt.NDArray[np.uint8], regions: npt.NDArray[np.float64]
    ) -> dict[int, float]:
        """Camera-frames a second by number of cameras; of `scene`."""
        nets = TorchNets(self.device)
        rates: dict[int, float] = {}
        for count in self.cameras:
            frame = _steady(nets, count, 1)
            faces, hands = regions[:1], regions[1:]
            placed = np.concatenate([np.tile(faces, (count, 1, 1)), np.tile(hands, (count, 1, 1))])
            cameras = np.concatenate([np.arange(count), np.repeat(np.arange(count), 2)])
            asked = _asked(placed, count, cameras)
            for camera in range(count):
                frame.pictures.show(camera, picture)

            def ours(frame=frame, asked=asked) -> None:
                frame(asked)

            ms = np.array(_by_turns({"": ours}, max(self.frames // count, 3))[""])
            rates[count] = count * 1e3 / float(np.median(ms))
            print(f"{count:3} cameras: {rates[count]:9.0f} camera-frames a second")
        return rates


class MediaPipePerson:
    """MediaPipe's two landmarkers as one `tracking.engine.PersonEngine`."""

    def __init__(self) -> None:
        sure = Confidences()
        self._face = MediaPipeFace(asset_path("models/face_landmarker.task"), sure)
        self._hands = MediaPipeHands(asset_path("models/hand_landmarker.task"), sure, 2, 0)

    def look(self, rgb: Picture, t_ms: int) -> PersonMarks:
        return PersonMarks(self._face.look(rgb, t_ms), self._hands.look(rgb, t_ms))

    def close(self) -> None:
        self._face.close()
        self._hands.close()

    def __enter__(self) -> MediaPipePerson:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _counted(engine: PersonEngine, picture: Picture, found: list[int]) -> Callable[[], None]:
    """A look of the engine's film of one picture, 30 times a second."""
    clock = iter(range(33, 10**9, 33))

    def work() -> None:
        seen = engine.look(picture, next(clock))
        found.append(len(seen.faces) + len(seen.hands))

    return work


def scene() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """(720, 1280, 3): the clip's person, who raises one hand, and that hand mirrored to the other
    side; and the matrices of the face and both hands."""
    small = next(frames(asset_path("clips/demo"), CLIP_FRAME))
    right = slice(0, int(CLIP_HAND.x + CLIP_HAND.side / 3))
    small[:, ::-1][:, right] = small[:, right].copy()
    large = cv2.resize(small, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_LINEAR)
    picture = cv2.copyMakeBorder(large, 0, 0, ASIDE, ASIDE, cv2.BORDER_REPLICATE)
    places = CLIP_FACE, CLIP_HAND, replace(CLIP_HAND, x=small.shape[1] - CLIP_HAND.x, angle=-0.1)
    matrices = [
        Cut(NETS[network].input_shape[0]).picture_from_pixel(
            Region(p.x * SCALE + ASIDE, p.y * SCALE, p.side * SCALE, p.angle)
        )
        for network, p in zip(("face_landmarks", *["hand_landmarks"] * 2), places, strict=True)
    ]
    return np.ascontiguousarray(picture, np.uint8), np.array(matrices)


def _steady(nets: TorchNets, cameras: int, looks: int) -> SteadyFrame:
    room = SteadyRoom(cameras, 1280, 720, cameras, 2 * cameras, looks)
    filters = DeviceOneEuro(cameras, (478, 3), OneEuroOptions(beta=FACE_BETA), nets.device)
    return SteadyFrame(nets, room, filters)


def _asked(
    matrices: npt.NDArray[np.float64], faces: int, cameras: npt.NDArray[np.int64]
) -> SteadyRegions:
    return SteadyRegions(cameras, matrices, np.arange(faces), np.full(faces, 1.0 / 30.0))


def _sure(answers: SteadyAnswers) -> str:
    face = 1.0 / (1.0 + np.exp(-answers.faces[1].min()))
    return f"{face:.2f} (face) and {answers.hands[1].min():.2f} (hands)"


def _by_turns(works: Mapping[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Milliseconds of each turn, after five runs aside."""
    for work in works.values():
        for _ in range(5):
            work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(turns):
        for name, work in works.items():
            begun = time.perf_counter()
            work()
            times[name].append((time.perf_counter() - begun) * 1e3)
    return times


if __name__ == "__main__":
    tyro.cli(TrackingGpu).main()
