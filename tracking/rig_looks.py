"""What the engines of a rig's cameras saw at one moment, each hand once a camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streams.camera import Camera
from streams.projection import directions
from tracking.engine import HandMarks
from tracking.engine_slot import EngineSlot
from tracking.hand_view import HandView
from tracking.view_association import Find

SAME_PLACE = 0.4
"""Of a hand's size in a picture: nearer middles are one hand's."""


@dataclass(frozen=True, slots=True, eq=False)
class HandLook:
    """An engine that looks at a picture."""

    view: int
    source: str
    """Name of the rig's camera."""
    camera: Camera
    """Whose pixels it sees."""
    slot: EngineSlot[tuple[HandMarks, ...]]


def found_hands(looks: Sequence[HandLook]) -> list[Find]:
    """What the engines saw. Raises what the first one raised that failed."""
    finds: list[Find] = []
    failure: Exception | None = None
    for look in looks:
        try:
            for marks in look.slot.answer():
                _add_find(finds, Find(look.view, look.camera, marks, look.source))
        except RuntimeError as error:  # the others' answers must be taken all the same
            failure = failure or error
    if failure is not None:
        raise failure
    return finds


def view_of(find: Find) -> HandView:
    """What a skeleton is fitted to, and landmarks are triangulated from."""
    marks = find.marks
    return HandView(
        find.camera,
        marks.landmarks.astype(np.float64),
        np.ones(21),
        marks.shape.astype(np.float64),
    )


def _add_find(finds: list[Find], new: Find) -> None:
    """Keep one of two finds of one hand, by a crop and by the view straight ahead, or by two crops:
    the surer one."""
    rays = directions(new.camera, new.marks.landmarks)
    for k, old in enumerate(finds):
        if old.view == new.view:
            theirs = directions(old.camera, old.marks.landmarks)
            apart = float(np.linalg.norm(rays.mean(0) - theirs.mean(0)))
            size = float(np.ptp(theirs, axis=0).max())
            if not apart >= SAME_PLACE * size:
                if new.marks.score > old.marks.score:
                    finds[k] = new
                return
    finds.append(new)
