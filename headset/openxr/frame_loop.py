"""The frame loop: wait, begin, draw both eyes, end; and the session around it.

A session's objects are made when it opens and destroyed with it. Every state that the runtime
announces is followed (`session_states`); a loss ends in SessionLostError, after which another loop
may be opened on the same `Runtime`, or in InstanceLostError, after which nothing of it is left.
Use it in the thread whose OpenGL context is current; that thread waits in `step` for the display.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from headset.openxr.binding import InstanceLostError, OpenXrError, SessionLostError, readable
from headset.openxr.graphics_binding import current_binding
from headset.openxr.hands import Hands
from headset.openxr.poses import view_of
from headset.openxr.projection_layer import DepthRange, EyeImage, ProjectionLayer
from headset.openxr.quad_layers import PictureOf, QuadLayers
from headset.openxr.reference_spaces import PlaySpace
from headset.openxr.runtime import Runtime
from headset.openxr.runtime_clock import runtime_clock
from headset.openxr.session_states import BEGIN, END, LEAVE, LOSE, STATES, SessionStates
from streams.clock import now_ns
from streams.closing import Closing
from streams.headset_sample import HeadsetSample
from streams.panel import Panel
from streams.rigid import Rigid
from streams.view import View

END_SEEN = "stopping"
IDLE_S = 0.01
"""Between looks at the runtime's events while it wants no frames (nobody wears the headset)."""


@dataclass(frozen=True, slots=True)
class FrameLoopOptions:
    """What a session is opened with."""

    size: tuple[int, int] | None = None
    """(width, height) pixels of each eye's picture; None: as the runtime recommends."""
    space: str = "local"
    """"local" or "stage"; see `reference_spaces`."""
    depth: DepthRange | None = None
    """What the drawn depth means, so that the runtime can move pictures by it; None: no depth."""
    exit_s: float = 3.0
    """How long closing waits for the runtime to let the session end as it should."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadsetFrame:
    """What is to be drawn now."""

    t_ns: int
    """When it will be shown, monotonic nanoseconds."""
    period_ns: int
    """Between two pictures of the display, as the runtime predicts."""
    views: tuple[View, ...]
    """Left, right, in the world, at that moment."""
    images: tuple[EyeImage, ...]
    """Where each goes."""


Draw = Callable[[HeadsetFrame], Sequence[Panel] | None]
"""Fills `images` and returns the panels to show as quad layers, in "world"; or returns None, when
there is nothing to show yet, and fills nothing."""


class FrameLoop(Closing):
    """One session. `sampled` hears of head and hands each frame, `picture_of` labels panels.

    Raises OpenXrError when the session cannot be opened.
    """

    def __init__(
        self,
        runtime: Runtime,
        picture_of: PictureOf,
        options: FrameLoopOptions | None = None,
        sampled: Callable[[HeadsetSample], None] = lambda _sample: None,
    ) -> None:
        self.runtime, self.options = runtime, options or FrameLoopOptions()
        self._xr, self._sampled = runtime.xr, sampled
        self.states = SessionStates()
        self.ended = False
        """True when the runtime let the session go: the wearer or `request_exit` ended it."""
        self.frames = 0
        """How many were drawn and handed over."""
        self.discarded = 0
        """How many the runtime threw away because they were begun and never ended."""
        self._waited = False
        """Whether a frame was waited for and not begun."""
        self._shown_at = 1
        """XrTime for a frame of which nothing else is known."""
        self._owned: list[Closing] = []
        self._session: Any = self._open_session()
        try:
            self._open_parts(picture_of)
        except BaseException:
            self._destroy()
            raise

    @property
    def with_depth(self) -> bool:
        """Whether depth goes with the pictures."""
        return self._projection.with_depth

    @property
    def recentred(self) -> int:
        """How often the wearer or the runtime moved the world's origin."""
        return self._space.recentred

    def step(self, draw: Draw | None) -> bool:
        """One frame, or one look at the events while the runtime wants none. False: it is over.

        `draw`: None shows nothing. Raises SessionLostError, InstanceLostError, OpenXrError, and
        whatever `draw` raises, after an empty frame was ended in its place.
        """
        self._follow_events()
        if self.ended:
            return False
        if not self.states.running:
            time.sleep(IDLE_S)
            return True
        timing = self._wait_frame()
        display = int(timing.predicted_display_time)
        self._begin_frame()
        layers: list[Any] = []
        try:
            layers = self._layers(timing, draw)
        except (SessionLostError, InstanceLostError):
            raise
        except BaseException:
            self._end_frame(display, [])
            raise
        self._end_frame(display, layers)
        return True

    def request_exit(self) -> None:
        """Ask the runtime to end the session; `step` returns False when it has."""
        if self.states.running:
            with readable(self._xr, "leaving"):
                self._xr.request_exit_session(self._session)

    def close(self) -> None:
        """End the session as the runtime wants it, within `exit_s`, and destroy everything."""
        if self._session is None:
            return
        until = time.monotonic() + self.options.exit_s
        try:
            self.request_exit()
            while self.states.running and time.monotonic() < until and self.step(None):
                pass
            # Ended, it is told to be idle, then to go.
            while END_SEEN in self.states.passed and not self.ended and time.monotonic() < until:
                self.step(None)
        except OpenXrError:
            pass  # It was lost, or lost on the way out: what is left is destroyed all the same.
        finally:
            self._destroy()

    def _wait_frame(self) -> Any:
        """XrFrameState of the next frame, which must be begun then."""
        xr = self._xr
        if self._waited:
            # Ctrl-C came while the runtime was waited for. A frame that was waited for and never
            # begun would make the next wait last for ever (OpenXR 1.0, 12.4: xrWaitFrame).
            try:
                self._begin_frame()
                self._end_frame(self._shown_at, [])
            except OpenXrError as error:
                if not isinstance(error.__cause__, xr.exception.CallOrderInvalidError):
                    raise
        self._waited = True
        try:
            with readable(xr, "waiting for a frame"):
                timing = xr.wait_frame(self._session)
        except OpenXrError:
            self._waited = False
            raise
        returned_ns = now_ns()
        display = int(timing.predicted_display_time)
        self._shown_at = display + int(timing.predicted_display_period)
        self._clock.note_frame(display, returned_ns)
        return timing

    def _begin_frame(self) -> None:
        xr = self._xr
        with readable(xr, "beginning a frame"):
            try:
                xr.begin_frame(self._session)
            except xr.exception.FrameDiscarded:
                # The one before was never ended: Ctrl-C went through here. This one is begun.
                self.discarded += 1
        self._waited = False

    def _layers(self, timing: Any, draw: Draw | None) -> list[Any]:
        """Locate, tell, draw; what to end the frame with."""
        display = int(timing.predicted_display_time)
        world_from_space = self._space.at(display)
        if world_from_space is None:
            return []
        located, views = self._locate_views(display, world_from_space)
        self._tell_sample(views, world_from_space)
        if draw is None or not timing.should_render or len(views) != len(self.runtime.eyes):
            return []
        images = self._projection.acquire()
        try:
            panels = draw(
                HeadsetFrame(views[0].t_ns, int(timing.predicted_display_period), views, images)
            )
        finally:
            self._projection.release()
        if panels is None:
            return []
        self.frames += 1
        layer = self._projection.layer(located, self._space.handle)
        return [layer, *self._quads.layers(panels, self._space)]

    def _locate_views(self, display: int, world_from_space: Rigid) -> tuple[Any, tuple[View, ...]]:
        """XrViews and our Views; fewer than two of these while the head is not tracked."""
        xr = self._xr
        stereo = xr.ViewConfigurationType.PRIMARY_STEREO
        with readable(xr, "locating the eyes"):
            state, located = xr.locate_views(
                self._session, xr.ViewLocateInfo(stereo, display, self._space.handle)
            )
        flags = xr.ViewStateFlags
        needed = int(flags.ORIENTATION_VALID_BIT | flags.POSITION_VALID_BIT)
        if int(state.view_state_flags) & needed != needed:
            return located, ()
        at_ns = self._clock.host_ns(display)
        views = (
            view_of(view, eye, at_ns, self._projection.size, world_from_space)
            for eye, view in enumerate(located)
        )
        return located, tuple(view for view in views if view is not None)

    def _tell_sample(self, views: tuple[View, ...], world: Rigid) -> None:
        """Head and hands as they are now, not as they are expected to be at the display's time."""
        at_ns = now_ns()
        device = self._clock.xr_time(at_ns)
        head = self._space.world_from_head(device)
        if head is None:
            return
        hands = self._hands.at(self._space.handle, device, world)
        self._sampled(HeadsetSample(at_ns, head, hands["left"], hands["right"], views, device))

    def _end_frame(self, display: int, layers: Sequence[Any]) -> None:
        xr = self._xr
        header = ctypes.POINTER(xr.CompositionLayerBaseHeader)
        pointers = [ctypes.cast(ctypes.pointer(layer), header) for layer in layers]
        with readable(xr, "handing a frame over"):
            xr.end_frame(
                self._session, xr.FrameEndInfo(display, self.runtime.blend_mode, layers=pointers)
            )

    def _follow_events(self) -> None:
        xr = self._xr
        kinds = xr.StructureType
        while True:
            with readable(xr, "listening to the runtime"):
                try:
                    event = xr.poll_event(self.runtime.instance)
                except xr.exception.EventUnavailable:
                    return
            kind = kinds(event.type)
            if kind == kinds.EVENT_DATA_SESSION_STATE_CHANGED:
                changed = _cast(event, xr.EventDataSessionStateChanged)
                if changed.session == self._session:
                    self._follow_state(STATES[int(xr.SessionState(changed.state).value)])
            elif kind == kinds.EVENT_DATA_REFERENCE_SPACE_CHANGE_PENDING:
                moved = _cast(event, xr.EventDataReferenceSpaceChangePending)
                if moved.session == self._session:
                    self._space.change(moved.reference_space_type, int(moved.change_time))
            elif kind == kinds.EVENT_DATA_INSTANCE_LOSS_PENDING:
                raise InstanceLostError(
                    "OpenXR: the runtime is about to stop; start it again, then the preview"
                )

    def _follow_state(self, state: str) -> None:
        xr = self._xr
        todo = self.states.enter(state)
        if todo == BEGIN:
            stereo = xr.ViewConfigurationType.PRIMARY_STEREO
            with readable(xr, "beginning the session"):
                xr.begin_session(self._session, xr.SessionBeginInfo(stereo))
        elif todo == END:
            with readable(xr, "ending the session"):
                xr.end_session(self._session)
        elif todo == LEAVE:
            self.ended = True
        elif todo == LOSE:
            raise SessionLostError("OpenXR: the runtime is about to lose the headset's session")

    def _open_session(self) -> Any:
        runtime, xr = self.runtime, self._xr
        runtime.require_graphics()
        binding = current_binding(xr)
        chained = ctypes.cast(ctypes.pointer(binding), ctypes.c_void_p)
        with readable(xr, f"opening a session with {runtime.name}"):
            return xr.create_session(
                runtime.instance, xr.SessionCreateInfo(system_id=runtime.system, next=chained)
            )

    def _open_parts(self, picture_of: PictureOf) -> None:
        runtime, session, options = self.runtime, self._session, self.options
        self._clock = runtime_clock(runtime)
        self._space = PlaySpace(runtime, session, options.space)
        self._owned.append(self._space)
        self._hands = Hands(runtime, session)
        self._owned.append(self._hands)
        size = options.size or runtime.eyes[0].recommended
        self._projection = ProjectionLayer(runtime, session, size, options.depth)
        self._owned.append(self._projection)
        self._quads = QuadLayers(runtime, session, picture_of)
        self._owned.append(self._quads)

    def _destroy(self) -> None:
        for part in reversed(self._owned):
            part.close()
        self._owned.clear()
        session, self._session = self._session, None
        if session is not None:
            try:
                self._xr.destroy_session(session)
            except self._xr.exception.XrException:
                pass  # It went with the runtime.


def _cast(event: Any, kind: Any) -> Any:
    return ctypes.cast(ctypes.byref(event), ctypes.POINTER(kind)).contents
