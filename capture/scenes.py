"""The performances that have names."""

from __future__ import annotations

import numpy as np

from capture.performance import Expression, HandKey, Performance
from capture.speech import Speech
from streams.face_shapes import FACE_SHAPES

SCENES = ("demo", "range", "still", "hands", "away", "guided")

SMILE = {"mouthSmile": 0.65, "cheekSquint": 0.4, "eyeSquint": 0.3, "mouthDimple": 0.15}
SURPRISE = {"browInnerUp": 0.85, "browOuterUp": 0.6, "eyeWide": 0.5, "jawOpen": 0.28}
FROWN = {"browDown": 0.7, "eyeSquint": 0.25, "mouthFrown": 0.35, "mouthPress": 0.2}

HELLO = "e d o . d i s i s r i d m i"
MOVES = "aa i m u f e s i u m u f . m aa i f e i s . m aa i e s . m aa i k aa d s"
BYE = "k aa d i u d u i d d u"


def open_scene(name: str, seed: int = 0) -> Performance:
    """The performance "demo" (10 s), "range" (each shape in turn, then gaze and head), "still",
    "hands" (both hands through every shape), "away" (the person leaves and returns) or "guided"
    (what a guided capture asks for, in its order).

    Raises ValueError for another name.
    """
    if name == "demo":
        return _demo(seed)
    elif name == "range":
        return _range(seed)
    elif name == "still":
        return Performance("still", 2.0, sway=0.0, seed=seed)
    elif name == "hands":
        return _hands(seed)
    elif name == "away":
        return Performance(
            "away", 3.0, expressions=(Expression(0.2, 0.4, SMILE),), blinks_s=(0.7, 2.4),
            away_s=((1.0, 2.0),), seed=seed,
        )  # fmt: skip
    elif name == "guided":
        return _guided(seed)
    else:
        raise ValueError(f"synthetic scene: expected one of {', '.join(SCENES)}, got {name!r}")


def _demo(seed: int) -> Performance:
    rng = np.random.default_rng((seed, 1))
    blinks = np.array([0.55, 2.35, 3.9, 5.15, 6.55, 8.05, 9.55]) + rng.uniform(-0.05, 0.05, 7)
    return Performance(
        "demo",
        10.0,
        speech=(
            Speech(HELLO, 0.7, rng.uniform(0.9, 1.1, 40)),
            Speech(MOVES, 2.5, rng.uniform(0.9, 1.1, 40)),
            Speech(BYE, 8.1, rng.uniform(0.9, 1.1, 40)),
        ),
        expressions=(
            Expression(0.15, 0.9, SMILE),
            Expression(2.4, 0.3, {"browInnerUp": 0.5, "browOuterUp": 0.4}, 0.2, 0.3),
            Expression(3.4, 0.5, SURPRISE),
            Expression(4.7, 0.4, FROWN),
            Expression(6.0, 0.9, SMILE),
            Expression(8.3, 0.2, {"browInnerUp": 0.7, "browOuterUp": 0.5}, 0.2, 0.3),
            Expression(9.0, 0.3, {**SMILE, "mouthSmile": 0.8}, 0.3, 0.35),
        ),
        blinks_s=tuple(blinks.tolist()),
        head_deg=(
            (0.8, 0.0, -4.0, 0.0), (1.2, 0.0, 2.0, 3.0), (2.2, 14.0, 2.0, 2.0),
            (3.2, -16.0, 0.0, -3.0), (4.2, -4.0, 7.0, 2.0), (4.9, 5.0, -8.0, 0.0),
            (5.6, 0.0, 0.0, 6.0), (6.8, 8.0, 2.0, -4.0), (8.0, 0.0, -5.0, 0.0),
            (8.35, 0.0, 3.0, 0.0), (8.7, 0.0, -5.0, 0.0), (9.1, 0.0, 0.0, 0.0),
        ),
        gaze_deg=(
            (1.9, 14.0, 2.0), (2.4, 0.0, 0.0), (3.05, -14.0, -3.0), (3.5, 0.0, 0.0),
            (4.3, 4.0, 10.0), (4.8, 0.0, 0.0), (6.1, 9.0, -9.0), (6.6, 0.0, 0.0),
        ),
        right=(
            HandKey(1.0, "open"), HandKey(1.5, "open", turn_deg=(0, 0, -14), move_s=0.25),
            HandKey(1.8, "open", turn_deg=(0, 0, 20), move_s=0.25),
            HandKey(2.1, "open", turn_deg=(0, 0, 0), move_s=0.25), HandKey(2.6, None),
            HandKey(5.0, "point"), HandKey(5.6, "two", move_s=0.3),
            HandKey(6.1, "three", move_s=0.3), HandKey(6.6, "open", move_s=0.3),
            HandKey(7.1, "fist", move_s=0.35), HandKey(7.7, "pinch", move_s=0.35),
            HandKey(8.3, "thumb", turn_deg=(0, 0, -70), move_s=0.4), HandKey(9.0, None),
        ),
        left=(
            HandKey(5.7, "open"), HandKey(6.6, "fist", move_s=0.35),
            HandKey(7.2, "open", turn_deg=(10, -20, 8)), HandKey(8.2, None),
        ),
        seed=seed,
    )  # fmt: skip


def _range(seed: int) -> Performance:
    each_s = 0.7
    shapes = tuple(
        Expression(0.1 + i * each_s, 0.15, {name: 1.0}, 0.2, 0.2)
        for i, name in enumerate(FACE_SHAPES)
        if not name.startswith("eyeLook")
    )
    look_at = 0.3 + each_s * len(FACE_SHAPES)
    looks = ((20, 0), (-20, 0), (0, 18), (0, -18), (0, 0))
    turn_at = look_at + 0.6 * len(looks)
    turns = ((30, 0, 0), (-30, 0, 0), (0, 20, 0), (0, -20, 0), (0, 0, 20), (0, 0, -20), (0, 0, 0))
    return Performance(
        "range",
        turn_at + len(turns) + 0.5,
        expressions=shapes,
        gaze_deg=tuple((look_at + 0.6 * i, yaw, pitch) for i, (yaw, pitch) in enumerate(looks)),
        head_deg=tuple((turn_at + i, yaw, up, roll) for i, (yaw, up, roll) in enumerate(turns)),
        sway=0.0,
        seed=seed,
    )


def _hands(seed: int) -> Performance:
    order = ("open", "fist", "point", "two", "three", "four", "pinch", "thumb", "flat", "open")
    keys = tuple(
        HandKey(0.1 + 0.8 * i, shape, (0.155, -0.08, -0.465), (0, 0, 5 if i % 2 else -5), 0.35)
        for i, shape in enumerate(order)
    )
    return Performance(
        "hands", 0.1 + 0.8 * len(order), blinks_s=(1.0, 3.2, 5.9), left=keys, right=keys, seed=seed
    )


def _guided(seed: int) -> Performance:
    """The requests of avatar.enrolment.guide in their order, two seconds each."""
    each_s, begin_s = 2.0, 4.0
    turns = ((26, 0, 0), (-26, 0, 0), (0, 20, 0), (0, -20, 0), (0, 0, 18), (0, 0, -18))
    looks = ((24, 0), (-24, 0), (0, 18), (0, -22))
    look_s = begin_s + each_s * len(turns)
    face_s = look_s + each_s * len(looks)
    faces = (
        {"eyeBlink": 1.0}, {"jawOpen": 0.95}, {**SMILE, "mouthSmile": 1.0},
        {"mouthPucker": 1.0, "mouthFunnel": 0.9}, {"mouthPress": 0.8, "mouthRollLower": 0.9},
        {"browInnerUp": 1.0, "browOuterUp": 1.0, "eyeWide": 0.4}, {"browDown": 1.0},
    )  # fmt: skip
    talk_s = face_s + each_s * len(faces)
    speech = tuple(Speech(MOVES, talk_s + 0.2 + 5.6 * i) for i in range(3))
    return Performance(
        "guided",
        speech[-1].end_s + 0.6,
        speech=speech,
        expressions=tuple(
            Expression(face_s + each_s * i, 0.9, shapes, 0.3, 0.3) for i, shapes in enumerate(faces)
        ),
        blinks_s=(1.2, 2.9, talk_s + 1.0, talk_s + 4.2),
        head_deg=tuple(
            key
            for i, turn in enumerate(turns)
            for key in (
                (begin_s + each_s * i, *turn),
                (begin_s + each_s * i + 1.3, 0.0, 0.0, 0.0),
            )
        ),
        gaze_deg=tuple(
            key
            for i, look in enumerate(looks)
            for key in ((look_s + each_s * i, *look), (look_s + each_s * i + 1.2, 0.0, 0.0))
        ),
        seed=seed,
    )
