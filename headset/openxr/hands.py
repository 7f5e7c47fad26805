"""The wearer's hands by XR_EXT_hand_tracking: 26 joints a hand, of which we keep XRHand's 25."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from headset.openxr.binding import InstanceLostError, SessionLostError, readable
from headset.openxr.runtime import Runtime
from streams.closing import Closing
from streams.rigid import Rigid
from streams.tracked_state import SIDES

Float32 = npt.NDArray[np.float32]

JOINTS = 26
"""XrHandJointEXT: the palm, the wrist, then thumb to little finger; WebXR's 25 leave out the
palm and keep the order (`streams.hand_skeleton.OPENXR_JOINTS`)."""

JOINT_LOCATION = np.dtype(
    [("flags", np.uint64), ("xyzw", np.float32, 4), ("xyz", np.float32, 3),
     ("radius", np.float32)]
)  # fmt: skip
"""XrHandJointLocationEXT as it lies in memory, 40 bytes."""
POSITION_VALID = 2
"""XR_SPACE_LOCATION_POSITION_VALID_BIT."""


class Hands(Closing):
    """Trackers of both hands. Without hand tracking every hand is absent."""

    def __init__(self, runtime: Runtime, session: Any) -> None:
        xr = self._xr = runtime.xr
        self._trackers: list[Any] = []
        if not runtime.tracks_hands:
            return
        self._locate: Any = runtime.function("xrLocateHandJointsEXT", *(ctypes.c_void_p,) * 3)
        for hand in (xr.HandEXT.LEFT, xr.HandEXT.RIGHT):
            wanted = xr.HandTrackerCreateInfoEXT(hand, xr.HandJointSetEXT.DEFAULT)
            with readable(xr, "asking for hand tracking"):
                self._trackers.append(xr.create_hand_tracker_ext(session, wanted))

    def at(self, space: Any, xr_time: int, world_from_space: Rigid) -> dict[str, Float32 | None]:
        """By side, (25, 3) float32 metres in the world, XRHand's order, or None when not tracked.

        Raises SessionLostError or InstanceLostError.
        """
        found: dict[str, Float32 | None] = dict.fromkeys(SIDES)
        for side, tracker in zip(SIDES, self._trackers, strict=False):
            joints = self._joints(tracker, space, xr_time)
            if joints is not None:
                found[side] = webxr_joints_of(joints, world_from_space)
        return found

    def close(self) -> None:
        """Destroy the trackers; may be called twice."""
        trackers, self._trackers = self._trackers, []
        for tracker in trackers:
            try:
                self._xr.destroy_hand_tracker_ext(tracker)
            except self._xr.exception.XrException:
                pass  # It went with the session.

    def _joints(self, tracker: Any, space: Any, xr_time: int) -> npt.NDArray[np.void] | None:
        xr = self._xr
        # pyopenxr's wrapper of this call hands over room for no joints.
        room = (xr.HandJointLocationEXT * JOINTS)()
        locations = xr.HandJointLocationsEXT(joint_count=JOINTS, joint_locations=room)
        wanted = xr.HandJointsLocateInfoEXT(base_space=space, time=xr_time)
        value = self._locate(
            ctypes.cast(tracker, ctypes.c_void_p), ctypes.byref(wanted), ctypes.byref(locations)
        )
        if value == xr.Result.ERROR_INSTANCE_LOST.value:
            raise InstanceLostError("OpenXR: the runtime went away while locating hands")
        if value == xr.Result.ERROR_SESSION_LOST.value:
            raise SessionLostError("OpenXR: the headset's session was lost while locating hands")
        # Any other error (a time out of reach) is of this moment: the hand is absent in it.
        if value < 0 or not locations.is_active:
            return None
        return np.frombuffer(room, JOINT_LOCATION).copy()


def webxr_joints_of(joints: npt.NDArray[np.void], world_from_space: Rigid) -> Float32 | None:
    """(26,) JOINT_LOCATION -> (25, 3) float32 metres in the world, or None unless every joint has
    a valid place: a hand half of which is guessed is no hand."""
    if joints.shape != (JOINTS,):
        raise ValueError(f"webxr_joints_of joints: expected ({JOINTS},), got {joints.shape}")
    places = joints["xyz"][1:]
    if not ((joints["flags"][1:] & POSITION_VALID) != 0).all() or not np.isfinite(places).all():
        return None
    return np.asarray(world_from_space.apply(places), np.float32)
