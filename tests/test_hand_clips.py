"""Published recordings: read back exactly, tracked end to end, refused when they are none."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.hands_multiview import measure_clip
from capture.challenge_clip import camera_of
from capture.frame_source import SourceError
from capture.hand_clip import find_clips, open_clip
from capture.umetrack_hand import UmeTrackHand
from streams.rigid import Rigid
from tests.hand_clips import Scene, hand_model, write_challenge, write_umetrack
from tracking.hand_metrics import hand_figures

SEEN = [j for j in range(21) if j != 1]


@pytest.fixture(scope="module")
def umetrack(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scene]:
    path = tmp_path_factory.mktemp("umetrack") / "recording_00.mp4"
    return path, write_umetrack(path)


@pytest.fixture(scope="module")
def challenge(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scene]:
    path = tmp_path_factory.mktemp("hot3d") / "clip-000001.tar"
    return path, write_challenge(path)


def slowly_posed(fields: dict, angles: np.ndarray, place: np.ndarray, side: str) -> np.ndarray:
    """Hinge by hinge, landmark by landmark, as UmeTrack's paper says: metres."""
    world = place.copy()
    if side == "right":
        world = world @ np.diag([-1.0, 1.0, 1.0, 1.0])
    axes, at = np.array(fields["joint_rotation_axes"]), np.array(fields["joint_rest_positions"])
    out = []
    for rest, bones, weights in zip(
        fields["landmark_rest_positions"], fields["landmark_rest_bone_indices"],
        fields["landmark_rest_bone_weights"], strict=True,
    ):  # fmt: skip
        total = np.zeros(3)
        for bone, weight in zip(bones, weights, strict=True):
            if weight == 0.0:
                continue
            point = np.array(rest, np.float64)
            if bone >= 2:
                finger, joint = divmod(int(bone) - 2, 3)
                for hinge in range(joint + 1, -1, -1):  # the outermost turns first
                    k = 4 * finger + hinge
                    turn = Rigid.from_rotvec(axes[k] * angles[k]).rotation()
                    point = turn @ (point - at[k]) + at[k]
            total += weight * point
        out.append((world @ np.append(total * 1e-3, 1.0))[:3])
    return np.array(out)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("seed", range(3))
def test_the_hand_model_agrees_with_its_slow_twin(side: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fields = hand_model()
    weights = rng.dirichlet(np.ones(3), 21)
    weights[:5, 1:] = 0.0
    weights[:5, 0] = 1.0
    fields["landmark_rest_bone_weights"] = weights.tolist()
    fields["landmark_rest_bone_indices"] = rng.permuted(np.tile(np.arange(17), (21, 1)), axis=1)[
        :, :3
    ].tolist()
    angles = rng.normal(0, 0.5, (4, 22))
    places = np.stack(
        [Rigid.from_rotvec(rng.normal(0, 1, 3), rng.normal(0, 1, 3)).matrix() for _ in range(4)]
    )
    fast = UmeTrackHand.of(fields).posed(angles, places, side)
    slow = [slowly_posed(fields, a, p, side) for a, p in zip(angles, places, strict=True)]
    np.testing.assert_allclose(fast, slow, atol=1e-12)


def test_the_hand_model_is_a_mirror_image(umetrack: tuple[Path, Scene]) -> None:
    _, made = umetrack
    hand = UmeTrackHand.of(hand_model())
    still = np.eye(4)[None]
    left = hand.posed(made.angles[:1, 0], still, "left")
    right = hand.posed(made.angles[:1, 0], still, "right")
    np.testing.assert_allclose(right, left * [-1.0, 1.0, 1.0])
    assert np.abs(right - left).max() > 0.03


def test_umetracks_layout_comes_back(umetrack: tuple[Path, Scene]) -> None:
    path, made = umetrack
    with open_clip(path) as clip:
        moments = list(clip)
    assert len(moments) == 7  # the headset was lost in the eighth
    for k, moment in enumerate(moments):
        assert [f.camera.name for f in moment.frames] == [f"umetrack {c}" for c in range(4)]
        assert set(moment.truth) == ({"left"} if k == 6 else {"left", "right"})
        for frame, camera in zip(moment.frames, made.cameras, strict=True):
            assert frame.camera.distortion.model == "fisheye62"
            assert frame.camera.distortion.coefficients == camera.distortion.coefficients
            np.testing.assert_allclose(
                frame.camera.world_from_camera.matrix(), camera.world_from_camera.matrix(),
                atol=1e-9,
            )  # fmt: skip
        for side, index in (("left", 0), ("right", 1)):
            if side in moment.truth:
                np.testing.assert_allclose(
                    moment.truth[side][SEEN], made.joints[k, index][SEEN], atol=1e-9
                )
                assert np.isnan(moment.truth[side][1]).all()
    # The views are where they belong: the hands lie under their labels.
    from streams.projection import project

    frame = moments[0].frames[2]
    uv, _ = project(frame.camera, moments[0].truth["left"][SEEN])
    x, y = np.rint(uv).astype(int).T
    on, off = frame.rgb[y, x].mean(), frame.rgb.mean()
    assert on > off + 40


def test_the_challenges_layout_comes_back(challenge: tuple[Path, Scene]) -> None:
    path, made = challenge
    with open_clip(path) as clip:
        moments = list(clip)
    assert len(moments) == 6
    assert set(moments[-1].truth) == {"right"}
    assert [f.camera.name for f in moments[0].frames] == [
        f"camera-slam 1201-{c}" for c in range(1, 5)
    ]
    for frame, camera in zip(moments[2].frames, made.cameras, strict=True):
        assert frame.camera.distortion.coefficients == camera.distortion.coefficients
        np.testing.assert_array_equal(frame.camera.focal, camera.focal)
        np.testing.assert_array_equal(frame.camera.centre, camera.centre)
    np.testing.assert_allclose(moments[2].truth["right"][SEEN], made.joints[2, 1][SEEN], atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["umetrack", "challenge"])
def test_clips_are_tracked_and_judged(layout: str, request: pytest.FixtureRequest) -> None:
    path, made = request.getfixturevalue(layout)
    figures = hand_figures(measure_clip(path))
    labelled = 2 * len(made.joints) - (3 if layout == "umetrack" else 1)
    assert figures.truths == labelled
    assert figures.found >= 0.8 * labelled
    assert figures.median_mm < 15.0
    assert figures.auc > 0.6
    assert figures.true_mpjpa_mm < figures.mpjpa_mm < 20.0


@pytest.mark.slow
def test_one_command_gives_the_figures(challenge: tuple[Path, Scene], tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.hands_multiview", str(challenge[0].parent),
         "--most-moments", "2", "--out", str(out)],
        capture_output=True, text=True, timeout=600, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "MPJPE" in done.stdout
    assert json.loads(out.read_text())["clip-000001.tar"]["truths"] == 4


def test_what_is_no_clip_is_refused(umetrack: tuple[Path, Scene], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such"):
        find_clips(tmp_path / "absent")
    with pytest.raises(SourceError, match="found none"):
        find_clips(tmp_path)
    with pytest.raises(SourceError, match=r"ends in \.mp4"):
        open_clip(tmp_path / "a.avi")
    (tmp_path / "bad.tar").write_bytes(b"no tar" * 300)
    with pytest.raises(SourceError, match="not a tar"):
        open_clip(tmp_path / "bad.tar")
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(tmp_path / "bad.tar", "bad")
    with pytest.raises(SourceError, match=r"NNNNNN\.cameras\.json"):
        open_clip(tmp_path / "other.tar")
    video = tmp_path / "r.mp4"
    shutil.copy(umetrack[0], video)
    with pytest.raises(SourceError, match=r"labels of r\.mp4 cannot be read"):
        open_clip(video)
    good = json.loads(umetrack[0].with_suffix(".json").read_text())
    assert find_clips(umetrack[0].parent) == (umetrack[0],)
    for change, said in (
        ({"cameras": good["cameras"][:3]}, "expected UmeTrack's labels"),
        ({"joint_angles": [[0.0]]}, "joint_angles"),
        ({"hand_model": {}}, "hand model"),
        ({"hand_model": {**good["hand_model"], "joint_rest_positions": "x"}}, "hand model"),
        ({"cameras": [{**c, "ImageSizeX": 100} for c in good["cameras"]]}, "side by side"),
        ({"cameras": [{**c, "DistortionModel": "Box"} for c in good["cameras"]]}, "Box"),
    ):
        video.with_suffix(".json").write_text(json.dumps({**good, **change}))
        with pytest.raises(SourceError, match=said):
            open_clip(video)
    video.with_suffix(".json").write_text("{")
    with pytest.raises(SourceError, match="expected UmeTrack's labels"):
        open_clip(video)


def test_camera_models_of_the_challenge() -> None:
    def entry(model: str, numbers: list[float]) -> dict:
        return {
            "calibration": {
                "image_width": 64, "image_height": 48, "projection_model_type": model,
                "projection_params": numbers,
            },
            "T_world_from_camera": {"quaternion_wxyz": [2, 0, 0, 0], "translation_xyz": [1, 2, 3]},
        }  # fmt: skip

    head = [50.0, 51.0, 31.0, 23.0]
    fish = camera_of("1", entry("OculusVisionFishEye62", [*head, 1, 2, 3, 4, 5, 6, 7, 8]))
    assert fish.distortion.coefficients == (1, 2, 3, 4, 7, 8, 5, 6)
    brown = camera_of("1", entry("OpenCV", [*head, 1, 2, 3, 4, 5]))
    assert brown.distortion.coefficients == (1, 2, 4, 5, 3)
    assert camera_of("1", entry("PinholePlane", head)).distortion.model == "none"
    with pytest.raises(ValueError, match="Rational"):
        camera_of("1", entry("Rational", [*head, *[0.0] * 8]))
