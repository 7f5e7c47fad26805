"""Tracking on a CUDA device against MediaPipe on the same machine's processor, in one run.

`python -m benchmarks.tracking_gpu` measures, with a 1280 x 720 picture of a face and two hands:

- latency: milliseconds from the picture on the host to all answers on the host, ours (one steady
  frame: upload, crops, three networks, download) and MediaPipe's two landmarkers, by turns;
- throughput: camera-frames a second of steady frames of many cameras at once.

MediaPipe filters the face's landmarks and lays the next regions too, which here is left to the
pipeline and costs about 0.1 ms. Without a CUDA device it says so and ends; `--device cpu` is a dry
run that shows that everything works, whose times mean nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch
import tyro

from assets.manifest import asset_path
from tests.network_inputs import CLIP_FACE, CLIP_FRAME, CLIP_HAND, frames
from tracking.face_landmarks import BLENDSHAPE_LANDMARKS
from tracking.net import NETS
from tracking.nets.steady_frame import SteadyAnswers, SteadyFrame, SteadyShape
from tracking.nets.torch_nets import TorchNets
from tracking.region import Cut, Region

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
        from tracking.engines.mediapipe_tasks import Confidences, MediaPipeFace, MediaPipeHands

        face = MediaPipeFace(asset_path("models/face_landmarker.task"), Confidences())
        hands = MediaPipeHands(asset_path("models/hand_landmarker.task"), Confidences(), 2, 0)
        clock = iter(range(33, 10**9, 33))
        found: list[int] = []

        def by_mediapipe() -> None:
            t_ms = next(clock)
            seen = face.look(picture, t_ms), hands.look(picture, t_ms)
            found.append(len(seen[0]) + len(seen[1]))

        works: dict[str, Callable[[], object]] = {"MediaPipe": by_mediapipe}
        answers: list[SteadyAnswers] = []
        nets = TorchNets(self.device)
        for looks in (1, 5):
            frame = _steady(nets, 1, looks)
            placed = np.repeat(regions, looks, 0)
            cameras = np.zeros(len(placed), np.int64)

            def ours(frame=frame, placed=placed, cameras=cameras) -> None:
                frame.pictures[0] = picture
                answers.append(frame(cameras, placed))

            works[f"steady frame, {looks} look(s)"] = ours
        times = _by_turns(works, self.frames)
        peer = float(np.median(times["MediaPipe"]))
        for name, ms in times.items():
            middle = float(np.median(ms))
            print(
                f"{name:28} median {middle:8.3f} ms, 95 % below {np.quantile(ms, 0.95):8.3f}, "
                f"{peer / middle:6.1f} times MediaPipe's speed"
            )
        print(f"MediaPipe found {np.median(found):.0f} of 3; ours are sure by {_sure(answers[-1])}")
        face.close()
        hands.close()
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
            frame.pictures[:] = picture

            def ours(frame=frame, placed=placed, cameras=cameras) -> None:
                frame(cameras, placed)

            ms = np.array(_by_turns({"": ours}, max(self.frames // count, 3))[""])
            rates[count] = count * 1e3 / float(np.median(ms))
            print(f"{count:3} cameras: {rates[count]:9.0f} camera-frames a second")
        return rates


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
    shape = SteadyShape(cameras, 1280, 720, cameras, 2 * cameras, looks)
    return SteadyFrame(nets, shape, BLENDSHAPE_LANDMARKS)


def _sure(answers: SteadyAnswers) -> str:
    face = 1.0 / (1.0 + np.exp(-answers.faces[1].min()))
    return f"{face:.2f} (face) and {answers.hands[1].min():.2f} (hands)"


def _by_turns(works: dict[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
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
