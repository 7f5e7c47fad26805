"""The tracking benchmark: its readers, protocols and verdicts, and a small run on what ships."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from assets.manifest import asset_path
from benchmarks.annotated_photographs import AnnotatedHand, read_faces, read_hands
from benchmarks.compared_trackers import BesideItself, CalmHands, mediapipe_face, open_nets
from benchmarks.face_layouts import (
    AFLW_19,
    COFW_29,
    IBUG_68,
    LAPA_TO_IBUG,
    WFLW_TO_IBUG,
)
from benchmarks.film_frames import STAGE, frames, side_by_side, to_and_fro
from benchmarks.tracking import TrackingBenchmark
from benchmarks.tracking_accuracy import hand_accuracy
from benchmarks.tracking_cost import by_turns
from benchmarks.tracking_gpu import TrackingGpu
from benchmarks.tracking_motion import face_track, motion_table
from benchmarks.tracking_parity import net_parity, real_inputs
from benchmarks.tracking_report import Report, verdict
from tracking.canonical_face import read_canonical_face
from tracking.engine import FaceMarks, HandMarks, Picture
from tracking.engines.face_pipeline import FacePipeline, FaceSettings
from tracking.net import NETS, Net, NetSource

FACE = "models/face_landmarker.task"


def test_layouts_name_the_landmarks_that_lie_there() -> None:
    """On MediaPipe's average face: mirror images lie on mirror images, in the right places."""
    canonical = read_canonical_face(asset_path(FACE))
    # It has no irises; they stand in the middle of the eyes' corners.
    x, y = canonical.vertices[:, 0], canonical.vertices[:, 1]
    face = np.column_stack([x, -y])
    right, left = face[[33, 133]].mean(0), face[[263, 362]].mean(0)
    face = np.concatenate([face, np.tile(right, (5, 1)), np.tile(left, (5, 1))])
    swapped = {
        "ibug": (IBUG_68, [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31)]
                 + [35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
                 + [*range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65]),
        "aflw": (AFLW_19, [5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 14, 13, 12, 17, 16, 15, 18]),
        "cofw": (COFW_29, [1, 0, 3, 2, 6, 7, 4, 5, 9, 8, 11, 10, 14, 15, 12, 13, 17, 16, 19, 18]
                 + [20, 21, 23, 22, 24, 25, 26, 27, 28]),
    }  # fmt: skip
    span = np.ptp(face[:, 0])
    for name, (layout, mirror) in swapped.items():
        points = layout.points(face)
        assert len(points) == len(mirror) == len(layout.landmarks)
        apart = np.abs(points * [-1.0, 1.0] - points[mirror]).max()
        assert apart < 0.02 * span, name
        corners = points[list(layout.outer_eye_corners)]
        assert corners[0] == pytest.approx(face[33])
        assert corners[1] == pytest.approx(face[263])
    points = IBUG_68.points(face)
    jaw, brows, nose, eyes, lips = (points[k] for k in np.split(np.arange(68), [17, 27, 36, 48]))
    assert brows[:, 1].max() < eyes[:, 1].min() < nose[-1, 1] < lips[:, 1].min()
    assert jaw[:, 1].argmax() == 8, "the chin is the ninth"
    assert lips[:, 1].max() < jaw[8, 1]
    assert (np.diff(jaw[:, 0]) > 0).all(), "from the person's right to the left"
    with pytest.raises(ValueError, match=r"expected \(478, 2\), got \(468, 3\)"):
        IBUG_68.points(np.zeros((468, 3)))


def test_subsets_are_ibug_s_68() -> None:
    for subset, count in ((WFLW_TO_IBUG, 98), (LAPA_TO_IBUG, 106)):
        assert len(subset) == len(set(subset)) == 68
        assert max(subset) < count


def test_real_annotations_are_read(shared_data: Path) -> None:
    hands = read_hands(shared_data / "hands" / "ground_truth")
    faces = read_faces(shared_data / "faces" / "ground_truth")
    assert [hand.data_set for hand in hands] == ["onehand10k"] * 4 + ["rhd"] * 3
    assert [face.data_set for face in faces] == ["300w"] * 2 + ["aflw"] * 2
    for item in (*hands, *faces):
        with Image.open(item.picture) as image:
            size = np.array(image.size)
        known = item.landmarks[np.isfinite(item.landmarks).all(axis=1)]
        assert len(known) >= 7
        assert (known > -0.1 * size).all()
        assert (known < 1.1 * size).all()
    for hand in hands[4:]:
        assert hand.joints_m is not None
        assert hand.side in ("left", "right")
        # RHD's joints in the order of its picture: projecting them gives the annotated pixels.
        flat = hand.joints_m[:, :2] / hand.joints_m[:, 2:]
        fit = [np.polyfit(flat[:, k], hand.landmarks[:, k], 1) for k in (0, 1)]
        for k in (0, 1):
            assert np.abs(np.polyval(fit[k], flat[:, k]) - hand.landmarks[:, k]).max() < 1.5
        # The thumb is walked along from the wrist, any other order is a longer way; and so are
        # fingers, but for curled ones, whose tips are nearest.
        wrist = hand.joints_m[0]
        thumb, *fingers = (
            min(
                itertools.permutations(range(4)),
                key=lambda order, finger=finger: _way([wrist, *finger[list(order)]]),
            )
            for finger in hand.joints_m[1:].reshape(5, 4, 3)
        )
        assert thumb == (0, 1, 2, 3)
        assert set(fingers) <= {(0, 1, 2, 3), (3, 2, 1, 0)}


def _way(points: Sequence[npt.NDArray[np.float64]]) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def _write_onehand(folder: Path, keypoints: object) -> None:
    document = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"image_id": 1, "keypoints": keypoints, "bbox": [0, 0, 9, 9]}],
    }
    (folder / "test_onehand10k.json").write_text(json.dumps(document))


def test_unknown_points_and_bad_files(tmp_path: Path) -> None:
    assert read_hands(tmp_path) == []
    assert read_faces(tmp_path) == []
    _write_onehand(tmp_path, [[0, 0, 0], *([10.5, 20.5, 1] for _ in range(20))])
    (hand,) = read_hands(tmp_path)
    assert np.isnan(hand.landmarks[0]).all()
    assert hand.landmarks[1:].tolist() == [[10.0, 20.0]] * 20, "half a pixel is taken off"
    _write_onehand(tmp_path, [1, 2, 1])
    with pytest.raises(ValueError, match="expected 21 points, got 1"):
        read_hands(tmp_path)
    (tmp_path / "test_onehand10k.json").write_text("{")
    with pytest.raises(ValueError, match="expected annotations in JSON"):
        read_hands(tmp_path)


class Oracle:
    """Finds a hand where it was told that one lies, in whatever part it is shown; and rubbish."""

    def __init__(self, landmarks: npt.NDArray[np.float64], lie: float) -> None:
        self._landmarks, self._lie = landmarks, lie
        self.shown: list[tuple[int, int]] = []

    def hands(self, rgb: Picture) -> Sequence[HandMarks]:
        self.shown.append(rgb.shape[:2])
        # Pixels of the photograph say where they are: red is x, green y.
        offset = rgb[0, 0, :2].astype(float)
        at = (self._landmarks - offset + self._lie).astype(np.float32)
        shape = np.zeros((21, 3), np.float32)
        return [HandMarks(at + 500, shape, "right", 1.0), HandMarks(at, shape, "left", 1.0)]

    def faces(self, rgb: Picture) -> Sequence[npt.NDArray[np.float32]]:
        return []


def test_both_protocols_measure_in_the_photograph(tmp_path: Path) -> None:
    x, y = np.meshgrid(np.arange(250), np.arange(200))
    coordinates = np.stack([x, y, np.zeros_like(x)], axis=-1).astype(np.uint8)
    Image.fromarray(coordinates).save(tmp_path / "a.png")
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 1, (21, 2)) * [40, 30] + [120, 90]
    points[0], points[9] = [120.0, 90.0], [160.0, 120.0]
    hand = AnnotatedHand("made", tmp_path / "a.png", points, "left", None)
    for protocol, smaller in (("image", False), ("crop", True)):
        oracle = Oracle(points, lie=2.0)
        made, every = hand_accuracy([hand], oracle, protocol)
        assert replace(made, data_set="all") == every or math.isnan(every.aligned_mm)
        assert (made.count, made.found, made.right_side) == (1, 1.0, 1.0)
        assert made.pixels == pytest.approx(2 * math.sqrt(2), rel=1e-5)
        assert made.box_error == pytest.approx(2 * math.sqrt(2) / 40, rel=1e-5)
        assert made.palm_error == pytest.approx(2 * math.sqrt(2) / 50, rel=1e-5)
        assert (made.correct_10, made.correct_20) == (1.0, 1.0)
        assert math.isnan(made.aligned_mm)
        assert (oracle.shown[0] != (200, 250)) is smaller
    lost = hand_accuracy([hand], Oracle(points, lie=100.0), "image")[-1]
    assert lost.found == 0.0
    assert math.isnan(lost.box_error)
    with pytest.raises(ValueError, match="protocol: expected one of"):
        hand_accuracy([hand], Oracle(points, 0.0), "tile")


def test_verdicts() -> None:
    assert verdict(0.86, 0.78, 0.85, True) == "reached for"
    assert verdict(0.80, 0.78, 0.85, True) == "reached"
    assert verdict(0.70, 0.78, None, True) == "missed"
    assert verdict(0.70, 0.78, None, False) == "reached"
    assert verdict(math.nan, 0.78, 0.85, True) == "missed"
    assert verdict(math.nan, 0.78, 0.85, False) == "missed"
    report = Report()
    report.judge("a", 1.0, math.nan, 2.0, why_not="other photographs")
    assert not report.missed
    report.judge("b", 1.0, 3.0, 2.0, least=False)
    assert report.missed
    assert json.loads(json.dumps(report.document(), allow_nan=False))["bars"][0]["ours"] is None


def test_turns_show_all_the_same_frames_at_rising_times() -> None:
    film = [np.full((16, 16, 3), k, np.uint8) for k in range(5)]
    assert [int(f[0, 0, 0]) for f in itertools.islice(to_and_fro(film), 10)] == [
        0, 1, 2, 3, 4, 3, 2, 1, 0, 1,
    ]  # fmt: skip
    seen: dict[str, list[tuple[int, int]]] = {"a": [], "b": []}

    def look(name: str, work: int):
        def looks(rgb: Picture, t_ms: int) -> None:
            seen[name].append((int(rgb[0, 0, 0]), t_ms))
            sum(range(work))

        return looks

    first, other = by_turns("film", film, {"a": look("a", 20_000), "b": look("b", 200)}, turns=3)
    assert seen["a"] == seen["b"]
    times = [t_ms for _, t_ms in seen["a"]]
    assert times == sorted(set(times))
    assert (first.wall_ratio, first.cpu_ratio) == ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    assert other.wall_ratio[1] > 2.0
    assert other.wall_ratio[0] <= other.wall_ratio[1] <= other.wall_ratio[2]
    with pytest.raises(ValueError, match="expected frames, got none"):
        next(to_and_fro([]))


def test_a_stage_shows_a_face_between_two_hands() -> None:
    face = np.full((512, 512, 3), 200, np.uint8)
    hand = np.zeros((1080, 620, 3), np.uint8)
    hand[:, :310] = 100
    (stage,) = side_by_side([face], [hand])
    assert stage.shape == (STAGE[1], STAGE[0], 3)
    row = stage[360, :, 0]
    assert (row[0], row[-1], row[640]) == (100, 100, 200)
    assert np.array_equal(row[:400], row[::-1][:400]), "the right hand is the left one's mirror"


class ShiftedNets:
    """A net source whose networks all answer so much too much."""

    name = "shifted"

    def __init__(self, nets: NetSource, by: float) -> None:
        self._nets, self._by = nets, by

    def open(self, network: str) -> Net:
        net, by = self._nets.open(network), self._by

        class Shifted:
            spec = net.spec

            def __call__(self, batch: npt.NDArray[np.float32]):
                return tuple(output + np.float32(by) for output in net(batch))

        return Shifted()


def test_parity_of_networks_on_what_the_pipeline_gives_them() -> None:
    nets = open_nets("litert", 1)
    # A frame of the clip with the face and a hand.
    inputs = real_inputs(nets, [frames(asset_path("clips/demo"), 1, first=k)[0] for k in (0, 180)])
    assert set(inputs) == set(NETS)
    for network, batches in inputs.items():
        assert batches, network
        assert batches[0].shape == (1, *NETS[network].input_shape)
    same = net_parity(nets, "litert", nets, inputs)
    assert [row.largest for row in same] == [0.0] * 5
    shifted = {row.network: row for row in net_parity(nets, "b", ShiftedNets(nets, 0.25), inputs)}
    assert shifted["face_landmarks"].mean_px == pytest.approx(0.25 * math.sqrt(2), rel=1e-3)
    assert shifted["hand_detector"].largest == pytest.approx(0.25, rel=1e-3)
    assert math.isnan(shifted["hand_detector"].mean_px)
    with pytest.raises(ValueError, match="open_nets: expected"):
        open_nets("magic", 1)


class WanderingHand:
    """A hand engine that trembles, and loses its hand at the tenth look."""

    def __init__(self) -> None:
        self._rng, self._looks = np.random.default_rng(0), 0

    def look(self, rgb: Picture, t_ms: int) -> tuple[HandMarks, ...]:
        self._looks += 1
        if self._looks == 10:
            return ()
        points = np.random.default_rng(1).uniform(100, 200, (21, 2))
        moved = (points + self._rng.normal(0, 1, (21, 2))).astype(np.float32)
        return (HandMarks(moved, np.zeros((21, 3), np.float32), "left", 1.0),)

    def close(self) -> None:
        pass


def test_hands_are_calmed_as_the_tracker_does_and_forgotten_when_lost() -> None:
    raw, calm = WanderingHand(), CalmHands(WanderingHand())
    rgb = np.zeros((16, 16, 3), np.uint8)
    pairs = [(raw.look(rgb, k * 33), calm.look(rgb, k * 33)) for k in range(1, 30)]
    assert np.array_equal(pairs[0][0][0].landmarks, pairs[0][1][0].landmarks)
    assert pairs[9] == ((), ())
    assert np.array_equal(pairs[10][0][0].landmarks, pairs[10][1][0].landmarks), "begun anew"
    tracks = np.array([[a[0].landmarks, b[0].landmarks] for a, b in pairs[12:]])
    assert tracks[:, 1].std(axis=0).mean() < 0.8 * tracks[:, 0].std(axis=0).mean()


def test_a_lost_photograph_counts_for_no_tracker() -> None:
    still = frames(asset_path("clips/demo"), 1)[0]
    assert face_track(lambda: NoFace())([still]) is None
    trackers = {"all": face_track(lambda: StillFace()), "none": face_track(lambda: NoFace())}
    every, none = motion_table("face", [still], trackers)
    assert (every.photographs, none.photographs) == (0, 0)
    assert math.isnan(every.jitter_percent)


class NoFace:
    def look(self, rgb: Picture, t_ms: int) -> tuple[FaceMarks, ...]:
        return ()

    def close(self) -> None:
        pass


class StillFace(NoFace):
    def look(self, rgb: Picture, t_ms: int) -> tuple[FaceMarks, ...]:
        return (FaceMarks(np.ones((478, 3), np.float32), np.zeros(52, np.float32)),)


@pytest.mark.slow
def test_motion_of_the_shipped_face_is_measured() -> None:
    """Both filters lag a little; ours lags less and trembles hardly more."""
    still = frames(asset_path("clips/demo"), 1)[0]
    nets = open_nets("litert", 1)
    trackers = {
        "MediaPipe": face_track(mediapipe_face),
        "ours": face_track(lambda: FacePipeline(nets)),
        "one of two": face_track(lambda: BesideItself(FacePipeline(nets, FaceSettings(faces=2)))),
    }
    theirs, ours, beside = motion_table("face", [still], trackers)
    assert theirs.photographs == ours.photographs == beside.photographs == 1
    assert beside.jitter_percent == pytest.approx(ours.jitter_percent, rel=0.02)
    assert beside.lag_ms == pytest.approx(ours.lag_ms, abs=0.5)
    for row in (theirs, ours):
        assert 0.01 < row.jitter_percent < 0.1
        assert 3.0 < row.lag_ms < 12.0
    assert ours.jitter_percent < 1.5 * theirs.jitter_percent
    assert ours.lag_ms < theirs.lag_ms


def test_a_run_without_real_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "tracking.json"
    benchmark = TrackingBenchmark(("accuracy", "cuda"), data=tmp_path / "nothing", json=out)
    assert benchmark.main() == 0
    printed = capsys.readouterr().out
    assert "| accuracy |  |  |  | unmeasured | no annotated photographs at hand |" in printed
    document = json.loads(out.read_text())
    assert document["engine"] == "litert"
    assert document["bars"][0]["ours"] == "unmeasured"
    assert TrackingBenchmark(("speed",)).main() == 2
    assert "expected one of accuracy, parity" in capsys.readouterr().err


@pytest.mark.slow
def test_the_cuda_benchmark_runs_dry(capsys: pytest.CaptureFixture[str]) -> None:
    """Its engine finds the face and both hands of its own picture, as MediaPipe does."""
    TrackingGpu(device="cpu", frames=1, cameras=(2,)).main()
    said = capsys.readouterr().out
    assert said.count("found 3 of 3") == 3
    assert "2 cameras: " in said
