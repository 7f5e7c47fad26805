"""Several cameras' hands: put together right, in metres, with the real networks on drawn hands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from assets.manifest import asset_path
from benchmarks.hands_multiview import JUDGED
from benchmarks.rendered_hands import Artist, OwnHand, Posed, looking, placed, rig
from streams.camera import Camera, Distortion
from streams.frame import Frame
from streams.hand_skeleton import HandShape, joints_from_angles
from streams.mesh_texture import MeshTexture
from streams.projection import project
from streams.rigid import Rigid
from streams.tracked_state import FacePose, HandPose
from tracking.canonical_face import read_canonical_face
from tracking.engine import HandMarks, Picture
from tracking.evaluation import similarity
from tracking.net import FACE_BUNDLE
from tracking.rig_tracker import RigTracker, RigTrackerOptions
from tracking.user_hand import UserHand
from tracking.view_association import Find, associate

LENS = Distortion("fisheye62", (-0.02, 0.05, -0.03, 0.005, 0.001, -2e-4, 1e-3, -1e-3))


def marks(camera: Camera, joints: np.ndarray, side: str, score: float = 0.95) -> HandMarks:
    pixels, _ = project(camera, joints)
    local = camera.world_from_camera.inverse().apply(joints)
    return HandMarks(
        pixels.astype(np.float32), (local - local.mean(0)).astype(np.float32), side, score
    )


@pytest.fixture(scope="module")
def own() -> Iterator[dict[str, OwnHand]]:
    hands = {side: OwnHand(side=side) for side in ("left", "right")}
    yield hands
    for hand in hands.values():
        hand.close()


@pytest.fixture(scope="module")
def artist() -> Iterator[Artist]:
    with Artist() as made:
        yield made


@pytest.fixture(scope="module")
def both(own: dict[str, OwnHand]) -> dict[str, np.ndarray]:
    """Joints of two hands side by side, 20 cm apart."""
    rng = np.random.default_rng(1)
    found = {}
    for side, aside in (("left", -0.1), ("right", 0.1)):
        found[side] = own[side].posed(0, rng).joints + [aside, 0.0, 0.0]
    return found


def finds_of(
    cameras: tuple[Camera, ...], joints: dict[str, np.ndarray], rng: np.random.Generator
) -> list[Find]:
    finds = []
    for view, camera in enumerate(cameras):
        for side, each in joints.items():
            m = marks(camera, each, side)
            noise = rng.normal(0, 2.0, (21, 2)).astype(np.float32)
            finds.append(Find(view, camera, replace(m, landmarks=m.landmarks + noise)))
    return [finds[k] for k in rng.permutation(len(finds))]


@pytest.mark.parametrize("kind", ["stereo", "headset", "studio"])
@pytest.mark.parametrize("seed", range(3))
def test_two_hands_are_told_apart_in_any_order(
    both: dict[str, np.ndarray], kind: str, seed: int
) -> None:
    hands, rest = associate(finds_of(rig(kind), both, np.random.default_rng(seed)))
    assert [hand.side for hand in hands] == ["left", "right"]
    assert not rest
    for hand in hands:
        assert len(hand.finds) == len(rig(kind))
        for find in hand.finds:
            true, _ = project(find.camera, both[hand.side])
            assert np.linalg.norm(find.marks.landmarks - true, axis=1).mean() < 8.0


def test_the_many_overrule_an_engine_that_is_wrong_in_the_side(both: dict[str, np.ndarray]) -> None:
    finds = finds_of(rig("headset"), both, np.random.default_rng(0))
    flipped = [
        replace(f, marks=replace(f.marks, side="left", score=0.99)) if f.view == 2 else f
        for f in finds
    ]
    hands, rest = associate(flipped)
    assert [hand.side for hand in hands] == ["left", "right"]
    assert not rest
    (right,) = (hand for hand in hands if hand.side == "right")
    assert all(find.marks.side == "right" for find in right.finds)


def test_the_place_of_the_last_moment_decides_where_engines_do_not(
    both: dict[str, np.ndarray],
) -> None:
    """One hand, two views of equal score that contradict one another."""
    left = {"left": both["left"]}
    finds = finds_of(rig("stereo"), left, np.random.default_rng(0))
    finds[0] = replace(finds[0], marks=replace(finds[0].marks, side="right"))
    (hand,), _ = associate(finds, {"left": both["left"]})
    assert hand.side == "left"
    (hand,), _ = associate(finds, {"right": both["left"]})
    assert hand.side == "right"


def test_a_face_that_one_camera_takes_for_a_hand_stays_over(both: dict[str, np.ndarray]) -> None:
    finds = finds_of(rig("headset"), {"right": both["right"]}, np.random.default_rng(0))
    ghost = marks(rig("headset")[0], both["left"] + [0.02, 0.1, -0.3], "left")
    hands, rest = associate([Find(0, rig("headset")[0], ghost), *finds])
    assert [hand.side for hand in hands] == ["right"]
    assert [find.marks.side for find in rest] == ["left"]


def frames_of(
    hands: list[Posed], cameras: tuple[Camera, ...], artist: Artist, t_ns: int, seq: int = 0
) -> tuple[Frame, ...]:
    """All hands in one picture: the nearer pixels of each drawing, told by their difference from an
    empty one."""
    frames = []
    for camera in cameras:
        empty = artist(replace_faces(hands[0]), camera).astype(int)
        rgb = empty.astype(np.uint8)
        for hand in hands:
            drawn = artist(hand.mesh, camera)
            there = np.abs(drawn.astype(int) - empty).max(-1) > 3
            rgb[there] = drawn[there]
        frames.append(Frame(t_ns, seq, camera, rgb))
    return tuple(frames)


def replace_faces(hand: Posed) -> MeshTexture:
    topology = replace(hand.mesh.topology, faces=np.zeros((0, 3), np.int32))
    return replace(hand.mesh, topology=topology)


def error_mm(hand: HandPose | None, truth: np.ndarray) -> float:
    assert hand is not None
    return 1e3 * float(np.linalg.norm(hand.joints - truth, axis=1)[JUDGED].mean())


def moving(own: OwnHand, aside: float, count: int) -> list[Posed]:
    """A hand that opens and moves along, 4 mm a moment."""
    from capture.hand_shapes import HAND_SHAPES

    place = placed(0, np.random.default_rng(4))
    poses = []
    for k in range(count):
        part = k / 10.0
        angles = (1 - part) * HAND_SHAPES["relaxed"] + part * HAND_SHAPES["open"]
        at = Rigid(place.wxyz, place.xyz + [aside + 0.004 * k, 0.0, 0.0])
        poses.append(own.at(joints_from_angles(angles, own.shape, at)))
    return poses


@pytest.mark.slow
def test_both_hands_from_four_cameras(own: dict[str, OwnHand], artist: Artist) -> None:
    cameras = rig("headset")
    users = [UserHand(own[side].shape) for side in ("left", "right")]
    series = list(zip(moving(own["left"], -0.11, 4), moving(own["right"], 0.09, 4), strict=True))
    raw, fitted = [], []
    with RigTracker() as plain, RigTracker(users=users) as known:
        for k, pair in enumerate(series):
            frames = frames_of(list(pair), cameras, artist, k * 33_000_000, k)
            for tracker, errors in ((plain, raw), (known, fitted)):
                state = tracker.track(frames)
                assert state.t_ns == frames[0].t_ns
                errors += [error_mm(state.hand(p.side), p.truth) for p in pair]
                assert min(hand.confidence for hand in state.hands) > 0.4
            fit = state.hand("right")
            assert fit is not None
            np.testing.assert_allclose(
                HandShape.of(fit.joints, "right").bones, own["right"].shape.bones, atol=2e-4
            )
    assert np.median(raw) < 9.0
    assert np.median(fitted) < 9.0


@pytest.mark.slow
def test_fisheyes_are_searched_and_then_followed(own: dict[str, OwnHand], artist: Artist) -> None:
    cameras = tuple(
        replace(
            looking(f"fish{k}", place, (400, 320), 150.0), distortion=LENS,
        )
        for k, place in enumerate([(-0.08, 0.03, 0.0), (0.08, 0.03, 0.0), (0.0, -0.06, 0.0)])
    )  # fmt: skip
    looks: list[tuple[int, int]] = []

    class Watched:
        """The pipeline, and what it was shown."""

        def __init__(self, hands: int) -> None:
            from tracking.rig_tracker import pipeline_hands

            self.engine, self.hands = pipeline_hands(hands), hands

        def look(self, rgb: Picture, t_ms: int) -> tuple[HandMarks, ...]:
            looks.append((self.hands, rgb.shape[0]))
            return self.engine.look(rgb, t_ms)

        def close(self) -> None:
            self.engine.close()

    errors = []
    with RigTracker(RigTrackerOptions(hand_filter=None), Watched) as tracker:
        for k, hand in enumerate(moving(own["right"], -0.05, 6)):
            looks.clear()
            state = tracker.track(frames_of([hand], cameras, artist, k * 33_000_000, k))
            if k == 0:
                assert looks == [(2, 640)] * 3
            else:
                assert looks.count((1, 256)) == 3  # the hand's own crops
            errors.append(error_mm(state.hand("right"), hand.truth))
            assert state.hand("left") is None
    assert np.median(errors) < 10.0
    assert max(errors) < 20.0


def test_one_camera_places_a_hand_by_its_size_and_says_so(
    own: dict[str, OwnHand], artist: Artist
) -> None:
    hand = own["right"].posed(0, np.random.default_rng(2))
    frames = frames_of([hand], rig("mono"), artist, 0)
    with RigTracker() as tracker:
        state = tracker.track(frames)
    (seen,) = state.hands
    assert error_mm(seen, hand.truth) < 60.0
    assert seen.confidence <= 0.5
    with RigTracker(RigTrackerOptions(one_view=False)) as tracker:
        assert tracker.track(frames).hands == ()


def test_an_older_moment_begins_anew_and_a_missing_camera_is_borne(
    own: dict[str, OwnHand], artist: Artist
) -> None:
    cameras = rig("headset")
    hand = own["right"].posed(0, np.random.default_rng(2))
    frames = frames_of([hand], cameras, artist, 5_000_000_000)
    with RigTracker() as tracker:
        first = tracker.track(frames)
        fewer = tracker.track([replace(f, t_ns=5_033_000_000) for f in frames[:3]])
        again = tracker.track(frames)
    assert error_mm(fewer.hand("right"), hand.truth) < 15.0
    np.testing.assert_array_equal(first.hands[0].joints, again.hands[0].joints)


def test_what_it_refuses(artist: Artist, own: dict[str, OwnHand]) -> None:
    cameras = rig("stereo")
    blank = tuple(Frame(0, 0, c, np.zeros((480, 640, 3), np.uint8)) for c in cameras)
    tracker = RigTracker()
    with pytest.raises(ValueError, match="got none"):
        tracker.track([])
    with pytest.raises(ValueError, match="one frame a camera"):
        tracker.track([blank[0], blank[0]])
    with pytest.raises(ValueError, match="in step"):
        tracker.track([blank[0], replace(blank[1], t_ns=40_000_000)])
    tiny = Camera.from_fov((8, 8))
    with pytest.raises(ValueError, match="16 x 16"):
        tracker.track([Frame(0, 0, tiny, np.zeros((8, 8, 3), np.uint8))])
    assert tracker.track(blank).hands == ()
    tracker.close()
    tracker.close()
    with pytest.raises(ValueError, match="closed"):
        tracker.track(blank)
    with pytest.raises(ValueError, match="RigTrackerOptions"):
        RigTrackerOptions(search_every=0)
    with pytest.raises(ValueError, match="RigTrackerOptions"):
        RigTrackerOptions(simultaneous_s=0.0)


def test_an_engine_that_breaks_is_replaced() -> None:
    from tracking.engine_slot import TrackingError

    opened = []

    class Breaking:
        def __init__(self, hands: int) -> None:
            opened.append(hands)

        def look(self, rgb: Picture, t_ms: int) -> tuple[HandMarks, ...]:
            if rgb.max() == 7:
                raise RuntimeError("broken picture")
            return ()

        def close(self) -> None: ...

    good = [Frame(0, 0, c, np.zeros((480, 640, 3), np.uint8)) for c in rig("stereo")]
    bad = [replace(f, t_ns=33_000_000, rgb=np.full_like(f.rgb, 7)) for f in good]
    after = [replace(f, t_ns=66_000_000) for f in good]
    with RigTracker(open_engine=Breaking) as tracker:
        tracker.track(good)
        with pytest.raises(TrackingError, match="failed twice"):
            tracker.track(bad)
        assert tracker.track(after).hands == ()
    assert len(opened) == 6  # two; two more that tried again; two for the next moment


def blank(cameras: tuple[Camera, ...], t_ns: int = 0) -> tuple[Frame, ...]:
    return tuple(Frame(t_ns, 0, c, np.zeros((c.size[1], c.size[0], 3), np.uint8)) for c in cameras)


class Telling:
    """Engines that see what they are told, each through its own camera: the tracker opens them in
    the order of the cameras."""

    def __init__(self, cameras: tuple[Camera, ...]) -> None:
        self.hands: list[tuple[np.ndarray, str, float]] = []
        self._cameras = list(cameras)
        self._opened = 0

    def __call__(self, hands: int) -> Telling._Engine:
        self._opened += 1
        return Telling._Engine(self, self._cameras[self._opened - 1])

    class _Engine:
        def __init__(self, telling: Telling, camera: Camera) -> None:
            self._telling, self._camera = telling, camera

        def look(self, rgb: Picture, t_ms: int) -> tuple[HandMarks, ...]:
            return tuple(
                marks(self._camera, joints, side, score)
                for joints, side, score in self._telling.hands
            )

        def close(self) -> None: ...


def face_at(place: tuple[float, float, float]) -> FacePose:
    landmarks = read_canonical_face(asset_path(FACE_BUNDLE)).vertices.astype(np.float32)
    landmarks = np.concatenate([landmarks, np.zeros((478 - len(landmarks), 3), np.float32)])
    ahead = np.tile(np.array([0.0, 0.0, 1.0], np.float32), (2, 1))
    return FacePose(
        np.zeros(52, np.float32),
        landmarks,
        ahead,
        Rigid(np.array([1.0, 0, 0, 0]), np.array(place)),
        1.0,
    )


def open_in_turn(tracker: RigTracker, cameras: tuple[Camera, ...]) -> None:
    """`prepare`, one camera after the other."""
    for camera in cameras:
        tracker.prepare([camera])


def test_a_bystanders_hands_are_out_of_the_heads_reach(both: dict[str, np.ndarray]) -> None:
    """They are seen better and were there first; without a face they are anybody's."""
    cameras = rig("stereo")
    person, bystander = face_at((0.0, 0.2, -0.5)), np.array([0.05, 0.1, -1.4])
    telling = Telling(cameras)
    theirs = [(both[side] + bystander, side, 0.99) for side in ("left", "right")]
    mine = [(both[side], side, 0.8) for side in ("left", "right")]
    with RigTracker(RigTrackerOptions(hand_filter=None), telling) as tracker:
        open_in_turn(tracker, cameras)
        telling.hands = theirs
        assert len(tracker.track(blank(cameras)).hands) == 2
        assert tracker.track(blank(cameras, 33_000_000), person).hands == ()
        telling.hands = theirs + mine
        seen = tracker.track(blank(cameras, 66_000_000), person)
        assert [hand.side for hand in seen.hands] == ["left", "right"]
        for hand in seen.hands:
            np.testing.assert_allclose(hand.joints, both[hand.side], atol=2e-3)
        # What one camera alone sees is judged by the place that its size tells.
        telling.hands = theirs[:1]
        alone = blank(cameras, 99_000_000)[:1]
        assert tracker.track(alone, person).hands == ()
        telling.hands = mine[:1]
        (hand,) = tracker.track(blank(cameras, 133_000_000)[:1], person).hands
        assert float(np.linalg.norm(hand.joints[9] - both["left"][9])) < 0.1


def test_a_followed_hand_is_given_up_only_well_beyond_reach(both: dict[str, np.ndarray]) -> None:
    cameras = rig("stereo")
    telling = Telling(cameras)
    middle = both["left"].mean(0)
    with RigTracker(RigTrackerOptions(hand_filter=None), telling) as tracker:
        open_in_turn(tracker, cameras)
        telling.hands = [(both["left"], "left", 0.9)]
        seen = [
            len(tracker.track(blank(cameras, k * 33_000_000), face_at(tuple(at))).hands)
            for k, at in enumerate([middle + [0.0, y, 0.0] for y in (0.9, 1.1, 1.3, 1.1)])
        ]
    assert seen == [1, 1, 0, 0]


def test_a_mouth_that_all_cameras_take_for_a_hand_is_none(both: dict[str, np.ndarray]) -> None:
    cameras = rig("stereo")
    head = (0.0, 0.0, -0.5)
    middle = both["right"].mean(0)
    small = (both["right"] - middle) * 0.6 + np.array(head)
    telling = Telling(cameras)
    telling.hands = [(small, "right", 0.9)]
    with RigTracker(RigTrackerOptions(hand_filter=None), telling) as tracker:
        open_in_turn(tracker, cameras)
        assert len(tracker.track(blank(cameras)).hands) == 1
        assert tracker.track(blank(cameras, 33_000_000), face_at(head)).hands == ()
        # A hand before the face comes from outside its outline.
        telling.hands = [(both["right"] - middle + [0.0, 0.0, -0.35], "right", 0.9)]
        assert len(tracker.track(blank(cameras, 66_000_000), face_at(head)).hands) == 1


def test_asking_and_answering_go_in_turn(both: dict[str, np.ndarray]) -> None:
    cameras = rig("stereo")
    telling = Telling(cameras + cameras)
    telling.hands = [(both["left"], "left", 0.9)]
    with RigTracker(RigTrackerOptions(hand_filter=None), telling) as tracker:
        with pytest.raises(ValueError, match=r"answer: expected frames to be asked"):
            tracker.answer()
        open_in_turn(tracker, cameras)
        tracker.ask(blank(cameras))
        # Nobody took the answers of that moment; the next one begins anew and has its own.
        state = tracker.track(blank(cameras, 33_000_000))
    assert state.t_ns == 33_000_000
    assert len(state.hands) == 1


def test_a_camera_whose_engine_does_not_open_leaves_no_stale_answers(
    both: dict[str, np.ndarray],
) -> None:
    cameras = rig("stereo")
    # The first camera's engine, the second's that fails, and both anew.
    turns = iter([cameras[0], None, cameras[0], cameras[1]])

    class Dark:
        """Sees the hand in black pictures alone."""

        def __init__(self, hands: int) -> None:
            camera = next(turns)
            if camera is None:
                raise RuntimeError("no memory left")
            self._camera: Camera = camera

        def look(self, rgb: Picture, t_ms: int) -> tuple[HandMarks, ...]:
            return () if rgb.max() else (marks(self._camera, both["left"], "left"),)

        def close(self) -> None: ...

    white = [replace(f, rgb=np.full_like(f.rgb, 255)) for f in blank(cameras)]
    with RigTracker(RigTrackerOptions(one_view=False), Dark) as tracker:
        with pytest.raises(RuntimeError, match="no memory left"):
            tracker.track(white)
        assert len(tracker.track(blank(cameras, 33_000_000)).hands) == 1


def test_what_no_two_views_agree_on_follows_the_engines_shape(both: dict[str, np.ndarray]) -> None:
    from tracking.rig_tracker import _completed

    cameras = rig("stereo")
    joints = both["left"]
    sound = np.arange(21) % 3 != 1
    holes = np.where(sound[:, None], joints, np.nan)
    find = Find(0, cameras[0], marks(cameras[0], joints, "left"))
    np.testing.assert_allclose(_completed(holes, sound, (find,)), joints, atol=1e-5)


def test_a_similarity_moves_other_points_by_the_same() -> None:
    rng = np.random.default_rng(0)
    source = rng.normal(size=(30, 3))
    turn = Rigid.from_rotvec([0.3, -0.2, 0.9])
    target = 1.7 * np.asarray(turn.apply(source)) + [0.1, 0.2, 0.3]
    np.testing.assert_allclose(similarity(source[:9], target[:9], source), target, atol=1e-12)
    np.testing.assert_allclose(similarity(source, target), target, atol=1e-12)
