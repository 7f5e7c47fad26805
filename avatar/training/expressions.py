"""Which faces the synthetic dome shows: seeded samples of what faces do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avatar.eye_balls import gaze_from_angles
from streams.face_shapes import FACE_SHAPES, SHAPE_INDEX

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

LOOK_FULL = np.deg2rad(30.0)
"""The gaze angle at which ARKit's eyeLook shapes reach 1, about."""
LID_FOLLOWS = 0.35
"""How far the lid closes when the eye looks fully down."""

SPOKEN: tuple[dict[str, float], ...] = (
    {"jawOpen": 0.65, "mouthLowerDown": 0.25, "mouthUpperUp": 0.12},
    {"jawOpen": 0.4, "mouthStretch": 0.3, "mouthLowerDown": 0.35, "mouthSmile": 0.15},
    {"jawOpen": 0.2, "mouthStretch": 0.3, "mouthSmile": 0.3, "mouthUpperUp": 0.2},
    {"jawOpen": 0.45, "mouthFunnel": 0.6, "mouthPucker": 0.15},
    {"jawOpen": 0.12, "mouthPucker": 0.8, "mouthFunnel": 0.25},
    {"mouthPress": 0.5, "mouthRollLower": 0.35, "mouthRollUpper": 0.3},
    {"jawOpen": 0.15, "mouthClose": 0.15, "mouthPress": 0.2},
    {"jawOpen": 0.1, "mouthRollLower": 0.5, "mouthUpperUp": 0.3},
    {"jawOpen": 0.22, "tongueOut": 0.2, "mouthLowerDown": 0.2},
    {"jawOpen": 0.1, "mouthFunnel": 0.55, "mouthPucker": 0.3, "mouthShrugUpper": 0.2},
)
"""Mouth shapes of speech; a paired shape without its side means both sides."""

MOODS: tuple[dict[str, float], ...] = (
    {"mouthSmile": 0.9, "cheekSquint": 0.6, "eyeSquint": 0.4, "mouthDimple": 0.2},
    {"mouthSmile": 0.8, "jawOpen": 0.3, "cheekSquint": 0.8, "mouthUpperUp": 0.3, "eyeSquint": 0.5},
    {"browInnerUp": 0.8, "browOuterUp": 0.7, "eyeWide": 0.6, "jawOpen": 0.3},
    {"browDown": 0.8, "eyeSquint": 0.5, "mouthPress": 0.4, "noseSneer": 0.3},
    {"mouthFrown": 0.7, "browInnerUp": 0.7, "mouthShrugLower": 0.5},
    {"noseSneer": 0.8, "mouthUpperUp": 0.6, "browDown": 0.4, "cheekSquint": 0.3},
    {"cheekPuff": 0.8, "mouthPress": 0.4, "mouthPucker": 0.2},
    {"browInnerUp": 0.9},
    {"browOuterUp": 0.8, "browInnerUp": 0.4},
    {"mouthShrugUpper": 0.5, "mouthShrugLower": 0.6, "mouthFrown": 0.3},
)
"""Whole-face expressions."""

KINDS = ("single", "spoken", "mood", "mixed", "extreme")
SHARES = np.array([0.22, 0.25, 0.22, 0.19, 0.12])

_LOOKS = ("eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeLookDown")
_FREE = np.array([i for i, name in enumerate(FACE_SHAPES) if not name.startswith(_LOOKS)])
_BLINK = [SHAPE_INDEX["eyeBlinkLeft"], SHAPE_INDEX["eyeBlinkRight"]]


def sample_expressions(count: int, rng: np.random.Generator) -> tuple[Float32, Float32]:
    """(count, 52) weights 0..1 and (count, 2, 3) gaze: plausible faces, and some beyond.

    The first one is neutral, looking straight ahead.
    """
    weights = np.zeros((count, len(FACE_SHAPES)))
    angles = np.zeros((count, 2, 2))
    for i in range(1, count):
        weights[i] = _face(KINDS[rng.choice(len(KINDS), p=SHARES)], rng)
        angles[i] = _look(rng)
        _blink(weights[i], rng)
        follow_gaze(weights[i], angles[i])
        # Lips close over what the jaw opens, never beyond.
        close, jaw = SHAPE_INDEX["mouthClose"], SHAPE_INDEX["jawOpen"]
        weights[i, close] = min(weights[i, close], weights[i, jaw])
    return np.clip(weights, 0.0, 1.0).astype(np.float32), gaze_from_angles(angles)


def sample_views(count: int, rng: np.random.Generator) -> Float32:
    """(count, 3) unit directions from the head to a camera of the dome: +-60 degrees round,
    +-35 up and down, denser in front."""
    angles = rng.normal(size=(count, 2)) * np.deg2rad([30.0, 16.0])
    return gaze_from_angles(np.clip(angles, np.deg2rad([-60, -35]), np.deg2rad([60, 35])))


def named_weights(shapes: dict[str, float]) -> Array:
    """(52,) from names; "mouthSmile" without its side sets both sides."""
    weights = np.zeros(len(FACE_SHAPES))
    for name, value in shapes.items():
        for one in (name, f"{name}Left", f"{name}Right"):
            if one in SHAPE_INDEX:
                weights[SHAPE_INDEX[one]] = value
    return weights


def follow_gaze(weights: Array, angles: Array) -> None:
    """Set the eyeLook shapes of (52,) `weights`, and the lowered lid, from (2, 2) angles."""
    for eye, (side, out) in enumerate((("Left", 1.0), ("Right", -1.0))):
        yaw, pitch = angles[eye] / LOOK_FULL
        for name, amount in zip(_LOOKS, (-yaw * out, yaw * out, pitch, -pitch), strict=True):
            weights[SHAPE_INDEX[f"{name}{side}"]] = np.clip(amount, 0.0, 1.0)
        lid = LID_FOLLOWS * np.clip(-pitch, 0.0, 1.0)
        weights[_BLINK[eye]] = max(weights[_BLINK[eye]], lid)


def _face(kind: str, rng: np.random.Generator) -> Array:
    weights = np.zeros(len(FACE_SHAPES))
    if kind == "single":
        shape = int(rng.choice(_FREE))
        weights[shape] = rng.uniform(0.2, 1.0)
        name = FACE_SHAPES[shape]
        if rng.random() < 0.6 and name.endswith(("Left", "Right")):
            weights += named_weights({name.removesuffix("Left").removesuffix("Right"): 1.0}) * (
                weights[shape] * rng.uniform(0.7, 1.0)
            )
            weights[shape] /= 1.0 + rng.uniform(0.7, 1.0)
        if name == "mouthClose":
            weights[SHAPE_INDEX["jawOpen"]] = weights[shape]
    elif kind == "spoken":
        first, second = rng.choice(len(SPOKEN), 2, replace=False)
        t = rng.uniform()
        weights = t * named_weights(SPOKEN[first]) + (1 - t) * named_weights(SPOKEN[second])
        weights *= rng.uniform(0.4, 1.3)
        weights += rng.uniform(0.0, 0.4) * named_weights(MOODS[rng.integers(len(MOODS))])
    elif kind == "mood":
        weights = rng.uniform(0.2, 1.15) * named_weights(MOODS[rng.integers(len(MOODS))])
    elif kind == "mixed":
        for _ in range(3):
            table = SPOKEN if rng.random() < 0.5 else MOODS
            weights += rng.uniform(0.1, 0.7) * named_weights(table[rng.integers(len(table))])
        weights[_FREE] += rng.uniform(0.0, 0.15, len(_FREE)) * (rng.random(len(_FREE)) < 0.3)
    else:
        chosen = rng.choice(_FREE, 6, replace=False)
        weights[chosen] = rng.uniform(0.0, 1.0, 6)
    # No face is symmetric: one side does a little less.
    uneven = np.ones(len(FACE_SHAPES))
    side = "Left" if rng.random() < 0.5 else "Right"
    uneven[[name.endswith(side) for name in FACE_SHAPES]] = rng.uniform(0.6, 1.0)
    return weights * uneven


def _look(rng: np.random.Generator) -> Array:
    """(2, 2) radians of both eyes: mostly near the camera, sometimes far, converging a little."""
    if rng.random() < 0.4:
        look = rng.normal(size=2) * np.deg2rad([5.0, 4.0])
    else:
        look = rng.uniform(-1.0, 1.0, 2) * np.deg2rad([30.0, 24.0])
    converge = np.deg2rad(rng.uniform(0.0, 4.0))
    return np.array([[look[0] - converge, look[1]], [look[0] + converge, look[1]]])


def _blink(weights: Array, rng: np.random.Generator) -> None:
    """Blinks of any phase in a third of the faces, some of them with one eye; in place."""
    if rng.random() < 0.35:
        closed = 1.0 if rng.random() < 0.35 else rng.uniform(0.1, 1.0)
        both = np.array([closed, closed * rng.uniform(0.85, 1.0)])
        if rng.random() < 0.2:
            both[rng.integers(2)] *= rng.uniform(0.0, 0.5)
        weights[_BLINK] = np.maximum(weights[_BLINK], both)
