"""`visavis train multiface|ava256|capture-dome`: train a codec on one person's registered faces.

Runs alone, or in every process that torchrun starts: `torchrun --nproc-per-node 8 --max-restarts 3
--no-python visavis train multiface PATH`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from apps.usage import FailedError, UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from avatar.datasets.registered_capture import RegisteredCapture
    from avatar.training.capture_training import CaptureTrainingOptions
    from avatar.training.codec_evaluation import Raw
    from avatar.training.face_codec import FaceCodec

Say = Callable[[str], None]
CAPTURES = ("multiface", "ava256", "capture-dome")
SCREEN_PICTURES = 20
"""In which the data sets' losses of pictures are taken."""
HELD_OUT = 0.15
"""Of the synthetic dome's moments; the published sets have splits of their own."""
QUICK_MOMENTS, QUICK_CAMERAS, QUICK_STEPS = 12, 2, 30
RATES = {"conv": 5e-4, "local": 2e-4}
GRID = 16
"""Nodes on a side, where each has at least 8 texels."""
DOME_CAMERA_SIZE = (64, 96)
"""Pixels; their pictures are not taken."""


@dataclass(frozen=True, slots=True)
class CaptureTraining:
    """Options for captures of registered faces."""

    decoder: str = "local"
    """"local": our basis on a grid, fitted in closed form, then trained. "conv": the convolutional
    reference."""
    size: int = 256
    """Texels on a side: 64, 128, 256, 512 or 1024."""
    latent: int = 128
    """Numbers of the code; of the local codec's a quarter is for the mesh."""
    steps: int = 20_000
    """Training steps; 0 leaves the local codec as its closed form."""
    batch: int = 16
    """Moments a step, over all processes."""
    learning_rate: float | None = None
    """Default: 5e-4 for "conv", 2e-4 for "local", which begins near its end."""
    checkpoint_every: int = 500
    """Steps."""
    readers: int = 2
    """Processes that read ahead for each training process; 0 reads in the process itself."""
    device: str = "auto"
    """"cpu", "cuda", or "auto": a GPU if there is one."""
    autocast: bool = False
    """Compute in bfloat16 where that is safe."""
    moments: int = 160
    """Of the synthetic person's dome: moments..."""
    cameras: int = 4
    """...and cameras that see each."""
    person: str = "default"
    """Who stands in the synthetic dome."""

    def run(self, dataset: str, path: Path | None, out: Path, seed: int, quick: bool) -> int:
        """Open, train, measure on held-out moments. Raises UsageError or FailedError."""
        import torch

        from avatar.datasets.capture_files import DatasetError
        from avatar.training.capture_training import train_on_capture
        from avatar.training.codec_evaluation import evaluate_codec
        from avatar.training.process_group import joined
        from avatar.training.training_checkpoint import TrainingCheckpointError

        if (path is None) != (dataset == "capture-dome"):
            wanted = "no PATH" if path is not None else "the PATH of one person's capture"
            raise UsageError(f"train {dataset}: expected {wanted}, got {path}")
        try:
            options = self._options(seed, quick)
        except ValueError as error:
            raise UsageError(f"train {dataset}: {error}") from error
        begun = time.monotonic()
        try:
            with joined(self.device) as group:

                def say(line: str) -> None:
                    if group.first:
                        print(f"[{time.monotonic() - begun:5.0f} s] {line}", flush=True)

                if group.device.type == "cpu":
                    # One order of sums, whatever the machine: equal seeds give equal weights.
                    torch.set_num_threads(1)
                trained_on, held_out, raw = self._open(dataset, path, seed, quick, say)
                say(f"{dataset}: {len(trained_on)} pictures to learn from, {len(held_out)} others")
                codec = train_on_capture(trained_on, options, out, group, say)
                if group.first:
                    for figures in evaluate_codec(
                        codec.eval(), options.decoder, trained_on, held_out, raw=raw
                    ):
                        say(f"held out: {figures}")
                    say_screen_losses(codec, held_out, raw, say)
                    say(f"{out}: checkpoint of step {options.steps}")
        except (DatasetError, TrainingCheckpointError, FloatingPointError) as error:
            raise FailedError(f"train {dataset}: {error}") from error
        except OSError as error:
            raise FailedError(
                f"train {dataset}: {error}; what {out} holds is whole, run again to go on"
            ) from error
        return 0

    def _options(self, seed: int, quick: bool) -> CaptureTrainingOptions:
        from avatar.training.capture_training import CaptureTrainingOptions
        from avatar.training.conv_decoder import ConvOptions
        from avatar.training.local_decoder import LocalOptions

        size = 64 if quick else self.size
        geometry = max(self.latent // 4, 1)
        return CaptureTrainingOptions(
            decoder=self.decoder,
            conv=ConvOptions(size, self.latent),
            local=LocalOptions(
                size, geometry, max(self.latent - geometry, 1), grid=min(GRID, size // 8)
            ),
            steps=QUICK_STEPS if quick else self.steps,
            batch=self.batch,
            learning_rate=self.learning_rate or RATES.get(self.decoder, 5e-4),
            checkpoint_every=self.checkpoint_every,
            readers=0 if quick else self.readers,
            autocast=self.autocast,
            seed=seed,
        )

    def _open(
        self, dataset: str, path: Path | None, seed: int, quick: bool, say: Say
    ) -> tuple[RegisteredCapture, RegisteredCapture, Raw | None]:
        """To learn from, held out, and the values in which the data set measures."""
        size = 64 if quick else self.size
        if dataset == "multiface" and path is not None:
            from avatar.datasets.multiface import MultifaceCapture, MultifaceOptions
            from avatar.datasets.raw_colour import raw_from_display

            train, test = (
                MultifaceCapture(path, MultifaceOptions(part, texture_size=size))
                for part in ("train", "test")
            )
            return train, test, raw_from_display
        if dataset == "ava256" and path is not None:
            from avatar.datasets.ava256 import Ava256Capture, Ava256Options

            train, test = (
                Ava256Capture(path, Ava256Options(part, texture_size=size))
                for part in ("train", "test")
            )
            return train, test, None
        return *self._dome(size, seed, quick, say), None

    def _dome(
        self, size: int, seed: int, quick: bool, say: Say
    ) -> tuple[RegisteredCapture, RegisteredCapture]:
        import numpy as np

        from assets.baking.complexion import COMPLEXIONS
        from assets.baking.person import Person
        from avatar.datasets.synthetic_capture import SyntheticCapture, dome
        from avatar.head_mesh import HeadMesh
        from avatar.training.dome_capture import DomeCapture

        if self.person not in COMPLEXIONS:
            raise UsageError(f"--person: expected one of {sorted(COMPLEXIONS)}, got {self.person}")
        moments = QUICK_MOMENTS if quick else self.moments
        count = QUICK_CAMERAS if quick else self.cameras
        if moments < 4 or count < 1:
            raise UsageError(
                f"train capture-dome: expected at least 4 moments and a camera, "
                f"got {moments} and {count}"
            )
        person, done = Person.open(self.person), 0
        say(f"dome: {self.person} is ready")

        def colour(
            weights: npt.NDArray[np.float32],
            gaze: npt.NDArray[np.float32],
            view: npt.NDArray[np.float32],
        ) -> npt.NDArray[np.uint8]:
            nonlocal done
            done += 1
            if done % 100 == 0:
                say(f"dome: picture {done} of {moments * count}")
            return person.albedo(weights, gaze, view)

        capture = SyntheticCapture.make(
            HeadMesh.open(self.person), dome(count, DOME_CAMERA_SIZE), colour,
            moments=moments, texture_size=size, seed=seed,
        )  # fmt: skip
        return DomeCapture.split(capture, HELD_OUT)


def say_screen_losses(
    codec: FaceCodec, held_out: RegisteredCapture, raw: Raw | None, say: Say
) -> None:
    """The losses that the data sets take in the picture, where the pictures were downloaded."""
    import numpy as np

    from apps.screen_losses import screen_losses
    from avatar.datasets.ava256 import Ava256Capture
    from avatar.datasets.capture_files import DatasetError
    from avatar.datasets.multiface import MultifaceCapture
    from avatar.datasets.registered_capture import RegisteredMoment
    from avatar.training.face_codec import Batch, sample_rows
    from render.renderer import RenderOptions, open_renderer

    if not isinstance(held_out, MultifaceCapture | Ava256Capture):
        return

    def repeat(
        moment: RegisteredMoment,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        batch = Batch.of([moment], codec.size).to(codec.texture_mean.device)
        texture, vertices = (one[0].cpu().numpy() for one in codec.repeated(batch))
        return vertices, np.rint(texture.transpose(1, 2, 0)).astype(np.uint8)

    rows = [int(row) for row in sample_rows(len(held_out), SCREEN_PICTURES)]
    with open_renderer("gl", RenderOptions(shadows=False)) as renderer:
        try:
            figures = screen_losses(
                held_out, rows, repeat, renderer, held_out.normalisation().texture_std, raw
            )
        except DatasetError as error:
            say(f"held out: no losses in the picture, because {error}")
        else:
            say(f"held out: {figures}")
