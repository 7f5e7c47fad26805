"""Which found hand is whose: at most one a side, and never one hand twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tracking.engine import HandMarks
from tracking.subject import Subject, hand_place

SAME_HAND = 0.5
"""Mean distance of the joints, as a part of the hand's size, below which two finds are one hand."""
SURE_OF_SIDE = 0.9
"""Score from which a found side overrules the side that the hand at this place had before."""


def one_hand_a_side(
    found: tuple[HandMarks, ...], before: tuple[HandMarks, ...] = ()
) -> tuple[HandMarks, ...]:
    """At most one hand a side, left first. `before` are the hands of the last look (may be empty).

    One hand that was found twice is kept once, with the better score. A hand at the place of one of
    the last look keeps that one's side unless the engine is sure. Two different hands of one side
    are given both sides: the better score keeps its own; of equal ones, the hand on the picture's
    left is the right hand, as on someone who faces the camera.
    """
    ranked = sorted(found, key=lambda hand: (-hand.score, hand.landmarks[:, 0].mean()))
    kept: list[HandMarks] = []
    for hand in ranked:
        if len(kept) < 2 and all(not same_hand(hand, other) for other in kept):
            kept.append(_keep_side(hand, before))
    if len(kept) == 2 and kept[0].side == kept[1].side:
        first, second = kept
        if abs(first.score - second.score) < 0.02:
            first, second = sorted(kept, key=lambda hand: float(hand.landmarks[:, 0].mean()))
            kept = [replace(first, side="right"), replace(second, side="left")]
        else:
            kept[1] = replace(second, side="left" if first.side == "right" else "right")
    return tuple(sorted(kept, key=lambda hand: hand.side))


def reachable_hands(found: tuple[HandMarks, ...], subject: Subject) -> tuple[HandMarks, ...]:
    """Without those that the subject's face is too far from, or that a bystander's is nearer to.
    All where no face is seen."""
    company = subject.company
    return tuple(
        hand
        for hand in found
        if company.may_have(hand_place(hand.landmarks, hand.shape), followed=True)
    )


def same_hand(a: HandMarks, b: HandMarks) -> bool:
    """Whether two finds lie on one another."""
    distance = float(np.linalg.norm(a.landmarks - b.landmarks, axis=-1).mean())
    return distance < SAME_HAND * min(hand_size(a), hand_size(b))


def hand_size(hand: HandMarks) -> float:
    """Pixels: longer side of the box round the joints."""
    return float(np.ptp(hand.landmarks, axis=0).max())


def _keep_side(hand: HandMarks, before: tuple[HandMarks, ...]) -> HandMarks:
    if hand.score >= SURE_OF_SIDE:
        return hand
    for last in before:
        if same_hand(hand, last):
            return replace(hand, side=last.side)
    return hand
