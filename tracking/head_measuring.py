"""The face in the other cameras of a rig, looked at now and then to measure the head.

A landmark network a camera and moment would cost as much as following the face there, for a number
that hardly changes. So every camera looks until the number stands, and then seldom.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streams.camera import FISHEYES, Camera
from streams.closing import Closing
from streams.frame import Frame
from streams.person_size import sized_face
from streams.tracked_state import FacePose
from tracking.engine import FaceEngine, FaceMarks, Picture
from tracking.engine_picture import engine_picture, enlarged_face
from tracking.engine_slot import EngineSlot
from tracking.head_size import HeadSize, measured_size
from tracking.perspective_crop import CropOptions, cut_out, straight_ahead

EVERY = 5
"""While the number stands, or nothing can be measured, one of so many moments is looked at."""
WIDE = CropOptions(size=640)
"""Of a fisheye's picture."""


class HeadMeasuring(Closing):
    """Call `ask` with each moment, then `answer`. Not for several threads at once."""

    def __init__(self, open_engine: Callable[[], FaceEngine], patience_s: float) -> None:
        """`open_engine` opens one for one camera, when it is first needed."""
        self._open_engine = open_engine
        self._patience_s = patience_s
        self._slots: dict[str, EngineSlot[tuple[FaceMarks, ...]]] = {}
        self._forget()

    def prepare(self, cameras: Sequence[Camera]) -> None:
        """Open the engines of all but the first camera.

        Raises what an engine raises that does not open, or TimeoutError."""
        slots = [self._slot(camera.name) for camera in cameras[1:]]
        for slot in slots:
            slot.begin()
        for slot in slots:
            slot.wait()

    def begin_anew(self) -> None:
        """Forget every moment before, as if just opened."""
        self.close()
        self._forget()

    def close(self) -> None:
        """End the engines and their threads. Idempotent."""
        for slot in self._slots.values():
            slot.close()
        self._slots = {}

    def ask(self, frames: Sequence[Frame]) -> None:
        """The frames of one moment, the first camera's first: engines begin to look at the others',
        where it is time to. Raises what an engine raises that does not open, or TimeoutError."""
        first = frames[0]
        if self._last is not None and (
            first.camera.name != self._last.camera.name or first.t_ns <= self._last.t_ns
        ):
            self.begin_anew()
        if self._first_ns is None:
            self._first_ns = first.t_ns
        # Milliseconds that grow with every moment, as MediaPipe demands.
        self._last_ms = max((first.t_ns - self._first_ns) // 1_000_000, self._last_ms + 1)
        self._last, self._beside, self._asked = first, frames[1:], []
        self._since_look += 1
        if self._since_look >= EVERY or (self._measures and not self._size.settled):
            self._look()

    def answer(self, face: FacePose | None) -> FacePose | None:
        """The `face` that was seen in the first camera's frame, at the place and of the size that
        all cameras measured.

        Raises ValueError without an `ask`, TrackingError when an engine failed twice."""
        if self._last is None:
            raise ValueError("HeadMeasuring.answer: expected frames to be asked of first")
        if face is not None and not self._saw_face and not self._asked:
            self._look()  # Whoever comes is at the right place from the first moment on.
        asked, self._asked = self._asked, []
        others = _answers(asked)
        self._saw_face = face is not None
        if face is None:
            return None
        camera = self._last.camera
        measured = measured_size(face, camera, others) if asked else None
        self._measures = measured is not None if asked else self._measures
        self._size.seen(self._last.t_ns, measured)
        return sized_face(face, self._size.value, camera.world_from_camera.xyz)

    def _look(self) -> None:
        self._since_look = 0
        for frame in self._beside:
            slot = self._slot(frame.camera.name)
            camera, picture = _shown(frame)
            slot.ask(picture, self._last_ms)
            self._asked.append(_Look(camera, picture, slot))

    def _forget(self) -> None:
        self._size = HeadSize()
        self._last: Frame | None = None
        self._beside: Sequence[Frame] = ()
        self._first_ns: int | None = None
        self._last_ms = -1
        self._since_look = 0
        self._saw_face = self._measures = False
        self._asked: list[_Look] = []

    def _slot(self, camera: str) -> EngineSlot[tuple[FaceMarks, ...]]:
        if camera not in self._slots:
            name = f"tracking-{camera}-face"
            self._slots[camera] = EngineSlot(name, self._open_engine, self._patience_s)
        return self._slots[camera]


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """An engine that looks at a picture."""

    camera: Camera
    """Of which the picture is, at this or another size."""
    picture: Picture
    slot: EngineSlot[tuple[FaceMarks, ...]]


def _shown(frame: Frame) -> tuple[Camera, Picture]:
    """The frame's picture, or what a fisheye sees straight ahead."""
    picture = engine_picture(frame)
    if frame.camera.distortion.model not in FISHEYES:
        return frame.camera, picture
    camera = frame.camera.scaled((picture.shape[1], picture.shape[0]))
    wide = straight_ahead(camera, WIDE)
    return wide, cut_out(picture, camera, wide)


def _answers(looks: Sequence[_Look]) -> list[tuple[Camera, list[FaceMarks]]]:
    """What the engines saw, pixels of each camera. Raises what the first one raised that failed."""
    seen: list[tuple[Camera, list[FaceMarks]]] = []
    failure: Exception | None = None
    for look in looks:
        height, width = look.picture.shape[:2]
        scale = look.camera.size[0] / width, look.camera.size[1] / height
        try:
            found = look.slot.answer()
        except RuntimeError as error:  # the others' answers must be taken all the same
            failure = failure or error
        else:
            seen.append((look.camera, [enlarged_face(marks, scale) for marks in found]))
    if failure is not None:
        raise failure
    return seen
