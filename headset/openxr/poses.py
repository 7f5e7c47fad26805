"""Places between OpenXR's structures and ours.

OpenXR's spaces have our world's axes (y up, right-handed, metres) and its quaternions lie xyzw. An
OpenXR view looks along -z with y up; our eye has OpenCV's axes, half a turn about x away. OpenXR's
head (the VIEW space) looks along -z; our head frame's z comes out of the face, half a turn about y.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streams.rigid import Rigid
from streams.view import EYES, View

XR_VIEW_FROM_EYE = Rigid(np.array([0.0, 1.0, 0.0, 0.0]))
"""Half a turn about x."""
XR_HEAD_FROM_HEAD = Rigid(np.array([0.0, 0.0, 1.0, 0.0]))
"""Half a turn about y."""
UP = np.array([0.0, 1.0, 0.0])


def rigid_of(pose: Any) -> Rigid | None:
    """An XrPosef as a Rigid; None when its quaternion is none, which runtimes give for what they
    do not see."""
    q, p = pose.orientation, pose.position
    wxyz = np.array([q.w, q.x, q.y, q.z], np.float64)
    xyz = np.array([p.x, p.y, p.z], np.float64)
    norm = float(np.linalg.norm(wxyz))
    # float32 quaternions are off 1 by rounding; the specification allows 1 %.
    if not (abs(norm - 1.0) <= 0.01 and np.isfinite(xyz).all()):
        return None
    return Rigid(wxyz / norm, xyz)


def pose_of(xr: Any, place: Rigid) -> Any:
    """A Rigid as an XrPosef."""
    w, x, y, z = (float(value) for value in place.wxyz)
    return xr.Posef(xr.Quaternionf(x, y, z, w), xr.Vector3f(*(float(v) for v in place.xyz)))


def view_of(
    located: Any, eye: int, t_ns: int, size: tuple[int, int], world_from_space: Rigid
) -> View | None:
    """An XrView as our View, or None when its place or field of view makes no sense.

    `eye`: 0 is the left one. XrFovf's angles and signs are those of `View.fov`.
    """
    space_from_view = rigid_of(located.pose)
    if space_from_view is None:
        return None
    fov = located.fov
    angles = np.array([fov.angle_left, fov.angle_right, fov.angle_up, fov.angle_down], np.float64)
    world_from_eye = world_from_space @ space_from_view @ XR_VIEW_FROM_EYE
    try:
        return View(t_ns, EYES[1 + eye], world_from_eye, angles, size)
    except ValueError:
        return None


def head_of(space_from_xr_head: Rigid, world_from_space: Rigid) -> Rigid:
    """`world_from_head`, our axes, of the place of OpenXR's VIEW space."""
    return world_from_space @ space_from_xr_head @ XR_HEAD_FROM_HEAD


def seat_of(space_from_xr_head: Rigid) -> Rigid:
    """`space_from_seat`: at the head, level, ahead (-z) where the head looks."""
    rotation = space_from_xr_head.rotation()
    # Whoever looks straight up or down still has a left and a right.
    ahead = -rotation[:, 2] if abs(rotation[1, 2]) < 0.99 else np.cross(UP, rotation[:, 0])
    z = -np.array([ahead[0], 0.0, ahead[2]])
    z /= np.linalg.norm(z)
    return Rigid.from_rotation(np.stack([np.cross(UP, z), UP, z], axis=1), space_from_xr_head.xyz)
