"""What the synthetic person does, as exact truth over time: face, gaze, head and hands.

A performance is a pure function of time. Its seed only varies what varies between two takes of the
same scene (sway, the small differences between blinks). Transitions follow minimum-jerk curves
(Flash & Hogan 1985), as people's movements do; lids close fast and open slowly.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from capture.hand_shapes import HAND_SHAPES
from capture.speech import Speech, weights_of
from streams.adult_hand import adult_hand
from streams.face_shapes import FACE_SHAPES, SHAPE_INDEX
from streams.hand_skeleton import joints_from_angles
from streams.rigid import Rigid
from streams.tracked_state import FacePose, HandPose, TrackedState

Array = npt.NDArray[np.float64]

HEAD_AT = (0.0, 0.02, -0.54)
"""Where the eyes' middle rests in the world, metres: a laptop's user."""
HEAD_FROM_NECK = (0.0, -0.11, -0.075)
"""The joint that the head turns about, in the head frame."""
LID_CLOSE_S, LID_HOLD_S, LID_OPEN_S = 0.075, 0.035, 0.19
LOOK_FULL = np.deg2rad(30.0)
"""The gaze angle at which an eyeLook shape reaches 1."""
EYES_AT = ((0.0315, 0.0, 0.0), (-0.0315, 0.0, 0.0))
"""Eye balls' centres in the head frame, left first."""
LANDMARKS_UNKNOWN = np.zeros((478, 3), np.float32)

_BLINK = [SHAPE_INDEX["eyeBlinkLeft"], SHAPE_INDEX["eyeBlinkRight"]]
_LOOK = {
    name: [SHAPE_INDEX[f"eyeLook{name}{side}"] for side in ("Left", "Right")]
    for name in ("In", "Out", "Up", "Down")
}


@dataclass(frozen=True, slots=True)
class Expression:
    """A face made for a while: weights rise from `start_s`, are full until `hold_s` later, fall."""

    start_s: float
    hold_s: float
    shapes: dict[str, float]
    rise_s: float = 0.35
    fall_s: float = 0.5

    def strength(self, t_s: float) -> float:
        """0..1 at `t_s`."""
        into, left = t_s - self.start_s, self.start_s + self.rise_s + self.hold_s - t_s
        return ease(into / self.rise_s) if left > 0 else ease(1.0 + left / self.fall_s)


@dataclass(frozen=True, slots=True)
class HandKey:
    """Where a hand is and what it shows from `t_s` on; it takes `move_s` to get there."""

    t_s: float
    shape: str | None
    """A name of HAND_SHAPES, or None: the hand goes down, out of the picture."""
    xyz: tuple[float, float, float] = (0.165, -0.15, -0.47)
    """Wrist, metres in the world, for a left hand; a right hand's x is the negative."""
    turn_deg: tuple[float, float, float] = (0.0, 0.0, 8.0)
    """Rotation vector from "palm to the camera, fingers up", for a left hand."""
    move_s: float = 0.4


HAND_DOWN_AT = (0.24, -0.52, -0.50)


@dataclass(frozen=True, slots=True)
class Performance:
    """A scene of `duration_s` seconds; before and after it the person keeps still."""

    name: str
    duration_s: float
    speech: tuple[Speech, ...] = ()
    expressions: tuple[Expression, ...] = ()
    blinks_s: tuple[float, ...] = ()
    head_deg: tuple[tuple[float, float, float, float], ...] = ()
    """(time, yaw to the person's left, pitch up, roll to the person's left) in s and degrees."""
    gaze_deg: tuple[tuple[float, float, float], ...] = ()
    """(time, yaw to the person's left, pitch up) off the camera's direction; jumps, as eyes do."""
    left: tuple[HandKey, ...] = ()
    right: tuple[HandKey, ...] = ()
    away_s: tuple[tuple[float, float], ...] = ()
    """Times (from, to) when nobody is there."""
    sway: float = 1.0
    """How much the head moves by itself; 0 = not at all."""
    seed: int = 0
    source: str = field(default="synthetic")

    def state_at(self, t_ns: int) -> TrackedState:
        """The truth at `t_ns` since the scene's start.

        `FacePose.landmarks` are zeros: where MediaPipe's points lie depends on the face that is
        drawn, which a performance does not know.
        """
        t_s = t_ns / 1e9
        if any(start <= t_s < end for start, end in self.away_s):
            return TrackedState(t_ns, self.source)
        world_from_head = self._head(t_s)
        gaze = self._gaze(t_s, world_from_head)
        face = FacePose(
            self._weights(t_s, gaze), LANDMARKS_UNKNOWN, gaze.astype(np.float32),
            world_from_head, 1.0,
        )  # fmt: skip
        hands = [_hand(self.left, "left", t_s), _hand(self.right, "right", t_s)]
        return TrackedState(t_ns, self.source, face, tuple(h for h in hands if h is not None))

    def _head(self, t_s: float) -> Rigid:
        yaw, pitch, roll = np.deg2rad(_between(self.head_deg, t_s, 0.45, 3))
        phase = _sway_phases(self.seed)
        # Slow sway with whole numbers of periods in ten seconds, so that the scene can loop.
        w = 2 * np.pi * t_s / 10.0
        sway = self.sway * np.array(
            [np.sin(a * w + p) for a, p in zip((1, 2, 3, 2, 1, 4), phase, strict=True)]
        )
        rotation = (
            Rigid.from_rotvec([0.0, yaw + 0.02 * sway[0], 0.0])
            @ Rigid.from_rotvec([-pitch + 0.012 * sway[1], 0.0, 0.0])
            @ Rigid.from_rotvec([0.0, 0.0, -roll + 0.01 * sway[2]])
        )
        neck = np.array(HEAD_FROM_NECK)
        drift = np.array(HEAD_AT) + sway[3:6] * np.array([0.004, 0.002, 0.004])
        return Rigid(rotation.wxyz, drift + neck - rotation.rotate(neck))

    def _gaze(self, t_s: float, world_from_head: Rigid) -> Array:
        """(2, 3) unit vectors in the head frame: towards the camera, plus what the scene says."""
        yaw, pitch = np.deg2rad(_between(self.gaze_deg, t_s, 0.04, 2))
        turn = Rigid.from_rotvec([0.0, yaw, 0.0]) @ Rigid.from_rotvec([-pitch, 0.0, 0.0])
        to_camera = -world_from_head.apply(np.array(EYES_AT))
        gaze = np.asarray(world_from_head.inverse().rotate(turn.rotate(to_camera)), np.float64)
        return gaze / np.linalg.norm(gaze, axis=-1, keepdims=True)

    def _weights(self, t_s: float, gaze: Array) -> npt.NDArray[np.float32]:
        weights = np.zeros(len(FACE_SHAPES))
        for one in self.expressions:
            strength = one.strength(t_s)
            if strength > 0.0:
                weights = np.maximum(weights, strength * weights_of(one.shapes))
        for one in self.speech:
            said = one.weights(t_s)
            # A smile gives way to the lips' work, it does not add to it.
            weights = np.maximum(weights * (1.0 - 0.3 * min(1.0, said.sum())), said)
        _look(weights, gaze)
        closed = max((_lid(t_s - at) for at in self.blinks_s), default=0.0)
        weights[_BLINK] = np.maximum(weights[_BLINK], closed)
        return np.clip(weights, 0.0, 1.0).astype(np.float32)


@functools.lru_cache(maxsize=64)
def _sway_phases(seed: int) -> tuple[float, ...]:
    """Six, radians."""
    return tuple(np.random.default_rng(seed).uniform(0, 2 * np.pi, 6).tolist())


def ease(x: float) -> float:
    """Minimum-jerk step from 0 to 1 as `x` goes from 0 to 1."""
    x = min(max(x, 0.0), 1.0)
    return x * x * x * (10.0 + x * (6.0 * x - 15.0))


def _lid(into_s: float) -> float:
    """How closed a blinking lid is, so long after the blink began."""
    if into_s < LID_CLOSE_S + LID_HOLD_S:
        return ease(into_s / LID_CLOSE_S)
    return 1.0 - ease((into_s - LID_CLOSE_S - LID_HOLD_S) / LID_OPEN_S)


def _look(weights: Array, gaze: Array) -> None:
    """Set the eyeLook shapes, and the lids that follow a lowered gaze, in place."""
    yaw = np.arctan2(gaze[:, 0], gaze[:, 2])
    pitch = np.arctan2(gaze[:, 1], np.hypot(gaze[:, 0], gaze[:, 2]))
    # The left eye (row 0) looks out when it looks to the left, the right eye then looks in.
    out = yaw * np.array([1.0, -1.0]) / LOOK_FULL
    weights[_LOOK["Out"]], weights[_LOOK["In"]] = np.clip(out, 0, 1), np.clip(-out, 0, 1)
    weights[_LOOK["Up"]] = np.clip(pitch / LOOK_FULL, 0, 1)
    down = np.clip(-pitch / LOOK_FULL, 0, 1)
    weights[_LOOK["Down"]] = down
    weights[_BLINK] = np.maximum(weights[_BLINK], 0.35 * down)


def _between(keys: tuple[tuple[float, ...], ...], t_s: float, move_s: float, width: int) -> Array:
    """The keys' values at `t_s`: each is reached `move_s` after its time and held."""
    value = np.zeros(width)
    for at_s, *target in keys:
        if t_s <= at_s:
            break
        value = value + (np.array(target) - value) * ease((t_s - at_s) / move_s)
    return value


def _hand(keys: tuple[HandKey, ...], side: str, t_s: float) -> HandPose | None:
    """The hand at `t_s`; None while it is down."""
    angles, xyz = HAND_SHAPES["relaxed"], np.array(HAND_DOWN_AT)
    turn, up = np.zeros(3), 0.0
    for key in keys:
        if t_s <= key.t_s:
            break
        x = ease((t_s - key.t_s) / key.move_s)
        target = HAND_DOWN_AT if key.shape is None else key.xyz
        # Fingers are in shape before the arm has arrived.
        finger = ease((t_s - key.t_s) / (0.7 * key.move_s))
        angles = angles + (HAND_SHAPES[key.shape or "relaxed"] - angles) * finger
        xyz = xyz + (np.array(target) - xyz) * x
        turn = turn + (np.array(key.turn_deg) - turn) * x
        up = up + ((0.0 if key.shape is None else 1.0) - up) * x
    if up < 1e-3:
        return None
    world_from_wrist = _palm_to_camera(side, xyz, turn)
    joints = joints_from_angles(angles, adult_hand(side), world_from_wrist)
    return HandPose(side, joints, world_from_wrist, angles.astype(np.float32), 1.0)


def _palm_to_camera(side: str, xyz: Array, turn_deg: Array) -> Rigid:
    """Fingers up and the palm to a webcam's -z view; turned and placed, mirrored for the right."""
    mirror = np.array([1.0, 1.0, 1.0]) if side == "left" else np.array([-1.0, 1.0, 1.0])
    # A mirror in x keeps the x part of a rotation vector and negates the other two.
    turn = np.deg2rad(turn_deg) * mirror * (1.0 if side == "left" else -1.0)
    upright = Rigid.from_rotation([[-1, 0, 0], [0, 0, -1], [0, -1, 0]])
    return Rigid((Rigid.from_rotvec(turn) @ upright).wxyz, xyz * mirror)
