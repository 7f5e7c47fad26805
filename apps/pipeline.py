"""The one wiring: source, tracker, avatar and renderer, each in a thread of its own.

Live, the threads hand over through mailboxes: each stage takes the newest value and skips what it
cannot keep up with. Lossless, they hand over through short queues: every frame is worked through
in order, and the same file gives the same pictures. Drawing happens in the thread that iterates,
because OpenGL lives on the main thread.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from apps.meter import Meter
from capture.frame_source import FrameSource
from streams.avatar_code import AvatarCode
from streams.bounded_queue import BoundedQueue
from streams.clock import now_ns
from streams.frame import Frame
from streams.headset_sample import HeadsetSample
from streams.image import Image
from streams.mailbox import Mailbox, SeamClosedError
from streams.mark import Mark
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.shown_panels import ShownPanels
from streams.tracked_state import TrackedState
from streams.view import View

T = TypeVar("T")


class Tracks(Protocol):
    """What the pipeline needs of a tracker."""

    def track(self, frame: Frame) -> TrackedState: ...


class Codes(Protocol):
    """What the pipeline needs of an avatar."""

    def encode(self, state: TrackedState, frame: Frame | None = None) -> AvatarCode: ...

    def decode(self, code: AvatarCode, view: View | None = None) -> MeshTexture: ...


Draw = Callable[[MeshTexture, View, Sequence[Panel]], Image | None]
"""A renderer's drawing; None where the picture stays on the graphics card, for a window."""


ADMISSION_S = 0.2
"""How often a tracking thread that waits for the renderer looks whether it is to stop."""


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How the stages hand over."""

    lossless: bool = False
    """False: the newest value wins (live). True: every frame, in order."""
    threads: bool = True
    """False: all stages one after the other in the thread that iterates, always lossless."""
    capacity: int = 2
    """Frames that wait between two stages when lossless."""
    timeout_s: float = 60.0
    """A stage that hears nothing from its neighbour for so long gives up."""
    join_s: float = 15.0
    """How long closing waits for each thread."""


@dataclass(frozen=True, slots=True)
class Stages:
    """What the pipeline is made of."""

    source: FrameSource
    tracker: Tracks
    avatar: Codes
    draw: Draw
    view_of: Callable[[Frame], View]
    """From where to draw what a frame shows."""
    panels_of: Callable[[TrackedState], tuple[Panel, ...]] = lambda _state: ()
    """Panels in "world" to draw with it."""


@dataclass(frozen=True, slots=True)
class Taps:
    """Called with every record at its seam, in the thread of the stage that made it."""

    frame: Callable[[Frame], None] = lambda _frame: None
    headset: Callable[[HeadsetSample], None] = lambda _sample: None
    state: Callable[[TrackedState], None] = lambda _state: None
    code: Callable[[AvatarCode], None] = lambda _code: None
    mesh: Callable[[MeshTexture], None] = lambda _mesh: None
    view: Callable[[View], None] = lambda _view: None
    panels: Callable[[ShownPanels], None] = lambda _shown: None
    image: Callable[[Image], None] = lambda _image: None
    mark: Callable[[Mark], None] = lambda _mark: None
    """Not the pipeline's: for whoever has something to note beside it."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A picture and everything that it was made from."""

    frame: Frame
    state: TrackedState
    code: AvatarCode
    view: View
    image: Image | None
    """None where the picture stays on the graphics card."""
    drawn_ns: int
    """When drawing ended, monotonic nanoseconds."""

    @property
    def age_ms(self) -> float:
        """How old what it shows was then; means something for live sources only."""
        return (self.drawn_ns - self.code.t_ns) / 1e6


@dataclass(frozen=True, slots=True, eq=False)
class _Tracked:
    frame: Frame
    state: TrackedState


@dataclass(frozen=True, slots=True, eq=False)
class _Decoded:
    frame: Frame
    state: TrackedState
    code: AvatarCode
    view: View
    mesh: MeshTexture


class Pipeline:
    """Runs the stages from `with` on; iterating gives the drawn pictures.

    An exception of any stage is raised to whoever iterates. Closing ends the threads in flow order.
    The source is read and closed by one and the same thread.
    """

    def __init__(
        self,
        stages: Stages,
        options: PipelineOptions | None = None,
        taps: Taps | None = None,
        meter: Meter | None = None,
    ) -> None:
        options = options or PipelineOptions()
        self.stages, self.options, self.taps = stages, options, taps or Taps()
        self.meter = Meter() if meter is None else meter
        self.ended = False
        self._stop = threading.Event()
        self._frames: _Lane[Frame] = _Lane("frames", options)
        self._states: _Lane[_Tracked] = _Lane("states", options)
        self._meshes: _Lane[_Decoded] = _Lane("meshes", options)
        # Live, one frame at a time is tracked and decoded while the one before is drawn. To track
        # more than is drawn would only take the cores from drawing and make every picture older.
        self._admission = threading.Semaphore(1)
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        if self.options.threads:
            loops = (
                ("source", self._read_frames), ("tracking", self._track_frames),
                ("avatar", self._decode_states),
            )  # fmt: skip
            for name, loop in loops:
                thread = threading.Thread(target=loop, name=f"visavis {name}", daemon=True)
                self._threads.append(thread)
                thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Drawn]:
        waited_from = time.monotonic()
        while True:
            drawn = self.poll(1.0)
            if drawn is not None:
                yield drawn
                waited_from = time.monotonic()
            elif self.ended:
                return
            elif time.monotonic() - waited_from > self.options.timeout_s:
                raise TimeoutError(
                    f"pipeline: expected a picture within {self.options.timeout_s:g} s, got none"
                )

    def poll(self, timeout_s: float) -> Drawn | None:
        """Draw the next picture, or return None when none is ready in time; then `ended` tells
        whether the source came to its end. Call it in the thread that owns OpenGL."""
        if not self.options.threads:
            frame = self._next_frame()
            if frame is None:
                self.ended = True
                return None
            return self._draw(self._decode(self._track(frame)))
        try:
            decoded = self._meshes.get(timeout_s)
        except TimeoutError:
            return None
        except SeamClosedError:
            self.ended = True
            return None
        self._admission.release()
        return self._draw(decoded)

    def close(self) -> None:
        """Stop and join the threads, source first. May be called twice.

        Raises TimeoutError when a thread does not end; it dies with the process.
        """
        self._stop.set()
        # Whoever waits for room or for a value is woken.
        for lane in (self._frames, self._states, self._meshes):
            lane.abandon()
        threads, self._threads = self._threads, []
        for thread in threads:
            thread.join(self.options.join_s)
        if not self.options.threads:
            self.stages.source.close()
        hanging = [thread.name for thread in threads if thread.is_alive()]
        if hanging:
            raise TimeoutError(
                f"pipeline: expected {', '.join(hanging)} to end within "
                f"{self.options.join_s:g} s; still running"
            )

    def _next_frame(self) -> Frame | None:
        with self.meter.measure("source"):
            frame = next(self.stages.source, None)
        if frame is not None:
            self.taps.frame(frame)
        return frame

    def _track(self, frame: Frame) -> _Tracked:
        with self.meter.measure("tracking"):
            state = self.stages.tracker.track(frame)
        self.taps.state(state)
        return _Tracked(frame, state)

    def _decode(self, tracked: _Tracked) -> _Decoded:
        view = self.stages.view_of(tracked.frame)
        self.taps.view(view)
        with self.meter.measure("encode"):
            code = self.stages.avatar.encode(tracked.state, tracked.frame)
        self.taps.code(code)
        with self.meter.measure("decode"):
            mesh = self.stages.avatar.decode(code, view)
        self.taps.mesh(mesh)
        return _Decoded(tracked.frame, tracked.state, code, view, mesh)

    def _draw(self, decoded: _Decoded) -> Drawn:
        panels = self.stages.panels_of(decoded.state)
        self.taps.panels(ShownPanels(decoded.state.t_ns, panels))
        with self.meter.measure("render"):
            image = self.stages.draw(decoded.mesh, decoded.view, panels)
        if image is not None:
            self.taps.image(image)
        return Drawn(decoded.frame, decoded.state, decoded.code, decoded.view, image, now_ns())

    def _read_frames(self) -> None:
        try:
            with self._frames.filled():
                while not self._stop.is_set():
                    frame = self._next_frame()
                    if frame is None:
                        return
                    self._frames.put(frame)
        finally:
            self.stages.source.close()

    def _track_frames(self) -> None:
        with self._states.filled():
            while self._admitted():
                try:
                    frame = self._frames.get(self.options.timeout_s)
                except SeamClosedError:
                    return
                self._states.put(self._track(frame))

    def _admitted(self) -> bool:
        """Wait until the next frame may be tracked; False when it is time to stop."""
        while not self._stop.is_set():
            if self.options.lossless or self._admission.acquire(timeout=ADMISSION_S):
                return True
        return False

    def _decode_states(self) -> None:
        with self._meshes.filled():
            for tracked in self._states.values(self._stop):
                self._meshes.put(self._decode(tracked))


class _Lane(Generic[T]):
    """A hand-over between two stages: a mailbox when live, a queue when lossless."""

    def __init__(self, name: str, options: PipelineOptions) -> None:
        self._timeout_s = options.timeout_s
        self._seq = -1
        self._mailbox: Mailbox[T] | None = None if options.lossless else Mailbox(name)
        self._queue: BoundedQueue[T] = BoundedQueue(options.capacity, name)

    def put(self, value: T) -> None:
        if self._mailbox is not None:
            self._mailbox.put(value)
        else:
            self._queue.put(value, self._timeout_s)

    def get(self, timeout_s: float) -> T:
        if self._mailbox is None:
            return self._queue.get(timeout_s)
        letter = self._mailbox.wait(timeout_s, after=self._seq)
        self._seq = letter.seq
        return letter.value

    def values(self, stop: threading.Event) -> Iterator[T]:
        """Every value to the end, or until `stop`."""
        while not stop.is_set():
            try:
                value = self.get(self._timeout_s)
            except SeamClosedError:
                return
            yield value

    @contextlib.contextmanager
    def filled(self) -> Iterator[None]:
        """Closes the lane at the end, or hands the exception to its reader."""
        try:
            yield
        except SeamClosedError:
            self._end(None)  # The reader went away: there is nobody to tell.
        except BaseException as error:
            self._end(error)
        else:
            self._end(None)

    def _end(self, failure: BaseException | None) -> None:
        seam = self._queue if self._mailbox is None else self._mailbox
        if failure is None:
            seam.close()
        else:
            seam.fail(failure)

    def abandon(self) -> None:
        if self._mailbox is not None:
            self._mailbox.close()
        self._queue.abandon()
