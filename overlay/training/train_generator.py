"""Trains the small generator.

On a processor, with the drawings that the project ships (what `assets/models/generator` was
trained with; see docs/imagine.md):

    python -m overlay.training.train_generator RUN --minutes 60

On a CUDA device, all of five published sets of emoji:

    npm pack @iconify-json/noto@1.2.9 @iconify-json/noto-v1@1.2.5 @iconify-json/fxemoji@1.2.2 \\
        @iconify-json/fluent-emoji-flat@1.2.6 @iconify-json/fluent-emoji@1.2.7 \\
        emojibase-data@17.0.0 emojilib@4.0.3          # and unpack each into a folder of its name
    python -m overlay.training.train_generator RUN --full FOLDER

RUN is a folder; a run that was stopped goes on from its last checkpoint there. The same seed, steps
and machine give the same weights; with `--minutes` the machine's speed has its part in them.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from overlay.training.emoji_sets import published_sets, shipped_set
from overlay.training.flow_transformer import FlowTransformer, NetShape
from overlay.training.lessons import Batch, Lessons, make_lessons

CHECKPOINT = "checkpoint.pt"
LESSONS = "lessons.pt"
FULL_PAIRS = 60_000


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How the net is trained."""

    steps: int = 6000
    batch: int = 64
    rate: float = 1e-3
    """Of AdamW, for vectors and the first and last layers."""
    matrix_rate: float = 0.02
    """Of Muon, for the blocks' matrices."""
    warm_up: int = 100
    cool_down: float = 0.35
    """Share of the steps at whose end the rates fall to nothing."""
    dropped: float = 0.1
    """Share of captions left out, for guidance."""
    pure_noise: float = 0.5
    """Share of pictures at time 0, where the words are all there is."""
    edge_weight: float = 0.5
    """Of the absolute error beside the squared one: flat areas and hard edges come out sharper."""
    average: float = 0.995
    seed: int = 0


class Training:
    """A run: net, running average of its weights, optimisers, and how far it is."""

    def __init__(
        self, lessons: Lessons, shape: NetShape, options: TrainingOptions, device: torch.device
    ) -> None:
        torch.manual_seed(options.seed)
        self.options, self.device = options, device
        self.lessons = lessons.to(device)
        self.net = FlowTransformer(shape).to(device)
        drawn, texts = self.lessons.pictures, self.lessons.texts
        some = drawn[:: max(1, len(drawn) // 2000)]
        self.net.start_from_patches(some.float() / 127.5 - 1.0)
        words = texts.words.flatten(0, 1)
        words = words[words.abs().sum(dim=1) > 0]
        self.net.start_from_texts(words[:: max(1, len(words) // 20000)], texts.sentence)
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        matrices, others = split_parameters(self.net)
        self.optimisers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=options.matrix_rate, weight_decay=0.01),
            torch.optim.AdamW(others, lr=options.rate, betas=(0.9, 0.95), weight_decay=0.0),
        ]
        self.generator = torch.Generator(device).manual_seed(options.seed)
        self.step = 0
        self.seconds = 0.0
        self.forward: Callable[..., torch.Tensor] = self.net

    def run_step(self, progress: float) -> float:
        """One batch; `progress` is the share of the run that is over. Returns the squared error."""
        options = self.options
        scale = min(1.0, (self.step + 1) / options.warm_up)
        scale *= min(1.0, max(0.0, (1.0 - progress) / options.cool_down))
        for optimiser, rate in zip(
            self.optimisers, (options.matrix_rate, options.rate), strict=True
        ):
            for group in optimiser.param_groups:
                group["lr"] = rate * scale
        batch = self.lessons.batch(options.batch, self.generator)
        squared, loss = self._loss(batch)
        loss.backward()
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self._follow()
        return float(squared)

    def _loss(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        options, size = self.options, len(batch.pictures)

        def drawn(*shape: int) -> torch.Tensor:
            return torch.rand(shape, generator=self.generator, device=self.device)

        noise = torch.randn(batch.pictures.shape, generator=self.generator, device=self.device)
        spread = torch.randn((size,), generator=self.generator, device=self.device)
        # JiT's logit-normal times, with more weight on the beginning.
        times = torch.where(
            drawn(size) < options.pure_noise, 0.0, torch.sigmoid(0.8 * spread - 0.8)
        )
        kept = (drawn(size) >= options.dropped).float()
        at = times[:, None, None, None]
        noisy = at * batch.pictures + (1.0 - at) * noise
        with torch.autocast(self.device.type, torch.bfloat16):
            clean = self.forward(
                noisy,
                times,
                batch.words * kept[:, None, None],
                batch.sentence * kept[:, None],
                batch.style,
            )
        error = clean.float() - batch.pictures
        squared = error.square().mean()
        return squared.detach(), squared + options.edge_weight * error.abs().mean()

    @torch.no_grad()
    def _follow(self) -> None:
        decay = min(self.options.average, (1 + self.step) / (10 + self.step))
        for mean, value in zip(self.average.parameters(), self.net.parameters(), strict=True):
            mean.lerp_(value, 1.0 - decay)

    def state(self) -> dict[str, object]:
        """All that a run goes on from."""
        return {
            "shape": asdict(self.net.shape),
            "options": asdict(self.options),
            "step": self.step,
            "seconds": self.seconds,
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "generator": self.generator.get_state(),
            "styles": list(self.lessons.styles),
            "concepts": list(self.lessons.emoji),
        }

    def restore(self, state: dict) -> None:
        """Go on from what `state` gave."""
        self.step, self.seconds = state["step"], state["seconds"]
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.generator.set_state(state["generator"].cpu())


def split_parameters(
    net: FlowTransformer,
) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """Matrices of the blocks, for Muon (Jordan et al. 2024), and all other parameters."""
    matrices = [p for p in net.blocks.parameters() if p.ndim == 2 and p.shape[0] != 6]
    chosen = {id(p) for p in matrices}
    return matrices, [p for p in net.parameters() if id(p) not in chosen]


def save(training: Training, path: Path) -> None:
    """Replace the checkpoint; a run that is killed meanwhile leaves the old one."""
    part = path.with_suffix(".part")
    torch.save(training.state(), part)
    part.replace(path)


def run(training: Training, path: Path, minutes: float | None) -> None:
    """Train to the end, or for so long, from the checkpoint at `path` where there is one; it is
    written every two minutes."""
    if path.exists():
        training.restore(torch.load(path, map_location=training.device, weights_only=True))
    started, before = time.monotonic(), training.seconds
    told = saved = started
    first, mean = training.step, 0.0
    while True:
        training.seconds = before + time.monotonic() - started
        progress = training.step / training.options.steps
        if minutes is not None:
            progress = max(progress, training.seconds / (60.0 * minutes))
        if progress >= 1.0:
            break
        error = training.run_step(progress)
        if not math.isfinite(error):
            raise SystemExit(f"step {training.step}: the error is {error}; lower the rates")
        mean = error if training.step == first + 1 else 0.98 * mean + 0.02 * error
        now = time.monotonic()
        if now - told > 20.0:
            told = now
            speed = (training.step - first) * training.options.batch / (now - started)
            print(
                f"step {training.step}, {100 * progress:.1f} %: squared error {mean:.4f}, "
                f"{speed:.0f} pictures/s",
                flush=True,
            )
        if now - saved > 120.0:
            saved = now
            save(training, path)
    save(training, path)


def read_lessons(folder: Path, full: Path | None, seed: int) -> Lessons:
    """Those of a run, drawn at its beginning."""
    path = folder / LESSONS
    if not path.exists():
        if full is None:
            concepts, drawings = shipped_set()
            lessons = make_lessons(concepts, drawings, seed)
        else:
            concepts, drawings = published_sets(full)
            lessons = make_lessons(
                concepts, drawings, seed, pairs=FULL_PAIRS, workers=os.cpu_count() or 1
            )
        lessons.save(path)
    return Lessons.load(path)


def device_here() -> torch.device:
    """The CUDA device where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description="train the small generator")
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument(
        "--full", type=Path, metavar="FOLDER", help="all published sets, from unpacked packages"
    )
    parser.add_argument("--minutes", type=float, help="end after so long")
    parser.add_argument("--patch", type=int, default=16, help="pixels of a patch; 8 is sharper")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="faster; needs a C++ compiler")
    chosen = parser.parse_args()
    chosen.run.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(chosen.threads)
    lessons = read_lessons(chosen.run, chosen.full, chosen.seed)
    print(f"{len(lessons.pictures)} pictures, {len(lessons.weights)} captions", flush=True)
    shape = NetShape(patch=chosen.patch, styles=len(lessons.styles))
    options = TrainingOptions(seed=chosen.seed)
    if chosen.full is not None:
        # About 20 million pictures, half an hour on one large GPU by the estimate in docs.
        options = TrainingOptions(seed=chosen.seed, steps=20_000, batch=1024, average=0.9995)
    training = Training(lessons, shape, options, device_here())
    if chosen.compile:
        training.forward = torch.compile(training.net)
    run(training, chosen.run / CHECKPOINT, chosen.minutes)


if __name__ == "__main__":
    main()
