"""What the generator is trained on: captions with the pictures that they say.

A picture is premultiplied RGBA from -1 to 1. A thing by itself is its drawing, painted in the
named colour as stickers are; two things are two drawings of half the size beside each other.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from overlay.flow_model import encode_caption
from overlay.named_colour import paint_of, repaint
from overlay.sticker_book import Drawing
from overlay.sticker_picture import draw_svg, sticker_document
from overlay.text_encoder import TextEncoder
from overlay.training.concepts import COLOURS, Caption, CaptionWriter, Concept, Subject
from overlay.training.flow_transformer import TEXT_SIZE, TEXT_TOKENS

OWN_COLOUR_SHARE = 0.35
"""Of the pictures of one thing: as drawn, without a named colour."""
PAIR_SHARE = 0.45
"""Of all pictures: two things."""
ABSENT = -1


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Captions as the net reads them."""

    words: torch.Tensor
    """(N, TEXT_TOKENS, 384) float16, zero beyond the end."""
    sentence: torch.Tensor
    """(N, 384) float16 of length 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one step of training sees."""

    pictures: torch.Tensor
    """(B, 4, S, S) float32, -1 to 1."""
    words: torch.Tensor
    sentence: torch.Tensor
    style: torch.Tensor
    """(B,) int64."""


def encode_texts(captions: Sequence[str], encoder: TextEncoder) -> Texts:
    """The captions' pieces and sentences, at full length 1."""
    words = np.zeros((len(captions), TEXT_TOKENS, TEXT_SIZE), np.float16)
    sentence = np.zeros((len(captions), TEXT_SIZE), np.float16)
    for row, caption in enumerate(captions):
        (words[row],), (sentence[row],) = encode_caption(caption, TEXT_TOKENS, encoder)
    return Texts(torch.from_numpy(words), torch.from_numpy(sentence))


def draw(drawing: Drawing, colour: str | None, side: int) -> npt.NDArray[np.uint8]:
    """(4, side, side) uint8 premultiplied RGBA of a drawing in that colour."""
    svg = drawing.svg if colour is None else repaint(drawing.svg, drawing.main, paint_of(colour))
    rgba = draw_svg(sticker_document(svg, drawing.side), (2 * side, 2 * side)).astype(np.float32)
    rgba[..., :3] *= rgba[..., 3:] / 255.0
    half = rgba.reshape(side, 2, side, 2, 4).mean(axis=(1, 3))
    return np.rint(half).astype(np.uint8).transpose(2, 0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """All captions and drawings of a training run, and batches of them."""

    styles: tuple[str, ...]
    emoji: tuple[str, ...]
    """Of the concepts, by their numbers."""
    pictures: torch.Tensor
    """(P, 4, S, S) uint8: each thing in each colour and style that may be seen."""
    texts: Texts
    """Of N captions."""
    places: torch.Tensor
    """(styles, concepts, 1 + colours) int64: which picture, or ABSENT."""
    subjects: torch.Tensor
    """(N, 5) int64: concept and colour of the first and the last thing, whether these are two."""
    weights: torch.Tensor
    """(N,) float64: how often each caption is drawn, adding up to 1."""

    def to(self, device: torch.device) -> Lessons:
        """The same with drawings and texts there; batches come from there, too."""
        return Lessons(
            self.styles,
            self.emoji,
            self.pictures.to(device),
            Texts(self.texts.words.to(device), self.texts.sentence.to(device)),
            self.places.to(device),
            self.subjects.to(device),
            self.weights.to(device),
        )

    def batch(self, size: int, generator: torch.Generator) -> Batch:
        """So many captions with their pictures; `generator` is on the lessons' device."""
        device = self.pictures.device
        # torch.multinomial draws among at most 2^24, more than any list of captions here.
        rows = torch.multinomial(self.weights, size, True, generator=generator)
        style = torch.randint(len(self.styles), (size,), generator=generator, device=device)
        subjects = self.subjects[rows]
        left = self.places[style, subjects[:, 0], subjects[:, 1]]
        right = self.places[style, subjects[:, 2], subjects[:, 3]]
        # Not every thing is drawn in every style; the first one has them all.
        lacks = (left == ABSENT) | (right == ABSENT)
        style = torch.where(lacks, 0, style)
        left = torch.where(lacks, self.places[0, subjects[:, 0], subjects[:, 1]], left)
        right = torch.where(lacks, self.places[0, subjects[:, 2], subjects[:, 3]], right)
        two = subjects[:, 4].bool()
        pictures = self.pictures[left].float()
        if bool(two.any()):
            pictures[two] = beside(pictures[two], self.pictures[right[two]].float())
        return Batch(
            pictures / 127.5 - 1.0,
            self.texts.words[rows].float(),
            self.texts.sentence[rows].float(),
            style,
        )

    def save(self, path: Path) -> None:
        """Keep them: drawing and encoding takes minutes."""
        torch.save(
            {
                "styles": list(self.styles),
                "concepts": list(self.emoji),
                "pictures": self.pictures,
                "words": self.texts.words,
                "sentence": self.texts.sentence,
                "places": self.places,
                "subjects": self.subjects,
                "weights": self.weights,
            },
            path,
        )

    @staticmethod
    def load(path: Path) -> Lessons:
        """What `save` kept."""
        kept = torch.load(path, map_location="cpu", weights_only=True)
        return Lessons(
            tuple(kept["styles"]),
            tuple(kept["concepts"]),
            kept["pictures"],
            Texts(kept["words"], kept["sentence"]),
            kept["places"],
            kept["subjects"],
            kept["weights"],
        )


def make_lessons(
    concepts: Sequence[Concept],
    drawings: dict[str, dict[str, Drawing]],
    seed: int,
    side: int = 128,
    pairs: int = 6000,
    workers: int = 1,
) -> Lessons:
    """Draw and encode all of it. `drawings`: style -> emoji -> drawing; the first style has every
    concept. `workers`: processes that share the work."""
    writer = CaptionWriter(concepts, seed)
    singles = [caption for caption in writer.singles() if not caption.held_out]
    captions = [*singles, *writer.pairs(pairs, np.random.default_rng(seed), held_out=False)]
    places = np.full((len(drawings), len(concepts), 1 + len(COLOURS)), ABSENT, np.int64)
    wanted: list[tuple[Drawing, str | None, int]] = []
    for style, drawn in enumerate(drawings.values()):
        for concept in concepts:
            for column, colour in enumerate((None, *COLOURS)):
                held = writer.held_out(Subject(concept.number, colour))
                if not held and concept.emoji in drawn:
                    places[style, concept.number, column] = len(wanted)
                    wanted.append((drawn[concept.emoji], colour, side))
    texts = [caption.text for caption in captions]
    if workers == 1:
        pictures = [draw(*one) for one in wanted]
        encoded = encode_texts(texts, TextEncoder())
    else:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            pictures = list(pool.map(draw, *zip(*wanted, strict=True), chunksize=64))
            parts = list(pool.map(_encode_part, _parts(texts, 1000)))
        encoded = Texts(
            torch.cat([part.words for part in parts]), torch.cat([part.sentence for part in parts])
        )
    return Lessons(
        tuple(drawings),
        tuple(concept.emoji for concept in concepts),
        torch.from_numpy(np.stack(pictures)),
        encoded,
        torch.from_numpy(places),
        torch.tensor([_columns(caption) for caption in captions]),
        torch.from_numpy(_weights(captions, len(singles))),
    )


def _parts(texts: Sequence[str], size: int) -> list[Sequence[str]]:
    """The texts in parts of that size."""
    return [texts[at : at + size] for at in range(0, len(texts), size)]


def _encode_part(texts: Sequence[str]) -> Texts:
    return encode_texts(texts, TextEncoder())


def beside(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """(B, 4, S, S) twice, 0 = nothing -> (B, 4, S, S): both at half the size, beside each other."""
    row = torch.cat([functional.avg_pool2d(left, 2), functional.avg_pool2d(right, 2)], dim=3)
    edge = row.shape[2] // 2
    return functional.pad(row, (0, 0, edge, edge))


def _columns(caption: Caption) -> list[int]:
    """Concept and colour's column of the first and the last thing, and whether these are two."""
    first, last = caption.subjects[0], caption.subjects[-1]
    column = {colour: place for place, colour in enumerate((None, *COLOURS))}
    return [
        *(first.concept, column[first.colour], last.concept, column[last.colour]),
        int(len(caption.subjects) > 1),
    ]


def _weights(captions: Sequence[Caption], singles: int) -> npt.NDArray[np.float64]:
    """How often each caption is drawn: every concept equally often."""
    kinds = [(c.subjects[0].concept, c.subjects[0].colour is None) for c in captions[:singles]]
    counts: dict[tuple[int, bool], int] = {}
    for kind in kinds:
        counts[kind] = counts.get(kind, 0) + 1
    alone = np.array(
        [(OWN_COLOUR_SHARE if own else 1.0 - OWN_COLOUR_SHARE) / counts[c, own] for c, own in kinds]
    )
    pairs = len(captions) - singles
    share = PAIR_SHARE if pairs else 0.0
    return np.concatenate(
        [alone / alone.sum() * (1.0 - share), np.full(pairs, share / max(pairs, 1))]
    )
