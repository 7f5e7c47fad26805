"""Bad input and broken engines: real MediaPipe, and small fakes where something must break."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from assets.manifest import asset_path
from streams.camera import Camera
from streams.frame import Frame
from streams.projection import project
from streams.rigid import Rigid
from tracking import engine_lanes
from tracking.canonical_face import read_canonical_face
from tracking.engine import FaceMarks, HandMarks, PersonMarks, Picture
from tracking.engine_lanes import JointLane, SeparateLanes, Wanted
from tracking.engine_slot import EngineSlot, TrackingError
from tracking.engines import mediapipe_tasks
from tracking.engines.face_pipeline import FacePipeline, FaceSettings
from tracking.engines.hand_pipeline import HandPipeline, HandSettings
from tracking.engines.mediapipe_tasks import Confidences, MediaPipeFace, MediaPipeHands
from tracking.evaluation import rotation_error_deg
from tracking.head_pose import RIGID_LANDMARKS
from tracking.nets.litert import LiteRtNets
from tracking.subject import Subject
from tracking.tracker import Tracker, TrackerOptions, face_settings, hand_settings
from tracking.visibility import ALL_SEEN

FACE = "models/face_landmarker.task"
HANDS = "models/hand_landmarker.task"


def frame(t_ms: int, size: tuple[int, int] = (64, 48), value: int = 0, name: str = "a") -> Frame:
    camera = Camera.from_fov(size, name=name)
    rgb = np.full((size[1], size[0], 3), value, np.uint8)
    return Frame(t_ms * 1_000_000, t_ms, camera, rgb)


@pytest.fixture(scope="module", params=["litert", "torch", "mediapipe"])
def tracker(request: pytest.FixtureRequest) -> Iterator[Tracker]:
    with Tracker.open(TrackerOptions(engine=request.param)) as opened:
        yield opened


BAD_PICTURES = {
    "none": None,
    "list": [[0, 0, 0]],
    "grey": np.zeros((64, 64), np.uint8),
    "one channel": np.zeros((64, 64, 1), np.uint8),
    "rgba": np.zeros((64, 64, 4), np.uint8),
    "float": np.zeros((64, 64, 3), np.float32),
    "uint16": np.zeros((64, 64, 3), np.uint16),
    "int64": np.zeros((64, 64, 3), np.int64),
    "empty": np.zeros((0, 0, 3), np.uint8),
    "no width": np.zeros((64, 0, 3), np.uint8),
    "tiny": np.zeros((15, 64, 3), np.uint8),
    "flipped view": np.zeros((64, 64, 3), np.uint8)[:, ::-1],
    "column view": np.zeros((64, 128, 3), np.uint8)[:, 40:],
    "fortran": np.asfortranarray(np.zeros((64, 64, 3), np.uint8)),
}


def test_engines_refuse_what_would_kill_or_fool_them() -> None:
    """Each of these ends MediaPipe's graph or process, or is silently read as other pixels."""
    sure, nets = Confidences(), LiteRtNets(threads=1)
    for engine in (
        MediaPipeFace(asset_path(FACE), sure),
        MediaPipeHands(asset_path(HANDS), sure, hands=2, search_every_ms=1),
        FacePipeline(nets),
        HandPipeline(nets),
    ):
        for name, picture in BAD_PICTURES.items():
            with pytest.raises(ValueError, match="expected a C-contiguous uint8"):
                engine.look(picture, 1)  # pyright: ignore[reportArgumentType]
            assert name
        assert not engine.look(np.zeros((64, 64, 3), np.uint8), 2)
        engine.close()


def test_track_wants_frames(tracker: Tracker) -> None:
    for wrong in (None, np.zeros((64, 64, 3), np.uint8), "frame"):
        with pytest.raises(ValueError, match="expected a Frame"):
            tracker.track(wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="at least 16 x 16"):
        tracker.track(frame(1, (8, 200)))
    state = tracker.track(frame(2, (16, 16)))
    assert (state.t_ns, state.source, state.face, state.hands) == (2_000_000, "a", None, ())


def test_any_size_and_content_gives_a_state(tracker: Tracker) -> None:
    random = np.random.default_rng(0)
    for i, size in enumerate([(16, 4000), (4000, 16), (2600, 2100), (640, 480), (33, 17)]):
        camera = Camera.from_fov(size, name="a")
        noise = random.integers(0, 256, (size[1], size[0], 3), np.uint8)
        for k, rgb in enumerate((noise, np.full_like(noise, 255))):
            state = tracker.track(Frame((10 + 2 * i + k) * 33_000_000, i, camera, rgb))
            assert state.face is None
            assert state.hands == ()


def test_time_may_stand_still_or_run_backwards(tracker: Tracker) -> None:
    for t_ms in (5000, 5000, 5000, 5001, 7000, 3, 4, 4):
        assert tracker.track(frame(t_ms)).t_ns == t_ms * 1_000_000
    assert tracker.track(frame(1, name="other")).source == "other"
    assert tracker.track(frame(-5, name="before the epoch")).t_ns == -5_000_000
    huge = 2**62
    assert tracker.track(Frame(huge, 0, frame(0).camera, frame(0).rgb)).t_ns == huge


def test_closed_is_closed() -> None:
    before = set(threading.enumerate())
    tracker = Tracker.open(TrackerOptions(hands=0))
    tracker.track(frame(1))
    tracker.close()
    tracker.close()
    with pytest.raises(ValueError, match="closed"):
        tracker.track(frame(2))
    started = set(threading.enumerate()) - before
    assert not [thread.name for thread in started if thread.name.startswith("tracking-")]


def test_nothing_to_track_is_allowed() -> None:
    with Tracker.open(TrackerOptions(faces=0, hands=0)) as tracker:
        assert tracker.track(frame(1)).face is None


def test_bad_options_are_named() -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {"engine": "magic"},
        {"faces": 7},
        {"faces": 2, "engine": "mediapipe"},
        {"hands": 3},
        {"min_presence": 1.5},
        {"min_detection": float("nan")},
        {"looks": 6},
        {"looks": 5, "engine": "mediapipe"},
        {"look_for_hands_every_ms": -1},
        {"patience_s": 0.0},
    )
    for bad in wrong:
        with pytest.raises(ValueError, match=f"TrackerOptions.{next(iter(bad))}: expected"):
            Tracker.open(TrackerOptions(**bad))


def _damaged(source: Path, how: str) -> bytes | None:
    data = bytearray(source.read_bytes())
    if how == "absent":
        return None
    if how == "empty":
        return b""
    if how == "truncated":
        return bytes(data[: len(data) // 2])
    if how == "garbage":
        return np.random.default_rng(0).bytes(5000)
    data[len(data) // 3 : len(data) // 3 + 64] = bytes(64)  # Inside a network's weights.
    return bytes(data)


@pytest.mark.parametrize("how", ["absent", "empty", "truncated", "garbage", "bit rot"])
@pytest.mark.parametrize("which", ["face_model", "hand_model"])
@pytest.mark.parametrize("engine", ["litert", "torch", "mediapipe"])
def test_damaged_models_end_in_one_line(tmp_path: Path, how: str, which: str, engine: str) -> None:
    data = _damaged(asset_path(FACE if which == "face_model" else HANDS), how)
    path = tmp_path / "model.task"
    if data is not None:
        path.write_bytes(data)
    options = TrackerOptions(engine=engine, face_model=path)
    if which == "hand_model":
        options = TrackerOptions(engine=engine, hand_model=path)
    with pytest.raises(ValueError, match=r"model\.task: expected a") as caught:
        Tracker.open(options)
    assert "\n" not in str(caught.value)


def test_the_bundles_are_not_interchangeable() -> None:
    with pytest.raises(ValueError, match="with face_detector"):
        Tracker.open(TrackerOptions(hands=0, face_model=asset_path(HANDS)))
    with pytest.raises(ValueError, match="with hand_detector"):
        Tracker.open(TrackerOptions(faces=0, hand_model=asset_path(FACE)))


class CountedLandmarker:
    """Stands for MediaPipe's landmarker for so many hands and counts how often it is asked."""

    def __init__(self, hands: int) -> None:
        self.hands, self.asked = hands, 0


def test_looking_for_hands_is_rationed(monkeypatch: pytest.MonkeyPatch) -> None:
    """MediaPipe's search for a palm costs more than a face; following a hand costs little."""
    made: list[CountedLandmarker] = []
    visible = 0

    def make(_bundle: Path, _sure: Confidences, hands: int) -> CountedLandmarker:
        made.append(CountedLandmarker(hands))
        return made[-1]

    def find(landmarker: CountedLandmarker, _rgb: Picture, _t_ms: int) -> tuple[HandMarks, ...]:
        landmarker.asked += 1
        marks = HandMarks(np.zeros((21, 2), np.float32), np.zeros((21, 3), np.float32), "left", 1.0)
        return (marks,) * min(visible, landmarker.hands)

    monkeypatch.setattr(mediapipe_tasks, "_hand_landmarker", make)
    monkeypatch.setattr(mediapipe_tasks, "_hands", find)
    engine = MediaPipeHands(asset_path(HANDS), Confidences(), hands=2, search_every_ms=30)
    two, one = made
    frames = itertools.count()

    def looks(count: int) -> tuple[int, int, list[int]]:
        two.asked = one.asked = 0
        picture = np.zeros((16, 16, 3), np.uint8)
        found = [len(engine.look(picture, 10 * next(frames))) for _ in range(count)]
        return two.asked, one.asked, found

    assert looks(9) == (3, 0, [0] * 9), "nobody there: every third frame"
    visible = 1
    assert looks(9) == (3, 6, [1] * 9), "one is followed in each frame, the other looked for"
    visible = 2
    assert looks(6)[2][2:] == [2] * 4
    assert looks(6) == (6, 0, [2] * 6), "both are followed by the landmarker for two"
    visible = 0
    assert looks(6)[2] == [0] * 6, "gone is gone at once"


class FakeFace:
    """Says at each look what it was made to say."""

    marks: FaceMarks

    def __init__(self, *_: object) -> None:
        pass

    def look(self, rgb: Picture, t_ms: int) -> tuple[FaceMarks, ...]:
        return (self.marks,) if int(rgb[0, 0, 0]) else ()

    def close(self) -> None:
        pass


def test_a_face_from_any_engine_is_put_into_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    canonical = read_canonical_face(asset_path(FACE))
    camera = Camera.from_fov((640, 480), name="a")
    truth = Rigid.from_rotvec([0.1, 0.3, 0.0], [0.0, 0.0, -0.6])
    irises = np.repeat(canonical.eyes[::-1] + [0.0, 0.0, 0.0104], 5, axis=0)
    points = truth.apply(np.concatenate([canonical.vertices, irises]))
    pixels, depth = project(camera, points)
    z = (depth / depth[RIGID_LANDMARKS].mean() - 1.0) * camera.focal[0]
    shapes = np.zeros(52, np.float32)
    monkeypatch.setattr(mediapipe_tasks, "MediaPipeFace", FakeFace)
    # The pictures are plain: what shows in a picture has tests of its own (test_visibility).
    monkeypatch.setattr("tracking.tracker.parts_seen", lambda *_: ALL_SEEN)
    FakeFace.marks = FaceMarks(np.column_stack([pixels, z]).astype(np.float32), shapes)
    white, black = (np.full((480, 640, 3), v, np.uint8) for v in (255, 0))
    with Tracker.open(TrackerOptions(engine="mediapipe", hands=0)) as tracker:
        face = tracker.track(Frame(0, 0, camera, white)).face
        assert face is not None
        assert rotation_error_deg(face.world_from_head, truth) < 0.5
        assert face.world_from_head.xyz == pytest.approx(truth.xyz, abs=0.005)
        assert face.gaze[:, 2].min() > 0.99
        assert face.confidence > 0.95
        assert tracker.track(Frame(1, 1, camera, black)).face is None, "never a stale face"

        # Half of it outside the picture: less is sure of it.
        FakeFace.marks = replace(
            FakeFace.marks, landmarks=FakeFace.marks.landmarks - np.array([320, 0, 0], np.float32)
        )
        edge = tracker.track(Frame(2, 2, camera, white)).face
        assert edge is not None
        assert 0.2 < edge.confidence < 0.8

        # A palm that is taken for a face fits no face.
        random = np.random.default_rng(0).normal(0.0, 25.0, (478, 3))
        FakeFace.marks = FaceMarks((random + (320, 240, 0)).astype(np.float32), shapes)
        assert tracker.track(Frame(3, 3, camera, white)).face is None


class Scripted:
    """An engine that does what its script says at each look."""

    def __init__(self, script: list[str], opened: list[int], release: threading.Event) -> None:
        opened.append(1)
        self.script, self.release = script, release

    def look(self, rgb: Picture, t_ms: int) -> str:
        what = self.script.pop(0)
        if what == "break":
            raise RuntimeError("the graph is dead")
        if what == "stumble":  # As numpy and OpenCV do over what a network says.
            raise cv2.error("(-215:Assertion failed)")
        if what == "hang":
            self.release.wait(30.0)
        return f"{what} {t_ms}"

    def close(self) -> None:
        raise RuntimeError("a dead graph does not close either")


PICTURE = np.zeros((16, 16, 3), np.uint8)


def _slot(
    script: list[str], patience_s: float = 5.0
) -> tuple[EngineSlot[str], list[int], threading.Event]:
    opened: list[int] = []
    release = threading.Event()
    slot = EngineSlot("tracking-test", lambda: Scripted(script, opened, release), patience_s)
    slot.begin()
    slot.wait()
    return slot, opened, release


def _ask(slot: EngineSlot[str], t_ms: int) -> str:
    slot.ask(PICTURE, t_ms)
    return slot.answer()


def test_a_broken_engine_is_replaced_and_asked_again() -> None:
    slot, opened, _ = _slot(["ok", "break", "ok", "ok"])
    assert [_ask(slot, t) for t in (1, 2, 3)] == ["ok 1", "ok 2", "ok 3"]
    assert len(opened) == 2
    slot.close()


def test_an_engine_that_stumbles_is_replaced_likewise() -> None:
    slot, opened, _ = _slot(["stumble", "ok", "stumble", "stumble", "ok"])
    assert _ask(slot, 1) == "ok 1"
    with pytest.raises(TrackingError, match=r"failed twice .*-215"):
        _ask(slot, 2)
    assert _ask(slot, 3) == "ok 3"
    assert len(opened) == 4
    slot.close()


def test_an_engine_that_breaks_twice_is_an_error_and_the_next_picture_goes_on() -> None:
    slot, opened, _ = _slot(["break", "break", "ok"])
    with pytest.raises(TrackingError, match="failed twice on a picture of 16 x 16"):
        _ask(slot, 1)
    assert _ask(slot, 2) == "ok 2"
    assert len(opened) == 3
    slot.close()


def test_a_hung_engine_is_left_behind_and_its_late_answer_never_seen() -> None:
    slot, opened, release = _slot(["hang", "ok", "ok"], patience_s=0.2)
    assert _ask(slot, 1) == "ok 1"
    release.set()
    assert _ask(slot, 2) == "ok 2"
    assert len(opened) == 2
    slot.close()


@pytest.mark.parametrize("end", ["begin", "close"])
def test_a_new_engine_is_not_shown_what_the_old_one_was(end: str) -> None:
    slot, opened, _ = _slot(["ok"] * 3, patience_s=1.0)
    slot.ask(PICTURE, 7)  # Nobody takes the answer.
    if end == "begin":
        slot.begin()
        slot.wait()
    else:
        slot.close()
    assert _ask(slot, 1) == "ok 1"
    assert len(opened) == 2
    slot.close()


def test_an_engine_that_does_not_open_says_why() -> None:
    def refuse() -> Scripted:
        raise RuntimeError("no such model")

    slot: EngineSlot[str] = EngineSlot("tracking-test", refuse, 5.0)
    slot.begin()
    with pytest.raises(RuntimeError, match="no such model"):
        slot.wait()
    hung = threading.Event()

    def never() -> Scripted:
        hung.wait(30.0)
        return Scripted([], [], hung)

    slot = EngineSlot("tracking-test", never, 0.1)
    slot.begin()
    with pytest.raises(TimeoutError, match="did not open within"):
        slot.wait()
    hung.set()


class ScriptedLook:
    """An engine for any lanes, whose marks have its picture's time in them, until it breaks."""

    def __init__(self, script: list[str], joint: bool, faces: bool) -> None:
        self.script, self.joint, self.faces = script, joint, faces

    def look(self, rgb: Picture, t_ms: int) -> Any:
        if self.script and self.script.pop(0) == "break":
            raise RuntimeError("the graph is dead")
        face = FaceMarks(np.full((478, 3), t_ms, np.float32), np.zeros(52, np.float32))
        shape = np.zeros((21, 3), np.float32)
        hand = HandMarks(np.full((21, 2), t_ms, np.float32), shape, "left", 1.0)
        if self.joint:
            return PersonMarks((face,), (hand,))
        return (face,) if self.faces else (hand,)

    def close(self) -> None:
        pass


LANES = {"separate": SeparateLanes, "joint": JointLane}


def _lanes(
    kind: str, script: list[str], monkeypatch: pytest.MonkeyPatch
) -> SeparateLanes | JointLane:
    """Begun; the face's engine, or the one for both, goes by the script."""
    for name, scripted, joint, faces in (
        ("open_face_engine", script, False, True),
        ("open_hand_engine", [], False, False),
        ("open_person_engine", script, True, True),
    ):
        monkeypatch.setattr(
            engine_lanes, name, lambda *_, args=(scripted, joint, faces): ScriptedLook(*args)
        )
    lanes = LANES[kind](Wanted("", FaceSettings(), HandSettings(), {}, 5.0), Subject())
    lanes.begin()
    return lanes


def _seen(lanes: SeparateLanes | JointLane, t_ms: int) -> tuple[float, float]:
    lanes.ask(PICTURE, t_ms)
    (face,), (hand,) = lanes.faces(), lanes.hands()
    return float(face.landmarks[0, 0]), float(hand.landmarks[0, 0])


@pytest.mark.parametrize("kind", LANES)
def test_lanes_replace_a_broken_engine(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(threading.enumerate())
    lanes = _lanes(kind, ["ok", "break", "ok"], monkeypatch)
    assert [_seen(lanes, t) for t in (1, 2, 3)] == [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]
    lanes.close()
    lanes.close()
    started = set(threading.enumerate()) - before
    assert not [thread.name for thread in started if thread.name.startswith("tracking-")]


@pytest.mark.parametrize("kind", LANES)
def test_after_an_error_faces_and_hands_are_of_one_picture(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hands' answer to the picture that broke the face's engine was never taken."""
    lanes = _lanes(kind, ["break", "break"], monkeypatch)
    lanes.ask(PICTURE, 1)
    with pytest.raises(TrackingError, match="failed twice"):
        lanes.faces()
    assert [_seen(lanes, t) for t in (2, 3)] == [(2.0, 2.0), (3.0, 3.0)]
    lanes.close()


@pytest.mark.parametrize("kind", LANES)
def test_lanes_that_do_not_open_say_why(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> ScriptedLook:
        raise RuntimeError("no such model")

    for name in ("open_face_engine", "open_person_engine"):
        monkeypatch.setattr(engine_lanes, name, refuse)
    lanes = LANES[kind](Wanted("", FaceSettings(), None, {}, 5.0), Subject())
    with pytest.raises(RuntimeError, match="no such model"):
        lanes.begin()


def test_openvino_runs_the_hands_and_litert_the_face(monkeypatch: pytest.MonkeyPatch) -> None:
    """The face's networks are slower in OpenVINO."""
    asked: list[str] = []

    def nets(engine: str, threads: int, _bundles: dict[str, Path]) -> LiteRtNets:
        asked.append(engine)
        return LiteRtNets(threads)

    monkeypatch.setattr(engine_lanes, "open_nets", nets)
    bundles = {FACE: asset_path(FACE), HANDS: asset_path(HANDS)}
    for engine in ("openvino", "litert"):
        wanted = Wanted(engine, FaceSettings(), HandSettings(), bundles, 5.0)
        engine_lanes.open_face_engine(wanted).close()
        engine_lanes.open_hand_engine(wanted, Subject()).close()
    assert asked == ["litert", "openvino", "litert", "litert"]


@pytest.mark.parametrize(("cuda", "engine", "looks", "expected"), [
    (True, "torch", None, 5), (True, "torch", 2, 2), (True, "litert", None, 1),
    (False, "torch", None, 1), (False, "torch", 5, 5), (True, "mediapipe", None, 1),
])  # fmt: skip
def test_five_looks_are_taken_where_they_are_afforded(
    cuda: bool, engine: str, looks: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking.tracker.has_cuda", lambda: cuda)
    options = TrackerOptions(engine=engine, looks=looks)
    assert face_settings(engine, options).looks == expected
    assert hand_settings(engine, options).looks == expected


def test_options_come_to_settings() -> None:
    options = TrackerOptions(
        faces=3, hands=1, min_detection=0.4, min_presence=0.6, look_for_hands_every_ms=80
    )
    faces, hands = face_settings("litert", options), hand_settings("litert", options)
    assert (faces.faces, faces.min_detection, faces.min_presence) == (3, 0.4, 0.6)
    assert (hands.hands, hands.min_detection, hands.min_presence) == (1, 0.4, 0.6)
    assert hands.search_every_ms == 80
    # Where nothing is asked for, each pipeline has its own.
    options = TrackerOptions()
    for engine, face, hand in (("litert", 0.3, 0.2), ("mediapipe", 0.5, 0.5)):
        assert face_settings(engine, options).min_detection == face
        assert hand_settings(engine, options).min_detection == hand
