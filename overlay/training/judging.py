"""Measures of generated pictures: is the thing recognised, is its colour right, is it a copy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from overlay.baking.bake_stickers import main_paint
from overlay.named_colour import COLOURS as PAINTS
from overlay.named_colour import paint_from_hex
from overlay.sticker_book import Drawing
from overlay.training.concepts import COLOURS, Concept, Subject
from overlay.training.lessons import draw
from overlay.training.recogniser import Recogniser

TOP = 5


class Gallery:
    """Every concept in every colour as drawn, as the recogniser sees it."""

    def __init__(
        self,
        concepts: Sequence[Concept],
        drawings: dict[str, Drawing],
        recogniser: Recogniser,
        side: int,
        kept_in: Path | None = None,
    ) -> None:
        """`kept_in`: a file that the features are kept in between evaluations."""
        self.concepts, self.drawings, self.side = tuple(concepts), drawings, side
        self.recogniser = recogniser
        if kept_in is not None and kept_in.exists():
            self.features = torch.load(kept_in, weights_only=True)
            return
        rows = [
            recogniser.features(torch.stack([self.picture(Subject(c.number, k)) for c in concepts]))
            for k in (None, *COLOURS)
        ]
        self.features = torch.stack(rows)
        if kept_in is not None:
            torch.save(self.features, kept_in)

    def picture(self, subject: Subject) -> torch.Tensor:
        """(4, S, S) -1 to 1: as drawn."""
        drawing = self.drawings[self.concepts[subject.concept].emoji]
        return picture_of(drawing, subject.colour, self.side)

    def ranks(self, pictures: torch.Tensor, subjects: Sequence[Subject]) -> list[int]:
        """0 = each picture is most like its own concept among all concepts in the asked colour."""
        found = self.recogniser.features(pictures)
        columns = [(None, *COLOURS).index(s.colour) for s in subjects]
        ranks = []
        for row, column, subject in zip(found, columns, subjects, strict=True):
            likeness = self.features[column] @ row
            ranks.append(int((likeness > likeness[subject.concept]).sum()))
        return ranks


def picture_of(drawing: Drawing, colour: str | None, side: int) -> torch.Tensor:
    """(4, side, side) -1 to 1."""
    return torch.from_numpy(draw(drawing, colour, side)).float() / 127.5 - 1.0


def halves(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, 4, S, S) of two things -> the left and the right one, each at full size."""
    side = pictures.shape[-1]
    row = pictures[:, :, side // 4 : side // 4 + side // 2]
    left, right = (
        functional.interpolate(part, (side, side), mode="bilinear", align_corners=False)
        for part in row.split(side // 2, dim=3)
    )
    return left, right


def nearest(pictures: torch.Tensor, others: torch.Tensor) -> npt.NDArray[np.float64]:
    """(N, 4, S, S) -1 to 1 -> (N,) root mean square difference, of values 0 to 1, to the nearest
    of the others, (M, 4, S, S) uint8."""
    rows = ((pictures.clamp(-1.0, 1.0) + 1.0) / 2.0).flatten(1)
    best = torch.full((len(rows),), torch.inf)
    for part in others.split(256):
        apart = torch.cdist(rows, part.flatten(1).float() / 255.0).amin(dim=1)
        best = torch.minimum(best, apart)
    return (best / rows.shape[1] ** 0.5).double().numpy()


def straight(pictures: torch.Tensor) -> npt.NDArray[np.uint8]:
    """(B, 4, S, S) premultiplied, -1 to 1 -> (B, S, S, 4) uint8 with straight alpha."""
    rgba = ((pictures.float().clamp(-1.0, 1.0) + 1.0) / 2.0).permute(0, 2, 3, 1).numpy().copy()
    alpha = rgba[..., 3:]
    rgba[..., :3] = np.clip(rgba[..., :3] / np.maximum(alpha, 1 / 255), 0.0, 1.0)
    return np.rint(rgba * 255.0).astype(np.uint8)


def named_colour(rgba: npt.NDArray[np.uint8]) -> str:
    """The word of COLOURS that is nearest to what covers most of an (S, S, 4) picture."""
    paint = main_paint(rgba, False)
    own = _lab(paint.lightness, paint.chroma, paint.hue)
    near = {}
    for word in COLOURS:
        named = paint_from_hex(PAINTS[word])
        near[word] = float(np.linalg.norm(own - _lab(named.lightness, named.chroma, named.hue)))
    return min(near, key=lambda word: near[word])


def _lab(lightness: float, chroma: float, hue: float) -> npt.NDArray[np.float64]:
    # Half the weight on lightness, which light and shade change.
    return np.array([0.5 * lightness, chroma * np.cos(hue), chroma * np.sin(hue)])
