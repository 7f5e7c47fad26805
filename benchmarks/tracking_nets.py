"""CPU cost of each network on each engine, and how far engines differ, all in one run.

`python -m benchmarks.tracking_nets --folder DATA` prints two tables. Costs are process CPU time of
one call with one thread, engines by turns, the least of all turns: what neighbours on the machine
cannot add to. MediaPipe's row is its whole landmarkers on the same picture. Inputs are the clip
that ships and, with `--folder`, the real faces and hands in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import tyro

from assets.manifest import asset_path
from tests.network_inputs import CLIP_FRAME, frames, fresh, on_people, on_the_clip, seen
from tracking.net import NETS, Float32, NetSource
from tracking.nets.litert import LiteRtNets
from tracking.nets.openvino import OpenVinoNets
from tracking.nets.torch_nets import TorchNets


@dataclass(frozen=True, slots=True)
class TrackingNets:
    """What to measure."""

    turns: int = 12
    folder: Path | None = None
    """Real faces and hands, as tests read them."""
    mediapipe: bool = True
    """Also MediaPipe's whole landmarkers."""

    def main(self) -> None:
        """Print the tables."""
        torch.set_num_threads(1)
        litert = LiteRtNets(1)
        engines: dict[str, NetSource] = {
            "litert": litert,
            "openvino f32": OpenVinoNets(1, bfloat16=False),
            "torch f32": TorchNets(),
        }
        half = OpenVinoNets(1)
        if half.bfloat16:
            engines["openvino bf16"] = half
        inputs = {name: self._inputs(name, litert) for name in NETS}
        self._differences(engines, litert, inputs)
        self._costs(engines, inputs)
        if self.mediapipe:
            self._landmarkers()

    def _inputs(self, network: str, litert: LiteRtNets) -> Float32:
        looks = on_the_clip(network, asset_path("clips/demo"))
        parts = [seen(network, litert, looks)]
        if self.folder is not None:
            parts.append(seen(network, litert, on_people(network, self.folder)))
        return np.concatenate(parts)

    def _differences(
        self, engines: dict[str, NetSource], litert: LiteRtNets, inputs: dict[str, Float32]
    ) -> None:
        print("difference from litert: fresh random max | pictures max | first output's mean")
        compared = {**engines, "torch f16": TorchNets(dtype="float16")}
        for network, pictures in inputs.items():
            noise = fresh(NETS[network], 2, np.random.default_rng())
            expected = [litert.open(network)(batch) for batch in (noise, pictures)]
            for name, source in compared.items():
                if source is litert:
                    continue
                net = source.open(network)
                apart = [
                    [np.abs(a - b) for a, b in zip(net(batch), known, strict=True)]
                    for batch, known in zip((noise, pictures), expected, strict=True)
                ]
                most = [max(float(part.max()) for part in parts) for parts in apart]
                print(
                    f"{network:17}{name:14}{most[0]:10.2g}{most[1]:10.2g}"
                    f"{_places(network, apart[1][0]):10.2g}",
                    flush=True,
                )

    def _costs(self, engines: dict[str, NetSource], inputs: dict[str, Float32]) -> None:
        print(f"CPU ms a call, one thread, least of {self.turns} turns; in brackets of litert's")
        for network, pictures in inputs.items():
            one, two = pictures[:1].copy(), pictures[:2].copy()
            works: dict[str, Callable[[], object]] = {}
            for name, source in engines.items():
                net = source.open(network)
                works[name] = partial(net, one)
                if network == "hand_landmarks":
                    works[f"{name}, both hands"] = partial(net, two)
            cost = by_turns(works, self.turns)
            for name, ms in cost.items():
                peer = cost["litert, both hands" if name.endswith("hands") else "litert"]
                print(f"{network:17}{name:26}{ms:8.2f} ({ms / peer:.2f})", flush=True)

    def _landmarkers(self) -> None:
        from tracking.engines.mediapipe_tasks import Confidences, MediaPipeFace, MediaPipeHands

        picture = next(frames(asset_path("clips/demo"), CLIP_FRAME))
        face = MediaPipeFace(asset_path("models/face_landmarker.task"), Confidences())
        hand = MediaPipeHands(asset_path("models/hand_landmarker.task"), Confidences(), 1, 0)
        clock = iter(range(33, 10**9, 33))
        works: dict[str, Callable[[], object]] = {
            "mediapipe, a face": lambda: face.look(picture, next(clock)),
            "mediapipe, a hand": lambda: hand.look(picture, next(clock)),
        }
        for name, ms in by_turns(works, self.turns).items():
            print(f"{name:43}{ms:8.2f}", flush=True)
        face.close()
        hand.close()


def by_turns(works: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Milliseconds of process CPU time of each, the least of `turns`, after three runs aside."""
    for work in works.values():
        for _ in range(3):
            work()
    least = dict.fromkeys(works, float("inf"))
    for _ in range(turns):
        for name, work in works.items():
            begun = time.process_time_ns()
            work()
            least[name] = min(least[name], (time.process_time_ns() - begun) / 1e6)
    return least


def _places(network: str, apart: Float32) -> float:
    """Mean over what is read of the first output: landmarks' x and y, or all of it."""
    if network.endswith("landmarks"):
        return float(np.linalg.norm(apart.reshape(-1, 3)[:, :2], axis=1).mean())
    return float(apart.mean())


if __name__ == "__main__":
    tyro.cli(TrackingNets).main()
