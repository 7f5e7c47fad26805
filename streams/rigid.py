"""Rigid transforms, SE(3): `p_a = a_from_b.apply(p_b)`.

Names cancel when transforms are chained: `world_from_eye = world_from_head @ head_from_eye`.
Quaternions are wxyz, scalar first, Hamilton product; q and -q are the same rotation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from streams.array_contract import require_array, require_finite

Array = npt.NDArray[np.float64]


def _identity_wxyz() -> Array:
    return np.array([1.0, 0.0, 0.0, 0.0])


def _zero_xyz() -> Array:
    return np.zeros(3)


@dataclass(frozen=True, slots=True, eq=False)
class Rigid:
    """A rotation followed by a translation.

    Raises ValueError when an array has the wrong shape or dtype, when a number is not finite, or
    when the quaternion's norm is off 1 by more than 1e-6 (less is renormalised; up to 1e-15,
    which is rounding, is kept).
    """

    wxyz: Array = field(default_factory=_identity_wxyz)
    """(4,) float64 unit quaternion, scalar first."""
    xyz: Array = field(default_factory=_zero_xyz)
    """(3,) float64 metres."""

    def __post_init__(self) -> None:
        require_array("Rigid.wxyz", self.wxyz, np.float64, (4,))
        xyz = require_array("Rigid.xyz", self.xyz, np.float64, (3,))
        require_finite("Rigid.xyz", xyz)
        wxyz = self.wxyz
        norm = math.sqrt(wxyz.dot(wxyz))
        if not abs(norm - 1.0) <= 1e-6:
            require_finite("Rigid.wxyz", wxyz)
            raise ValueError(f"Rigid.wxyz: expected a unit quaternion, got norm {norm:.9g}")
        # What is of unit length to rounding stays as it is, so that a recorded transform comes back
        # with the very same bits.
        unit = wxyz.copy() if abs(norm - 1.0) <= 1e-15 else wxyz / norm
        unit.setflags(write=False)
        object.__setattr__(self, "wxyz", unit)
        object.__setattr__(self, "xyz", xyz)

    @staticmethod
    def identity() -> Rigid:
        """The transform that changes nothing."""
        return Rigid()

    @staticmethod
    def from_translation(xyz: npt.ArrayLike) -> Rigid:
        """No rotation, then `xyz` (3,) metres."""
        return Rigid(_identity_wxyz(), np.array(xyz, np.float64))

    @staticmethod
    def from_rotation(rotation: npt.ArrayLike, xyz: npt.ArrayLike = (0.0, 0.0, 0.0)) -> Rigid:
        """From a (3, 3) rotation matrix, projected to the nearest rotation, and (3,) metres.

        Raises ValueError when the matrix is a reflection or far (0.01) from a rotation.
        """
        return Rigid(wxyz_from_rotation(np.array(rotation, np.float64)), np.array(xyz, np.float64))

    @staticmethod
    def from_rotvec(rotvec: npt.ArrayLike, xyz: npt.ArrayLike = (0.0, 0.0, 0.0)) -> Rigid:
        """From a (3,) rotation vector (axis times radians) and (3,) metres."""
        return Rigid(wxyz_from_rotvec(np.array(rotvec, np.float64)), np.array(xyz, np.float64))

    @staticmethod
    def from_matrix(matrix: npt.ArrayLike) -> Rigid:
        """From a (4, 4) row-major homogeneous matrix acting on column vectors.

        Raises ValueError when the last row is not 0 0 0 1 or the rotation is none.
        """
        m = np.array(matrix, np.float64)
        if m.shape != (4, 4) or not np.allclose(m[3], (0, 0, 0, 1), atol=1e-6):
            raise ValueError(f"Rigid.from_matrix: expected (4, 4) with last row 0 0 0 1, got\n{m}")
        return Rigid.from_rotation(m[:3, :3], m[:3, 3])

    def rotation(self) -> Array:
        """(3, 3) float64 rotation matrix."""
        w, x, y, z = self.wxyz.tolist()  # plain floats are quicker one by one
        return np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )

    def matrix(self) -> Array:
        """(4, 4) float64 row-major homogeneous matrix acting on column vectors."""
        m = np.eye(4)
        m[:3, :3] = self.rotation()
        m[:3, 3] = self.xyz
        return m

    def rotvec(self) -> Array:
        """(3,) float64 rotation vector, angle in [0, pi]."""
        w, v = float(self.wxyz[0]), self.wxyz[1:]
        if w < 0.0:
            w, v = -w, -v
        sine = math.sqrt(v.dot(v))
        # Below 1e-9 the half angle equals its sine to double precision.
        return 2.0 * v if sine < 1e-9 else v * (2.0 * math.atan2(sine, w) / sine)

    def apply(self, points: npt.ArrayLike) -> npt.NDArray[np.floating]:
        """Points (..., 3) in b, metres -> the same in a; float32 stays float32."""
        p = np.asarray(points)
        dtype = np.float32 if p.dtype == np.float32 else np.float64
        return p @ self.rotation().T.astype(dtype) + self.xyz.astype(dtype)

    def rotate(self, vectors: npt.ArrayLike) -> npt.NDArray[np.floating]:
        """Directions (..., 3) in b -> the same in a; float32 stays float32."""
        v = np.asarray(vectors)
        dtype = np.float32 if v.dtype == np.float32 else np.float64
        return v @ self.rotation().T.astype(dtype)

    def inverse(self) -> Rigid:
        """`b_from_a` of this `a_from_b`."""
        conjugate = self.wxyz * np.array([1.0, -1.0, -1.0, -1.0])
        return Rigid(conjugate, -(self.rotation().T @ self.xyz))

    def __matmul__(self, other: Rigid) -> Rigid:
        """`a_from_c = a_from_b @ b_from_c`."""
        return Rigid(multiply_wxyz(self.wxyz, other.wxyz), self.rotation() @ other.xyz + self.xyz)

    def angle_to(self, other: Rigid) -> float:
        """Radians, 0..pi, of the rotation between the two."""
        return float(np.linalg.norm((self.inverse() @ other).rotvec()))

    def interpolate(self, other: Rigid, fraction: float) -> Rigid:
        """Along the shortest rotation (slerp) and the straight line; 0 is self, 1 is other."""
        turn = (Rigid(self.wxyz).inverse() @ Rigid(other.wxyz)).rotvec()
        step = Rigid.from_rotvec(turn * fraction)
        return Rigid((Rigid(self.wxyz) @ step).wxyz, self.xyz + fraction * (other.xyz - self.xyz))


def multiply_wxyz(a: Array, b: Array) -> Array:
    """Hamilton product of two (4,) quaternions."""
    aw, ax, ay, az = a
    bw, bx, by, bz = b
    product = np.array(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ]
    )
    return product / np.sqrt(product @ product)


def wxyz_from_rotvec(rotvec: Array) -> Array:
    """(3,) rotation vector, radians -> (4,) unit quaternion."""
    angle = float(np.linalg.norm(rotvec))
    # sinc keeps full precision at zero, where sin(a/2)/a is 1/2.
    v = rotvec * (0.5 * float(np.sinc(angle / (2.0 * np.pi))))
    wxyz = np.array([np.cos(angle / 2.0), *v])
    return wxyz / np.sqrt(wxyz @ wxyz)


def wxyz_from_rotation(rotation: Array) -> Array:
    """(3, 3) rotation matrix -> (4,) unit quaternion with w >= 0 (Shepperd 1978).

    Raises ValueError when the matrix is not within 0.01 of a rotation.
    """
    if rotation.shape != (3, 3) or not np.isfinite(rotation).all():
        raise ValueError(f"rotation: expected a finite (3, 3) matrix, got {rotation!r}")
    u, _, vt = np.linalg.svd(rotation)
    r = u @ vt
    if np.linalg.det(r) < 0 or np.abs(r - rotation).max() > 0.01:
        raise ValueError(f"rotation: expected a rotation matrix, got\n{rotation}")
    return wxyz_from_exact_rotations(r)


def wxyz_from_exact_rotations(rotations: Array) -> Array:
    """(..., 3, 3) rotation matrices, unchecked -> (..., 4) unit quaternions with w >= 0.

    Of Shepperd's four forms each takes the one with the largest divisor.
    """
    r = rotations
    xx, yy, zz = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
    forms = np.empty((*r.shape[:-2], 4, 4), r.dtype)
    forms[..., 0, 0] = 1 + xx + yy + zz
    forms[..., 1, 1] = 1 + xx - yy - zz
    forms[..., 2, 2] = 1 - xx + yy - zz
    forms[..., 3, 3] = 1 - xx - yy + zz
    forms[..., 0, 1] = forms[..., 1, 0] = r[..., 2, 1] - r[..., 1, 2]
    forms[..., 0, 2] = forms[..., 2, 0] = r[..., 0, 2] - r[..., 2, 0]
    forms[..., 0, 3] = forms[..., 3, 0] = r[..., 1, 0] - r[..., 0, 1]
    forms[..., 1, 2] = forms[..., 2, 1] = r[..., 1, 0] + r[..., 0, 1]
    forms[..., 1, 3] = forms[..., 3, 1] = r[..., 0, 2] + r[..., 2, 0]
    forms[..., 2, 3] = forms[..., 3, 2] = r[..., 2, 1] + r[..., 1, 2]
    flat = forms.reshape(-1, 4, 4)
    largest = flat.diagonal(0, 1, 2).argmax(-1)
    wxyz: Array = flat[np.arange(len(flat)), largest].reshape(forms.shape[:-1])
    wxyz = wxyz / np.linalg.norm(wxyz, axis=-1, keepdims=True)
    return np.where(wxyz[..., :1] >= 0, wxyz, -wxyz)
