"""A tiny capture of registered faces, and one process of a training group on it.

Run by torchrun in test_capture_training.py: `capture_training_worker.py FOLDER DECODER KILL_AT`.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np

from avatar.datasets.registered_capture import RegisteredMoment
from avatar.training.capture_training import CaptureTrainingOptions, train_on_capture
from avatar.training.conv_decoder import ConvOptions
from avatar.training.local_decoder import LocalOptions
from avatar.training.process_group import joined

SIDE, SIZE = 6, 64


class WavingSheet:
    """A sheet of SIDE x SIDE vertices that bends while its colours follow two waves and the view:
    three numbers say all of a moment."""

    def __init__(self, moments: int, first: int = 0) -> None:
        at = np.linspace(0.0, 1.0, SIDE, dtype=np.float32)
        x, y = (part.ravel() for part in np.meshgrid(at, at))
        self.uv = np.stack([x, y], 1)
        corner = np.arange(SIDE * (SIDE - 1)).reshape(SIDE - 1, SIDE)[:, :-1].ravel()
        lower = np.stack([corner, corner + SIDE, corner + 1], 1)
        upper = np.stack([corner + 1, corner + SIDE, corner + SIDE + 1], 1)
        self.faces = np.concatenate([lower, upper]).astype(np.int32)
        self._count, self._first = moments, first

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> RegisteredMoment:
        rng = np.random.default_rng(1000 + self._first + index)
        a, b, turn = rng.normal(size=3)
        x, y = self.uv.T
        z = 0.01 * (a * np.sin(3 * x) + b * np.cos(3 * y))
        vertices = np.stack([0.1 * (x - 0.5), 0.1 * (0.5 - y), z], 1).astype(np.float32)
        v, u = (np.mgrid[:SIZE, :SIZE] + 0.5) / SIZE
        wave = a * np.sin(9 * u) * np.cos(4 * v) + b * np.sin(7 * v)
        colours = np.stack([wave, 0.5 * wave + 0.4 * turn * u, b * u * v], -1)
        texture = np.clip(np.rint(128 + 25 * colours), 0, 255).astype(np.uint8)
        seen = np.ones((SIZE, SIZE), np.float32)
        seen[:, : SIZE // 8] = 0.0
        texture[:, : SIZE // 8] = rng.integers(0, 255, 3)
        view = np.array([np.sin(0.3 * turn), 0.0, np.cos(0.3 * turn)], np.float32)
        return RegisteredMoment(f"{index}", "one", vertices, texture, seen, view)


def options_for(decoder: str, steps: int = 12) -> CaptureTrainingOptions:
    """Small and quick."""
    return CaptureTrainingOptions(
        decoder=decoder,
        conv=ConvOptions(SIZE, latent=4),
        local=LocalOptions(SIZE, geometry=4, appearance=6, grid=4, planes=4),
        steps=steps,
        batch=4,
        warm_up=4,
        checkpoint_every=4,
    )


def main() -> None:
    folder, decoder, kill_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    with joined("cpu") as group:
        victim = group.size > 1 and group.rank == group.size - 1
        victim &= os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"

        def after_step(done: int) -> None:
            if victim and done == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        def say(line: str) -> None:
            if group.first:
                print(line, flush=True)

        train_on_capture(WavingSheet(24), options_for(decoder), folder, group, say, after_step)


if __name__ == "__main__":
    main()
