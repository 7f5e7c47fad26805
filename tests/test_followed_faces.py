"""Several faces: which is whose, each with its own filter; the subject stays the subject."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.film_frames import frames
from tracking.engine import FaceMarks, Picture, subjects_face
from tracking.engines.face_pipeline import FacePipeline, FaceSettings
from tracking.face_landmarks import FaceFind
from tracking.followed_faces import HIDDEN_MS, FollowedFaces, distinct_faces
from tracking.net import Float32, Net
from tracking.nets.litert import LiteRtNets
from tracking.one_euro import OneEuro, OneEuroOptions
from tracking.temporal_quality import StillMotion, temporal_quality

TEMPLATE = np.random.default_rng(3).uniform(-0.5, 0.5, (478, 3))
FILTER = OneEuroOptions()
STEP_MS = 33


def face_at(x: float, y: float, size: float) -> FaceFind:
    return FaceFind(TEMPLATE * size + (x, y, 0.0), 1.0)


def middles(faces: FollowedFaces) -> list[int]:
    return [round(region.x) for region in faces.regions()]


def follow(faces: FollowedFaces, t: int, finds: Sequence[FaceFind | None]) -> None:
    faces.go_on(t * STEP_MS, finds)


def two(most: int = 2) -> FollowedFaces:
    """The subject at 300, larger, and a bystander at 900."""
    faces = FollowedFaces(most, FILTER)
    faces.come(0, [face_at(300, 200, 150), face_at(900, 200, 100)])
    return faces


def test_the_subject_stays_when_a_larger_face_comes() -> None:
    faces = two(3)
    follow(faces, 1, [face_at(300, 200, 150), face_at(900, 200, 120)])
    faces.come(STEP_MS, [face_at(600, 200, 300), face_at(902, 200, 120)])
    assert middles(faces) == [300, 900, 600], "what is followed is not taken twice"
    assert [face.bystander for face in faces.calm(STEP_MS)] == [False, True, True]
    assert faces.room() == 0


def test_the_largest_of_the_first_is_the_subject_and_no_more_are_followed() -> None:
    found = [face_at(600, 200, 200), face_at(605, 200, 190), face_at(300, 200, 150)]
    found += [face_at(900, 200, 100)]
    faces = FollowedFaces(2, None)
    faces.come(0, found)
    assert middles(faces) == [600, 300]
    one = FollowedFaces(1, None)
    one.come(0, found)
    assert middles(one) == [600]
    assert [round(face.region().x) for face in distinct_faces(found, found[2:3])] == [600, 900]


def test_each_face_has_a_filter_of_its_own() -> None:
    """As if it were alone; one that comes back begins anew."""
    rng = np.random.default_rng(0)
    faces, alone = two(), (OneEuro(FILTER), OneEuro(FILTER))
    for t in range(12):
        shown: list[FaceFind | None] = [
            face_at(300 + rng.normal(0, 2), 200, 150),
            face_at(900 + 3 * t + rng.normal(0, 2), 200, 100),
        ]
        if t == 6:
            follow(faces, t, [shown[0], None])
            faces.come(t * STEP_MS, [shown[1]] if shown[1] else [])
            alone[1].reset()
        else:
            follow(faces, t, shown)
        calm = faces.calm(t * STEP_MS)
        for face, find, filtered in zip(calm, shown, alone, strict=True):
            assert find is not None
            wanted = filtered.filter(t * STEP_MS * 1_000_000, find.landmarks, find.extent())
            assert np.array_equal(face.landmarks, wanted)


def test_who_walks_by_before_the_subject_hides_it_and_does_not_become_it() -> None:
    """A larger bystander crosses from the right to the left; the subject does not move."""
    faces, subject = two(), face_at(300, 200, 150)
    for t in range(1, 26):
        passer = face_at(900 - 40 * t, 200, 170)
        covered = abs(900 - 40 * t - 300) < 90
        there = [passer] if covered else [passer, subject]
        # A region shows the face that is nearest to its middle.
        shown = [
            min(there, key=lambda face: abs(face.region().x - region.x))
            for region in faces.regions()
        ]
        follow(faces, t, shown)
        if not faces.sees_subject():
            faces.come(t * STEP_MS, there)
        calm = faces.calm(t * STEP_MS)
        if covered:
            assert [face.bystander for face in calm] == [True]
        else:
            assert middles(faces) == [300, 900 - 40 * t]
            assert [face.bystander for face in calm] == [False, True]


def test_a_bystander_behind_the_subject_is_let_go_and_taken_again() -> None:
    faces, subject = two(), face_at(300, 200, 150)
    follow(faces, 1, [subject, face_at(420, 200, 100)])
    follow(faces, 2, [subject, face_at(301, 201, 150)])
    assert middles(faces) == [300]
    assert faces.sees_subject()
    faces.come(2 * STEP_MS, [face_at(180, 200, 100)])
    assert middles(faces) == [300, 180]


def test_a_hidden_subject_is_waited_for_and_then_replaced() -> None:
    faces, other = two(), face_at(900, 200, 100)
    follow(faces, 1, [None, other])
    assert not faces.sees_subject()
    assert faces.room() == 0, "its place is kept"
    faces.come(STEP_MS, [face_at(600, 200, 150), face_at(310, 200, 60)])
    assert middles(faces) == [900], "one is too far from where it was, one too small"
    assert [face.bystander for face in faces.calm(STEP_MS)] == [True]
    follow(faces, 2, [other])
    faces.come(2 * STEP_MS, [face_at(500, 220, 145), face_at(380, 220, 145)])
    assert middles(faces) == [380, 900], "of two near its place the nearer is the subject"
    assert faces.sees_subject()

    follow(faces, 3, [None, other])
    faces.come(3 * STEP_MS, [])
    t = 3
    while not faces.sees_subject():
        t += 1
        follow(faces, t, [other])
        faces.come(t * STEP_MS, [])
        assert t < 200
    assert (t - 3) * STEP_MS == pytest.approx(HIDDEN_MS, abs=STEP_MS)
    assert middles(faces) == [900]


def test_who_is_alone_is_the_subject_again_at_once() -> None:
    """Nobody else was there whom it could be mistaken for."""
    faces = FollowedFaces(3, FILTER)
    faces.come(0, [face_at(300, 200, 150)])
    assert faces.go_on(STEP_MS, [None]) == 1
    faces.come(STEP_MS, [face_at(900, 200, 60)])
    assert [face.bystander for face in faces.calm(STEP_MS)] == [False]


def test_one_find_a_region_is_wanted() -> None:
    with pytest.raises(ValueError, match="each of 2 regions, got 1"):
        two().go_on(STEP_MS, [None])


# The same with a film: the synthetic person, and beside it its mirror image at another time.

WIDTH, HEIGHT = 640, 480
MOTION = StillMotion(still_frames=50, moving_frames=30, size=(2 * WIDTH, HEIGHT))


@pytest.fixture(scope="module")
def nets() -> LiteRtNets:
    return LiteRtNets(threads=2)


@pytest.fixture(scope="module")
def film(demo_clip: Path) -> list[Picture]:
    return frames(demo_clip, 180)


def shrunk(rgb: Picture, scale: float) -> Picture:
    """About its middle, mirrored, on grey."""
    small = cv2.resize(rgb[:, ::-1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    left, top = (WIDTH - small.shape[1]) // 2, (HEIGHT - small.shape[0]) // 2
    whole = np.full_like(rgb, 90)
    whole[top : top + small.shape[0], left : left + small.shape[1]] = small
    return whole


def beside(left: Picture, right: Picture) -> Picture:
    return np.ascontiguousarray(np.concatenate([left, right], axis=1))


def tracks(pictures: list[Picture], nets: LiteRtNets, settings: FaceSettings) -> list[np.ndarray]:
    """(frames, 478, 2) of each face; all must be found in every picture."""
    engine = FacePipeline(nets, settings)
    found = [engine.look(rgb, 1 + round(k * 1000 / MOTION.fps)) for k, rgb in enumerate(pictures)]
    assert {len(faces) for faces in found} == {settings.faces}
    return [np.array([faces[i].landmarks[:, :2] for faces in found]) for i in range(settings.faces)]


@pytest.mark.slow
def test_two_faces_tremble_and_lag_as_little_as_each_alone(
    film: list[Picture], nets: LiteRtNets
) -> None:
    one, other = film[0], shrunk(film[150], 0.8)
    grey = np.full_like(one, 90)
    both = list(MOTION.pictures(beside(one, other)))
    together = tracks(both, nets, FaceSettings(faces=2))
    unfiltered = tracks(both, nets, FaceSettings(faces=2, filter=None))
    singles = (beside(one, grey), beside(grey, other))
    for track, raw, single in zip(together, unfiltered, singles, strict=True):
        (alone,) = tracks(list(MOTION.pictures(single)), nets, FaceSettings())
        a, b = temporal_quality(track, MOTION), temporal_quality(alone, MOTION)
        # The noise on the pictures is the same; first regions differ a little by what is beside.
        assert a.jitter == pytest.approx(b.jitter, rel=0.02)
        assert a.lag_s == pytest.approx(b.lag_s, abs=0.0005)
        assert a.jitter < 0.5 * temporal_quality(raw, MOTION).jitter, "it is filtered"


@pytest.mark.slow
def test_two_real_people_are_followed_as_each_alone(shared_data: Path, nets: LiteRtNets) -> None:
    people = [frames(shared_data / "faces" / name, 45) for name in ("d6.mp4", "d12.mp4")]
    stage = [(480, 480), (400, 400)]
    people = [
        [np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8) for rgb in film]
        for film, size in zip(people, stage, strict=True)
    ]
    together = FacePipeline(nets, FaceSettings(faces=2))
    alone = [FacePipeline(nets) for _ in people]
    apart: list[list[float]] = [[], []]
    for t, (one, other) in enumerate(zip(*people, strict=True)):
        rgb = np.zeros((480, 880, 3), np.uint8)
        rgb[:, :480], rgb[40:440, 480:] = one, other
        found = together.look(rgb, STEP_MS * t)
        assert [face.bystander for face in found] == [False, True]
        for k, (face, engine, own, corner) in enumerate(
            zip(found, alone, (one, other), ((0, 0), (480, 40)), strict=True)
        ):
            (single,) = engine.look(own, STEP_MS * t)
            moved = face.landmarks[:, :2] - corner - single.landmarks[:, :2]
            apart[k].append(float(np.linalg.norm(moved, axis=1).mean()))
    assert np.mean(apart[0][5:]) < 0.3
    assert np.mean(apart[1][5:]) < 0.3


def seen(found: tuple[FaceMarks, ...]) -> list[tuple[int, bool]]:
    """Middle of each face, pixels, and whether it is a bystander's."""
    return [(round(float(face.landmarks[:, 0].mean())), face.bystander) for face in found]


@pytest.mark.slow
def test_leaving_coming_and_passing_by_in_a_film(film: list[Picture], nets: LiteRtNets) -> None:
    """The subject on the left. A nearer person comes, walks by before it, and stays on the left
    edge; then the subject leaves."""
    engine = FacePipeline(nets, FaceSettings(faces=2))
    room, t = np.full((HEIGHT, 2 * WIDTH, 3), 90, np.uint8), 0
    passer = cv2.resize(film[100][80:360, 220:420], None, fx=1.2, fy=1.2)

    def look(left: Picture | None, at: int | None) -> list[tuple[int, bool]]:
        nonlocal t
        t += 1
        rgb = room.copy()
        if left is not None:
            rgb[:, 300 : 300 + WIDTH] = left
        if at is not None:
            rgb[100 : 100 + passer.shape[0], at : at + passer.shape[1]] = passer
        return seen(engine.look(rgb, STEP_MS * t))

    for k in range(3):
        ((middle, bystander),) = look(film[k], None)
        assert not bystander
        assert middle == pytest.approx(620, abs=15)
    came = [look(film[k], 1000) for k in range(3, 10)]
    assert [len(found) for found in came].index(2) <= 5, "within 160 ms"
    assert [bystander for _, bystander in came[-1]] == [False, True]
    hidden = 0
    for k in range(40):
        at = 1000 - 24 * k
        found = look(film[10 + k], at)
        for middle, bystander in found:
            if not bystander:
                assert middle == pytest.approx(620, abs=25), "nobody else is the subject"
        hidden += all(bystander for _, bystander in found)
    assert 2 <= hidden <= 16
    assert [bystander for _, bystander in found] == [False, True]
    gone = [look(None, 40) for _ in range(HIDDEN_MS // STEP_MS + 3)]
    assert seen_roles(gone[0]) == [True]
    assert seen_roles(gone[HIDDEN_MS // STEP_MS - 2]) == [True]
    assert seen_roles(gone[-1]) == [False], "the one who is left"


def seen_roles(found: list[tuple[int, bool]]) -> list[bool]:
    return [bystander for _, bystander in found]


def test_several_faces_are_one_where_there_is_one(film: list[Picture], nets: LiteRtNets) -> None:
    """Bit for bit, and nothing beside it is taken for a face."""
    one, several = FacePipeline(nets), FacePipeline(nets, FaceSettings(faces=6))
    for t, rgb in enumerate(film[150:175]):
        a, b = one.look(rgb, STEP_MS * t), several.look(rgb, STEP_MS * t)
        assert len(a) == len(b) == 1
        assert np.array_equal(a[0].landmarks, b[0].landmarks)
        assert np.array_equal(a[0].blendshapes, b[0].blendshapes)
        assert subjects_face(b) is b[0]


def test_finds_are_taken_as_the_pipeline_would_make_them(
    film: list[Picture], nets: LiteRtNets
) -> None:
    """The seam of an engine that asks the network for face and hands at once."""
    from tracking.face_landmarks import FaceLandmarks

    network = FaceLandmarks(nets.open("face_landmarks"), nets.open("face_blendshapes"))
    own, fed = FacePipeline(nets), FacePipeline(nets)
    for t, rgb in enumerate(film[:6]):
        a = own.look(rgb, STEP_MS * t)
        b = fed.take(rgb, STEP_MS * t, network.find(rgb, fed.regions()))
        assert np.array_equal(a[0].landmarks, b[0].landmarks)
    assert len(fed.regions()) == 1


class CountingNets:
    """`tracking.net.NetSource` that counts the calls of the detector."""

    def __init__(self, nets: LiteRtNets) -> None:
        self.name, self.calls = nets.name, 0
        self._nets = nets

    def open(self, network: str) -> Net:
        net = self._nets.open(network)
        return self._counted(net) if network == "face_detector" else net

    def _counted(self, net: Net) -> Net:
        counting = self

        class Counted:
            spec = net.spec

            def __call__(self, batch: Float32) -> tuple[Float32, ...]:
                counting.calls += 1
                return net(batch)

        return Counted()


def test_a_followed_subject_is_searched_beside_seldom(
    film: list[Picture], nets: LiteRtNets
) -> None:
    """Every 160 ms the whole picture and a tile; never where no more may be followed; each time
    while nobody is seen."""
    counted = [CountingNets(nets) for _ in range(2)]
    for faces, counting in enumerate(counted, 1):
        engine = FacePipeline(counting, FaceSettings(faces=faces))
        engine.look(film[0], 0)
        counting.calls = 0
        for t in range(1, 21):
            engine.look(film[t], 40 * t)
    assert [counting.calls for counting in counted] == [0, 2 * 20 * 40 // 160]
    one = counted[0]
    engine = FacePipeline(one)
    one.calls = 0
    for t in range(5):
        engine.look(np.zeros_like(film[0]), 33 * t)
    assert one.calls > 2 * 4
