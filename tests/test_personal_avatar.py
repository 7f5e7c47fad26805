"""A personal avatar, enrolled from the clip that ships, on moments that it has not learned from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from apps.likeness_evaluation import draw_over, evaluate_likeness
from avatar.codec import Avatar
from avatar.driving import OwnDriving, expected_slow
from avatar.enrolment.face_deformation import FaceDeformation
from avatar.enrolment.lash_picture import LashLook
from avatar.enrolment.likeness import Likeness
from avatar.enrolment.observations import Observations
from avatar.enrolment.recipe import EnrolmentError, EnrolmentOptions, enrol
from avatar.enrolment.texture_basis_fit import BasisOptions
from avatar.head_mesh import HeadMesh
from avatar.landmark_map import LandmarkMap
from avatar.lash_cover import LashCover
from avatar.lash_strips import WINDOW, LashStrips
from avatar.local_texture import LocalTexture
from avatar.personal_atlas import personal_uv
from avatar.personal_avatar import FADE_S, PersonalAvatar
from avatar.personal_head import personal_head
from avatar.personal_model import GAINS, ModelError, PersonalModel
from avatar.picture_encoder import face_table
from avatar.posed_face import PosedFace
from avatar.similarity import similarity
from avatar.unwrapping import unwrap
from capture.frame_source import open_source
from render.renderer import RenderOptions, open_renderer
from streams.face_outlines import LIDS
from streams.face_shapes import SHAPE_INDEX
from streams.frame import Frame
from streams.mirror import mirror_frame
from streams.person_size import sized_face
from streams.projection import project
from streams.topology import PARTS
from streams.tracked_state import TrackedState
from tracking.segmentation import PersonSegmenter
from tracking.tracker import Tracker, TrackerOptions

FRAMES, TRAINED = 150, 120
SMALL = EnrolmentOptions(
    appearance=96,
    basis=BasisOptions(grid=12, planes=4, rounds=3),
    least_frames=30,
    registered_frames=40,
)


@dataclass(frozen=True)
class Clip:
    """The beginning of a video and what was tracked in it."""

    path: Path
    states: list[TrackedState]

    def frames(self) -> Iterator[Frame]:
        with open_source(f"video:{self.path}") as source:
            for k, frame in enumerate(source):
                if k >= FRAMES:
                    return
                yield frame

    def held_out(self) -> Iterator[tuple[Frame, TrackedState]]:
        for k, frame in enumerate(self.frames()):
            if k >= TRAINED and k % 3 == 0:
                yield frame, self.states[k]


@pytest.fixture(scope="module")
def clip(demo_clip: Path) -> Clip:
    path = demo_clip
    with (
        open_source(f"video:{path}") as source,
        Tracker.open(TrackerOptions(hands=0)) as tracker,
    ):
        states = [tracker.track(frame) for _, frame in zip(range(FRAMES), source, strict=False)]
    return Clip(path, states)


@pytest.fixture(scope="module")
def model(clip: Clip) -> PersonalModel:
    with PersonSegmenter() as segmenter:
        seen = Observations.of(clip.states[:TRAINED])
        return enrol(clip.frames, seen, SMALL, matte=segmenter.person)


def avatar_of(model: PersonalModel, **options) -> PersonalAvatar:
    return PersonalAvatar(model, "avatars/test", **options)


def test_a_head_that_several_cameras_measured_is_encoded_as_one_camera_sees_it(
    clip: Clip, model: PersonalModel
) -> None:
    """It is nearer and smaller than the average, and to this camera looks the same."""
    frame, state = next(clip.held_out())
    assert state.face is not None
    eye = frame.camera.world_from_camera.xyz
    measured = replace(state, face=sized_face(state.face, 0.9, eye))
    codes = []
    for each in (state, measured):
        with avatar_of(model, fade=False) as avatar:
            codes.append(avatar.encode(each, frame))
    assert [code.origin for code in codes] == ["encoded", "encoded"]
    one, other = codes
    np.testing.assert_allclose(other.geometry, one.geometry, atol=0.02)
    np.testing.assert_allclose(other.appearance, one.appearance, atol=0.02)
    assert one.world_from_head is not None
    assert other.world_from_head is not None
    np.testing.assert_allclose(other.world_from_head.xyz, one.world_from_head.xyz, atol=1e-9)


def test_encoded_is_nearer_than_driven_and_driven_than_the_mean(clip: Clip, model) -> None:
    def mean(code):
        return replace(code, appearance=np.zeros_like(code.appearance))

    def psnr_db(with_frames, through=None):
        avatar = avatar_of(model, fade=False)
        return evaluate_likeness(avatar, clip.held_out(), with_frames, through).figures.psnr_db

    encoded, driven, average = psnr_db(True), psnr_db(False), psnr_db(False, mean)
    assert encoded > driven + 0.5 > average + 0.5
    assert encoded > 27.0


def test_equal_input_gives_equal_bytes(clip: Clip, model) -> None:
    frame, state = next(clip.held_out())
    codes = [avatar_of(model).encode(state, frame) for _ in range(2)]
    assert codes[0].appearance.tobytes() == codes[1].appearance.tobytes()
    meshes = [avatar_of(model).decode(code) for code in codes]
    assert meshes[0].albedo.tobytes() == meshes[1].albedo.tobytes()
    assert meshes[0].vertices.tobytes() == meshes[1].vertices.tobytes()


def test_origin_is_told_and_fades(clip: Clip, model) -> None:
    frame, state = next(clip.held_out())
    avatar = avatar_of(model)
    assert avatar.encode(state, frame).origin == "encoded"  # whole at once at the beginning
    driven = avatar_of(model, origin="driven")
    assert driven.encode(state, frame).origin == "driven"
    # The camera goes: the code slides to the driven one within FADE_S, and is told to be so.
    last, origins, t_ns, steps = avatar.encode(state, frame).appearance, [], state.t_ns, []
    way = np.abs(last - driven.encode(state).appearance).max()
    assert way > 0.5
    for _ in range(10):
        t_ns += int(FADE_S * 1e9 / 5)
        code = avatar.encode(replace(state, t_ns=t_ns))
        steps.append(np.abs(code.appearance - last).max())
        last = code.appearance
        origins.append(code.origin)
    assert max(steps) < 0.25 * way
    assert (origins[0], origins[-1]) == ("encoded", "driven")
    np.testing.assert_allclose(last, driven.encode(state).appearance, atol=1e-5)
    # And comes back as smoothly.
    back = avatar.encode(replace(state, t_ns=t_ns + int(FADE_S * 1e9 / 5)), frame)
    assert np.abs(back.appearance - last).max() < 0.25 * way


def test_mirrored_frames_are_encoded_alike(clip: Clip, model) -> None:
    frame, state = next(clip.held_out())
    plain = avatar_of(model).encode(state, frame)
    mirrored = avatar_of(model).encode(state, mirror_frame(frame))
    np.testing.assert_allclose(mirrored.appearance, plain.appearance, atol=1e-4)


def test_a_stranger_drives_without_lending_the_shape(clip: Clip, model) -> None:
    _, state = next(clip.held_out())
    assert state.face is not None
    wide = state.face.landmarks * np.array([1.15, 0.9, 1.0], np.float32)
    a, b = (
        avatar_of(model).encode(
            replace(state, face=replace(state.face, landmarks=(wide * size).astype(np.float32)))
        )
        for size in (1.0, 1.1)
    )
    assert a.geometry.tobytes() == b.geometry.tobytes()
    assert np.abs(a.geometry).max() < 8.0
    assert a.origin == "driven"


def test_nobody_there(model) -> None:
    avatar = avatar_of(model)
    code = avatar.encode(TrackedState(7, "camera", None))
    assert code.world_from_head is None
    assert len(avatar.decode(code).topology.faces) == 0


def test_wrong_codes_and_closed_avatars_are_refused(clip: Clip, model) -> None:
    frame, state = next(clip.held_out())
    avatar = avatar_of(model)
    code = avatar.encode(state, frame)
    with pytest.raises(ValueError, match="expected a code of"):
        avatar.decode(replace(code, avatar="avatars/default"))
    with pytest.raises(ValueError, match="appearance"):
        avatar.decode(replace(code, appearance=code.appearance[:-1]))
    avatar.close()
    with pytest.raises(ValueError, match="closed"):
        avatar.encode(state)


def test_sum_on_the_cpu_is_its_slow_twin(clip: Clip, model) -> None:
    basis = model.texture_basis()
    rng = np.random.default_rng(5)
    avatar = avatar_of(model)
    frame, state = next(clip.held_out())
    real = avatar.decode_nodes(avatar.encode(state, frame))
    random = rng.normal(size=basis.nodes_shape).astype(np.float32)
    for nodes, gain in ((real.nodes, real.gain), (random, np.ones(3, np.float32))):
        fast = LocalTexture(basis).picture(nodes, gain).astype(int)
        slow = basis.picture(nodes, gain).astype(int)
        assert np.abs(fast - slow).mean() < 0.1
        assert np.percentile(np.abs(fast - slow), 99.9) <= 3


def test_iris_numbers_and_nodes_follow_the_code(model) -> None:
    rest = model.nodes(np.zeros(model.appearance_size, np.float32), model.view_rest)
    code = np.zeros(model.appearance_size, np.float32)
    code[GAINS] = 1.0
    moved = model.nodes(code, model.view_rest)
    flat = (moved - rest).reshape(-1, len(model.planes))[model.active].ravel()
    np.testing.assert_allclose(flat, model.node_moves[0], atol=1e-4)
    assert (model.gain(code) == 1.0).all()


def test_lashes_are_strips_that_are_taken_from_what_is_learned(clip: Clip, model) -> None:
    """Drawn with lashes and without: past its lashes the one picture is nearly the other."""
    bare = replace(model, opacity=np.full_like(model.opacity, 255))
    assert model.has_lashes
    assert not bare.has_lashes
    head = HeadMesh.open("default")
    lash = PARTS.index("lash")
    regions = [personal_head(head, of).parts[personal_head(head, of).faces[:, 0]] == lash
               for of in (model, bare)]  # fmt: skip
    assert regions[0].sum() == 2 * (96 + 88)
    assert regions[1].sum() == 0
    step = 1024 // model.planes.shape[1]
    rows, columns = (slice(part.start // step, part.stop // step) for part in WINDOW)
    assert not model.planes[:, rows, columns].any()
    table = face_table(head)
    cover = LashCover(head, model.mean, model.opacity, table, model.rest)
    assert 200 < len(cover.rows) < 0.2 * len(table.rows)
    face = PosedFace(head, model.rest, model.moves, model.eyes, model.gaze_map)
    frame, state = next(clip.held_out())
    assert state.face is not None
    shown = []
    options = RenderOptions(depth=False, antialias="none", shadows=False)
    with open_renderer("gl", options) as renderer:
        for of in (model, bare):
            avatar = avatar_of(of, fade=False)
            code = avatar_of(model, fade=False).encode(state, frame)
            rgb = draw_over(renderer, avatar, code, frame)
            vertices, normals = face.of(code.geometry, state.face.gaze)
            where = frame.camera, state.face.world_from_head
            shown.append(unwrap(table, rgb, *where, vertices, normals, state.face.landmarks))
    past = cover.past(shown[0], *where, vertices)

    def apart(a, b):
        return np.abs(a.colours.astype(float) - b.colours).mean(1)

    hidden = (apart(shown[0], shown[1]) > 1) | (apart(shown[0], past) > 0)
    hidden &= shown[1].seen > 0.5
    assert hidden.sum() > 500
    assert np.isin(np.flatnonzero(hidden), cover.rows).mean() > 0.9
    # Single hairs are darker than the average of a strip, and what is between them is not.
    assert apart(past, shown[1])[hidden].mean() < apart(shown[0], shown[1])[hidden].mean()
    dark, left = (
        (of.colours.astype(float) - shown[1].colours)[hidden].mean() for of in (shown[0], past)
    )
    assert dark < -2.0
    assert abs(left) < 0.4 * abs(dark)


def test_lashes_grow_where_the_lids_are(model) -> None:
    """Whatever the face does, roots stay at the skin that they grow from."""
    head, rng = HeadMesh.open("default"), np.random.default_rng(7)
    lashes = LashStrips.of(head)
    roots = lashes.roots(head)
    assert (lashes.uv().max(0) * 1024 < [WINDOW[1].stop, WINDOW[0].stop]).all()
    assert (lashes.uv().min(0) * 1024 > [WINDOW[1].start, WINDOW[0].start]).all()
    first = lashes.out == 0.0
    face = PosedFace(head, model.rest, model.moves, model.eyes, model.gaze_map)
    for _ in range(5):
        geometry = (1.5 * rng.normal(size=model.geometry_size)).astype(np.float32)
        vertices, _ = face.of(geometry, np.tile(np.array([0, 0, 1], np.float32), (2, 1)))
        away = np.linalg.norm(vertices[lashes.vertices] - vertices[roots], axis=1)
        assert away[first].max() < 0.002
        assert away.max() < 0.016


def test_lashes_are_as_dark_as_the_rims_of_the_lids(clip: Clip) -> None:
    frame, state = next(clip.held_out())
    assert state.face is not None
    pose, landmarks = state.face.world_from_head, state.face.landmarks
    pixels, _ = project(frame.camera, pose.apply(landmarks.astype(float)))
    for ink, densest in (((40, 20, 10), 1.0), ((200, 160, 140), 0.0)):
        rgb = np.full_like(frame.rgb, (200, 160, 140))
        for rim in LIDS:
            corners = np.rint(pixels[list(rim)]).astype(np.int32)
            cv2.polylines(rgb, [corners], True, ink, 3)
        look = LashLook.of(iter([(replace(frame, rgb=rgb), pose, landmarks)]))
        assert np.abs(look.colours.astype(int) - ink).max() <= 2
        np.testing.assert_allclose(look.densities, densest, atol=0.01)


def test_model_survives_its_tensors(model) -> None:
    again = PersonalModel.from_tensors(model.tensors(), model.mean, model.opacity)
    np.testing.assert_allclose(again.moves, model.moves, atol=2e-6)
    np.testing.assert_allclose(again.node_moves, model.node_moves, rtol=2e-3, atol=2e-3)
    assert again.planes.tobytes() == model.planes.tobytes()
    tensors = model.tensors()
    with pytest.raises(ModelError, match="gaze_map"):
        PersonalModel.from_tensors(
            {k: v for k, v in tensors.items() if k != "gaze_map"}, model.mean, model.opacity
        )
    bad = dict(tensors, view_rest=np.full(3, np.nan, np.float32))
    with pytest.raises(ModelError, match="finite"):
        PersonalModel.from_tensors(bad, model.mean, model.opacity)
    with pytest.raises(ModelError, match="active"):
        PersonalModel.from_tensors(
            dict(tensors, active=tensors["active"] + 10_000), model.mean, model.opacity
        )


def test_too_few_faces_are_told(clip: Clip) -> None:
    seen = Observations.of(clip.states[:10])
    with pytest.raises(EnrolmentError, match="at least 30 frames"):
        enrol(clip.frames, seen, SMALL)
    more = Observations.of(clip.states)
    with pytest.raises(EnrolmentError, match="cut"):
        enrol(lambda: iter(list(clip.frames())[:40]), more, SMALL)


def test_layout_is_one_to_one() -> None:
    head = HeadMesh.open("default")
    uv = personal_uv(head).astype(np.float64)
    faces = head.faces[(head.faces < head.template_size).all(1)]
    faces = faces[head.regions[faces[:, 0]] == "head"]
    one, two = uv[faces[:, 1]] - uv[faces[:, 0]], uv[faces[:, 2]] - uv[faces[:, 0]]
    area = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
    assert ((area > 0) == (area.mean() > 0)).all()
    assert uv.min() >= 0.0
    assert uv.max() <= 1.0


def test_deformation_knows_the_template_s_own_shapes() -> None:
    head, landmarks = HeadMesh.open("default"), LandmarkMap.open()
    rest = head.vertices[: head.template_size].astype(np.float64)
    deformation = FaceDeformation(head, landmarks, rest, held=True)
    for name in ("jawOpen", "mouthSmileLeft", "browInnerUp"):
        shape = head.shapes[SHAPE_INDEX[name]].astype(np.float64)
        got = deformation.expression(landmarks.points(shape)[None])[0]
        skin = deformation.on_surface
        error = np.linalg.norm(got - shape, axis=1)[skin]
        assert np.sqrt((error**2).mean()) < 0.35 * np.sqrt((shape[skin] ** 2).sum(1).mean())
    skull = np.abs(head.shapes).max(axis=(0, 2)) < 1e-6
    moved = deformation.expression(np.full((1, 468, 3), 0.002))[0]
    assert np.linalg.norm(moved[skull & deformation.on_surface], axis=1).max() < 0.0025


def test_landmarks_of_the_lids_lie_on_the_rims_of_the_lids() -> None:
    """246 once lay at the back of the head: most rays to it went in between the lids."""
    head, landmarks = HeadMesh.open("default"), LandmarkMap.open()
    points = landmarks.points(head.vertices[: head.template_size].astype(float))
    rims = points[np.array(LIDS)]
    for rim, eye in zip(rims, head.eyes, strict=True):
        away = np.linalg.norm(rim - eye, axis=1)
        assert away.max() < head.eye_radius + 0.012
        assert (rim[:, 2] > eye[2]).all()
    # Both rims are listed from the outer corner, the lower lid first.
    assert np.linalg.norm(rims[0] * (-1, 1, 1) - rims[1], axis=1).max() < 0.004
    assert landmarks.trust[np.array(LIDS)].min() > 0.5


def test_likeness_of_another_person_from_landmarks() -> None:
    template, other = HeadMesh.open("default"), HeadMesh.open("mei")
    landmarks = LandmarkMap.open()
    truth = other.vertices[: other.template_size].astype(np.float64)
    found = Likeness.fit(template, landmarks, landmarks.points(truth))
    face = np.unique(landmarks.corners)
    before = np.linalg.norm(template.vertices[face] - truth[face], axis=1).mean()
    after = np.linalg.norm(found.vertices[face] - truth[face], axis=1).mean()
    assert after < 0.0012 < before
    assert np.linalg.norm(found.eyes - other.eyes, axis=1).max() < 0.008


def test_similarity_finds_what_was_done() -> None:
    rng = np.random.default_rng(2)
    points = rng.normal(size=(30, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    scale, found, offset = similarity(points, 1.3 * points @ turn.T + 2.0, np.ones(30))
    assert scale == pytest.approx(1.3)
    np.testing.assert_allclose(found, turn, atol=1e-9)
    np.testing.assert_allclose(offset, 2.0, atol=1e-9)


def test_shipped_avatars_still_open_beside_personal_ones() -> None:
    from avatar.opening import open_avatar

    with open_avatar("default") as avatar:
        assert isinstance(avatar, Avatar)
    with pytest.raises(ValueError, match="nobody"):
        open_avatar("nobody")


def test_the_expectation_equals_its_slow_twin(clip: Clip, model: PersonalModel) -> None:
    driving, rng = OwnDriving(model), np.random.default_rng(5)
    faces = [state.face for state in clip.states[::5] if state.face is not None]
    worst = 0.0
    for face in faces:
        geometry, _ = model.landmark_code(face.landmarks)
        for noise in (0.0, 3.0):  # the second reaches beyond what is known
            some = (geometry + noise * rng.normal(size=len(geometry))).astype(np.float32)
            got = driving.appearance(face.world_from_head, some, face.gaze)
            wanted = expected_slow(model, face.world_from_head, some, face.gaze)
            assert got.dtype == np.float32
            # Sums of hundreds of float32 products. The finest step that is sent is 1/8.
            worst = max(worst, float(np.abs(got - wanted).max()))
    assert worst < 2e-4


def test_pairs_of_moments_tell_flicker(clip: Clip, model: PersonalModel) -> None:
    rows = (TRAINED, TRAINED + 1, TRAINED + 20)
    moments = [(f, clip.states[k]) for k, f in enumerate(clip.frames()) if k in rows]
    figures = evaluate_likeness(avatar_of(model, fade=False), moments, True).figures
    assert figures.frames == 3
    assert 0.5 < figures.flicker < 20.0
    assert "flicker" in figures.line()
    assert "FLIP" not in figures.line()
    alone = evaluate_likeness(avatar_of(model, fade=False), moments[1:], True).figures
    assert np.isnan(alone.flicker)
