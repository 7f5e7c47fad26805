"""From a camera's frame to what is known of the person: the one entrance of tracking."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from assets.manifest import asset_path
from streams.camera import Camera
from streams.closing import Closing
from streams.frame import Frame
from streams.projection import project
from streams.rigid import Rigid
from streams.tracked_state import FacePose, HandPose, TrackedState
from tracking.association import hand_size, one_hand_a_side, reachable_hands
from tracking.canonical_face import CanonicalFace, read_canonical_face
from tracking.engine import SMALLEST_SIDE, FaceMarks, HandMarks, Picture, subjects_face
from tracking.engine_choice import chosen_engine, has_cuda
from tracking.engine_lanes import Wanted, lanes_of
from tracking.engine_picture import engine_picture, enlarged_face, enlarged_hand
from tracking.engines.face_pipeline import MEDIAPIPE_FACE, FaceSettings
from tracking.engines.hand_pipeline import MEDIAPIPE_HANDS, HandSettings
from tracking.engines.mediapipe_tasks import FACE_NETWORKS, HAND_NETWORKS, require_bundle
from tracking.face_details import FaceDetails
from tracking.hand_fitting import HandFitting
from tracking.hand_placement import HAND_LENGTH, lies_on_face, place_hand
from tracking.head_pose import HeadFit, fit_head
from tracking.landmark_flow import LandmarkFlow, LandmarkFlowOptions
from tracking.net import FACE_BUNDLE, HAND_BUNDLE
from tracking.neutral_face import NeutralFace
from tracking.one_euro import OneEuro, OneEuroOptions
from tracking.pose_fit import part_inside
from tracking.region import SHAKES
from tracking.subject import Subject
from tracking.user_hand import UserHand
from tracking.visibility import PartsSeen, hand_seen, parts_seen

MOST_FACES = 6
"""That are followed: each costs as much as the first."""
WORST_FACE_ERROR = 0.125
"""Misfit of the average face from which it is no face: people have 0.02-0.08 (0.09 with a wrong
guess of the camera's field of view), a palm that MediaPipe takes for a face has 0.13."""


@dataclass(frozen=True, slots=True)
class TrackerOptions:
    """How to track."""

    engine: str = "litert"
    """What runs the networks: one of `tracking.engine_choice.ENGINES`, or "auto"."""
    faces: int = 1
    """At most this many, 0 to MOST_FACES. The state is of one person, the subject; from 2 on hands
    that a bystander's face is nearer to are left out. 0 or 1 with MediaPipe, which filters no face
    where it may find several."""
    hands: int = 2
    """At most this many hands: 0, 1 or 2."""
    min_detection: float | None = None
    """0..1, of the detector to begin with a face or hand. By default 0.5 with MediaPipe; our own
    pipeline begins with less, because its landmark networks judge what the detectors find."""
    min_presence: float = 0.5
    """0..1, of the landmark model that there is one."""
    looks: int | None = None
    """At each face and hand in a frame, 1 to 5, whose landmarks are averaged: five tremble less by
    a third, without lag, and cost a processor five times as much. By default 5 on CUDA, where they
    are one launch, and 1 elsewhere. 1 with MediaPipe."""
    look_for_hands_every_ms: int = 160
    """Milliseconds between searches while fewer than `hands` are seen (the search costs more than a
    face); a hand that is seen is followed in every frame."""
    hand_filter: OneEuroOptions = field(default_factory=OneEuroOptions)
    """Quiets the joints; the face is filtered by its engine."""
    face_flow: LandmarkFlowOptions | None = field(default_factory=LandmarkFlowOptions)
    """How the face's landmarks are held to the skin by optical flow; None: not at all."""
    hand_fit: bool = True
    """Whether hands are fitted with bones that keep their lengths: the person's own where they were
    measured, else an average adult's. False: they lie on the rays of the picture, of an average
    size, with whatever bones the engine gives them in each frame."""
    own_hands: tuple[UserHand, ...] = ()
    """The person's hands, where they were measured; only with `hand_fit`."""
    neutral: NeutralFace | None = None
    """The person's face at rest, from which expressions are measured; None: the average one's."""
    patience_s: float = 30.0
    """Seconds to wait for an engine before it counts as hung."""
    face_model: Path | None = None
    """Another face bundle than the shipped one."""
    hand_model: Path | None = None
    """Another hand bundle than the shipped one."""

    def __post_init__(self) -> None:
        for name, most in (("faces", MOST_FACES), ("hands", 2)):
            if getattr(self, name) not in range(most + 1):
                raise ValueError(
                    f"TrackerOptions.{name}: expected 0 to {most}, got {getattr(self, name)!r}"
                )
        if self.engine == "mediapipe" and self.faces > 1:
            raise ValueError(
                "TrackerOptions.faces: expected 0 or 1 with mediapipe, which filters no face where "
                f"it may find several, got {self.faces!r}; choose another engine"
            )
        for name in ("min_detection", "min_presence"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise ValueError(f"TrackerOptions.{name}: expected 0 to 1, got {value!r}")
        if self.looks is not None and (
            not 1 <= self.looks <= len(SHAKES) or (self.engine == "mediapipe" and self.looks != 1)
        ):
            raise ValueError(
                f"TrackerOptions.looks: expected 1 to {len(SHAKES)}, 1 with mediapipe, "
                f"got {self.looks!r}"
            )
        if self.look_for_hands_every_ms < 0:
            raise ValueError(
                "TrackerOptions.look_for_hands_every_ms: expected 0 or more, "
                f"got {self.look_for_hands_every_ms!r}"
            )
        if self.own_hands and not self.hand_fit:
            raise ValueError(
                "TrackerOptions.own_hands: expected none without hand_fit, which alone uses them, "
                f"got {len(self.own_hands)}"
            )
        if not self.patience_s > 0:
            raise ValueError(
                f"TrackerOptions.patience_s: expected seconds above 0, got {self.patience_s!r}"
            )


class Tracker(Closing):
    """Tracks one person through the frames of one camera after another.

    `track` uses engines that remember the last frames, so frames go in in their order. A frame of
    another camera (by name), or one that is older than the last, begins anew: nothing found before
    has a say in it. Equal frames from the beginning give equal states. Not for several threads at
    once.
    """

    def __init__(self, options: TrackerOptions) -> None:
        """Use `Tracker.open`."""
        self._options = options
        self.engine = chosen_engine(options.engine)
        """What runs the networks: `TrackerOptions.engine`, or what "auto" came to."""
        self._subject = Subject()
        self._canonical: CanonicalFace | None = None
        self._face_flow: LandmarkFlow | None = None
        self._hand_fitting = HandFitting(options.own_hands)
        self.details = FaceDetails(options.neutral)
        """Of the face; `details.ask_neutral` learns the person's rest."""
        self._closed = False
        self._lanes = lanes_of(self._wanted(), self._subject)
        self._begin()

    @staticmethod
    def open(options: TrackerOptions | None = None) -> Tracker:
        """Load the models (about a second, the first time in a process several).

        Raises ValueError when an option or a model file is bad, RuntimeError or TimeoutError when
        an engine does not open.
        """
        return Tracker(options or TrackerOptions())

    def begin_anew(self) -> None:
        """Forget every frame before, as if just opened: the next one is from somewhere else.

        Raises ValueError when the tracker is closed, RuntimeError or TimeoutError when an engine
        does not open.
        """
        if self._closed:
            raise ValueError("Tracker.begin_anew: expected an open tracker, got a closed one")
        if self._source is not None:
            self._begin()

    def close(self) -> None:
        """End the engines and their threads, within seconds even if they hang. Idempotent."""
        self._closed = True
        self._lanes.close()

    def track(self, frame: Frame) -> TrackedState:
        """What is seen in this frame, in the world of its camera.

        Raises ValueError when it is no Frame, is smaller than 16 x 16 or the tracker is closed;
        TrackingError when an engine fails twice on it (the next frame gets a new engine).
        """
        if self._closed:
            raise ValueError("Tracker.track: expected an open tracker, got a closed one")
        if not isinstance(frame, Frame):
            raise ValueError(f"Tracker.track: expected a Frame, got {type(frame).__name__}")
        if min(frame.camera.size) < SMALLEST_SIDE:
            raise ValueError(
                f"Tracker.track: expected a picture of at least {SMALLEST_SIDE} x {SMALLEST_SIDE} "
                f"pixels, got {frame.camera.size[0]} x {frame.camera.size[1]}"
            )
        self._follow_source(frame)
        picture = engine_picture(frame)
        # Milliseconds that grow with every frame, as MediaPipe demands.
        self._last_ms = max((frame.t_ns - self._first_ns) // 1_000_000, self._last_ms + 1)
        scale = frame.camera.size[0] / picture.shape[1], frame.camera.size[1] / picture.shape[0]

        self._lanes.ask(picture, self._last_ms)
        found_faces = self._lanes.faces()
        found_face = subjects_face(found_faces)
        moved = None
        if self._face_flow is not None:
            moved = self._face_flow.moved(picture, self._last_ms, found_face) * scale
        # All that hangs on faces alone, while the hands' engine is still at work.
        others = self._bystanders(frame.camera, found_faces, scale)
        marks = face = None
        if found_face is not None:
            marks = enlarged_face(found_face, scale)
            seen = parts_seen(picture, found_face.landmarks)
            face = self._face_pose(frame.camera, frame.t_ns, marks, moved, seen)
        if face is None:
            self.details.unseen(frame.t_ns)

        found_hands = self._lanes.hands()
        # Not sooner: it is what the hands' engine reads.
        small = frame.camera.scaled((picture.shape[1], picture.shape[0]))
        self._subject.follow(found_face, others, small)
        found_hands = reachable_hands(found_hands, self._subject)
        hands = self._hand_poses(
            frame,
            tuple(enlarged_hand(hand, scale) for hand in found_hands),
            face.world_from_head if face is not None else None,
            marks.landmarks if marks is not None else None,
        )
        hands = tuple(_as_seen(hand, picture, frame.camera, scale) for hand in hands)
        return TrackedState(frame.t_ns, frame.camera.name, face, hands)

    def _wanted(self) -> Wanted:
        """The engines, whose models are looked through here."""
        o = self._options
        bundles: dict[str, Path] = {}
        if o.faces:
            bundles[FACE_BUNDLE] = o.face_model or asset_path(FACE_BUNDLE)
            require_bundle(bundles[FACE_BUNDLE], FACE_NETWORKS)
            self._canonical = read_canonical_face(bundles[FACE_BUNDLE])
            if o.face_flow is not None:
                self._face_flow = LandmarkFlow(self._canonical.vertices, o.face_flow)
        if o.hands:
            bundles[HAND_BUNDLE] = o.hand_model or asset_path(HAND_BUNDLE)
            require_bundle(bundles[HAND_BUNDLE], HAND_NETWORKS)
        return Wanted(
            self.engine,
            face_settings(self.engine, o) if o.faces else None,
            hand_settings(self.engine, o) if o.hands else None,
            bundles,
            o.patience_s,
        )

    def _begin(self) -> None:
        """New engines and no memory."""
        self._source: str | None = None
        self._first_ns = self._last_ns = 0
        self._last_ms = -1
        self._hands_before: tuple[HandMarks, ...] = ()
        self._filters: dict[str, tuple[OneEuro, OneEuro]] = {}
        self._subject.follow(None)
        self._hand_fitting.forget()
        self.details.forget()
        if self._face_flow is not None:
            self._face_flow.forget()
        try:
            self._lanes.begin()
        except BaseException:
            self.close()
            raise

    def _follow_source(self, frame: Frame) -> None:
        name = frame.camera.name
        if self._source is not None and (name != self._source or frame.t_ns < self._last_ns):
            self._begin()
        if self._source is None:
            self._source, self._first_ns = name, frame.t_ns
        self._last_ns = frame.t_ns

    def _bystanders(
        self, camera: Camera, found: tuple[FaceMarks, ...], scale: tuple[float, float]
    ) -> list[FaceMarks]:
        """Those that are faces: one that is a palm would take the hand from whom it belongs to."""
        return [
            face
            for face in found
            if face.bystander and self._fitted(camera, enlarged_face(face, scale)) is not None
        ]

    def _fitted(self, camera: Camera, marks: FaceMarks) -> HeadFit | None:
        """None for what is no face."""
        if self._canonical is None:
            return None
        try:
            fit = fit_head(camera, marks.landmarks, self._canonical)
        except ValueError:
            return None  # Landmarks on one point or behind the camera are no face.
        return fit if fit.error < WORST_FACE_ERROR else None

    def _face_pose(
        self,
        camera: Camera,
        t_ns: int,
        marks: FaceMarks,
        moved: npt.NDArray[np.float64] | None,
        seen: PartsSeen,
    ) -> FacePose | None:
        fit = self._fitted(camera, marks)
        if fit is None:
            return None
        camera_in_head = (fit.world_from_head.inverse() @ camera.world_from_camera).xyz
        detail = self.details.of(t_ns, fit.landmarks, marks.blendshapes, camera_in_head, seen)
        # MediaPipe keeps its own score to itself. This one says how much of the face is in the
        # picture, how much of it is seen there, and how well a human face explains the landmarks.
        explained = 1.0 - (fit.error / WORST_FACE_ERROR) ** 2
        confidence = explained * part_inside(camera, marks.landmarks) * seen.face
        # The head's pose is the network's own: along outlines flow can follow the room behind.
        landmarks = fit.landmarks if moved is None else fit.landmarks_moved(camera, moved)
        return FacePose(
            detail.blendshapes,
            landmarks,
            detail.gaze,
            fit.world_from_head,
            confidence,
            detail.parts,
        )

    def _hand_poses(
        self,
        frame: Frame,
        found: tuple[HandMarks, ...],
        world_from_head: Rigid | None,
        face: npt.NDArray[np.float32] | None,
    ) -> tuple[HandPose, ...]:
        marks = one_hand_a_side(found, self._hands_before)
        self._hands_before = marks
        # A side that is lost forgets its filter: what comes back is not drawn towards the old.
        self._filters = {
            hand.side: self._filters.get(hand.side, self._new_filters()) for hand in marks
        }
        poses = (
            self._hand_pose(frame, self._calm(hand, frame.t_ns), world_from_head, face)
            for hand in marks
        )
        return tuple(pose for pose in poses if pose is not None)

    def _calm(self, hand: HandMarks, t_ns: int) -> HandMarks:
        in_picture, in_space = self._filters[hand.side]
        landmarks = in_picture.filter(t_ns, hand.landmarks, hand_size(hand))
        shape = in_space.filter(t_ns, hand.shape, HAND_LENGTH)
        return replace(hand, landmarks=landmarks.astype(np.float32), shape=shape.astype(np.float32))

    def _hand_pose(
        self,
        frame: Frame,
        hand: HandMarks,
        world_from_head: Rigid | None,
        face: npt.NDArray[np.float32] | None,
    ) -> HandPose | None:
        if self._options.hand_fit:
            pose = self._hand_fitting.place(frame.camera, hand, frame.t_ns, world_from_head)
        else:
            pose = place_hand(frame.camera, hand, world_from_head)
        if pose is None or face is None or world_from_head is None:
            return pose
        return None if lies_on_face(hand, pose, face, frame.camera, world_from_head) else pose

    def _new_filters(self) -> tuple[OneEuro, OneEuro]:
        return OneEuro(self._options.hand_filter), OneEuro(self._options.hand_filter)


def face_settings(engine: str, options: TrackerOptions) -> FaceSettings:
    """What these options come to for one of the engines."""
    settings = MEDIAPIPE_FACE if engine == "mediapipe" else FaceSettings()
    return replace(
        settings,
        faces=options.faces,
        min_detection=_unless_none(options.min_detection, settings.min_detection),
        min_presence=options.min_presence,
        looks=_looks(engine, options),
    )


def hand_settings(engine: str, options: TrackerOptions) -> HandSettings:
    """As `face_settings`."""
    settings = MEDIAPIPE_HANDS if engine == "mediapipe" else HandSettings()
    return replace(
        settings,
        hands=options.hands,
        min_detection=_unless_none(options.min_detection, settings.min_detection),
        min_presence=options.min_presence,
        search_every_ms=options.look_for_hands_every_ms,
        looks=_looks(engine, options),
    )


def _looks(engine: str, options: TrackerOptions) -> int:
    afforded = len(SHAKES) if engine == "torch" and has_cuda() else 1
    return afforded if options.looks is None else options.looks


def _unless_none(value: float | None, default: float) -> float:
    return default if value is None else value


def _as_seen(
    hand: HandPose, picture: Picture, camera: Camera, scale: tuple[float, float]
) -> HandPose:
    """With the confidence that the picture leaves it."""
    pixels, _ = project(camera, hand.joints)
    seen = hand_seen(picture, (pixels + 0.5) / np.array(scale) - 0.5)
    return replace(hand, confidence=hand.confidence * seen)
