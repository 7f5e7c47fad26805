"""Where the world is: the space that the wearer's seat or room gives, and what recentring does.

"local": the runtime's LOCAL space is the world. Its origin is the wearer's head when the session
began or was last recentred, level, -z ahead: where a webcam would be that the avatar looks into.
"stage": the world stands still in the room (the STAGE space); its origin is taken once, from the
head's first place, and again when the room is set up anew.
"""

from __future__ import annotations

from typing import Any

from headset.openxr.binding import OpenXrError, readable
from headset.openxr.poses import head_of, pose_of, rigid_of, seat_of
from headset.openxr.runtime import Runtime
from streams.array_contract import require_choice
from streams.closing import Closing
from streams.rigid import Rigid

SPACES = ("local", "stage")


class PlaySpace(Closing):
    """The reference space of a session, and the wearer's head in it."""

    def __init__(self, runtime: Runtime, session: Any, name: str = "local") -> None:
        require_choice("PlaySpace name", name, SPACES)
        xr = self._xr = runtime.xr
        self.name = name
        self.handle: Any = None
        self._view: Any = None
        self.recentred = 0
        """How often the runtime moved the origin since the session began."""
        kinds = xr.ReferenceSpaceType
        self._kind = kinds.LOCAL if name == "local" else kinds.STAGE
        with readable(xr, "asking for spaces"):
            offered = [kinds(kind) for kind in xr.enumerate_reference_spaces(session)]
        if self._kind not in offered:
            raise OpenXrError(
                f"OpenXR: {runtime.name} has no {name.upper()} space; set the room up in its own "
                "settings, or use --space local"
            )
        self.handle = self._space(session, self._kind)
        self._view = self._space(session, kinds.VIEW)
        self._world_from_space: Rigid | None = Rigid.identity() if name == "local" else None
        self._changes_at: int | None = None

    def change(self, kind: Any, at_xr: int) -> None:
        """The runtime announced that a space's origin moves at that XrTime."""
        if self._xr.ReferenceSpaceType(kind) == self._kind:
            self._changes_at = at_xr

    def at(self, xr_time: int) -> Rigid | None:
        """`world_from_space` at a frame's time, after what `change` announced for it; None while
        the head's place is not known yet."""
        if self._changes_at is not None and xr_time >= self._changes_at:
            self._changes_at = None
            self.recentred += 1
            if self.name == "stage":
                self._world_from_space = None
        if self._world_from_space is None:
            head = self._space_from_head(xr_time)
            self._world_from_space = None if head is None else seat_of(head).inverse()
        return self._world_from_space

    def world_from_head(self, xr_time: int) -> Rigid | None:
        """The wearer's head, our axes; None while it is not tracked."""
        head, world = self._space_from_head(xr_time), self._world_from_space
        return None if head is None or world is None else head_of(head, world)

    def pose(self, world_from_thing: Rigid) -> Any:
        """A place in the world as an XrPosef in this space. Raises OpenXrError before `at`."""
        if self._world_from_space is None:
            raise OpenXrError("OpenXR: expected the head to be tracked first; it is not yet")
        return pose_of(self._xr, self._world_from_space.inverse() @ world_from_thing)

    def close(self) -> None:
        """Destroy the spaces; may be called twice."""
        handles = [handle for handle in (self._view, self.handle) if handle is not None]
        self._view = self.handle = None
        for handle in handles:
            try:
                self._xr.destroy_space(handle)
            except self._xr.exception.XrException:
                pass  # It went with the session.

    def _space_from_head(self, xr_time: int) -> Rigid | None:
        xr = self._xr
        with readable(xr, "locating the head"):
            found = xr.locate_space(self._view, self.handle, xr_time)
        flags = xr.SpaceLocationFlags
        needed = int(flags.ORIENTATION_VALID_BIT | flags.POSITION_VALID_BIT)
        if int(found.location_flags) & needed != needed:
            return None
        return rigid_of(found.pose)

    def _space(self, session: Any, kind: Any) -> Any:
        upright = self._xr.Posef(self._xr.Quaternionf(0.0, 0.0, 0.0, 1.0))
        with readable(self._xr, "making a space"):
            return self._xr.create_reference_space(
                session,
                self._xr.ReferenceSpaceCreateInfo(
                    reference_space_type=kind, pose_in_reference_space=upright
                ),
            )
