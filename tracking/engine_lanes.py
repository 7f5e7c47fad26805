"""How a tracker's engines work: face and hands each in a lane of its own, or both in one.

Engines of processors look at the same time, each in its thread. The device has one steady frame for
both, and so one engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tracking.engine import (
    FaceEngine,
    FaceMarks,
    HandEngine,
    HandMarks,
    PersonEngine,
    PersonMarks,
    Picture,
)
from tracking.engine_choice import open_nets, open_torch_nets
from tracking.engine_slot import EngineSlot
from tracking.engines.face_pipeline import FacePipeline, FaceSettings
from tracking.engines.hand_pipeline import HandPipeline, HandSettings
from tracking.engines.mediapipe_tasks import Confidences
from tracking.net import FACE_BUNDLE, HAND_BUNDLE
from tracking.subject import Subject

FACE_THREADS, HAND_THREADS = 1, 2
"""Of each network on a processor: face and hands are looked for at the same time, and two hands
take more than twice as long as a face."""
FACE_ENGINES = {"openvino": "litert"}
"""What runs the face's networks where that differs: they gain nothing by bfloat16, and OpenVINO
takes 1.4 times LiteRT's CPU time for them (`benchmarks.tracking`, part cost)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What engines are to be opened, and for what."""

    engine: str
    """One of `tracking.engine_choice.ENGINES`."""
    faces: FaceSettings | None
    """None: faces are left alone. Of these and of `hands`, MediaPipe takes the thresholds, the
    number of hands, and how often they are searched."""
    hands: HandSettings | None
    bundles: Mapping[str, Path]
    """The models' files by asset name, of what is looked for."""
    patience_s: float
    """Seconds to wait for an engine before it counts as hung."""


class EngineLanes(Protocol):
    """Engines at work. Call `begin`; then for each picture `ask`, `faces` and `hands`, in this
    order. Not for several threads at once."""

    def begin(self) -> None:
        """New engines, which know nothing of any picture, in place of the old ones.

        Raises what opening them raised, or TimeoutError; then none is left."""
        ...

    def ask(self, rgb: Picture, t_ms: int) -> None:
        """Hand over a picture, (H, W, 3) uint8 sRGB, C-contiguous; `t_ms` increases."""
        ...

    def faces(self) -> tuple[FaceMarks, ...]:
        """What `FaceEngine.look` said of it; nothing where faces are left alone.

        Raises TrackingError when a fresh engine failed on it too; the next `ask` opens others."""
        ...

    def hands(self) -> tuple[HandMarks, ...]:
        """Likewise of `HandEngine.look`."""
        ...

    def close(self) -> None:
        """End the engines and their threads, within seconds even if they hang. Idempotent."""
        ...


class SeparateLanes:
    """`EngineLanes` of one engine for faces beside one for hands."""

    def __init__(self, wanted: Wanted, subject: Subject) -> None:
        """`subject`: whose hands."""
        self._faces: EngineSlot[tuple[FaceMarks, ...]] | None = None
        self._hands: EngineSlot[tuple[HandMarks, ...]] | None = None
        if wanted.faces is not None:
            self._faces = EngineSlot(
                "tracking-face", lambda: open_face_engine(wanted), wanted.patience_s
            )
        if wanted.hands is not None:
            self._hands = EngineSlot(
                "tracking-hands", lambda: open_hand_engine(wanted, subject), wanted.patience_s
            )

    def begin(self) -> None:
        for slot in self._slots():
            slot.begin()
        try:
            for slot in self._slots():
                slot.wait()
        except BaseException:
            self.close()
            raise

    def ask(self, rgb: Picture, t_ms: int) -> None:
        for slot in self._slots():
            slot.ask(rgb, t_ms)

    def faces(self) -> tuple[FaceMarks, ...]:
        return () if self._faces is None else self._faces.answer()

    def hands(self) -> tuple[HandMarks, ...]:
        return () if self._hands is None else self._hands.answer()

    def close(self) -> None:
        for slot in self._slots():
            slot.close()

    def _slots(self) -> list[EngineSlot[tuple[FaceMarks, ...]] | EngineSlot[tuple[HandMarks, ...]]]:
        return [slot for slot in (self._faces, self._hands) if slot is not None]


class JointLane:
    """`EngineLanes` of one engine for both."""

    def __init__(self, wanted: Wanted, subject: Subject) -> None:
        """`subject`: whose hands."""
        self._slot: EngineSlot[PersonMarks] = EngineSlot(
            "tracking-person", lambda: open_person_engine(wanted, subject), wanted.patience_s
        )
        self._found = PersonMarks((), ())

    def begin(self) -> None:
        self._slot.begin()
        self._slot.wait()

    def ask(self, rgb: Picture, t_ms: int) -> None:
        self._found = PersonMarks((), ())
        self._slot.ask(rgb, t_ms)

    def faces(self) -> tuple[FaceMarks, ...]:
        self._found = self._slot.answer()
        return self._found.faces

    def hands(self) -> tuple[HandMarks, ...]:
        return self._found.hands

    def close(self) -> None:
        self._slot.close()


def lanes_of(wanted: Wanted, subject: Subject) -> EngineLanes:
    """Not begun yet."""
    if wanted.engine == "torch" and (wanted.faces is not None or wanted.hands is not None):
        return JointLane(wanted, subject)
    return SeparateLanes(wanted, subject)


def open_face_engine(wanted: Wanted) -> FaceEngine:
    """Raises ValueError for a damaged bundle, RuntimeError when the engine cannot run it."""
    settings = wanted.faces or FaceSettings()
    if wanted.engine == "mediapipe":
        from tracking.engines.mediapipe_tasks import MediaPipeFace

        return MediaPipeFace(wanted.bundles[FACE_BUNDLE], _confidences(settings))
    engine = FACE_ENGINES.get(wanted.engine, wanted.engine)
    return FacePipeline(open_nets(engine, FACE_THREADS, wanted.bundles), settings)


def open_hand_engine(wanted: Wanted, subject: Subject) -> HandEngine:
    """As `open_face_engine`; `subject`: whose hands."""
    settings = wanted.hands or HandSettings()
    if wanted.engine == "mediapipe":
        from tracking.engines.mediapipe_tasks import MediaPipeHands

        return MediaPipeHands(
            wanted.bundles[HAND_BUNDLE],
            _confidences(settings),
            settings.hands,
            settings.search_every_ms,
        )
    nets = open_nets(wanted.engine, HAND_THREADS, wanted.bundles)
    return HandPipeline(nets, settings, subject)


def open_person_engine(wanted: Wanted, subject: Subject) -> PersonEngine:
    """As `open_face_engine`, of torch."""
    # Importing torch takes seconds.
    from tracking.engines.person_pipeline import PersonPipeline

    return PersonPipeline(open_torch_nets(wanted.bundles), wanted.faces, wanted.hands, subject)


def _confidences(settings: FaceSettings | HandSettings) -> Confidences:
    return Confidences(settings.min_detection, settings.min_presence)
