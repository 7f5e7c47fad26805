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
from tracking.subject import Place, Subject, hand_place, metres_between
from tracking.tiles import TileTurns

SAME_REGION = 0.5
"""Overlap from which a detected hand is one that is already followed."""
SAME_JOINTS = 0.2
"""Mean distance of the joints, as a part of the palm's longest side, below which two finds are one
hand (MediaPipe's HandLandmarksDeduplicationCalculator)."""
SAME_FIND = 0.5
"""Mean distance of the joints, as a part of the hand's size, below which two answers about
detections mean one hand, which one of them may have misunderstood."""
SETTLED = 0.1
"""Distance likewise between the last two answers about a detection, from which both are doubted."""
HOPELESS = 0.2
"""Presence below which a first answer about a detection does not become better."""
MOST_PALMS = 12
"""Detected palms that are looked at."""
LITTLE_KNUCKLE = 17


@dataclass(frozen=True, slots=True)
class HandSettings:
    """How to track hands."""

    hands: int = 2
    """At most this many."""
    min_detection: float = 0.2
    """0..1 of the palm detector. Low, because the landmark network judges what it finds."""
    min_presence: float = 0.5
    """0..1 of the landmark network, to have a hand and to follow it."""
    palm_angle: float = PALM_ANGLE
    """Radians, of a palm's axis in its first region."""
    min_first_presence: float = 0.9
    """0..1 of the same, of a hand that was just detected."""
    passes: int = 3
    """Looks at a hand that was just detected, each at the region of the last one's landmarks."""
    search_every_ms: int = 160
    """Milliseconds from one search for hands to the next while fewer than `hands` are followed:
    the palm detector costs more than following a hand."""
    tiles: tuple[int, ...] = (1, 2)
    """Levels of `tracking.tiles`."""
    looks: int = 1
    """Slightly different regions whose landmarks are averaged, 1 to 5."""
    mediapipe_crops: bool = False
    """Whether pictures are cut out as MediaPipe does, half a pixel off."""


MEDIAPIPE_HANDS = HandSettings(
    min_detection=0.5,
    min_first_presence=0.0,
    palm_angle=MEDIAPIPE_PALM_ANGLE,
    passes=1,
    search_every_ms=0,
    tiles=(1,),
    mediapipe_crops=True,
)
"""What MediaPipe's hand landmarker does."""


class HandPipeline:
    """`tracking.engine.HandEngine`. Does not filter: the tracker does, for every engine."""

    def __init__(
        self,
        nets: NetSource,
        settings: HandSettings | None = None,
        subject: Subject | None = None,
    ) -> None:
        """`subject`: whose hands are looked for; by default anybody's, the largest first.

        Raises ValueError when a model is damaged, RuntimeError when the engine refuses it."""
        self._settings = settings or HandSettings()
        self._subject = subject or Subject()
        self._detector = Detector(nets.open("hand_detector"), self._settings.mediapipe_crops)
        self._landmarks = HandLandmarks(
            nets.open("hand_landmarks"), self._settings.looks, self._settings.mediapipe_crops
        )
        self._turns = TileTurns(self._settings.tiles)
        self._regions: list[Region] = []
        self._searched_ms: int | None = None

    def look(self, rgb: Picture, t_ms: int) -> tuple[HandMarks, ...]:
        require_picture("HandPipeline.look", rgb)
        return self.take(rgb, t_ms, self._landmarks.find(rgb, self.regions()))

    def regions(self) -> list[Region]:
        """Where the hands that are followed are to be looked for in the next picture."""
        return list(self._regions)

    def take(self, rgb: Picture, t_ms: int, finds: list[HandFind]) -> tuple[HandMarks, ...]:
        """`look`, for whom has asked the landmark network already: one find for each of
        `regions`, in their order."""
        company = self._subject.company
        hands = [
            hand for hand in self._believed(finds) if company.may_have(_place(hand), followed=True)
        ]
        if self._search_is_due(t_ms, len(hands)):
            self._searched_ms = t_ms
            hands += self._searched(rgb, hands)
        hands = _each_once(hands)[: self._settings.hands]
        self._regions = [hand.region() for hand in hands]
        return tuple(_marks(hand) for hand in hands)

    def close(self) -> None:
        self._regions = []

    def _search_is_due(self, t_ms: int, followed: int) -> bool:
        if followed >= self._settings.hands:
            return False
        last = self._searched_ms
        # A hand that was just lost is looked for at once.
        lost = followed < len(self._regions)
        return last is None or lost or t_ms - last >= self._settings.search_every_ms

    def _searched(self, rgb: Picture, followed: list[HandFind]) -> list[HandFind]:
        """Hands that are not followed yet."""
        s = self._settings
        squares = self._turns.next(rgb.shape[1], rgb.shape[0], alone=bool(followed))
        known = [hand.region() for hand in followed]
        regions: list[Region] = []
        for palm in self._detector.detect(rgb, squares, s.min_detection):
            region = hand_region_of_palm(palm.low, palm.high, palm.points, s.palm_angle)
            if region.usable() and all(overlap(region, r) < SAME_REGION for r in known):
                regions.append(region)
        hands = self._landmarks.find(rgb, regions[:MOST_PALMS])
        for _ in range(s.passes - 1):
            before = [h for h in hands if h.presence >= HOPELESS and h.is_sound()]
            hands = self._landmarks.find(rgb, [hand.region() for hand in before])
            hands = [h for h, b in zip(hands, before, strict=True) if _apart(h, b) < SETTLED]
        hands = [hand for hand in self._believed(hands) if hand.presence >= s.min_first_presence]
        kept: list[HandFind] = []
        for hand in sorted(hands, key=lambda hand: -hand.presence):
            if all(_apart(hand, other) >= SAME_FIND for other in kept):
                kept.append(hand)
        return self._subjects(kept)

    def _subjects(self, hands: list[HandFind]) -> list[HandFind]:
        """The hands that may be the subject's, the likeliest first."""
        company = self._subject.company
        face = company.subject
        if face is None:
            return sorted(hands, key=lambda hand: -float(np.ptp(hand.landmarks, axis=0).max()))
        theirs = [hand for hand in hands if company.may_have(_place(hand))]
        return sorted(theirs, key=lambda hand: metres_between(_place(hand), face))

    def _believed(self, hands: list[HandFind]) -> list[HandFind]:
        return [
            hand
            for hand in hands
            if hand.presence >= self._settings.min_presence and hand.is_sound()
        ]


def _place(hand: HandFind) -> Place:
    return hand_place(hand.landmarks, hand.shape)


def _apart(a: HandFind, b: HandFind) -> float:
    """Mean distance of the joints, as a part of the smaller hand's size."""
    size = min(np.ptp(hand.landmarks, axis=0).max() for hand in (a, b))
    distance = np.linalg.norm(a.landmarks - b.landmarks, axis=1).mean()
    return float(distance / max(size, 1e-9))


def _each_once(hands: list[HandFind]) -> list[HandFind]:
    """Of hands that two regions show, the first."""
    kept: list[HandFind] = []
    for hand in hands:
        palm = hand.landmarks[[WRIST, INDEX_KNUCKLE, LITTLE_KNUCKLE]]
        size = np.linalg.norm(palm - np.roll(palm, 1, axis=0), axis=1).max()
        distances = [np.linalg.norm(hand.landmarks - k.landmarks, axis=1).mean() for k in kept]
        if all(distance >= SAME_JOINTS * size for distance in distances):
            kept.append(hand)
    return kept


def _marks(hand: HandFind) -> HandMarks:
    return HandMarks(
        hand.landmarks.astype(np.float32),
        hand.shape.astype(np.float32),
        "right" if hand.right > 0.5 else "left",
        min(max(hand.right, 1.0 - hand.right, 0.0), 1.0),
    )
