"""Our own hand tracking on any engine's networks: detect, cut out, place joints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracking.detection import Detector
from tracking.engine import HandMarks, Picture, require_picture
from tracking.hand_landmarks import HandFind, HandLandmarks
from tracking.net import NetSource
from tracking.region import (
    INDEX_KNUCKLE,
    MEDIAPIPE_PALM_ANGLE,
    PALM_ANGLE,
    WRIST,
    Region,
    hand_region_of_palm,
    overlap,
)
from tracking.tiles import TileTurns

SAME_REGION = 0.5
"""Overlap from which a detected hand is one that is already followed."""
SAME_JOINTS = 0.2
"""Mean distance of the joints, as a part of the palm's longest side, below which two finds are one
hand (MediaPipe's HandLandmarksDeduplicationCalculator)."""
LITTLE_KNUCKLE = 17


@dataclass(frozen=True, slots=True)
class HandSettings:
    """How to track hands."""

    hands: int = 2
    """At most this many."""
    min_detection: float = 0.3
    """0..1 of the palm detector. Low, because the landmark network judges what it finds."""
    min_presence: float = 0.5
    """0..1 of the landmark network, to have a hand and to follow it."""
    palm_angle: float = PALM_ANGLE
    """Radians, of a palm's axis in its first region."""
    passes: int = 2
    """Looks at a hand that was just detected, each at the region of the last one's landmarks."""
    search_every_ms: int = 160
    """Milliseconds from one search for hands to the next while fewer than `hands` are followed:
    the palm detector costs more than following a hand."""
    tiles: tuple[int, ...] = (1, 2)
    """Levels of `tracking.tiles`."""
    looks: int = 1
    """Slightly different regions whose landmarks are averaged, 1 to 5."""


MEDIAPIPE_HANDS = HandSettings(
    min_detection=0.5,
    palm_angle=MEDIAPIPE_PALM_ANGLE,
    passes=1,
    search_every_ms=0,
    tiles=(1,),
)
"""What MediaPipe's hand landmarker does."""


class HandPipeline:
    """`tracking.engine.HandEngine`. Does not filter: the tracker does, for every engine."""

    def __init__(self, nets: NetSource, settings: HandSettings | None = None) -> None:
        """Raises ValueError when a model is damaged, RuntimeError when the engine refuses it."""
        self._settings = settings or HandSettings()
        self._detector = Detector(nets.open("hand_detector"))
        self._landmarks = HandLandmarks(nets.open("hand_landmarks"), self._settings.looks)
        self._turns = TileTurns(self._settings.tiles)
        self._regions: list[Region] = []
        self._searched_ms: int | None = None

    def look(self, rgb: Picture, t_ms: int) -> tuple[HandMarks, ...]:
        require_picture("HandPipeline.look", rgb)
        new = self._search(rgb, t_ms)
        for _ in range(self._settings.passes - 1 if new else 0):
            new = [hand.region() for hand in self._believed(self._landmarks.find(rgb, new))]
        hands = self._believed(self._landmarks.find(rgb, self._regions + new))
        hands = _each_once(hands)[: self._settings.hands]
        self._regions = [hand.region() for hand in hands]
        return tuple(_marks(hand) for hand in hands)

    def close(self) -> None:
        self._regions = []

    def _search(self, rgb: Picture, t_ms: int) -> list[Region]:
        """First regions of hands that are not followed yet."""
        s = self._settings
        missing = s.hands - len(self._regions)
        waited = self._searched_ms is None or t_ms - self._searched_ms >= s.search_every_ms
        if missing <= 0 or not waited:
            return []
        self._searched_ms = t_ms
        squares = self._turns.next(rgb.shape[1], rgb.shape[0], alone=bool(self._regions))
        new: list[Region] = []
        for palm in self._detector.detect(rgb, squares, s.min_detection):
            region = hand_region_of_palm(palm.low, palm.high, palm.points, s.palm_angle)
            if region.usable() and all(
                overlap(region, other) < SAME_REGION for other in self._regions + new
            ):
                new.append(region)
        return new[:missing]

    def _believed(self, hands: list[HandFind]) -> list[HandFind]:
        return [
            hand
            for hand in hands
            if hand.presence >= self._settings.min_presence and hand.region().usable()
        ]


def _each_once(hands: list[HandFind]) -> list[HandFind]:
    """Of hands that two regions show, the first."""
    kept: list[HandFind] = []
    for hand in hands:
        palm = hand.landmarks[[WRIST, INDEX_KNUCKLE, LITTLE_KNUCKLE]]
        size = np.linalg.norm(palm - np.roll(palm, 1, axis=0), axis=1).max()
        apart = [np.linalg.norm(hand.landmarks - k.landmarks, axis=1).mean() for k in kept]
        if all(distance >= SAME_JOINTS * size for distance in apart):
            kept.append(hand)
    return kept


def _marks(hand: HandFind) -> HandMarks:
    return HandMarks(
        hand.landmarks.astype(np.float32),
        hand.shape.astype(np.float32),
        "right" if hand.right > 0.5 else "left",
        min(max(hand.right, 1.0 - hand.right, 0.0), 1.0),
    )
