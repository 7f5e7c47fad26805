"""Teaches a trained net to make its picture in four steps, without guidance.

    python -m overlay.training.distil_generator RUN --minutes 10

While it was trained, what it saw at a later time was a real picture under noise; when it generates,
it sees its own guess there, and has to mend that. So here it walks its own way from the noise, and
at one of the four steps learns the picture that the caption belongs to, mixed with what the teacher
(the trained net, with guidance and in finer steps) makes from there. `RUN/distilled.pt` is what
`overlay.training.export_generator` exports.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch

from overlay.training.flow_transformer import FlowTransformer
from overlay.training.lessons import Batch, Lessons, Texts
from overlay.training.sampling import TIMES, guided
from overlay.training.train_generator import (
    CHECKPOINT,
    Training,
    TrainingOptions,
    device_here,
    read_lessons,
    run,
)

DISTILLED = "distilled.pt"
FINER = 3
"""Steps of the teacher for one of the student's."""


class Distillation(Training):
    """A run that begins with a teacher's weights and learns on its own way to the picture."""

    def __init__(
        self,
        lessons: Lessons,
        teacher: FlowTransformer,
        options: TrainingOptions,
        device: torch.device,
        taught: float = 0.0,
        guidance: float = 1.5,
    ) -> None:
        """`taught`: the teacher's share in what is learned; the rest is the real picture."""
        super().__init__(lessons, teacher.shape, options, device)
        self.teacher = teacher.to(device).eval().requires_grad_(False)
        self.net.load_state_dict(teacher.state_dict())
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        self.taught, self.guidance = taught, guidance

    def _loss(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        state = torch.randn(batch.pictures.shape, generator=self.generator, device=self.device)
        steps = torch.randint(
            len(TIMES), (len(state),), generator=self.generator, device=self.device
        )
        texts = Texts(batch.words, batch.sentence)
        grid = torch.tensor((*TIMES, 1.0), device=self.device)
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16):
            for number in range(int(steps.max())):
                # Those whose step it is wait; the others walk on.
                walk = steps > number
                part = Texts(texts.words[walk], texts.sentence[walk])
                here = state[walk]
                clean = guided(self.net, here, TIMES[number], part, batch.style[walk], 1.0)
                share = (TIMES[number + 1] - TIMES[number]) / (1.0 - TIMES[number])
                state[walk] = here + share * (clean.float() - here)
            wanted = batch.pictures
            if self.taught > 0.0:
                made = torch.empty_like(wanted)
                for number in range(len(TIMES)):
                    mine = steps == number
                    if bool(mine.any()):
                        part = Texts(texts.words[mine], texts.sentence[mine])
                        made[mine] = self._teachers(state[mine], number, part, batch.style[mine])
                wanted = (1.0 - self.taught) * wanted + self.taught * made
        with torch.autocast(self.device.type, torch.bfloat16):
            clean = self.forward(state, grid[steps], batch.words, batch.sentence, batch.style)
        error = clean.float() - wanted
        squared = error.square().mean()
        return squared.detach(), squared + self.options.edge_weight * error.abs().mean()

    def _teachers(
        self, state: torch.Tensor, number: int, texts: Texts, style: torch.Tensor
    ) -> torch.Tensor:
        """What the teacher makes of these states from step `number` on."""
        times = torch.linspace(TIMES[number], 1.0, FINER * (len(TIMES) - number) + 1).tolist()
        clean = state
        for time, following in pairwise(times):
            clean = guided(self.teacher, state, time, texts, style, self.guidance).float()
            state = state + (following - time) / (1.0 - time) * (clean - state)
        return clean


def main() -> None:
    parser = argparse.ArgumentParser(description="distil the small generator to four steps")
    parser.add_argument("run", type=Path, help="folder of a finished run of train_generator")
    parser.add_argument("--minutes", type=float, help="stop after so long")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--full", type=Path, metavar="FOLDER", help="as for train_generator")
    parser.add_argument("--taught", type=float, default=0.0, help="the teacher's share, 0 to 1")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    device = device_here()
    saved = torch.load(chosen.run / CHECKPOINT, map_location=device, weights_only=True)
    teacher = FlowTransformer.of_run(saved)
    trained = TrainingOptions(**saved["options"])
    options = replace(
        trained,
        steps=chosen.steps,
        rate=0.3 * trained.rate,
        matrix_rate=0.3 * trained.matrix_rate,
        warm_up=20,
        cool_down=0.7,
    )
    lessons = read_lessons(chosen.run, chosen.full, options.seed)
    work = Distillation(lessons, teacher, options, device, chosen.taught)
    if chosen.compile:
        work.forward = torch.compile(work.net)
    run(work, chosen.run / DISTILLED, chosen.minutes)


if __name__ == "__main__":
    main()
