"""Measuring a person's hand, keeping it, and tracking with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from apps.command import run
from apps.own_hands import keep_own_hands, own_hands, own_hands_path
from assets.manifest import asset_path
from capture.frame_source import open_source
from streams.hand_skeleton import HandShape
from streams.tracked_state import HandPose
from tests.seen_hands import RIGS, rig, seen_hand
from tracking.engine import HandMarks
from tracking.hand_fit import fit_hand
from tracking.hand_fitting import HandFitting
from tracking.hand_measuring import FEWEST, MOST, HandMeasuring, MeasuredHand, hand_length
from tracking.hand_placement import place_hand
from tracking.hand_view import HandView
from tracking.tracker import Tracker, TrackerOptions
from tracking.user_hand import UserHand, hands_from_json, hands_to_json, offsets_on_bones

Array = npt.NDArray[np.float64]


def other_hand(side: str, scale: float = 1.0) -> UserHand:
    """Long fingers on a narrow palm."""
    shape = UserHand.average(side).shape
    bones = shape.bones * [[1.0], [1.10], [1.06], [1.12], [0.9]]
    return UserHand(HandShape(side, shape.bases * [0.92, 1.0, 1.0], bones)).scaled(scale)


def measured(user: UserHand, name: str, count: int = 30, **known: float) -> MeasuredHand:
    random = np.random.default_rng(1)
    measuring = HandMeasuring(user.side)
    for _ in range(count):
        seen = seen_hand(random, user, rig(name))
        camera = seen.views[0].camera
        depth = np.asarray(camera.world_from_camera.inverse().apply(seen.joints))
        distance = float(depth[[0, 5, 9, 13, 17], 2].mean()) if "distance" in known else None
        measuring.add(seen.views, distance)
    return measuring.finish(known.get("length"))


def bone_error(found: UserHand, truth: UserHand) -> float:
    """Of the fingers' bones, as a part of their length."""
    return float(np.abs(found.shape.bones / truth.shape.bones - 1.0).mean())


@pytest.mark.parametrize("name", RIGS)
def test_bones_are_measured(name: str) -> None:
    truth = other_hand("left", 1.15)
    found = measured(truth, name, length=hand_length(truth))
    assert found.size_from == ("length" if name == "mono" else "views")
    assert bone_error(found.user, truth) < (0.04 if name == "mono" else 0.02)
    assert bone_error(found.user, truth) < 0.3 * bone_error(UserHand.average("left"), truth)
    assert hand_length(found.user) == pytest.approx(hand_length(truth), rel=0.02)
    assert found.error_after < found.error_before
    assert found.moments == 30


def test_where_the_size_comes_from() -> None:
    truth = other_hand("right", 0.85)
    average = measured(truth, "mono")
    assert average.size_from == "average"
    assert average.user.palm_span() == pytest.approx(UserHand.average("right").palm_span())
    near = measured(truth, "mono", distance=1.0)
    assert near.size_from == "distance"
    assert hand_length(near.user) == pytest.approx(hand_length(truth), rel=0.04)


def test_a_measured_hand_is_tracked_better_than_an_average_one() -> None:
    truth = other_hand("right")
    found = measured(truth, "mono", length=hand_length(truth)).user
    random = np.random.default_rng(2)
    errors: dict[str, list[float]] = {"average": [], "measured": []}
    for _ in range(20):
        seen = seen_hand(random, truth, rig("mono"))
        for name, user in (("average", UserHand.average("right")), ("measured", found)):
            joints = fit_hand(seen.views, user).joints
            off = joints - joints.mean(0) - (seen.joints - seen.joints.mean(0))
            errors[name].append(float(np.linalg.norm(off, axis=-1).mean()))
    assert np.median(errors["measured"]) < 0.8 * np.median(errors["average"])


def test_offsets_are_found_on_the_bones() -> None:
    random = np.random.default_rng(3)
    truth = UserHand(UserHand.average("left").shape, random.normal(0.0, 0.005, (21, 3)))
    seen = [seen_hand(random, truth, rig("mono")) for _ in range(15)]
    joints = np.stack([hand.joints for hand in seen])
    landmarks = np.stack([hand.landmarks for hand in seen])
    landmarks[0, 3] = np.nan
    landmarks[1] += 0.05  # One moment that went wrong.
    assert offsets_on_bones("left", joints, landmarks) == pytest.approx(truth.offsets, abs=1e-9)
    landmarks[:, 7] = np.nan
    with pytest.raises(ValueError, match="expected every landmark once"):
        offsets_on_bones("left", joints, landmarks)
    with pytest.raises(ValueError, match=r"expected two \(N, 21, 3\)"):
        offsets_on_bones("left", joints[0], landmarks[0])


def test_many_moments_are_thinned_out() -> None:
    random = np.random.default_rng(4)
    views = seen_hand(random, UserHand.average("left"), rig("mono")).views
    measuring = HandMeasuring("left")
    for _ in range(5 * MOST):
        measuring.add(views)
    assert MOST / 2 <= measuring.finish().moments <= MOST


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="HandMeasuring side: expected one of"):
        HandMeasuring("both")
    with pytest.raises(ValueError, match=f"expected at least {FEWEST} moments of the left hand"):
        measured(other_hand("left"), "mono", FEWEST - 1)
    with pytest.raises(ValueError, match=r"expected 0.12 to 0.25 m"):
        measured(other_hand("left"), "mono", length=180.0)


def test_hands_survive_being_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISAVIS_HOME", str(tmp_path / "home"))
    assert own_hands() == ()
    hands = (other_hand("left"), other_hand("right", 1.1))
    path = keep_own_hands(hands)
    assert path == own_hands_path()
    assert path.stat().st_mode & 0o077 == 0
    for kept, hand in zip(own_hands(), hands, strict=True):
        assert kept.side == hand.side
        assert kept.shape.bones == pytest.approx(hand.shape.bones, abs=6e-6)
        assert kept.shape.bases == pytest.approx(hand.shape.bases, abs=6e-6)
        assert (kept.offsets == hand.offsets).all()
    assert [file.name for file in path.parent.iterdir()] == ["hands.json"]
    text = path.read_text()
    for damaged in (
        "", "[]", "null", "{}", text[:-20], text.replace('"version": 1', '"version": 2'),
        text.replace("right", "left"), text.replace("bones_m", "bone"), "\ud800",
        text.replace("0.0", "9.0", 1),
    ):  # fmt: skip
        path.write_bytes(damaged.encode("utf-8", "surrogatepass"))
        with pytest.raises(ValueError, match=r"hands\.json: "):
            own_hands()
    with pytest.raises(ValueError, match="measure-hands"):
        hands_from_json(hands_to_json(hands).replace("0.0", "-0.1"))


def marks_of(view: HandView, side: str) -> HandMarks:
    assert view.shape is not None
    points, shape = view.points.astype(np.float32), view.shape.astype(np.float32)
    return HandMarks(points, shape, side, 1.0)


def test_live_hands_keep_their_bones_from_frame_to_frame() -> None:
    random = np.random.default_rng(5)
    user = other_hand("right")
    fitting = HandFitting([user])
    lengths = []
    for frame in range(10):
        seen = seen_hand(random, user, rig("mono"))
        (view,) = seen.views
        pose = fitting.place(view.camera, marks_of(view, "right"), frame * 33_000_000)
        assert pose is not None
        assert pose.confidence > 0.8
        lengths.append(HandShape.of(pose.joints, "right").bones)
        # What was placed on its rays tells a view the same again.
        placed = place_hand(view.camera, marks_of(view, "right"))
        assert placed is not None
        again = HandView.of_pose(view.camera, placed)
        assert again.points == pytest.approx(view.points, abs=0.01)
    assert np.ptp(lengths, axis=0).max() < 1e-6
    line = HandMarks(
        np.linspace(10, 300, 42).reshape(21, 2).astype(np.float32),
        np.linspace(0, 0.1, 63).reshape(21, 3).astype(np.float32),
        "right",
        1.0,
    )
    assert fitting.place(rig("mono")[0], line, 400_000_000) is None
    nan = replace(line, landmarks=np.full((21, 2), np.nan, np.float32))
    assert fitting.place(rig("mono")[0], nan, 500_000_000) is None


def test_a_hand_behind_the_camera_is_no_view() -> None:
    joints = np.random.default_rng(6).normal(0.0, 0.05, (21, 3)).astype(np.float32) + [0, 0, 1]
    camera = rig("mono")[0]
    fit = fit_hand(
        seen_hand(np.random.default_rng(7), other_hand("left"), [camera]).views, other_hand("left")
    )
    pose = replace(fit.pose(1.0), joints=joints.astype(np.float32))
    assert isinstance(pose, HandPose)
    with pytest.raises(ValueError, match="in front of the camera"):
        HandView.of_pose(camera, pose)


@pytest.mark.slow
def test_the_verb_measures_a_clip_and_the_tracker_keeps_the_bones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VISAVIS_HOME", str(tmp_path))
    clip = f"video:{asset_path('clips/demo')}"
    assert run(["measure-hands", "--source", clip, "--length-mm", "185"]) == 0
    assert "as you measured it" in capsys.readouterr().out
    hands = own_hands()
    assert sorted(hand.side for hand in hands) == ["left", "right"]
    assert all(hand_length(hand) == pytest.approx(0.185, abs=1e-4) for hand in hands)
    kept = {hand.side: hand.shape.bones for hand in hands}
    for side, bones in kept.items():
        average = UserHand.average(side)
        alike = average.scaled(0.185 / hand_length(average)).shape.bones
        assert np.abs(bones / alike - 1.0).mean() > 0.04, "an average hand was fitted, and measured"
    options = TrackerOptions(faces=0, own_hands=hands)
    seen = 0
    with open_source(clip) as source, Tracker.open(options) as tracker:
        for frame in source:
            if frame.seq >= 90:
                break
            for hand in tracker.track(frame).hands:
                seen += 1
                bones = HandShape.of(hand.joints, hand.side).bones
                assert bones == pytest.approx(kept[hand.side], abs=1e-5)
    assert seen > 20
    assert run(["measure-hands", "--forget"]) == 0
    assert own_hands() == ()
    still = run(["measure-hands", "--source", clip, "--seconds", "0.2"])
    assert still == 1
    assert "expected at least 20 moments" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--seconds", "0"], ["--length-mm", "90"], ["--length-mm", "180", "--beside-face"],
     ["--fov-deg", "2"]],
)  # fmt: skip
def test_the_verb_refuses_what_makes_no_sense(arguments: list[str]) -> None:
    assert run(["measure-hands", *arguments]) == 2
