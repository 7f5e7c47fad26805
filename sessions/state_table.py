"""Tracked states and codes as the rows of a table.

A row is a moment: the state of one source and, where there is one of the same time, the code that
was made of it. What is not seen, or was not recorded, is None. Names, units and frames of the
columns are this module's contract; docs/session_formats.md lists them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from streams.avatar_code import AvatarCode
from streams.face_shapes import FACE_SHAPES, UNTRACKED_SHAPES
from streams.hand_skeleton import FINGERS
from streams.rigid import Rigid
from streams.tracked_state import SIDES, HandPose, PartConfidence, TrackedState

INT64, FLOAT32, FLOAT64, TEXT = "int64", "float32", "float64", "text"

Value = int | float | str | None
Moment = tuple[TrackedState | None, AvatarCode | None]
"""What a row is made of; at least one of the two is there."""

THUMB_JOINTS = ("cmc", "mcp", "ip", "tip")
FINGER_JOINT_NAMES = ("mcp", "pip", "dip", "tip")
HAND_JOINTS: tuple[str, ...] = (
    "wrist",
    *(f"thumb_{joint}" for joint in THUMB_JOINTS),
    *(f"{finger}_{joint}" for finger in FINGERS[1:] for joint in FINGER_JOINT_NAMES),
)
"""MediaPipe's 21 joints in its order, as columns call them."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    name: str
    kind: str
    """"int64", "float32", "float64" or "text"."""
    unit: str
    """"ns", "s", "m", "rad", or "" for a number without one."""
    meaning: str
    """A phrase, with the frame of what has one."""


@dataclass(frozen=True, slots=True)
class StateTable:
    """Which columns there are, and what stands in them."""

    geometry: int = 0
    """How many geometry numbers the codes have; 0 where none was recorded."""
    appearance: int = 0
    """How many appearance numbers they have."""
    landmarks: bool = False
    """Also 478 x 3 columns of the face's landmarks."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """From left to right."""
        world, head = "world frame", "head frame"
        out = [
            Column("t_ns", INT64, "ns", "monotonic time of the observation"),
            Column("time_s", FLOAT64, "s", "the same since the first row"),
            Column("source", TEXT, "", "camera or headset that was tracked"),
            Column("face_confidence", FLOAT32, "", "0 to 1"),
            Column("left_gaze_confidence", FLOAT32, "", "0 to 1"),
            Column("right_gaze_confidence", FLOAT32, "", "0 to 1"),
            Column("mouth_confidence", FLOAT32, "", "0 to 1"),
            *_pose_columns("head", f"the middle between the eye balls, {world}"),
        ]
        for side in SIDES:
            meaning = f"unit vector of the {side} eye's gaze, {head}"
            out += [Column(f"{side}_gaze_{axis}", FLOAT32, "", meaning) for axis in "xyz"]
        out += [Column(name, FLOAT32, "", _shape_meaning(name)) for name in FACE_SHAPES]
        for side in SIDES:
            out += _hand_columns(side)
        if self.geometry or self.appearance:
            out.append(Column("avatar", TEXT, "", "whose decoder the code is for"))
            out.append(Column("code_origin", TEXT, "", '"encoded" or "driven"'))
            for name, count in (("geometry", self.geometry), ("appearance", self.appearance)):
                meaning = f"the code's {name}, about N(0, 1)"
                out += [Column(f"{name}_{k:03d}", FLOAT32, "", meaning) for k in range(count)]
        if self.landmarks:
            out += [
                Column(f"landmark_{k:03d}_{axis}_m", FLOAT32, "m", f"MediaPipe's landmark, {head}")
                for k in range(478)
                for axis in "xyz"
            ]
        return tuple(out)

    @staticmethod
    def of(code: AvatarCode | None, landmarks: bool = False) -> StateTable:
        """The table of a session whose codes are as long as `code`."""
        if code is None:
            return StateTable(landmarks=landmarks)
        return StateTable(len(code.geometry), len(code.appearance), landmarks)

    def rows(self, moments: Iterable[Moment]) -> Iterator[list[Value]]:
        """A list as long as `columns` for each moment.

        Head, gaze and hands are the state's, and the code's own where there is no state.
        Raises ValueError for a code of another length, and for a moment without state and code.
        """
        first_ns: int | None = None
        for state, code in moments:
            seen = state if state is not None else code
            if seen is None:
                raise ValueError("StateTable.rows: expected a state or a code, got neither")
            first_ns = seen.t_ns if first_ns is None else first_ns
            row: list[Value] = [seen.t_ns, (seen.t_ns - first_ns) / 1e9]
            row += self._of_face(state, code)
            for side in SIDES:
                row += _of_hand(next((hand for hand in seen.hands if hand.side == side), None))
            row += self._of_code(code)
            if self.landmarks:
                face = None if state is None else state.face
                row += [None] * (478 * 3) if face is None else face.landmarks.ravel().tolist()
            yield row

    def _of_face(self, state: TrackedState | None, code: AvatarCode | None) -> list[Value]:
        if state is None:
            pose = None if code is None else code.world_from_head
            gaze = None if code is None or pose is None else code.gaze
            return [None] * 5 + [*_of_pose(pose), *_numbers(gaze, 6), *[None] * len(FACE_SHAPES)]
        face = state.face
        if face is None:
            return [state.source, *[None] * (4 + 7 + 6 + len(FACE_SHAPES))]
        return [
            state.source, float(face.confidence), *_of_parts(face.parts),
            *_of_pose(face.world_from_head),
            *face.gaze.ravel().tolist(), *face.blendshapes.tolist(),
        ]  # fmt: skip

    def _of_code(self, code: AvatarCode | None) -> list[Value]:
        size = self.geometry + self.appearance
        if code is None:
            return [None] * (size + 2) if size else []
        got = len(code.geometry), len(code.appearance)
        if got != (self.geometry, self.appearance):
            raise ValueError(
                f"StateTable.rows: expected codes of {self.geometry} geometry and "
                f"{self.appearance} appearance numbers as the first one has, got {got[0]} and "
                f"{got[1]}; a table holds the codes of one avatar"
            )
        numbers = np.concatenate([code.geometry, code.appearance]).tolist()
        return [code.avatar, code.origin, *numbers] if size else []


def _shape_meaning(name: str) -> str:
    unseen = "; not seen by cameras, 0" if name in UNTRACKED_SHAPES else ""
    return f"ARKit blend shape, 0 to 1{unseen}"


def moments_of(records: Iterable[TrackedState | AvatarCode]) -> Iterator[Moment]:
    """Pair states and codes, which come in the order of their times.

    Of one time, the first code goes with the first state and so on; what is over stands alone.
    """
    states: list[TrackedState] = []
    codes: list[AvatarCode] = []
    t_ns: int | None = None
    for record in records:
        if record.t_ns != t_ns:
            yield from _paired(states, codes)
            states, codes, t_ns = [], [], record.t_ns
        if isinstance(record, TrackedState):
            states.append(record)
        else:
            codes.append(record)
    yield from _paired(states, codes)


def _paired(states: list[TrackedState], codes: list[AvatarCode]) -> Iterator[Moment]:
    for k in range(max(len(states), len(codes))):
        yield states[k] if k < len(states) else None, codes[k] if k < len(codes) else None


def _pose_columns(what: str, meaning: str) -> list[Column]:
    places = [Column(f"{what}_{axis}_m", FLOAT64, "m", meaning) for axis in "xyz"]
    turn = f"unit quaternion, {what} to world frame"
    return [*places, *(Column(f"{what}_q{axis}", FLOAT64, "", turn) for axis in "wxyz")]


def _hand_columns(side: str) -> list[Column]:
    out = [
        Column(f"{side}_hand_confidence", FLOAT32, "", "0 to 1"),
        *_pose_columns(f"{side}_wrist", "world frame"),
    ]
    for joint in HAND_JOINTS[1:]:
        out += [Column(f"{side}_{joint}_{axis}_m", FLOAT32, "m", "world frame") for axis in "xyz"]
    for finger in FINGERS:
        names = THUMB_JOINTS if finger == "thumb" else FINGER_JOINT_NAMES
        spread = "away from the middle finger at the base joint"
        out.append(Column(f"{side}_{finger}_spread_rad", FLOAT32, "rad", spread))
        out += [
            Column(f"{side}_{finger}_{name}_flexion_rad", FLOAT32, "rad", "0 is straight")
            for name in names[:3]
        ]
    return out


def _of_hand(hand: HandPose | None) -> list[Value]:
    if hand is None:
        return [None] * (1 + 7 + 20 * 3 + 5 * 4)
    return [
        float(hand.confidence), *_of_pose(hand.world_from_wrist),
        *hand.joints[1:].ravel().tolist(), *hand.angles.ravel().tolist(),
    ]  # fmt: skip


def _of_parts(parts: PartConfidence | None) -> list[Value]:
    return [None] * 3 if parts is None else [parts.left_gaze, parts.right_gaze, parts.mouth]


def _of_pose(pose: Rigid | None) -> list[Value]:
    return [None] * 7 if pose is None else [*pose.xyz.tolist(), *pose.wxyz.tolist()]


def _numbers(values: np.ndarray | None, count: int) -> list[Value]:
    return [None] * count if values is None else values.ravel().tolist()
