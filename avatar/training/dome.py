"""The synthetic capture dome: faces of known expression, seen from known directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from avatar.decoder import CHART
from avatar.training.expressions import sample_expressions, sample_views

Float32 = npt.NDArray[np.float32]

VIEWS = 2
"""Cameras of the dome that see the same moment; occlusion, the costly part, is theirs in common."""
SHAPE_FRAMES_EACH = 10
"""Moments for shape alone for every picture: they cost next to nothing."""


class DomePerson(Protocol):
    """Who stands in the dome: `assets.baking.person.Person`, or another source of the truth."""

    rest: Float32
    """(V, 3) metres, head frame: the neutral template."""
    face_mask: npt.NDArray[np.bool_]
    """(CHART, CHART) where expression changes the colour."""

    def vertices(self, weights: Float32, gaze: Float32) -> Float32:
        """(V, 3) metres, head frame, of weights (52,) and gaze (2, 3)."""
        ...

    def log_ratio(self, weights: Float32, gaze: Float32, view_dir: Float32) -> Float32:
        """(CHART, CHART, 3) log of linear albedo over neutral; `view_dir` (3,) towards the eye."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """Moments of which only the shape is known."""

    person: npt.NDArray[np.int64]
    """(N,) which person."""
    weights: Float32
    """(N, 52) ARKit weights."""
    gaze: Float32
    """(N, 2, 3) unit, head frame, left first."""
    offsets: Float32
    """(N, M * 3) metres: the moving vertices minus the neutral face."""


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Moments seen by one camera each."""

    person: npt.NDArray[np.int64]
    weights: Float32
    gaze: Float32
    view: Float32
    """(N, 3) unit, head frame, from the head to the camera."""
    field: npt.NDArray[np.float16]
    """(N, T, 3) log of linear albedo over neutral, at the face's texels."""


@dataclass(frozen=True, slots=True, eq=False)
class Dome:
    """Everything that was captured."""

    people: tuple[str, ...]
    shapes: Shapes
    pictures: Pictures
    mask: npt.NDArray[np.bool_]
    """(CHART, CHART) the face's texels, T of them, row by row."""

    def split(self, share: float) -> tuple[Dome, Dome]:
        """Most of it, and about `share` of the moments that are not in the first."""
        every = max(round(1.0 / share), 2)
        shape_out = np.arange(len(self.shapes.person)) % every == every - 1
        picture_out = np.arange(len(self.pictures.person)) // VIEWS % every == every - 1
        kept, out = (
            replace(self, shapes=_rows(self.shapes, s), pictures=_rows(self.pictures, p))
            for s, p in ((~shape_out, ~picture_out), (shape_out, picture_out))
        )
        return kept, out


def capture_dome(
    people: Mapping[str, DomePerson],
    moving: npt.NDArray[np.intp],
    frames: int,
    seed: int,
    say: Callable[[str], None],
) -> Dome:
    """About `frames` pictures and SHAPE_FRAMES_EACH times as many shapes, shared by the people."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((CHART, CHART), bool)
    for person in people.values():
        mask |= person.face_mask
    moments = max(frames // (VIEWS * len(people)), 2)
    shapes: list[Shapes] = []
    pictures: list[Pictures] = []
    for index, (name, person) in enumerate(people.items()):
        weights, gaze = sample_expressions(moments * VIEWS * SHAPE_FRAMES_EACH, rng)
        offsets = np.stack(
            [
                person.vertices(w, g)[moving] - person.rest[moving]
                for w, g in zip(weights, gaze, strict=True)
            ]
        )
        shapes.append(
            Shapes(np.full(len(weights), index), weights, gaze, offsets.reshape(len(weights), -1))
        )
        weights, gaze = sample_expressions(moments, rng)
        view = sample_views(moments * VIEWS, rng)
        view[0] = (0.0, 0.0, 1.0)
        field = np.empty((moments * VIEWS, int(mask.sum()), 3), np.float16)
        for k in range(len(field)):
            i = k // VIEWS
            field[k] = person.log_ratio(weights[i], gaze[i], view[k])[mask]
            if k % 50 == 49:
                say(f"dome: {name}, picture {k + 1} of {len(field)}")
        pictures.append(
            Pictures(
                np.full(len(field), index),
                np.repeat(weights, VIEWS, axis=0),
                np.repeat(gaze, VIEWS, axis=0),
                view,
                field,
            )
        )
    return Dome(tuple(people), _joined(shapes), _joined(pictures), mask)


Record = TypeVar("Record", Shapes, Pictures)


def _joined(records: list[Record]) -> Record:
    names = [one.name for one in fields(records[0])]
    joined = {name: np.concatenate([getattr(r, name) for r in records]) for name in names}
    return replace(records[0], **joined)


def _rows(record: Record, chosen: npt.NDArray[np.bool_]) -> Record:
    return replace(
        record, **{one.name: getattr(record, one.name)[chosen] for one in fields(record)}
    )
