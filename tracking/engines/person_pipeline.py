"""Face and hands by one engine: all that is followed already is one steady frame on the device.

The pipelines of faces and hands go on as ever; only what they follow from picture to picture is
asked about by one call for both, and the faces are filtered there too. The engines' other
questions, of detectors and about what was just detected, are asked of the picture that is on the
device already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracking.engine import PersonMarks, Picture, require_picture
from tracking.engines.face_pipeline import FacePipeline, FaceSettings
from tracking.engines.hand_pipeline import HandPipeline, HandSettings
from tracking.face_landmarks import FaceFind, FilteredFace, blendshapes_of, face_finds
from tracking.hand_landmarks import HandFind, hand_finds
from tracking.net import NETS
from tracking.nets.device_nets import DeviceNets
from tracking.nets.device_one_euro import DeviceOneEuro
from tracking.nets.steady_frame import SteadyFrame, SteadyRegions, SteadyRoom
from tracking.nets.torch_nets import TorchNets
from tracking.one_euro import OneEuroOptions, bridged_seconds
from tracking.region import Cut, Region
from tracking.subject import Subject

FACE_CUT = Cut(NETS["face_landmarks"].input_shape[0])
HAND_CUT = Cut(NETS["hand_landmarks"].input_shape[0])


class PersonPipeline:
    """`tracking.engine.PersonEngine`, on the device of `nets`."""

    def __init__(
        self,
        nets: TorchNets,
        faces: FaceSettings | None,
        hands: HandSettings | None,
        subject: Subject | None = None,
    ) -> None:
        """`faces`, `hands`: None to leave them alone; `subject` as of `HandPipeline`.

        Raises ValueError when a model is damaged, when both are left alone, when they are to be
        looked at differently often, or with MediaPipe's crops, which the device does not cut.
        """
        settings = [each for each in (faces, hands) if each is not None]
        if len({each.looks for each in settings}) != 1 or any(
            each.mediapipe_crops for each in settings
        ):
            raise ValueError(
                "PersonPipeline: expected faces or hands, equal looks, no mediapipe_crops, "
                f"got {faces} and {hands}"
            )
        self._looks = settings[0].looks
        self._nets = nets
        self._asked = DeviceNets(nets)
        self._faces = None if faces is None else FacePipeline(self._asked, faces)
        self._hands = None if hands is None else HandPipeline(self._asked, hands, subject)
        self._most = (0 if faces is None else faces.faces, 0 if hands is None else hands.hands)
        self._filters = FaceFilters(nets, self._most[0], None if faces is None else faces.filter)
        self._frame: SteadyFrame | None = None

    def look(self, rgb: Picture, t_ms: int) -> PersonMarks:
        require_picture("PersonPipeline.look", rgb)
        frame = self._frame_of(rgb.shape[1], rgb.shape[0])
        self._asked.shown.show(rgb, frame.pictures)
        faces, hands = self._followed(frame, t_ms)
        found_faces = () if self._faces is None else self._faces.take(rgb, t_ms, faces)
        if self._faces is not None:
            self._filters.go_on(t_ms, faces, self._faces.followed())
        found_hands = () if self._hands is None else self._hands.take(rgb, t_ms, hands)
        return PersonMarks(found_faces, found_hands)

    def close(self) -> None:
        for pipeline in (self._faces, self._hands):
            if pipeline is not None:
                pipeline.close()
        self._frame = None

    def _frame_of(self, width: int, height: int) -> SteadyFrame:
        """Pictures of another size need other memory, and other graphs; filters stay."""
        if self._frame is None or self._frame.pictures.size != (width, height):
            room = SteadyRoom(1, width, height, *self._most, self._looks)
            self._frame = SteadyFrame(self._nets, room, self._filters.on_device)
        return self._frame

    def _followed(self, frame: SteadyFrame, t_ms: int) -> tuple[list[FaceFind], list[HandFind]]:
        """What the device says of every region that either pipeline follows."""
        faces = [] if self._faces is None else self._faces.regions()
        hands = [] if self._hands is None else self._hands.regions()
        if not faces and not hands:
            return [], []
        matrices = self._matrices(faces, FACE_CUT) + self._matrices(hands, HAND_CUT)
        answers = frame(
            SteadyRegions(
                np.zeros(len(matrices), np.int64),
                np.array(matrices),
                self._filters.slots(),
                self._filters.seconds(t_ms),
            )
        )
        found_faces = (
            face_finds(answers.faces, faces, self._looks, FACE_CUT) if answers.faces else []
        )
        found_hands = (
            hand_finds(answers.hands, hands, self._looks, HAND_CUT) if answers.hands else []
        )
        return [
            FaceFind(
                find.landmarks,
                find.presence,
                FilteredFace(landmarks.astype(np.float64), blendshapes_of(scores)),
            )
            for find, landmarks, scores in zip(
                found_faces, answers.filtered, answers.blendshapes, strict=True
            )
        ], found_hands

    def _matrices(self, regions: Sequence[Region], cut: Cut) -> list[npt.NDArray[np.float64]]:
        return [
            cut.picture_from_pixel(look)
            for region in regions
            for look in region.shaken(self._looks)
        ]


@dataclass(frozen=True, slots=True)
class _Use:
    slot: int
    t_ms: int
    """When it was last used."""


class FaceFilters:
    """Which filter on the device is whose."""

    def __init__(self, nets: TorchNets, most: int, options: OneEuroOptions | None) -> None:
        """For at most so many faces; `options` None: filters that let everything through."""
        self.on_device = DeviceOneEuro(most, (478, 3), options or OneEuroOptions(), nets.device)
        self._filters = options is not None
        self._uses: list[_Use] = []

    def slots(self) -> npt.NDArray[np.int64]:
        """(faces,) int64 of the followed faces, in their order."""
        return np.array([use.slot for use in self._uses], np.int64)

    def seconds(self, t_ms: int) -> npt.NDArray[np.float64]:
        """(faces,) float64 since each was last used; 0 where it begins anew."""
        return np.array(
            [
                bridged_seconds(use.t_ms * 1_000_000, t_ms * 1_000_000) if self._filters else 0.0
                for use in self._uses
            ]
        )

    def go_on(self, t_ms: int, asked: Sequence[FaceFind], followed: Sequence[FaceFind]) -> None:
        """Of the faces that the device was asked about, and of those followed now: whose filters
        go on, whose are free, and who gets one of these."""
        before = {id(find): use.slot for find, use in zip(asked, self._uses, strict=True)}
        kept = {before[id(find)] for find in followed if id(find) in before}
        free = iter(sorted(set(range(self.on_device.spare)) - kept))
        self._uses = []
        for find in followed:
            slot = before.get(id(find))
            if slot is None:
                slot = next(free)
                self.on_device.begin(slot, find.landmarks)
            self._uses.append(_Use(slot, t_ms))
