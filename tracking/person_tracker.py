"""One person before several calibrated cameras: the face of the first, the hands of all.

`Tracker` follows the face in the first camera's pictures, `RigTracker` the hands in everybody's,
both in the world of the rig. How far the head is, `HeadMeasuring` learns from all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from assets.manifest import asset_path
from streams.camera import Camera
from streams.closing import Closing
from streams.frame import Frame
from streams.projection import project
from streams.tracked_state import HandPose, TrackedState
from tracking.engine import FaceEngine, HandEngine, Picture
from tracking.engine_lanes import Wanted, open_face_engine, open_hand_engine
from tracking.engine_picture import unmirrored
from tracking.engines.mediapipe_tasks import HAND_NETWORKS, require_bundle
from tracking.face_details import FaceDetails
from tracking.head_measuring import HeadMeasuring
from tracking.net import FACE_BUNDLE, HAND_BUNDLE
from tracking.rig_tracker import RigTracker, RigTrackerOptions
from tracking.subject import Subject
from tracking.tracker import Tracker, TrackerOptions, face_settings, hand_settings
from tracking.visibility import hand_seen


class PersonTracker(Closing):
    """Tracks one person through moments of a rig (`Frame.beside`), as `Tracker` does through the
    frames of one camera: in their order, and equal moments from the beginning give equal states.
    Cameras may be missing from a moment. Not for several threads at once.
    """

    def __init__(self, options: TrackerOptions) -> None:
        """Use `PersonTracker.open`."""
        self._options = options
        self._hand_model = options.hand_model or asset_path(HAND_BUNDLE)
        require_bundle(self._hand_model, HAND_NETWORKS)
        self._cameras: tuple[Camera, ...] = ()
        self._hands = RigTracker(
            RigTrackerOptions(hand_filter=options.hand_filter, patience_s=options.patience_s),
            self._open_engine,
            options.own_hands,
        )
        self._head = HeadMeasuring(self._open_face_engine, options.patience_s)
        self._face = Tracker.open(replace(options, hands=0))
        self.engine = self._face.engine
        """What runs the networks, as `Tracker.engine`."""

    @staticmethod
    def open(
        options: TrackerOptions | None = None, cameras: Sequence[Camera] = ()
    ) -> PersonTracker:
        """Load the models, for these cameras at once; others' are loaded with their first picture.

        `TrackerOptions.hands` is of each camera's picture. Raises ValueError when an option or a
        model file is bad, RuntimeError or TimeoutError when an engine does not open.
        """
        options = options or TrackerOptions()
        if not options.faces or not options.hands:
            raise ValueError(
                "PersonTracker.open: expected a face and hands to track, got "
                f"{options.faces} and {options.hands}; for one of them take Tracker or RigTracker"
            )
        tracker = PersonTracker(options)
        try:
            tracker._prepare(cameras)
        except BaseException:
            tracker.close()
            raise
        return tracker

    @property
    def details(self) -> FaceDetails:
        """Of the face, as `Tracker.details`."""
        return self._face.details

    def begin_anew(self) -> None:
        """Forget every moment before. Raises as `Tracker.begin_anew`."""
        self._face.begin_anew()
        self._head.begin_anew()
        self._hands.begin_anew()
        self._prepare(self._cameras)

    def close(self) -> None:
        """End the engines and their threads. Idempotent."""
        self._face.close()
        self._head.close()
        self._hands.close()

    def track(self, frame: Frame) -> TrackedState:
        """What is seen in this frame and those beside it, in the rig's world. `source` is the
        frame's own camera.

        Raises as `Tracker.track` and `RigTracker.track`.
        """
        if not isinstance(frame, Frame):
            raise ValueError(f"PersonTracker.track: expected a Frame, got {type(frame).__name__}")
        frames = (frame, *frame.beside)
        self._hands.ask(frames)
        try:
            self._head.ask(frames)
            state = self._face.track(frame)  # while the others' engines are at work
            face = self._head.answer(state.face)
        except BaseException:
            self._hands.begin_anew()
            raise
        hands = self._hands.answer(face).hands
        if hands:
            pictures = [unmirrored(each) for each in frames]
            hands = tuple(_as_seen(hand, frames, pictures) for hand in hands)
        return replace(state, face=face, hands=hands)

    def _prepare(self, cameras: Sequence[Camera]) -> None:
        self._cameras = tuple(cameras)
        self._hands.prepare(self._cameras)
        self._head.prepare(self._cameras)

    def _open_face_engine(self) -> FaceEngine:
        # Whose face it is, rays tell, so a bystander's must not keep it from being found; moments
        # apart, a filter would only drag.
        settings = face_settings(self.engine, self._options)
        if self.engine != "mediapipe":
            settings = replace(settings, faces=max(settings.faces, 2), filter=None, looks=1)
        bundles = {FACE_BUNDLE: self._options.face_model or asset_path(FACE_BUNDLE)}
        wanted = Wanted(self.engine, settings, None, bundles, self._options.patience_s)
        return open_face_engine(wanted)

    def _open_engine(self, hands: int) -> HandEngine:
        # Whose hands these are is decided in space, where all cameras' finds come together.
        options = replace(self._options, hands=min(hands, self._options.hands))
        settings, bundles = hand_settings(self.engine, options), {HAND_BUNDLE: self._hand_model}
        wanted = Wanted(self.engine, None, settings, bundles, options.patience_s)
        return open_hand_engine(wanted, Subject())


def _as_seen(hand: HandPose, frames: Sequence[Frame], pictures: Sequence[Picture]) -> HandPose:
    """With the confidence that the picture leaves it that shows it best."""
    seen = 0.0
    for frame, picture in zip(frames, pictures, strict=True):
        pixels, _ = project(frame.camera, hand.joints)
        if np.isfinite(pixels).all():
            seen = max(seen, hand_seen(picture, pixels))
    return replace(hand, confidence=hand.confidence * seen)
