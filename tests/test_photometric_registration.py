"""Faces registered to what is expected of them, sharpening, and which texels are looked at, on the
person of the clip that ships."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from apps.likeness_evaluation import evaluate_likeness
from avatar.driving import OwnDriving
from avatar.enrolment.observations import Observations
from avatar.enrolment.recipe import EnrolmentOptions, enrol
from avatar.enrolment.texture_basis_fit import BasisOptions
from avatar.head_mesh import HeadMesh
from avatar.mesh_assembly import view_direction
from avatar.personal_atlas import face_texels, texel_strides
from avatar.personal_avatar import PersonalAvatar
from avatar.personal_model import PersonalModel
from avatar.photometric_registration import MOST_MM, registered_slow
from avatar.picture_encoder import SHARPENING, PictureEncoder, face_table
from avatar.posed_face import PosedFace
from avatar.sharpening import SIGMA, sharpened
from avatar.unwrapping import IN_MOUTH, unwrap
from capture.frame_source import open_source
from streams.frame import Frame
from streams.tracked_state import FacePose, TrackedState
from tracking.tracker import Tracker, TrackerOptions

FRAMES, TRAINED = 60, 50
OPTIONS = EnrolmentOptions(
    appearance=48,
    basis=BasisOptions(grid=12, planes=4, rounds=2),
    least_frames=30,
    registered_frames=0,
)
Tracked = list[tuple[Frame, TrackedState]]


@pytest.fixture(scope="module")
def tracked(demo_clip: Path) -> Tracked:
    with (
        open_source(f"video:{demo_clip}") as source,
        Tracker.open(TrackerOptions(hands=0)) as tracker,
    ):
        return [
            (frame, tracker.track(frame)) for _, frame in zip(range(FRAMES), source, strict=False)
        ]


@pytest.fixture(scope="module")
def model(tracked: Tracked) -> PersonalModel:
    seen = Observations.of([state for _, state in tracked[:TRAINED]])

    def frames() -> Iterator[Frame]:
        return (frame for frame, _ in tracked)

    return enrol(frames, seen, OPTIONS)


def face_of(state: TrackedState) -> FacePose:
    assert state.face is not None
    return state.face


def moved_mm(model: PersonalModel, code: np.ndarray) -> float:
    """RMS of the landmarks' motion for a difference of geometry numbers."""
    mm2 = 1e6 * (model.landmark_moves**2).sum(1) / len(model.landmark_rest)
    return float(np.sqrt((code.astype(np.float64) ** 2 * mm2).sum()))


def test_registration_equals_its_slow_twin(tracked: Tracked, model: PersonalModel) -> None:
    encoder, driving = PictureEncoder(HeadMesh.open("default"), model), OwnDriving(model)
    rng = np.random.default_rng(3)
    for frame, state in tracked[TRAINED :: FRAMES - TRAINED - 1]:
        face = face_of(state)
        view = view_direction(face.world_from_head, None)
        code, _ = model.landmark_code(face.landmarks)
        wrong = (code + 0.3 * rng.normal(size=len(code))).astype(np.float32)
        expected = driving.appearance(face.world_from_head, code, face.gaze)
        rest = (frame, face.world_from_head, wrong, expected, view)
        fast = encoder.registration.registered(*rest)
        slow = registered_slow(encoder.registration, *rest)
        assert moved_mm(model, fast - wrong) > 0.1
        # OpenCV samples at 32nds of a pixel, and the twin's derivative is one of differences.
        assert moved_mm(model, fast - slow) < 0.02


def test_registration_undoes_a_wrong_shape(
    tracked: Tracked, model: PersonalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Drawn skin has a tenth of a real one's contrast: what holds back has to be weaker too.
    monkeypatch.setattr("avatar.photometric_registration.HELD_BACK", 0.5)
    encoder, driving = PictureEncoder(HeadMesh.open("default"), model), OwnDriving(model)
    rng, before, after = np.random.default_rng(8), [], []
    for frame, state in tracked[:TRAINED:7]:
        face = face_of(state)
        view = view_direction(face.world_from_head, None)
        code, _ = model.landmark_code(face.landmarks)
        expected = driving.appearance(face.world_from_head, code, face.gaze)
        wrong = code.copy()
        wrong[:6] += 0.2 * rng.normal(size=6).astype(np.float32)
        found, right = (
            encoder.registered(frame, face, start, view, expected) for start in (wrong, code)
        )
        before.append(moved_mm(model, wrong - right))
        after.append(moved_mm(model, found - right))
        assert moved_mm(model, found - wrong) <= MOST_MM + 1e-4
    assert np.mean(after) < 0.75 * np.mean(before)


def test_what_cannot_be_compared_stays_where_it_was_tracked(
    tracked: Tracked, model: PersonalModel
) -> None:
    frame, state = tracked[-1]
    face = face_of(state)
    encoder = PictureEncoder(HeadMesh.open("default"), model)
    view = view_direction(face.world_from_head, None)
    code, _ = model.landmark_code(face.landmarks)
    guess = np.zeros(model.appearance_size, np.float32)
    beside = replace(face.world_from_head, xyz=face.world_from_head.xyz + (5.0, 0.0, 0.0))
    away = replace(face, world_from_head=beside)
    assert encoder.registered(frame, away, code, view, guess).tobytes() == code.tobytes()


def test_encoded_geometry_is_registered_and_driven_is_tracked(
    tracked: Tracked, model: PersonalModel
) -> None:
    frame, state = tracked[-1]
    code, _ = model.landmark_code(face_of(state).landmarks)
    with PersonalAvatar(model, "avatars/test", fade=False) as avatar:
        driven, encoded = avatar.encode(state), avatar.encode(state, frame)
    assert driven.geometry.tobytes() == code.tobytes()
    assert 0.0 < moved_mm(model, encoded.geometry - code) <= MOST_MM


def test_sharpening_adds_what_a_blur_takes() -> None:
    rng = np.random.default_rng(1)
    rgb = rng.integers(60, 190, (64, 80, 3)).astype(np.uint8)
    marks = np.array([[30.0, 20.0], [50.0, 40.0]])
    got = sharpened(rgb, 0.7, marks)
    inside = (slice(10, 50), slice(20, 60))
    part = rgb[inside].astype(np.float64)
    fine = part - cv2.GaussianBlur(part, (0, 0), SIGMA)
    wanted = np.clip(part + 0.7 * fine, 0, 255)
    assert np.abs(got[inside] - wanted).max() <= 1.5  # two roundings
    outside = np.ones(rgb.shape[:2], bool)
    outside[inside] = False
    assert (got[outside] == rgb[outside]).all()
    assert sharpened(rgb, 0.0, marks) is rgb
    assert sharpened(rgb, 0.7, marks + 1e4) is rgb  # the face is not in the picture
    assert sharpened(rgb, 0.7, marks * np.nan) is rgb


def test_sharpening_makes_the_encoded_picture_sharper(
    tracked: Tracked, model: PersonalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, found = tracked[TRAINED::4], []
    for amount in (0.0, SHARPENING):
        monkeypatch.setattr("avatar.picture_encoder.SHARPENING", amount)
        avatar = PersonalAvatar(model, "avatars/test", fade=False)
        found.append(evaluate_likeness(avatar, rows, with_frames=True).figures)
    plain, sharp = found
    assert sharp.sharpness > plain.sharpness + 0.005
    assert sharp.psnr_db > plain.psnr_db - 0.5


def test_mouths_are_looked_at_most() -> None:
    table = face_table(HeadMesh.open("default"))
    strides, face = texel_strides(table, 2), face_texels(table)
    assert set(np.unique(strides)) == {1, 2, 4}
    in_mouth = np.isin(table.regions, IN_MOUTH)
    assert (strides[in_mouth] == 1).all()
    assert (strides[(table.regions == "head") & ~face & ~in_mouth] >= 2).all()
    assert ((strides == 4) <= ~face).all()
    assert 0.02 < (strides[face] == 1).mean() < 0.15
    assert (texel_strides(table, 1) >= 1).all()


def test_the_gap_between_lips_takes_what_is_seen_there(
    tracked: Tracked, model: PersonalModel
) -> None:
    frame, state = tracked[0]
    face, head = face_of(state), HeadMesh.open("default")
    posed = PosedFace(head, model.rest, model.moves, model.eyes, model.gaze_map)
    vertices, normals = posed.of(model.landmark_code(face.landmarks)[0], face.gaze)
    shut = face.landmarks.copy()
    upper, lower = (
        (191, 80, 81, 82, 13, 312, 311, 310, 415),
        (95, 88, 178, 87, 14, 317, 402, 318, 324),
    )
    shut[list(lower)] = shut[list(upper)]
    table = face_table(head)
    found = unwrap(table, frame.rgb, frame.camera, face.world_from_head, vertices, normals, shut)
    in_mouth = np.isin(table.regions, IN_MOUTH)
    assert (found.seen[in_mouth] == 1.0).all()
    assert found.disclosed[in_mouth].mean() < 0.35
    assert (found.seen == found.disclosed)[~in_mouth].all()
