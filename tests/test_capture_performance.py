"""The synthetic person's truth: deterministic, natural, and consistent with itself."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from capture.hand_shapes import HAND_SHAPES
from capture.performance import LID_CLOSE_S, LID_HOLD_S, LID_OPEN_S, Performance, ease
from capture.scenes import SCENES, open_scene
from capture.speech import Speech, weights_of
from capture.synthetic import SyntheticOptions, SyntheticPerson
from streams.adult_hand import adult_hand
from streams.camera import Camera
from streams.face_shapes import FACE_SHAPES, SHAPE_INDEX
from streams.hand_skeleton import joint_angles, wrist_frame
from streams.projection import project

STEP_NS = 33_333_333


def _weights(scene: Performance, name: str) -> np.ndarray:
    times = range(0, int(scene.duration_s * 1e9), STEP_NS)
    faces = [scene.state_at(t).face for t in times]
    return np.array([f.blendshapes[SHAPE_INDEX[name]] for f in faces if f is not None])


@pytest.mark.parametrize("name", SCENES)
def test_same_time_and_seed_give_the_same_state(name):
    for t_ns in (0, 1_234_000_000, 5_600_000_000):
        a, b = open_scene(name).state_at(t_ns), open_scene(name).state_at(t_ns)
        assert (a.face is None) == (b.face is None)
        if a.face is not None and b.face is not None:
            assert np.array_equal(a.face.blendshapes, b.face.blendshapes)
            assert np.array_equal(a.face.world_from_head.wxyz, b.face.world_from_head.wxyz)
        assert [h.side for h in a.hands] == [h.side for h in b.hands]


def test_seeds_differ():
    a, b = (open_scene("demo", seed).state_at(3_000_000_000).face for seed in (0, 1))
    assert a is not None
    assert b is not None
    assert a.world_from_head.angle_to(b.world_from_head) > 1e-4


def test_demo_exercises_what_the_cycle_test_measures():
    demo = open_scene("demo")
    for name in ("jawOpen", "eyeBlinkLeft", "mouthSmileLeft", "browInnerUp"):
        assert _weights(demo, name).std() >= 0.05, name


def test_range_raises_every_shape():
    scene = open_scene("range")
    peak = np.zeros(len(FACE_SHAPES))
    for t_ns in range(0, int(scene.duration_s * 1e9), STEP_NS):
        face = scene.state_at(t_ns).face
        assert face is not None
        peak = np.maximum(peak, face.blendshapes)
    low = [name for name, value in zip(FACE_SHAPES, peak, strict=True) if value < 0.4]
    assert not low


def test_faces_move_smoothly():
    demo = open_scene("demo")
    states = [demo.state_at(t).face for t in range(0, int(1e10), STEP_NS)]
    for a, b in pairwise(states):
        assert a is not None
        assert b is not None
        assert np.rad2deg(a.world_from_head.angle_to(b.world_from_head)) < 6.0
        assert np.linalg.norm(a.world_from_head.xyz - b.world_from_head.xyz) < 0.02


def test_a_lid_closes_faster_than_it_opens():
    scene = Performance("blink", 1.0, blinks_s=(0.2,), sway=0.0)

    def lid(t_s: float) -> float:
        face = scene.state_at(round(t_s * 1e9)).face
        assert face is not None
        return float(face.blendshapes[SHAPE_INDEX["eyeBlinkRight"]])

    assert lid(0.19) < 0.05
    assert lid(0.2 + LID_CLOSE_S + LID_HOLD_S / 2) == pytest.approx(1.0)
    assert lid(0.2 + LID_CLOSE_S / 2) == pytest.approx(0.5, abs=0.05)
    assert lid(0.2 + LID_CLOSE_S + LID_HOLD_S + LID_OPEN_S / 2) == pytest.approx(0.5, abs=0.05)
    assert LID_OPEN_S > 2 * LID_CLOSE_S


def test_gaze_meets_the_camera_and_agrees_with_the_look_shapes():
    still = Performance("look", 1.0, gaze_deg=((0.1, 20.0, 0.0),), sway=0.0)
    before, after = still.state_at(0).face, still.state_at(900_000_000).face
    assert before is not None
    assert after is not None
    towards = before.world_from_head.rotate(before.gaze.astype(np.float64)[0])
    eye = before.world_from_head.apply(np.array([0.0315, 0.0, 0.0]))
    assert np.linalg.norm(np.cross(towards, -eye / np.linalg.norm(eye))) < 0.002
    assert towards @ -eye > 0
    # To the person's left is +x; the left eye looks out, the right eye in.
    assert after.gaze[0, 0] > 0.2
    assert after.blendshapes[SHAPE_INDEX["eyeLookOutLeft"]] > 0.4
    assert after.blendshapes[SHAPE_INDEX["eyeLookInRight"]] > 0.4
    assert after.blendshapes[SHAPE_INDEX["eyeLookInLeft"]] == 0.0


def test_head_turns_as_the_signs_say():
    scene = Performance("turn", 2.0, head_deg=((0.0, 20.0, 0.0, 0.0),), sway=0.0)
    face = scene.state_at(1_500_000_000).face
    assert face is not None
    forward = face.world_from_head.rotate(np.array([0.0, 0.0, 1.0]))
    assert forward[0] == pytest.approx(np.sin(np.deg2rad(20.0)), abs=1e-6)
    up = Performance("up", 2.0, head_deg=((0.0, 0.0, 15.0, 0.0),), sway=0.0)
    face = up.state_at(1_500_000_000).face
    assert face is not None
    assert face.world_from_head.rotate(np.array([0.0, 0.0, 1.0]))[1] > 0.2


@pytest.mark.parametrize("side", ["left", "right"])
def test_hands_say_what_their_joints_show(side):
    scene = open_scene("hands")
    for t_ns in range(500_000_000, 8_000_000_000, 400_000_000):
        hand = scene.state_at(t_ns).hand(side)
        assert hand is not None
        assert np.abs(joint_angles(hand.joints, side) - hand.angles).max() < 1e-3
        frame = wrist_frame(hand.joints, side)
        assert frame.angle_to(hand.world_from_wrist) < 0.01


def test_open_palms_face_the_camera_beside_the_head():
    state = open_scene("hands").state_at(700_000_000)
    camera = Camera.from_fov((512, 512))
    for hand in state.hands:
        pixels, depth = project(camera, hand.joints)
        assert (depth > 0.3).all()
        assert pixels.min() > 0
        assert pixels.max() < 512
        # The middle finger is above the wrist, the thumb on the head's side of the little finger.
        assert pixels[12, 1] < pixels[0, 1] - 60
        inwards = 1 if hand.side == "right" else -1
        assert (pixels[4, 0] - pixels[20, 0]) * inwards > 40
        back_of_hand = hand.world_from_wrist.rotate(np.array([0.0, 1.0, 0.0]))
        assert back_of_hand[2] < -0.9
        # A person's right hand is on the picture's left.
        assert (pixels[0, 0] < 256) == (hand.side == "right")


def test_fingers_curl_towards_the_palm():
    hand = adult_hand("right")
    assert hand.bones.min() > 0.01
    fist, flat = HAND_SHAPES["fist"], HAND_SHAPES["flat"]
    assert (fist[1:, 1:] > flat[1:, 1:]).all()


def test_away_means_nobody():
    away = open_scene("away")
    assert away.state_at(500_000_000).face is not None
    assert away.state_at(1_500_000_000).face is None
    assert away.state_at(2_500_000_000).face is not None


def test_speech_closes_the_lips_on_m_and_opens_on_aa():
    speech = Speech("m aa m", 0.0)
    middle = speech.weights(0.09 + 0.08)
    start = speech.weights(0.03)
    jaw, press = SHAPE_INDEX["jawOpen"], SHAPE_INDEX["mouthPressLeft"]
    assert middle[jaw] > 0.35
    assert start[press] > 0.2
    assert not speech.weights(-1.0).any()
    with pytest.raises(ValueError, match="expected names of"):
        Speech("m xx", 0.0)
    with pytest.raises(ValueError, match="expected a name of FACE_SHAPES"):
        weights_of({"mouthGrin": 1.0})


def test_ease_is_a_step():
    assert (ease(-1.0), ease(0.0), ease(1.0), ease(2.0)) == (0.0, 0.0, 1.0, 1.0)
    assert ease(0.5) == pytest.approx(0.5)


def test_unknown_scene_lists_the_choices():
    with pytest.raises(ValueError, match="demo, range, still, hands, away"):
        open_scene("dance")


def test_the_source_pairs_pictures_with_truth():
    released: list[bool] = []

    def draw(state):
        return np.full((32, 48, 3), 128 if state.face else 7, np.uint8)

    options = SyntheticOptions(Camera.from_fov((48, 32)), fps=10.0, noise=4.0, seed=3)

    def film() -> SyntheticPerson:
        return SyntheticPerson(open_scene("away"), draw, options, lambda: released.append(True))

    with film() as source:
        frames = list(source)
    assert len(frames) == source.frame_count == 30
    assert released == [True]
    assert [f.t_ns for f in frames[:3]] == [0, 100_000_000, 200_000_000]
    for frame in frames:
        assert (source.truth(frame.seq).face is None) == (frame.rgb.mean() < 60)
    assert 2.0 < frames[0].rgb.std() < 6.0
    again = next(film())
    assert np.array_equal(again.rgb, frames[0].rgb)
    assert not np.array_equal(frames[0].rgb, frames[1].rgb)
