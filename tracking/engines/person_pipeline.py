"""Face and hands by one engine: all that is followed already is one steady frame on the device.

The pipelines of faces and hands go on as ever; only what they follow from picture to picture is
asked about by one call for both, and the faces are filtered there too. The engines' other
questions, of detectors and about what was just detected, are asked of the picture that is on the
device already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
        uses = self._filters.of([] if self._faces is None else self._faces.followed())
        if not faces and not hands:
            self._filters.used(t_ms, [])
            return [], []
        matrices = self._matrices(faces, FACE_CUT) + self._matrices(hands, HAND_CUT)
        answers = frame(
            SteadyRegions(
                np.zeros(len(matrices), np.int64),
                np.array(matrices),
                np.array([use.slot for use in uses], np.int64),
                np.array([self._filters.seconds(use, t_ms) for use in uses], np.float64),
            )
        )
        found_faces = (
            face_finds(answers.faces, faces, self._looks, FACE_CUT) if answers.faces else []
        )
        found_hands = (
            hand_finds(answers.hands, hands, self._looks, HAND_CUT) if answers.hands else []
        )
        found_faces = [
            FaceFind(
                find.landmarks,
                find.presence,
                FilteredFace(landmarks.astype(np.float64), blendshapes_of(scores)),
            )
            for find, landmarks, scores in zip(
                found_faces, answers.filtered, answers.blendshapes, strict=True
            )
        ]
        self._filters.used(t_ms, found_faces)
        return found_faces, found_hands

    def _matrices(self, regions: Sequence[Region], cut: Cut) -> list[npt.NDArray[np.float64]]:
        return [
            cut.picture_from_pixel(look)
            for region in regions
            for look in region.shaken(self._looks)
        ]


@dataclass(frozen=True, slots=True)
class FilterUse:
    """Of a filter on the device by a face."""

    slot: int
    t_ms: int
    """When it was last used."""


class FaceFilters:
    """Which filter on the device is whose. For each picture call `of`, then `used`; a picture that
    broke off between the two, or after them, does no harm."""

    def __init__(self, nets: TorchNets, most: int, options: OneEuroOptions | None) -> None:
        """For at most so many faces; `options` None: filters that let everything through."""
        self.on_device = DeviceOneEuro(most, (478, 3), options or OneEuroOptions(), nets.device)
        self._filters = options is not None
        self._known: list[tuple[FaceFind, FilterUse]] = []
        self._last_ms = 0

    def of(self, followed: Sequence[FaceFind]) -> list[FilterUse]:
        """Those of the faces that are followed from the last picture, in their order. Of the finds
        that `used` was given the filters go on; the others were detected since, and begin."""
        known = {id(find): use for find, use in self._known}
        kept = {known[id(find)].slot for find in followed if id(find) in known}
        free = iter(sorted(set(range(self.on_device.spare)) - kept))
        self._known = [(find, known.get(id(find)) or self._begun(find, free)) for find in followed]
        return [use for _, use in self._known]

    def seconds(self, use: FilterUse, t_ms: int) -> float:
        """Since it was used; 0 where it begins anew."""
        if not self._filters:
            return 0.0
        return bridged_seconds(use.t_ms * 1_000_000, t_ms * 1_000_000)

    def used(self, t_ms: int, finds: Sequence[FaceFind]) -> None:
        """What the device now says of the faces that `of` was last asked about."""
        self._last_ms = t_ms
        self._known = [
            (find, FilterUse(use.slot, t_ms))
            for find, (_, use) in zip(finds, self._known, strict=True)
        ]

    def _begun(self, find: FaceFind, free: Iterator[int]) -> FilterUse:
        use = FilterUse(next(free), self._last_ms)
        self.on_device.begin(use.slot, find.landmarks)
        return use
