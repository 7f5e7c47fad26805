"""SE(3): group axioms, and every representation there and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from streams.rigid import Rigid, wxyz_from_exact_rotations

metres = st.floats(-10, 10, allow_nan=False)
vectors = st.tuples(metres, metres, metres).map(np.array)


@st.composite
def rigids(draw: st.DrawFn) -> Rigid:
    axis = draw(vectors.filter(lambda v: np.linalg.norm(v) > 1e-3))
    angle = draw(st.floats(0, np.pi) | st.sampled_from([0.0, 1e-12, 1e-7, np.pi / 2, np.pi]))
    return Rigid.from_rotvec(axis / np.linalg.norm(axis) * angle, draw(vectors))


def close(a: Rigid, b: Rigid) -> bool:
    return np.allclose(a.matrix(), b.matrix(), atol=1e-9)


@given(rigids(), rigids(), rigids())
def test_group_axioms(a: Rigid, b: Rigid, c: Rigid) -> None:
    assert close((a @ b) @ c, a @ (b @ c))
    assert close(a @ Rigid.identity(), a)
    assert close(Rigid.identity() @ a, a)
    assert close(a @ a.inverse(), Rigid.identity())
    assert close(a.inverse().inverse(), a)
    assert close((a @ b).inverse(), b.inverse() @ a.inverse())


@given(rigids(), rigids(), vectors)
def test_composition_acts_like_one_after_the_other(a: Rigid, b: Rigid, p: np.ndarray) -> None:
    np.testing.assert_allclose((a @ b).apply(p), a.apply(b.apply(p)), atol=1e-9)
    np.testing.assert_allclose(a.matrix() @ [*p, 1], [*a.apply(p), 1], atol=1e-9)
    np.testing.assert_allclose(a.rotate(p), a.apply(p) - a.xyz, atol=1e-9)
    assert np.linalg.norm(a.rotate(p)) == pytest.approx(np.linalg.norm(p), abs=1e-9)


@given(rigids())
def test_matrix_rotvec_and_quaternion_round_trips(a: Rigid) -> None:
    assert close(Rigid.from_matrix(a.matrix()), a)
    assert close(Rigid.from_rotation(a.rotation(), a.xyz), a)
    assert close(Rigid.from_rotvec(a.rotvec(), a.xyz), a)
    assert close(Rigid(-a.wxyz, a.xyz), a)
    assert np.linalg.norm(a.rotvec()) <= np.pi + 1e-12


@given(rigids())
def test_agrees_with_scipy(a: Rigid) -> None:
    x, y, z = a.wxyz[1:]
    theirs = Rotation.from_quat([x, y, z, a.wxyz[0]])
    np.testing.assert_allclose(a.rotation(), theirs.as_matrix(), atol=1e-12)


@given(st.lists(rigids(), min_size=1, max_size=5))
def test_many_rotations_at_once_are_the_single_ones(several: list[Rigid]) -> None:
    many = wxyz_from_exact_rotations(np.stack([a.rotation() for a in several]))
    for a, wxyz in zip(several, many, strict=True):
        np.testing.assert_allclose(Rigid(wxyz).rotation(), a.rotation(), atol=1e-9)
        assert wxyz[0] >= 0


@given(rigids(), rigids(), st.floats(0, 1))
def test_interpolation(a: Rigid, b: Rigid, fraction: float) -> None:
    assert close(a.interpolate(b, 0.0), a)
    assert np.allclose(a.interpolate(b, 1.0).matrix(), b.matrix(), atol=1e-7)
    part = a.interpolate(b, fraction)
    assert part.angle_to(a) == pytest.approx(fraction * a.angle_to(b), abs=1e-6)
    np.testing.assert_allclose(part.xyz, a.xyz + fraction * (b.xyz - a.xyz), atol=1e-12)


def test_a_quarter_turn_about_y_takes_z_to_x() -> None:
    turn = Rigid.from_rotvec([0, np.pi / 2, 0])
    np.testing.assert_allclose(turn.apply([0.0, 0.0, 1.0]), [1, 0, 0], atol=1e-15)


def test_float32_points_stay_float32() -> None:
    a = Rigid.from_rotvec([0.1, 0.2, 0.3], [1, 2, 3])
    assert a.apply(np.zeros((4, 3), np.float32)).dtype == np.float32
    assert a.rotate(np.zeros((4, 3), np.float32)).dtype == np.float32
    assert a.apply([[0, 0, 1]]).dtype == np.float64


@pytest.mark.parametrize(
    ("matrix", "why"),
    [
        (np.diag([1.0, 1.0, -1.0]), "a reflection"),
        (np.eye(3) * 1.1, "a scale"),
        (np.eye(4), "the wrong shape"),
        (np.full((3, 3), np.nan), "NaN"),
    ],
)
def test_what_is_no_rotation_is_refused(matrix: np.ndarray, why: str) -> None:
    with pytest.raises(ValueError, match=r"^rotation: expected"):
        Rigid.from_rotation(matrix)
    assert why


def test_a_matrix_needs_its_last_row() -> None:
    broken = np.eye(4)
    broken[3, 0] = 1
    with pytest.raises(ValueError, match=r"Rigid\.from_matrix: expected .* last row"):
        Rigid.from_matrix(broken)


def test_a_quaternion_must_be_a_unit_and_a_near_one_is_renormalised() -> None:
    with pytest.raises(ValueError, match="expected a unit quaternion, got norm 2"):
        Rigid(np.array([2.0, 0, 0, 0]))
    nearly = Rigid(np.array([1.0 + 5e-7, 0, 0, 0]))
    assert nearly.wxyz[0] == 1.0
