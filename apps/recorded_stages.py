"""Tracker and avatar of a replay: the usual ones, or what was recorded in their place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from apps.pipeline import Codes
from apps.session_moments import Moment
from apps.tracker_choice import ClosingTracker, open_person_tracker, open_tracker
from streams.avatar_code import AvatarCode
from streams.camera import Camera
from streams.closing import Closing
from streams.frame import Frame
from streams.mesh_texture import MeshTexture
from streams.tracked_state import TrackedState
from streams.view import View

if TYPE_CHECKING:
    from tracking.tracker import TrackerOptions


class ClosingAvatar(Codes, Protocol):
    """An avatar that can forget what it saw."""

    @property
    def id(self) -> str: ...

    def begin_anew(self) -> None: ...

    def close(self) -> None: ...


def open_avatar(name: str) -> ClosingAvatar:
    """An avatar by its name. Raises ValueError when there is none."""
    from avatar import opening

    return opening.open_avatar(name)


@dataclass(frozen=True, slots=True)
class ReplayParts:
    """What opens tracker and avatar of a replay, by the names on the command line."""

    open_tracker: Callable[[str, TrackerOptions], ClosingTracker] = open_tracker
    open_person_tracker: Callable[[str, TrackerOptions, tuple[Camera, ...]], ClosingTracker] = (
        open_person_tracker
    )
    open_avatar: Callable[[str], ClosingAvatar] = open_avatar


class RecordedStates:
    """In the place of a tracker: what was tracked when the session was recorded."""

    def __init__(self, moment_of: Callable[[int], Moment]) -> None:
        self._moment_of = moment_of

    def track(self, frame: Frame) -> TrackedState:
        """The state of the frame's time. Where there are codes alone, their hands are all that is
        known."""
        moment = self._moment_of(frame.t_ns)
        if moment.state is not None:
            return moment.state
        hands = () if moment.code is None else moment.code.hands
        return TrackedState(frame.t_ns, frame.camera.name, None, hands)

    def begin_anew(self) -> None:
        """Nothing is remembered."""

    def close(self) -> None:
        """Nothing is open."""


class ReplayedAvatar(Closing):
    """An avatar that takes recorded codes where a replay is from these, and never a picture that is
    only a blank in the place of one."""

    def __init__(
        self, avatar: ClosingAvatar, moment_of: Callable[[int], Moment], seam: str
    ) -> None:
        self._avatar, self._moment_of, self._seam = avatar, moment_of, seam
        self.id = avatar.id

    def encode(self, state: TrackedState, frame: Frame | None = None) -> AvatarCode:
        """The recorded code of the state's time, or a new one."""
        moment = self._moment_of(state.t_ns)
        if self._seam == "code" and moment.code is not None:
            return moment.code
        return self._avatar.encode(state, moment.frame)

    def decode(self, code: AvatarCode, view: View | None = None) -> MeshTexture:
        """What the avatar makes of it."""
        return self._avatar.decode(code, view)

    def begin_anew(self) -> None:
        """Forget the moments before."""
        self._avatar.begin_anew()

    def close(self) -> None:
        """Close the avatar."""
        self._avatar.close()
