"""Lids, lips, gaze and a person's own rest: as formulas, and on a filmed person."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.performance import Expression, Performance
from streams.face_shapes import FACE_SHAPES, SHAPE_INDEX
from streams.frame import Frame
from streams.tracked_state import FacePose, TrackedState
from tests.acting_person import act
from tracking.contact import LIDS_APART, LIPS_APART, MET, SHUT, Gaps, closed_shapes
from tracking.gaze import Look
from tracking.gaze_memory import LONGEST_GAP_NS, GazeMemory
from tracking.neutral_face import CalmMoment, NeutralFace, NotCalmError, learn_neutral
from tracking.tracker import Tracker, TrackerOptions

BLINK = [SHAPE_INDEX["eyeBlinkLeft"], SHAPE_INDEX["eyeBlinkRight"]]
SMILE = [SHAPE_INDEX["mouthSmileLeft"], SHAPE_INDEX["mouthSmileRight"]]
OPEN = Gaps((0.009, 0.009), 0.010)

gaps = st.floats(-0.003, 0.012)
weights = st.lists(st.floats(0.0, 1.0, width=32), min_size=52, max_size=52).map(
    lambda values: np.array(values, np.float32)
)


@given(weights, gaps, gaps)
def test_closing_grows_as_lids_and_lips_come_together(
    shapes: np.ndarray, one: float, other: float
) -> None:
    near, far = sorted((one, other))
    closer = closed_shapes(shapes, Gaps((near, near), near))
    wider = closed_shapes(shapes, Gaps((far, far), far))
    assert (closer[BLINK] >= wider[BLINK]).all()
    assert (wider[BLINK] >= shapes[BLINK] - 1e-6).all(), "an eye is never opened"
    for name in ("mouthLowerDownLeft", "mouthFunnel"):
        assert closer[SHAPE_INDEX[name]] <= wider[SHAPE_INDEX[name]] + 1e-6
    assert closer.min() >= 0.0
    assert closer.max() <= 1.0


@given(weights)
def test_closing_is_complete_in_contact_and_absent_apart(shapes: np.ndarray) -> None:
    shut = closed_shapes(shapes, Gaps((SHUT, SHUT), MET))
    assert shut[BLINK] == pytest.approx(1.0)
    # ARKit: mouthClose at jawOpen's weight brings the lips together over an open jaw.
    assert shut[SHAPE_INDEX["mouthClose"]] >= shut[SHAPE_INDEX["jawOpen"]] - 1e-6
    assert shut[SHAPE_INDEX["mouthUpperUpLeft"]] == 0.0
    assert shut[SHAPE_INDEX["jawOpen"]] == shapes[SHAPE_INDEX["jawOpen"]]
    apart = closed_shapes(shapes, Gaps((LIDS_APART, LIDS_APART), LIPS_APART))
    assert apart == pytest.approx(shapes)


def test_each_eye_closes_for_itself() -> None:
    shapes = closed_shapes(np.full(52, 0.3, np.float32), Gaps((0.0, 0.009), 0.01))
    assert shapes[BLINK] == pytest.approx([1.0, 0.3])


def look(yaw_deg: float, believed: float) -> Look:
    return Look(float(np.deg2rad(yaw_deg)), 0.1, 0.0, (believed, believed))


def test_gaze_passes_open_eyes_at_once_and_outlives_a_blink() -> None:
    memory = GazeMemory()
    step = 33_000_000
    assert memory.follow(0, look(10.0, 1.0)) == look(10.0, 1.0)
    late = np.rad2deg(memory.follow(step, look(-20.0, 1.0)).yaw)
    assert late == pytest.approx(-20.0, abs=1e-3), "no look arrives late"
    for k in range(2, 8):
        held = memory.follow(k * step, look(30.0, 0.0))
        assert np.rad2deg(held.yaw) == pytest.approx(-20.0, abs=0.1)
    half = memory.follow(8 * step, look(0.0, 0.3))
    assert -20.0 < np.rad2deg(half.yaw) < 0.0, "a half hidden iris is half believed"
    assert np.rad2deg(memory.follow(9 * step, look(5.0, 1.0)).yaw) == pytest.approx(5.0, abs=1e-3)


def test_old_gaze_is_forgotten() -> None:
    memory = GazeMemory()
    memory.follow(0, look(10.0, 1.0))
    assert memory.follow(LONGEST_GAP_NS + 1, look(-5.0, 0.0)) == look(-5.0, 0.0)
    memory.forget()
    assert memory.follow(LONGEST_GAP_NS + 2, look(7.0, 0.0)) == look(7.0, 0.0)


rests = st.lists(st.floats(0.0, 0.75, width=32), min_size=52, max_size=52).map(
    lambda values: np.array(values, np.float32)
)


@given(rests, weights, weights)
def test_a_rest_is_subtracted_without_losing_range_or_order(
    rest: np.ndarray, one: np.ndarray, other: np.ndarray
) -> None:
    neutral = NeutralFace(rest, OPEN, (0.0, 0.0))
    assert neutral.freed(rest) == pytest.approx(0.0, abs=1e-6)
    assert neutral.freed(np.ones(52, np.float32)) == pytest.approx(1.0)
    low, high = np.minimum(one, other), np.maximum(one, other)
    assert (neutral.freed(low) <= neutral.freed(high)).all()


def moments(count: int = 40, **changes: object) -> list[CalmMoment | None]:
    rng = np.random.default_rng(4)
    rest = np.zeros(52, np.float32)
    rest[SHAPE_INDEX["mouthFrownLeft"]] = 0.3
    return [
        replace(
            CalmMoment(
                np.clip(rest + rng.normal(0, 0.01, 52), 0, 1).astype(np.float32),
                Gaps((0.007, 0.0072), 0.0004),
                (0.02, 0.05),
                np.array([0.0, 0.05, 0.5]) + rng.normal(0, 0.002, 3),
            ),
            **changes,  # pyright: ignore[reportArgumentType]
        )
        for _ in range(count)
    ]


def test_a_calm_face_is_learned_and_kept() -> None:
    blinks = moments(4, gaps=Gaps((0.0, 0.0), 0.0))
    neutral = learn_neutral([*moments(), *blinks, None])
    assert neutral.blendshapes[SHAPE_INDEX["mouthFrownLeft"]] == pytest.approx(0.3, abs=0.02)
    assert neutral.gaps.lids == pytest.approx((0.007, 0.0072), abs=1e-4)
    back = NeutralFace.from_json(neutral.to_json())
    assert back.blendshapes == pytest.approx(neutral.blendshapes, abs=1e-4)
    assert back.gaps.lips == pytest.approx(neutral.gaps.lips, abs=1e-6)
    assert back.gaze == pytest.approx(neutral.gaze, abs=1e-4)


def talking() -> list[CalmMoment | None]:
    said = moments()
    for k, moment in enumerate(said):
        assert moment is not None
        shapes = moment.blendshapes.copy()
        shapes[SHAPE_INDEX["jawOpen"]] = 0.3 * (k % 2)
        said[k] = replace(moment, blendshapes=shapes)
    return said


def nodding() -> list[CalmMoment | None]:
    return [
        replace(moment, camera=np.array([0.0, 0.1 * np.sin(k), 0.5]))
        for k, moment in enumerate(moments())
        if moment is not None
    ]


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (moments(5), "expected a face in 15 pictures"),
        ([*moments(20), *[None] * 20], "got it in 20 of 40"),
        (moments(camera=np.array([0.3, 0.0, 0.5])), "turned to the camera, got 31"),
        (nodding(), "the head moved"),
        (moments(gaps=Gaps((0.0, 0.0), 0.0)), "the eyes were shut"),
        (talking(), "the face moved .jawOpen."),
        (moments(blendshapes=np.full(52, 0.7, np.float32)), "this is an expression"),
        (moments(gaze=(0.5, 0.0)), "look into the camera"),
    ],
)
def test_a_face_that_is_not_calm_is_refused(seen: list[CalmMoment | None], why: str) -> None:
    with pytest.raises(NotCalmError, match=why):
        learn_neutral(seen)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"version": 2}', '{"version": 1}'])
def test_a_damaged_rest_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neutral face: expected version 1"):
        NeutralFace.from_json(text)


ACT = Performance(
    "details",
    4.0,
    expressions=(Expression(2.2, 1.2, {"mouthSmile": 0.8}, 0.2, 0.2),),
    blinks_s=(1.0, 1.6),
    gaze_deg=((0.5, 14.0, 0.0),),
    sway=0.3,
)
"""Calm and looking into the camera; then aside, with two blinks; then a smile."""


@pytest.fixture(scope="module")
def acted() -> list[tuple[Frame, TrackedState]]:
    return act(ACT)


@pytest.fixture(scope="module")
def tracked(acted: list[tuple[Frame, TrackedState]]) -> list[TrackedState]:
    with Tracker.open(TrackerOptions(hands=0)) as tracker:
        return [tracker.track(frame) for frame, _ in acted]


def faces_of(
    acted: list[tuple[Frame, TrackedState]], tracked: list[TrackedState]
) -> list[tuple[FacePose, FacePose]]:
    """(truth, found); the person is found throughout."""
    pairs = [(truth.face, state.face) for (_, truth), state in zip(acted, tracked, strict=True)]
    kept = [(truth, found) for truth, found in pairs if truth is not None and found is not None]
    assert len(kept) == len(acted)
    return kept


def test_a_filmed_blink_closes_the_lids_and_keeps_the_gaze(
    acted: list[tuple[Frame, TrackedState]], tracked: list[TrackedState]
) -> None:
    pairs = faces_of(acted, tracked)
    truth = np.array([t.blendshapes[BLINK].mean() for t, _ in pairs])
    found = np.array([f.blendshapes[BLINK].mean() for _, f in pairs])
    assert (truth > 0.9).sum() >= 2
    # One picture may be late: MediaPipe filters its landmarks.
    assert np.median(found[truth > 0.9]) > 0.95, "the network's own eyeBlink ends at 0.85"
    assert found[truth < 0.3].max() < 0.6
    yaw = np.array([np.rad2deg(np.arctan2(f.gaze[:, 0], f.gaze[:, 2])).mean() for _, f in pairs])
    aside = np.array([0.8 <= state.t_ns * 1e-9 <= 2.1 for state in tracked])
    rest = np.median(yaw[aside & (truth < 0.2)])
    strayed = np.sort(np.abs(yaw[aside & (truth > 0.5)] - rest))
    assert strayed[-2] < 5.0
    assert strayed[-1] < 8.0, "the picture in which the lids come down"


def test_a_filmed_rest_becomes_zero(acted: list[tuple[Frame, TrackedState]]) -> None:
    calm = [frame for frame, truth in acted if truth.t_ns < 450_000_000] * 3
    calm = [replace(frame, t_ns=66_000_000 * k, seq=k) for k, frame in enumerate(calm)]
    with Tracker.open(TrackerOptions(hands=0)) as tracker:
        tracker.details.ask_neutral(1.2)
        before = [tracker.track(frame) for frame in calm]
        assert tracker.details.neutral_said == "neutral face: learned"
        neutral = tracker.details.neutral
    assert neutral is not None
    with Tracker.open(TrackerOptions(hands=0, neutral=neutral)) as tracker:
        states = [tracker.track(frame) for frame, _ in acted]
    after = states[3].face
    assert before[3].face is not None
    assert after is not None
    rest = ~np.array([name.startswith("eyeLook") for name in FACE_SHAPES])
    assert after.blendshapes[rest].max() < 0.05 < before[3].face.blendshapes[rest].max()
    yaw, pitch = np.arctan2(after.gaze[:, :2], after.gaze[:, 2:]).mean(0)
    to_camera = after.world_from_head.inverse().xyz
    aim = np.arctan2(to_camera[:2], to_camera[2])
    assert np.rad2deg(np.abs([yaw, pitch] - aim)).max() < 2.0, "they look into the camera"
    smiles = [state.face.blendshapes[SMILE].mean() for state in states if state.face is not None]
    assert max(smiles) > 0.5, "the range is kept"


def test_a_turned_face_is_refused() -> None:
    turned = act(replace(ACT, duration_s=1.6, head_deg=((-1.0, 28.0, 0.0, 0.0),)))
    with Tracker.open(TrackerOptions(hands=0)) as tracker:
        tracker.details.ask_neutral(1.2)
        for frame, _ in turned:
            tracker.track(frame)
        assert tracker.details.neutral is None
        assert "look straight into it" in tracker.details.neutral_said
