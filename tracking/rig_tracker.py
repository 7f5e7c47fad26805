"""Hands in metres from several calibrated cameras at once.

An engine looks at each camera's picture, finds are put together across the cameras, and their rays
triangulated; a hand whose bones are known is then fitted to them. A fisheye's picture is first
looked at straight ahead; a hand that is known in space is then followed in crops that keep it in
their middle, so that an engine which follows from picture to picture finds it where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from streams.camera import FISHEYES, Camera
from streams.closing import Closing
from streams.frame import SIMULTANEOUS_NS, Frame
from streams.hand_skeleton import joint_angles, joints_from_angles, wrist_frame
from streams.projection import project
from streams.rigid import Rigid
from streams.tracked_state import SIDES, FacePose, HandPose, TrackedState
from tracking.association import hand_size
from tracking.engine import SMALLEST_SIDE, HandEngine, HandMarks, Picture
from tracking.engine_choice import chosen_engine, open_nets
from tracking.engine_picture import unmirrored
from tracking.engine_slot import EngineSlot
from tracking.engines.hand_pipeline import HandPipeline, HandSettings
from tracking.evaluation import similarity
from tracking.hand_fit import HandFit, fit_hand
from tracking.hand_placement import HAND_LENGTH
from tracking.hand_view import HandView
from tracking.one_euro import OneEuro, OneEuroOptions
from tracking.one_view import OneView
from tracking.perspective_crop import CropOptions, crop_around, cut_out, straight_ahead
from tracking.reach import is_of_face, within_reach
from tracking.rig_looks import SAME_PLACE, HandLook, found_hands, view_of
from tracking.triangulation import TriangulationOptions, triangulate
from tracking.user_hand import UserHand
from tracking.view_association import Find, SeenHand, associate

Array = npt.NDArray[np.float64]

THREADS = 1
"""Of a network on a processor: each camera has an engine of its own, and they look at once."""
BEND_LENGTH = 0.04
"""Metres of a finger that a radian of its joints moves: what the filter's speed is counted in."""
FEWEST = 12
"""Landmarks of 21 that must be triangulated for a hand; the others follow from the engine's own 3D
shape."""
FOLLOWED = 0.15
"""Metres: mean distance of the joints from those of a hand before, within which it is followed."""
ONE_VIEW = 0.5
"""Of the confidence of a hand that one camera alone sees, whose distance is a guess."""


@dataclass(frozen=True, slots=True)
class RigTrackerOptions:
    """How to track with a rig."""

    simultaneous_s: float = SIMULTANEOUS_NS / 1e9
    """Seconds by which the frames of one moment may differ from the first one."""
    search_every: int = 5
    """While both hands are followed in a fisheye's crops, its view straight ahead is looked at in
    every n-th moment only; while one is missing, in every."""
    search_size: int = 640
    """Pixels a side of a fisheye's view straight ahead."""
    crop: CropOptions = field(default_factory=CropOptions)
    """Of a hand that is followed."""
    triangulation: TriangulationOptions = field(default_factory=TriangulationOptions)
    hand_filter: OneEuroOptions | None = field(default_factory=OneEuroOptions)
    """Quiets the joints in space; None: not at all."""
    one_view: bool = True
    """Whether a hand that one camera alone sees is told, placed by an average hand's size."""
    patience_s: float = 30.0
    """Seconds to wait for an engine before it counts as hung."""

    def __post_init__(self) -> None:
        if self.search_every < 1:
            raise ValueError(
                f"RigTrackerOptions.search_every: expected 1 or more, got {self.search_every}"
            )
        if not (self.simultaneous_s > 0 and self.patience_s > 0):
            raise ValueError("RigTrackerOptions: expected seconds above 0")


OpenEngine = Callable[[int], HandEngine]
"""Opens an engine that follows at most so many hands."""


def pipeline_hands(hands: int) -> HandEngine:
    """Our own pipeline, which searches in every picture while a hand is missing."""
    nets = open_nets(chosen_engine("auto"), THREADS, {})
    return HandPipeline(nets, HandSettings(hands=hands, search_every_ms=0))


class RigTracker(Closing):
    """Tracks one person's hands through the simultaneous frames of a rig.

    Cameras are told apart by name; any of them may be missing from a moment. Moments go in in their
    order: one that is older than the last begins anew. Not for several threads at once.
    """

    def __init__(
        self,
        options: RigTrackerOptions | None = None,
        open_engine: OpenEngine = pipeline_hands,
        users: Sequence[UserHand] = (),
    ) -> None:
        """Engines are opened when a camera first needs them.

        Of `users`, hands whose bones are known (one or two sides), the skeleton is fitted; other
        hands' joints are the triangulated landmarks, with whatever bones these have.
        """
        self._options = options or RigTrackerOptions()
        self._open_engine = open_engine
        self._users = {user.side: user for user in users}
        self._slots: dict[tuple[str, str], EngineSlot[tuple[HandMarks, ...]]] = {}
        self._asked: _Asked | None = None
        self._closed = False
        self._forget()

    def close(self) -> None:
        """End the engines and their threads. Idempotent."""
        self._closed = True
        self._drop_engines()

    def prepare(self, cameras: Sequence[Camera]) -> None:
        """Open the engines that these cameras need from their first picture on.

        Raises what an engine raises that does not open, or TimeoutError.
        """
        names = [(c.name, "ahead" if c.distortion.model in FISHEYES else "whole") for c in cameras]
        slots = [self._slot(camera, name, 2) for camera, name in names]
        for slot in slots:
            slot.begin()
        for slot in slots:
            slot.wait()

    def begin_anew(self) -> None:
        """Forget every moment before, as if just opened."""
        self._asked = None
        self._drop_engines()
        self._forget()

    def track(self, frames: Sequence[Frame], face: FacePose | None = None) -> TrackedState:
        """The hands at one moment, in the world of the rig. `t_ns` is the first frame's.

        With the person's `face` in the same world, hands out of its reach are other people's and
        left out, and so is what engines take for a hand in the face itself.

        Raises ValueError for no frames, two of one camera, frames of different moments, pictures
        below 16 x 16, or a closed tracker; TrackingError when an engine fails twice (the next
        moment gets a new one).
        """
        self.ask(frames)
        return self.answer(face)

    def ask(self, frames: Sequence[Frame]) -> None:
        """The first half of `track`: the engines begin to look. `answer` must follow."""
        self._require_moment(frames)
        t_ns = frames[0].t_ns
        if self._asked is not None or (self._last_ns is not None and t_ns <= self._last_ns):
            self.begin_anew()
        if self._first_ns is None:
            self._first_ns = t_ns
        self._last_ns = t_ns
        # Milliseconds that grow with every moment, as MediaPipe demands.
        self._last_ms = max((t_ns - self._first_ns) // 1_000_000, self._last_ms + 1)
        try:
            self._asked = _Asked(t_ns, "+".join(f.camera.name for f in frames), self._look(frames))
        except BaseException:
            self.begin_anew()  # Some engines were asked, and would be asked again.
            raise

    def answer(self, face: FacePose | None = None) -> TrackedState:
        """The second half: what they saw. Raises as `track`, and ValueError without an `ask`."""
        asked, self._asked = self._asked, None
        if asked is None:
            raise ValueError("RigTracker.answer: expected frames to be asked of first")
        finds = found_hands(asked.looks)
        hands, left_over = associate(
            finds, self._joints, lambda joints: self._may_be_own(face, joints)
        )
        poses: dict[str, HandPose | None] = {}
        for hand in hands:
            pose = self._hand_pose(hand)
            of_face = pose is not None and is_of_face(face, pose, hand.finds)
            poses[hand.side] = None if of_face else pose
            if pose is not None and not of_face:
                self._one_view.measured(asked.t_ns, hand.side, hand.finds, pose.joints)
        if self._options.one_view:
            for find in sorted(left_over, key=lambda each: -each.marks.score):
                if poses.get(find.marks.side) is None and not self._is_known(find, poses):
                    poses[find.marks.side] = self._one_view_pose(asked.t_ns, find, face)
        self._fits = {side: fit for side, fit in self._fits.items() if poses.get(side) is not None}
        found = {side: pose for side in SIDES if (pose := poses.get(side)) is not None}
        self._joints = {s: np.asarray(pose.joints, np.float64) for s, pose in found.items()}
        self._one_view.keep(found)
        calm = tuple(self._calm(pose, asked.t_ns) for pose in found.values())
        self._filters = {pose.side: self._filters[pose.side] for pose in calm}
        return TrackedState(asked.t_ns, asked.source, None, calm)

    def _require_moment(self, frames: Sequence[Frame]) -> None:
        if self._closed:
            raise ValueError("RigTracker.track: expected an open tracker, got a closed one")
        if not frames:
            raise ValueError("RigTracker.track: expected the frames of one moment, got none")
        names = [frame.camera.name for frame in frames]
        if len(set(names)) != len(names):
            raise ValueError(f"RigTracker.track: expected one frame a camera, got {names}")
        apart_ns = max(abs(frame.t_ns - frames[0].t_ns) for frame in frames)
        if apart_ns > self._options.simultaneous_s * 1e9:
            raise ValueError(
                f"RigTracker.track: expected frames of one moment (within "
                f"{self._options.simultaneous_s * 1e3:g} ms), got {apart_ns / 1e6:g} ms between "
                "them; are the cameras in step?"
            )
        for frame in frames:
            if min(frame.camera.size) < SMALLEST_SIDE:
                raise ValueError(
                    f"RigTracker.track: expected pictures of at least {SMALLEST_SIDE} x "
                    f"{SMALLEST_SIDE}, got {frame.camera.size[0]} x {frame.camera.size[1]} of "
                    f"{frame.camera.name!r}"
                )

    def _forget(self) -> None:
        self._first_ns: int | None = None
        self._last_ns: int | None = None
        self._last_ms = -1
        self._since_search = 0
        self._joints: dict[str, Array] = {}
        self._filters: dict[str, OneEuro | None] = {}
        self._fits: dict[str, HandFit] = {}
        self._one_view = OneView()

    def _drop_engines(self) -> None:
        for slot in self._slots.values():
            slot.close()
        self._slots = {}

    def _look(self, frames: Sequence[Frame]) -> list[HandLook]:
        """Every camera's engines look at once."""
        search = self._since_search % self._options.search_every == 0 or len(self._joints) == 1
        self._since_search = 1 if search else self._since_search + 1
        looks: list[HandLook] = []
        for view, frame in enumerate(frames):
            for name, hands, camera, picture in self._pictures(frame, search):
                slot = self._slot(frame.camera.name, name, hands)
                slot.ask(picture, self._last_ms)
                looks.append(HandLook(view, frame.camera.name, camera, slot))
        return looks

    def _may_be_own(self, face: FacePose | None, joints: Array) -> bool:
        """Whether the hand is within the person's reach, or was followed and is hardly beyond."""
        near = (
            float(np.nanmean(np.linalg.norm(joints - before, axis=-1))) < FOLLOWED
            for before in self._joints.values()
        )
        return within_reach(face, joints, followed=any(near))

    def _pictures(self, frame: Frame, search: bool) -> list[tuple[str, int, Camera, Picture]]:
        """What to look at: engine's name, how many hands it may find, whose pixels, pixels."""
        rgb = unmirrored(frame)
        camera = frame.camera
        if camera.distortion.model not in FISHEYES:
            return [("whole", 2, camera, rgb)]
        looks: list[tuple[str, int, Camera, Picture]] = []
        for side, joints in self._joints.items():
            crop = crop_around(camera, joints, self._options.crop)
            if crop is not None:
                looks.append((side, 1, crop, cut_out(rgb, camera, crop)))
        if search or not looks:
            wide = straight_ahead(camera, CropOptions(size=self._options.search_size))
            looks.append(("ahead", 2, wide, cut_out(rgb, camera, wide)))
        return looks

    def _slot(self, camera: str, name: str, hands: int) -> EngineSlot[tuple[HandMarks, ...]]:
        slot = self._slots.get((camera, name))
        if slot is None:
            slot = EngineSlot(
                f"tracking-{camera}-{name}",
                lambda: self._open_engine(hands),
                self._options.patience_s,
            )
            self._slots[camera, name] = slot
        return slot

    def _hand_pose(self, hand: SeenHand) -> HandPose | None:
        views = [view_of(find) for find in hand.finds]
        found = triangulate(views, self._options.triangulation)
        joints = found.points
        sound = np.asarray(np.isfinite(joints).all(-1), np.bool_)
        if sound.sum() < FEWEST:
            return None
        if not sound.all():
            joints = _completed(joints, sound, hand.finds)
        confidence = float(np.mean(found.confidence)) * float(
            np.mean([find.marks.score for find in hand.finds])
        )
        confidence = min(max(confidence, 0.0), 1.0)
        fit = self._fitted(hand.side, views)
        if fit is not None:
            return fit.pose(confidence)
        return _pose_of(hand.side, joints, confidence)

    def _one_view_pose(self, t_ns: int, find: Find, face: FacePose | None) -> HandPose | None:
        pose = self._one_view.place(t_ns, find, None)
        if pose is None or not self._may_be_own(face, np.asarray(pose.joints, np.float64)):
            return None
        if face is not None:
            pose = self._one_view.place(t_ns, find, face.world_from_head)
        if pose is None or is_of_face(face, pose, [find]):
            return None
        fit = self._fitted(find.marks.side, [view_of(find)])
        if fit is not None:
            return fit.pose(pose.confidence * ONE_VIEW)
        return replace(pose, confidence=pose.confidence * ONE_VIEW)

    def _fitted(self, side: str, views: list[HandView]) -> HandFit | None:
        """None for a hand whose bones are not known, and for landmarks that are no hand."""
        start = self._fits.pop(side, None)
        if side not in self._users:
            return None
        try:
            self._fits[side] = fit_hand(views, self._users[side], start)
        except (ValueError, np.linalg.LinAlgError):
            return None
        return self._fits[side]

    def _is_known(self, find: Find, poses: dict[str, HandPose | None]) -> bool:
        """Whether the find lies over a hand that is placed already: then it is that one, badly
        seen."""
        size = hand_size(find.marks)
        for pose in poses.values():
            if pose is not None:
                there, _ = project(find.camera, pose.joints)
                apart = there.mean(0) - find.marks.landmarks.mean(0)
                if float(np.linalg.norm(apart)) < SAME_PLACE * size:
                    return True
        return False

    def _calm(self, pose: HandPose, t_ns: int) -> HandPose:
        options = self._options.hand_filter
        if options is None:
            self._filters[pose.side] = None
            return pose
        kept = self._filters.get(pose.side) or OneEuro(options)
        self._filters[pose.side] = kept
        fit = self._fits.get(pose.side)
        if fit is None:
            joints = kept.filter(t_ns, pose.joints, HAND_LENGTH)
            return _pose_of(pose.side, joints, pose.confidence) or pose
        # Bones keep their lengths: what is quieted is how the hand lies and bends.
        bends = np.column_stack([fit.angles, fit.sideways]) * BEND_LENGTH
        turn = fit.world_from_wrist.rotation() * HAND_LENGTH
        parts = np.concatenate([fit.world_from_wrist.xyz[None], turn, bends.reshape(-1, 3)])
        parts = kept.filter(t_ns, parts, HAND_LENGTH)
        u, _, vt = np.linalg.svd(parts[1:4])
        world_from_wrist = Rigid.from_rotation(u @ vt, parts[0])
        bends = parts[4:].reshape(5, 6) / BEND_LENGTH
        angles, sideways = bends[:, :4], bends[:, 4:]
        shape = self._users[pose.side].shape
        joints = joints_from_angles(angles, shape, world_from_wrist, sideways)
        return replace(
            pose,
            joints=joints,
            world_from_wrist=world_from_wrist,
            angles=angles.astype(np.float32),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A moment whose answers are to come."""

    t_ns: int
    source: str
    looks: list[HandLook]


def _completed(joints: Array, sound: npt.NDArray[np.bool_], finds: tuple[Find, ...]) -> Array:
    """Landmarks that no two views agree on, from the surest engine's own shape of the hand laid
    over the others."""
    best = max(finds, key=lambda find: find.marks.score)
    shape = best.marks.shape.astype(np.float64)
    laid = similarity(shape[sound], joints[sound], shape)
    return np.where(sound[:, None], joints, laid)


def _pose_of(side: str, joints: Array, confidence: float) -> HandPose | None:
    """None for points that are no hand (all on a line)."""
    world = np.ascontiguousarray(joints, np.float32)
    try:
        return HandPose(
            side, world, wrist_frame(world, side), joint_angles(world, side), confidence
        )
    except ValueError:
        return None
